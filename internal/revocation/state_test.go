package revocation

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
)

const start events.Millis = 1767225600123

// at is a successful use of a session some seconds after the start, without any new proof.
func at(seconds int, session string) *events.Event {
	t := start + events.Millis(seconds)*events.Second
	return &events.Event{
		ID: events.ID("test", fmt.Sprint(seconds), session), Kind: events.SessionUse, Tenant: "acme",
		User: events.User{ID: "u1"}, Time: t, Ingested: t + 300, Source: events.Source{ID: "x"}, Outcome: events.Success,
		Session: events.Session{ID: session},
	}
}

// proves makes an event an interactive sign-in of a strength.
func proves(e *events.Event, s events.Strength) *events.Event {
	e.Kind, e.Interactive, e.Auth.Strength = events.SignIn, events.Yes, s
	return e
}

func high(e *events.Event) []events.Finding {
	return []events.Finding{{
		ID: events.FindingID("LOC-01", 1, "acme", "u1", e.ID), Detection: "LOC-01", Severity: events.High,
		Disposition: events.Active, Summary: "Utrecht to Tokyo in an hour.", EventID: e.ID,
	}}
}

func decide(action events.Action, scope policy.Scope) policy.Decision {
	return policy.Decision{
		Decision: events.Decision{Policy: "travel", Version: "1-abc", Action: action, Reason: "LOC-01 Impossible travel (high); policy travel v1: step_up"},
		Severity: events.High, ACRValues: []string{"phr", "mfa"}, TTL: 12 * events.Hour, Scope: scope,
		Message: map[string]string{"en": "Please confirm it is you.", "nl": "Bevestig dat u het bent."},
	}
}

// line is one change in short.
func line(c Change) string {
	scope := c.Claims.Session
	if scope == "" {
		scope = "user"
	}
	return fmt.Sprintf("%s %s %s", c.Claims.Action, scope, c.Claims.Status)
}

func lines(changes []Change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, line(c))
	}
	return out
}

// step is one event of a scenario and the changes it must lead to.
type step struct {
	name  string
	event *events.Event
	// asks is the action of the decision, "" for an event without findings.
	asks  events.Action
	scope policy.Scope
	want  []string
}

func TestLifeOfARequirement(t *testing.T) {
	const session, user = policy.ScopeSession, policy.ScopeUser
	byClaim := proves(at(300, "s2"), events.MultiFactor)
	byClaim.Auth.MFA = events.MFAByClaim
	refreshed := at(300, "s1")
	refreshed.Auth.Time, refreshed.Auth.ACR = start+200*events.Second, "phr"
	stale := at(300, "s1")
	stale.Auth.Time, stale.Auth.ACR = start-200*events.Second, "phr"
	failed := proves(at(300, "s1"), events.MultiFactor)
	failed.Outcome = events.Failure
	unknown := at(0, "")
	weak := func(n int, s string) *events.Event { return proves(at(n, s), events.SingleFactor) }
	strong := func(n int, s string) *events.Event { return proves(at(n, s), events.MultiFactor) }
	for name, steps := range map[string][]step{
		"satisfied in the session": {
			{"", at(0, "s1"), events.StepUp, session, []string{"step_up s1 open"}},
			{"no proof", at(60, "s1"), "", "", nil},
			{"weak proof", weak(120, "s1"), "", "", nil},
			{"proof elsewhere", strong(180, "s2"), "", "", nil},
			{"proof", strong(240, "s1"), "", "", []string{"step_up s1 satisfied"}},
			{"over", strong(300, "s1"), "", "", nil},
		},
		"satisfied by a token": {
			{"", at(0, "s1"), events.StepUp, session, []string{"step_up s1 open"}},
			{"old proof", stale, "", "", nil},
			{"new proof", refreshed, "", "", []string{"step_up s1 satisfied"}},
		},
		"not by a failure": {
			{"", at(0, "s1"), events.StepUp, session, []string{"step_up s1 open"}},
			{"", failed, "", "", nil},
		},
		"not by a second factor of yesterday": {
			{"", unknown, events.StepUp, user, []string{"step_up user open"}},
			{"", byClaim, "", "", nil},
			{"", strong(400, "s3"), "", "", []string{"step_up user satisfied"}},
		},
		"not by the event that caused it": {
			{"", strong(0, "s1"), events.StepUp, session, []string{"step_up s1 open"}},
			{"again, findings forgotten", strong(0, "s1"), "", "", nil},
		},
		"not by a suspicious proof": {
			{"", at(0, "s1"), events.StepUp, user, []string{"step_up user open"}},
			{"", strong(100, "s2"), events.Notify, "", nil},
			{"again, findings forgotten", strong(100, "s2"), "", "", nil},
		},
		"expires by the clock of the events": {
			{"", at(0, "s1"), events.StepUp, session, []string{"step_up s1 open"}},
			{"", at(12*3600-1, "s1"), "", "", nil},
			{"", at(12*3600+1, "s2"), "", "", []string{"step_up s1 expired"}},
		},
		"covered": {
			{"", at(0, "s1"), events.StepUp, session, []string{"step_up s1 open"}},
			{"same session", at(1, "s1"), events.StepUp, session, nil},
			{"other session", at(2, "s2"), events.StepUp, session, []string{"step_up s2 open"}},
			{"stronger", at(3, "s1"), events.RevokeSession, session, []string{"revoke_session s1 open"}},
			{"weaker", at(4, "s1"), events.StepUp, session, nil},
			{"wider", at(5, "s1"), events.StepUp, user, []string{"step_up user open"}},
			{"narrower", at(6, "s7"), events.StepUp, session, nil},
		},
		"without a session the user is bound": {
			{"", unknown, events.StepUp, session, []string{"step_up user open"}},
			{"", at(1, "s1"), events.StepUp, session, nil},
		},
		"the intruder stays barred when the user has proved it": {
			{"intruder", strong(0, "evil"), events.StepUp, user, []string{"step_up user open"}},
			{"again", at(50, "evil2"), events.StepUp, user, nil},
			{"user", strong(100, "s1"), "", "", []string{"step_up user satisfied", "step_up evil open", "step_up evil2 open"}},
			{"user goes on", strong(150, "s1"), "", "", nil},
			{"it was the user", strong(200, "evil"), "", "", []string{"step_up evil satisfied"}},
		},
		"the suspect proves itself": {
			{"", strong(0, "s1"), events.StepUp, user, []string{"step_up user open"}},
			{"", strong(100, "s1"), "", "", []string{"step_up user satisfied"}},
		},
		"a proof after the requirement is not covered by it": {
			{"", at(0, "s1"), events.StepUp, user, []string{"step_up user open"}},
			{"phished", strong(100, "evil"), events.StepUp, user, []string{"step_up user expired", "step_up user open"}},
			{"user", strong(200, "s3"), "", "", []string{"step_up user satisfied", "step_up evil open", "step_up s1 open"}},
		},
		"a revoked session is over": {
			{"", at(0, "s1"), events.RevokeSession, session, []string{"revoke_session s1 open"}},
			{"proof in it", strong(100, "s1"), "", "", nil},
			{"proof elsewhere", strong(200, "s2"), "", "", nil},
			{"finding in it", strong(300, "s1"), events.RevokeSession, session, nil},
			{"", at(13*3600, "s1"), "", "", []string{"revoke_session s1 expired"}},
		},
		"watching and telling bind nobody": {
			{"", at(0, "s1"), events.Observe, "", nil},
			{"", at(1, "s1"), events.Notify, "", nil},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewState()
			for i, step := range steps {
				var fs []events.Finding
				var d policy.Decision
				if step.asks != "" {
					fs, d = high(step.event), decide(step.asks, step.scope)
				}
				got := s.Apply(step.event, fs, d)
				if diff := cmp.Diff(lines(got), step.want); diff != "" {
					t.Fatalf("step %d %s (-got, +want)\n%s", i, step.name, diff)
				}
			}
		})
	}
}

// The victim's own step-up ends the journey from the intruder's place to theirs. A phishing-resistant proof answers for
// it; one that an intruder could have relayed does not.
func TestStepUpAtHomeAnswersForTheWayBack(t *testing.T) {
	for strength, want := range map[events.Strength]bool{events.PhishingResistant: true, events.MultiFactor: false} {
		s := NewState()
		theft := at(0, "thief")
		asked := s.Apply(theft, high(theft), decide(events.StepUp, policy.ScopeUser))[0].Claims.ID
		home := proves(at(600, "mine"), strength)
		fs := high(home)
		fs[0].Evidence.Travel = &events.Travel{EffectiveKm: 9000}
		got := lines(s.Apply(home, fs, decide(events.StepUp, policy.ScopeUser)))
		if answered := slices.Contains(got, "step_up user satisfied"); answered != want || fs[0].Decision.Covered != want {
			t.Errorf("%s: %q, decision %+v", strength, got, fs[0].Decision)
		}
		if want && fs[0].Decision.Requirement != asked {
			t.Errorf("%s: the finding is linked to %s, the proof answered %s", strength, fs[0].Decision.Requirement, asked)
		}
		fs[0].Evidence.Session = &events.SessionUsed{}
		again := proves(at(700, "mine"), strength)
		for _, c := range s.Apply(again, fs, decide(events.StepUp, policy.ScopeUser)) {
			if c.Claims.Status == Satisfied {
				t.Errorf("%s: a stolen session was answered for: %s", strength, line(c))
			}
		}
	}
}

func TestFindingsCarryTheDecision(t *testing.T) {
	s := NewState()
	first, second := at(0, "s1"), at(10, "s1")
	fs := append(high(first), high(first)...)
	changes := s.Apply(first, fs, decide(events.StepUp, policy.ScopeSession))
	for i := range fs {
		d := fs[i].Decision
		if d == nil || d.Requirement != changes[0].Claims.ID || d.Covered || d.Policy != "travel" || d.Action != events.StepUp {
			t.Errorf("finding %d: %+v", i, d)
		}
	}
	again := high(second)
	s.Apply(second, again, decide(events.StepUp, policy.ScopeSession))
	if d := again[0].Decision; d == nil || d.Requirement != changes[0].Claims.ID || !d.Covered {
		t.Errorf("covered: %+v", d)
	}
	repeat := high(first)
	s.Apply(first, repeat, decide(events.StepUp, policy.ScopeSession))
	if diff := cmp.Diff(repeat[0].Decision, fs[0].Decision); diff != "" {
		t.Errorf("a repeat decides otherwise (-got, +want)\n%s", diff)
	}
	watched := high(at(20, "s5"))
	d := decide(events.StepUp, policy.ScopeSession)
	d.Observed = true
	if changes := s.Apply(at(20, "s5"), watched, d); changes != nil || watched[0].Decision.Requirement != "" || !watched[0].Decision.Observed {
		t.Errorf("observed: %v %+v", changes, watched[0].Decision)
	}
}

func TestTimesOfARequirement(t *testing.T) {
	e := at(0, "s1") // happened at .123, accepted at .423
	c := NewState().Apply(e, high(e), decide(events.StepUp, policy.ScopeSession))[0].Claims
	if c.IssuedAt != 1767225600 || c.NotBefore != 1767225601 || c.Expires != 1767225601+12*3600 || c.EventTime != 1767225600 {
		t.Errorf("got %+v", c)
	}
	e.Time, e.Ingested = 1767225600000, 1767225600000
	c = NewState().Apply(e, high(e), decide(events.StepUp, policy.ScopeSession))[0].Claims
	if c.NotBefore != 1767225601 {
		t.Errorf("a proof in the second of the event would count: %+v", c)
	}
	e.Time, e.Ingested = 1767225600123, 1767229200456 // an hour late
	c = NewState().Apply(e, high(e), decide(events.StepUp, policy.ScopeSession))[0].Claims
	if c.IssuedAt != 1767229200 || c.NotBefore != 1767229201 || c.EventTime != 1767225600 {
		t.Errorf("got %+v", c)
	}
}

func TestSufficientProofs(t *testing.T) {
	for _, c := range []struct {
		wanted []string
		auth   events.Auth
		want   bool
	}{
		{[]string{"phr", "mfa"}, events.Auth{Strength: events.MultiFactor}, true},
		{[]string{"phr"}, events.Auth{Strength: events.MultiFactor}, false},
		{[]string{"phr"}, events.Auth{Strength: events.PhishingResistant}, true},
		{[]string{"mfa"}, events.Auth{Strength: events.PhishingResistant}, true},
		{[]string{"mfa"}, events.Auth{MFA: events.MFAPerformed}, true},
		{[]string{"mfa"}, events.Auth{Strength: events.SingleFactor, MFA: events.MFANotRequired}, false},
		{[]string{"mfa"}, events.Auth{ACR: "phrh"}, true},
		{[]string{"c1"}, events.Auth{ACR: "c1"}, true},
		{[]string{"c1"}, events.Auth{ACR: "c2", Strength: events.PhishingResistant}, false},
		{nil, events.Auth{Strength: events.SingleFactor}, true},
		{[]string{"mfa"}, events.Auth{}, false},
	} {
		e := at(10, "s1")
		e.Kind, e.Interactive, e.Auth = events.SignIn, events.Yes, c.auth
		r := Requirement{NotBefore: floor(start), ACRValues: c.wanted}
		if got := meets(policy.ProofOf(e), &r); got != c.want {
			t.Errorf("%v by %+v: %v", c.wanted, c.auth, got)
		}
	}
	future := at(10, "s1")
	future.Auth = events.Auth{ACR: "phr", Time: start + events.Day}
	if meets(policy.ProofOf(future), &Requirement{NotBefore: floor(start) + 3600, ACRValues: []string{"phr"}}) {
		t.Error("a proof of tomorrow counts")
	}
}

func TestTooManySessionsBarTheUser(t *testing.T) {
	s := NewState()
	for i := range 100 {
		e := at(i, fmt.Sprint("s", i))
		s.Apply(e, high(e), decide(events.RevokeSession, policy.ScopeSession))
	}
	open := s.Open()
	if len(open) != maxSessions+1 || open[len(open)-1].Session != "" {
		t.Fatalf("%d open, last on session %q", len(open), open[len(open)-1].Session)
	}
	for _, e := range []*events.Event{at(200, "s5"), at(201, "s99"), at(202, "new")} {
		if !slices.ContainsFunc(open, func(r Requirement) bool { return r.binds(e.Session.ID, policy.ProofOf(e)) }) {
			t.Errorf("%s is not bound", e.Session.ID)
		}
	}
	if n := len(s.AppendBinary(nil)); n > 16<<10 {
		t.Errorf("%d bytes", n)
	}
}

func TestMoreSuspectsThanCanBeKept(t *testing.T) {
	s := NewState()
	for i := range maxSuspects + 1 {
		e := at(i, fmt.Sprint("s", i))
		s.Apply(e, high(e), decide(events.StepUp, policy.ScopeUser))
	}
	if got := s.Apply(proves(at(100, "user"), events.PhishingResistant), nil, policy.Decision{}); got != nil {
		t.Errorf("lets a forgotten suspect go: %v", lines(got))
	}
	if got := lines(s.Apply(at(13*3600, "user"), nil, policy.Decision{})); cmp.Diff(got, []string{"step_up user expired"}) != "" {
		t.Error(got)
	}
}

func TestCurrentIsTheNewestRecord(t *testing.T) {
	s := NewState()
	e := at(0, "s1")
	opened := s.Apply(e, high(e), decide(events.StepUp, policy.ScopeSession))[0]
	s, err := DecodeState(s.AppendBinary(nil))
	if err != nil {
		t.Fatal(err)
	}
	got, ok := s.Current(opened.Claims.ID)
	if diff := cmp.Diff(got, opened); !ok || diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	s.Apply(proves(at(10, "s1"), events.MultiFactor), nil, policy.Decision{})
	if _, ok := s.Current(opened.Claims.ID); ok {
		t.Error("still open")
	}
	user, id, ok := SplitKey(opened.Key)
	if user != "acme/u1" || id != opened.Claims.ID || !ok {
		t.Errorf("%q %q %v", user, id, ok)
	}
	for _, bad := range []string{"", "a", "a/b", "/", "a/b/"} {
		if _, _, ok := SplitKey(bad); ok {
			t.Errorf("%q is a key", bad)
		}
	}
	if user, id, ok := SplitKey("acme/a/b/c"); user != "acme/a/b" || id != "c" || !ok {
		t.Errorf("a user with slashes: %q %q", user, id)
	}
}

// act is one drawn event with its findings and decision.
type act struct {
	event    *events.Event
	findings []events.Finding
	decision policy.Decision
}

func (a act) apply(s *State) []Change {
	fs := slices.Clone(a.findings)
	return s.Apply(a.event, fs, a.decision)
}

func draw(t *rapid.T, i int, clockNow *int) act {
	*clockNow += rapid.SampledFrom([]int{0, 1, 30, 600, 5 * 3600, -60}).Draw(t, "after")
	e := at(*clockNow, rapid.SampledFrom([]string{"", "s1", "s2", "s3", "s4"}).Draw(t, "session"))
	e.ID = events.ID("drawn", fmt.Sprint(i))
	e.Outcome = rapid.SampledFrom([]events.Outcome{events.Success, events.Success, events.Failure}).Draw(t, "outcome")
	if rapid.Bool().Draw(t, "interactive") {
		proves(e, rapid.SampledFrom(events.Strengths).Draw(t, "strength"))
	}
	if rapid.Bool().Draw(t, "whole second") {
		e.Time -= e.Time % events.Second
		e.Ingested = 0
	}
	a := act{event: e}
	if rapid.IntRange(0, 2).Draw(t, "finding") == 0 {
		a.findings = high(e)
		a.findings[0].Severity = rapid.SampledFrom(events.Severities).Draw(t, "severity")
		if rapid.Bool().Draw(t, "journey") {
			a.findings[0].Evidence.Travel = &events.Travel{EffectiveKm: 9000}
		}
		a.decision = decide(rapid.SampledFrom(events.Actions).Draw(t, "action"),
			rapid.SampledFrom([]policy.Scope{policy.ScopeSession, policy.ScopeUser}).Draw(t, "scope"))
		a.decision.ACRValues = rapid.SampledFrom([][]string{{"phr", "mfa"}, {"phr"}, {"c1"}, nil}).Draw(t, "acr")
		a.decision.TTL = rapid.SampledFrom([]events.Millis{events.Minute, 12 * events.Hour}).Draw(t, "ttl")
		a.decision.Observed = rapid.IntRange(0, 9).Draw(t, "observed") == 0
		a.decision.Held = rapid.IntRange(0, 9).Draw(t, "held") == 0
		a.decision.CredentialChange = a.decision.Action == events.RevokeAll && rapid.Bool().Draw(t, "change")
		a.decision.Cooldown = rapid.SampledFrom([]events.Millis{0, 4 * events.Hour}).Draw(t, "cooldown")
		if rapid.IntRange(0, 3).Draw(t, "calm") == 0 {
			a.findings, a.decision.Severity = nil, ""
		}
	} else if rapid.IntRange(0, 5).Draw(t, "new credential") == 0 {
		changes(e)
	}
	return a
}

// changes makes an event a change of the credential.
func changes(e *events.Event) *events.Event {
	e.Kind, e.Outcome, e.Auth, e.Interactive = events.AccountChange, events.Success, events.Auth{}, events.Unknown
	e.Change = events.Change{Type: events.CredentialChange, Action: events.Reset}
	return e
}

// Everything is over, until there is a new credential and a proof with it, from a session that was not among the suspects.
func TestRevokingAllEndsWithANewCredentialAndAProof(t *testing.T) {
	all := decide(events.RevokeAll, policy.ScopeUser)
	all.CredentialChange = true
	s := NewState()
	apply := func(e *events.Event, d policy.Decision, want ...string) []Change {
		t.Helper()
		var fs []events.Finding
		if d.Policy != "" {
			fs = high(e)
		}
		got := s.Apply(e, fs, d)
		if diff := cmp.Diff(lines(got), want); diff != "" {
			t.Fatalf("%s (-got, +want)\n%s", e.ID, diff)
		}
		return got
	}
	none := policy.Decision{}
	opened := apply(at(0, "evil"), all, "revoke_all user open")[0].Claims
	if !opened.CredentialChange || opened.EventType() != EventSessionRevoked {
		t.Errorf("%+v", opened)
	}
	apply(proves(at(60, "s1"), events.PhishingResistant), none) // with the old credential
	apply(at(90, "s2"), decide(events.StepUp, policy.ScopeSession))
	apply(at(95, "s2"), decide(events.RevokeSession, policy.ScopeSession))
	early := changes(at(100, ""))
	early.Time = start - events.Hour
	apply(early, none) // before it all
	failed := changes(at(110, ""))
	failed.Outcome = events.Failure
	apply(failed, none)
	removed := changes(at(120, ""))
	removed.Change.Action = events.Removed
	apply(removed, none)

	after := apply(changes(at(200, "")), none, "revoke_all user open", "revoke_all user satisfied")
	next := after[0].Claims
	if next.CredentialChange || next.ID == opened.ID || next.NotBefore <= floor(start)+200 || next.Expires != opened.Expires || after[1].Claims.ID != opened.ID {
		t.Errorf("%+v", next)
	}
	if !s.Open()[0].binds("s1", policy.ProofOf(proves(at(60, "s1"), events.PhishingResistant))) {
		t.Error("a proof from before the change is enough")
	}
	apply(proves(at(210, "evil"), events.PhishingResistant), none)
	apply(proves(at(220, "s3"), events.MultiFactor), none,
		"revoke_all user satisfied", "revoke_session evil open", "revoke_session s2 open")
	apply(proves(at(230, "evil"), events.PhishingResistant), none)
	apply(at(25*3600, "s3"), none, "revoke_session evil expired", "revoke_session s2 expired")
}

// An intruder who changes the credential in a session that caused the requirement does not lift it, however many sessions
// that were. Somebody else's change does, and so does one without a session.
func TestAnIntruderCannotBringTheNewCredential(t *testing.T) {
	all := decide(events.RevokeAll, policy.ScopeUser)
	all.CredentialChange = true
	by := func(e *events.Event, actor string) *events.Event {
		e.Change.Actor.ID = actor
		return e
	}
	for name, c := range map[string]struct {
		intruders int
		change    *events.Event
		lifts     bool
	}{
		"by the intruder":                   {1, changes(at(200, "evil0")), false},
		"by one of many":                    {maxSuspects, changes(at(200, fmt.Sprint("evil", maxSuspects-1))), false},
		"by one too many to remember":       {maxSuspects + 1, changes(at(200, fmt.Sprint("evil", maxSuspects))), false},
		"in a session of the user":          {1, changes(at(200, "mine")), true},
		"outside of sessions":               {maxSuspects + 1, changes(at(200, "")), true},
		"by an administrator":               {maxSuspects + 1, by(changes(at(200, "desk")), "admin"), true},
		"by an administrator who is in":     {1, by(changes(at(200, "evil0")), "admin"), false},
		"in a session of an unknown, alone": {maxSuspects, changes(at(200, "mine")), true},
	} {
		s := NewState()
		for i := range c.intruders {
			e := at(i, fmt.Sprint("evil", i))
			s.Apply(e, high(e), all)
		}
		s.Apply(c.change, nil, policy.Decision{})
		if open := s.Open(); len(open) != 1 || open[0].CredentialChange == c.lifts {
			t.Errorf("%s: %+v", name, open)
		}
	}
}

func TestRevokingAllWithoutANewCredential(t *testing.T) {
	s := NewState()
	s.Apply(at(0, ""), high(at(0, "")), decide(events.RevokeAll, policy.ScopeUser))
	if got := lines(s.Apply(proves(at(60, "s1"), events.MultiFactor), nil, policy.Decision{})); !slices.Equal(got, []string{"revoke_all user satisfied"}) {
		t.Error(got)
	}
}

// Whoever meets a requirement is left alone by its policy for its cooldown, and whoever was told of is not told of again.
func TestPassesAreGranted(t *testing.T) {
	s := NewState()
	d := decide(events.StepUp, policy.ScopeSession)
	d.Cooldown = 4 * events.Hour
	s.Apply(at(0, "s1"), high(at(0, "s1")), d)
	if len(s.Passes()) != 0 {
		t.Error("a pass before the proof")
	}
	proof := proves(at(60, "s1"), events.MultiFactor)
	s.Apply(proof, nil, policy.Decision{})
	want, _ := policy.PassOf("travel", "1-abc", "s1", events.High, proof.Time, d.Cooldown)
	if diff := cmp.Diff(s.Passes(), []policy.Pass{want}); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	told := decide(events.Notify, "")
	told.Policy, told.Cooldown = "tell", events.Hour
	s.Apply(at(120, "s2"), high(at(120, "s2")), told)
	if len(s.Passes()) != 2 {
		t.Errorf("%d passes", len(s.Passes()))
	}
	restored, err := DecodeState(s.AppendBinary(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(restored.Passes(), s.Passes()); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	for i := range 100 { // bounded
		told.Policy = fmt.Sprint("tell-", i)
		s.Apply(at(200+i, "s2"), high(at(200+i, "s2")), told)
	}
	if len(s.Passes()) != maxPasses {
		t.Errorf("%d passes", len(s.Passes()))
	}
	quiet := at(5*3600, "s2")
	s.Apply(quiet, high(quiet), decide(events.Observe, ""))
	if len(s.Passes()) != 0 || len(s.AppendBinary(nil)) > 100 {
		t.Errorf("%d passes after all were over", len(s.Passes()))
	}
}

// A pass lasts for its cooldown in the time of the events, also when they are accepted later than that.
func TestPassesOutliveTheLag(t *testing.T) {
	s := NewState()
	told := decide(events.Notify, "")
	told.Cooldown = events.Hour
	late := func(seconds int) *events.Event {
		e := at(seconds, "s1")
		e.Ingested = e.Time + 3*events.Hour
		return e
	}
	s.Apply(late(0), high(late(0)), told)
	for seconds, want := range map[int]int{60: 1, 3599: 1, 3601: 0} {
		twin, err := DecodeState(s.AppendBinary(nil))
		if err != nil {
			t.Fatal(err)
		}
		if twin.Apply(late(seconds), high(late(seconds)), decide(events.Observe, "")); len(twin.Passes()) != want {
			t.Errorf("after %d s: %d passes, want %d", seconds, len(twin.Passes()), want)
		}
	}
}

// A demand that nothing serious calls for is met by a proof in a later event of the same kind, also when policy asks again.
func TestACalmDemandIsMetByTheEventItself(t *testing.T) {
	s := NewState()
	d := decide(events.StepUp, policy.ScopeSession)
	d.Severity = ""
	s.Apply(at(0, "s1"), nil, d)
	e := proves(at(60, "s1"), events.MultiFactor)
	note := []events.Finding{policy.Unprompted(e, &d)}
	if got := lines(s.Apply(e, note, d)); !slices.Equal(got, []string{"step_up s1 satisfied"}) || !note[0].Decision.Covered {
		t.Errorf("%v, %+v", got, note[0].Decision)
	}
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, twin := NewState(), NewState()
		status := map[string]Status{}
		seen := map[string]bool{}
		sessions := map[string]string{}
		now := 0
		for i := range rapid.IntRange(1, 60).Draw(t, "events") {
			a := draw(t, i, &now)
			before := s.AppendBinary(nil)
			changes := a.apply(s)

			// Every requirement opens once, and ends at most once; no claims set is made twice.
			for _, c := range changes {
				id := c.Claims.ID
				switch was, known := status[id]; {
				case c.Claims.Status == Open && known:
					t.Fatalf("event %d: %s opened when it was %s", i, id, was)
				case c.Claims.Status != Open && was != Open:
					t.Fatalf("event %d: %s is %s after %q", i, id, c.Claims.Status, was)
				}
				status[id] = c.Claims.Status
				if seen[c.Claims.JTI] {
					t.Fatalf("event %d: jti twice", i)
				}
				seen[c.Claims.JTI] = true
				sessions[id] = c.Claims.Session
				if parsed, err := ParseClaims(c.Claims.Encode()); err != nil {
					t.Fatalf("event %d: %v", i, err)
				} else if diff := cmp.Diff(parsed, c.Claims, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("claims do not survive (-got, +want)\n%s", diff)
				}
			}

			// The state knows exactly what is open, at most one for scope and action, within the bound.
			type scope struct {
				session string
				action  events.Action
			}
			scopes := map[scope]bool{}
			for _, r := range s.Open() {
				if status[r.ID] != Open {
					t.Fatalf("event %d: %s is open in the state and %q on the log", i, r.ID, status[r.ID])
				}
				if k := (scope{r.Session, r.Action}); scopes[k] {
					t.Fatalf("event %d: two open for %v", i, k)
				} else {
					scopes[k] = true
				}
			}
			open := 0
			for _, v := range status {
				if v == Open {
					open++
				}
			}
			if open != len(s.Open()) || open > MaxOpen {
				t.Fatalf("event %d: %d open on the log, %d in the state", i, open, len(s.Open()))
			}

			// What was asked for binds: whoever made this event cannot go on without another proof. A journey that a
			// phishing-resistant proof has answered for needs none.
			answered := (a.event.Auth.Strength == events.PhishingResistant || a.decision.Severity == "") &&
				slices.ContainsFunc(changes, func(c Change) bool { return c.Claims.Status == Satisfied })
			if a.decision.Required() && !answered && !slices.ContainsFunc(s.Open(), func(r Requirement) bool {
				return r.binds(a.event.Session.ID, policy.ProofOf(a.event))
			}) {
				t.Fatalf("event %d: asked for %s, nothing binds", i, a.decision.Action)
			}

			// A session that is revoked does not come back before its time.
			for _, c := range changes {
				if c.Claims.Action == events.RevokeSession && c.Claims.Status == Satisfied {
					t.Fatalf("event %d: a revoked session came back", i)
				}
			}

			// The same again changes nothing, with or without its findings.
			state := s.AppendBinary(nil)
			if again := a.apply(s); len(again) > 0 {
				t.Fatalf("event %d repeated: %v", i, lines(again))
			}
			if again := (act{event: a.event}).apply(s); len(again) > 0 {
				t.Fatalf("event %d repeated without findings: %v", i, lines(again))
			}
			if !slices.Equal(s.AppendBinary(nil), state) {
				t.Fatalf("event %d repeated: the state changed", i)
			}

			// A state that was stored and read goes on like one that was not, and the bytes are stable.
			decoded, err := DecodeState(before)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(a.apply(decoded), changes); diff != "" {
				t.Fatalf("event %d after a restart (-got, +want)\n%s", i, diff)
			}
			a.apply(twin)
			if !slices.Equal(decoded.AppendBinary(nil), state) || !slices.Equal(twin.AppendBinary(nil), state) {
				t.Fatalf("event %d: states differ", i)
			}
		}
	})
}

func BenchmarkApplyNothing(b *testing.B) {
	s, e := NewState(), at(0, "s1")
	b.ReportAllocs()
	for b.Loop() {
		s.Apply(e, nil, policy.Decision{})
	}
}
