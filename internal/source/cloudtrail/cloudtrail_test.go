package cloudtrail_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/cloudtrail"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

type object = map[string]any

const (
	account = "111122223333"
	eventID = "d4c3b2a1-0f9e-4d8c-b7a6-5f4e3d2c1b0a"
	console = "https://console.aws.amazon.com/console/home"
)

// record is a CloudTrail record, of a console sign-in that worked until change edits it.
func record(t testing.TB, change func(object)) string {
	t.Helper()
	r := object{
		"eventVersion": "1.08", "eventID": eventID, "eventTime": "2026-03-04T08:15:33Z", "eventSource": "signin.amazonaws.com", "eventName": "ConsoleLogin",
		"eventType": "AwsConsoleSignIn", "awsRegion": "us-east-1",
		"userIdentity":    object{"type": "IAMUser", "principalId": "AIDAEXAMPLE", "accountId": account, "accessKeyId": "", "userName": "5b9e1f04"},
		"sourceIPAddress": "203.0.113.40", "userAgent": "Mozilla/5.0 (X11) Example/1.0", "requestParameters": nil,
		"responseElements":    object{"ConsoleLogin": "Success"},
		"additionalEventData": object{"LoginTo": console + "?state=hunter2#x", "MobileVersion": "No", "MFAUsed": "No"},
		"recipientAccountId":  account, "readOnly": false, "managementEvent": true,
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

// call makes the record one of a request to an API.
func call(source, name string, who, request, response object) func(object) {
	return func(r object) {
		r["eventSource"], r["eventName"], r["eventType"] = source+".amazonaws.com", name, "AwsApiCall"
		r["requestParameters"], r["responseElements"] = request, response
		delete(r, "additionalEventData")
		if who != nil {
			r["userIdentity"] = who
		}
	}
}

type result struct {
	record string
	event  *events.Event
	err    error
}

func decode(value string) []result {
	var out []result
	cloudtrail.Records().Decode([]byte(value), func(record []byte, e *events.Event, err error) {
		r := result{record: string(record), err: err}
		if e != nil {
			kept := *e
			r.event = &kept
		}
		out = append(out, r)
	})
	return out
}

// one decodes one record that must be an event.
func one(t testing.TB, change func(object)) *events.Event {
	t.Helper()
	value := record(t, change)
	got := decode(value)
	if len(got) != 1 || got[0].err != nil {
		t.Fatalf("%.600s\ngives %+v", value, got)
	}
	e := got[0].event
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	if e.Clean(); e.Validate() != nil {
		t.Errorf("the event is not valid: %v", e.Validate())
	}
	return e
}

// set is a change of one member.
func set(key string, value any) func(object) { return func(r object) { r[key] = value } }

func TestConsoleLogin(t *testing.T) {
	t.Parallel()
	want := &events.Event{
		ID: events.EventID(account, "cloudtrail", eventID), Kind: events.SignIn, Tenant: account,
		User: events.User{ID: "AIDAEXAMPLE", Name: "5b9e1f04"}, Time: 1772612133000,
		Source:  events.Source{Family: "cloudtrail", ID: eventID, Category: "ConsoleLogin"},
		Outcome: events.Success, Code: "Success", Interactive: events.Yes, App: events.Ref{ID: console},
		IP: "203.0.113.40", UserAgent: "Mozilla/5.0 (X11) Example/1.0",
		Auth: events.Auth{MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: []string{"password"}},
	}
	if diff := cmp.Diff(want, one(t, nil)); diff != "" {
		t.Error(diff)
	}
}

func TestConsoleLoginOutcomes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(object)
		outcome events.Outcome
		auth    events.Auth
		reason  string
	}{
		"virtual device": {
			set("additionalEventData", object{"MFAUsed": "Yes", "MFAIdentifier": "arn:aws:iam::111122223333:mfa/phone"}), events.Success,
			events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor},
			"",
		},
		"security key": {
			set("additionalEventData", object{"MFAUsed": "Yes", "MFAIdentifier": "arn:aws:iam::111122223333:u2f/user/5b9e1f04/default-A1"}), events.Success,
			events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, Methods: []string{"fido2"}},
			"",
		},
		"wrong password": {func(r object) {
			r["responseElements"], r["errorMessage"] = object{"ConsoleLogin": "Failure"}, "Failed authentication"
		}, events.Failure, events.Auth{}, "Failed authentication"},
		"wrong code": {func(r object) {
			r["responseElements"], r["errorMessage"] = object{"ConsoleLogin": "Failure"}, "Failed authentication"
			r["additionalEventData"] = object{"MFAUsed": "Yes"}
		}, events.Failure, events.Auth{MFA: events.MFAFailed}, "Failed authentication"},
		"error alone":   {func(r object) { r["responseElements"], r["errorMessage"] = nil, "Gone" }, events.Failure, events.Auth{}, "Gone"},
		"says nothing":  {set("responseElements", nil), "", events.Auth{}, ""},
		"MFA not said":  {set("additionalEventData", nil), events.Success, events.Auth{}, ""},
		"texts as text": {set("responseElements", `{"ConsoleLogin":"Success"}`), events.Success, events.Auth{MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: []string{"password"}}, ""},
	} {
		e := one(t, c.change)
		if diff := cmp.Diff(c.auth, e.Auth); diff != "" || e.Outcome != c.outcome || e.Reason != c.reason {
			t.Errorf("%s: %q %q %s", name, e.Outcome, e.Reason, diff)
		}
	}
}

func TestT23_WhoItIs(t *testing.T) {
	t.Parallel()
	const session = "AROAEXAMPLE:someone@example.com"
	for name, c := range map[string]struct {
		identity any
		want     events.User
	}{
		"IAM user": {object{"type": "IAMUser", "principalId": "AIDAEXAMPLE", "userName": "5b9e1f04"}, events.User{ID: "AIDAEXAMPLE", Name: "5b9e1f04"}},
		"unknown name": {
			object{"type": "IAMUser", "accountId": account, "userName": "HIDDEN_DUE_TO_SECURITY_REASONS"},
			events.User{ID: "name:hidden_due_to_security_reasons", Type: events.Unresolved},
		},
		"hidden name of a known user": {
			object{"type": "IAMUser", "principalId": "AIDAEXAMPLE", "userName": "HIDDEN_DUE_TO_SECURITY_REASONS"}, events.User{ID: "AIDAEXAMPLE"},
		},
		"name only":       {object{"type": "IAMUser", "accountId": account, "userName": "Example"}, events.User{ID: "name:example", Type: events.Unresolved, Name: "Example"}},
		"root":            {object{"type": "Root", "principalId": account, "accountId": account}, events.User{ID: account, Name: "root", Privileged: events.Yes}},
		"root with alias": {object{"type": "Root", "accountId": account, "userName": "example-corp"}, events.User{ID: account, Name: "example-corp", Privileged: events.Yes}},
		"role":            {object{"type": "AssumedRole", "principalId": session, "accountId": account}, events.User{ID: session, Name: "someone@example.com"}},
		"federated user":  {object{"type": "FederatedUser", "principalId": account + ":Someone", "accountId": account}, events.User{ID: account + ":Someone", Name: "Someone"}},
		"role of a person of the directory": {
			object{"type": "AssumedRole", "principalId": session, "onBehalfOf": object{"userId": "544894E8-80c1-707f-60e3-3ba6510dfac1"}},
			events.User{ID: "544894e8-80c1-707f-60e3-3ba6510dfac1"},
		},
		"person of the directory": {
			object{"type": "IdentityCenterUser", "accountId": account, "onBehalfOf": object{"userId": "544894e8-80c1-707f-60e3-3ba6510dfac1", "identityStoreArn": "arn:aws:identitystore::111122223333:identitystore/d-1"}},
			events.User{ID: "544894e8-80c1-707f-60e3-3ba6510dfac1"},
		},
		"person as before 2025": {
			object{"type": "Unknown", "principalId": account, "arn": "", "accountId": account, "userName": "Someone"},
			events.User{ID: "name:someone", Type: events.Unresolved, Name: "Someone"},
		},
		"a long one": {
			object{"type": "AssumedRole", "principalId": "AROAEXAMPLE:" + strings.Repeat("x", 300)},
			events.User{ID: "hash:" + events.ID("cloudtrail", "AROAEXAMPLE:"+strings.Repeat("x", 300)), Name: strings.Repeat("x", 256)},
		},
	} {
		if diff := cmp.Diff(c.want, one(t, set("userIdentity", c.identity)).User); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for _, identity := range []any{nil, object{}, object{"type": "Unknown", "principalId": account, "accountId": account}} {
		got := decode(record(t, set("userIdentity", identity)))
		if len(got) != 1 || got[0].err == nil || !strings.Contains(got[0].err.Error(), "userIdentity: names nobody") {
			t.Errorf("%v: %+v", identity, got)
		}
	}
	// A caller who takes the name of a user for a session does not become that user.
	impostor := one(t, set("userIdentity", object{"type": "AssumedRole", "principalId": "AROAOTHER:AIDAEXAMPLE"}))
	if impostor.User.ID == "AIDAEXAMPLE" || impostor.Key() == one(t, nil).Key() {
		t.Errorf("%+v", impostor.User)
	}
}

func TestT25_Addresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"AWS Internal": {"", "AWS Internal"}, "signin.amazonaws.com": {"", "signin.amazonaws.com"}, "-": {"", ""}, "": {"", ""},
		"10.0.0.1": {"10.0.0.1", ""}, "2001:0db8:0:0:0:0:0:1": {"2001:db8::1", ""}, "192.0.2.xxx": {"", "192.0.2.xxx"},
	} {
		if e := one(t, set("sourceIPAddress", text)); e.IP != want[0] || e.AddressText != want[1] {
			t.Errorf("%q: %q and %q", text, e.IP, e.AddressText)
		}
	}
}

func TestT35_FederatedUsersProvedItElsewhere(t *testing.T) {
	t.Parallel()
	const provider = "arn:aws:iam::111122223333:saml-provider/example"
	e := one(t, func(r object) {
		r["userIdentity"] = object{
			"type": "AssumedRole", "principalId": "AROAEXAMPLE:someone", "accountId": account,
			"sessionContext": object{"attributes": object{"mfaAuthenticated": "false"}},
		}
		r["additionalEventData"] = object{"MFAUsed": "No", "SamlProviderArn": provider}
	})
	if e.Outcome != events.Success || e.Auth.MFA != "" || e.Auth.Strength != "" || e.Auth.Protocol != "saml" || e.App.ID != provider {
		t.Errorf("%+v app %+v", e.Auth, e.App)
	}
}

func TestT35_ChecksAndSwitchesAreNoLogins(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"CheckMfa", "GetSigninToken", "SwitchRole", "PasswordRecoveryRequested"} {
		got := decode(record(t, func(r object) { r["eventName"], r["responseElements"] = name, object{name: "Success"} }))
		var skipped *foreign.Skipped
		if len(got) != 1 || !errors.As(got[0].err, &skipped) || skipped.Reason != "context" || skipped.Category != name {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, of := range [][2]string{{"ec2", "RunInstances"}, {"sts", "AssumeRole"}, {"sts", "GetCallerIdentity"}, {"iam", "AttachRolePolicy"}, {"s3", "ConsoleLogin"}} {
		got := decode(record(t, call(of[0], of[1], nil, nil, nil)))
		var skipped *foreign.Skipped
		if len(got) != 1 || !errors.As(got[0].err, &skipped) || skipped.Reason != "category" {
			t.Errorf("%v: %+v", of, got)
		}
	}
}

func TestFederation(t *testing.T) {
	t.Parallel()
	const (
		provider = "arn:aws:iam::111122223333:saml-provider/example"
		role     = "arn:aws:iam::111122223333:role/developer"
		session  = "AROAEXAMPLE:someone@example.com"
	)
	who := object{"type": "SAMLUser", "principalId": "AbC/dEf=:someone@example.com", "userName": "someone@example.com", "identityProvider": "AbC/dEf="}
	request := object{"roleArn": role, "principalArn": provider, "roleSessionName": "someone@example.com", "durationSeconds": 3600}
	answer := object{"assumedRoleUser": object{"assumedRoleId": session, "arn": "arn:aws:sts::111122223333:assumed-role/developer/someone@example.com"}, "credentials": object{"accessKeyId": "ASIAEXAMPLE"}}

	e := one(t, call("sts", "AssumeRoleWithSAML", who, request, answer))
	login := one(t, set("userIdentity", object{"type": "AssumedRole", "principalId": session}))
	if e.Kind != events.SignIn || e.Outcome != events.Success || e.Key() != login.Key() || e.User.Name != "someone@example.com" ||
		e.Auth.Protocol != "saml" || e.App.ID != provider || e.Resource.ID != role || e.Interactive != events.Unknown {
		t.Errorf("%+v", e)
	}
	request["principalArn"] = "arn:aws:iam::111122223333:saml-provider/AWSSSO_0123456789abcdef_DO_NOT_DELETE"
	if e := one(t, call("sts", "AssumeRoleWithSAML", who, request, answer)); e.Interactive != events.No {
		t.Errorf("what IAM Identity Center does for the portal is interactive: %v", e.Interactive)
	}
	for code, want := range map[string]events.Outcome{"AccessDenied": events.Blocked, "InvalidIdentityToken": events.Failure, "ExpiredTokenException": events.Failure} {
		e := one(t, func(r object) {
			call("sts", "AssumeRoleWithSAML", who, request, nil)(r)
			r["errorCode"], r["errorMessage"] = code, "Because."
		})
		if e.Outcome != want || e.Code != code || e.Reason != "Because." || e.User.ID != "AbC/dEf=:someone@example.com" {
			t.Errorf("%s: %q %q %q %+v", code, e.Outcome, e.Code, e.Reason, e.User)
		}
	}
	known := object{"type": "SAMLUser", "principalId": "AbC/dEf=:someone@example.com", "onBehalfOf": object{"userId": portalUser}}
	if e := one(t, call("sts", "AssumeRoleWithSAML", known, request, answer)); e.User.ID != portalUser {
		t.Errorf("a person of the directory is %+v", e.User)
	}
	// T23: of a web identity the caller chooses the session's name.
	web := object{"type": "WebIdentityUser", "principalId": "accounts.example.com:app-1:100000000000000000001", "userName": "100000000000000000001", "identityProvider": "accounts.example.com"}
	e = one(t, call("sts", "AssumeRoleWithWebIdentity", web, request, answer))
	if e.User.ID != "accounts.example.com:app-1:100000000000000000001" || e.User.Type != "" || e.Auth.Protocol != "oidc" || e.App.ID != "accounts.example.com" {
		t.Errorf("%+v app %+v", e.User, e.App)
	}
	e = one(t, call("sts", "GetFederationToken", nil, object{"name": "Root"}, object{"federatedUser": object{"arn": "arn:aws:sts::111122223333:federated-user/Root"}}))
	if e.User.ID != "AIDAEXAMPLE" || e.Resource.ID != "arn:aws:sts::111122223333:federated-user/Root" || e.Interactive != events.No {
		t.Errorf("%+v of %+v", e.Resource, e.User)
	}
}

func TestT21_ProgramsAreNotPeople(t *testing.T) {
	t.Parallel()
	for name, who := range map[string]object{
		"cluster": {"type": "WebIdentityUser", "principalId": "arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE:sts.amazonaws.com:system:serviceaccount:default:app", "userName": "system:serviceaccount:default:app", "identityProvider": "arn:aws:iam::111122223333:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE"},
		"build":   {"type": "WebIdentityUser", "principalId": "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com:sts.amazonaws.com:repo:example/app:ref:refs/heads/main", "userName": "repo:example/app:ref:refs/heads/main"},
	} {
		if e := one(t, call("sts", "AssumeRoleWithWebIdentity", who, nil, nil)); e.User.Type != events.Workload || e.Interactive != events.No {
			t.Errorf("%s: %+v", name, e.User)
		}
	}
}

const portalUser = "544894e8-80c1-707f-60e3-3ba6510dfac1"

// center makes the record one of IAM Identity Center.
func center(source, name string, extra, service object) func(object) {
	return func(r object) {
		r["eventSource"], r["eventName"], r["eventType"] = source+".amazonaws.com", name, "AwsServiceEvent"
		r["userIdentity"] = object{"type": "IdentityCenterUser", "accountId": account, "onBehalfOf": object{"userId": portalUser}, "credentialId": "AAAAexample"}
		r["responseElements"], r["additionalEventData"], r["serviceEventDetails"] = nil, extra, service
	}
}

func TestT37_ChallengesOfIdentityCenterAreSteps(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(object)
		outcome events.Outcome
		auth    events.Auth
	}{
		"asked": {center("signin", "CredentialChallenge", object{"CredentialType": "TOTP", "UserName": "someone"}, object{"CredentialChallenge": "Success"}), events.Challenge, events.Auth{Methods: []string{"otp"}}},
		"right": {center("signin", "CredentialVerification", object{"CredentialType": "PASSWORD"}, object{"CredentialVerification": "Success"}), events.Interrupt, events.Auth{Methods: []string{"password"}}},
		"right code": {
			center("signin", "CredentialVerification", object{"CredentialType": "TOTP"}, object{"CredentialVerification": "Success"}), events.Interrupt,
			events.Auth{MFA: events.MFAPerformed, Methods: []string{"otp"}},
		},
		"wrong":      {center("signin", "CredentialVerification", object{"CredentialType": "PASSWORD"}, object{"CredentialVerification": "Failure"}), events.Failure, events.Auth{Methods: []string{"password"}}},
		"wrong code": {center("signin", "CredentialVerification", object{"CredentialType": "TOTP"}, object{"CredentialVerification": "Failure"}), events.Failure, events.Auth{MFA: events.MFAFailed, Methods: []string{"otp"}}},
		"in": {
			center("signin", "UserAuthentication", object{"CredentialType": "PASSWORD", "LoginTo": "https://example.awsapps.com/start/?x=1"}, object{"UserAuthentication": "Success"}), events.Success,
			events.Auth{MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: []string{"password"}},
		},
		"in with a code": {
			center("signin", "UserAuthentication", object{"CredentialType": "PASSWORD,TOTP"}, object{"UserAuthentication": "Success"}), events.Success,
			events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "otp"}},
		},
		"in with a key": {
			center("signin", "UserAuthentication", object{"CredentialType": "PASSWORD, WebAuthn"}, object{"UserAuthentication": "Success"}), events.Success,
			events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, Methods: []string{"password", "fido2"}},
		},
		"by another provider": {
			center("signin", "UserAuthentication", object{"CredentialType": "EXTERNAL_IDP"}, object{"UserAuthentication": "Success"}), events.Success,
			events.Auth{Protocol: "saml", Methods: []string{"external_idp"}},
		},
		"by something new": {center("signin", "UserAuthentication", object{"CredentialType": "TELEPATHY"}, nil), events.Success, events.Auth{}},
	} {
		e := one(t, c.change)
		if diff := cmp.Diff(c.auth, e.Auth); diff != "" || e.Outcome != c.outcome || e.User.ID != portalUser || e.Kind != events.SignIn || e.Interactive != events.Yes {
			t.Errorf("%s: %s %q %+v %s", name, e.Kind, e.Outcome, e.User, diff)
		}
	}
	if e := one(t, center("signin", "CredentialChallenge", object{"CredentialType": "PASSWORD", "UserName": "Someone"}, nil)); e.User.Name != "Someone" {
		t.Errorf("%+v", e.User)
	}
	// Some directories ask before they know whom.
	got := decode(record(t, func(r object) {
		center("signin", "CredentialChallenge", object{"CredentialType": "SMARTCARD"}, nil)(r)
		r["userIdentity"] = object{"type": "Unknown", "principalId": account, "accountId": account}
	}))
	if s := new(foreign.Skipped); !errors.As(got[0].err, &s) || s.Reason != "context" {
		t.Errorf("%+v", got)
	}
}

func TestPortal(t *testing.T) {
	t.Parallel()
	e := one(t, center("sso", "Federate", nil, object{"role_name": "ReadOnly", "account_id": "444455556666"}))
	if e.Kind != events.SignIn || e.Outcome != events.Success || e.Interactive != events.No || e.Session.ID != "AAAAexample" ||
		e.Resource != (events.Ref{ID: "444455556666/ReadOnly", Name: "ReadOnly"}) {
		t.Errorf("%+v", e)
	}
	if e := one(t, center("sso", "Authenticate", nil, nil)); e.Kind != events.SignIn || e.Resource != (events.Ref{}) {
		t.Errorf("%+v", e)
	}
	if e := one(t, center("sso", "Logout", nil, nil)); e.Kind != events.SignOut || e.Session.ID != "AAAAexample" {
		t.Errorf("%+v", e)
	}
}

func TestT45_RepeatsOfOneRecordAreOne(t *testing.T) {
	t.Parallel()
	a, b := one(t, nil), one(t, func(r object) { r["eventID"], r["sharedEventID"] = strings.ToUpper(eventID), "x" })
	if a.ID != b.ID {
		t.Errorf("ids %s and %s of one record in two trails", a.ID, b.ID)
	}
	if other := one(t, set("recipientAccountId", "444455556666")); other.ID == a.ID {
		t.Error("two accounts share an id")
	}
	if e := one(t, func(r object) { delete(r, "recipientAccountId") }); e.ID != a.ID {
		t.Errorf("tenant %q without recipientAccountId", e.Tenant)
	}
}

func TestBrokenRecordsNameTheField(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(object){
		"eventID: is missing": func(r object) { delete(r, "eventID") }, "eventTime: is missing": set("eventTime", nil), `eventTime: "soon"`: set("eventTime", "soon"),
		"eventName: is missing": set("eventName", ""), "eventSource: is missing": set("eventSource", nil),
	} {
		got := decode(record(t, change))
		if len(got) != 1 || got[0].err == nil || !strings.Contains(got[0].err.Error(), want) {
			t.Errorf("%s: %+v", want, got)
		}
	}
}

func TestT47_TextsOfTheAttacker(t *testing.T) {
	t.Parallel()
	e := one(t, func(r object) {
		r["userAgent"], r["errorMessage"] = "Mozilla\x00\x1b[31m"+strings.Repeat("A", 5000), "No\r\nSet-Cookie: x"
		r["additionalEventData"] = object{"LoginTo": "https://" + strings.Repeat("a", 500) + ".example.com/"}
		r["userIdentity"] = object{"type": "IAMUser", "principalId": "AIDAEXAMPLE", "userName": strings.Repeat("é", 500)}
	})
	if len(e.UserAgent) > events.MaxText || len(e.User.Name) > events.MaxName || strings.ContainsAny(e.UserAgent+e.Reason, "\x00\x1b\r\n") || len(e.App.ID) > events.MaxID {
		t.Errorf("user agent of %d bytes, name of %d, app %q, reason %q", len(e.UserAgent), len(e.User.Name), e.App.ID, e.Reason)
	}
	if text := string(events.Encode(one(t, nil))); strings.Contains(text, "hunter2") {
		t.Errorf("what is particular to one visit is in the event: %s", text)
	}
}

// A file of records that are of no concern is read without keeping anything of them.
func TestLargeParametersCostNothing(t *testing.T) {
	t.Parallel()
	many := object{}
	for i := range 5000 {
		many[fmt.Sprint("p", i)] = object{"a": object{"b": object{"c": object{"d": "deep"}}}, "list": []int{1, 2, 3}, "flag": true}
	}
	many["userName"] = "someone"
	e := one(t, call("iam", "ChangePassword", nil, many, nil))
	if len(events.Encode(e)) > 2000 {
		t.Errorf("an event of %d bytes", len(events.Encode(e)))
	}
}
