package keycloak

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

const (
	realmID = "9a8b7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d"
	userID  = "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315"
	adminID = "6c0f2a15-9d3e-4b87-84a2-3e71d8bafc26"
	eventID = "6f5e4d3c-2b1a-4098-8765-43210fedcba9"
)

type object = map[string]any

// stored is a user event as the REST API gives it; change edits it before it is written.
func stored(t testing.TB, kind string, change func(r object)) string {
	t.Helper()
	r := object{
		"id": eventID, "time": int64(1772612135123), "type": kind, "realmId": realmID, "clientId": "web", "userId": userID,
		"sessionId": "3c2b1a09-f8e7-4d6c-b5a4-938271605f4e", "ipAddress": "192.0.2.60", "error": nil,
		"details": object{"auth_method": "openid-connect", "username": "pat", "code_id": "c-1"},
	}
	if change != nil {
		change(r)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func set(key string, value any) func(object) { return func(r object) { r[key] = value } }

func failing(failure string, details object) func(object) {
	return func(r object) { r["error"], r["details"] = failure, details }
}

type result struct {
	record string
	event  *events.Event
	err    error
}

func decode(value string) []result {
	var out []result
	Events().Decode([]byte(value), func(record []byte, e *events.Event, err error) {
		r := result{record: string(record), err: err}
		if e != nil {
			kept := *e
			r.event = &kept
		}
		out = append(out, r)
	})
	return out
}

// one decodes a value that must be one event.
func one(t testing.TB, value string) *events.Event {
	t.Helper()
	got := decode(value)
	if len(got) != 1 || got[0].err != nil {
		t.Fatalf("%.400s\ngives %+v", value, got)
	}
	e := got[0].event
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	if e.Clean(); e.Validate() != nil {
		t.Errorf("%.200s: the event is not valid: %v", value, e.Validate())
	}
	return e
}

// skipped decodes a value that must be left out for a reason.
func skipped(t testing.TB, value, reason string) {
	t.Helper()
	got := decode(value)
	var skip *foreign.Skipped
	if len(got) != 1 || !errors.As(got[0].err, &skip) || skip.Reason != reason {
		t.Errorf("%.300s\ngives %+v, want it skipped for %q", value, got, reason)
	}
}

// refused decodes a value that must be an error.
func refused(t testing.TB, value, want string) {
	t.Helper()
	got := decode(value)
	var skip *foreign.Skipped
	if len(got) != 1 || got[0].err == nil || errors.As(got[0].err, &skip) || !strings.Contains(got[0].err.Error(), want) {
		t.Errorf("%.300s\ngives %+v, want an error with %q", value, got, want)
	}
}

func TestStoredEvent(t *testing.T) {
	want := &events.Event{
		ID: events.EventID(realmID, "keycloak", eventID), Kind: events.SignIn, Tenant: realmID,
		User: events.User{ID: userID, Name: "pat"}, Time: 1772612135123,
		Source:  events.Source{Family: "keycloak", ID: eventID, Category: "LOGIN"},
		Outcome: events.Success, Interactive: events.Yes, App: events.Ref{ID: "web"},
		Session: events.Session{ID: "3c2b1a09-f8e7-4d6c-b5a4-938271605f4e"}, Correlation: "c-1", IP: "192.0.2.60",
		Auth: events.Auth{Protocol: "openid-connect"},
	}
	record := stored(t, "LOGIN", nil)
	for name, value := range map[string]string{
		"alone": record, "array": "[" + record + "]", "envelope": `{"events":[` + record + `]}`,
		"realm in capitals": stored(t, "LOGIN", set("realmId", strings.ToUpper(realmID))),
	} {
		if diff := cmp.Diff(want, one(t, value)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	refused(t, stored(t, "LOGIN", set("time", nil)), "time: is missing")
	refused(t, stored(t, "LOGIN", set("time", "soon")), `time: "soon"`)
	refused(t, stored(t, "", nil), "type: is missing")
	refused(t, `{"type":"LOGIN"`, "is no JSON")
	refused(t, "{\"type\":\"\xff\"}", "UTF-8")
	skipped(t, stored(t, "VERIFY_EMAIL", nil), "category")
	skipped(t, stored(t, "SOMETHING_NEW", nil), "category")
}

func TestT6_TimeInMilliseconds(t *testing.T) {
	for text, want := range map[any]string{
		int64(1772612135123): "2026-03-04T08:15:35.123Z", "1772612135123": "2026-03-04T08:15:35.123Z", "2026-03-04T08:15:35.123+00:00": "2026-03-04T08:15:35.123Z",
	} {
		if e := one(t, stored(t, "LOGIN", set("time", text))); e.Time.String() != want {
			t.Errorf("%v: %v, want %v", text, e.Time, want)
		}
	}
}

func TestSignIns(t *testing.T) {
	for kind, want := range map[string]struct {
		outcome     events.Outcome
		interactive events.Tri
		protocol    string
	}{
		"REFRESH_TOKEN":                  {events.Success, events.No, "refresh_token"},
		"TOKEN_EXCHANGE":                 {events.Success, events.No, "token_exchange"},
		"OAUTH2_DEVICE_VERIFY_USER_CODE": {events.Interrupt, events.Yes, "devicecode"},
		"OAUTH2_DEVICE_CODE_TO_TOKEN":    {events.Success, events.No, "devicecode"},
		"IMPERSONATE":                    {events.Success, events.Yes, "impersonation"},
		"LOGIN_ERROR":                    {events.Failure, events.Yes, "openid-connect"},
		"CODE_TO_TOKEN_ERROR":            {events.Failure, events.No, "openid-connect"},
		"IDENTITY_PROVIDER_LOGIN_ERROR":  {events.Failure, events.Yes, "openid-connect"},
		"REFRESH_TOKEN_ERROR":            {events.Failure, events.No, "refresh_token"},
	} {
		e := one(t, stored(t, kind, nil))
		if e.Kind != events.SignIn || e.Outcome != want.outcome || e.Interactive != want.interactive || e.Auth.Protocol != want.protocol {
			t.Errorf("%s: %s %q interactive %v by %q, want %+v", kind, e.Kind, e.Outcome, e.Interactive, e.Auth.Protocol, want)
		}
	}
	// What another event tells already, and from a server's address.
	for _, kind := range []string{"CODE_TO_TOKEN", "IDENTITY_PROVIDER_LOGIN", "IDENTITY_PROVIDER_FIRST_LOGIN", "OAUTH2_DEVICE_AUTH"} {
		skipped(t, stored(t, kind, nil), "category")
	}
	e := one(t, stored(t, "IMPERSONATE", set("details", object{"impersonator": "admin", "impersonator_realm": "master"})))
	if e.User.ID != userID || e.Change.Actor.Name != "admin" {
		t.Errorf("impersonated %+v by %+v", e.User, e.Change.Actor)
	}
}

func TestErrors(t *testing.T) {
	for failure, want := range map[string]events.Outcome{
		"invalid_user_credentials": events.Failure, "user_not_found": events.Failure, "invalid_token": events.Failure, "session_expired": events.Failure,
		"rejected_by_user": events.Failure, "something_new": events.Failure, "user_disabled": events.Blocked, "user_temporarily_disabled": events.Blocked,
		"expired_code": events.Interrupt, "authorization_pending": events.Interrupt,
	} {
		e := one(t, stored(t, "LOGIN_ERROR", failing(failure, object{"username": "pat", "reason": "why"})))
		if e.Outcome != want || e.Code != failure || e.Reason != "why" {
			t.Errorf("%s: %q %q %q, want %q", failure, e.Outcome, e.Code, e.Reason, want)
		}
	}
}

func TestT24_FailuresWithoutUser(t *testing.T) {
	for name, c := range map[string]struct {
		user, client any
		details      object
		want         events.User
	}{
		"null":           {nil, "web", object{"username": "Pat@Example.com"}, events.User{ID: "name:pat@example.com", Type: events.Unresolved, Name: "Pat@Example.com"}},
		"null as text":   {"null", "web", object{"username": "pat"}, events.User{ID: "name:pat", Type: events.Unresolved, Name: "pat"}},
		"empty":          {"", "", object{"username": "pat"}, events.User{ID: "name:pat", Type: events.Unresolved, Name: "pat"}},
		"e-mail":         {nil, nil, object{"email": "pat@example.com"}, events.User{ID: "name:pat@example.com", Type: events.Unresolved, Name: "pat@example.com"}},
		"from a storage": {"f:ldap-1:pat", "web", object{"username": "pat"}, events.User{ID: "f:ldap-1:pat", Name: "pat"}},
	} {
		e := one(t, stored(t, "LOGIN_ERROR", func(r object) {
			failing("user_not_found", c.details)(r)
			r["userId"], r["clientId"] = c.user, c.client
		}))
		if diff := cmp.Diff(c.want, e.User); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for _, name := range []string{strings.Repeat("x", 5000), "a\nb", "a\u0085b"} {
		e := one(t, stored(t, "LOGIN_ERROR", func(r object) {
			failing("user_not_found", object{"username": name})(r)
			r["userId"], r["clientId"], r["sessionId"] = nil, name, name
		}))
		if e.User.Type != events.Unresolved || !strings.HasPrefix(e.User.ID, "hash:") || !strings.HasPrefix(e.App.ID, "hash:") {
			t.Errorf("%.20q: %.90v %.80v", name, e.User, e.App)
		}
	}
	// Nobody at all: there is no one to keep it for.
	skipped(t, stored(t, "LOGIN_ERROR", func(r object) { failing("invalid_redirect_uri", nil)(r); r["userId"] = nil }), "no_user")
}

func TestT21_ProgramsAreKeptApart(t *testing.T) {
	e := one(t, stored(t, "CLIENT_LOGIN", func(r object) {
		r["clientId"] = "billing"
		r["details"] = object{"username": "service-account-billing"}
	}))
	if e.User.ID != "billing" || e.User.Type != events.Workload || e.User.Name != "service-account-billing" || e.Interactive != events.No {
		t.Errorf("user %+v", e.User)
	}
}

func TestT26_AddressOfTheProxy(t *testing.T) {
	for address, want := range map[any][2]string{
		"192.0.2.60": {"192.0.2.60", ""}, "192.0.2.60:50123": {"192.0.2.60", ""}, "0:0:0:0:0:0:0:1": {"::1", ""}, "[2001:db8::7]:443": {"2001:db8::7", ""},
		"10.0.0.7": {"10.0.0.7", ""}, "192.0.2.60, 10.0.0.7": {"", "192.0.2.60, 10.0.0.7"}, nil: {"", ""}, "unknown": {"", ""},
	} {
		if e := one(t, stored(t, "LOGIN", set("ipAddress", address))); e.IP != want[0] || e.AddressText != want[1] {
			t.Errorf("%v: %q and %q, want %q", address, e.IP, e.AddressText, want)
		}
	}
}

func TestHowIdentityWasProved(t *testing.T) {
	for name, c := range map[string]struct {
		kind, failure string
		details       object
		want          events.Auth
	}{
		"nothing told":        {"LOGIN", "", object{}, events.Auth{}},
		"direct grant":        {"LOGIN", "", object{"grant_type": "password", "auth_method": "openid-connect"}, events.Auth{Protocol: "ropc"}},
		"password":            {"LOGIN", "", object{"credential_type": "password"}, events.Auth{Methods: []string{"password"}}},
		"one-time code":       {"LOGIN", "", object{"credential_type": "otp", "acr": "2"}, events.Auth{Methods: []string{"otp"}, MFA: events.MFAPerformed, Strength: events.MultiFactor, ACR: "2"}},
		"passkey":             {"LOGIN", "", object{"credential_type": "webauthn-passwordless"}, events.Auth{Methods: []string{"passkey"}, MFA: events.MFAPerformed, Strength: events.PhishingResistant}},
		"wrong password":      {"LOGIN_ERROR", "invalid_user_credentials", object{"credential_type": "password"}, events.Auth{Methods: []string{"password"}}},
		"wrong one-time code": {"LOGIN_ERROR", "invalid_user_credentials", object{"credential_type": "otp"}, events.Auth{Methods: []string{"otp"}, MFA: events.MFAFailed}},
		"a new credential":    {"LOGIN", "", object{"credential_type": "telepathy"}, events.Auth{}},
	} {
		e := one(t, stored(t, c.kind, func(r object) { r["error"], r["details"] = c.failure, c.details }))
		if diff := cmp.Diff(c.want, e.Auth); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestSignOuts(t *testing.T) {
	e := one(t, stored(t, "LOGOUT", nil))
	if e.Kind != events.SignOut || e.Session.ID != "3c2b1a09-f8e7-4d6c-b5a4-938271605f4e" || e.User.ID != userID {
		t.Errorf("%+v", e)
	}
	skipped(t, stored(t, "LOGOUT", set("sessionId", nil)), "no_session")
	skipped(t, head+`type="LOGOUT", realmId="r", clientId="web", userId="u-1", ipAddress="192.0.2.60"`, "no_session")
	skipped(t, stored(t, "LOGOUT_ERROR", failing("invalid_token", nil)), "category")
}

func TestAccountChanges(t *testing.T) {
	for kind, c := range map[string]struct {
		details object
		want    events.Change
	}{
		"UPDATE_PASSWORD":   {object{}, events.Change{Type: events.CredentialChange, Action: events.Updated}},
		"RESET_PASSWORD":    {object{}, events.Change{Type: events.CredentialChange, Action: events.Reset}},
		"UPDATE_TOTP":       {object{}, events.Change{Type: events.MethodChange, Action: events.Updated, Target: events.Ref{Name: "otp"}}},
		"REMOVE_TOTP":       {object{}, events.Change{Type: events.MethodChange, Action: events.Removed, Target: events.Ref{Name: "otp"}}},
		"UPDATE_CREDENTIAL": {object{"credential_type": "webauthn"}, events.Change{Type: events.MethodChange, Action: events.Updated, Target: events.Ref{Name: "fido2"}}},
		"REMOVE_CREDENTIAL": {object{"credential_type": "password"}, events.Change{Type: events.CredentialChange, Action: events.Removed}},
		"UPDATE_EMAIL": {
			object{"previous_email": "a@example.com", "updated_email": "b@example.com"},
			events.Change{Type: events.RecoveryChange, Action: events.Updated, From: "a@example.com", To: "b@example.com"},
		},
		"FEDERATED_IDENTITY_LINK": {object{"identity_provider": "github"}, events.Change{Type: events.CredentialChange, Action: events.Added, Target: events.Ref{Name: "github"}}},
		"GRANT_CONSENT":           {object{"scope": "openid profile"}, events.Change{Type: events.ConsentChange, Action: events.Added, Target: events.Ref{ID: "web"}, Grants: []string{"openid", "profile"}}},
		"REVOKE_GRANT":            {object{"revoked_client": "other"}, events.Change{Type: events.ConsentChange, Action: events.Removed, Target: events.Ref{ID: "other"}}},
		"REGISTER":                {object{}, events.Change{Type: events.LifecycleChange, Action: events.Added}},
		"DELETE_ACCOUNT":          {object{}, events.Change{Type: events.LifecycleChange, Action: events.Removed}},
	} {
		e := one(t, stored(t, kind, set("details", c.details)))
		if diff := cmp.Diff(c.want, e.Change); diff != "" || e.Kind != events.AccountChange || e.Outcome != events.Success {
			t.Errorf("%s: %s %q; %s", kind, e.Kind, e.Outcome, diff)
		}
		e = one(t, stored(t, kind+"_ERROR", func(r object) { r["error"], r["details"] = "not_allowed", c.details }))
		if e.Outcome == events.Success || e.Code != "not_allowed" {
			t.Errorf("%s_ERROR: %q %q", kind, e.Outcome, e.Code)
		}
	}
	// A lock is a lock, also where it comes as an error.
	for kind, action := range map[string]events.ChangeAction{
		"USER_DISABLED_BY_TEMPORARY_LOCKOUT": events.Locked, "USER_DISABLED_BY_PERMANENT_LOCKOUT_ERROR": events.Disabled,
	} {
		e := one(t, stored(t, kind, failing("user_temporarily_disabled", object{})))
		if e.Change.Type != events.LifecycleChange || e.Change.Action != action || e.Outcome != events.Success || e.Reason == "" {
			t.Errorf("%s: %+v %q", kind, e.Change, e.Outcome)
		}
	}
}

func TestEventsWithoutIDHaveOne(t *testing.T) {
	drop := func(change func(object)) string {
		return stored(t, "LOGIN", func(r object) {
			delete(r, "id")
			if change != nil {
				change(r)
			}
		})
	}
	ids := map[string]bool{}
	for _, value := range []string{
		drop(nil), drop(nil), drop(set("time", 1772612135124)), drop(set("userId", adminID)), drop(set("ipAddress", "192.0.2.61")),
		drop(set("details", object{"username": "pat"})), drop(set("sessionId", "other")),
	} {
		ids[one(t, value).Source.ID] = true
	}
	if len(ids) != 6 {
		t.Errorf("ids %v: the same event must have one id, others others", ids)
	}
}
