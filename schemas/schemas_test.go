package schemas

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mailru/easyjson"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/source/session"
	"github.com/countersign-io/countersign/internal/stream"
)

var update = flag.Bool("update", false, "write the golden messages; review them as text: they are what others read")

func compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	text, err := FS.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(name, document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func check(t *testing.T, schema *jsonschema.Schema, message []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(message))
	if err != nil {
		t.Fatalf("%v\n%s", err, message)
	}
	return schema.Validate(v)
}

// again decodes a message and encodes what came out.
var again = map[string]func([]byte) ([]byte, error){
	"event.v1.json":   recode(events.Decode),
	"finding.v1.json": recode(events.DecodeFinding),
	"receipt.v1.json": recode(events.DecodeReceipt),
	"sighting.v1.json": recode(func(b []byte) (*events.Sighting, error) {
		m := new(events.Sighting)
		return m, easyjson.Unmarshal(b, m)
	}),
	"deadletter.v1.json": recode(events.DecodeDeadLetter),
	"mark.v1.json":       recode(events.DecodeMark),
	"audit.v1.json":      recode(events.DecodeAudit),
	"revocation.v1.json": func(b []byte) ([]byte, error) {
		c, err := revocation.ParseClaims(b)
		return c.Encode(), err
	},
	// Reports are only read.
	"session.v1.json": func(b []byte) (same []byte, err error) {
		session.Reports().Decode(b, func(record []byte, e *events.Event, problem error) {
			if same, err = record, problem; err == nil && (e.Session.ID == "" || e.User.ID == "" || e.IP == "" || e.UserAgent == "" || e.App.ID == "") {
				err = fmt.Errorf("read as %s", events.Encode(e))
			}
		})
		return same, err
	},
}

func recode[T easyjson.Marshaler](decode func([]byte) (T, error)) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		v, err := decode(b)
		if err != nil {
			return nil, err
		}
		return events.Encode(v), nil
	}
}

// messages are the golden ones: file name without ".json" to schema and bytes.
func messages(t *testing.T) map[string]struct {
	schema string
	bytes  []byte
} {
	type message = struct {
		schema string
		bytes  []byte
	}
	sight := func(id, city, country string, lat, lon float64, at events.Millis) *events.Event {
		return &events.Event{
			ID: events.EventID("acme", "custom", id), Kind: events.SignIn, Tenant: "acme",
			User: events.User{ID: "u1", Name: "Ana Visser", Groups: []string{"staff"}, Privileged: events.No},
			Time: at, Emitted: at + 400, Ingested: at + 877,
			Source:  events.Source{Name: "push", Family: "custom", ID: id, Category: "interactive"},
			Outcome: events.Success, Code: "0", Reason: "ok", Interactive: events.Yes,
			App: events.Ref{ID: "a1", Name: "Portal"}, Resource: events.Ref{ID: "r1", Name: "Files"},
			Session: events.Session{ID: "s9", Token: "t1"}, IP: "192.0.2.10",
			Network: events.Network{
				Prefix: "192.0.2.0/24", ASN: 64500, Org: "Example", Classes: []events.Class{events.Mobile}, List: "carriers",
				Built: 1767139200000,
			},
			Place: events.Place{
				Lat: lat, Lon: lon, RadiusKm: 20, City: city, Country: country, Database: "example-city", Built: 1767139200000,
			},
			Device: events.Device{
				ID: "d1", Name: "ana-laptop", Managed: events.Yes, Compliant: events.Yes, OS: "Windows", Browser: "Edge",
				BrowserMajor: 131, Type: "desktop",
			},
			UserAgent: "Mozilla/5.0 (example)",
			Auth: events.Auth{
				MFA: events.MFAPerformed, Strength: events.MultiFactor, Methods: []string{"password", "push"}, Protocol: "oidc",
				ACR: "mfa", Time: at,
			},
		}
	}
	home := sight("s-1", "Utrecht", "NL", 52.09, 5.12, 1767222000000)
	away := sight("s-2", "Tokyo", "JP", 35.68, 139.65, 1767225599123)
	finding := events.Finding{
		ID:        events.FindingID("LOC-01", 1, "acme", "u1", away.ID, home.ID),
		Detection: "LOC-01", Version: 1, Title: "Impossible travel", Summary: "Utrecht to Tokyo, 9300 km in an hour.",
		Tenant: "acme", User: away.User, EventID: away.ID, Anchors: []string{home.ID}, Time: away.Time, Ingested: away.Ingested,
		Severity: events.High, Disposition: events.Active, Technique: "T1078.004",
		Evidence: events.Evidence{
			Sight: events.SightOf(away),
			Travel: &events.Travel{
				From: events.SightOf(home), To: events.SightOf(away), DistanceKm: 9300, RadiusFrom: 20, RadiusTo: 20,
				EffectiveKm: 9260, GapSeconds: 3599.1, SpeedKmh: 9262,
			},
			History: &events.History{FirstSeen: 1764547200000, Successes: 31},
		},
		Suppressions: []events.Suppression{{Rung: "mobile", Fact: "carrier hub", Effect: "none"}},
		Parameters:   []events.Parameter{{Name: "high_kmh", Value: 1000, Unit: "km/h"}},
	}
	out := map[string]message{
		"event": {"event.v1.json", events.Encode(away)},
		"session": {"session.v1.json", []byte(`{"id":"r-1","session":"s9","tenant":"acme","user":"u1","ip":"192.0.2.10",` +
			`"user_agent":"Mozilla/5.0 (example)","app":"bank","outcome":"success","time":"2026-01-01T00:00:00.000Z"}`)},
		"event-judged": {"event.v1.json", events.Encode(&events.Event{
			Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "sp-1", Type: events.Workload, HomeTenant: "globex"},
			Time: 1767225599123, Source: events.Source{Family: "entra", ID: "s-3"},
			Session: events.Session{ID: "s9", TokenType: "primary_refresh_token", Bound: events.Yes},
			Access: events.Access{
				Result:    events.AccessDenied,
				Policies:  []events.AccessPolicy{{ID: "p1", Name: "Require MFA", Result: "failure", Controls: []string{"mfa"}}},
				Locations: []string{"Head office"},
			},
			Risk: events.Risk{
				Level: events.RiskMedium, User: events.RiskHigh, State: events.RiskOpen, Detections: []string{"unfamiliarFeatures"},
				Detail: "none", SignIn: "s-1", Happened: 1767222000000,
			},
		})},
		"event-change": {"event.v1.json", events.Encode(&events.Event{
			Kind: events.AccountChange, Tenant: "acme", User: events.User{ID: "u1"}, Time: 1767225599123,
			Source: events.Source{Family: "entra", ID: "s-4"}, Outcome: events.Success,
			Change: events.Change{
				Type: events.ConsentChange, Action: events.Added, Target: events.Ref{ID: "a7", Name: "Mail helper"},
				Actor: events.Ref{ID: "u2", Name: "Bo Admin"}, Grants: []string{"Mail.Read"}, From: "none", To: "granted",
			},
		})},
		"event-minimal": {"event.v1.json", events.Encode(&events.Event{Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "u1"}, Time: 1767225599123, Source: events.Source{ID: "s-1"}})},
		"receipt": {"receipt.v1.json", events.Encode(&events.Receipt{
			ID: events.ID("receipt", "1"), Time: 1767225601000, Tenant: "acme", User: "u1", Session: "s9",
			Requirement: events.ID("requirement", "1"), JTI: events.ID("set", "1"), App: "bank", Status: events.Challenged,
		})},
		"sighting": {"sighting.v1.json", events.Encode(&events.Sighting{
			EventID: away.ID, Tenant: "acme", User: "u1", Kind: events.SignIn, Time: away.Time, Ingested: away.Ingested, Partition: 2, Offset: 17,
			Outcome: events.Success, IP: away.IP, Network: away.Network, Lat: 35.68, Lon: 139.65, Country: "JP", Device: away.Device,
			Agent: "00000000deadbeef", App: away.App, Protocol: "oidc", Adverse: true, Moved: true, Jumped: true, Scored: true, Score: 4.25,
			Class: "daily", Revoked: []string{"192.0.2.0/24"},
		})},
		"deadletter": {"deadletter.v1.json", events.Encode(&events.DeadLetter{
			ID: events.ID("deadletter", "1"), Time: 1767225601000, Source: "push", Stage: "ingest", Reason: "kind: is missing",
			Topic: events.TopicEvents, Partition: 3, Offset: 7, Line: 2, Bytes: []byte("{}"), Size: 2,
		})},
	}
	mark := events.Mark{
		Tenant: "acme", Finding: finding.ID, Detection: finding.Detection, User: "u1", Found: finding.Time, Verdict: events.TruePositive,
		Comment: "Ana was at home.\nHer password was in a leak.", Assignee: "Bo", By: "bo@example.com", Time: 1767226200000,
	}
	mark.ID = events.MarkID(&mark)
	entry := events.AuditEntry{
		Time: 1767226200000, Tenant: "acme", Actor: "bo@example.com", Via: events.ViaOIDC, Action: "finding.triage", Target: finding.ID,
		User: "u1", Detail: "true_positive", Outcome: events.AuditDone, Address: "192.0.2.77", Request: "r-17",
	}
	entry.ID = events.AuditID(&entry)
	for name, err := range map[string]error{"mark": mark.Validate(), "audit entry": entry.Validate()} {
		if err != nil {
			t.Fatalf("the %s: %v", name, err)
		}
	}
	out["mark"] = message{"mark.v1.json", events.Encode(&mark)}
	out["audit"] = message{"audit.v1.json", events.Encode(&entry)}
	// What the shipped policies of the first version decided, word for word: messages of that time stay readable for ever.
	decision := policy.Decision{
		Decision: events.Decision{
			Policy: "impossible-travel", Version: "1-894fd3c95302", Action: events.StepUp,
			Reason: "LOC-01 Impossible travel (high); policy impossible-travel v1: step_up",
		},
		Severity: events.High, ACRValues: []string{"phr", "mfa"}, TTL: 12 * events.Hour, Scope: policy.ScopeUser,
		Message: map[string]string{"en": "We noticed a sign-in from an unusual place. Please confirm it is you."},
	}
	ended := policy.Decision{
		Decision: events.Decision{
			Policy: "stolen-session", Version: "1-a0b4fb14b71f", Action: events.RevokeSession,
			Reason: "SES-01 Session used elsewhere (high); policy stolen-session v1: revoke_session",
		},
		Severity: events.High, ACRValues: []string{"phr", "mfa"}, TTL: 24 * events.Hour, Scope: policy.ScopeSession,
		Message: map[string]string{"en": "Your session was used from somewhere else. Please sign in again."},
	}
	step := revocation.NewState()
	fs := []events.Finding{finding}
	opened := step.Apply(away, fs, decision)
	proof := sight("s-3", "Tokyo", "JP", 35.68, 139.65, 1767225900000)
	proof.Auth.Strength, proof.Auth.ACR = events.PhishingResistant, "phr"
	satisfied := step.Apply(proof, nil, policy.Decision{})
	revoked := revocation.NewState()
	over := revoked.Apply(away, nil, ended)
	expired := revoked.Apply(sight("s-4", "Tokyo", "JP", 35.68, 139.65, 1767225599123+25*events.Hour), nil, policy.Decision{})
	all := revocation.NewState()
	ended.Policy, ended.Version, ended.Action, ended.Scope = "takeover", "1-0123456789ab", events.RevokeAll, policy.ScopeUser
	ended.CredentialChange, ended.Severity, ended.ACRValues = true, events.Critical, []string{"phr", "c1"}
	ended.Reason = "MFA-02 Approved after fatigue (critical); policy takeover v1: revoke_all"
	taken := all.Apply(away, nil, ended)
	if len(taken) != 1 || len(opened) != 1 || len(satisfied) != 1 || len(over) != 1 || len(expired) != 1 {
		t.Fatalf("%d opened, %d satisfied, %d revoked, %d expired", len(opened), len(satisfied), len(over), len(expired))
	}
	// The first messages had no name in them; one with all that was added since stands beside them.
	first := func(c revocation.Claims) []byte {
		c.UserName = ""
		return c.Encode()
	}
	named := opened[0].Claims
	named.NoncompliantDevice, named.Device = true, "d-7"
	out["finding"] = message{"finding.v1.json", events.Encode(&fs[0])}
	out["revocation-step-up-named"] = message{"revocation.v1.json", named.Encode()}
	out["revocation-step-up-open"] = message{"revocation.v1.json", first(opened[0].Claims)}
	out["revocation-step-up-satisfied"] = message{"revocation.v1.json", first(satisfied[0].Claims)}
	out["revocation-all-revoked-open"] = message{"revocation.v1.json", first(taken[0].Claims)}
	out["revocation-session-revoked-open"] = message{"revocation.v1.json", first(over[0].Claims)}
	out["revocation-session-revoked-expired"] = message{"revocation.v1.json", first(expired[0].Claims)}
	return out
}

// A golden message is what others have on disk and in their logs. It stays readable for ever, and is written the same.
func TestGoldenMessages(t *testing.T) {
	want := messages(t)
	for name, m := range want {
		path := filepath.Join("testdata", name+".v1.golden.json")
		if *update {
			if err := os.WriteFile(path, append(m.bytes, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v; -update writes it", err)
		}
		golden = bytes.TrimSpace(golden)
		if diff := cmp.Diff(string(m.bytes), string(golden)); diff != "" {
			t.Errorf("%s is written otherwise now (-got, +want)\n%s", name, diff)
		}
		if err := check(t, compile(t, m.schema), golden); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := again[m.schema](golden); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(string(got), string(golden)); diff != "" {
			t.Errorf("%s does not survive being read (-got, +want)\n%s", name, diff)
		}
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.golden.json"))
	if err != nil || len(files) != len(want) {
		t.Errorf("%d golden files for %d messages, %v", len(files), len(want), err)
	}
}

// What a whole simulated company does is in the form of the schema.
func TestEventsOfACompanyAreValid(t *testing.T) {
	schema := compile(t, "event.v1.json")
	cfg := company.DefaultConfig()
	cfg.Users, cfg.Days, cfg.QuietDays = 50, 3, 0
	n := 0
	for e := range company.New(cfg).Events() {
		if err := check(t, schema, events.Encode(&e)); err != nil {
			t.Fatalf("%v\n%s", err, events.Encode(&e))
		}
		n++
	}
	if n < 100 {
		t.Errorf("only %d events", n)
	}
}

func TestSchemasRefuse(t *testing.T) {
	for name, c := range map[string]struct{ schema, golden, from, to string }{
		"kind":         {"event.v1.json", "event", `"kind":"sign_in"`, `"kind":"dance"`},
		"time":         {"event.v1.json", "event", `"2025-12-31T23:59:59.123Z"`, `"yesterday"`},
		"tenant":       {"event.v1.json", "event", `"tenant":"acme"`, `"tenant":"a/b"`},
		"latitude":     {"event.v1.json", "event", `"lat":35.68`, `"lat":135.68`},
		"severity":     {"finding.v1.json", "finding", `"severity":"high"`, `"severity":"meh"`},
		"status":       {"revocation.v1.json", "revocation-step-up-open", `"status":"open"`, `"status":"ajar"`},
		"type of set":  {"revocation.v1.json", "revocation-step-up-open", "step-up-required", "step-down-required"},
		"subject":      {"revocation.v1.json", "revocation-step-up-open", `"format":"complex"`, `"format":"email"`},
		"receipt":      {"receipt.v1.json", "receipt", `"status":"challenged"`, `"status":"seen"`},
		"place on log": {"sighting.v1.json", "sighting", `"offset":17`, `"offset":-1`},
		"stage":        {"deadletter.v1.json", "deadletter", `"stage":"ingest"`, `"stage":"left"`},
		"verdict":      {"mark.v1.json", "mark", `"verdict":"true_positive"`, `"verdict":"perhaps"`},
		"action":       {"audit.v1.json", "audit", `"action":"finding.triage"`, `"action":"Finding triage"`},
	} {
		text := string(messages(t)[c.golden].bytes)
		broken := strings.Replace(text, c.from, c.to, 1)
		if broken == text {
			t.Errorf("%s: %s is not in\n%s", name, c.from, text)
		} else if check(t, compile(t, c.schema), []byte(broken)) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The Go types and the schemas list the same members: everything a type can write is in its schema, and nothing more.
func TestSchemasAndTypesListTheSameMembers(t *testing.T) {
	claims := func(action events.Action) []byte {
		var c revocation.Claims
		fill(reflect.ValueOf(&c).Elem())
		c.Action = action
		return c.Encode()
	}
	full := func(v easyjson.Marshaler) []byte {
		fill(reflect.ValueOf(v).Elem())
		return events.Encode(v)
	}
	for name, message := range map[string][][]byte{
		"event.v1.json":      {full(&events.Event{})},
		"finding.v1.json":    {full(&events.Finding{})},
		"receipt.v1.json":    {full(&events.Receipt{})},
		"deadletter.v1.json": {full(&events.DeadLetter{})},
		"sighting.v1.json":   {full(&events.Sighting{})},
		"mark.v1.json":       {full(&events.Mark{})},
		"audit.v1.json":      {full(&events.AuditEntry{})},
		"revocation.v1.json": {claims(events.StepUp), claims(events.RevokeSession), claims(events.RevokeAll)},
	} {
		got := map[string]bool{}
		for _, m := range message {
			var v any
			if err := json.Unmarshal(m, &v); err != nil {
				t.Fatal(err)
			}
			written(v, "", got)
		}
		text, err := FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var schema map[string]any
		if err := json.Unmarshal(text, &schema); err != nil {
			t.Fatal(err)
		}
		want := map[string]bool{}
		listed(schema, schema, "", want)
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s: members of the type and of the schema (-type, +schema)\n%s", name, diff)
		}
	}
	files, err := fs.Glob(FS, "*.v1.json")
	if err != nil || len(files) != len(again) {
		t.Errorf("%d schemas, %d are tested, %v", len(files), len(again), err)
	}
}

// fill gives every field a value that is not its zero value, so that all members are written.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("en"), reflect.ValueOf("x"))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Int, reflect.Int8, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8, reflect.Uint32:
		v.SetUint(1)
	default:
		panic(fmt.Sprint("no value for ", v.Type()))
	}
}

// written lists the members of a message by path. The keys of reasons are languages, no members.
func written(v any, path string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if strings.HasPrefix(path[strings.LastIndexByte(path, '.')+1:], "reason_") {
			return
		}
		for key, member := range v {
			into[path+"."+key] = true
			written(member, path+"."+key, into)
		}
	case []any:
		for _, element := range v {
			written(element, path, into)
		}
	}
}

// listed lists the members that a schema has properties for, by path.
func listed(root, schema map[string]any, path string, into map[string]bool) {
	if ref, ok := schema["$ref"].(string); ok {
		defs, _ := root["$defs"].(map[string]any)
		target, ok := defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		if !ok {
			panic("dangling " + ref)
		}
		listed(root, target, path, into)
		return
	}
	if items, ok := schema["items"].(map[string]any); ok {
		listed(root, items, path, into)
	}
	properties, _ := schema["properties"].(map[string]any)
	for key, member := range properties {
		into[path+"."+key] = true
		if m, ok := member.(map[string]any); ok {
			listed(root, m, path+"."+key, into)
		}
	}
	required, _ := schema["required"].([]any)
	for _, key := range required {
		if text, _ := key.(string); properties[text] == nil {
			panic(fmt.Sprintf("%s requires %v, which it does not list", path, key))
		}
	}
}

// The enumerations in the schemas are those of the code.
func TestSchemasAndTypesHaveTheSameValues(t *testing.T) {
	for name, want := range map[string][][]string{
		"event.v1.json": {
			texts(events.Kinds), texts(events.Outcomes), texts(events.MFAResults), texts(events.Strengths), texts(events.Classes),
			texts(events.UserTypes), texts(events.AccessResults), texts(events.RiskLevels), texts(events.RiskStates),
			texts(events.ChangeTypes), texts(events.ChangeActions),
		},
		"finding.v1.json":    {texts(events.Severities), texts(events.Actions), texts(events.Classes)},
		"mark.v1.json":       {texts(events.TriageVerdicts)},
		"audit.v1.json":      {texts(events.Vias), texts(events.AuditOutcomes)},
		"revocation.v1.json": {texts(revocation.Statuses), texts(events.Severities), texts(events.Actions[2:])},
	} {
		text, err := FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var schema any
		if err := json.Unmarshal(text, &schema); err != nil {
			t.Fatal(err)
		}
		have := enums(schema)
		for _, values := range want {
			if !slices.ContainsFunc(have, func(v []string) bool { return slices.Equal(v, values) }) {
				t.Errorf("%s: no enumeration %v", name, values)
			}
		}
	}
}

func texts[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = string(v)
	}
	return out
}

func enums(v any) (out [][]string) {
	switch v := v.(type) {
	case map[string]any:
		if list, ok := v["enum"].([]any); ok {
			var values []string
			for _, e := range list {
				text, _ := e.(string)
				values = append(values, text)
			}
			out = append(out, values)
		}
		for _, member := range v {
			out = append(out, enums(member)...)
		}
	case []any:
		for _, element := range v {
			out = append(out, enums(element)...)
		}
	}
	return out
}

// The examples of the balancer in the README are right.
func TestReadmeExamplesOfTheBalancer(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"acme/u1", "acme/u2", "acme/ana@example.com", "globex/00000000-0000-0000-0000-000000000001"} {
		row := fmt.Sprintf("| `%s` | %d | %d |", key, stream.PartitionFor([]byte(key), 8), stream.PartitionFor([]byte(key), 12))
		if !strings.Contains(string(readme), row) {
			t.Errorf("README.md has no row %s", row)
		}
	}
	for _, topic := range []string{
		events.TopicEvents, events.TopicState, events.TopicFindings, events.TopicRevocations, events.TopicReceipts, events.TopicDeadLetter,
		events.TopicMarks, events.TopicAudit,
	} {
		if !strings.Contains(string(readme), "`"+topic+"`") {
			t.Errorf("README.md does not name %s", topic)
		}
	}
}
