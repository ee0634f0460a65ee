package auth0

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
	userID = "auth0|5b9e1f04"
	name   = "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315@example.com"
	logID  = "90020260304081534000000000000000000001"
)

type object = map[string]any

// bare is a record as the Management API has it; change edits it before it is written.
func bare(t testing.TB, change func(r object)) string {
	t.Helper()
	record := object{
		"log_id": logID, "date": "2026-03-04T08:15:34.467Z", "type": "s", "tenant_name": "example", "hostname": "login.example.com",
		"client_id": "exampleClient01", "client_name": "Example App", "connection": "Users", "connection_id": "con_example",
		"strategy": "auth0", "strategy_type": "database", "ip": "198.51.100.50", "is_mobile": false,
		"user_agent": "Firefox 131.0.0 / Linux 0.0.0", "user_id": userID, "user_name": name, "security_context": object{"ja3": "0a1b", "ja4": "t13d"},
		"details": object{
			"session_id": "sess-example-1", "transaction_id": "tx-1", "stats": object{"loginsCount": nil},
			"prompts": []any{object{"name": "mfa", "performed_amr": []any{"mfa"}, "performed_acr": nil, "requiredCaptcha": false, "session_id": "sess-example-1"}},
			"riskAssessment": object{"confidence": "high", "version": "1", "assessments": object{
				"UntrustedIP":      object{"code": "not_found_on_deny_list", "confidence": "high"},
				"NewDevice":        object{"code": "match", "confidence": "high"},
				"ImpossibleTravel": object{"code": "minimal_travel_from_last_login", "confidence": "high"},
			}},
		},
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

// stream is a record as a log stream has it.
func stream(t testing.TB, change func(r object)) string {
	t.Helper()
	return `{"log_id":"` + logID + `","data":` + bare(t, change) + `}`
}

// typed is a record of a type, with members changed; a value of nil takes one away.
func typed(t testing.TB, kind string, namesAndValues ...any) string {
	t.Helper()
	return stream(t, func(r object) {
		r["type"] = kind
		for i := 0; i < len(namesAndValues); i += 2 {
			r[namesAndValues[i].(string)] = namesAndValues[i+1]
		}
	})
}

type result struct {
	event *events.Event
	err   error
}

func decoded(value string) (out []result) {
	Logs().Decode([]byte(value), func(_ []byte, e *events.Event, err error) {
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
	if e.Clean(); e.Validate() != nil {
		t.Errorf("the event is not valid: %v", e.Validate())
	}
	return e
}

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

func TestLogStreamRecord(t *testing.T) {
	want := &events.Event{
		Kind: events.SignIn, Tenant: "example", User: events.User{ID: userID, Name: name}, Time: 1772612134467,
		Source:  events.Source{Family: "auth0", ID: logID, Category: "s"},
		Outcome: events.Success, Code: "s", Interactive: events.Yes,
		App:     events.Ref{ID: "exampleClient01", Name: "Example App"},
		Session: events.Session{ID: "sess-example-1"}, Correlation: "tx-1",
		IP:        "198.51.100.50",
		Device:    events.Device{Browser: "Firefox 131.0.0", OS: "Linux"},
		UserAgent: "Firefox 131.0.0 / Linux 0.0.0",
		Auth:      events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor},
		Risk:      events.Risk{Level: events.RiskLow},
	}
	if diff := cmp.Diff(want, one(t, stream(t, nil))); diff != "" {
		t.Error(diff)
	}
}

// At least once, by several ways: one identity.
func TestT45_OneIdentityByEveryWay(t *testing.T) {
	want := one(t, stream(t, nil))
	r := stream(t, nil)
	for form, value := range map[string]string{
		"bare":        bare(t, nil),
		"old bare":    bare(t, func(r object) { r["_id"] = r["log_id"]; delete(r, "log_id") }),
		"EventBridge": `{"version":"0","id":"6f","detail-type":"Auth0 log","source":"aws.partner/auth0.com/x/auth0.logs","time":"2026-03-04T08:15:40Z","detail":` + r + `}`,
		"Splunk":      `{"time":1772612134,"host":"auth0","event":` + r + `}`,
		"array":       "[" + r + "]",
		"batch":       `{"logs":[` + r + `]}`,
	} {
		if diff := cmp.Diff(want, one(t, value)); diff != "" {
			t.Errorf("%s: %s", form, diff)
		}
	}
	if got := decoded("[" + r + "," + r + "]"); len(got) != 2 || got[0].event.Source != got[1].event.Source {
		t.Errorf("%+v", got)
	}
}

func TestBrokenRecordsNameTheField(t *testing.T) {
	for value, want := range map[string]string{
		bare(t, func(r object) { delete(r, "log_id") }): "log_id: is missing",
		bare(t, func(r object) { delete(r, "date") }):   "date: is missing",
		bare(t, func(r object) { delete(r, "type") }):   "type: is missing",
		bare(t, func(r object) { r["date"] = "soon" }):  `date: "soon"`,
		stream(t, nil)[:90]:                             "is no JSON",
		`"x"`:                                           "is no record",
	} {
		got := decoded(value)
		if len(got) != 1 || got[0].err == nil || !strings.Contains(got[0].err.Error(), want) {
			t.Errorf("%.80s: %+v, want %q", value, got, want)
		}
	}
	for _, kind := range []string{"sapi", "fapi", "w", "sys_os_update_end", "gd_tenant_update", "brand_new_type"} {
		skipped(t, "category", typed(t, kind))
	}
}

func TestT3_TimesInEveryForm(t *testing.T) {
	for text, want := range map[any]string{
		"2026-03-04T08:15:34.4671234Z":  "2026-03-04T08:15:34.467Z",
		"2026-03-04 08:15:34.467":       "2026-03-04T08:15:34.467Z",
		"2026-03-04T03:15:34.467-05:00": "2026-03-04T08:15:34.467Z",
		"2026-03-04T08:15:34":           "2026-03-04T08:15:34.000Z",
		int64(1772612134467):            "2026-03-04T08:15:34.467Z",
	} {
		if e := one(t, typed(t, "s", "date", text)); e.Time.String() != want {
			t.Errorf("%v: %v, want %v", text, e.Time, want)
		}
	}
}

func TestT10_Places(t *testing.T) {
	for name, c := range map[string]struct {
		info any
		want events.Place
	}{
		"absent":      {nil, events.Place{}},
		"a place":     {object{"country_code": "FR", "country_name": "France", "city_name": "Lyon", "latitude": "45.76", "longitude": 4.83}, events.Place{City: "Lyon", Country: "FR", Lat: 45.76, Lon: 4.83}},
		"null island": {object{"country_code": nil, "city_name": "", "latitude": 0.0, "longitude": 0.0}, events.Place{}},
		"centroid":    {object{"country_code": "us", "latitude": 37.75, "longitude": -97.82}, events.Place{Country: "US"}},
		"far off":     {object{"city_name": "X", "latitude": 99, "longitude": 4}, events.Place{City: "X"}},
	} {
		if diff := cmp.Diff(c.want, one(t, typed(t, "s", "location_info", c.info)).ProviderPlace); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestT18_ConfidenceIsInverted(t *testing.T) {
	of := func(code, confidence string) object { return object{"code": code, "confidence": confidence} }
	for name, c := range map[string]struct {
		risk any
		want events.Risk
	}{
		"absent": {nil, events.Risk{}},
		"low confidence is high risk": {object{"confidence": "low", "assessments": object{
			"ImpossibleTravel": of("impossible_travel_from_last_login", "low"), "NewDevice": of("match", "high"),
		}}, events.Risk{Level: events.RiskHigh, Detections: []string{"ImpossibleTravel"}}},
		"medium": {object{"confidence": "medium", "assessments": object{"NewDevice": of("partial_match", "medium")}}, events.Risk{Level: events.RiskMedium}},
		"the assessor failed": {object{"confidence": "low", "assessments": object{
			"ImpossibleTravel": of("assessment_not_available", "low"), "NewDevice": of("match", "high"),
		}}, events.Risk{Level: events.RiskLow}},
		"one failed, another is medium": {object{"confidence": "low", "assessments": object{
			"ImpossibleTravel": of("assessment_not_available", "low"), "NewDevice": of("partial_match", "medium"),
		}}, events.Risk{Level: events.RiskMedium}},
		"all failed": {object{"confidence": "low", "assessments": object{"ImpossibleTravel": of("assessment_not_available", "low")}}, events.Risk{}},
		"one failed, another is low": {object{"confidence": "low", "assessments": object{
			"ImpossibleTravel": of("assessment_not_available", "low"), "UntrustedIP": of("found_on_deny_list", "low"),
		}}, events.Risk{Level: events.RiskHigh, Detections: []string{"UntrustedIP"}}},
		"a new word": {object{"confidence": "neutral", "assessments": "x"}, events.Risk{}},
	} {
		if diff := cmp.Diff(c.want, one(t, typed(t, "s", "details", object{"riskAssessment": c.risk})).Risk); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestT18_ShortUserAgents(t *testing.T) {
	for agent, want := range map[string][2]string{
		"Chrome Mobile 114.0.0 / Android 13.0.0": {"Chrome Mobile 114.0.0", "Android 13.0.0"},
		"Other 0.0.0 / Other 0.0.0":              {"", ""},
		"Safari 17.1.0 / Mac OS X 10.15.7":       {"Safari 17.1.0", "Mac OS X 10.15.7"},
		"Mozilla/5.0 (X11; Linux x86_64)":        {"", ""},
		"Mozilla/5.0 (A / B) Example/1.0":        {"", ""},
		"":                                       {"", ""},
	} {
		e := one(t, typed(t, "s", "user_agent", agent, "is_mobile", true))
		if e.Device.Browser != want[0] || e.Device.OS != want[1] || e.UserAgent != agent || e.Device.Type != "mobile" {
			t.Errorf("%q: %+v", agent, e.Device)
		}
	}
}

func TestT21_ProgramsAreNoUsers(t *testing.T) {
	e := one(t, typed(t, "seccft", "user_id", "", "user_name", ""))
	if e.User.ID != "exampleClient01" || e.User.Type != events.Workload || e.Interactive != events.No || e.Auth.Strength != "" {
		t.Errorf("%+v %v %+v", e.User, e.Interactive, e.Auth)
	}
}

func TestT24_IdsOfFailuresMayBeAnything(t *testing.T) {
	for _, c := range []struct {
		kind, id, name string
		want           events.User
	}{
		{"fu", "auth0|guessed", "Nobody@Example.com", events.User{ID: "name:nobody@example.com", Type: events.Unresolved, Name: "Nobody@Example.com"}},
		{"fp", "", "Some@Example.com", events.User{ID: "name:some@example.com", Type: events.Unresolved, Name: "Some@Example.com"}},
		{"f", "invalid", "Some@Example.com", events.User{ID: "name:some@example.com", Type: events.Unresolved, Name: "Some@Example.com"}},
		{"fp", userID, name, events.User{ID: userID, Name: name}},
		{"s", userID, "", events.User{ID: userID}},
	} {
		if diff := cmp.Diff(c.want, one(t, typed(t, c.kind, "user_id", c.id, "user_name", c.name)).User); diff != "" {
			t.Errorf("%s %q: %s", c.kind, c.id, diff)
		}
	}
	for _, kind := range []string{"f", "fu", "s", "limit_mu", "fertft"} {
		skipped(t, "no_user", typed(t, kind, "user_id", "", "user_name", ""))
	}
	long := strings.Repeat("x", 300)
	if e := one(t, typed(t, "f", "user_id", "", "user_name", long, "client_id", long)); len(e.User.ID) > events.MaxID || len(e.App.ID) > events.MaxID {
		t.Errorf("ids of %d and %d bytes", len(e.User.ID), len(e.App.ID))
	}
}

func TestT25_Addresses(t *testing.T) {
	for text, want := range map[any][2]string{
		"198.51.100.20:443": {"198.51.100.20", ""}, "::ffff:192.0.2.1": {"192.0.2.1", ""}, "2001:0db8:0:0:0:0:0:1": {"2001:db8::1", ""},
		"internal": {"", "internal"}, nil: {"", ""}, "-": {"", ""},
	} {
		if e := one(t, typed(t, "s", "ip", text)); e.IP != want[0] || e.AddressText != want[1] {
			t.Errorf("%v: %q %q", text, e.IP, e.AddressText)
		}
	}
}

func TestT47_TextsOfTheAttacker(t *testing.T) {
	e := one(t, typed(t, "f", "user_agent", "Mozilla\x00\x1b[31m"+strings.Repeat("A", 5000), "client_name", strings.Repeat("é", 500)))
	if len(e.UserAgent) > events.MaxText || len(e.App.Name) > events.MaxName || strings.ContainsAny(e.UserAgent, "\x00\x1b") {
		t.Errorf("user agent of %d bytes, app of %d", len(e.UserAgent), len(e.App.Name))
	}
	assessors, prompts := object{}, []any{}
	for i := range 500 {
		assessors["a"+strings.Repeat("x", i)] = object{"confidence": "low"}
		prompts = append(prompts, object{"performed_amr": []any{"m" + strings.Repeat("x", i)}})
	}
	e = one(t, typed(t, "ferrt", "details", object{"riskAssessment": object{"confidence": "low", "assessments": assessors}, "prompts": prompts}))
	if !slices.Contains(e.Risk.Detections, "refresh_token_reuse") {
		t.Errorf("%d detections", len(e.Risk.Detections))
	}
	one(t, typed(t, "s", "details", object{"prompts": prompts}))
}
