package okta

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

const (
	userID = "00uEXAMPLE0000000001"
	name   = "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315@example.com"
	uuid   = "0b1c2d3e-4f50-11f1-8a9b-0c1d2e3f4a5b"
	agent  = "Mozilla/5.0 (Macintosh) Example/1.0"
)

type object = map[string]any

// log is a record of the System Log; change edits it before it is written.
func log(t testing.TB, change func(r object)) string {
	t.Helper()
	record := object{
		"uuid": uuid, "published": "2026-03-04T08:15:31.104Z", "eventType": "user.session.start", "version": "0", "severity": "INFO",
		"actor": object{"id": userID, "type": "User", "alternateId": name, "displayName": nil},
		"client": object{
			"id": nil, "ipAddress": "198.51.100.20", "device": "Computer", "zone": "null",
			"userAgent": object{"rawUserAgent": agent, "os": "Mac OS X", "browser": "CHROME"},
			"geographicalContext": object{
				"city": "Lyon", "state": "Auvergne-Rhône-Alpes", "country": "France", "postalCode": nil, "geolocation": object{"lat": 45.76, "lon": 4.83},
			},
		},
		"device": nil,
		"authenticationContext": object{
			"authenticationProvider": nil, "credentialProvider": nil, "credentialType": nil, "authenticationStep": 0,
			"externalSessionId": "idxEXAMPLE01", "rootSessionId": "idxEXAMPLE01",
		},
		"securityContext": object{"asNumber": 64501, "asOrg": "example", "isp": "example", "domain": ".", "isProxy": false},
		"outcome":         object{"result": "SUCCESS", "reason": nil},
		"transaction":     object{"type": "WEB", "id": "txEXAMPLE01", "detail": object{}},
		"request":         object{"ipChain": []any{object{"ip": "198.51.100.20", "version": "V4", "source": nil}}},
		"debugContext": object{"debugData": object{
			"risk": "{reasons=Anomalous Location, Anomalous Device, level=HIGH}", "behaviors": "{New Device=POSITIVE, New IP=UNKNOWN, Velocity=NEGATIVE}",
			"deviceFingerprint": "9f8e7d", "threatSuspected": "false",
		}},
		"target": []any{object{"id": "0oaEXAMPLE01", "type": "AppInstance", "displayName": "Example App"}},
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

// set changes members, each named by a path with dots.
func set(pathsAndValues ...any) func(object) {
	return func(r object) {
		for i := 0; i < len(pathsAndValues); i += 2 {
			parts := strings.Split(pathsAndValues[i].(string), ".")
			at := r
			for _, p := range parts[:len(parts)-1] {
				inner, ok := at[p].(object)
				if !ok {
					inner = object{}
					at[p] = inner
				}
				at = inner
			}
			at[parts[len(parts)-1]] = pathsAndValues[i+1]
		}
	}
}

// typed is a record of a type, with changes.
func typed(t testing.TB, eventType string, pathsAndValues ...any) string {
	t.Helper()
	return log(t, func(r object) {
		r["eventType"] = eventType
		set(pathsAndValues...)(r)
	})
}

type result struct {
	event *events.Event
	err   error
}

func decoded(value string) (out []result) {
	SystemLog().Decode([]byte(value), func(_ []byte, e *events.Event, err error) {
		r := result{err: err}
		if e != nil {
			kept := *e
			r.event = &kept
		}
		out = append(out, r)
	})
	return out
}

// one decodes one record that must be a valid event.
func one(t testing.TB, value string) *events.Event {
	t.Helper()
	got := decoded(value)
	if len(got) != 1 || got[0].err != nil {
		t.Fatalf("%.300s\ngives %+v", value, got)
	}
	e := got[0].event
	if e.Tenant != "" {
		t.Errorf("tenant %q, which no record says", e.Tenant)
	}
	e.Tenant = "example"
	if e.Clean(); e.Validate() != nil {
		t.Errorf("the event is not valid: %v", e.Validate())
	}
	return e
}

// skipped decodes one record that must be left out for a reason.
func skipped(t *testing.T, reason, value string) {
	t.Helper()
	got := decoded(value)
	if len(got) == 1 {
		if s, ok := errors.AsType[*foreign.Skipped](got[0].err); ok && s.Reason == reason && got[0].event == nil {
			return
		}
	}
	t.Errorf("%.300s\ngives %+v, want it skipped as %q", value, got, reason)
}

func user(id, alternate string) object {
	return object{"id": id, "type": "User", "alternateId": alternate, "displayName": "Example"}
}

func TestSessionStart(t *testing.T) {
	want := &events.Event{
		Kind: events.SignIn, Tenant: "example", User: events.User{ID: userID, Name: name}, Time: 1772612131104,
		Source:  events.Source{Family: "okta", ID: uuid, Category: "user.session.start"},
		Outcome: events.Success, Code: "SUCCESS", Interactive: events.Yes,
		App:     events.Ref{ID: "0oaEXAMPLE01", Name: "Example App"},
		Session: events.Session{ID: "idxEXAMPLE01"}, Correlation: "txEXAMPLE01",
		IP: "198.51.100.20", Network: events.Network{ASN: 64501, Org: "example"},
		ProviderPlace: events.Place{Lat: 45.76, Lon: 4.83, City: "Lyon", Region: "Auvergne-Rhône-Alpes", Country: "FR"},
		Device:        events.Device{ID: "9f8e7d", OS: "Mac OS X", Browser: "CHROME", Type: "desktop"},
		UserAgent:     agent,
		Risk:          events.Risk{Level: events.RiskHigh, Detections: []string{"Anomalous Location", "Anomalous Device", "New Device"}},
	}
	if diff := cmp.Diff(want, one(t, log(t, nil))); diff != "" {
		t.Error(diff)
	}
}

// One record, arrays, the event hook's envelope, and what log streams put around a record.
func TestT45_Envelopes(t *testing.T) {
	r := log(t, nil)
	other := log(t, set("uuid", "u-2"))
	for form, value := range map[string]string{
		"array":       "[" + r + "," + other + "]",
		"event hook":  `{"eventType":"com.okta.event_hook","source":"https://example.okta.com/api/v1/eventHooks/who1","data":{"events":[` + r + "," + other + `]}}`,
		"EventBridge": `[{"version":"0","detail-type":"SystemLog","detail":` + r + `},{"detail":` + other + `}]`,
		"Splunk":      `[{"time":1,"event":` + r + `},{"event":` + other + `}]`,
	} {
		got := decoded(value)
		if len(got) != 2 || got[0].err != nil || got[1].err != nil || got[0].event.Source.ID != uuid || got[1].event.Source.ID != "u-2" {
			t.Errorf("%s: %+v", form, got)
		}
	}
	if got := decoded(`{"data":{"events":[]}}`); len(got) != 0 {
		t.Errorf("an empty hook gives %+v", got)
	}
}

func TestBrokenRecordsNameTheField(t *testing.T) {
	for value, want := range map[string]string{
		log(t, func(r object) { delete(r, "uuid") }):          "uuid: is missing",
		log(t, func(r object) { delete(r, "published") }):     "published: is missing",
		log(t, func(r object) { delete(r, "eventType") }):     "eventType: is missing",
		log(t, set("published", "yesterday")):                 `published: "yesterday"`,
		log(t, nil)[:100]:                                     "is no JSON",
		`7`:                                                   "is no record",
		`[` + log(t, nil) + `, "x"]`:                          "is no record",
		log(t, set("published", "yesterday", "uuid", "null")): "uuid: is missing",
	} {
		got := decoded(value)
		if last := got[len(got)-1]; last.err == nil || !strings.Contains(last.err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", value, last.err, want)
		}
	}
	skipped(t, "category", typed(t, "system.import.start"))
	skipped(t, "category", typed(t, "app.oauth2.as.token.grant.id_token"))
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		result, reason any
		outcome        events.Outcome
		code, why      string
	}{
		{"SUCCESS", nil, events.Success, "SUCCESS", ""},
		{"ALLOW", nil, events.Success, "ALLOW", ""},
		{"FAILURE", "INVALID_CREDENTIALS", events.Failure, "INVALID_CREDENTIALS", "INVALID_CREDENTIALS"},
		{"FAILURE", "LOCKED_OUT", events.Blocked, "LOCKED_OUT", "LOCKED_OUT"},
		{"FAILURE", "Sign-on policy evaluation resulted in DENY", events.Blocked, "FAILURE", "Sign-on policy evaluation resulted in DENY"},
		{"DENY", nil, events.Blocked, "DENY", ""},
		{"CHALLENGE", nil, events.Challenge, "CHALLENGE", ""},
		{"SKIPPED", nil, "", "SKIPPED", ""},
		{"UNKNOWN", nil, "", "", ""},
		{nil, nil, "", "", ""},
	} {
		e := one(t, log(t, set("outcome", object{"result": c.result, "reason": c.reason})))
		if e.Outcome != c.outcome || e.Code != c.code || e.Reason != c.why {
			t.Errorf("%v %v: %q %q %q", c.result, c.reason, e.Outcome, e.Code, e.Reason)
		}
	}
}

func TestT1ToT6_TimesInEveryForm(t *testing.T) {
	for text, want := range map[any]string{
		"2026-03-04T08:15:31.1043377Z":  "2026-03-04T08:15:31.104Z",
		"2026-03-04T03:15:31.104-05:00": "2026-03-04T08:15:31.104Z",
		"2026-03-04 08:15:31.104":       "2026-03-04T08:15:31.104Z",
		"2026-03-04T08:15:31":           "2026-03-04T08:15:31.000Z",
		int64(1772612131104):            "2026-03-04T08:15:31.104Z",
	} {
		if e := one(t, log(t, set("published", text))); e.Time.String() != want {
			t.Errorf("%v: %v, want %v", text, e.Time, want)
		}
	}
}

func TestT10_PlacesAndCountriesByName(t *testing.T) {
	at := func(lat, lon any) object { return object{"lat": lat, "lon": lon} }
	for name, c := range map[string]struct {
		place any
		want  events.Place
	}{
		"absent":       {nil, events.Place{}},
		"empty":        {object{}, events.Place{}},
		"null island":  {object{"city": nil, "country": nil, "geolocation": at(0.0, 0.0)}, events.Place{}},
		"city at 0,0":  {object{"city": "Lyon", "country": "France", "geolocation": at(0.0, 0.0)}, events.Place{City: "Lyon", Country: "FR"}},
		"centroid":     {object{"country": "United States", "geolocation": at(37.75, -97.82)}, events.Place{Country: "US"}},
		"out of range": {object{"city": "X", "country": "Atlantis", "geolocation": at(99, 5)}, events.Place{City: "X"}},
		"a code":       {object{"country": "de"}, events.Place{Country: "DE"}},
		"texts":        {object{"city": "X", "geolocation": at("45.5", "4.5")}, events.Place{City: "X", Lat: 45.5, Lon: 4.5}},
	} {
		if diff := cmp.Diff(c.want, one(t, log(t, set("client.geographicalContext", c.place))).ProviderPlace); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for name, want := range map[string]string{
		"United States": "US", "United Kingdom": "GB", "The Netherlands": "NL", "South Korea": "KR", "Republic of Korea": "KR", "Czech Republic": "CZ",
		"Czechia": "CZ", "Hong Kong": "HK", "Viet Nam": "VN", "Russia": "RU", "Bosnia and Herzegovina": "BA", "Türkiye": "TR", "Turkey": "TR",
		"Côte d'Ivoire": "CI", "Ivory Coast": "CI", "St. Lucia": "LC", "Saint Lucia": "LC", "Guinea Bissau": "GW", "Taiwan": "TW",
		"Germany": "DE", "Myanmar (Burma)": "MM", "Benin": "BJ", "Yemen": "YE", "Panama": "PA", "Kosovo": "XK", "Nowhere": "", "": "",
	} {
		if got := countryCode(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestT11_AbsentIsNotFalse(t *testing.T) {
	for name, c := range map[string]struct {
		device any
		want   events.Tri
	}{
		"absent": {nil, events.Unknown}, "not said": {object{"id": "guo1", "managed": nil}, events.Unknown},
		"not managed": {object{"id": "guo1", "managed": false}, events.No}, "managed": {object{"id": "guo1", "managed": "true"}, events.Yes},
	} {
		if e := one(t, log(t, set("device", c.device))); e.Device.Managed != c.want {
			t.Errorf("%s: managed %v", name, e.Device.Managed)
		}
	}
	e := one(t, log(t, set("device", object{"id": "guo1", "name": "laptop", "os_platform": "OSX", "managed": true, "registered": true})))
	if want := (events.Device{ID: "guo1", Name: "laptop", OS: "OSX", Browser: "CHROME", Type: "desktop", Managed: events.Yes}); e.Device != want {
		t.Errorf("%+v", e.Device)
	}
	if e := one(t, log(t, set("debugContext.debugData.dtHash", "d7"))); e.Device.ID != "d7" {
		t.Errorf("device %q, want the cookie before the fingerprint", e.Device.ID)
	}
}

func TestT16_RiskAndBehavioursAreNoJSON(t *testing.T) {
	for _, c := range []struct {
		risk, behaviors, logOnly any
		want                     events.Risk
	}{
		{"{level=LOW}", nil, nil, events.Risk{Level: events.RiskLow}},
		{
			"{level=MEDIUM, reasons=Anomalous Geo-Distance, New Device}", "{New Geo-Location=POSITIVE, New Device=POSITIVE, Velocity=BAD_REQUEST}", nil,
			events.Risk{Level: events.RiskMedium, Detections: []string{"Anomalous Geo-Distance", "New Device", "New Geo-Location"}},
		},
		{"{reasons=a=b, level=HIGH}", "{}", nil, events.Risk{Level: events.RiskHigh, Detections: []string{"a=b"}}},
		{"{level=}", "{=POSITIVE}", nil, events.Risk{}},
		{"level=HIGH", "[New Device=POSITIVE]", nil, events.Risk{}},
		{"", "null", nil, events.Risk{}},
		{
			nil, nil, `{"risk":{"level":"LOW"},"behaviors":{"New Geo-Location":"NEGATIVE","New Device":"POSITIVE"}}`,
			events.Risk{Level: events.RiskLow, Detections: []string{"New Device"}},
		},
		{"{level=HIGH}", nil, `{"risk":{"level":"LOW"}}`, events.Risk{Level: events.RiskHigh}},
		{object{"level": "HIGH", "reasons": "New IP"}, nil, `{"risk":`, events.Risk{Level: events.RiskHigh, Detections: []string{"New IP"}}},
	} {
		e := one(t, log(t, set("debugContext.debugData", object{"risk": c.risk, "behaviors": c.behaviors, "logOnlySecurityData": c.logOnly, "threatSuspected": "false"})))
		if diff := cmp.Diff(c.want, e.Risk); diff != "" {
			t.Errorf("%v %v %v: %s", c.risk, c.behaviors, c.logOnly, diff)
		}
	}
	e := one(t, log(t, set("debugContext.debugData", object{"threatSuspected": "true"}, "securityContext.isProxy", true)))
	if !slices.Equal(e.Risk.Detections, []string{"threatSuspected", "proxy"}) || e.Access.Locations != nil {
		t.Errorf("%+v %+v", e.Risk, e.Access)
	}
	if e := one(t, log(t, set("client.zone", "Office"))); !slices.Equal(e.Access.Locations, []string{"Office"}) {
		t.Errorf("%+v", e.Access)
	}
}

func TestT21_ProgramsAreNoUsers(t *testing.T) {
	program := object{"id": "0oaSERVICE", "type": "PrivateClientApp", "alternateId": "svc", "displayName": "Backup"}
	e := one(t, typed(t, "app.oauth2.as.token.grant.access_token", "actor", program, "target", []any{object{"id": "AT.h", "type": "access_token"}}, "debugContext.debugData.grantType", "client_credentials"))
	if e.User.ID != "0oaSERVICE" || e.User.Type != events.Workload || e.User.Name != "Backup" || e.Interactive != events.No || e.Session.Token != "AT.h" || e.Auth.Protocol != "client_credentials" {
		t.Errorf("%+v %v %+v %+v", e.User, e.Interactive, e.Session, e.Auth)
	}
	e = one(t, typed(t, "app.oauth2.token.grant.access_token", "actor", program, "target", []any{user(userID, name)}, "debugContext.debugData.grantType", "refresh_token"))
	if e.User.ID != userID || e.User.Type != "" || e.App.ID != "0oaSERVICE" || e.Session.TokenType != "refresh_token" {
		t.Errorf("a token for a person: %+v %+v %+v", e.User, e.App, e.Session)
	}
}

func TestT22_SystemPrincipalActsForTheTarget(t *testing.T) {
	system := object{"id": "okta.1-2-3", "type": "SystemPrincipal", "alternateId": "system@okta.com", "displayName": "Okta System"}
	e := one(t, typed(t, "user.account.lock", "actor", system, "target", []any{object{"id": "x", "type": "AppInstance"}, user(userID, name)}))
	if e.User.ID != userID || e.User.Name != name || e.Change.Actor.ID != "okta.1-2-3" {
		t.Errorf("%+v %+v", e.User, e.Change)
	}
	if e := one(t, log(t, set("actor", system, "target", []any{user(userID, name)}))); e.User.ID != userID {
		t.Errorf("%+v", e.User)
	}
	skipped(t, "no_user", log(t, set("actor", system)))
	skipped(t, "no_user", typed(t, "user.account.lock", "actor", system, "target", nil))
}

func TestT24_NamesThatNobodyHas(t *testing.T) {
	e := one(t, log(t, set("actor", object{"id": "unknown", "type": "User", "alternateId": "Nobody@Example.com", "displayName": "unknown"},
		"outcome", object{"result": "FAILURE", "reason": "VERIFICATION_ERROR"}, "target", nil)))
	if e.User.ID != "name:nobody@example.com" || e.User.Type != events.Unresolved || e.User.Name != "Nobody@Example.com" {
		t.Errorf("%+v", e.User)
	}
	skipped(t, "no_user", log(t, set("actor", object{"id": "unknown", "type": "User", "alternateId": "unknown"}, "target", nil)))
}

func TestT25T26_Addresses(t *testing.T) {
	for text, want := range map[any][2]string{
		"198.51.100.20:443": {"198.51.100.20", ""}, "[2001:db8::1]:443": {"2001:db8::1", ""}, "::ffff:192.0.2.1": {"192.0.2.1", ""},
		"2001:0db8:0:0:0:0:0:1": {"2001:db8::1", ""}, "internal": {"", "internal"}, nil: {"203.0.113.9", ""}, "unknown": {"203.0.113.9", ""},
	} {
		chain := []any{object{"ip": "203.0.113.9"}, object{"ip": "192.0.2.77"}}
		if e := one(t, log(t, set("client.ipAddress", text, "request.ipChain", chain))); e.IP != want[0] || e.AddressText != want[1] {
			t.Errorf("%v: %q %q, want %q", text, e.IP, e.AddressText, want)
		}
	}
}

func TestT38_SessionsThatAreNone(t *testing.T) {
	for _, c := range []struct {
		external, root any
		want           string
	}{
		{"idx1", "idx0", "idx1"}, {"unknown", "idx0", "idx0"}, {nil, "idx0", "idx0"}, {"unknown", "unknown", ""}, {nil, nil, ""}, {"", nil, ""},
	} {
		e := one(t, typed(t, "app.oauth2.token.grant", "authenticationContext", object{"externalSessionId": c.external, "rootSessionId": c.root}))
		if e.Session.ID != c.want {
			t.Errorf("%v %v: %q, want %q", c.external, c.root, e.Session.ID, c.want)
		}
	}
	long := strings.Repeat("s", 300)
	if e := one(t, log(t, set("authenticationContext.externalSessionId", long, "uuid", long, "actor.id", long))); len(e.Session.ID) > events.MaxID || e.Session.ID != e.Source.ID {
		t.Errorf("ids of %d and %d bytes", len(e.Session.ID), len(e.Source.ID))
	}
}

func TestT47_TextsOfTheAttacker(t *testing.T) {
	e := one(t, log(t, set("client.userAgent.rawUserAgent", "Mozilla\x00\x1b[31m"+strings.Repeat("A", 5000), "actor.alternateId", strings.Repeat("é", 500))))
	if len(e.UserAgent) > events.MaxText || len(e.User.Name) > events.MaxName || strings.ContainsAny(e.UserAgent, "\x00\x1b") {
		t.Errorf("user agent of %d bytes, name of %d", len(e.UserAgent), len(e.User.Name))
	}
	targets := make([]any, 500)
	for i := range targets {
		targets[i] = object{"id": "p", "type": "PolicyRule", "displayName": "rule", "detailEntry": object{"methodTypeUsed": "m" + strings.Repeat("x", i)}}
	}
	if e := one(t, typed(t, "application.policy.sign_on.deny_access", "target", targets)); len(e.Access.Policies) > events.MaxElements || len(e.Auth.Methods) > events.MaxElements {
		t.Errorf("%d policies, %d methods", len(e.Access.Policies), len(e.Auth.Methods))
	}
}
