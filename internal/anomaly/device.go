package anomaly

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// DEV-01 sees a device that is new for the user: by the provider's id, or by operating system and browser where it gives none.
//
// Families decide, never versions: an update is no new device.
//
// State: the user's devices, operating systems and browsers (U2).
// Evidence: the device, how many others are known.
// False positives: every new phone and laptop. It is low, and information when the kind of device is common in the
// organisation; together with a new country or network it is CONJ-01 or CONJ-02.
var dev01 = Detection{ID: "DEV-01", Version: 1, Title: "New device", Technique: "T1078", Severity: severities(events.Info, events.Low)}

// DEV-02 sees a program where a person should sign in: the user agent of a script or of a browser without a screen.
//
// State: the user's devices and networks (U2).
// Evidence: the user agent and the entry that it matches.
// False positives: command lines of administrators, televisions, printers. Applications can be allowed; a device and network
// known of the user lower it.
var dev02 = Detection{ID: "DEV-02", Version: 1, Title: "Scripted sign-in", Technique: "T1078.004", Severity: severities(events.Medium)}

// DEV-03 sees one device with which three or more users sign in within a day.
//
// It is found by the network stage, which knows all users, and reported to each of them.
//
// State: per device, its users within 24 hours (R2).
// Evidence: the number of users.
// False positives: shared machines. A device that has been shared for days is known to be.
var dev03 = Detection{ID: "DEV-03", Version: 1, Title: "One device of many users", Technique: "T1110.004", Severity: severities(events.Low, events.Medium)}

// DEV-04 sees a new, unmanaged computer of a user who lately used a managed one. Phones are left out: few are managed.
//
// State: when the user last used a managed device (U7); the user's devices (U2).
// Evidence: both devices' ids.
// False positives: a private computer at home, once.
var dev04 = Detection{ID: "DEV-04", Version: 1, Title: "From managed to unmanaged device", Technique: "T1078.004", Severity: severities(events.Medium)}

// judgeDevice looks for DEV-02 and DEV-04.
func (o *observation) judgeDevice() {
	if !o.login() {
		return
	}
	o.scripted()
	o.unmanaged()
}

// newDevice is DEV-01.
func (o *observation) newDevice(device, agent bool) {
	l := ladder{severity: events.Low}
	l.gate(o)
	l.allow(o, &o.at, nil)
	l.common(o, "this kind of device", o.orgAgent())
	l.proof(o, effectRecord, true)
	o.report(&dev01, &l, "Seen with a device that is new for the user: "+agentName(o.device), events.Evidence{Novel: o.deviceTerms(device, agent)})
}

// scripted is DEV-02.
func (o *observation) scripted() {
	entry := o.c.script(o.e)
	if entry == "" {
		return
	}
	l := ladder{severity: events.Medium}
	l.gate(o)
	switch {
	case slices.Contains(o.c.config.Device.ScriptedApps, o.e.App.ID), slices.Contains(o.c.config.Device.ScriptedApps, o.e.Resource.ID):
		l.rung(rungAllow, effectRecord, "programs may use the application")
	default:
		l.allow(o, &o.at, nil)
	}
	if !o.familiar() && o.agent.value != 0 && !o.agent.unknown && o.spot.ASN != 0 && !o.network.unknown {
		l.rung(rungSame, effectLower, fmt.Sprintf("AS%d and this program are known of the user", o.spot.ASN))
	} else {
		l.known(o, effectLower)
	}
	o.report(&dev02, &l, fmt.Sprintf("A program signed in as the user: %s", entry), events.Evidence{Facts: []events.Fact{
		{Name: "user_agent", Value: o.e.UserAgent}, {Name: "entry", Value: entry},
	}})
}

// script names what tells a program in the user agent, or "".
func (c *Catalogue) script(e *events.Event) string {
	agent := strings.ToLower(e.UserAgent[:min(len(e.UserAgent), events.MaxText)])
	if agent != "" {
		for _, entry := range c.config.Device.Scripted {
			if strings.Contains(agent, entry) {
				return entry
			}
		}
	}
	if t := e.Device.Type; t == "script" || t == "bot" {
		return t
	}
	return ""
}

// unmanaged is DEV-04.
func (o *observation) unmanaged() {
	managedAt := o.p.Marks.ManagedAt
	device, agent := o.novelDevice()
	if o.e.Device.Managed == events.Yes || managedAt == 0 || o.e.Time-managedAt > ms(o.c.config.Device.ManagedWithin) || !device && !agent || phone(&o.e.Device) {
		return
	}
	if o.e.Device.Managed == events.Unknown && o.e.Device.ID != "" {
		return // the source does not say
	}
	l := ladder{severity: events.Medium}
	l.gate(o)
	l.allow(o, &o.at, nil)
	l.egress(o, &o.at, nil, effectLower)
	switch {
	case phishingResistant(o.e):
		l.rung(rungProof, effectLower, "phishing-resistant proof given")
	case o.stepUp() && o.spot.ASN != 0 && !o.network.unknown:
		l.rung(rungSame, effectLower, fmt.Sprintf("AS%d is known of the user, and a second factor was given", o.spot.ASN))
	}
	o.report(&dev04, &l, fmt.Sprintf("An unmanaged %s, %s after a managed device", agentName(o.device), span(o.e.Time-managedAt)),
		events.Evidence{Novel: o.deviceTerms(device, agent)})
}

// phone tells a phone or tablet.
func phone(d *events.Device) bool {
	return d.Type == "mobile" || d.Type == "tablet" || d.OS == "iOS" || d.OS == "iPadOS" || d.OS == "Android"
}
