package entra

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

const (
	tenantID = "0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80"
	userID   = "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315"
	signInID = "1e2d3c4b-5a69-4788-9a7b-6c5d4e3f2a10"
)

type object = map[string]any

// diagnostic is a record of Event Hubs; change edits it before it is written.
func diagnostic(t testing.TB, change func(record, properties object)) string {
	t.Helper()
	properties := object{
		"id": signInID, "createdDateTime": "2026-03-04T08:15:31.2442191+00:00", "userId": userID,
		"userPrincipalName": userID + "@example.com", "appId": "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00", "appDisplayName": "Example Portal",
		"ipAddress": "192.0.2.10", "isInteractive": true, "status": object{"errorCode": 0},
		"userAgent": "Mozilla/5.0 (X11; Linux x86_64) Example/1.0", "correlationId": "a2c4e6f8-1b3d-4f5a-8c7e-9d0b1a2c3e4f",
		"signInIdentifier":          "hunter2",
		"deviceDetail":              object{"deviceId": "d-1", "operatingSystem": "Windows10", "browser": "Edge 131.0.0", "isCompliant": true, "isManaged": false},
		"location":                  object{"city": "Utrecht", "state": "Utrecht", "countryOrRegion": "NL", "geoCoordinates": object{"altitude": nil, "latitude": 52.09, "longitude": 5.12}},
		"authenticationRequirement": "singleFactorAuthentication", "authenticationProtocol": "none",
		"sessionId": "3c2b1a09-f8e7-4d6c-b5a4-938271605f4e", "uniqueTokenIdentifier": "QmFzZTY0RXhhbXBsZQ", "autonomousSystemNumber": 64500,
	}
	record := object{
		"time": "2026-03-04T08:17:55.1043377Z", "resourceId": "/tenants/" + tenantID + "/providers/Microsoft.aadiam",
		"operationName": "Sign-in activity", "category": "SignInLogs", "tenantId": tenantID, "resultType": "0",
		"callerIpAddress": "198.51.100.99", "Level": 4, "location": "NL", "properties": properties,
	}
	if change != nil {
		change(record, properties)
	}
	raw, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

type result struct {
	record string
	event  *events.Event
	err    error
}

func decode(d *Decoder, value string) []result {
	var out []result
	d.Decode([]byte(value), func(record []byte, e *events.Event, err error) {
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
func one(t testing.TB, d *Decoder, value string) *events.Event {
	t.Helper()
	got := decode(d, value)
	if len(got) != 1 || got[0].err != nil {
		t.Fatalf("%.300s\ngives %+v", value, got)
	}
	e := got[0].event
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	if e.Clean(); e.Validate() != nil {
		t.Errorf("the event is not valid: %v", e.Validate())
	}
	return e
}

// hub decodes a diagnostic record after a change of its properties.
func hub(t testing.TB, change func(record, properties object)) *events.Event {
	t.Helper()
	return one(t, EventHub(), diagnostic(t, change))
}

// property is a change of one property.
func property(key string, value any) func(record, properties object) {
	return func(_, p object) { p[key] = value }
}

func TestDiagnosticRecord(t *testing.T) {
	want := &events.Event{
		ID: events.EventID(tenantID, "entra", signInID), Kind: events.SignIn, Tenant: tenantID,
		User: events.User{ID: userID, Name: userID + "@example.com"}, Time: 1772612131244, Emitted: 1772612275104,
		Source:  events.Source{Family: "entra", ID: signInID, Category: "SignInLogs"},
		Outcome: events.Success, Code: "0", Interactive: events.Yes,
		App:     events.Ref{ID: "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00", Name: "Example Portal"},
		Session: events.Session{ID: "3c2b1a09-f8e7-4d6c-b5a4-938271605f4e", Token: "QmFzZTY0RXhhbXBsZQ"},
		IP:      "192.0.2.10", Network: events.Network{ASN: 64500},
		ProviderPlace: events.Place{Lat: 52.09, Lon: 5.12, City: "Utrecht", Region: "Utrecht", Country: "NL"},
		Device:        events.Device{ID: "d-1", OS: "Windows10", Browser: "Edge 131.0.0", Compliant: events.Yes, Managed: events.No},
		UserAgent:     "Mozilla/5.0 (X11; Linux x86_64) Example/1.0",
		Auth:          events.Auth{MFA: events.MFANotRequired, Strength: events.SingleFactor},
	}
	if diff := cmp.Diff(want, hub(t, nil)); diff != "" {
		t.Error(diff)
	}
}

func TestT1ToT6_TimesInEveryForm(t *testing.T) {
	for text, want := range map[any]string{
		"2026-03-04T08:17:55.1043377Z": "2026-03-04T08:17:55.104Z",
		"2026-03-04T03:17:55-05:00":    "2026-03-04T08:17:55.000Z",
		"2026-03-04 08:17:55.104":      "2026-03-04T08:17:55.104Z",
		"3/4/2026 2:42:35 PM":          "2026-03-04T14:42:35.000Z",
		"2026-03-04T08:15:35":          "2026-03-04T08:15:35.000Z",
		int64(1772612135123):           "2026-03-04T08:15:35.123Z",
	} {
		e := hub(t, func(r, p object) { r["time"], p["createdDateTime"] = text, text })
		if e.Time.String() != want || e.Emitted.String() != want {
			t.Errorf("%v: happened %v, emitted %v, want %v", text, e.Time, e.Emitted, want)
		}
	}
	got := decode(EventHub(), diagnostic(t, property("createdDateTime", "soon")))
	if got[0].err == nil || !strings.Contains(got[0].err.Error(), `createdDateTime: "soon"`) {
		t.Errorf("error %v, want one that names the field", got[0].err)
	}
}

func TestT7_EmissionIsNotTheEvent(t *testing.T) {
	e := hub(t, nil)
	if lag := e.Emitted - e.Time; lag != 143860 {
		t.Errorf("lag of %d ms, want 143860", lag)
	}
	if e := hub(t, func(r, _ object) { r["time"] = "whenever" }); e.Emitted != 0 {
		t.Error("a broken emission time must be unknown and cost nothing")
	}
}

func TestT9_NumbersAndStrings(t *testing.T) {
	want := hub(t, nil)
	for name, change := range map[string]func(r, p object){
		"strings": func(r, p object) {
			r["Level"], r["durationMs"], p["autonomousSystemNumber"], p["processingTimeInMilliseconds"] = "Informational", "12", "64500", "366"
			p["status"] = object{"errorCode": "0"}
		},
		"key in lower case": func(r, _ object) { delete(r, "Level"); r["level"] = "4" },
		"numbers":           func(r, _ object) { r["resultType"], r["durationMs"] = 0, 12 },
	} {
		if diff := cmp.Diff(want, hub(t, change)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for resultType, want := range map[any]events.Outcome{"Success": events.Success, "0": events.Success, 50126: events.Failure, nil: ""} {
		e := hub(t, func(r, p object) { delete(p, "status"); r["resultType"] = resultType })
		if e.Outcome != want {
			t.Errorf("resultType %v without status: %q, want %q", resultType, e.Outcome, want)
		}
	}
	if e := hub(t, func(r, p object) { delete(p, "status"); delete(r, "resultType") }); e.Outcome != "" || e.Code != "" {
		t.Errorf("no result at all: %q %q, want unknown", e.Outcome, e.Code)
	}
}

func TestT10_PlacesThatAreNone(t *testing.T) {
	country := events.Place{Country: "NL"}
	for name, c := range map[string]struct {
		location any
		want     events.Place
	}{
		"absent":          {nil, country},
		"empty":           {object{}, country},
		"no coordinates":  {object{"geoCoordinates": object{}}, country},
		"null island":     {object{"city": "", "state": "", "countryOrRegion": "", "geoCoordinates": object{"latitude": 0.0, "longitude": 0.0}}, country},
		"city at 0,0":     {object{"city": "Utrecht", "countryOrRegion": "nl", "geoCoordinates": object{"latitude": 0.0, "longitude": 0.0}}, events.Place{City: "Utrecht", Country: "NL"}},
		"centroid":        {object{"countryOrRegion": "US", "geoCoordinates": object{"latitude": 37.75, "longitude": -97.82}}, events.Place{Country: "US"}},
		"country by name": {object{"countryOrRegion": "Netherlands"}, country},
		"out of range":    {object{"city": "X", "geoCoordinates": object{"latitude": 99, "longitude": 5}}, events.Place{City: "X", Country: "NL"}},
		"altitude":        {object{"city": "X", "countryOrRegion": "BE", "geoCoordinates": object{"altitude": 3, "latitude": "50.85", "longitude": 4.35}}, events.Place{Lat: 50.85, Lon: 4.35, City: "X", Country: "BE"}},
		"a string":        {"NL", country},
	} {
		if diff := cmp.Diff(c.want, hub(t, property("location", c.location)).ProviderPlace); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestT11_AbsentIsNotFalse(t *testing.T) {
	for name, c := range map[string]struct {
		detail any
		want   events.Device
	}{
		"empty":          {object{}, events.Device{}},
		"null":           {nil, events.Device{}},
		"empty id":       {object{"deviceId": "", "isCompliant": nil, "operatingSystem": "Windows 10"}, events.Device{OS: "Windows 10"}},
		"explicit false": {object{"deviceId": "d", "isCompliant": false, "isManaged": "True"}, events.Device{ID: "d", Compliant: events.No, Managed: events.Yes}},
	} {
		if diff := cmp.Diff(c.want, hub(t, property("deviceDetail", c.detail)).Device); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// steps is authenticationDetails; every step is "method|succeeded|requirement|detail".
func steps(list ...string) []object {
	out := []object{}
	for i, s := range list {
		f := append(strings.Split(s, "|"), "", "", "")
		out = append(out, object{
			"authenticationStepDateTime": "2026-03-04T08:15:31+00:00", "authenticationMethod": f[0], "succeeded": f[1] == "true",
			"authenticationStepRequirement": f[2], "authenticationStepResultDetail": f[3], "StatusSequence": i, "RequestSequence": 1,
		})
	}
	return out
}

func TestT12_EmptyDetailsOfGoodMFA(t *testing.T) {
	e := hub(t, func(_, p object) {
		p["authenticationDetails"], p["mfaDetail"], p["authenticationRequirement"] = steps(), object{}, "multiFactorAuthentication"
	})
	if e.Auth.MFA != "" || e.Auth.Strength != events.MultiFactor {
		t.Errorf("%+v: how it was satisfied is unknown, that it was is not", e.Auth)
	}
	e = hub(t, func(_, p object) {
		p["mfaDetail"], p["authenticationDetails"] = nil, steps("Password|true|Primary authentication", "Mobile app notification|true|MFA")
	})
	if diff := cmp.Diff(events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "push"}}, e.Auth); diff != "" {
		t.Error(diff)
	}
}

func TestT13_HiddenIsAbsent(t *testing.T) {
	e := hub(t, func(_, p object) {
		p["riskLevelDuringSignIn"], p["riskState"], p["riskDetail"] = "hidden", "hidden", "hidden"
		p["userDisplayName"], p["appDisplayName"], p["sessionId"] = "hidden", "Hidden", "hidden"
		p["appliedConditionalAccessPolicies"] = []object{{"result": "reportOnlyFailure", "displayName": "Block all"}}
	})
	if e.App.Name != "" || e.Session.ID != "" || e.Outcome != events.Success {
		t.Errorf("%+v", e)
	}
}

func TestT14_EnumsOfAnyCaseAndNewerOnes(t *testing.T) {
	e := hub(t, func(r, p object) {
		r["category"], p["authenticationProtocol"], p["authenticationRequirement"] = "SigninLogs", "unknownFutureValue", "MultiFactorAuthentication"
		p["incomingTokenType"], p["userType"] = "somethingNew", "member"
	})
	if e.Source.Category != "SignInLogs" || e.Auth.Protocol != "" || e.Auth.Strength != events.MultiFactor {
		t.Errorf("%+v %+v", e.Source, e.Auth)
	}
	if e := hub(t, property("authenticationProtocol", "nativeAuth")); e.Auth.Protocol != "nativeauth" {
		t.Errorf("protocol %q", e.Auth.Protocol)
	}
	if e := hub(t, property("originalTransferMethod", "deviceCodeFlow")); e.Auth.Protocol != "devicecode" {
		t.Errorf("protocol %q", e.Auth.Protocol)
	}
	if e := hub(t, property("clientAppUsed", "Authenticated SMTP")); e.Auth.Protocol != "authenticated smtp" {
		t.Errorf("protocol %q", e.Auth.Protocol)
	}
}

func TestT15_JSONInsideStrings(t *testing.T) {
	want := hub(t, nil)
	got := hub(t, func(r, p object) {
		text := func(v any) string {
			raw, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return string(raw)
		}
		for _, key := range []string{"status", "deviceDetail", "location"} {
			p[key] = text(p[key])
		}
		p["additionalInfo"] = `[{"Key":"userAgent","Value":["a","b"]}]`
		p["conditionsSatisfied"] = 3
		r["properties"] = text(p)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestT20_NamesAreNotIdentities(t *testing.T) {
	for _, upn := range []string{"", userID, "a service", "guest_example.org#EXT#@example.com"} {
		if e := hub(t, property("userPrincipalName", upn)); e.User.ID != userID {
			t.Errorf("%q: user %+v", upn, e.User)
		}
	}
	for _, id := range []any{nil, "", "00000000-0000-0000-0000-000000000000"} {
		e := hub(t, func(_, p object) {
			p["userId"], p["userPrincipalName"], p["status"] = id, "Nobody@Example.com", object{"errorCode": 50034}
		})
		if e.User.ID != "name:nobody@example.com" || e.Outcome != events.Failure {
			t.Errorf("%v: user %+v, outcome %q", id, e.User, e.Outcome)
		}
	}
	if text := string(events.Encode(hub(t, nil))); strings.Contains(text, "hunter2") {
		t.Errorf("what was typed as a sign-in name is in the event: %s", text)
	}
}

func TestT21_ServicePrincipalsAreLeftOut(t *testing.T) {
	for category, reason := range map[string]string{
		"ServicePrincipalSignInLogs": "service_principal", "ManagedIdentitySignInLogs": "service_principal",
		"MicrosoftServicePrincipalSignInLogs": "service_principal", "UserRiskEvents": "category", "AuditLogs": "category",
	} {
		got := decode(EventHub(), diagnostic(t, func(r, _ object) { r["category"] = category }))
		var skipped *Skipped
		if len(got) != 1 || !errors.As(got[0].err, &skipped) || skipped.Skip() != reason || got[0].event != nil {
			t.Errorf("%s: %+v, want it skipped as %s", category, got, reason)
		}
	}
	got := decode(EventHub(), diagnostic(t, func(_, p object) {
		delete(p, "userId")
		delete(p, "userPrincipalName")
		p["servicePrincipalId"] = "8d7c6b5a"
	}))
	if s := new(Skipped); !errors.As(got[0].err, &s) || s.Skip() != "service_principal" {
		t.Errorf("a service principal in another category: %+v", got)
	}
}

func TestT25_AddressesInEveryForm(t *testing.T) {
	for text, want := range map[string][2]string{
		"192.0.2.1:443": {"192.0.2.1", ""}, "[2001:db8::1]:443": {"2001:db8::1", ""}, "::ffff:192.0.2.1": {"192.0.2.1", ""},
		"fe80::1%2": {"fe80::1", ""}, "2001:0db8:0:0:0:0:0:1": {"2001:db8::1", ""}, "10.0.0.1": {"10.0.0.1", ""},
		"AWS Internal": {"", "AWS Internal"}, "192.0.2.xxx": {"", "192.0.2.xxx"},
	} {
		if e := hub(t, property("ipAddress", text)); e.IP != want[0] || e.AddressText != want[1] {
			t.Errorf("%q: %q and %q, want %q", text, e.IP, e.AddressText, want)
		}
	}
}

func TestT26_CallerAddressFillsAGap(t *testing.T) {
	for _, ip := range []any{nil, "", "-"} {
		if e := hub(t, property("ipAddress", ip)); e.IP != "198.51.100.99" {
			t.Errorf("%v: %q", ip, e.IP)
		}
	}
}

func TestT27_ServiceRedeemsTheToken(t *testing.T) {
	e := hub(t, func(r, p object) {
		r["category"], p["isInteractive"], p["autonomousSystemNumber"] = "NonInteractiveUserSignInLogs", false, 8075
	})
	if e.Interactive != events.No || e.Network.ASN != 8075 {
		t.Errorf("interactive %v from AS%d", e.Interactive, e.Network.ASN)
	}
}

// row is a row of Log Analytics.
func row(t testing.TB, change func(object)) string {
	t.Helper()
	r := object{
		"TenantId": "64d5c4b3-a291-4807-8f6e-5d4c3b2a1908", "AADTenantId": tenantID, "Type": "AADNonInteractiveUserSignInLogs",
		"TimeGenerated": "2026-03-04T08:17:55.104", "CreatedDateTime": "2026-03-04T08:15:31.244", "Id": signInID, "UserId": userID,
		"UserPrincipalName": userID + "@example.com", "IPAddress": "192.0.2.10", "Level": "4", "ResultType": "0", "Location": "NL",
		"LocationDetails": `{"city":"Utrecht","state":"Utrecht","countryOrRegion":"NL","geoCoordinates":{"latitude":52.09,"longitude":5.12}}`,
		"DeviceDetail":    `{"deviceId":"d-1","operatingSystem":"Windows10","browser":"Edge 131.0.0","isCompliant":true,"isManaged":false}`,
		"Status":          `{"errorCode":0}`, "AuthenticationDetails": "[]", "AutonomousSystemNumber": "64500",
		"SessionId": "3c2b1a09-f8e7-4d6c-b5a4-938271605f4e", "UniqueTokenIdentifier": "QmFzZTY0RXhhbXBsZQ",
		"AppId": "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00", "AppDisplayName": "Example Portal", "AuthenticationRequirement": "singleFactorAuthentication",
		"UserAgent": "Mozilla/5.0 (X11; Linux x86_64) Example/1.0",
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

func TestT28_ColumnsAsTextAndAsObjects(t *testing.T) {
	want := hub(t, func(r, p object) { r["category"], p["isInteractive"] = "NonInteractiveUserSignInLogs", nil })
	if diff := cmp.Diff(want, one(t, LogAnalytics(), row(t, nil))); diff != "" {
		t.Errorf("text: the row and the record of one sign-in differ: %s", diff)
	}
	got := one(t, LogAnalytics(), row(t, func(r object) {
		for _, column := range []string{"LocationDetails", "DeviceDetail", "Status", "AuthenticationDetails"} {
			var v any
			if err := json.Unmarshal([]byte(r[column].(string)), &v); err != nil {
				t.Fatal(err)
			}
			r[column] = v
		}
		r["NetworkLocationDetails"], r["MfaDetail"] = "", nil
	}))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects: %s", diff)
	}
	got = one(t, LogAnalytics(), row(t, func(r object) {
		r["DeviceDetail"], r["LocationDetails"], r["AuthenticationDetails"] = "{broken", "", ""
	}))
	if got.Device.IsDefined() || got.ProviderPlace != (events.Place{Country: "NL"}) {
		t.Errorf("broken text in a column must be unknown: %+v %+v", got.Device, got.ProviderPlace)
	}
}

func TestT29_WorkspaceIsNotTheTenant(t *testing.T) {
	for name, change := range map[string]func(object){
		"column":           nil,
		"path":             func(r object) { delete(r, "AADTenantId"); r["ResourceId"] = "/tenants/" + tenantID + "/providers/x" },
		"path, other case": func(r object) { delete(r, "AADTenantId"); r["ResourceId"] = "/TENANTS/" + strings.ToUpper(tenantID) },
	} {
		if e := one(t, LogAnalytics(), row(t, change)); e.Tenant != tenantID {
			t.Errorf("%s: tenant %q", name, e.Tenant)
		}
	}
	got := decode(LogAnalytics(), row(t, func(r object) { delete(r, "AADTenantId") }))
	if got[0].err == nil || !strings.Contains(got[0].err.Error(), "tenantId: is missing") {
		t.Errorf("only a workspace: %+v", got)
	}
}

func TestT30_KeysDifferByCase(t *testing.T) {
	e := one(t, LogAnalytics(), row(t, func(r object) {
		r["location"], r["Location"] = object{"city": "Elsewhere"}, "BE"
		delete(r, "LocationDetails")
	}))
	if e.ProviderPlace != (events.Place{Country: "BE"}) {
		t.Errorf("place %+v", e.ProviderPlace)
	}
}

func TestT31_OutcomeClasses(t *testing.T) {
	for code, want := range map[int]events.Outcome{
		0: events.Success, 50140: events.Interrupt, 50058: events.Interrupt, 50074: events.Interrupt, 50126: events.Failure,
		53003: events.Blocked, 50053: events.Blocked, 50173: events.Failure, 70043: events.Failure, 999999: events.Failure,
	} {
		e := hub(t, property("status", object{"errorCode": code, "failureReason": "Because."}))
		if e.Outcome != want || e.Code != fmt.Sprint(code) {
			t.Errorf("%d: %q with code %q, want %q", code, e.Outcome, e.Code, want)
		}
		if want == events.Success && e.Reason != "" || want != events.Success && (e.Reason != "Because." || e.Auth.Strength != "") {
			t.Errorf("%d: reason %q, strength %q", code, e.Reason, e.Auth.Strength)
		}
	}
	e := hub(t, func(_, p object) {
		p["status"] = object{"errorCode": 50074}
		p["authenticationDetails"] = steps("Password|true|Primary authentication", "Text message|false|MFA|Authentication failed")
	})
	if e.Outcome != events.Failure || e.Auth.MFA != events.MFAFailed {
		t.Errorf("50074 with a failed step: %q, MFA %q", e.Outcome, e.Auth.MFA)
	}
}

func TestT32_RevokedSessionIsAFailureWithItsCode(t *testing.T) {
	e := hub(t, property("status", object{"errorCode": 50173}))
	if e.Outcome != events.Failure || e.Code != "50173" {
		t.Errorf("%q %q: the code must stay, so that the echo of our own revocation can be told", e.Outcome, e.Code)
	}
}

func TestT33_ClaimIsNotAFreshMFA(t *testing.T) {
	details := func(text string, requirement string, list ...string) events.Auth {
		return hub(t, func(_, p object) {
			p["status"] = object{"errorCode": 0, "additionalDetails": text}
			p["authenticationDetails"], p["authenticationRequirement"] = steps(list...), requirement
		}).Auth
	}
	const multi = "multiFactorAuthentication"
	for name, c := range map[string]struct{ got, want events.Auth }{
		"claim in prose":   {details("MFA requirement satisfied by claim in the token", multi), events.Auth{MFA: events.MFAByClaim, Strength: events.MultiFactor}},
		"claim in a step":  {details("", multi, "Previously satisfied|true|Primary authentication", "Previously satisfied|true|MFA"), events.Auth{MFA: events.MFAByClaim, Strength: events.MultiFactor}},
		"performed, prose": {details("MFA completed in Azure AD", multi), events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor}},
		"steps over prose": {details("MFA requirement satisfied by claim in the token", multi, "Password|true|Primary authentication", "OATH verification code|true|MFA"), events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "otp"}}},
		"second try":       {details("", multi, "Text message|false|MFA|Wrong code", "Text message|true|MFA"), events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"sms"}}},
		"unknown prose":    {details("A text of next year", multi), events.Auth{Strength: events.MultiFactor}},
		"password only":    {details("", "singleFactorAuthentication", "Password|true|Primary authentication"), events.Auth{MFA: events.MFANotRequired, Strength: events.SingleFactor, Methods: []string{"password"}}},
		"key":              {details("", multi, "FIDO2 security key|true|Primary authentication"), events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, Methods: []string{"fido2"}}},
		"hello":            {details("", "singleFactorAuthentication", "Windows Hello for Business|true|Primary authentication"), events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, Methods: []string{"windows_hello"}}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	denial := hub(t, func(_, p object) {
		p["status"] = object{"errorCode": 500121, "failureReason": "Authentication failed during strong authentication request.", "additionalDetails": "MFA denied; user declined the authentication"}
	})
	if denial.Auth.MFA != events.MFADenied || denial.Outcome != events.Failure {
		t.Errorf("denied: %+v %q", denial.Auth, denial.Outcome)
	}
}

func TestT38_EmptySessionsAreNone(t *testing.T) {
	for _, id := range []any{nil, "", "unknown", "00000000-0000-0000-0000-000000000000"} {
		if e := hub(t, property("sessionId", id)); e.Session.ID != "" {
			t.Errorf("%v: session %q", id, e.Session.ID)
		}
	}
}

func TestT39_CorrelationIsNoKey(t *testing.T) {
	text := string(events.Encode(hub(t, func(r, _ object) { r["correlationId"] = "a2c4e6f8-1b3d-4f5a-8c7e-9d0b1a2c3e4f" })))
	if strings.Contains(text, "a2c4e6f8") {
		t.Errorf("the correlation id is in the event: %s", text)
	}
}

func TestT40_OneSignInHasOneIdByEveryWay(t *testing.T) {
	if a, b := hub(t, nil), one(t, LogAnalytics(), row(t, nil)); a.ID != b.ID {
		t.Errorf("ids %s and %s", a.ID, b.ID)
	}
	if a, b := hub(t, nil), hub(t, func(r, p object) { r["tenantId"], p["id"] = strings.ToUpper(tenantID), strings.ToUpper(signInID) }); a.ID != b.ID {
		t.Errorf("ids %s and %s differ by case only", a.ID, b.ID)
	}
}

func TestT42_CategoryIsNotInteractive(t *testing.T) {
	if e := hub(t, property("isInteractive", false)); e.Interactive != events.No || e.Source.Category != "SignInLogs" {
		t.Errorf("%v %q", e.Interactive, e.Source.Category)
	}
	if e := hub(t, property("isInteractive", nil)); e.Interactive != events.Yes {
		t.Errorf("without the flag: %v, want the category's", e.Interactive)
	}
	if e := hub(t, func(r, p object) { delete(r, "category"); delete(p, "isInteractive") }); e.Interactive != events.Unknown {
		t.Errorf("without both: %v", e.Interactive)
	}
}

func TestT45_EnvelopesArraysAndMixtures(t *testing.T) {
	a := diagnostic(t, nil)
	b := diagnostic(t, func(r, p object) { p["id"], r["tenantId"] = "second", "other" })
	skip := diagnostic(t, func(r, _ object) { r["category"] = "AuditLogs" })
	bad := diagnostic(t, func(_, p object) { delete(p, "id") })
	for name, c := range map[string]struct {
		value string
		want  string // e event, s skipped, x error
	}{
		"one":           {a, "e"},
		"array":         {"[" + a + ",\n" + b + "]", "ee"},
		"envelope":      {`{"records":[` + a + "," + skip + "," + b + `]}`, "ese"},
		"late envelope": {`{"version":1, "records" : [` + a + `], "more":{}}`, "e"},
		"bad one":       {`{"records":[` + bad + "," + a + `]}`, "xe"},
		"no object":     {`{"records":[5,` + a + `,null]}`, "xex"},
		"empty":         {`{"records":[]}`, ""},
		"empty array":   {`[]`, ""},
		"nested":        {`{"records":[{"records":[` + a + `]}]}`, "x"},
		"no array":      {`{"records":5}`, "x"},
		"truncated":     {`{"records":[` + a + "," + b[:100], "ex"},
		"rubbish after": {`{"records":[` + a + `]} x`, "ex"},
		"in an array":   {`[` + a + `] x`, "ex"},
		"no comma":      {`[` + a + b + `]`, "ex"},
		"text":          {`"x"`, "x"},
		"nothing":       {``, "x"},
		"null":          {`null`, "x"},
		"bytes":         {"{\"id\":\"\xff\"}", "x"},
		"huge":          {`{"records":[` + strings.Repeat(" ", maxValue) + `]}`, "x"},
	} {
		got := ""
		for _, r := range decode(EventHub(), c.value) {
			var skipped *Skipped
			switch {
			case r.event != nil && r.err == nil:
				got += "e"
			case errors.As(r.err, &skipped):
				got += "s"
			case r.err != nil:
				got += "x"
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	got := decode(EventHub(), `{"records":[`+a+","+b[:100])
	if want := b[:100]; !strings.HasSuffix(got[1].record, want) || len(got[1].record) > len(want)+2 {
		t.Errorf("the broken rest is %q, want %q", got[1].record, want)
	}
}

func TestT46_ManyPoliciesCostNothing(t *testing.T) {
	var policies []object
	for i := range 55 {
		policies = append(policies, object{"id": fmt.Sprint(i), "displayName": strings.Repeat("Policy ", 30), "result": "notApplied"})
	}
	value := diagnostic(t, property("appliedConditionalAccessPolicies", policies))
	if e := one(t, EventHub(), value); len(events.Encode(e)) > 2000 {
		t.Errorf("a record of %d bytes gives an event of %d", len(value), len(events.Encode(e)))
	}
}

func TestT47_TextsOfTheAttacker(t *testing.T) {
	e := hub(t, func(_, p object) {
		p["userAgent"] = "Mozilla\x00\x1b[31m" + strings.Repeat("A", 5000)
		p["appDisplayName"], p["userPrincipalName"] = "Portal\r\nSet-Cookie: x", strings.Repeat("é", 500)
	})
	if len(e.UserAgent) > events.MaxText || len(e.User.Name) > events.MaxName || strings.ContainsAny(e.UserAgent+e.App.Name, "\x00\x1b\r\n") {
		t.Errorf("user agent of %d bytes, name of %d, app %q", len(e.UserAgent), len(e.User.Name), e.App.Name)
	}
}

func samples(t testing.TB) []string {
	t.Helper()
	root := os.Getenv("COUNTERSIGN_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	file, err := os.Open(filepath.Join(root, "signin", "entra-signinlogs-msticpy.jsonl"))
	if err != nil {
		if os.Getenv("CI_REQUIRE_SERVICES") == "1" {
			t.Fatalf("the shared samples are required: %v", err)
		}
		t.Skipf("the shared samples are absent: %v", err)
	}
	defer file.Close()
	var rows []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		rows = append(rows, lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestT41_RealRowsDecodeAndRepeatsAreOne(t *testing.T) {
	rows := samples(t)
	if len(rows) != 86 {
		t.Fatalf("%d rows, want 86", len(rows))
	}
	ids, users, interactive, failures := map[string]int{}, map[string]bool{}, 0, 0
	for _, text := range rows {
		e := one(t, LogAnalytics(), text)
		ids[e.ID]++
		users[e.Key()] = true
		if e.Interactive == events.Yes {
			interactive++
		}
		if e.Outcome == events.Failure {
			failures++
			if e.Code != "90072" {
				t.Errorf("a failure with code %q", e.Code)
			}
		}
		if e.Tenant != "4b2462a4-bbee-495a-a0e1-f23ae524cc9c" || e.IP == "" || !e.ProviderPlace.Located() || e.Device.Compliant == events.No || e.UserAgent == "" {
			t.Errorf("%s\ngives %s", text, events.Encode(e))
		}
		if e.Time < 1589932800000 || e.Time >= 1590019200000 {
			t.Errorf("time %v, want 20 May 2020", e.Time)
		}
	}
	if len(ids) != 45 || len(users) != 6 || interactive != 8 || failures != 2 {
		t.Errorf("%d sign-ins, %d users, %d interactive, %d failures; want 45, 6, 8, 2", len(ids), len(users), interactive, failures)
	}
}

func fuzz(f *testing.F, d *Decoder) {
	f.Fuzz(func(t *testing.T, value string) {
		for _, r := range decode(d, value) {
			if (r.event == nil) == (r.err == nil) {
				t.Fatalf("event %v and error %v", r.event, r.err)
			}
			if len(r.record) > len(value) {
				t.Errorf("a record longer than the value")
			}
			if r.event == nil {
				continue
			}
			e := r.event
			if e.Tenant == "" || e.User.ID == "" || e.Source.ID == "" {
				t.Errorf("an event of nobody: %+v", e)
			}
			if e.Clean(); e.Validate() == nil {
				if _, err := events.Decode(events.Encode(e)); err != nil {
					t.Errorf("an event that cannot be read back: %v", err)
				}
			}
		}
	})
}

func FuzzEventHub(f *testing.F) {
	f.Add(diagnostic(f, nil))
	f.Add(`{"records":[` + diagnostic(f, property("authenticationDetails", steps("Password|true|Primary authentication", "SMS|false|MFA|denied"))) + `,5]}`)
	fuzz(f, EventHub())
}

func FuzzLogAnalytics(f *testing.F) {
	f.Add(row(f, nil))
	f.Add("[" + row(f, func(r object) { r["Status"] = object{"errorCode": 500121} }) + "]")
	fuzz(f, LogAnalytics())
}

func BenchmarkEventHub(b *testing.B) {
	value := []byte(diagnostic(b, nil))
	d := EventHub()
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		d.Decode(value, func([]byte, *events.Event, error) {})
	}
}
