package ecs

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

const (
	userID   = "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315"
	recordID = "1e2d3c4b-5a69-4788-9a7b-6c5d4e3f2a10"
)

type object = map[string]any

// document is a sign-in in flat form: dotted names to values. change edits it.
func document(change func(object)) object {
	o := object{
		"@timestamp": "2026-03-04T08:15:35.123Z", "event.kind": "event", "event.category": []any{"authentication"}, "event.type": []any{"start"},
		"event.action": "sign-in", "event.outcome": "success", "event.id": recordID, "event.dataset": "example.auth",
		"event.created": "2026-03-04T08:17:55.104Z", "event.ingested": "2026-03-04T08:18:00Z", "event.original": `{"user":{"id":"somebody else"}}`,
		"organization.id": "acme", "user.id": userID, "user.name": "u-5b9e", "user.email": "u@example.com",
		"source.ip": "2001:db8:30::80", "source.as.number": 64503, "source.as.organization.name": "EXAMPLE-AS",
		"source.geo.country_iso_code": "NL", "source.geo.city_name": "Utrecht", "source.geo.region_iso_code": "NL-UT",
		"source.geo.location.lat": 52.09, "source.geo.location.lon": 5.12,
		"service.id": "svc-1", "service.name": "Example Portal", "device.id": "d-1",
		"user_agent.original": "Mozilla/5.0 Example/1.0", "user_agent.name": "Firefox", "user_agent.version": "131.0", "user_agent.os.name": "Linux",
		"related.ip": []any{"2001:db8:30::80", "192.0.2.9"}, "related.user": []any{"somebody else"},
	}
	if change != nil {
		change(o)
	}
	return o
}

func set(field string, value any) func(object) {
	return func(o object) { o[field] = value }
}

func all(changes ...func(object)) func(object) {
	return func(o object) {
		for _, change := range changes {
			change(o)
		}
	}
}

// nested writes dotted names as objects in objects.
func nested(flat object) object {
	out := object{}
	for name, value := range flat {
		at, keys := out, strings.Split(name, ".")
		for _, key := range keys[:len(keys)-1] {
			inner, ok := at[key].(object)
			if !ok {
				inner = object{}
				at[key] = inner
			}
			at = inner
		}
		at[keys[len(keys)-1]] = value
	}
	return out
}

func write(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
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

func decodeAll(value string) (out []result) {
	Documents().Decode([]byte(value), func(record []byte, e *events.Event, err error) {
		r := result{record: string(record), err: err}
		if e != nil {
			kept := *e
			r.event = &kept
		}
		out = append(out, r)
	})
	return out
}

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

// of decodes the nested form of a changed document.
func of(t testing.TB, changes ...func(object)) *events.Event {
	t.Helper()
	return one(t, write(t, nested(document(all(changes...)))))
}

func wantEvent() *events.Event {
	return &events.Event{
		Kind: events.SignIn, Tenant: "acme", User: events.User{ID: userID, Name: "u-5b9e"}, Time: 1772612135123, Emitted: 1772612275104,
		Source:  events.Source{Family: "ecs", ID: recordID, Category: "sign-in"},
		Outcome: events.Success, App: events.Ref{ID: "svc-1", Name: "Example Portal"},
		IP: "2001:db8:30::80", Network: events.Network{ASN: 64503, Org: "EXAMPLE-AS"},
		ProviderPlace: events.Place{Lat: 52.09, Lon: 5.12, City: "Utrecht", Region: "NL-UT", Country: "NL"},
		Device:        events.Device{ID: "d-1", OS: "Linux", Browser: "Firefox 131.0"}, UserAgent: "Mozilla/5.0 Example/1.0",
	}
}

func TestNestedDottedAndMixedKeys(t *testing.T) {
	t.Parallel()
	flat := document(nil)
	half := nested(document(func(o object) {
		for name := range o {
			if strings.HasPrefix(name, "source.") || strings.HasPrefix(name, "event.") {
				delete(o, name)
			}
		}
	}))
	for name, value := range flat {
		if strings.HasPrefix(name, "event.") {
			half[name] = value
		}
	}
	half["source"] = object{
		"ip": flat["source.ip"], "as.number": 64503, "as": object{"organization.name": "EXAMPLE-AS"},
		"geo.city_name": "Utrecht", "geo": object{"country_iso_code": "NL", "region_iso_code": "NL-UT", "location.lat": 52.09, "location": object{"lon": 5.12}},
	}
	for name, form := range map[string]object{"nested": nested(flat), "dotted": flat, "mixed": half} {
		if diff := cmp.Diff(wantEvent(), one(t, write(t, form))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Every value may be in an array, and every value that is usually in one may be alone.
func TestArraysAndScalarsAnywhere(t *testing.T) {
	t.Parallel()
	listed := document(nil)
	for name, value := range listed {
		if _, list := value.([]any); !list {
			listed[name] = []any{value}
		}
	}
	alone := document(all(set("event.category", "authentication"), set("event.type", "start")))
	for name, form := range map[string]object{
		"listed, nested": nested(listed), "listed, dotted": listed, "alone": nested(alone), "objects in arrays": {
			"@timestamp": "2026-03-04T08:15:35.123Z", "event": []any{nested(alone)["event"]}, "organization": []any{object{"id": "acme"}},
			"user": []any{nested(alone)["user"], object{"id": "another"}}, "source": []any{nested(alone)["source"]}, "service": nested(alone)["service"],
			"device": nested(alone)["device"], "user_agent": nested(alone)["user_agent"],
		},
	} {
		if diff := cmp.Diff(wantEvent(), one(t, write(t, form))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	e := of(t, set("source.ip", []any{"-", nil, "192.0.2.7", "192.0.2.8"}))
	if e.IP != "192.0.2.7" {
		t.Errorf("ip %q, want the first that says something", e.IP)
	}
}

// The document of the reference, as it stands there.
func TestFailure(t *testing.T) {
	t.Parallel()
	e := one(t, `{"@timestamp":"2026-03-04T08:15:35.123Z","event":{"kind":"event","category":["authentication"],"type":["start"],"action":"sign-in","outcome":"failure","reason":"InvalidUserNameOrPassword","code":"50126","id":"1e2d3c4b-5a69-4788-9a7b-6c5d4e3f2a10"},
	 "user":{"id":"5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315"},"source":{"ip":"2001:db8:30::80","as":{"number":64503},"geo":{"country_iso_code":"NL","location":{"lat":52.09,"lon":5.12}}},"user_agent":{"original":"Mozilla/5.0 Example/1.0"},"related":{"ip":["2001:db8:30::80"]}}`)
	want := &events.Event{
		Kind: events.SignIn, User: events.User{ID: userID}, Time: 1772612135123, Source: events.Source{Family: "ecs", ID: recordID, Category: "sign-in"},
		Outcome: events.Failure, Code: "50126", Reason: "InvalidUserNameOrPassword", Cause: events.BadPassword, IP: "2001:db8:30::80", Network: events.Network{ASN: 64503},
		ProviderPlace: events.Place{Country: "NL"}, UserAgent: "Mozilla/5.0 Example/1.0",
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
}

func TestSearchHits(t *testing.T) {
	t.Parallel()
	source := nested(document(set("event.id", nil)))
	hit := object{"_index": "logs-example", "_id": "hit-1", "_score": 1.5, "_source": source}
	search := object{"took": 3, "timed_out": false, "hits": object{"total": object{"value": 2}, "hits": []any{hit, hit}}}
	fields := object{}
	for name, value := range document(set("event.id", nil)) {
		if list, ok := value.([]any); ok {
			fields[name] = list
		} else {
			fields[name] = []any{value}
		}
	}
	delete(fields, "source.geo.location.lat")
	delete(fields, "source.geo.location.lon")
	fields["source.geo.location"] = []any{object{"type": "Point", "coordinates": []any{5.12, 52.09}}}
	want := wantEvent()
	want.Source.ID = "hit-1"
	for name, c := range map[string]struct {
		value any
		want  int
	}{
		"search": {search, 2}, "hit": {hit, 1}, "array of hits": {[]any{hit}, 1},
		"fields": {object{"_index": "logs-example", "_id": "hit-1", "fields": fields}, 1},
	} {
		got := decodeAll(write(t, c.value))
		if len(got) != c.want {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		for _, r := range got {
			if r.err != nil {
				t.Errorf("%s: %v", name, r.err)
			} else if diff := cmp.Diff(want, r.event); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
	// What is called fields in a document is its owner's, and none of ours.
	own := nested(document(nil))
	own["fields"] = object{"user": object{"id": "somebody else"}, "event.outcome": "failure"}
	delete(own, "user")
	own["user"] = object{"id": userID, "name": "u-5b9e"}
	if diff := cmp.Diff(wantEvent(), one(t, write(t, own))); diff != "" {
		t.Errorf("a document's own fields: %s", diff)
	}
	if e := one(t, write(t, object{"_id": "hit-1", "_source": nested(document(nil))})); e.Source.ID != recordID {
		t.Errorf("id %q: the event's own comes first", e.Source.ID)
	}
}

func TestBulkActionLinesAreLeftOut(t *testing.T) {
	t.Parallel()
	for _, line := range []string{`{"index":{"_index":"logs","_id":"1"}}`, `{"create":{}}`, `{"delete":{"_id":"1"}}`, `{"update":{"_id":"1"}}`} {
		got := decodeAll(line)
		var skipped *foreign.Skipped
		if len(got) != 1 || !errors.As(got[0].err, &skipped) || skipped.Reason != "bulk_action" {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

func TestOtherCategoriesAreLeftOut(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(object){
		"network":            set("event.category", "network"),
		"none":               set("event.category", nil),
		"alert":              set("event.kind", "alert"),
		"session begins":     all(set("event.category", "session"), set("event.type", "start")),
		"special privileges": all(set("event.category", "iam"), set("event.type", "admin")),
		"new group":          all(set("event.category", "iam"), set("event.type", []any{"group", "creation"}), set("event.action", "added-group-account")),
		"profile":            all(set("event.category", "iam"), set("event.type", []any{"user", "change"}), set("event.action", "user.account.update_profile")),
	} {
		got := decodeAll(write(t, nested(document(change))))
		var skipped *foreign.Skipped
		if len(got) != 1 || !errors.As(got[0].err, &skipped) || skipped.Reason != "category" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	for value, parts := range map[string][]string{
		`{}`: {"@timestamp: is missing", "event.category: is missing"},
		`{"event":{"category":"authentication"}}`:                     {"@timestamp: is missing", "user: is missing"},
		`{"@timestamp":"soon","event.category":"authentication"}`:     {`@timestamp: "soon"`, "user: is missing"},
		`{"@timestamp":"2026-03-04T08:15:35Z","event":{"category":"a`: {"is no JSON"},
	} {
		got := decodeAll(value)
		if len(got) != 1 || got[0].err == nil {
			t.Errorf("%s: %+v", value, got)
			continue
		}
		for _, part := range parts {
			if !strings.Contains(got[0].err.Error(), part) {
				t.Errorf("%s: %v, want %q", value, got[0].err, part)
			}
		}
	}
}

func TestDocumentsWithoutAnID(t *testing.T) {
	t.Parallel()
	bare := set("event.id", nil)
	a, b, other := of(t, bare), of(t, bare), of(t, bare, set("log.offset", 7))
	if a.Source.ID == "" || a.Source.ID != b.Source.ID || a.Source.ID == other.Source.ID {
		t.Errorf("ids %q, %q, %q", a.Source.ID, b.Source.ID, other.Source.ID)
	}
	long := strings.Repeat("X", 5000)
	e := of(t, set("event.id", long), set("user.id", long), set("session.id", long), set("service.id", long), set("device.id", long)) // of validates
	if e.Source.ID == long || e.Session.ID == long {
		t.Error("ids are bounded")
	}
}

func TestT1ToT6_TimesInEveryForm(t *testing.T) {
	t.Parallel()
	for text, want := range map[any]string{
		"2026-03-04T08:17:55.1043377Z": "2026-03-04T08:17:55.104Z", "2026-03-04T03:17:55-05:00": "2026-03-04T08:17:55.000Z",
		"2026-03-04 08:17:55.104": "2026-03-04T08:17:55.104Z", "2026-03-04T08:15:35": "2026-03-04T08:15:35.000Z",
		int64(1772612135123): "2026-03-04T08:15:35.123Z",
	} {
		if e := of(t, set("@timestamp", text), set("event.created", nil), set("event.ingested", text)); e.Time.String() != want || e.Emitted.String() != want {
			t.Errorf("%v: happened %v, emitted %v, want %v", text, e.Time, e.Emitted, want)
		}
	}
}

func TestT10_Places(t *testing.T) {
	t.Parallel()
	utrecht := events.Place{City: "Utrecht", Region: "NL-UT", Country: "NL", Lat: 52.09, Lon: 5.12}
	bare := events.Place{City: "Utrecht", Region: "NL-UT", Country: "NL"}
	for name, c := range map[string]struct {
		location any
		want     events.Place
	}{
		"object":          {object{"lat": 52.09, "lon": 5.12}, utrecht},
		"in quotes":       {object{"lat": "52.09", "lon": "5.12"}, utrecht},
		"text":            {"52.09, 5.12", utrecht},
		"longitude first": {[]any{5.12, 52.09}, utrecht},
		"well-known text": {"POINT (5.12 52.09)", utrecht},
		"GeoJSON":         {object{"type": "Point", "coordinates": []any{5.12, 52.09}}, utrecht},
		"in an array":     {[]any{object{"lat": 52.09, "lon": 5.12}}, utrecht},
		"texts in one":    {[]any{"52.09,5.12"}, utrecht},
		"null island":     {object{"lat": 0, "lon": 0}, bare},
		"a geohash":       {"u178ke7", bare},
		"out of range":    {object{"lat": 152.09, "lon": 5.12}, bare},
		"no numbers":      {object{"lat": "NaN", "lon": "Inf"}, bare},
		"half":            {object{"lat": 52.09}, bare},
		"three":           {[]any{5.12, 52.09, 1}, bare},
		"absent":          {nil, bare},
	} {
		e := of(t, func(o object) {
			delete(o, "source.geo.location.lat")
			delete(o, "source.geo.location.lon")
			o["source.geo.location"] = c.location
		})
		if diff := cmp.Diff(c.want, e.ProviderPlace); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if e := of(t, set("source.geo.city_name", nil), set("source.geo.country_iso_code", "Netherlands")); e.ProviderPlace.Located() || e.ProviderPlace.Country != "" {
		t.Errorf("%+v: the middle of a country, or its name, is no place", e.ProviderPlace)
	}
}

func TestT25_Addresses(t *testing.T) {
	t.Parallel()
	client := all(set("client.ip", "198.51.100.4"), set("client.as.number", 64510), set("client.geo.country_iso_code", "BE"))
	for raw, want := range map[string][2]string{
		"-": {"198.51.100.4", ""}, "": {"198.51.100.4", ""}, "192.0.2.1:443": {"192.0.2.1", ""}, "::ffff:192.0.2.1": {"192.0.2.1", ""},
		"[2001:db8::1]:443": {"2001:db8::1", ""}, "mail.example.com": {"", "mail.example.com"},
	} {
		e := of(t, set("source.ip", raw), client)
		if e.IP != want[0] || e.AddressText != want[1] {
			t.Errorf("%q: ip %q, text %q", raw, e.IP, e.AddressText)
		}
		if fromClient := e.IP == "198.51.100.4"; fromClient != (e.Network.ASN == 64510) || fromClient != (e.ProviderPlace.Country == "BE") {
			t.Errorf("%q: address of one side, AS%d and %q of the other", raw, e.Network.ASN, e.ProviderPlace.Country)
		}
	}
	if e := of(t, set("source.ip", nil), set("source.address", "192.0.2.77")); e.IP != "192.0.2.77" {
		t.Errorf("ip %q", e.IP)
	}
}

// With a collector the host is the one that it runs on, for every user the same.
func TestCollectorsHostIsNotTheDevice(t *testing.T) {
	t.Parallel()
	bare := all(set("user_agent.os.name", nil), set("host.os.name", "Ubuntu"))
	if e := of(t, bare, set("agent.type", "filebeat")); e.Device.OS != "" {
		t.Errorf("OS %q of the collector", e.Device.OS)
	}
	if e := of(t, bare); e.Device.OS != "Ubuntu" {
		t.Errorf("OS %q", e.Device.OS)
	}
}

func TestT47_HostileTexts(t *testing.T) {
	t.Parallel()
	e := of(t, set("user_agent.original", strings.Repeat("A\x00\x1b", 5000)), set("user.name", "\x07bob"), set("event.action", strings.Repeat("é", 4000)))
	if len(e.UserAgent) > events.MaxText || strings.ContainsAny(e.UserAgent+e.User.Name, "\x00\x1b\x07") || len(e.Source.Category) > events.MaxName {
		t.Errorf("%q", e.User.Name)
	}
	many := make([]any, 10000)
	for i := range many {
		many[i] = fmt.Sprint("type", i)
	}
	many[0] = "start"
	if e := of(t, set("event.type", many), set("event.category", append([]any{"authentication"}, many...))); e.Kind != events.SignIn {
		t.Errorf("%+v", e)
	}
	deep := strings.Repeat(`{"user":`, 5000) + `"x"` + strings.Repeat("}", 5000)
	if got := decodeAll(deep); len(got) != 1 || got[0].err == nil {
		t.Errorf("%d results", len(got))
	}
}

func TestTenant(t *testing.T) {
	t.Parallel()
	if e := of(t, set("organization.id", nil), set("cloud.account.id", "0F6C2B1E-3A57-4D0C-9D5E-7B1A2C4D6E80")); e.Tenant != "0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80" {
		t.Errorf("tenant %q", e.Tenant)
	}
	if e := of(t, set("organization.id", nil)); e.Tenant != "" {
		t.Errorf("tenant %q, the document does not say", e.Tenant)
	}
}

func TestWho(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		id, name, email any
		want            events.User
	}{
		"id":                {strings.ToUpper(userID), "ada", nil, events.User{ID: userID, Name: "ada"}},
		"number":            {1000, "ada", nil, events.User{ID: "1000", Name: "ada"}},
		"mail for a name":   {"u1", nil, "ada@example.com", events.User{ID: "u1", Name: "ada@example.com"}},
		"T24, a name alone": {nil, "Ada", nil, events.User{ID: "name:ada", Name: "Ada", Type: events.Unresolved}},
		"a mail alone":      {"-", "", "Ada@Example.com", events.User{ID: "name:ada@example.com", Name: "Ada@Example.com", Type: events.Unresolved}},
		"a name nobody has": {"S-1-0-0", "Adda", nil, events.User{ID: "name:adda", Name: "Adda", Type: events.Unresolved}},
		"computer":          {"S-1-5-21-1-2-3-1104", "HOST-1$", nil, events.User{ID: "S-1-5-21-1-2-3-1104", Name: "HOST-1$", Type: events.Workload}},
		"system":            {"S-1-5-18", "SYSTEM", nil, events.User{ID: "S-1-5-18", Name: "SYSTEM", Type: events.Workload}},
	} {
		e := of(t, set("user.id", c.id), set("user.name", c.name), set("user.email", c.email))
		if diff := cmp.Diff(c.want, e.User); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func kinds(category string, types ...string) func(object) {
	return all(set("event.category", strings.Fields(category)), set("event.type", slices.Clone(types)))
}
