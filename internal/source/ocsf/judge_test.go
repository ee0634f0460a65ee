package ocsf

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// is_new_logon speaks of the session: a person need not have taken part.
func TestIsNewLogonIsNotInteractive(t *testing.T) {
	t.Parallel()
	for _, v := range []any{true, false, nil} {
		if e := signIn(t, set("is_new_logon", v)); e.Interactive != events.Unknown {
			t.Errorf("is_new_logon %v makes it interactive %v", v, e.Interactive)
		}
	}
}

func TestInteractiveNeedsEvidence(t *testing.T) {
	t.Parallel()
	push := set("auth_factors", []any{object{"factor_type_id": 5}})
	for name, c := range map[string]struct {
		change func(object)
		want   events.Tri
	}{
		"nothing said":          {nil, events.Unknown},
		"logon type":            {set("logon_type_id", 2), events.Yes},
		"remote desktop":        {set("logon_type_id", "10"), events.Yes},
		"network":               {set("logon_type_id", 3), events.No},
		"batch, with factors":   {all(set("logon_type_id", 4), push), events.No},
		"factors":               {push, events.Yes},
		"service ticket":        {as(4), events.No},
		"renewal, with factors": {all(as(5), push), events.No},
		"account switch":        {as(7), events.No},
		"refresh token":         {all(set("authentication_token", object{"type_id": 4}), push), events.No},
		"ticket":                {as(3), events.Unknown},
	} {
		change := c.change
		if change == nil {
			change = func(object) {}
		}
		if e := signIn(t, change); e.Interactive != c.want {
			t.Errorf("%s: %v, want %v", name, e.Interactive, c.want)
		}
	}
}

func TestActivities(t *testing.T) {
	t.Parallel()
	for activity, want := range map[int]struct {
		kind     events.Kind
		outcome  events.Outcome
		category string
	}{
		1: {events.SignIn, events.Success, "Logon"}, 2: {events.SignOut, events.Success, "Logoff"},
		3: {events.SignIn, events.Success, "Authentication Ticket"}, 4: {events.SignIn, events.Success, "Service Ticket Request"},
		5: {events.SignIn, events.Success, "Service Ticket Renew"}, 6: {events.SignIn, events.Interrupt, "Preauth"},
		7: {events.SignIn, events.Success, "Account Switch"}, 0: {events.SignIn, events.Success, "Unknown"}, 99: {events.SignIn, events.Success, "Unknown"},
	} {
		e := signIn(t, as(activity))
		if e.Kind != want.kind || e.Outcome != want.outcome || e.Source.Category != "Authentication: "+want.category {
			t.Errorf("activity %d: %v %v %q", activity, e.Kind, e.Outcome, e.Source.Category)
		}
	}
	out := signIn(t, as(2), set("is_mfa", true))
	if out.Session.ID == "" || out.Auth.IsDefined() || out.Interactive != events.Unknown {
		t.Errorf("%+v", out)
	}
}

// A sign-out without a session would end every session of the user; one that failed ends none.
func TestSignOutsThatEndNothing(t *testing.T) {
	t.Parallel()
	for reason, change := range map[string]func(object){
		"no_session": all(as(2), set("session", nil)), "failed": all(as(2), set("status_id", 2)),
	} {
		got := decodeAll(write(t, change))
		if skipped, _ := errors.AsType[*foreign.Skipped](got[0].err); len(got) != 1 || skipped == nil || skipped.Reason != reason {
			t.Errorf("%+v, want it skipped: %s", got, reason)
		}
	}
	if e := signIn(t, as(2), set("status_id", nil)); e.Kind != events.SignOut {
		t.Errorf("%+v: most logoffs do not say that they went well", e)
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(object)
		want   events.Outcome
	}{
		"success":             {set("status_id", 1), events.Success},
		"failure":             {set("status_id", 2), events.Failure},
		"unknown":             {set("status_id", 0), ""},
		"absent":              {set("status_id", nil), ""},
		"by name":             {all(set("status_id", nil), set("status", "Failure")), events.Failure},
		"other, by name":      {all(set("status_id", 99), set("status", "Interrupted")), events.Interrupt},
		"other, nobody knows": {all(set("status_id", 99), set("status", "Meh")), ""},
		"blocked":             {all(set("status_id", 1), set("disposition_id", 2)), events.Blocked},
		"challenged":          {all(set("status_id", 2), set("disposition_id", 23)), events.Challenge},
		"allowed":             {all(set("status_id", 2), set("disposition_id", 1)), events.Failure},
		"denied":              {all(set("status_id", 2), set("action_id", 2)), events.Blocked},
		"locked":              {all(set("status_id", 2), set("status_detail", "ACCOUNT_LOCKED_OUT")), events.Blocked},
		"disabled":            {all(set("status_id", 2), set("status_detail", "ACCOUNT_DISABLED")), events.Blocked},
		"wrong password":      {all(set("status_id", 2), set("status_detail", "INVALID_CREDENTIALS")), events.Failure},
		"password to renew":   {all(set("status_id", 2), set("status_detail", "PASSWORD_EXPIRED")), events.Failure},
	} {
		if e := signIn(t, c.change); e.Outcome != c.want {
			t.Errorf("%s: %q, want %q", name, e.Outcome, c.want)
		}
	}
	e := signIn(t, set("status_id", 2), set("status_code", 50126), set("status_detail", "wrong"), set("message", "Sign-in"))
	if e.Code != "50126" || e.Reason != "wrong" {
		t.Errorf("code %q, reason %q", e.Code, e.Reason)
	}
	if e := signIn(t, set("message", "Sign-in")); e.Reason != "" {
		t.Errorf("reason %q of a success", e.Reason)
	}
}

func kinds(ids ...any) func(object) {
	var list []any
	for _, id := range ids {
		list = append(list, object{"factor_type_id": id, "provider": "Example"})
	}
	return set("auth_factors", list)
}

func TestProof(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change   func(object)
		mfa      events.MFA
		strength events.Strength
		methods  string
	}{
		"nothing said":             {func(object) {}, "", "", ""},
		"mfa":                      {set("is_mfa", true), events.MFAPerformed, events.MultiFactor, ""},
		"no mfa":                   {set("is_mfa", false), events.MFANotRequired, events.SingleFactor, ""},
		"in quotes":                {set("is_mfa", "true"), events.MFAPerformed, events.MultiFactor, ""},
		"password":                 {kinds(11), "", events.SingleFactor, "password"},
		"password and push":        {kinds(11, 5), events.MFAPerformed, events.MultiFactor, "password push"},
		"the same twice":           {kinds(7, 7), "", events.SingleFactor, "otp"},
		"a code alone":             {kinds(1), "", events.SingleFactor, "sms"},
		"WebAuthn":                 {all(kinds(11, 10), set("is_mfa", true)), events.MFAPerformed, events.PhishingResistant, "password fido2"},
		"U2F alone":                {kinds(9), events.MFAPerformed, events.PhishingResistant, "fido2"},
		"weak factors, mfa":        {all(kinds(11, 8), set("is_mfa", true)), events.MFAPerformed, events.MultiFactor, "password email"},
		"session's mfa":            {set("session.is_mfa", true), events.MFAByClaim, events.MultiFactor, ""},
		"session's, none now":      {all(set("session.is_mfa", true), set("is_mfa", false)), events.MFAByClaim, events.MultiFactor, ""},
		"nobody was asked":         {all(as(5), set("is_mfa", true)), events.MFAByClaim, events.MultiFactor, ""},
		"smart card":               {all(set("auth_protocol_id", 2), set("certificate", object{"serial_number": "1", "subject": "CN=x"})), events.MFAPerformed, events.PhishingResistant, "certificate"},
		"the server's certificate": {all(set("auth_protocol_id", 5), set("certificate", object{"subject": "CN=x"})), "", "", ""},
		"an empty certificate":     {all(set("auth_protocol_id", 2), set("certificate", object{})), "", "", ""},
		"failed":                   {all(set("status_id", 2), kinds(11, 5), set("is_mfa", true)), "", "", "password push"},
		"failed push":              {all(set("status_id", 2), kinds(5), set("is_mfa", true)), events.MFAFailed, "", "push"},
		"denied push":              {all(set("status_id", 2), kinds(5), set("is_mfa", true), set("status_detail", "User denied the request")), events.MFADenied, "", "push"},
		"failed WebAuthn":          {all(set("status_id", 2), kinds(10)), "", "", "fido2"},
		"in doubt":                 {all(set("status_id", 0), set("is_mfa", true), kinds(10)), "", "", "fido2"},
	} {
		e := signIn(t, c.change)
		if e.Auth.MFA != c.mfa || e.Auth.Strength != c.strength || strings.Join(e.Auth.Methods, " ") != c.methods {
			t.Errorf("%s: %+v, want %q %q %q", name, e.Auth, c.mfa, c.strength, c.methods)
		}
	}
}

func TestFactorsAreBounded(t *testing.T) {
	t.Parallel()
	var list []any
	for i := range 1000 {
		list = append(list, object{"factor_type_id": 99, "factor_type": strings.Repeat("x", i+1)})
	}
	policies := slices.Repeat([]any{object{"name": "p"}}, 1000)
	e := signIn(t, set("auth_factors", list), set("policies", policies)) // one validates
	if len(e.Auth.Methods) != maxList || len(e.Access.Policies) != maxList {
		t.Errorf("%d methods, %d policies", len(e.Auth.Methods), len(e.Access.Policies))
	}
}

func TestWho(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		user, actor object
		want        events.User
	}{
		"name in the actor":  {object{"uid": "u1"}, object{"uid": "u1", "name": "ada"}, events.User{ID: "u1", Name: "ada"}},
		"actor without id":   {object{"uid": "u1"}, object{"name": "ada"}, events.User{ID: "u1", Name: "ada"}},
		"all in the actor":   {nil, object{"uid": "u1", "name": "ada"}, events.User{ID: "u1", Name: "ada"}},
		"id in the actor":    {object{"name": "Ada"}, object{"uid": "u1", "name": "ada"}, events.User{ID: "u1", Name: "Ada"}},
		"another actor":      {object{"name": "ada"}, object{"uid": "u2", "name": "bob"}, events.User{ID: "name:ada", Name: "ada", Type: events.Unresolved}},
		"another actor's id": {object{"uid": "u1"}, object{"uid": "u2", "name": "bob"}, events.User{ID: "u1"}},
		"signed in by a program": {
			object{"uid": "u1"}, object{"name": "gateway", "type_id": 4}, events.User{ID: "u1"},
		},
		"mail for a name":   {object{"uid": "u1", "email_addr": "ada@example.com"}, nil, events.User{ID: "u1", Name: "ada@example.com"}},
		"admin":             {object{"uid": "u1", "type_id": 2}, nil, events.User{ID: "u1", Privileged: events.Yes}},
		"GUID":              {object{"uid": strings.ToUpper(userID)}, nil, events.User{ID: userID}},
		"no GUID":           {object{"uid": "00uEXAMPLE01"}, nil, events.User{ID: "00uEXAMPLE01"}},
		"service":           {object{"uid": "sp-1", "type_id": 4}, nil, events.User{ID: "sp-1", Type: events.Workload}},
		"service, by word":  {object{"uid": "sp-1", "type_id": 99, "type": "Service"}, nil, events.User{ID: "sp-1", Type: events.Workload}},
		"service, by name":  {object{"name": "Backup", "type_id": 4}, nil, events.User{ID: "name:backup", Name: "Backup", Type: events.Workload}},
		"computer":          {object{"uid": "S-1-5-21-1-2-3-1104", "name": "HOST-1$"}, nil, events.User{ID: "S-1-5-21-1-2-3-1104", Name: "HOST-1$", Type: events.Workload}},
		"local system":      {object{"uid": "S-1-5-18", "name": "SYSTEM"}, nil, events.User{ID: "S-1-5-18", Name: "SYSTEM", Type: events.Workload}},
		"a name nobody has": {object{"uid": "S-1-0-0", "name": "Adda"}, nil, events.User{ID: "name:adda", Name: "Adda", Type: events.Unresolved}},
	} {
		e := signIn(t, func(o object) { o["user"], o["actor"] = c.user, object{"user": c.actor} })
		if diff := cmp.Diff(c.want, e.User); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// T24: a failure with a name that nobody has is kept, under that name.
func TestT24_FailuresWithoutAnAccount(t *testing.T) {
	t.Parallel()
	e := signIn(t, set("status_id", 2), set("user", object{"uid": "", "name": "Nobody@Example.com"}), set("service", nil))
	if e.User.ID != "name:nobody@example.com" || e.User.Type != events.Unresolved || e.Outcome != events.Failure {
		t.Errorf("%+v", e.User)
	}
}

func TestRisk(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(object)
		want   events.Risk
	}{
		"absent":         {func(object) {}, events.Risk{}},
		"info":           {set("risk_level_id", 0), events.Risk{Level: events.RiskNone}},
		"low":            {set("risk_level_id", 1), events.Risk{Level: events.RiskLow}},
		"critical":       {set("risk_level_id", 4), events.Risk{Level: events.RiskHigh}},
		"by name":        {all(set("risk_level_id", 99), set("risk_level", "Medium")), events.Risk{Level: events.RiskMedium}},
		"level first":    {all(set("risk_level_id", 1), set("risk_score", 99)), events.Risk{Level: events.RiskLow}},
		"score":          {set("risk_score", 73), events.Risk{Level: events.RiskHigh}},
		"score in words": {set("risk_score", "47"), events.Risk{Level: events.RiskMedium}},
		"no risk":        {set("risk_score", 0), events.Risk{Level: events.RiskNone}},
		"another scale":  {set("risk_score", 850), events.Risk{}},
		"no number":      {set("risk_score", "NaN"), events.Risk{}},
		"hidden":         {all(set("risk_level_id", nil), set("risk_level", "hidden")), events.Risk{}}, // T13
		"of the user":    {set("user.risk_level_id", 3), events.Risk{User: events.RiskHigh}},
		"why":            {all(set("risk_level_id", 2), set("risk_details", "New country")), events.Risk{Level: events.RiskMedium, Detail: "New country"}},
	} {
		if diff := cmp.Diff(c.want, signIn(t, c.change).Risk); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	e := signIn(t, set("policy", object{"uid": "p-1", "name": "Require MFA"}), set("action_id", 1),
		set("policies", []any{object{"name": "Off", "is_applied": false}, object{}, object{"name": "On", "is_applied": true}}))
	want := events.Access{Policies: []events.AccessPolicy{{Name: "On", Result: "allowed"}, {ID: "p-1", Name: "Require MFA", Result: "allowed"}}}
	if diff := cmp.Diff(want, e.Access); diff != "" {
		t.Error(diff)
	}
}

func TestServerIsNotTheDevice(t *testing.T) {
	t.Parallel()
	server := object{"uid": "srv-1", "hostname": "server-1"}
	e := signIn(t, set("device", server), set("dst_endpoint", server), set("src_endpoint.hostname", "laptop-1"))
	if e.Device.ID != "" || e.Device.Name != "laptop-1" || e.Resource.ID != "srv-1" {
		t.Errorf("device %+v, resource %+v", e.Device, e.Resource)
	}
	e = signIn(t, set("device", nil), set("service", nil), set("dst_endpoint", object{"svc_name": "ldap"}), set("src_endpoint.uid", "dev-7"))
	if e.Device.ID != "dev-7" || e.App.Name != "ldap" {
		t.Errorf("device %+v, app %+v", e.Device, e.App)
	}
}

func TestAccountChanges(t *testing.T) {
	t.Parallel()
	for activity, want := range map[int]events.Change{
		1: {Type: events.LifecycleChange, Action: events.Added}, 2: {Type: events.LifecycleChange, Action: events.Enabled},
		3: {Type: events.CredentialChange, Action: events.Updated}, 4: {Type: events.CredentialChange, Action: events.Reset},
		5: {Type: events.LifecycleChange, Action: events.Disabled}, 6: {Type: events.LifecycleChange, Action: events.Removed},
		7:  {Type: events.RoleChange, Action: events.Added, Target: events.Ref{ID: "p-1", Name: "Admins"}},
		8:  {Type: events.RoleChange, Action: events.Removed, Target: events.Ref{ID: "p-1", Name: "Admins"}},
		9:  {Type: events.LifecycleChange, Action: events.Locked},
		10: {Type: events.MethodChange, Action: events.Added, Target: events.Ref{Name: "fido2"}},
		11: {Type: events.MethodChange, Action: events.Removed, Target: events.Ref{Name: "fido2"}},
		12: {Type: events.LifecycleChange, Action: events.Unlocked},
	} {
		e := signIn(t, set("class_uid", 3001), set("activity_id", activity), set("type_uid", 300100+activity), kinds(10),
			set("policies", []any{object{"uid": "p-1", "name": "Admins"}}), set("actor", object{"user": object{"uid": "admin-1", "name": "root"}}))
		want.Actor = events.Ref{ID: "admin-1", Name: "root"}
		if diff := cmp.Diff(want, e.Change); diff != "" {
			t.Errorf("activity %d: %s", activity, diff)
		}
		if e.Kind != events.AccountChange || e.User.ID != userID || e.Outcome != events.Success || e.Auth.IsDefined() || e.Interactive != events.Unknown {
			t.Errorf("activity %d: %+v", activity, e)
		}
	}
	self := signIn(t, set("class_uid", 3001), set("activity_id", 3), set("actor", object{"user": object{"uid": userID}}))
	if self.Change.Actor != (events.Ref{}) || self.Source.Category != "Account Change: Password Change" {
		t.Errorf("%+v %q: who changes the own password is no other", self.Change, self.Source.Category)
	}
}
