package entra

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

func TestDiagnosticRecord(t *testing.T) {
	want := &events.Event{
		ID: events.EventID(tenantID, "entra", signInID), Kind: events.SignIn, Tenant: tenantID,
		User: events.User{ID: userID, Name: userID + "@example.com"}, Time: 1772612131244, Emitted: 1772612275104,
		Source:  events.Source{Family: "entra", ID: signInID, Category: "SignInLogs"},
		Outcome: events.Success, Code: "0", Correlation: "a2c4e6f8-1b3d-4f5a-8c7e-9d0b1a2c3e4f", Interactive: events.Yes,
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
		if e.User.ID != "name:nobody@example.com" || e.User.Type != events.Unresolved || e.Outcome != events.Failure {
			t.Errorf("%v: user %+v, outcome %q", id, e.User, e.Outcome)
		}
	}
	if text := string(events.Encode(hub(t, nil))); strings.Contains(text, "hunter2") {
		t.Errorf("what was typed as a sign-in name is in the event: %s", text)
	}
}

func TestSignInsOfNobody(t *testing.T) {
	reason, category := skipped(t, EventHub(), diagnostic(t, func(_, p object) {
		p["userId"], p["userPrincipalName"], p["status"] = "00000000-0000-0000-0000-000000000000", "", object{"errorCode": 50058}
	}))
	if reason != "no_user" || category != "SignInLogs" {
		t.Errorf("left blank: %q %q", reason, category)
	}
	why := refused(t, EventHub(), diagnostic(t, func(_, p object) {
		for _, key := range []string{"id", "userId", "userPrincipalName", "createdDateTime"} {
			delete(p, key)
		}
	}))
	if why != "createdDateTime: is missing\nid: is missing\nuserId: is missing" {
		t.Errorf("left out: %s", why)
	}
}

func TestT21_ProgramsAreTheirOwnUsers(t *testing.T) {
	const program = "8D7C6B5A-1111-4222-8333-944455556666"
	for _, category := range []string{"ServicePrincipalSignInLogs", "ManagedIdentitySignInLogs", "SignInLogs", ""} {
		e := hub(t, func(r, p object) {
			delete(p, "userId")
			delete(p, "userPrincipalName")
			delete(p, "isInteractive")
			r["category"], p["servicePrincipalId"], p["servicePrincipalName"], p["clientCredentialType"] = category, program, "Backup job", "clientAssertion"
		})
		want := events.User{ID: strings.ToLower(program), Type: events.Workload, Name: "Backup job"}
		if diff := cmp.Diff(want, e.User); diff != "" {
			t.Errorf("%q: %s", category, diff)
		}
		if e.Kind != events.SignIn || e.Interactive != events.No || !slices.Equal(e.Auth.Methods, []string{"client_assertion"}) || e.Source.Category != category {
			t.Errorf("%q: %+v", category, e)
		}
	}
	// A program that the tenant does not know has no service principal, only the application that it claims to be.
	e := hub(t, func(r, p object) {
		delete(p, "userId")
		r["category"], p["servicePrincipalId"], p["status"] = "ServicePrincipalSignInLogs", "", object{"errorCode": 700016}
	})
	if e.User.ID != "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00" || e.User.Type != events.Workload || e.Outcome != events.Failure {
		t.Errorf("a program that nobody knows: %+v %q", e.User, e.Outcome)
	}
	if e := hub(t, property("servicePrincipalId", program)); e.User.ID != userID || e.User.Type != "" {
		t.Errorf("a person's sign-in that names its application's service principal: %+v", e.User)
	}
}

func TestT21_MicrosoftsOwnProgramsAreLeftOut(t *testing.T) {
	for category, reason := range map[string]string{"MicrosoftServicePrincipalSignInLogs": "first_party", "ProvisioningLogs": "category"} {
		got, name := skipped(t, EventHub(), diagnostic(t, func(r, _ object) { r["category"] = category }))
		if got != reason || name != category {
			t.Errorf("%s: %q %q, want %q", category, got, name, reason)
		}
	}
	if reason, category := skipped(t, LogAnalytics(), row(t, func(r object) { r["Type"] = "Heartbeat" })); reason != "category" || category != "Heartbeat" {
		t.Errorf("a foreign table: %q %q", reason, category)
	}
}

func TestGuestsComeFromElsewhere(t *testing.T) {
	const home = "ABCDEF01-8c2d-4a76-b3f1-2d60c7a9e315"
	if e := hub(t, property("homeTenantId", home)); e.User.HomeTenant != strings.ToLower(home) {
		t.Errorf("a guest: %+v", e.User)
	}
	for _, id := range []any{strings.ToUpper(tenantID), nil, "", "00000000-0000-0000-0000-000000000000"} {
		if e := hub(t, property("homeTenantId", id)); e.User.HomeTenant != "" {
			t.Errorf("%v: %+v, want no guest", id, e.User)
		}
	}
	// Graph does not name the tenant; then only the type of user tells.
	for kind, want := range map[string]string{"guest": strings.ToLower(home), "Member": "", "": ""} {
		got := decode(Graph(), graphSignIn(t, func(p object) { p["homeTenantId"], p["userType"] = home, kind }))
		if got[0].err != nil || got[0].event.User.HomeTenant != want {
			t.Errorf("%q: %+v, want %q", kind, got[0], want)
		}
	}
}

func TestTokensAndWhatTheyAreBoundTo(t *testing.T) {
	for name, c := range map[string]struct {
		properties object
		want       events.Session
	}{
		"bound":         {object{"incomingTokenType": "primaryRefreshToken", "tokenProtectionStatusDetails": object{"signInSessionStatus": "bound"}}, events.Session{TokenType: "primary_refresh_token", Bound: events.Yes}},
		"as text":       {object{"incomingTokenType": "saml20", "tokenProtectionStatusDetails": `{"signInSessionStatus":"Unbound","signInSessionStatusCode":1002}`}, events.Session{TokenType: "saml20", Bound: events.No}},
		"the other":     {object{"incomingTokenType": "none", "signInTokenProtectionStatus": "unbound"}, events.Session{Bound: events.No}},
		"one is silent": {object{"incomingTokenType": "somethingNew", "signInTokenProtectionStatus": "none", "tokenProtectionStatusDetails": object{"signInSessionStatus": "bound"}}, events.Session{TokenType: "something_new", Bound: events.Yes}},
		"unknown":       {object{"signInTokenProtectionStatus": "unknownFutureValue"}, events.Session{}},
	} {
		e := hub(t, func(_, p object) {
			delete(p, "sessionId")
			delete(p, "uniqueTokenIdentifier")
			maps.Copy(p, c.properties)
		})
		if diff := cmp.Diff(c.want, e.Session); diff != "" {
			t.Errorf("%s: %s", name, diff)
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
	if got[0].err != nil || got[0].event.Tenant != "" {
		t.Errorf("only a workspace: %+v, want no tenant, which is for the source to name", got)
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
	const flow = "a2c4e6f8-1b3d-4f5a-8c7e-9d0b1a2c3e4f"
	plain, other := hub(t, nil), hub(t, property("correlationId", "00000000-1111-2222-3333-444444444444"))
	if plain.Correlation != flow || other.Correlation == flow || plain.ID != other.ID || plain.Source.ID != other.Source.ID {
		t.Errorf("flows %q and %q of ids %s and %s", plain.Correlation, other.Correlation, plain.ID, other.ID)
	}
	around := hub(t, func(r, p object) { r["correlationId"], p["correlationId"] = strings.ToUpper(flow), nil })
	if around.Correlation != flow {
		t.Errorf("around the record: %q", around.Correlation)
	}
	for _, none := range []any{nil, "", "00000000-0000-0000-0000-000000000000"} {
		if e := hub(t, property("correlationId", none)); e.Correlation != "" {
			t.Errorf("%v: %q", none, e.Correlation)
		}
	}
	if e := one(t, LogAnalytics(), row(t, func(r object) { r["CorrelationId"] = flow })); e.Correlation != flow {
		t.Errorf("a row: %q", e.Correlation)
	}
}

func TestT40_OneSignInHasOneIdByEveryWay(t *testing.T) {
	if a, b := hub(t, nil), one(t, LogAnalytics(), row(t, nil)); a.ID != b.ID {
		t.Errorf("ids %s and %s", a.ID, b.ID)
	}
	if a, b := hub(t, nil), decode(Graph(), graphSignIn(t, nil))[0].event; a.ID != events.EventID(tenantID, b.Source.Family, b.Source.ID) || a.Time != b.Time {
		t.Errorf("Graph's poorer copy: %+v", b)
	}
	if a, b := hub(t, nil), hub(t, func(r, p object) { r["tenantId"], p["id"] = strings.ToUpper(tenantID), strings.ToUpper(signInID) }); a.ID != b.ID {
		t.Errorf("ids %s and %s differ by case only", a.ID, b.ID)
	}
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
	skip := diagnostic(t, func(r, _ object) { r["category"] = "ProvisioningLogs" })
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
		"two at once":   {`{"records":[` + a + `],"records":[` + b + `]}`, "ee"},
		"bad in itself": {`{"records":[{"category":tru,"properties":{}},` + a + `]}`, "xe"},
		"bad bracket":   {`{"records":[{"x":[}],"properties":{}},` + a + `]}`, "x"},
		"bad escape":    {`{"records":[{"category":"\x"},` + a + `]}`, "xe"},
		"late comma":    {`{"records":[` + a + `,]}`, "ex"},
		"early comma":   {`[,` + a + `]`, "x"},
		"key unquoted":  {`[{category:1},` + a + `]`, "x"},
		"deep":          {`[{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `},` + a + `]`, "x"},
		"graph's":       {`{"value":[` + a + `]}`, "x"},
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
			var skip *foreign.Skipped
			switch {
			case r.event != nil && r.err == nil:
				got += "e"
			case errors.As(r.err, &skip):
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

func TestT43_EventTypesTellWhatGraphSent(t *testing.T) {
	for kind, c := range map[string]struct {
		category    string
		interactive events.Tri
		user        events.UserType
	}{
		"interactiveUser": {"SignInLogs", events.Yes, ""}, "nonInteractiveUser": {"NonInteractiveUserSignInLogs", events.No, ""},
		"servicePrincipal": {"ServicePrincipalSignInLogs", events.No, events.Workload}, "managedIdentity": {"ManagedIdentitySignInLogs", events.No, events.Workload},
		"somethingNew": {"", events.Unknown, ""},
	} {
		got := decode(Graph(), graphSignIn(t, func(p object) {
			delete(p, "isInteractive")
			p["signInEventTypes"], p["servicePrincipalId"] = []string{kind}, "8d7c6b5a-1111-4222-8333-944455556666"
		}))
		if len(got) != 1 || got[0].err != nil {
			t.Fatalf("%s: %+v", kind, got)
		}
		if e := got[0].event; e.Source.Category != c.category || e.Interactive != c.interactive || e.User.Type != c.user {
			t.Errorf("%s: category %q, interactive %v, user %+v", kind, e.Source.Category, e.Interactive, e.User)
		}
	}
}

func TestGraphPage(t *testing.T) {
	page := `{"@odata.context":"https://graph.example.com/$metadata#auditLogs/signIns","@odata.nextLink":"https://graph.example.com/next","value":[` +
		graphSignIn(t, nil) + `,` + text(t, auditProperties(nil)) + `,` + text(t, riskProperties(nil)) + `,` + text(t, riskyUserProperties(nil)) + `]}`
	var kinds []events.Kind
	for _, r := range decode(Graph(), page) {
		if r.err != nil {
			t.Fatal(r.err)
		}
		if r.event.Tenant != "" {
			t.Errorf("tenant %q, which Graph does not name", r.event.Tenant)
		}
		kinds = append(kinds, r.event.Kind)
	}
	if want := []events.Kind{events.SignIn, events.AccountChange, events.RiskReport, events.RiskReport}; !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
	if why := refused(t, Graph(), `{"error":{"code":"UnknownError","message":"x"}}`); !strings.Contains(why, "id: is missing") {
		t.Errorf("an answer that is an error: %s", why)
	}
}

func TestT46_OnlyPoliciesThatHadASay(t *testing.T) {
	policy := func(n int, result string) object {
		return object{
			"id": fmt.Sprint(n), "displayName": strings.Repeat("Policy ", 30), "result": result, "enforcedGrantControls": []string{"Mfa", "RequireCompliantDevice"},
			"enforcedSessionControls": []string{"SignInFrequency"},
		}
	}
	var policies []object
	for i := range 55 {
		policies = append(policies, policy(i, []string{"notApplied", "NotEnabled", "reportOnlyNotApplied"}[i%3]))
	}
	value := diagnostic(t, property("appliedConditionalAccessPolicies", policies))
	if e := one(t, EventHub(), value); len(value) < 15000 || len(events.Encode(e)) > 2000 {
		t.Errorf("a record of %d bytes gives an event of %d", len(value), len(events.Encode(e)))
	}
	controls := []string{"mfa", "require_compliant_device", "sign_in_frequency"}
	name := strings.Repeat("Policy ", 30)
	want := events.Access{
		Result:    events.AccessDenied,
		Policies:  []events.AccessPolicy{{ID: "90", Name: strings.TrimSpace(name), Result: "failure", Controls: controls}, {ID: "91", Name: strings.TrimSpace(name), Result: "reportOnlyInterrupted", Controls: controls}},
		Locations: []string{"Office", "VPN"},
	}
	change := func(p object, key string) {
		p["conditionalAccessStatus"], p[key] = "Failure", append(policies, policy(90, "failure"), policy(91, "reportOnlyInterrupted"))
		p["networkLocationDetails"] = []object{{"networkType": "trustedNamedLocation", "networkNames": []string{"Office"}}, {"networkType": "namedNetwork", "networkNames": []string{"Office", "VPN"}}}
	}
	e := hub(t, func(_, p object) { change(p, "appliedConditionalAccessPolicies") })
	if diff := cmp.Diff(want, e.Access); diff != "" {
		t.Error(diff)
	}
	for _, column := range []string{"ConditionalAccessPolicies", "AppliedConditionalAccessPolicies"} {
		e = one(t, LogAnalytics(), row(t, func(r object) {
			p := object{}
			change(p, "policies")
			r["ConditionalAccessStatus"], r[column], r["NetworkLocationDetails"] = p["conditionalAccessStatus"], text(t, p["policies"]), text(t, p["networkLocationDetails"])
		}))
		if diff := cmp.Diff(want, e.Access); diff != "" {
			t.Errorf("%s: %s", column, diff)
		}
	}
	for status, result := range map[string]events.AccessResult{"success": events.AccessGranted, "notApplied": events.AccessNotApplied, "unknownFutureValue": "", "": ""} {
		if e := hub(t, property("conditionalAccessStatus", status)); e.Access.Result != result {
			t.Errorf("%q: %q", status, e.Access.Result)
		}
	}
	many := make([]object, 500)
	for i := range many {
		many[i] = policy(i, "success")
	}
	if e := hub(t, property("appliedConditionalAccessPolicies", many)); len(e.Access.Policies) != events.MaxElements {
		t.Errorf("%d policies", len(e.Access.Policies))
	}
}

func TestLongIDsAreHashed(t *testing.T) {
	long := strings.Repeat("x", 300)
	e := hub(t, func(_, p object) {
		for _, key := range []string{"id", "sessionId", "uniqueTokenIdentifier", "appId", "resourceId", "homeTenantId"} {
			p[key] = long
		}
		p["userId"], p["userPrincipalName"], p["deviceDetail"] = "", long, object{"deviceId": long}
	})
	for _, id := range []string{e.Source.ID, e.Session.ID, e.Session.Token, e.App.ID, e.Resource.ID, e.User.HomeTenant, e.User.ID, e.Device.ID} {
		if len(id) > 40 {
			t.Errorf("an id of %d bytes", len(id))
		}
	}
	if other := hub(t, property("sessionId", long+"y")); other.Session.ID == e.Session.ID {
		t.Error("two long ids are one")
	}
	// What was tried as a name may be anything, and must not keep the attempt off the log.
	e = hub(t, func(_, p object) { p["userId"], p["userPrincipalName"] = nil, "Ren\u00e9\u0000\n@example.com" })
	if e.User.Type != events.Unresolved || !strings.HasPrefix(e.User.ID, "name:") || len(e.User.ID) != len("name:")+32 {
		t.Errorf("user %+v", e.User)
	}
}

func TestDecodersAreSafeForConcurrentUse(t *testing.T) {
	const messages = 4
	d := EventHub()
	var want [messages]string
	for n := range want {
		want[n] = told(decode(d, string(hubBatch(t, 100, uint64(n)))))
	}
	if want[0] == want[1] || strings.Contains(want[0], "error") {
		t.Fatal("the messages are no good for this test")
	}
	var kept [messages][]result
	var all sync.WaitGroup
	for n := range want {
		all.Go(func() {
			value := string(hubBatch(t, 100, uint64(n)))
			for range 5 {
				kept[n] = decode(d, value)
			}
		})
	}
	all.Wait()
	// Now that the others have decoded over whatever could be shared.
	for n := range want {
		if told(kept[n]) != want[n] {
			t.Errorf("message %d has other events", n)
		}
	}
}
