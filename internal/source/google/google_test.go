package google_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
	"github.com/countersign-io/countersign/internal/source/google"
)

type object = map[string]any

const (
	person = "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315@example.com"
	userID = "100000000000000000001"
)

// activity is a record of one event; change edits it before it is written.
func activity(t testing.TB, application string, change func(record object), happenings ...object) string {
	t.Helper()
	record := object{
		"kind": "admin#reports#activity", "etag": "\"abc\"",
		"id":          object{"time": "2026-03-04T08:15:32.060Z", "uniqueQualifier": "-4815162342", "applicationName": application, "customerId": "C0example"},
		"actor":       object{"callerType": "USER", "email": person, "profileId": userID},
		"ipAddress":   "203.0.113.30",
		"networkInfo": object{"ipAsn": []int{64502}, "regionCode": "BE", "subdivisionCode": "BE-BRU"},
		"events":      happenings,
	}
	if change != nil {
		change(record)
	}
	raw, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// happening is one event; the parameters are names and values in turn.
func happening(name string, parameters ...any) object {
	list := []object{}
	for i := 0; i+1 < len(parameters); i += 2 {
		p := object{"name": parameters[i]}
		switch v := parameters[i+1].(type) {
		case bool:
			p["boolValue"] = v
		case []string:
			p["multiValue"] = v
		case int64:
			p["intValue"] = fmt.Sprint(v)
		default:
			p["value"] = v
		}
		list = append(list, p)
	}
	return object{"type": "login", "name": name, "parameters": list}
}

type result struct {
	record string
	event  *events.Event
	err    error
}

func decode(value string) []result {
	var out []result
	google.Activities().Decode([]byte(value), func(record []byte, e *events.Event, err error) {
		r := result{record: string(record), err: err}
		if e != nil {
			kept := *e
			r.event = &kept
		}
		out = append(out, r)
	})
	return out
}

// all decodes a value that must give events only.
func all(t testing.TB, value string) []*events.Event {
	t.Helper()
	var out []*events.Event
	for _, r := range decode(value) {
		if r.err != nil {
			t.Fatalf("%.300s\ngives %v", value, r.err)
		}
		r.event.ID = events.EventID(r.event.Tenant, r.event.Source.Family, r.event.Source.ID)
		if r.event.Clean(); r.event.Validate() != nil {
			t.Errorf("the event is not valid: %v", r.event.Validate())
		}
		out = append(out, r.event)
	}
	return out
}

// one decodes one event of an application.
func one(t testing.TB, application string, h object) *events.Event {
	t.Helper()
	got := all(t, activity(t, application, nil, h))
	if len(got) != 1 {
		t.Fatalf("%d events, want one", len(got))
	}
	return got[0]
}

func TestLoginRecord(t *testing.T) {
	t.Parallel()
	got := one(t, "login", happening("login_success",
		"login_type", "google_password", "login_challenge_method", []string{"password", "security_key"}, "is_suspicious", false))
	want := &events.Event{
		ID:   events.EventID("C0example", "google", "2026-03-04T08:15:32.060Z/-4815162342#0"),
		Kind: events.SignIn, Tenant: "C0example", User: events.User{ID: userID, Name: person}, Time: 1772612132060,
		Source:  events.Source{Family: "google", ID: "2026-03-04T08:15:32.060Z/-4815162342#0", Category: "login"},
		Outcome: events.Success, Code: "login_success", Interactive: events.Yes, IP: "203.0.113.30",
		Network: events.Network{ASN: 64502}, ProviderPlace: events.Place{Country: "BE", Region: "BE-BRU"},
		Auth: events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, Methods: []string{"password", "fido2"}},
		Risk: events.Risk{Level: events.RiskNone},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestT6_LoginTimestampIsInMicroseconds(t *testing.T) {
	t.Parallel()
	h := happening("suspicious_login", "affected_email_address", person, "login_timestamp", int64(1772608535123456))
	e := one(t, "login", h)
	if e.Kind != events.RiskReport || e.Risk.Happened.String() != "2026-03-04T07:15:35.123Z" || e.Time.String() != "2026-03-04T08:15:32.060Z" {
		t.Errorf("%s: %v happened %v", e.Kind, e.Time, e.Risk.Happened)
	}
	h = happening("suspicious_login", "login_timestamp", "whenever")
	if e := one(t, "login", h); e.Risk.Happened != 0 || e.Risk.Level != events.RiskMedium {
		t.Errorf("%+v: a broken time must cost nothing but itself", e.Risk)
	}
}

func TestT17_EveryEventOfAnActivityIsOneOfItsOwn(t *testing.T) {
	t.Parallel()
	got := all(t, activity(t, "login", nil, happening("login_success"), happening("2sv_enroll"), happening("login_success")))
	seen := map[string]bool{}
	for i, e := range got {
		seen[e.ID] = true
		if want := fmt.Sprintf("2026-03-04T08:15:32.060Z/-4815162342#%d", i); e.Source.ID != want {
			t.Errorf("source id %q, want %q", e.Source.ID, want)
		}
	}
	if len(got) != 3 || len(seen) != 3 {
		t.Errorf("%d events of %d ids, want 3", len(got), len(seen))
	}
	// The index is the place in the record, whatever the others are.
	mixed := decode(activity(t, "login", nil, happening("blocked_sender"), object{"type": "login"}, happening("login_failure"), object{"parameters": 5}))
	var text strings.Builder
	for _, r := range mixed {
		switch s := new(foreign.Skipped); {
		case errors.As(r.err, &s):
			text.WriteString("skip " + s.Category + ";")
		case r.err != nil:
			text.WriteString("error " + strings.ReplaceAll(r.err.Error(), "\n", " ") + ";")
		default:
			text.WriteString(string(r.event.Kind) + " " + r.event.Source.ID[len(r.event.Source.ID)-2:] + ";")
		}
	}
	const want = "skip login/blocked_sender;sign_in #2;error events[1].name: is missing events[3].name: is missing;"
	if text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
}

func TestT17_ParametersOfEveryForm(t *testing.T) {
	t.Parallel()
	h := object{"name": "login_success", "parameters": []any{
		object{"name": "a_name_only"},
		5, nil,
		object{"multiIntValue": []string{"1", "2"}, "name": "numbers"},
		object{"value": "google_password", "name": "login_type"}, // the name after the value
		object{"name": "is_suspicious", "value": "true"},
		object{"name": "login_challenge_method", "value": "password"},
		object{"name": "is_second_factor", "value": false},
		object{"name": "messages", "messageValue": object{"parameter": []object{{"name": "x", "value": "y"}}}},
	}}
	e := one(t, "login", h)
	want := events.Auth{MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: []string{"password"}}
	if diff := cmp.Diff(want, e.Auth); diff != "" {
		t.Error(diff)
	}
	if e.Risk.Level != events.RiskMedium || e.Risk.State != events.RiskOpen {
		t.Errorf("risk %+v", e.Risk)
	}
	for _, parameters := range []any{nil, object{}, "none", []any{}} {
		if e := one(t, "login", object{"name": "login_success", "parameters": parameters}); e.Auth.Strength != "" || e.Auth.MFA != "" || e.Risk.Level != "" {
			t.Errorf("%v: %+v %+v, want unknown", parameters, e.Auth, e.Risk)
		}
	}
}

func TestMethodsAndStrength(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind    string
		methods []string
		want    events.Auth
	}{
		"password":              {"google_password", []string{"password"}, events.Auth{MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: []string{"password"}}},
		"mistyped twice":        {"google_password", []string{"password", "password", "password"}, events.Auth{MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: []string{"password"}}},
		"key":                   {"google_password", []string{"password", "security_key"}, events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, Methods: []string{"password", "fido2"}}},
		"passkey alone":         {"google_password", []string{"passkey"}, events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, Methods: []string{"passkey"}}},
		"key given up for code": {"google_password", []string{"password", "security_key", "google_authenticator"}, events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "fido2", "otp"}}},
		"code of a key":         {"google_password", []string{"password", "security_key_otp"}, events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "otp"}}},
		"prompt":                {"google_password", []string{"password", "GOOGLE_PROMPT"}, events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "push"}}},
		"prompt alone":          {"reauth", []string{"google_prompt"}, events.Auth{Strength: events.SingleFactor, Methods: []string{"push"}}},
		"back to the password":  {"google_password", []string{"passkey", "password"}, events.Auth{Strength: events.SingleFactor, Methods: []string{"passkey", "password"}}},
		"question":              {"google_password", []string{"password", "knowledge_secret_question"}, events.Auth{Strength: events.SingleFactor, Methods: []string{"password", "secret_question"}}},
		"captcha":               {"google_password", []string{"password", "captcha", "login_location", "a_new_one", "none"}, events.Auth{MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: []string{"password"}}},
		"saml":                  {"saml", nil, events.Auth{Protocol: "saml"}},
		"oidc":                  {"unknown", []string{"oidc"}, events.Auth{Methods: []string{"oidc"}}},
		"nothing":               {"google_password", nil, events.Auth{}},
	} {
		if diff := cmp.Diff(c.want, one(t, "login", happening("login_success", "login_type", c.kind, "login_challenge_method", c.methods)).Auth); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if e := one(t, "login", happening("login_success", "login_type", "exchange")); e.Interactive != events.No {
		t.Errorf("an exchanged credential is interactive: %v", e.Interactive)
	}
}

func TestT37_ChallengesAreStepsOfOneLogin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		h       object
		outcome events.Outcome
		mfa     events.MFA
	}{
		"asked":             {happening("login_challenge", "login_challenge_method", []string{"idv_preregistered_phone"}, "login_challenge_status", ""), events.Challenge, ""},
		"passed":            {happening("login_challenge", "login_challenge_method", []string{"idv_preregistered_phone"}, "login_challenge_status", "Challenge Passed."), events.Interrupt, events.MFAPerformed},
		"failed":            {happening("login_challenge", "login_challenge_method", []string{"google_prompt"}, "login_challenge_status", "Challenge Failed."), events.Challenge, events.MFAFailed},
		"captcha failed":    {happening("login_challenge", "login_challenge_method", []string{"captcha"}, "login_challenge_status", "Challenge Failed."), events.Challenge, ""},
		"verified":          {happening("login_verification", "is_second_factor", true, "login_challenge_status", "Challenge Passed."), events.Interrupt, events.MFAPerformed},
		"verified, unsaid":  {happening("login_verification", "login_challenge_status", "challenge passed"), events.Interrupt, events.MFAPerformed},
		"no second factor":  {happening("login_verification", "is_second_factor", false, "login_challenge_status", "Challenge Failed."), events.Challenge, ""},
		"verify failed":     {happening("login_verification", "is_second_factor", true, "login_challenge_status", "Challenge Failed."), events.Challenge, events.MFAFailed},
		"a status of later": {happening("login_verification", "login_challenge_status", "Challenge Postponed."), events.Challenge, ""},
	} {
		e := one(t, "login", c.h)
		if e.Kind != events.SignIn || e.Outcome != c.outcome || e.Auth.MFA != c.mfa || e.Auth.Strength != "" {
			t.Errorf("%s: %s %q %+v, want %q and MFA %q", name, e.Kind, e.Outcome, e.Auth, c.outcome, c.mfa)
		}
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	e := one(t, "login", happening("login_failure", "login_type", "google_password", "login_failure_type", "login_failure_invalid_password", "login_challenge_method", []string{"password"}))
	if e.Outcome != events.Failure || e.Code != "login_failure" || e.Reason != "login_failure_invalid_password" || e.Auth.MFA != "" || e.Auth.Strength != "" {
		t.Errorf("%q %q %q %+v", e.Outcome, e.Code, e.Reason, e.Auth)
	}
	e = one(t, "login", happening("login_failure", "login_challenge_method", []string{"password", "google_prompt"}))
	if e.Outcome != events.Failure || e.Auth.MFA != events.MFAFailed {
		t.Errorf("a second factor that failed: %q %+v", e.Outcome, e.Auth)
	}
	if e := one(t, "login", happening("login_failure", "login_failure_type", "login_failure_account_disabled")); e.Outcome != events.Blocked {
		t.Errorf("a disabled account: %q", e.Outcome)
	}
}

func TestNamesThatMatter(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]events.Event{
		"2sv_enroll":       {Kind: events.AccountChange, Change: events.Change{Type: events.MethodChange, Action: events.Added, Target: events.Ref{ID: "2sv"}}},
		"2sv_disable":      {Kind: events.AccountChange, Change: events.Change{Type: events.MethodChange, Action: events.Removed, Target: events.Ref{ID: "2sv"}}},
		"passkey_enrolled": {Kind: events.AccountChange, Change: events.Change{Type: events.MethodChange, Action: events.Added, Target: events.Ref{ID: "passkey"}}},
		"password_edit":    {Kind: events.AccountChange, Change: events.Change{Type: events.CredentialChange, Action: events.Updated, Target: events.Ref{ID: "password"}}},
		"recovery_email_edit": {Kind: events.AccountChange, Change: events.Change{
			Type: events.RecoveryChange, Action: events.Updated, Target: events.Ref{ID: "email"},
		}},
		"titanium_unenroll": {Kind: events.AccountChange, Change: events.Change{
			Type: events.AssuranceChange, Action: events.Disabled, Target: events.Ref{ID: "advanced_protection"},
		}},
		"account_disabled_hijacked": {
			Kind: events.AccountChange, Change: events.Change{Type: events.LifecycleChange, Action: events.Disabled},
			Risk: events.Risk{User: events.RiskHigh, State: events.RiskOpen, Detections: []string{"account_disabled_hijacked"}},
		},
		"account_disabled_password_leak": {
			Kind: events.AccountChange, Change: events.Change{Type: events.LifecycleChange, Action: events.Disabled},
			Risk: events.Risk{User: events.RiskHigh, State: events.RiskConfirmed, Detections: []string{"account_disabled_password_leak"}},
		},
		"account_disabled_generic": {Kind: events.AccountChange, Change: events.Change{Type: events.LifecycleChange, Action: events.Disabled}},
		"gov_attack_warning": {
			Kind: events.RiskReport, Risk: events.Risk{User: events.RiskHigh, State: events.RiskOpen, Detections: []string{"gov_attack_warning"}},
		},
		"suspicious_programmatic_login": {
			Kind: events.RiskReport, Risk: events.Risk{Level: events.RiskMedium, State: events.RiskOpen, Detections: []string{"suspicious_programmatic_login"}},
		},
		"risky_sensitive_action_blocked": {
			Kind: events.RiskReport, Outcome: events.Blocked,
			Risk: events.Risk{Level: events.RiskMedium, State: events.RiskOpen, Detections: []string{"risky_sensitive_action_blocked"}},
		},
	} {
		for _, application := range []string{"login", "user_accounts"} {
			got := one(t, application, happening(name))
			if want.Kind == events.AccountChange {
				want.Outcome = events.Success
			}
			if got.Kind != want.Kind || got.Outcome != want.Outcome || got.Code != name {
				t.Errorf("%s: %s %q %q", name, got.Kind, got.Outcome, got.Code)
			}
			if diff := cmp.Diff(want.Change, got.Change) + cmp.Diff(want.Risk, got.Risk); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
	e := one(t, "login", happening("risky_sensitive_action_allowed", "sensitive_action_name", "change recovery phone", "login_challenge_method", []string{"passkey"}))
	if e.Risk.Level != events.RiskLow || e.Risk.Detail != "change recovery phone" || len(e.Auth.Methods) != 1 || e.Outcome != events.Success {
		t.Errorf("%+v %+v", e.Risk, e.Auth)
	}
}

func TestConsents(t *testing.T) {
	t.Parallel()
	const client = "1234567890-abc.apps.example.com"
	scopes := []string{"openid", "https://mail.example.com/"}
	h := happening("authorize", "client_id", client, "app_name", "Mail Helper", "client_type", "WEB", "scope", scopes)
	e := one(t, "token", h)
	want := events.Change{
		Type: events.ConsentChange, Action: events.Added, Target: events.Ref{ID: client, Name: "Mail Helper"}, Grants: scopes,
	}
	if diff := cmp.Diff(want, e.Change); diff != "" || e.Kind != events.AccountChange || e.App.ID != client {
		t.Errorf("%s app %+v: %s", e.Kind, e.App, diff)
	}
	if e := one(t, "token", happening("revoke", "client_id", client)); e.Change.Action != events.Removed || e.Change.Target.ID != client {
		t.Errorf("%+v", e.Change)
	}
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprint("scope-", i))
	}
	if e := one(t, "token", happening("authorize", "client_id", strings.Repeat("x", 400), "scope", many)); len(e.Change.Grants) != events.MaxElements {
		t.Errorf("%d grants", len(e.Change.Grants))
	}
}

func TestSAMLApplications(t *testing.T) {
	t.Parallel()
	e := one(t, "saml", happening("login_failure", "application_name", "Example Wiki", "failure_type", "failure_app_not_configured_for_user", "device_id", "d-1"))
	if e.Kind != events.SignIn || e.Outcome != events.Failure || e.App.Name != "Example Wiki" || e.Auth.Protocol != "saml" ||
		e.Reason != "failure_app_not_configured_for_user" || e.Device.ID != "d-1" || e.Interactive != events.Unknown {
		t.Errorf("%+v", e)
	}
}

func TestOtherActivitiesAreLeftOut(t *testing.T) {
	t.Parallel()
	for application, name := range map[string]string{
		"token": "activity", "admin": "CHANGE_PASSWORD", "drive": "view", "login": "email_forwarding_out_of_domain", "saml": "2sv_enroll",
	} {
		got := decode(activity(t, application, nil, happening(name)))
		var skipped *foreign.Skipped
		if len(got) != 1 || !errors.As(got[0].err, &skipped) || skipped.Reason != "category" || skipped.Category != application+"/"+name {
			t.Errorf("%s/%s: %+v", application, name, got)
		}
	}
}

// A sign-out that names no session would end all of the user's.
func TestLogoutsAreLeftOut(t *testing.T) {
	t.Parallel()
	got := decode(activity(t, "login", nil, happening("logout")))
	if skipped := new(foreign.Skipped); len(got) != 1 || !errors.As(got[0].err, &skipped) || skipped.Reason != "no_session" {
		t.Errorf("%+v", got)
	}
}

func TestT45_PagesArraysAndBrokenOnes(t *testing.T) {
	t.Parallel()
	a := activity(t, "login", nil, happening("login_failure"))
	skip := activity(t, "drive", nil, happening("view"))
	bad := activity(t, "login", func(r object) { delete(r, "id") }, happening("login_failure"))
	for name, c := range map[string]struct{ value, want string }{
		"page":       {`{"kind":"admin#reports#activities","items":[` + a + "," + skip + "," + bad + `],"nextPageToken":"x"}`, "esx"},
		"empty page": {`{"kind":"admin#reports#activities","etag":"x"}`, "s"},
		"array":      {"[" + a + "," + a + "]", "ee"},
		"one":        {a, "e"},
		"cut off":    {`{"items":[` + a + "," + a[:100], "x"},
		"no events":  {activity(t, "login", nil), "x"},
		"no object":  {`"x"`, "x"},
		"bytes":      {"{\"id\":\"\xff\"}", "x"},
	} {
		got := ""
		for _, r := range decode(c.value) {
			switch s := new(foreign.Skipped); {
			case r.event != nil && r.err == nil:
				got += "e"
			case errors.As(r.err, &s):
				got += "s"
			default:
				got += "x"
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for field, change := range map[string]func(object){
		"id.time: is missing":            func(r object) { delete(r["id"].(object), "time") },
		`id.time: "soon"`:                func(r object) { r["id"].(object)["time"] = "soon" },
		"id.uniqueQualifier: is missing": func(r object) { delete(r["id"].(object), "uniqueQualifier") },
		"id.applicationName: is missing": func(r object) { delete(r["id"].(object), "applicationName") },
	} {
		if got := decode(activity(t, "login", change, happening("login_failure"))); len(got) != 1 || got[0].err == nil || !strings.Contains(got[0].err.Error(), field) {
			t.Errorf("want an error with %q, got %v", field, got)
		}
	}
}

// One broken activity makes one dead letter, however many events are in it.
func TestManyEventsInOneActivity(t *testing.T) {
	t.Parallel()
	many := make([]object, 5000)
	if got := decode(activity(t, "login", nil, many...)); len(got) != 1 || got[0].err == nil || !strings.Contains(got[0].err.Error(), "more than 100") {
		t.Errorf("%d results", len(got))
	}
	if got := decode(activity(t, "login", nil, many[:90]...)); len(got) != 1 || got[0].err == nil {
		t.Errorf("%d results", len(got))
	}
}

func TestT47_TextsOfTheAttacker(t *testing.T) {
	t.Parallel()
	e := one(t, "token", happening("authorize", "client_id", "c", "app_name", "Mail\r\n\x1b[31m"+strings.Repeat("é", 500), "scope", []string{strings.Repeat("s", 5000)}))
	if len(e.App.Name) > events.MaxName || strings.ContainsAny(e.App.Name, "\r\n\x1b") || len(e.Change.Grants[0]) > events.MaxName {
		t.Errorf("app of %d bytes, grant of %d", len(e.App.Name), len(e.Change.Grants[0]))
	}
}

func FuzzActivities(f *testing.F) {
	f.Add(activity(f, "login", nil, happening("login_success", "login_challenge_method", []string{"password", "passkey"}), happening("login_failure")))
	f.Add(`{"kind":"admin#reports#activities","items":[` + activity(f, "token", nil, happening("authorize", "scope", []string{"a"})) + `,5]}`)
	f.Add(activity(f, "user_accounts", func(r object) { r["actor"] = nil }, happening("suspicious_login", "affected_email_address", "A@b", "login_timestamp", int64(1))))
	f.Fuzz(func(t *testing.T, value string) {
		seen := map[string]bool{}
		for _, r := range decode(value) {
			if (r.event == nil) == (r.err == nil) || len(r.record) > len(value) {
				t.Fatalf("event %v, error %v, record of %d bytes", r.event, r.err, len(r.record))
			}
			e := r.event
			if e == nil {
				continue
			}
			if e.Source.Family != google.Family || e.Source.ID == "" || e.User.ID == "" {
				t.Errorf("an event of nobody or nowhere: %+v", e)
			}
			if len(e.User.ID) > events.MaxID || len(e.Source.ID) > events.MaxID || len(e.Change.Target.ID) > events.MaxID || len(e.Change.Grants) > events.MaxElements {
				t.Errorf("an event without bounds: %+v", e)
			}
			if e.User.Type == events.Unresolved && !strings.HasPrefix(e.User.ID, "name:") && len(e.User.ID) != 32 {
				t.Errorf("a name in the space of ids: %+v", e.User)
			}
			if seen[r.record+e.Source.ID] {
				// Two events of one record never have one id; two copies of a record do.
				if strings.Count(value, r.record) < 2 {
					t.Errorf("the id %q twice in one record", e.Source.ID)
				}
			}
			seen[r.record+e.Source.ID] = true
			if e.Tenant == "" {
				e.Tenant = "C0example" // ingest takes the source's
			}
			if e.Clean(); e.Validate() == nil {
				if _, err := events.Decode(events.Encode(e)); err != nil {
					t.Errorf("an event that cannot be read back: %v", err)
				}
			}
		}
	})
}
