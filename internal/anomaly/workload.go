package anomaly

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// WKL-01 sees a program, such as a service principal, sign in from a network or country, with a client or with a kind of
// credential that is new for it. Programs have habits that people do not have: they hardly ever change.
//
// State: the program's networks, countries, clients and kinds of credential (U2), once it has been watched for 14 days.
// Evidence: what is new.
// False positives: a planned move or a new release of the program.
var wkl01 = Detection{ID: "WKL-01", Version: 1, Title: "Program signs in differently", Technique: "T1078.004", Severity: severities(events.High)}

// judgeWorkload is WKL-01. A program has no home, no journey and no second factor: nothing else applies.
func (o *observation) judgeWorkload() {
	e, p := o.e, o.p
	if e.Kind != events.SignIn || e.Outcome != events.Success {
		return
	}
	p.Count(e.Time, o.c.inactive)
	o.history = events.History{FirstSeen: p.FirstSeen, Successes: int(p.Successes) - 1}
	ttl := ms(o.c.config.Workload.TTL)
	terms := []struct {
		novelty novelty
		name    string
		text    string
	}{
		{o.compare(profile.ASN, uint64(e.Network.ASN), ttl), "asn", strconv.FormatUint(uint64(e.Network.ASN), 10)},
		{o.compare(profile.Country, profile.CountryValue(e.Place.Country), ttl), "country", e.Place.Country},
		{o.compare(profile.Agent, profile.TextValue(agentFamily(e)), ttl), "client", agentFamily(e)},
		{o.compare(profile.CredentialType, profile.TextValue(credentialType(e)), ttl), "credential", credentialType(e)},
	}
	var novel []events.NovelTerm
	var names []string
	for i := range terms {
		if t := &terms[i]; t.novelty.new() && t.novelty.fresh {
			novel = append(novel, t.novelty.term(t.name, t.text))
			names = append(names, t.name+" "+t.text)
		}
	}
	adverse := false
	if len(novel) > 0 {
		l := ladder{severity: events.High}
		if age := e.Time - p.FirstSeen; age < ms(o.c.config.Workload.Learning) {
			l.rung(rungLearning, effectRecord, "the program is known for "+span(age))
		} else {
			l.rung(rungLearning, effectNone, "the program is known for "+span(age))
		}
		if what := o.c.allowedAddress(profile.AddressOf(e.IP), e.Network.ASN); what != "" {
			l.rung(rungAllow, effectRecord, what)
		} else {
			l.rung(rungAllow, effectNone, "the address is not on the operator's list")
		}
		adverse = !l.learning && !l.record
		o.report(&wkl01, &l, fmt.Sprintf("The program signs in with what is new for it: %s", strings.Join(names, ", ")), events.Evidence{Novel: novel})
	}
	for i := range terms {
		o.teach(&terms[i].novelty, adverse)
	}
	o.judgeVendor()
}

// agentFamily is what a program calls itself, without its version.
func agentFamily(e *events.Event) string {
	if e.Device.OS != "" || e.Device.Browser != "" {
		return strings.TrimSpace(e.Device.OS + " " + e.Device.Browser)
	}
	name, _, _ := strings.Cut(e.UserAgent, "/")
	return name[:min(len(name), events.MaxName)]
}

// credentialType is the kind of credential a program used, such as "certificate".
func credentialType(e *events.Event) string {
	return strings.Join(e.Auth.Methods, "+")
}
