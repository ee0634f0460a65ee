package anomaly

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
	"github.com/countersign-io/countersign/internal/profile"
)

// CRD-01 sees ten wrong passwords for one user within ten minutes.
//
// State: the user's last 32 failures (U6).
// Evidence: the failures with their causes and networks.
// False positives: a program that goes on trying an old password. From a network known of the user, with a known device, it
// is recorded only.
var crd01 = Detection{ID: "CRD-01", Version: 2, Title: "Brute force against one user", Technique: "T1110.001", Severity: severities(events.Low)}

// CRD-02 sees wrong passwords for one user from several addresses and networks within an hour.
//
// State: the user's last 32 failures (U6).
// Evidence: the failures with their causes and networks.
// False positives: an old password on several devices. Failures from networks known of the user do not count.
var crd02 = Detection{ID: "CRD-02", Version: 1, Title: "Distributed brute force against one user", Technique: "T1110.001", Severity: severities(events.Medium)}

// CRD-03 sees one source try a few passwords on many users.
//
// It is found by the network stage and reported to every user tried.
//
// State: per source (address, prefix, network, user agent), users who failed and who succeeded (R1).
// Evidence: users, tries, how they spread, some of the users.
// False positives: an office or carrier with many users behind one address: more must fail than succeed there. Wrong
// passwords only: outages and lockouts do not count.
var crd03 = Detection{ID: "CRD-03", Version: 1, Title: "Password spray", Technique: "T1110.003", Severity: severities(events.Medium)}

// CRD-04 sees many users fail, each once or twice, from many sources: a spray that hides.
//
// It is found by the network stage, which compares the number of failing users with that of the same hour of the week, and
// reported to the users who failed in the way that the excess has in common.
//
// State: mean and variance of failing users by hour of the week; the operating systems, browsers, applications and grants of
// failures and successes (T2).
// Evidence: baseline and deviation; what the attempts have in common.
// False positives: the day that passwords run out. Without something in common it is medium.
var crd04 = Detection{ID: "CRD-04", Version: 1, Title: "Distributed password spray", Technique: "T1110.003", Severity: severities(events.Medium, events.High)}

// CRD-05 sees one source try stolen credentials: very many users, nearly all of them once.
//
// It is found by the network stage and reported to every user tried.
//
// State: per source, users and tries (R1).
// Evidence: users, tries, how they spread.
// False positives: as for CRD-03.
var crd05 = Detection{ID: "CRD-05", Version: 1, Title: "Credential stuffing", Technique: "T1110.004", Severity: severities(events.Medium)}

// CRD-06 sees a success within three hours of an attack on the user's password.
//
// From an unfamiliar network with an unfamiliar device it is critical, with one of them familiar high, with a familiar device
// low: that is the user, who signs in as always. A device is familiar by its id, or by operating system and browser on a familiar
// network. At the attacking address it is high at least. After one attack it is reported once, and again when it is graver;
// high of every sign-in, because it is about that session.
//
// State: attacks on the user, found here or by the network stage (U6, R1).
// Evidence: the attack, and what is unfamiliar.
// False positives: a user who at last remembers the password.
var crd06 = Detection{ID: "CRD-06", Version: 2, Title: "Success after an attack", Technique: "T1110", Severity: severities(events.Low, events.High, events.Critical)}

// CRD-07 sees one source try many names that belong to nobody.
//
// It is found by the network stage and reported to the names tried.
//
// State: per source, unknown names (R1).
// Evidence: the number of names.
// False positives: typing errors behind one address.
var crd07 = Detection{ID: "CRD-07", Version: 1, Title: "User enumeration", Technique: "T1087.004", Severity: severities(events.Low)}

// CRD-08 sees many users locked out within half an hour.
//
// It is found by the network stage and reported to the users.
//
// State: the tenant's locked-out users (T2).
// Evidence: the number of users.
// False positives: an outage of the provider that reports lockouts.
var crd08 = Detection{ID: "CRD-08", Version: 1, Title: "Lockout storm", Technique: "T1110", Severity: severities(events.High)}

// judgeFailure looks at an attempt that did not succeed. One without a cause is a wrong proof: sources name whatever else it
// can be, if only as [events.OtherCause].
func (o *observation) judgeFailure() {
	e := o.e
	if e.Kind != events.SignIn {
		return
	}
	if e.Outcome == events.Interrupt || e.Outcome == events.Challenge {
		o.stepOfFlow()
		return
	}
	if e.Outcome != events.Failure && e.Outcome != events.Blocked {
		return
	}
	a := profile.AttemptOf(e)
	o.disabledTry()
	switch {
	case prompted(e):
		if a.Cause == "" {
			a.Cause = events.MFARefused
		}
		o.p.AddPush(a, events.Day)
		o.fatigue()
	case e.Cause == events.BadCode || e.Cause == "" && e.Auth.MFA == events.MFAFailed:
		o.p.AddCode(a, events.Day)
		o.guessedCodes()
	case e.WrongPassword():
		o.p.AddFailure(a, events.Day)
		o.bruteForce()
		o.spreadForce()
	}
	o.judgeVendor()
}

// knownFailure tells a failure that is the user's own, an old password somewhere: from a network that the user is known on, with
// a device that is. Without a device id that takes more than the operator and the most common browser, which a spray can have,
// too: an address or a prefix that the user was at, or a mobile network, whose addresses change.
func (o *observation) knownFailure() bool {
	e := o.e
	if !o.knows(profile.ASN, uint64(e.Network.ASN)) {
		return false
	}
	if e.Device.ID != "" {
		return o.knows(profile.DeviceID, profile.DeviceValue(profile.Hash(e.Device.ID)))
	}
	if !o.knows(profile.Agent, profile.AgentValue(e.Device.OS, e.Device.Browser)) {
		return false
	}
	return e.Network.Is(events.Mobile) || o.wasAt(profile.AddressOf(e.IP)) || o.p.Familiar.Has(familiarity.IP, familiarity.LoginOf(e))
}

// wasAt tells a prefix that the user's remembered visits and sessions have been in.
func (o *observation) wasAt(ip profile.Address) bool {
	for i := range o.p.Visits {
		if v := &o.p.Visits[i]; ip.SamePrefix(v.First.IP) || ip.SamePrefix(v.Last.IP) {
			return true
		}
	}
	for i := range o.p.Sessions {
		if s := &o.p.Sessions[i]; ip.SamePrefix(s.Start.IP) || ip.SamePrefix(s.Last.IP) {
			return true
		}
	}
	return false
}

// bruteForce is CRD-01.
func (o *observation) bruteForce() {
	limit := &o.c.config.Credential
	recent := within(o.p.Failures, o.e.Time, ms(limit.Window))
	if len(recent) < limit.Failures || o.attacked(&crd01, ms(limit.Window)) {
		return
	}
	l := ladder{severity: events.Low}
	if o.knownFailure() {
		upTo := within(o.p.Failures, o.e.Time, events.Day) // the event is the last, if it is late, too
		before := upTo[:len(upTo)-1]
		if len(within(before, before[len(before)-1].Time, ms(limit.Window))) >= limit.Failures {
			return // it goes on, and was recorded when it began
		}
		l.rung(rungSame, effectRecord, "network and device are known of the user: an old password somewhere")
	} else {
		l.rung(rungSame, effectNone, "the network or the device is not known of the user")
		o.attack(&crd01)
	}
	o.report(&crd01, &l, fmt.Sprintf("%d wrong passwords in %s", len(recent), span(o.e.Time-recent[0].Time)), events.Evidence{Attempts: attempts(recent)})
}

// spreadForce is CRD-02.
func (o *observation) spreadForce() {
	limit := &o.c.config.Credential
	recent := within(o.p.Failures, o.e.Time, ms(limit.SpreadWindow))
	strange := recent[:0:0]
	ips, asns := map[uint32]bool{}, map[uint32]bool{}
	for _, a := range recent {
		if !o.knows(profile.ASN, uint64(a.ASN)) {
			strange = append(strange, a)
			ips[a.IP], asns[a.ASN] = true, true
		}
	}
	if len(strange) < limit.SpreadFailures || len(ips) < limit.SpreadIPs || len(asns) < limit.SpreadASNs || o.attacked(&crd02, ms(limit.SpreadWindow)) {
		return
	}
	l := ladder{severity: events.Medium}
	o.attack(&crd02)
	o.report(&crd02, &l, fmt.Sprintf("%d wrong passwords from %s in %s", len(strange), plural(len(ips), "address", "addresses"),
		plural(len(asns), "network", "networks")), events.Evidence{Attempts: attempts(strange)})
}

// attack remembers that the user is under attack.
func (o *observation) attack(d *Detection) {
	if o.c.modes[d] == Off {
		return
	}
	o.p.AddAttacked(profile.Attacked{
		Detection: profile.DetectionOf(d.ID), Source: sourceHash("ip " + o.e.IP), Time: o.e.Time, Incident: profile.Hash(o.e.ID),
		Observed: o.c.modes[d] == Observe,
	}, events.Day)
}

// attacked tells an attack of a kind within a time.
func (o *observation) attacked(d *Detection, within events.Millis) bool {
	code := profile.DetectionOf(d.ID)
	for i := range o.p.Attacked {
		if a := &o.p.Attacked[i]; a.Detection == code && o.e.Time-a.Time <= within {
			return true
		}
	}
	return false
}

// judgeCredential is CRD-06: a success after an attack.
func (o *observation) judgeCredential() {
	if !o.login() {
		return
	}
	latest, sameSource := o.attackBefore()
	if latest == nil {
		return
	}
	network, device := o.spot.ASN != 0 && !o.network.unknown, o.familiarDevice()
	l := ladder{severity: events.Critical}
	what := "an unfamiliar network and device"
	switch {
	case sameSource && (network || device):
		l.severity, what = events.High, "something familiar, at the attacking address"
	case o.knownDevice(), network && device:
		l.severity, what = events.Low, "a familiar device"
	case device: // by operating system and browser alone, which anybody can copy
		l.severity, what = events.High, "an unfamiliar network and a familiar kind of device"
	case network:
		l.severity, what = events.High, "a familiar network and an unfamiliar device"
	}
	l.allow(o, &o.at, nil)
	l.answer(o, &crd06, effectLower)
	if l.severity != events.Low {
		l.proof(o, effectRecord, true)
	}
	if l.disposition() == events.Active {
		told, rank := *latest, uint8(l.severity.Rank())
		// What is high is about this session, and policies end that alone: the next one is news.
		if told.Told > rank || told.Told == rank && l.severity != events.High {
			return
		}
		told.Told = rank
		o.p.AddAttacked(told, events.Day)
	}
	o.report(&crd06, &l, fmt.Sprintf("Signed in with %s %s after %s", what, span(o.e.Time-latest.Time), latest.Detection), events.Evidence{
		Earlier:  []events.Earlier{{Detection: latest.Detection.String(), Time: latest.Time}},
		Attempts: attempts(within(o.p.Failures, o.e.Time, ms(o.c.config.Credential.After))),
	})
}

// attackBefore is the latest attack that counts on the user not too long before the event, nil when there was none, and whether any came from
// where the event does.
func (o *observation) attackBefore() (latest *profile.Attacked, sameSource bool) {
	ip, prefix := sourceHash("ip "+o.e.IP), sourceHash("prefix "+o.at.IP.Prefix())
	for i := range o.p.Attacked {
		a := &o.p.Attacked[i]
		if gap := o.e.Time - a.Time; gap < 0 || gap > ms(o.c.config.Credential.After) || a.Observed {
			continue
		}
		if latest == nil || a.Time >= latest.Time {
			latest = a
		}
		sameSource = sameSource || a.Source == ip || a.Source == prefix
	}
	return latest, sameSource
}

// judgeVerdict takes in what the network stage concluded about this user.
func (o *observation) judgeVerdict() {
	v := o.e.Verdict
	if v == nil {
		return // Validate refuses it
	}
	d := byID[v.Detection]
	if d == nil || v.Severity.Rank() == 0 {
		return // of a later version
	}
	l := ladder{severity: v.Severity}
	l.allowSource(o, v.Source)
	verdict := *v
	evidence := events.Evidence{Verdict: &verdict}
	switch {
	case l.record || o.c.modes[d] == Off:
	case d == &crd03, d == &crd04, d == &crd05, d == &crd08:
		a := profile.Attacked{
			Detection: profile.DetectionOf(d.ID), Source: sourceHash(v.Source), Time: max(v.To, v.From), Incident: profile.Hash(v.Incident),
			Observed: o.c.modes[d] == Observe,
		}
		told := slices.ContainsFunc(o.p.Attacked, func(b profile.Attacked) bool { return b.Detection == a.Detection && b.Incident == a.Incident })
		o.p.AddAttacked(a, events.Day)
		if told {
			return
		}
	}
	o.report(d, &l, verdictSummary(v), evidence)
}

// allowSource is rung 2 for the source that a verdict finds guilty, as it is named there.
func (l *ladder) allowSource(o *observation, source string) {
	kind, text, _ := strings.Cut(source, " ")
	switch kind {
	case "ip":
		if what := o.c.allowedAddress(profile.AddressOf(text), 0); what != "" {
			l.rung(rungAllow, effectRecord, what)
			return
		}
	case "prefix":
		if p, err := netip.ParsePrefix(text); err == nil {
			for _, allowed := range o.c.allow {
				if allowed.Bits() <= p.Bits() && allowed.Contains(p.Addr()) {
					l.rung(rungAllow, effectRecord, fmt.Sprintf("%s is in %s, which the operator allows", p, allowed))
					return
				}
			}
		}
	case "asn":
		if asn, err := strconv.ParseUint(text, 10, 32); err == nil && slices.Contains(o.c.config.Allow.ASNs, uint32(asn)) {
			l.rung(rungAllow, effectRecord, fmt.Sprintf("the operator allows AS%d", asn))
			return
		}
	}
	l.rung(rungAllow, effectNone, "the source is not on the operator's list")
}

// sourceHash stands for a source as verdicts name it.
func sourceHash(source string) uint64 { return profile.Hash(source) }

// within are the attempts of a time up to now.
func within(list []profile.Attempt, now, window events.Millis) []profile.Attempt {
	from, to := 0, len(list)
	for from < to && list[from].Time < now-window {
		from++
	}
	for to > from && list[to-1].Time > now {
		to--
	}
	return list[from:to]
}

// attempts are shown as evidence.
func attempts(list []profile.Attempt) []events.Attempt {
	var out []events.Attempt
	for _, a := range list {
		out = append(out, events.Attempt{Time: a.Time, Cause: a.Cause, ASN: a.ASN})
	}
	return out
}
