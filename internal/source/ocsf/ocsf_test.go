package ocsf

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
	tenantID = "0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80"
	userID   = "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315"
	recordID = "1e2d3c4b-5a69-4788-9a7b-6c5d4e3f2a10"
)

type object = map[string]any

// record is an event of class 3002; change edits it before it is written.
func write(t testing.TB, change func(o object)) string {
	t.Helper()
	o := object{
		"class_uid": 3002, "category_uid": 3, "activity_id": 1, "type_uid": 300201, "severity_id": 1, "time": int64(1772612135123),
		"status_id": 1, "is_remote": true, "is_new_logon": true, "auth_protocol_id": 6,
		"metadata": object{
			"version": "1.5.0", "uid": recordID, "tenant_uid": tenantID, "logged_time": int64(1772612275104),
			"product": object{"name": "Example IdP", "vendor_name": "Example"},
		},
		"user":    object{"uid": userID, "type_id": 1, "name": "u-5b9e"},
		"service": object{"uid": "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00", "name": "Example Portal"},
		"session": object{"uid": "3c2b1a09-f8e7-4d6c-b5a4-938271605f4e"},
		"src_endpoint": object{
			"ip": "203.0.113.80", "autonomous_system": object{"number": 64503, "name": "EXAMPLE-AS"},
			"location": object{"country": "NL", "region": "NL-UT", "city": "Utrecht", "lat": 52.09, "long": 5.12},
		},
		"device":       object{"uid": "d-1", "hostname": "laptop-1", "type_id": 3, "os": object{"name": "Windows 11", "type_id": 100}, "is_managed": true},
		"http_request": object{"user_agent": "Mozilla/5.0 Example/1.0"},
		"unmapped":     object{"user": object{"uid": "somebody else"}, "class_uid": 1},
		"raw_data":     `{"class_uid":1}`,
		"observables":  []any{object{"name": "user.uid", "type_id": 31, "value": "somebody else"}},
	}
	if change != nil {
		change(o)
	}
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// set is a change of one attribute, whose path has dots.
func set(path string, value any) func(object) {
	return func(o object) {
		keys := strings.Split(path, ".")
		for _, key := range keys[:len(keys)-1] {
			inner, ok := o[key].(object)
			if !ok {
				inner = object{}
				o[key] = inner
			}
			o = inner
		}
		o[keys[len(keys)-1]] = value
	}
}

func all(changes ...func(object)) func(object) {
	return func(o object) {
		for _, change := range changes {
			change(o)
		}
	}
}

// as replaces activity and type.
func as(activity int) func(object) {
	return all(set("activity_id", activity), set("type_uid", 300200+activity))
}

type result struct {
	record string
	event  *events.Event
	err    error
}

func decodeAll(value string) (out []result) {
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

// one decodes one record that must be an event.
func one(t testing.TB, value string) *events.Event {
	t.Helper()
	got := decodeAll(value)
	if len(got) != 1 || got[0].err != nil {
		t.Fatalf("%.400s\ngives %+v", value, got)
	}
	e := got[0].event
	if e.Clean(); e.Tenant != "" && e.Validate() != nil {
		t.Errorf("the event is not valid: %v", e.Validate())
	}
	return e
}

func signIn(t testing.TB, changes ...func(object)) *events.Event {
	t.Helper()
	return one(t, write(t, all(changes...)))
}

func failure(t *testing.T, change func(object)) string {
	t.Helper()
	got := decodeAll(write(t, change))
	if len(got) != 1 || got[0].err == nil {
		t.Fatalf("%+v, want one error", got)
	}
	return got[0].err.Error()
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	want := &events.Event{
		Kind: events.SignIn, Tenant: tenantID, User: events.User{ID: userID, Name: "u-5b9e"},
		Time: 1772612135123, Emitted: 1772612275104,
		Source:  events.Source{Family: "ocsf", ID: recordID, Category: "Authentication: Logon"},
		Outcome: events.Success,
		App:     events.Ref{ID: "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00", Name: "Example Portal"},
		Session: events.Session{ID: "3c2b1a09-f8e7-4d6c-b5a4-938271605f4e"},
		IP:      "203.0.113.80", Network: events.Network{ASN: 64503, Org: "EXAMPLE-AS"},
		ProviderPlace: events.Place{Lat: 52.09, Lon: 5.12, City: "Utrecht", Region: "NL-UT", Country: "NL"},
		Device:        events.Device{ID: "d-1", Name: "laptop-1", OS: "Windows 11", Managed: events.Yes},
		UserAgent:     "Mozilla/5.0 Example/1.0",
		Auth:          events.Auth{Protocol: "oauth2"},
	}
	if diff := cmp.Diff(want, signIn(t)); diff != "" {
		t.Error(diff)
	}
}

// The record of the reference, as it stands there.
func TestFailureWithPlaceAndSession(t *testing.T) {
	t.Parallel()
	e := one(t, `{"class_uid":3002,"category_uid":3,"activity_id":1,"type_uid":300201,"severity_id":1,"time":1772612135123,"status_id":2,"status_code":"50126","is_mfa":false,"is_remote":true,"auth_protocol_id":6,
	 "metadata":{"version":"1.5.0","uid":"1e2d3c4b-5a69-4788-9a7b-6c5d4e3f2a10","tenant_uid":"0F6C2B1E-3A57-4D0C-9D5E-7B1A2C4D6E80","product":{"name":"Example IdP","vendor_name":"Example"}},
	 "user":{"uid":"5B9E1F04-8C2D-4A76-B3F1-2D60C7A9E315","type_id":1},"service":{"uid":"c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00","name":"Example Portal"},"session":{"uid":"3c2b1a09-f8e7-4d6c-b5a4-938271605f4e"},
	 "src_endpoint":{"ip":"203.0.113.80","autonomous_system":{"number":64503},"location":{"country":"NL","city":"Utrecht","lat":52.09,"long":5.12}},"http_request":{"user_agent":"Mozilla/5.0 Example/1.0"}}`)
	if e.Outcome != events.Failure || e.Code != "50126" || e.Tenant != tenantID || e.User.ID != userID || e.Auth.MFA != "" || e.Auth.Strength != "" {
		t.Errorf("%+v", e)
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	r := write(t, nil)
	for name, c := range map[string]struct {
		value string
		want  int
	}{
		"one": {r, 1}, "array": {"[" + r + "," + r + "]", 2}, "records": {`{"Records":[` + r + `]}`, 1},
		"lower case": {`{"records":[` + r + "," + r + `]}`, 2}, "empty": {`[]`, 0},
	} {
		got := decodeAll(c.value)
		if len(got) != c.want || slices.ContainsFunc(got, func(r result) bool { return r.err != nil }) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := decodeAll(r[:len(r)-2]); len(got) != 1 || got[0].err == nil || !strings.Contains(got[0].err.Error(), "is no JSON") {
		t.Errorf("cut off: %+v", got)
	}
}

func TestOtherClassesAreLeftOut(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(object){
		"Detection Finding":       all(set("class_uid", 2004), set("class_name", "Detection Finding")),
		"6003":                    all(set("class_uid", 6003), set("type_uid", 600301)),
		"3003":                    all(set("class_uid", "3003")),
		"Account Change: Unknown": all(set("class_uid", 3001), set("activity_id", 99)),
	} {
		got := decodeAll(write(t, change))
		var skipped *foreign.Skipped
		if len(got) != 1 || !errors.As(got[0].err, &skipped) || skipped.Category != want || skipped.Reason != "category" {
			t.Errorf("%+v, want %q skipped", got, want)
		}
	}
}

func TestClassByTypeOrName(t *testing.T) {
	t.Parallel()
	for _, change := range []func(object){
		all(set("class_uid", nil), set("activity_id", nil)),
		all(set("class_uid", nil), set("activity_id", nil), set("type_uid", "300201")),
		all(set("class_uid", nil), set("type_uid", nil), set("class_name", "authentication")),
	} {
		if e := signIn(t, change); e.Source.Category != "Authentication: Logon" {
			t.Errorf("category %q", e.Source.Category)
		}
	}
	if text := failure(t, all(set("class_uid", nil), set("type_uid", nil))); !strings.Contains(text, "class_uid: is missing") {
		t.Error(text)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	text := failure(t, all(set("time", nil), set("user", object{})))
	for _, part := range []string{"time: is missing", "user: is missing"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
	if text := failure(t, set("time", "soon")); !strings.Contains(text, `time: "soon"`) {
		t.Error(text)
	}
	if e := signIn(t, all(set("time", nil), set("time_dt", "2026-03-04T08:15:35.1234567Z"))); e.Time != 1772612135123 {
		t.Errorf("time %v", e.Time)
	}
}

// A record without an id is the same record whenever it comes again, and no other.
func TestRecordsWithoutAnID(t *testing.T) {
	t.Parallel()
	bare := set("metadata.uid", nil)
	a, b := signIn(t, bare), signIn(t, bare)
	other := signIn(t, bare, set("time", int64(1772612135124)))
	if a.Source.ID == "" || a.Source.ID != b.Source.ID || a.Source.ID == other.Source.ID {
		t.Errorf("ids %q, %q, %q", a.Source.ID, b.Source.ID, other.Source.ID)
	}
	long := signIn(t, set("metadata.uid", strings.Repeat("x", 5000)), set("session.uid", strings.Repeat("y", 5000)), set("user", object{"name": strings.Repeat("Z", 5000)}))
	if len(long.Source.ID) > events.MaxID || len(long.Session.ID) > events.MaxID || len(long.User.ID) > events.MaxID {
		t.Errorf("ids of %d, %d and %d bytes", len(long.Source.ID), len(long.Session.ID), len(long.User.ID))
	}
}

func TestTenant(t *testing.T) {
	t.Parallel()
	if e := signIn(t, set("metadata.tenant_uid", nil), set("cloud", object{"account": object{"uid": "111122223333"}})); e.Tenant != "111122223333" {
		t.Errorf("tenant %q", e.Tenant)
	}
	if e := signIn(t, set("metadata.tenant_uid", "C0Example")); e.Tenant != "C0Example" {
		t.Errorf("tenant %q: only GUIDs have no case", e.Tenant)
	}
	if e := signIn(t, set("metadata.tenant_uid", nil)); e.Tenant != "" {
		t.Errorf("tenant %q, the record does not say", e.Tenant)
	}
}

func TestT6_T9_NumbersInEveryForm(t *testing.T) {
	t.Parallel()
	want := signIn(t)
	got := signIn(t, set("class_uid", "3002"), set("activity_id", "1"), set("status_id", "1"), set("time", "1772612135123"),
		set("auth_protocol_id", "6"), set("src_endpoint.autonomous_system.number", "64503"), set("metadata.logged_time", "1772612275104"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if e := signIn(t, set("metadata.uid", json.Number("9007199254740993"))); e.Source.ID != "9007199254740993" {
		t.Errorf("id %q: a large number keeps its digits", e.Source.ID)
	}
}

func TestT10_Places(t *testing.T) {
	t.Parallel()
	where := func(location any) events.Place {
		return signIn(t, set("src_endpoint.location", location)).ProviderPlace
	}
	for name, c := range map[string]struct {
		location any
		want     events.Place
	}{
		"absent": {nil, events.Place{}}, "empty": {object{}, events.Place{}},
		"null island":         {object{"city": "Utrecht", "country": "nl", "lat": 0.0, "long": 0.0}, events.Place{City: "Utrecht", Country: "NL"}},
		"centroid":            {object{"country": "NL", "lat": 52.13, "long": 5.29}, events.Place{Country: "NL"}},
		"country's name":      {object{"country": "Netherlands", "city": "Utrecht"}, events.Place{City: "Utrecht"}},
		"nowhere":             {object{"city": "Utrecht", "lat": 252.0, "long": 5.1}, events.Place{City: "Utrecht"}},
		"no number":           {object{"city": "Utrecht", "lat": "NaN", "long": "NaN"}, events.Place{City: "Utrecht"}},
		"longitude first":     {object{"city": "Utrecht", "coordinates": []any{5.12, 52.09}}, events.Place{City: "Utrecht", Lat: 52.09, Lon: 5.12}},
		"three of them":       {object{"city": "Utrecht", "coordinates": []any{5.12, 52.09, 7}}, events.Place{City: "Utrecht"}},
		"all hidden":          {object{"city": "-", "country": "unknown", "region": ""}, events.Place{}},
		"both, lat and long":  {object{"city": "U", "lat": 1.5, "long": 2.5, "coordinates": []any{5.12, 52.09}}, events.Place{City: "U", Lat: 1.5, Lon: 2.5}},
		"a text in its place": {"Utrecht", events.Place{}},
	} {
		if diff := cmp.Diff(c.want, where(c.location)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestT11_AbsentIsNotFalse(t *testing.T) {
	t.Parallel()
	e := signIn(t, set("device", object{"os": object{}}), set("is_mfa", nil))
	if e.Device.Managed != events.Unknown || e.Device.Compliant != events.Unknown || e.Auth.MFA != "" || e.Auth.Strength != "" {
		t.Errorf("%+v %+v", e.Device, e.Auth)
	}
	if e := signIn(t, set("device.is_compliant", false)); e.Device.Compliant != events.No {
		t.Error("an explicit false is false")
	}
}

func TestT14_UnknownNumbersAreNotErrors(t *testing.T) {
	t.Parallel()
	e := signIn(t, as(42), set("status_id", 77), set("auth_protocol_id", 99), set("auth_protocol", "Magic Link"),
		set("auth_factors", []any{object{"factor_type_id": 99, "factor_type": "Telepathy"}, object{"factor_type_id": 0}}), set("risk_level_id", 12))
	if e.Kind != events.SignIn || e.Outcome != "" || e.Auth.Protocol != "magic link" || !slices.Equal(e.Auth.Methods, []string{"telepathy"}) || e.Risk.IsDefined() {
		t.Errorf("%+v", e)
	}
}

func TestT25_Addresses(t *testing.T) {
	t.Parallel()
	for raw, want := range map[any][2]string{
		"-": {}, "": {}, "AWS Internal": {"", "AWS Internal"}, "192.0.2.1:443": {"192.0.2.1", ""},
		"[2001:db8::1]:443": {"2001:db8::1", ""}, "::ffff:192.0.2.1": {"192.0.2.1", ""}, "2001:0DB8:0:0:0:0:0:1": {"2001:db8::1", ""},
		"fe80::1%eth0": {"fe80::1", ""}, "signin.amazonaws.com": {"", "signin.amazonaws.com"},
	} {
		e := signIn(t, set("src_endpoint.ip", raw), set("src_endpoint.intermediate_ips", []any{"198.51.100.1"}))
		if e.IP != want[0] || e.AddressText != want[1] {
			t.Errorf("%v: ip %q, text %q", raw, e.IP, e.AddressText)
		}
	}
}

func TestT38_SessionUnknown(t *testing.T) {
	t.Parallel()
	for _, id := range []any{"unknown", "", nil, "-", "00000000-0000-0000-0000-000000000000"} {
		if e := signIn(t, set("session.uid", id)); e.Session.ID != "" {
			t.Errorf("%v is session %q", id, e.Session.ID)
		}
	}
	e := signIn(t, set("session", object{"credential_uid": "cred-1"}), set("actor", object{"session": object{"uid": "s-2"}}))
	if e.Session.ID != "s-2" || e.Session.Token != "cred-1" {
		t.Errorf("%+v", e.Session)
	}
	e = signIn(t, set("authentication_token", object{"uid": "tok-1", "type_id": 4}))
	if e.Session.Token != "tok-1" || e.Session.TokenType != "refresh_token" {
		t.Errorf("%+v", e.Session)
	}
}

func TestT47_HostileTexts(t *testing.T) {
	t.Parallel()
	e := signIn(t, set("http_request.user_agent", strings.Repeat("A\x00\x1b", 5000)), set("user.name", "\u202e\x07bob"), set("service.name", strings.Repeat("é", 4000)))
	if len(e.UserAgent) > events.MaxText || strings.ContainsAny(e.UserAgent+e.User.Name, "\x00\x1b\x07") || len(e.App.Name) > events.MaxName {
		t.Errorf("%q", e.User.Name)
	}
}
