package o365

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

const (
	tenantID = "0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80"
	userID   = "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315"
	adminID  = "6c0f2a15-9d3e-4b87-84a2-3e71d8bafc26"
	recordID = "8b7a6958-4736-4251-a0f9-e8d7c6b5a493"
	appID    = "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00"
)

type object = map[string]any

func pair(name string, value any) object { return object{"Name": name, "Value": value} }

// signIn is a record of type 15; change edits it before it is written.
func signIn(t testing.TB, change func(r object)) string {
	t.Helper()
	r := object{
		"Id": recordID, "CreationTime": "2026-03-04T08:15:35", "RecordType": 15, "Operation": "UserLoggedIn", "ResultStatus": "Success",
		"OrganizationId": strings.ToUpper(tenantID), "Workload": "AzureActiveDirectory", "UserKey": userID, "UserId": "pat@example.com", "UserType": 0,
		"ClientIP": "198.51.100.70", "ActorIpAddress": "198.51.100.70", "ApplicationId": appID, "ObjectId": "e8f1b6d0-0a4c-4c8e-b7a5-1d2f3c4b5a60",
		"InterSystemsId": "a2c4e6f8-1b3d-4f5a-8c7e-9d0b1a2c3e4f", "IntraSystemId": recordID, "ErrorNumber": "0",
		"ExtendedProperties": []object{
			pair("ResultStatusDetail", "Redirect"), pair("UserAgent", "Mozilla/5.0 Example/1.0"), pair("RequestType", "Login:login"),
			pair("UserAuthenticationMethod", "272"),
		},
		"DeviceProperties": []object{
			pair("Id", "d-1"), pair("DisplayName", "laptop"), pair("OS", "Windows 10"), pair("BrowserType", "Edge"),
			pair("IsCompliantAndManaged", "False"), pair("SessionId", "3c2b1a09-f8e7-4d6c-b5a4-938271605f4e"),
		},
		"Actor": []object{{"ID": userID, "Type": 0}, {"ID": "pat@example.com", "Type": 5}}, "ModifiedProperties": []object{},
		"Target": []object{{"ID": "e8f1b6d0-0a4c-4c8e-b7a5-1d2f3c4b5a60", "Type": 0}},
	}
	if change != nil {
		change(r)
	}
	return asJSON(t, r)
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func set(key string, value any) func(object) { return func(r object) { r[key] = value } }

func without(keys ...string) func(object) {
	return func(r object) {
		for _, key := range keys {
			delete(r, key)
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
	Audit().Decode([]byte(value), func(record []byte, e *events.Event, err error) {
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
	return valid(t, got[0].event)
}

func valid(t testing.TB, e *events.Event) *events.Event {
	t.Helper()
	e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
	if e.Clean(); e.Validate() != nil {
		t.Errorf("the event is not valid: %v", e.Validate())
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
	if len(got) == 1 && got[0].record != value {
		t.Errorf("the dead letter has %q, want all of %q", got[0].record, value)
	}
}

func TestSignIn(t *testing.T) {
	want := &events.Event{
		ID: events.EventID(tenantID, "o365", recordID), Kind: events.SignIn, Tenant: tenantID,
		User: events.User{ID: userID, Name: "pat@example.com"}, Time: 1772612135000,
		Source:  events.Source{Family: "o365", ID: recordID, Category: "UserLoggedIn"},
		Outcome: events.Success, Code: "0", Interactive: events.Yes,
		App: events.Ref{ID: appID}, Resource: events.Ref{ID: "e8f1b6d0-0a4c-4c8e-b7a5-1d2f3c4b5a60"},
		Session: events.Session{ID: "3c2b1a09-f8e7-4d6c-b5a4-938271605f4e"}, IP: "198.51.100.70", Correlation: "a2c4e6f8-1b3d-4f5a-8c7e-9d0b1a2c3e4f",
		Device:    events.Device{ID: "d-1", Name: "laptop", OS: "Windows 10", Browser: "Edge"},
		UserAgent: "Mozilla/5.0 Example/1.0", Auth: events.Auth{Methods: []string{"password"}},
	}
	record := signIn(t, nil)
	if diff := cmp.Diff(want, one(t, record)); diff != "" {
		t.Error(diff)
	}
	// The same record in every form.
	row := object{"RecordType": "AzureActiveDirectoryStsLogon", "CreationDate": "3/4/2026 8:15:35 AM", "UserIds": "pat@example.com", "AuditData": record}
	for name, value := range map[string]string{
		"array":               "[" + record + "]",
		"row":                 asJSON(t, row),
		"rows":                "[" + asJSON(t, row) + "]",
		"object in a row":     `{"id":"x","auditLogRecordType":"15","auditData":` + record + `}`,
		"answer to a query":   `{"@odata.context":"x","value":[{"auditData":` + record + `}]}`,
		"type by name":        signIn(t, set("RecordType", "AzureActiveDirectoryStsLogon")),
		"type only in row":    asJSON(t, object{"RecordType": 15, "AuditData": signIn(t, without("RecordType"))}),
		"row of CSV":          csvRow(t, "run", "15", "2026-03-04 08:15:35", record),
		"CSV with other ends": csvRow(t, record, "x") + "\r",
	} {
		if diff := cmp.Diff(want, one(t, value)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func csvRow(t testing.TB, fields ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write(fields); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

func TestWhatIsNoRecord(t *testing.T) {
	skipped(t, `"PSComputerName","RecordType","CreationDate","UserIds","Operations","AuditData","ResultIndex"`, "header")
	skipped(t, `#TYPE Deserialized.Microsoft.Exchange.Data.ApplicationLogic.UnifiedAuditLogEvent`, "header")
	skipped(t, signIn(t, set("RecordType", 2)), "category")
	skipped(t, signIn(t, set("RecordType", "ExchangeItem")), "category")
	skipped(t, signIn(t, func(r object) {
		without("UserKey", "UserId", "Actor")(r)
		r["UserType"] = 4
	}), "no_user")
	refused(t, `{"RecordType":15`, "is no JSON")
	refused(t, `{"Id":"x"}`, "RecordType: is missing")
	refused(t, signIn(t, without("Id")), "Id: is missing")
	refused(t, signIn(t, without("CreationTime")), "CreationTime: is missing")
	refused(t, signIn(t, set("CreationTime", "soon")), `CreationTime: "soon"`)
	refused(t, `{"AuditData":"{\"Id\":\"x\","}`, "AuditData: is no JSON")
	refused(t, `{"AuditData":"{\"Id\":\"x\"} x"}`, "AuditData: is no JSON")
	refused(t, `{"AuditData":""}`, "AuditData: is no record")
	refused(t, `{"AuditData":null}`, "AuditData: is no record")
	refused(t, `{"AuditData":{"AuditData":{}}}`, "AuditData: holds a row again")
	refused(t, `"a","b"`, "AuditData: is missing")
	refused(t, `"a",b"c"`, "neither JSON nor a row")
	refused(t, csvRow(t, "x", `{"Id":`), "is no JSON")
	refused(t, `{"contentType":"Audit.AzureActiveDirectory","contentId":"1$2","contentUri":"https://example.com/1$2"}`, "contentUri: names content")
	refused(t, "\"a\xff\"", "UTF-8")
	// One broken record costs itself only.
	got := decode("[" + signIn(t, nil) + `,{"Id":"x"},` + signIn(t, set("Id", "2")) + "]")
	if len(got) != 3 || got[0].err != nil || got[1].err == nil || got[2].err != nil || got[1].record != `{"Id":"x"}` {
		t.Errorf("an array with a broken record gives %+v", got)
	}
}

func TestT5_TimesWithoutZone(t *testing.T) {
	for text, want := range map[any]string{
		"2026-03-04T08:15:35":      "2026-03-04T08:15:35.000Z",
		"2026-03-04T08:15:35Z":     "2026-03-04T08:15:35.000Z",
		"2026-03-04 08:15:35":      "2026-03-04T08:15:35.000Z",
		"3/4/2026 8:15:35 AM":      "2026-03-04T08:15:35.000Z",
		"2026-03-04T08:15:35.1234": "2026-03-04T08:15:35.123Z",
	} {
		if e := one(t, signIn(t, set("CreationTime", text))); e.Time.String() != want {
			t.Errorf("%v: %v, want %v", text, e.Time, want)
		}
	}
}

func TestT15_JSONInsideStrings(t *testing.T) {
	want := one(t, signIn(t, nil))
	got := one(t, signIn(t, func(r object) {
		for _, key := range []string{"ExtendedProperties", "DeviceProperties", "Actor"} {
			r[key] = asJSON(t, r[key])
		}
	}))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestT20_T24_WhoTried(t *testing.T) {
	for name, c := range map[string]struct {
		change func(object)
		want   events.User
	}{
		"object id":           {nil, events.User{ID: userID, Name: "pat@example.com"}},
		"in capitals":         {func(r object) { without("Actor")(r); r["UserKey"] = strings.ToUpper(userID) }, events.User{ID: userID, Name: "pat@example.com"}},
		"key is the older id": {set("UserKey", "10030000A8DD5B4C@example.com"), events.User{ID: userID, Name: "pat@example.com"}},
		"older id only": {
			func(r object) { without("Actor")(r); r["UserKey"] = "10030000A8DD5B4C@example.com" },
			events.User{ID: "puid:10030000a8dd5b4c", Name: "pat@example.com"},
		},
		"name is a GUID": {func(r object) { without("Actor", "UserKey")(r); r["UserId"] = userID }, events.User{ID: userID}},
		"unknown name": {
			func(r object) {
				without("Actor")(r)
				r["UserKey"], r["UserId"], r["ErrorNumber"] = "00000000-0000-0000-0000-000000000000", "Nobody@Example.com", "50034"
			},
			events.User{ID: "name:nobody@example.com", Type: events.Unresolved, Name: "Nobody@Example.com"},
		},
		"not available": {
			func(r object) { without("Actor")(r); r["UserKey"] = "Not Available" },
			events.User{ID: "name:pat@example.com", Type: events.Unresolved, Name: "pat@example.com"},
		},
		"program": {func(r object) { r["UserType"] = 6 }, events.User{ID: appID, Type: events.Workload, Name: "pat@example.com"}},
	} {
		if diff := cmp.Diff(c.want, one(t, signIn(t, c.change)).User); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	// What was tried may be anything: it must not make an id that is none.
	for _, name := range []string{strings.Repeat("x", 5000), "a\nb@example.com", "tab\t@example.com"} {
		e := one(t, signIn(t, func(r object) { without("Actor", "UserKey")(r); r["UserId"] = name }))
		if !strings.HasPrefix(e.User.ID, "hash:") || e.User.Type != events.Unresolved {
			t.Errorf("%.20q: %+.80v", name, e.User)
		}
	}
}

func TestT25_T26_Addresses(t *testing.T) {
	for name, c := range map[string]struct {
		actor, client any
		ip, raw       string
	}{
		"actor first":      {"192.0.2.1", "198.51.100.1", "192.0.2.1", ""},
		"client":           {nil, "198.51.100.1", "198.51.100.1", ""},
		"with port":        {"192.0.2.1:443", nil, "192.0.2.1", ""},
		"IPv6 with port":   {"[2001:db8::1]:443", nil, "2001:db8::1", ""},
		"mapped":           {"::ffff:192.0.2.1", nil, "192.0.2.1", ""},
		"null":             {nil, nil, "", ""},
		"null as text":     {"<null>", "<null>", "", ""},
		"a null actor":     {"<null>", "192.0.2.9", "192.0.2.9", ""},
		"none":             {"", "", "", ""},
		"masked":           {"192.0.2.xxx", nil, "", "192.0.2.xxx"},
		"zone":             {"fe80::1%eth0", nil, "fe80::1", ""},
		"private":          {"10.1.2.3", nil, "10.1.2.3", ""},
		"name of a server": {nil, "mail.example.com", "", "mail.example.com"},
	} {
		e := one(t, signIn(t, func(r object) { r["ActorIpAddress"], r["ClientIP"] = c.actor, c.client }))
		if e.IP != c.ip || e.AddressText != c.raw {
			t.Errorf("%s: %q and %q, want %q and %q", name, e.IP, e.AddressText, c.ip, c.raw)
		}
	}
}

func TestT34_ResultStatusIsOfTheExchange(t *testing.T) {
	for name, c := range map[string]struct {
		operation, status string
		number, logon     any
		want              events.Outcome
		code              string
	}{
		"failed, and the exchange went well":  {"UserLoginFailed", "Success", "50126", "InvalidUserNameOrPassword", events.Failure, "50126"},
		"logged in, and the exchange did not": {"UserLoggedIn", "Failed", "0", nil, events.Success, "0"},
		"logged in with an interrupt":         {"UserLoggedIn", "Success", "50140", "UserKeepMeSignedInInterrupt", events.Interrupt, "50140"},
		"failed with an interrupt":            {"UserLoginFailed", "Failed", "50074", "UserStrongAuthClientAuthNRequired", events.Interrupt, "50074"},
		"a number":                            {"UserLoginFailed", "Success", 53003, "BlockedByConditionalAccess", events.Blocked, "53003"},
		"no number, logged in":                {"UserLoggedIn", "Success", nil, nil, events.Success, ""},
		"no number, failed":                   {"UserLoginFailed", "Success", nil, nil, events.Failure, ""},
		"no number, a name":                   {"UserLoginFailed", "Success", nil, "InvalidUserNameOrPassword", events.Failure, "InvalidUserNameOrPassword"},
		"no number, an interrupt by name":     {"UserLoggedIn", "Success", nil, "UserStrongAuthClientAuthNRequiredInterrupt", events.Interrupt, "UserStrongAuthClientAuthNRequiredInterrupt"},
		"no number, a lock by name":           {"UserLoginFailed", "Success", nil, "IdsLocked", events.Blocked, "IdsLocked"},
		"failed with number 0":                {"UserLoginFailed", "Success", "0", nil, events.Failure, "0"},
		"a code nobody knows":                 {"UserLoginFailed", "Success", "99999999", nil, events.Failure, "99999999"},
		"an operation nobody knows":           {"SomethingElse", "Success", nil, nil, "", ""},
	} {
		e := one(t, signIn(t, func(r object) {
			r["Operation"], r["ResultStatus"], r["ErrorNumber"], r["LogonError"] = c.operation, c.status, c.number, c.logon
		}))
		if e.Outcome != c.want || e.Code != c.code {
			t.Errorf("%s: %q %q, want %q %q", name, e.Outcome, e.Code, c.want, c.code)
		}
	}
	// By the documentation's names.
	e := one(t, signIn(t, func(r object) {
		delete(r, "ErrorNumber")
		delete(r, "IntraSystemId")
		r["ErrorCode"], r["IntraSystemsId"] = 50126, recordID
	}))
	if e.Outcome != events.Failure || e.Code != "50126" {
		t.Errorf("ErrorCode: %q %q", e.Outcome, e.Code)
	}
}

func TestT38_NoSessionIsNone(t *testing.T) {
	for _, id := range []any{"00000000-0000-0000-0000-000000000000", "unknown", "", nil} {
		e := one(t, signIn(t, set("DeviceProperties", []object{pair("SessionId", id)})))
		if e.Session.ID != "" {
			t.Errorf("%v: session %q", id, e.Session.ID)
		}
	}
	e := one(t, signIn(t, func(r object) {
		delete(r, "DeviceProperties")
		r["AppAccessContext"] = object{"AADSessionId": "s-1", "UniqueTokenId": "t-1", "CorrelationId": "never"}
	}))
	if e.Session != (events.Session{ID: "s-1", Token: "t-1"}) {
		t.Errorf("session %+v of the access context", e.Session)
	}
}

func TestT11_DevicesThatSayLittle(t *testing.T) {
	for name, c := range map[string]struct {
		properties any
		want       events.Device
	}{
		"absent":     {nil, events.Device{}},
		"empty":      {[]object{}, events.Device{}},
		"both":       {[]object{pair("IsCompliantAndManaged", "True")}, events.Device{Compliant: events.Yes, Managed: events.Yes}},
		"not both":   {[]object{pair("IsCompliantAndManaged", "False")}, events.Device{}},
		"explicit":   {[]object{pair("IsCompliant", "False"), pair("IsManaged", true)}, events.Device{Compliant: events.No, Managed: events.Yes}},
		"no list":    {"x", events.Device{}},
		"no value":   {[]object{{"Name": "OS"}}, events.Device{}},
		"first wins": {[]object{pair("OS", "Linux"), pair("OS", "Windows")}, events.Device{OS: "Linux"}},
	} {
		if diff := cmp.Diff(c.want, one(t, signIn(t, set("DeviceProperties", c.properties))).Device); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestHowIdentityWasProved(t *testing.T) {
	for name, c := range map[string]struct {
		request, method, number string
		logon                   any
		want                    events.Auth
		interactive             events.Tri
	}{
		"password page":       {"Login:login", "1", "0", nil, events.Auth{Methods: []string{"password"}}, events.Yes},
		"second factor":       {"SAS:ProcessAuth", "16", "0", nil, events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password"}}, events.Yes},
		"second factor fails": {"SAS:EndAuth", "1", "500121", "AuthenticationFailedSasError", events.Auth{MFA: events.MFAFailed, Methods: []string{"password"}}, events.Yes},
		"second factor no":    {"SAS:EndAuth", "", "500121", "MfaDeniedByUser", events.Auth{MFA: events.MFADenied}, events.Yes},
		"passkey":             {"OAuth2:Authorize", "33554432", "0", nil, events.Auth{Strength: events.PhishingResistant, Methods: []string{"passkey"}, Protocol: "oauth2"}, events.Unknown},
		"passkey, failed":     {"OAuth2:Authorize", "33554432", "50126", nil, events.Auth{Methods: []string{"passkey"}, Protocol: "oauth2"}, events.Unknown},
		"token":               {"OAuth2:Token", "16457", "0", nil, events.Auth{Strength: events.MultiFactor, Methods: []string{"password", "phone_sign_in"}, Protocol: "oauth2"}, events.No},
		"legacy":              {"OrgIdWsTrust2:process", "1", "0", nil, events.Auth{Methods: []string{"password"}, Protocol: "wstrust"}, events.Unknown},
		"SAML":                {"Saml2:processrequest", "x", "0", nil, events.Auth{Protocol: "saml20"}, events.Unknown},
		"bits nobody knows":   {"", "536870912", "0", nil, events.Auth{}, events.Unknown},
	} {
		e := one(t, signIn(t, func(r object) {
			r["ExtendedProperties"] = []object{pair("RequestType", c.request), pair("UserAuthenticationMethod", c.method)}
			r["ErrorNumber"], r["LogonError"] = c.number, c.logon
		}))
		if diff := cmp.Diff(c.want, e.Auth); diff != "" || e.Interactive != c.interactive {
			t.Errorf("%s: interactive %v, want %v; %s", name, e.Interactive, c.interactive, diff)
		}
	}
}

func TestT47_HostileTexts(t *testing.T) {
	long := strings.Repeat("é\u0007", 40_000)
	e := one(t, signIn(t, func(r object) {
		r["ExtendedProperties"] = []object{pair("UserAgent", long)}
		r["ApplicationId"], r["ObjectId"] = long, long
		r["DeviceProperties"] = []object{pair("Id", long), pair("SessionId", long), pair("DisplayName", long)}
	}))
	if len(e.UserAgent) > events.MaxText || len(e.Device.Name) > events.MaxName {
		t.Errorf("texts of %d and %d bytes", len(e.UserAgent), len(e.Device.Name))
	}
}
