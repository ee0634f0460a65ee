package anomaly

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// NET-01 sees a network, by its AS number, that is new for the user.
//
// State: the user's networks with the time each was last seen (U2); the organisation's (T1).
// Evidence: the network, how many others are known.
// False positives: a new line at home, a hotel, a second number of a carrier. It is low, and information when the network is
// common in the organisation.
var net01 = Detection{ID: "NET-01", Version: 1, Title: "New network", Technique: "T1078", Severity: severities(events.Info, events.Low)}

// NET-02 sees a sign-in through something that hides where it comes from: Tor, a VPN service, a private relay.
//
// State: the user's networks (U2); the organisation's (T1).
// Evidence: the class, the list that says so and its age. A hit on a list that is out of date is information.
// False positives: users of VPN services, the organisation's own VPN. Networks that are known of the user, common in the
// organisation or learned as its own lower or suppress it, but never Tor.
var net02 = Detection{ID: "NET-02", Version: 1, Title: "Anonymiser", Technique: "T1090.003", Severity: severities(events.Info, events.Medium, events.High)}

// NET-03 sees a person's first own sign-in from a hosting network: people do not live in data centres.
//
// State: whether the user ever signed in from a hosting network (U7).
// Evidence: the network.
// False positives: virtual desktops and secure gateways. Egress that is allowed or learned suppresses it.
var net03 = Detection{ID: "NET-03", Version: 1, Title: "First sign-in from a hosting network", Technique: "T1078.004", Severity: severities(events.Medium)}

// NET-04 sees an address on a threat list or on the operator's deny list.
//
// State: none.
// Evidence: the list or the entry, and the list's age. A hit on a list older than two days is information.
// False positives: an address with many users behind it.
var net04 = Detection{ID: "NET-04", Version: 1, Title: "Denied or threatening address", Technique: "T1078", Severity: severities(events.Info, events.High)}

// NET-05 sees a success from a source from which more users fail than succeed.
//
// It is found by the network stage, which knows all users, and reported to the one who succeeded.
//
// State: per source, users who failed and who succeeded within 24 hours (R1).
// Evidence: the counts.
// False positives: an address with many users behind it on the day that passwords run out.
var net05 = Detection{ID: "NET-05", Version: 1, Title: "Success from a source that mostly fails", Technique: "T1110", Severity: severities(events.High)}

// judgeNetwork looks at what the address is known for, when a session begins or comes to another network.
func (o *observation) judgeNetwork() {
	if !o.begins && !o.network.fresh {
		return
	}
	o.anonymiser()
	o.firstHosting()
	o.denied()
}

// newNetwork is NET-01.
func (o *observation) newNetwork() {
	l := ladder{severity: events.Low}
	l.gate(o)
	l.allow(o, &o.at, nil)
	l.egress(o, &o.at, nil, effectRecord)
	l.common(o, "the network", o.orgNetwork())
	o.report(&net01, &l, fmt.Sprintf("Seen through AS%d%s, %s; known: %s", o.spot.ASN, orgName(o.e), o.newness(&o.network),
		plural(o.network.known, "other network", "other networks")), events.Evidence{Novel: []events.NovelTerm{o.networkTerm()}})
}

// orgName is the name of the event's network, in brackets, or "".
func orgName(e *events.Event) string {
	if e.Network.Org == "" {
		return ""
	}
	return " (" + e.Network.Org + ")"
}

// anonymiser is NET-02.
func (o *observation) anonymiser() {
	classes, severity, age := o.spot.Classes, events.Info, o.c.config.Network.ClassAge
	var class events.Class
	switch {
	case classes.Any(profile.Tor):
		class, severity, age = events.Tor, events.High, o.c.config.Network.ThreatAge
	case classes.Any(profile.VPN):
		class, severity = events.VPN, events.Medium
	case classes.Any(profile.Relay):
		class = events.Relay
	default:
		return
	}
	l := ladder{severity: severity}
	l.gate(o)
	l.allow(o, &o.at, nil)
	if class != events.Tor {
		l.egress(o, &o.at, nil, effectRecord)
		if o.knownDevice() && !o.familiar() {
			l.rung(rungSame, effectLower, "the device id is known of the user")
		} else {
			l.known(o, effectRecord)
		}
		l.common(o, "the network", o.orgNetwork())
	}
	l.dated(o, ms(age))
	l.proof(o, effectLower, true)
	o.report(&net02, &l, fmt.Sprintf("%s is of class %s%s", o.at.IP, class, orgName(o.e)), events.Evidence{Facts: o.listed(string(class))})
}

// dated makes information of a hit on a list that is out of date.
func (l *ladder) dated(o *observation, limit events.Millis) {
	built := o.e.Network.Built
	if built == 0 {
		l.rung(rungList, effectNone, "the list has no date")
		return
	}
	age := o.e.Time - built
	if age <= limit {
		l.rung(rungList, effectNone, "the list is "+span(age)+" old")
		return
	}
	l.severity = events.Info
	l.rung(rungList, effectLowered, "the list is "+span(age)+" old: information only")
}

// listed are the facts of a hit on a list.
func (o *observation) listed(entry string) []events.Fact {
	facts := []events.Fact{{Name: "entry", Value: entry}}
	if o.e.Network.List != "" {
		facts = append(facts, events.Fact{Name: "list", Value: o.e.Network.List})
	}
	if o.e.Network.Built != 0 {
		facts = append(facts, events.Fact{Name: "list_built", Value: o.e.Network.Built.Time().UTC().Format("2006-01-02")})
	}
	return facts
}

// firstHosting is NET-03.
func (o *observation) firstHosting() {
	if !o.login() || !o.spot.Classes.Any(profile.Hosting) || o.spot.Classes.Any(profile.VPN|profile.Relay|profile.Tor) || o.p.Marks.HostingSeen() {
		return
	}
	if t := o.p.Term(profile.ASN, uint64(o.spot.ASN)); t != nil && !o.network.unknown && o.e.Time-t.First.Millis() >= o.c.confirmAfter {
		return // it has been the user's for a while, and nobody objected
	}
	l := ladder{severity: events.Medium}
	l.gate(o)
	l.allow(o, &o.at, nil)
	l.egress(o, &o.at, nil, effectRecord)
	l.common(o, "the network", o.orgNetwork())
	l.proof(o, effectRecord, true)
	o.report(&net03, &l, fmt.Sprintf("The first sign-in from a hosting network, AS%d%s", o.spot.ASN, orgName(o.e)),
		events.Evidence{Facts: o.listed(string(events.Hosting))})
}

// denied is NET-04.
func (o *observation) denied() {
	e := o.e
	entry, own := "", true
	for _, prefix := range o.c.deny {
		if prefix.Contains(o.at.IP.Netip()) {
			entry = prefix.String()
		}
	}
	switch {
	case entry != "":
	case e.Network.ASN != 0 && slices.Contains(o.c.config.Network.DenyASNs, e.Network.ASN):
		entry = "AS" + strconv.FormatUint(uint64(e.Network.ASN), 10)
	case e.Network.Is(events.Threat):
		entry, own = string(events.Threat), false
	default:
		return
	}
	l := ladder{severity: events.High}
	l.allow(o, &o.at, nil)
	facts := []events.Fact{{Name: "entry", Value: entry}, {Name: "list", Value: "network.deny"}}
	if !own {
		l.dated(o, ms(o.c.config.Network.ThreatAge))
		facts = o.listed(entry)
	}
	o.report(&net04, &l, fmt.Sprintf("%s is on a list of addresses to be denied: %s", o.at.IP, entry), events.Evidence{Facts: facts})
}
