package ssf_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
	"github.com/countersign-io/countersign/internal/source/ssf"
)

const (
	issuer = "https://idp.example.com"
	simple = `{"format":"iss_sub","iss":"https://idp.example.com","sub":"u1"}`
)

// set is a claims set with one event of a type.
func set(kind, subject, members string) string {
	return fmt.Sprintf(`{"iss":"https://idp.example.com","iat":1772612131,"jti":"j-1","aud":"a","sub_id":%s,"events":{%q:%s}}`, subject, kind, members)
}

// only decodes one event, which must be valid.
func only(t *testing.T, value string) events.Event {
	t.Helper()
	all := decode(ssf.Claims(), value)
	if len(all) != 1 || all[0].err != nil {
		t.Fatalf("%s: %+v", value, all)
	}
	e := *all[0].event
	e.Tenant = tenant
	e.Clean()
	if err := e.Validate(); err != nil {
		t.Fatalf("%s: %v", value, err)
	}
	return e
}

// base is what every event of set has.
func base(category string, change func(e *events.Event)) events.Event {
	e := events.Event{
		Tenant: tenant, User: events.User{ID: "u1"}, Time: 1772612100000, Emitted: 1772612131000,
		Source: events.Source{Family: "ssf", ID: "https://idp.example.com|j-1", Category: category},
	}
	change(&e)
	return e
}

func changed(kind events.ChangeType, action events.ChangeAction, more func(c *events.Change)) func(e *events.Event) {
	return func(e *events.Event) {
		e.Kind, e.Change = events.AccountChange, events.Change{Type: kind, Action: action}
		if more != nil {
			more(&e.Change)
		}
	}
}

func TestCAEP(t *testing.T) {
	t.Parallel()
	complete := `{"format":"complex","user":` + simple + `,"session":{"format":"opaque","id":"s9"},"device":{"format":"iss_sub","iss":"https://mdm.example.com","sub":"d7"},"tenant":{"format":"opaque","id":"t1"}}`
	for _, c := range []struct {
		name, kind, subject, members string
		want                         func(e *events.Event)
	}{
		{"every session of the user", "session-revoked", simple, `"initiating_entity":"policy","reason_admin":{"nl":"beleid","en":"landspeed policy"},"reason_user":{"en":"moved too fast"}`, func(e *events.Event) {
			e.Kind, e.Code, e.Reason = events.SignOut, "policy", "landspeed policy"
		}},
		{"one session", "session-revoked", complete, `"reason_user":{"de":"Sitzung beendet"}`, func(e *events.Event) {
			e.Kind, e.Reason, e.Session.ID, e.Device.ID = events.SignOut, "Sitzung beendet", "s9", "d7"
		}},
		{"a role claim", "token-claims-change", simple, `"claims":{"role":"ro-admin","acr":"1"}`, changed(events.RoleChange, events.Updated, func(c *events.Change) {
			c.Target.Name, c.To = "acr,role", `{"role":"ro-admin","acr":"1"}`
		})},
		{"an assurance claim", "token-claims-change", simple, `"claims":{"trusted_network":"false","acr":"1"}`, changed(events.AssuranceChange, events.Updated, func(c *events.Change) {
			c.Target.Name, c.To = "acr,trusted_network", `{"trusted_network":"false","acr":"1"}`
		})},
		{"another claim", "token-claims-change", simple, `"claims":{"trusted_network":"false"}`, changed(events.LifecycleChange, events.Updated, func(c *events.Change) {
			c.Target.Name, c.To = "trusted_network", `{"trusted_network":"false"}`
		})},
		{"a passkey", "credential-change", simple, `"credential_type":"fido2-roaming","change_type":"create","fido2_aaguid":"accced6a-63f5-490a-9eea-e59bc1896cfc","friendly_name":"Jane's USB authenticator","initiating_entity":"user"`, func(e *events.Event) {
			changed(events.MethodChange, events.Added, func(c *events.Change) {
				c.Target, c.To = events.Ref{ID: "fido2-roaming", Name: "Jane's USB authenticator"}, "accced6a-63f5-490a-9eea-e59bc1896cfc"
			})(e)
			e.Code = "create"
		}},
		{"a password by an administrator", "credential-change", simple, `"credential_type":"password","change_type":"update","initiating_entity":"admin"`, func(e *events.Event) {
			changed(events.CredentialChange, events.Updated, func(c *events.Change) { c.Target.ID, c.Actor.Name = "password", "admin" })(e)
			e.Code = "update"
		}},
		{"a certificate", "credential-change", simple, `"credential_type":"x509","change_type":"revoke","x509_issuer":"CN=Example CA","x509_serial":"4711"`, func(e *events.Event) {
			changed(events.CredentialChange, events.Removed, func(c *events.Change) { c.Target.ID, c.From = "x509", "CN=Example CA 4711" })(e)
			e.Code = "revoke"
		}},
		{"a deleted telephone", "credential-change", simple, `"credential_type":"phone-sms","change_type":"delete"`, func(e *events.Event) {
			changed(events.MethodChange, events.Removed, func(c *events.Change) { c.Target.ID = "phone-sms" })(e)
			e.Code = "delete"
		}},
		{"an agreed type and change", "credential-change", simple, `"credential_type":"Palm-Scan","change_type":"rotate"`, func(e *events.Event) {
			changed(events.MethodChange, "", func(c *events.Change) { c.Target.ID = "palm-scan" })(e)
			e.Code = "rotate"
		}},
		{"assurance", "assurance-level-change", simple, `"namespace":"NIST-AAL","current_level":"nist-aal1","previous_level":"nist-aal2","change_direction":"decrease","initiating_entity":"policy"`, func(e *events.Event) {
			changed(events.AssuranceChange, events.Updated, func(c *events.Change) {
				c.Target.ID, c.From, c.To, c.Actor.Name = "NIST-AAL", "nist-aal2", "nist-aal1", "policy"
			})(e)
			e.Code = "decrease"
		}},
		{"compliance", "device-compliance-change", complete, `"previous_status":"compliant","current_status":"not-compliant"`, func(e *events.Event) {
			changed(events.DeviceChange, events.Updated, func(c *events.Change) { c.Target.ID, c.From, c.To = "d7", "compliant", "not-compliant" })(e)
			e.Session.ID, e.Device = "s9", events.Device{ID: "d7", Compliant: events.No}
		}},
		{"compliance without a device", "device-compliance-change", simple, `"previous_status":"not-compliant","current_status":"compliant"`, func(e *events.Event) {
			changed(events.DeviceChange, events.Updated, func(c *events.Change) { c.From, c.To = "not-compliant", "compliant" })(e)
			e.Device.Compliant = events.Yes
		}},
		{"an established session", "session-established", complete, `"fp_ua":"abb0b6e7da81a42233f8f2b1a8ddb1b9a4c81611","acr":"AAL2","amr":["otp","pwd"],"ips":["198.51.100.20:4711","203.0.113.8"],"ext_id":"e1"`, func(e *events.Event) {
			e.Kind, e.Outcome, e.Session.ID, e.Device.ID, e.IP = events.SignIn, events.Success, "s9", "d7", "198.51.100.20"
			e.Auth = events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"otp", "password"}, ACR: "AAL2"}
		}},
		{"a presented session", "session-presented", simple, `"fp_ua":"Mozilla/5.0 (X11; Linux x86_64) Example/1.0","ext_id":"12345","ips":["2001:db8::7"]`, func(e *events.Event) {
			e.Kind, e.Session.ID, e.IP, e.UserAgent = events.SessionUse, "12345", "2001:db8::7", "Mozilla/5.0 (X11; Linux x86_64) Example/1.0"
		}},
		{"the user's risk", "risk-level-change", simple, `"principal":"USER","current_level":"LOW","previous_level":"HIGH","risk_reason":"PASSWORD_FOUND_IN_DATA_BREACH"`, func(e *events.Event) {
			e.Kind, e.Risk = events.RiskReport, events.Risk{Level: events.RiskLow, User: events.RiskLow, Detections: []string{"PASSWORD_FOUND_IN_DATA_BREACH"}}
			e.Change.From, e.Change.To = "HIGH", "LOW"
		}},
		{"a session's risk", "risk-level-change", complete, `"principal":"SESSION","current_level":"HIGH"`, func(e *events.Event) {
			e.Kind, e.Risk.Level, e.Session.ID, e.Device.ID, e.Change.To = events.RiskReport, events.RiskHigh, "s9", "d7", "HIGH"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := only(t, set(caep+c.kind, c.subject, `{"event_timestamp":1772612100,`+c.members+`}`))
			if diff := cmp.Diff(base(c.kind, c.want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRISC(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, members string
		want          func(e *events.Event)
	}{
		{"account-credential-change-required", `{}`, changed(events.CredentialChange, events.Reset, nil)},
		{"account-purged", `{}`, changed(events.LifecycleChange, events.Removed, nil)},
		{"account-disabled", `{"reason":"hijacking"}`, func(e *events.Event) {
			changed(events.LifecycleChange, events.Disabled, nil)(e)
			e.Code, e.Risk = "hijacking", events.Risk{State: events.RiskConfirmed, Detections: []string{"hijacking"}}
		}},
		{"account-disabled", `{"reason":"bulk-account"}`, func(e *events.Event) {
			changed(events.LifecycleChange, events.Disabled, nil)(e)
			e.Code = "bulk-account"
		}},
		{"account-enabled", `{}`, changed(events.LifecycleChange, events.Enabled, nil)},
		{"identifier-changed", `{"new-value":"john.roe@example.com"}`, changed(events.LifecycleChange, events.Updated, func(c *events.Change) {
			c.Target.ID, c.To = "identifier", "john.roe@example.com"
		})},
		{"identifier-recycled", `{}`, changed(events.LifecycleChange, events.Updated, func(c *events.Change) { c.Target.ID = "identifier" })},
		{"credential-compromise", `{"credential_type":"password"}`, func(e *events.Event) {
			e.Kind, e.Risk = events.RiskReport, events.Risk{State: events.RiskOpen, Detections: []string{"credential-compromise"}, Detail: "password"}
		}},
		{"opt-in", `{}`, changed(events.LifecycleChange, events.Updated, func(c *events.Change) { c.Target.ID, c.To = "risc", "opt-in" })},
		{"opt-out-initiated", `{}`, changed(events.LifecycleChange, events.Updated, func(c *events.Change) { c.Target.ID, c.To = "risc", "opt-out-initiated" })},
		{"opt-out-cancelled", `{}`, changed(events.LifecycleChange, events.Updated, func(c *events.Change) { c.Target.ID, c.To = "risc", "opt-out-cancelled" })},
		{"opt-out-effective", `{}`, changed(events.LifecycleChange, events.Updated, func(c *events.Change) { c.Target.ID, c.To = "risc", "opt-out-effective" })},
		{"recovery-activated", `{}`, changed(events.RecoveryChange, "", func(c *events.Change) { c.To = "activated" })},
		{"recovery-information-changed", `{}`, changed(events.RecoveryChange, events.Updated, nil)},
		{"sessions-revoked", `{}`, func(e *events.Event) { e.Kind = events.SignOut }},
	} {
		t.Run(c.kind+" "+c.members, func(t *testing.T) {
			t.Parallel()
			got := only(t, set(risc+c.kind, simple, c.members))
			want := base(c.kind, c.want)
			want.Time = want.Emitted // these say no time of their own
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for members, want := range map[string]events.Millis{
		`{"event_timestamp":1772612100}`:    1772612100000,
		`{"event_timestamp":1772612100.25}`: 1772612100250,
		`{"event_timestamp":1772612100104}`: 1772612100104, // a conformance suite writes milliseconds
		`{"event_timestamp":"yesterday"}`:   1772612131000,
		`{"event_timestamp":null}`:          1772612131000,
		`{"event_timestamp":-5}`:            1772612131000,
		`{"event_timestamp":1e300}`:         1772612131000,
		`{}`:                                1772612131000,
	} {
		if got := only(t, set(risc+"account-enabled", simple, members)); got.Time != want {
			t.Errorf("%s: %d, want %d", members, got.Time, want)
		}
	}
	got := only(t, strings.Replace(set(risc+"account-enabled", simple, `{}`), `"iat"`, `"toe":1772612111,"iat"`, 1))
	if got.Time != 1772612111000 || got.Emitted != 1772612131000 {
		t.Errorf("toe: %v, %v", got.Time, got.Emitted)
	}
}

func TestProofOfIdentity(t *testing.T) {
	t.Parallel()
	for members, want := range map[string]events.Auth{
		`{}`:                            {},
		`{"amr":["pwd"]}`:               {Methods: []string{"password"}, Strength: events.SingleFactor},
		`{"amr":"pwd"}`:                 {Methods: []string{"password"}, Strength: events.SingleFactor},
		`{"amr":["pwd","pin"]}`:         {Methods: []string{"password", "pin"}, Strength: events.SingleFactor},
		`{"amr":["PWD","mfa"]}`:         {Methods: []string{"password"}, Strength: events.MultiFactor, MFA: events.MFAPerformed},
		`{"amr":["face","hwk"]}`:        {Methods: []string{"face", "hardware_key"}, Strength: events.MultiFactor, MFA: events.MFAPerformed},
		`{"amr":["fido","fido2"]}`:      {Methods: []string{"fido2"}, Strength: events.PhishingResistant},
		`{"amr":["pwd"],"acr":"phr"}`:   {Methods: []string{"password"}, Strength: events.PhishingResistant, ACR: "phr"},
		`{"amr":["geo"],"acr":"urn:1"}`: {Methods: []string{"geo"}, ACR: "urn:1"},
	} {
		if diff := cmp.Diff(want, only(t, set(caep+"session-established", simple, members)).Auth); diff != "" {
			t.Errorf("%s: %s", members, diff)
		}
	}
}

// What is left out is counted by reason, and no dead letter.
func TestLeftOut(t *testing.T) {
	t.Parallel()
	for value, want := range map[string][2]string{
		set("https://schemas.countersign.io/secevent/event-type/step-up-required", simple, `{"status":"open"}`): {"own", "step-up-required"},
		set(own+"verification", `{"format":"opaque","id":"stream-1"}`, `{"state":"x"}`):                         {"stream", "verification"},
		set(own+"stream-updated", `{"format":"opaque","id":"stream-1"}`, `{"status":"paused"}`):                 {"stream", "stream-updated"},
		set("urn:ietf:params:scim:event:prov:create:full", `{"format":"scim","uri":"/Users/2"}`, `{"id":"1"}`):  {"category", "urn:ietf:params:scim:event:prov:create:full"},
		set(caep+"something-new", simple, `{}`):                                                                 {"category", "something-new"},
		set(caep+"session-presented", simple, `{}`):                                                             {"session", "session-presented"},
	} {
		all := decode(ssf.Claims(), value)
		skipped := &foreign.Skipped{}
		if len(all) != 1 || !errors.As(all[0].err, &skipped) || [2]string{skipped.Skip(), skipped.Category} != want {
			t.Errorf("%s: %+v, want %q", value, all, want)
		}
	}
}

// An event that is against its own definition is the transmitter's fault.
func TestEventsAgainstTheirDefinition(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		set(caep+"token-claims-change", simple, `{"claims":[]}`):                                        "claims: is missing",
		set(caep+"credential-change", simple, `{"change_type":"create"}`):                               "credential_type: is missing",
		set(caep+"credential-change", simple, `{"credential_type":"pin"}`):                              "change_type: is missing",
		set(caep+"assurance-level-change", simple, `{"namespace":"NIST-AAL"}`):                          "current_level: is missing",
		set(caep+"device-compliance-change", simple, `{"previous_status":"compliant"}`):                 "current_status: is missing",
		set(caep+"risk-level-change", simple, `{"principal":"USER"}`):                                   "current_level: is missing",
		set(caep+"risk-level-change", simple, `{"current_level":"SEVERE"}`):                             `current_level: is "SEVERE", must be LOW, MEDIUM or HIGH`,
		set(caep+"session-revoked", `null`, `{}`):                                                       "sub_id: is missing",
		set(caep+"session-revoked", `"u1"`, `{}`):                                                       "sub_id: is missing",
		set(caep+"session-revoked", simple, `"x"`):                                                      "is no object",
		`{"iss":"https://idp.example.com","iat":1772612131,"jti":"j","events":{}}`:                      "events: holds no event",
		`{"iss":"https://idp.example.com","iat":1772612131,"jti":"j","events":[]}`:                      "events: is no object",
		`{"iss":"https://idp.example.com","iat":1772612131,"jti":"j"}`:                                  "events: holds no event",
		`{"iss":"https://idp.example.com","iat":1772612131,"events":{"a":{}}}`:                          "jti: is missing",
		`{"iat":1772612131,"jti":"j","events":{"a":{}}}`:                                                "iss: is missing",
		`{"iss":"https://idp.example.com","iat":"1772612131","jti":"j","events":{"a":{}}}`:              "iat: is missing, or no time",
		`{"iss":"https://idp.example.com","iat":1772612131,"jti":"j","events":{"a":{},"b":{},"a":{}}}`:  `events: names "a" twice`,
		`{"iss":"i","iat":1772612131,"jti":"j","events":{` + strings.Repeat(`"x":{},`, 16) + `"y":{}}}`: "more than 16 members",
		`{"ISS":"https://idp.example.com","Iat":1772612131,"JTI":"j","Events":{"a":{}}}`:                "jti: is missing", // T30: names are exact
	} {
		all := decode(ssf.Claims(), value)
		refusal := &ssf.Refusal{}
		if len(all) != 1 || !errors.As(all[0].err, &refusal) || refusal.Code != ssf.InvalidRequest || !strings.Contains(refusal.Description, want) {
			t.Errorf("%s: %+v, want %q", value, all, want)
		}
	}
}

// Several events of one token are events of their own, and keep their ids in whatever order they come.
func TestSeveralEvents(t *testing.T) {
	t.Parallel()
	first, second := `"`+risc+`account-disabled":{"reason":"hijacking"}`, `"`+caep+`session-revoked":{}`
	ids := func(list string) map[string]string {
		got := map[string]string{}
		for _, r := range decode(ssf.Claims(), `{"iss":"`+issuer+`","iat":1772612131,"jti":"j-1","sub_id":`+simple+`,"events":{`+list+`}}`) {
			if r.err != nil {
				t.Fatal(r.err)
			}
			got[r.event.Source.Category] = r.event.Source.ID
		}
		return got
	}
	want := map[string]string{"session-revoked": issuer + "|j-1#0", "account-disabled": issuer + "|j-1#1"}
	for _, list := range []string{first + "," + second, second + "," + first} {
		if diff := cmp.Diff(want, ids(list)); diff != "" {
			t.Error(diff)
		}
	}
}

// Ids stay within bounds, and two long ones stay two.
func TestLongIDs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000)
	seen := map[string]bool{}
	for _, tail := range []string{"1", "2"} {
		value := set(caep+"session-revoked", `{"format":"complex","user":{"format":"iss_sub","iss":"i","sub":"`+long+tail+`"},"session":{"format":"opaque","id":"`+long+tail+`"},"device":{"format":"opaque","id":"`+long+tail+`"}}`, `{}`)
		e := only(t, strings.Replace(value, "j-1", long+tail, 1))
		for _, id := range []string{"user" + e.User.ID, "session" + e.Session.ID, "source" + e.Source.ID} {
			if seen[id] {
				t.Errorf("%s twice", id)
			}
			seen[id] = true
		}
	}
}
