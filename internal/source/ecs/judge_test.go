package ecs

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(object)
		want   events.Outcome
	}{
		"success":                 {set("event.outcome", "success"), events.Success},
		"failure":                 {set("event.outcome", []any{"Failure"}), events.Failure},
		"an interrupt":            {set("event.outcome", "unknown"), ""},
		"absent":                  {set("event.outcome", nil), ""},
		"something else":          {set("event.outcome", "maybe"), ""},
		"denied":                  {all(set("event.outcome", "failure"), set("event.type", []any{"start", "denied"})), events.Blocked},
		"a step":                  {set("event.type", "info"), events.Interrupt}, // T36
		"a step that failed":      {all(set("event.type", "info"), set("event.outcome", "failure")), events.Failure},
		"a start and more":        {set("event.type", []any{"info", "start"}), events.Success},
		"a type is not mandatory": {set("event.type", nil), events.Success},
	} {
		if e := of(t, c.change); e.Outcome != c.want || e.Kind != events.SignIn {
			t.Errorf("%s: %q %q, want %q", name, e.Kind, e.Outcome, c.want)
		}
	}
	e := of(t, set("event.outcome", "failure"), set("event.code", 4625), set("error.code", "0xc000006a"), set("error.message", "wrong password"))
	if e.Code != "0xc000006a" || e.Reason != "wrong password" {
		t.Errorf("code %q, reason %q", e.Code, e.Reason)
	}
}

func TestSignOuts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(object)
		want   events.Kind
	}{
		"end":             {kinds("authentication", "end"), events.SignOut},
		"end of session":  {kinds("session", "end"), events.SignOut},
		"both categories": {kinds("authentication session", "end", "user"), events.SignOut},
		"by the action":   {all(kinds("authentication", "info"), set("event.action", "user_logout")), events.SignOut},
		"logged-out":      {all(kinds("authentication"), set("event.action", "logged-out")), events.SignOut},
		"start":           {all(kinds("authentication session", "start"), set("event.action", "logout-redirect")), events.SignIn},
	} {
		e := of(t, c.change, set("session.id", "s-1"))
		if e.Kind != c.want || e.Session.ID != "s-1" || c.want == events.SignOut && (e.Outcome != events.Success || e.Interactive != events.Unknown) {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// A sign-out without a session would end every session of the user; one that failed ends none.
func TestSignOutsThatEndNothing(t *testing.T) {
	t.Parallel()
	for reason, change := range map[string]func(object){
		"no_session": kinds("authentication", "end"),
		"failed":     all(kinds("authentication", "end"), set("event.outcome", "failure"), set("session.id", "s-1")),
	} {
		got := decodeAll(write(t, nested(document(change))))
		if skipped, _ := errors.AsType[*foreign.Skipped](got[0].err); len(got) != 1 || skipped == nil || skipped.Reason != reason {
			t.Errorf("%+v, want it skipped: %s", got, reason)
		}
	}
}

func TestInteractiveNeedsEvidence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(object)
		want   events.Tri
	}{
		"sign-in":       {set("event.action", "sign-in"), events.Unknown},
		"refresh":       {set("event.action", "Token_Refresh"), events.No},
		"ticket":        {set("event.action", "kerberos-service-ticket-requested"), events.No},
		"Windows":       {set("winlog.logon.type", "RemoteInteractive"), events.Yes},
		"Windows share": {set("winlog.logon.type", "Network"), events.No},
		"Windows, new":  {set("winlog.logon.type", "Telepathy"), events.Unknown},
	} {
		e := of(t, c.change)
		if e.Interactive != c.want || e.Auth.IsDefined() {
			t.Errorf("%s: %v, want %v; %+v", name, e.Interactive, c.want, e.Auth)
		}
	}
}

func TestRisk(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(object)
		want   events.Risk
	}{
		"absent":           {func(object) {}, events.Risk{}},
		"none":             {set("event.risk_score", 0), events.Risk{Level: events.RiskNone}},
		"low":              {set("event.risk_score", 21), events.Risk{Level: events.RiskLow}},
		"medium":           {set("event.risk_score", "47.5"), events.Risk{Level: events.RiskMedium}},
		"normalised first": {all(set("event.risk_score", 9000), set("event.risk_score_norm", 99)), events.Risk{Level: events.RiskHigh}},
		"another scale":    {set("event.risk_score", 9000), events.Risk{}},
		"negative":         {set("event.risk_score", -1), events.Risk{}},
		"no number":        {set("event.risk_score", "NaN"), events.Risk{}},
		"of the user":      {set("user.risk.calculated_level", "Moderate"), events.Risk{User: events.RiskMedium}},
		"critical user":    {set("user.risk.calculated_level", "Critical"), events.Risk{User: events.RiskHigh}},
		"user's score":     {all(set("user.risk.calculated_level", "Unknown"), set("user.risk.calculated_score_norm", 12)), events.Risk{User: events.RiskLow}},
	} {
		if diff := cmp.Diff(c.want, of(t, c.change).Risk); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	e := of(t, set("rule.id", "r-1"), set("rule.name", "Require MFA"))
	if diff := cmp.Diff(events.Access{Policies: []events.AccessPolicy{{ID: "r-1", Name: "Require MFA"}}}, e.Access); diff != "" {
		t.Error(diff)
	}
}

func TestAccountChanges(t *testing.T) {
	t.Parallel()
	admins := events.Ref{ID: "g-1", Name: "Admins"}
	for action, c := range map[string]struct {
		types string
		want  events.Change
	}{
		"added-user-account":             {"user creation", events.Change{Type: events.LifecycleChange, Action: events.Added}},
		"deleted-user-account":           {"user deletion", events.Change{Type: events.LifecycleChange, Action: events.Removed}},
		"enabled-user-account":           {"user change", events.Change{Type: events.LifecycleChange, Action: events.Enabled}},
		"disabled-user-account":          {"user change", events.Change{Type: events.LifecycleChange, Action: events.Disabled}},
		"locked-out-user-account":        {"user change", events.Change{Type: events.LifecycleChange, Action: events.Locked}},
		"unlocked-user-account":          {"user change", events.Change{Type: events.LifecycleChange, Action: events.Unlocked}},
		"user.account.unsuspend":         {"user change", events.Change{Type: events.LifecycleChange, Action: events.Enabled}},
		"BlockUser":                      {"user change", events.Change{Type: events.LifecycleChange, Action: events.Disabled}},
		"changed-password":               {"user change", events.Change{Type: events.CredentialChange, Action: events.Updated}},
		"user.account.reset_password":    {"user change", events.Change{Type: events.CredentialChange, Action: events.Reset}},
		"user.mfa.factor.activate":       {"user change", events.Change{Type: events.MethodChange, Action: events.Added}},
		"user.mfa.factor.deactivate":     {"user change", events.Change{Type: events.MethodChange, Action: events.Removed}},
		"user.mfa.factor.reset_all":      {"user change", events.Change{Type: events.MethodChange, Action: events.Reset}},
		"User registered security info":  {"user change", events.Change{Type: events.MethodChange, Action: events.Added}},
		"2sv_disable":                    {"user change", events.Change{Type: events.MethodChange, Action: events.Removed}},
		"recovery_email_edit":            {"user change", events.Change{Type: events.RecoveryChange, Action: events.Updated}},
		"Add registered owner to device": {"user change", events.Change{Type: events.DeviceChange, Action: events.Added}},
		"Consent to application":         {"user creation", events.Change{Type: events.ConsentChange, Action: events.Added}},
		"added-member-to-group":          {"group change", events.Change{Type: events.RoleChange, Action: events.Added, Target: admins}},
		"removed-member-from-group":      {"group change", events.Change{Type: events.RoleChange, Action: events.Removed, Target: admins}},
		"group.user_membership.add":      {"group creation", events.Change{Type: events.RoleChange, Action: events.Added, Target: admins}},
	} {
		e := of(t, kinds("iam", strings.Fields(c.types)...), set("event.action", action), set("group.id", "g-1"), set("group.name", "Admins"))
		if diff := cmp.Diff(c.want, e.Change); diff != "" {
			t.Errorf("%s: %s", action, diff)
		}
		if e.Kind != events.AccountChange || e.User.ID != userID || e.Outcome != events.Success {
			t.Errorf("%s: %+v", action, e)
		}
	}
}

// Who is changed is in user.target, and user is who did it.
func TestTargetOfAChange(t *testing.T) {
	t.Parallel()
	change := all(kinds("iam", "user", "change"), set("event.action", "reset-password"))
	e := of(t, change, set("user.target.id", "u2"), set("user.target.name", "bob"))
	if e.User.ID != "u2" || e.Change.Actor != (events.Ref{ID: userID, Name: "u-5b9e"}) {
		t.Errorf("%+v by %+v", e.User, e.Change.Actor)
	}
	e = of(t, change, set("user.target.id", userID))
	if e.User.ID != userID || e.Change.Actor != (events.Ref{}) {
		t.Errorf("%+v by %+v: who changes the own password is no other", e.User, e.Change.Actor)
	}
	e = of(t, change, set("user.id", nil), set("user.name", nil), set("user.email", nil), set("user.target.name", "Bob"))
	if e.User.ID != "name:bob" || e.User.Type != events.Unresolved {
		t.Errorf("%+v", e.User)
	}
}

// FuzzDocuments holds the decoder to its laws: the same bytes give the same answer, an answer is an event or an error,
// an event has an identity and a time, claims no proof that ECS has no field for, and fits the limits that ingest refuses
// beyond.
func FuzzDocuments(f *testing.F) {
	f.Add(write(f, nested(document(nil))))
	f.Add(write(f, document(all(kinds("iam", "user", "change"), set("event.action", "reset-password"), set("user.target.id", "u2")))))
	f.Add(write(f, object{"hits": object{"hits": []any{object{"_id": "1", "_source": nested(document(set("event.id", nil)))}}}}))
	f.Add(`[{"@timestamp":1772612135123,"event.category":"session","event.type":"end","session.id":"s","user.name":["x"]},{"index":{}},5]`)
	f.Add(`{"@timestamp":"2026-03-04T08:15:35Z","event":[{"category":"authentication"}],"user":{"id":1},"source":{"geo":{"city_name":"x","location":["POINT (1 2)",3,[4]]}}}`)
	f.Fuzz(func(t *testing.T, value string) {
		got := decodeAll(value)
		same := cmp.Comparer(func(a, b error) bool { return (a == nil) == (b == nil) && (a == nil || a.Error() == b.Error()) })
		if diff := cmp.Diff(got, decodeAll(value), cmp.AllowUnexported(result{}), same); diff != "" {
			t.Errorf("decoded twice: %s", diff)
		}
		for _, r := range got {
			if len(r.record) > len(value) || (r.event == nil) == (r.err == nil) {
				t.Fatalf("%d bytes of %d, event %v, error %v", len(r.record), len(value), r.event, r.err)
			}
			if r.event != nil {
				checkLaws(t, r.event)
			}
		}
	})
}

func checkLaws(t *testing.T, e *events.Event) {
	t.Helper()
	if e.Kind != events.SignIn && e.Kind != events.SignOut && e.Kind != events.AccountChange {
		t.Errorf("kind %q", e.Kind)
	}
	if e.Source.Family != Family || e.Source.ID == "" || e.User.ID == "" || e.Time == 0 {
		t.Errorf("no identity or time: %+v", e)
	}
	if e.Auth.IsDefined() {
		t.Errorf("proof %+v", e.Auth)
	}
	if p := e.ProviderPlace; p.City == "" && p.Located() {
		t.Errorf("coordinates of no city: %+v", p)
	}
	if e.Clean(); e.Tenant == "" {
		e.Tenant = "acme"
	}
	// What may still be wrong is what a sender wrote into ids: ingest refuses it.
	if err := e.Validate(); err != nil {
		for problem := range strings.SplitSeq(err.Error(), "\n") {
			if !strings.Contains(problem, "control characters") && !strings.HasPrefix(problem, "tenant:") {
				t.Errorf("the event is not valid: %s", problem)
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	value := []byte(write(b, nested(document(nil))))
	d := Documents()
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		d.Decode(value, func([]byte, *events.Event, error) {})
	}
}
