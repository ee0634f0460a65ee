package score

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

const monday events.Millis = 1767571200000 // 5 January 2026

// stream feeds a truth and a ledger.
type stream struct {
	t      *testing.T
	truth  *Truth
	ledger *Ledger
	n      int
}

func newStream(t *testing.T) *stream {
	t.Helper()
	truth := NewTruth()
	return &stream{t: t, truth: truth, ledger: NewLedger(truth)}
}

// login is a sign-in of a user at an hour; change may make something else of it.
func (s *stream) login(user string, hour float64, label company.Label, change ...func(*events.Event)) events.Event {
	s.n++
	at := monday + events.Millis(hour*events.Hour)
	e := events.Event{
		ID: fmt.Sprintf("e%d", s.n), Kind: events.SignIn, Tenant: "acme", User: events.User{ID: user}, Time: at, Ingested: at,
		Outcome: events.Success, Interactive: events.Yes, IP: "192.0.2.1", Network: events.Network{Prefix: "192.0.2.0/24", ASN: 64496},
	}
	for _, c := range change {
		c(&e)
	}
	if !s.truth.See(&e, label) {
		s.t.Fatalf("%s was not seen before", e.ID)
	}
	return e
}

func (s *stream) raise(e *events.Event, rule string, severity events.Severity, change ...func(*Alert)) *Incident {
	a := Alert{
		Detection: rule, Severity: severity, Disposition: events.Active, Tenant: e.Tenant, User: e.User.ID, EventID: e.ID, Time: e.Time,
	}
	for _, c := range change {
		c(&a)
	}
	return s.ledger.Raise(a)
}

func failed(e *events.Event)  { e.Outcome = events.Failure }
func silent(e *events.Event)  { e.Interactive = events.No }
func used(e *events.Event)    { e.Kind, e.Interactive = events.SessionUse, events.No }
func program(e *events.Event) { e.User.Type = events.Workload }

func attack(kind company.Attack, incident int) company.Label {
	return company.Label{Attack: kind, Incident: incident}
}

func odd(c company.Confounder) company.Label { return company.Label{Confounder: c} }

func TestOnlyOwnSignInsAreLogins(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	e := s.login("ann", 9, company.Label{})
	s.login("ann", 10, company.Label{}, used)
	s.login("ann", 11, company.Label{}, silent)
	s.login("ann", 12, company.Label{}, failed)
	s.login("robot", 13, company.Label{}, program)
	s.login("ann", 14, attack(company.StolenSession, 1))
	if s.truth.See(&e, company.Label{}) {
		t.Error("the same event counts again")
	}
	got := []int{s.truth.Events, s.truth.Successes, s.truth.Logins, s.truth.AttackEvents, s.truth.Users()}
	if diff := cmp.Diff([]int{5, 4, 1, 1, 2}, got); diff != "" {
		t.Error(diff)
	}
}

// Of a spray that succeeded against one user the others were not taken over.
func TestWhoWasAttackedInOneIncident(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	s.login("ann", 9, attack(company.Spray, 1), failed)
	s.login("bob", 9, attack(company.Spray, 1))
	s.login("cas", 9, attack(company.Spray, 1), failed)
	s.login("dot", 9, company.Label{})
	for user, want := range map[string]bool{"ann": false, "bob": true, "cas": false, "dot": false} {
		if got := s.truth.Attacked(events.Key("acme", user)); got != want {
			t.Errorf("%s: %v", user, got)
		}
	}
	if !s.truth.Incidents()[0].Compromise {
		t.Error("the incident was no compromise")
	}
}

func TestRecallByHand(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	// Two stolen sessions: one found at once and again at high, one only whispered about. One spray without success, not found.
	a := s.login("ann", 9, attack(company.StolenSession, 1))
	s.login("ann", 9.5, attack(company.StolenSession, 1))
	b := s.login("ann", 10, attack(company.StolenSession, 1))
	s.raise(&b, "SES-02", events.Medium)
	s.raise(&b, "LOC-01", events.Info)
	c := s.login("ann", 11, attack(company.StolenSession, 1))
	s.raise(&c, "SES-01", events.Critical)
	d := s.login("bob", 9, attack(company.StolenSession, 2))
	s.raise(&d, "LOC-04", events.Low)
	s.raise(&d, "SES-01", events.High, func(a *Alert) { a.Disposition = events.Suppressed })
	s.login("cem", 9, attack(company.Spray, 3), failed)
	_ = a
	want := []Recall{
		{Attack: company.Spray, Incidents: 1, Rules: map[string]int{}},
		{
			Attack: company.StolenSession, Incidents: 2, Compromises: 2, Caught: 1, CaughtHigh: 1, CaughtAny: 2, Quiet: 1,
			DelayP50Seconds: 3600, DelayP99Seconds: 3600, EventsBeforeP50: 2, EventsBeforeP99: 2,
			Rules: map[string]int{"SES-01": 1, "SES-02": 1},
		},
	}
	if diff := cmp.Diff(want, s.ledger.Recalls(), cmpopts.IgnoreUnexported(Recall{})); diff != "" {
		t.Error(diff)
	}
	sessions := s.ledger.RecallOver(func(i *Incident, _ *Catch) bool { return i.Attack == company.StolenSession })
	if sessions.Share() != 0.5 || sessions.ShareHigh() != 0.5 || sessions.ShareAny() != 1 {
		t.Errorf("%+v", sessions)
	}
}

func TestBlame(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	home := s.login("ann", 8, company.Label{})
	theirs := s.login("ann", 9, attack(company.ImpossibleTravel, 7), func(e *events.Event) {
		e.IP, e.Network = "198.51.100.9", events.Network{Prefix: "198.51.100.0/24", ASN: 64500}
	})
	back := s.login("ann", 10, company.Label{})
	bob := s.login("bob", 10, company.Label{})
	verdict := func(source string, from, to float64) func(*Alert) {
		return func(a *Alert) {
			a.Verdict = &events.Verdict{Source: source, From: monday + events.Millis(from*events.Hour), To: monday + events.Millis(to*events.Hour)}
		}
	}
	for name, c := range map[string]struct {
		about  *events.Event
		change func(*Alert)
		guilty bool
	}{
		"attacker's own event":              {&theirs, func(*Alert) {}, true},
		"genuine event":                     {&back, func(*Alert) {}, false},
		"compared with the attacker's":      {&back, func(a *Alert) { a.Anchors = []string{home.ID, theirs.ID} }, true},
		"compared with a genuine one":       {&back, func(a *Alert) { a.Anchors = []string{home.ID} }, false},
		"verdict on the attacker's address": {&back, verdict("ip 198.51.100.9", 8.5, 9.5), true},
		"verdict on the prefix":             {&back, verdict("prefix 198.51.100.0/24", 8.5, 9.5), true},
		"verdict on the network":            {&back, verdict("asn 64500", 8.5, 9.5), true},
		"verdict on another address":        {&back, verdict("ip 192.0.2.1", 8.5, 9.5), false},
		"verdict on another time":           {&back, verdict("ip 198.51.100.9", 2, 3), false},
		"verdict on the tenant":             {&back, verdict("", 8.5, 9.5), true},
		"verdict about somebody else":       {&bob, verdict("ip 198.51.100.9", 8.5, 9.5), false},
		"verdict that names the event":      {&bob, func(a *Alert) { a.Verdict = &events.Verdict{EventID: theirs.ID} }, true},
	} {
		i := s.raise(c.about, "X-01", events.Medium, c.change)
		if (i != nil) != c.guilty || i != nil && i.Number != 7 {
			t.Errorf("%s: %+v", name, i)
		}
	}
}

func TestFindingsRestOnWhatTheyName(t *testing.T) {
	t.Parallel()
	f := events.Finding{
		Detection: "AIT-01", EventID: "e", Anchors: []string{"a"},
		Evidence: events.Evidence{
			Chain: []events.Sight{{EventID: "c"}}, Session: &events.SessionUsed{Started: events.Sight{EventID: "s"}},
			Earlier: []events.Earlier{{EventID: "before"}},
		},
	}
	if diff := cmp.Diff([]string{"a", "c", "s"}, AlertOf(&f, "").Anchors); diff != "" {
		t.Error(diff)
	}
	f.Detection = "RSK-01"
	if diff := cmp.Diff([]string{"a", "c", "s", "before"}, AlertOf(&f, "").Anchors); diff != "" {
		t.Error(diff)
	}
}

func TestFalseAlarmsByHand(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	// Monday: ann travels and signs in twice. Tuesday: she does not. Bob's phone is at a hub, and he signs in nowhere.
	a := s.login("ann", 9, odd(company.BusinessTrip))
	trip := func(a *Alert) { a.Confounder = company.BusinessTrip }
	s.raise(&a, "LOC-04", events.Medium, trip)
	s.raise(&a, "LOC-01", events.High, trip)
	s.raise(&a, "NET-01", events.Low, trip)
	s.login("ann", 11, company.Label{})
	b := s.login("ann", 24+9, company.Label{})
	s.raise(&b, "LOC-04", events.Medium)
	s.raise(&b, "LOC-04", events.High, func(a *Alert) { a.Disposition = events.Learning })
	s.raise(&b, "LOC-01", events.High, func(a *Alert) { a.Disposition = events.Suppressed })
	s.login("bob", 9, odd(company.MobileHub), used)
	// A verdict about ann on Tuesday, whose day has no confounder, and about bob, whose has.
	v := func(a *Alert) { a.Verdict = &events.Verdict{Source: "ip 203.0.113.1"} }
	s.raise(&b, "CRD-03", events.Medium, v)
	bob := s.login("bob", 10, company.Label{}, used)
	s.raise(&bob, "CRD-03", events.Medium, v)
	s.truth.Close()

	all, byConfounder, byRule := s.ledger.FalseAlarms()
	if diff := cmp.Diff(Alarms{Name: "all", Medium: 5, High: 1, Lower: 1, Learning: 1, Suppressed: 1, Logins: 3}, all); diff != "" {
		t.Error(diff)
	}
	if got := all.Per(all.Medium); got < 1666.6 || got > 1666.7 {
		t.Errorf("%g in 1,000", got)
	}
	want := []Alarms{
		{Name: "business_trip", Medium: 2, High: 1, Lower: 1, Logins: 2},
		{Name: "mobile_hub", Medium: 1, Logins: 1},
		{Name: "ordinary", Medium: 2, Learning: 1, Suppressed: 1, Logins: 3},
	}
	if diff := cmp.Diff(want, byConfounder); diff != "" {
		t.Error(diff)
	}
	want = []Alarms{
		{Name: "CRD-03", Medium: 2, Logins: 3},
		{Name: "LOC-01", Medium: 1, High: 1, Suppressed: 1, Logins: 3},
		{Name: "LOC-04", Medium: 2, Learning: 1, Logins: 3},
		{Name: "NET-01", Lower: 1, Logins: 3},
	}
	if diff := cmp.Diff(want, byRule); diff != "" {
		t.Error(diff)
	}
	if n := s.ledger.FalseAlarmsOf("LOC-", company.BusinessTrip); n != 2 {
		t.Errorf("%d about places on trips", n)
	}
}

func TestPrecisionByHand(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	// Ten users, thirty days, two compromises of which one is found at high; an attack that gained nothing does not count.
	for i := range 8 {
		s.login(fmt.Sprint("user", i), 9, company.Label{})
	}
	ann := s.login("ann", 9, company.Label{})
	bob := s.login("bob", 9, company.Label{})
	s.raise(&ann, "A", events.High)
	s.raise(&ann, "A", events.Medium) // the same user-day
	s.raise(&bob, "A", events.Medium)
	s.raise(&bob, "B", events.Medium)
	hit := s.login("ann", 24+9, attack(company.StolenSession, 1))
	s.raise(&hit, "A", events.High)
	s.raise(&hit, "B", events.Medium)
	s.login("bob", 24+9, attack(company.StolenSession, 2))
	vain := s.login("bob", 24+9, attack(company.Spray, 3), failed)
	s.raise(&vain, "B", events.Critical)
	s.truth.Close()

	// One user-day of high severity among ten users in a month: 1,000 among 10,000, beside half of one compromise.
	// Two user-days at medium.
	high, medium := 0.5/1000.5, 0.5/2000.5
	want := []Precision{
		{Severity: events.Critical},
		{Severity: events.High, Precision: high, Recall: 0.5, FalsePerMonth: 1000},
		{Severity: events.Medium, Precision: medium, Recall: 0.5, FalsePerMonth: 2000},
		{Severity: events.Low, Precision: medium, Recall: 0.5, FalsePerMonth: 2000},
		{Severity: events.Info, Precision: medium, Recall: 0.5, FalsePerMonth: 2000},
	}
	rows, area := s.ledger.Precisions(30)
	if diff := cmp.Diff(want, rows, cmpopts.EquateApprox(0, 1e-12)); diff != "" {
		t.Error(diff)
	}
	if want := 0.5 * high; area < want-1e-12 || area > want+1e-12 {
		t.Errorf("area %g, want %g", area, want)
	}

	ablations := []Ablation{
		{Rule: "A", Caught: 1, FalseAlarms: 3, SavedPer1000: 300, SavedUserDays: 1},
		{Rule: "B", Caught: 2, Alone: 1, AloneRecall: 1.0 / 3, FalseAlarms: 1, SavedPer1000: 100},
	}
	if diff := cmp.Diff(ablations, s.ledger.Ablations(), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
		t.Error(diff)
	}
}

func TestClassesOfUsers(t *testing.T) {
	t.Parallel()
	s := newStream(t)
	for day := range 56 {
		hour := float64(24*day + 9)
		if day%7 < 5 {
			s.login("daily", hour, company.Label{})
		}
		if day%3 == 0 {
			s.login("several", hour, company.Label{})
		}
		if day%7 == 0 {
			s.login("weekly", hour, company.Label{})
			s.login("weekly", hour+1, company.Label{}) // the same day
		}
		if day%28 == 0 {
			s.login("monthly", hour, company.Label{})
		}
	}
	s.login("rarer", 9, company.Label{})
	end := monday + 56*events.Day
	got := map[string]string{}
	for _, user := range []string{"daily", "several", "weekly", "monthly", "rarer"} {
		got[user] = s.truth.Class("acme/"+user, end)
	}
	want := map[string]string{
		"daily": familiarity.Daily, "several": familiarity.SeveralAWeek, "weekly": familiarity.Weekly, "monthly": familiarity.Monthly,
		"rarer": familiarity.Rarer,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	users, logins := s.truth.ClassSizes(end)
	if users[familiarity.Weekly] != 1 || logins[familiarity.Weekly] != 16 {
		t.Errorf("%d weekly users with %d logins", users[familiarity.Weekly], logins[familiarity.Weekly])
	}
}
