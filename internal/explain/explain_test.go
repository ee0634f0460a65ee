package explain_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/backtest"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/embedded/engine/enginetest"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/explain"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/report"
)

func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }

const policies = `version: 1
policies:
  - name: travel
    when: has_detection("LOC-01", high)
    then: {action: step_up, scope: user, acr_values: [mfa]}
  - name: payroll
    when: event.app.name == "Payroll" && max_severity >= high
    then: {action: notify}
`

var (
	dayZero    = events.MillisOf(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))
	everything = report.Scope{All: true}
	now        = dayZero + 60*events.Day
)

func rules(t *testing.T, text string) detector.Rules {
	t.Helper()
	config := anomaly.DefaultConfig()
	// What sums up would hold the way home against the user as well.
	config.Modes = map[string]anomaly.Mode{"FAM-01": anomaly.Off, "RSK-01": anomaly.Off}
	catalogue, err := anomaly.New(config)
	if err != nil {
		t.Fatal(err)
	}
	set, err := policy.Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return detector.Rules{Catalogue: catalogue, Policies: set}
}

func signIn(at events.Millis) *events.Event {
	source := fmt.Sprint(at)
	return &events.Event{
		ID: events.EventID("acme", "test", source), Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "u1", Name: "Ada"},
		Time: dayZero + at, Emitted: dayZero + at + 200, Ingested: dayZero + at + 500, Source: events.Source{Name: "test", Family: "test", ID: source},
		Outcome: events.Success, Interactive: events.Yes, App: events.Ref{ID: "mail", Name: "Mail"}, Session: events.Session{ID: "s-" + source},
		IP: "192.0.2.7", Network: events.Network{Prefix: "192.0.2.0/24", ASN: 64496, Org: "Home Net"},
		Place:     events.Place{Lat: 52.0907, Lon: 5.1214, City: "Utrecht", Country: "NL", RadiusKm: 20},
		Device:    events.Device{ID: "laptop", OS: "Windows", Browser: "Edge"},
		UserAgent: "Mozilla/5.0",
	}
}

// story is three weeks at home, a sign-in in Tokyo an hour after one at home, and the proof at home that answers for it.
func story() (list []*events.Event, tokyo, proof *events.Event) {
	for day := range events.Millis(22) {
		list = append(list, signIn(day*events.Day+8*events.Hour))
	}
	tokyo = signIn(21*events.Day + 9*events.Hour)
	tokyo.IP, tokyo.Network = "198.51.100.9", events.Network{Prefix: "198.51.100.0/24", ASN: 64510}
	tokyo.Place = events.Place{Lat: 35.6895, Lon: 139.6917, City: "Tokyo", Country: "JP", RadiusKm: 20}
	tokyo.Device = events.Device{OS: "Linux", Browser: "Chrome"}
	proof = signIn(21*events.Day + 14*events.Hour)
	proof.Session = tokyo.Session
	proof.Place, proof.IP, proof.Network, proof.Device = tokyo.Place, tokyo.IP, tokyo.Network, tokyo.Device
	proof.Auth = events.Auth{MFA: events.MFAPerformed, Strength: events.PhishingResistant, ACR: "phr"}
	return append(list, tokyo, proof), tokyo, proof
}

func write(t *testing.T, list []*events.Event) backtest.File {
	t.Helper()
	var b bytes.Buffer
	for _, e := range list {
		b.Write(append(events.Encode(e), '\n'))
	}
	path := filepath.Join(t.TempDir(), "events.ndjson")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return backtest.File{Path: path}
}

func text(t *testing.T, x *explain.Explanation) string {
	t.Helper()
	var b strings.Builder
	if err := x.WriteText(&b, true); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// decision checks what is known of the story.
func decision(t *testing.T, x *explain.Explanation, tokyo, proof *events.Event) {
	t.Helper()
	if x.Event == nil || x.Event.ID != tokyo.ID || x.Decision == nil || x.Decision.Policy != "travel" || x.Decision.Action != events.StepUp || !x.Current {
		t.Fatalf("decision %+v on %+v, current %v", x.Decision, x.Event, x.Current)
	}
	if q := x.Requirement; q == nil || q.Status != report.Satisfied || q.SatisfiedBy != proof.ID || len(x.ProvedBy) == 0 {
		t.Errorf("requirement %+v", q)
	}
	var answers []string
	for _, c := range x.Policies {
		answers = append(answers, c.Name+": "+string(c.Answer))
	}
	if diff := cmp.Diff([]string{"travel: matches", "payroll: no_match"}, answers); diff != "" {
		t.Errorf("policies (-want, +got)\n%s", diff)
	}
	out := text(t, x)
	for _, want := range []string{
		"EVENT " + tokyo.ID, "acme/u1, Ada", "Tokyo, JP (35.69 139.69 ± 20 km)", "AS64510 in 198.51.100.0/24", "500ms after it happened",
		"FINDING LOC-01 Impossible travel, high, active", "Utrecht, NL", "km less radii of", "in 1h0m0s: ", "considered against it", "min_km",
		"DECISION step_up, by policy travel", "* travel", "does not match", "when has_detection", "REQUIREMENT ", "satisfied", "PROVED BY " + proof.ID,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the text lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestDecisionIsMadeAnewFromEvents(t *testing.T) {
	t.Parallel()
	list, tokyo, proof := story()
	source, r := write(t, list), rules(t, policies)
	x, err := explain.FromEvents(t.Context(), source, explain.ID{Event: tokyo.ID}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	decision(t, x, tokyo, proof)
	var finding string
	for _, f := range x.Findings {
		if f.Finding.Detection == "LOC-01" {
			finding = f.Finding.ID
		}
	}
	for _, id := range []explain.ID{{Finding: finding}, {Requirement: x.Requirement.ID}} {
		again, err := explain.FromEvents(t.Context(), source, id, r, nil)
		if diff := cmp.Diff(x, again); err != nil || diff != "" {
			t.Errorf("%+v: %v\n%s", id, err, diff)
		}
	}
	if _, err := explain.FromEvents(t.Context(), source, explain.ID{Event: "none"}, r, nil); !errors.Is(err, report.ErrNotFound) {
		t.Errorf("an event that is not there: %v", err)
	}
	for _, id := range []explain.ID{{}, {Event: "a", Finding: "b"}} {
		if _, err := explain.FromEvents(t.Context(), source, id, r, nil); err == nil {
			t.Errorf("%+v is taken", id)
		}
	}
}

func TestNothingFoundIsSaid(t *testing.T) {
	t.Parallel()
	list, _, _ := story()
	x, err := explain.FromEvents(t.Context(), write(t, list), explain.ID{Event: list[20].ID}, rules(t, policies), nil)
	if err != nil || x.Decision != nil || len(x.Findings) != 0 || !strings.Contains(text(t, x), "NOTHING WAS FOUND") {
		t.Errorf("%v, %+v", err, x)
	}
}

// record writes what a detector would have to the history: an event a second, findings 40 ms later.
func record(t *testing.T, store *history.Store, r detector.Rules, list []*events.Event) {
	t.Helper()
	at := time.Now().Add(-time.Hour)
	engine := detector.NewEngine(r)
	eventRows, findingRows, requirementRows := history.NewEvents(), history.NewFindings(), history.NewRequirements()
	for _, e := range list {
		at = at.Add(time.Second)
		err := eventRows.Append(e, events.Encode(e), at)
		for _, d := range engine.Decide(e) {
			for i := range d.Outcome.Findings {
				f := &d.Outcome.Findings[i]
				err = errors.Join(err, findingRows.Append(f, events.Encode(f), at.Add(40*time.Millisecond)))
			}
			for i := range d.Outcome.Changes {
				c := &d.Outcome.Changes[i].Claims
				q := report.RequirementOf(c, c.Encode())
				err = errors.Join(err, requirementRows.Append(&q, at))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []*history.Block{&eventRows.Block, &findingRows.Block, &requirementRows.Block} {
		if err := store.Insert(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDecisionIsReadFromTheHistory(t *testing.T) {
	t.Parallel()
	store, r := historytest.Open(t), rules(t, policies)
	list, tokyo, proof := story()
	record(t, store, r, list)
	anew, err := explain.FromEvents(t.Context(), write(t, list), explain.ID{Event: tokyo.ID}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	receipts := history.NewReceipts()
	receipt := events.Receipt{
		ID: "r1", Time: anew.Requirement.NotBefore + 1500, Tenant: "acme", User: "u1", Requirement: anew.Requirement.ID, App: "bank", Status: events.Challenged,
	}
	if err := receipts.Append(&receipt, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := store.Insert(t.Context(), &receipts.Block); err != nil {
		t.Fatal(err)
	}

	x, err := explain.FromHistory(t.Context(), store, everything, explain.ID{Event: tokyo.ID}, r.Policies, now)
	if err != nil {
		t.Fatal(err)
	}
	decision(t, x, tokyo, proof)
	if diff := cmp.Diff(anew.Findings, x.Findings); diff != "" {
		t.Errorf("findings (-anew, +recorded)\n%s", diff)
	}
	if x.Times.Decided-x.Times.Logged != 40 || !strings.Contains(text(t, x), "40ms after it was on the log") {
		t.Errorf("times %+v", x.Times)
	}
	if len(x.Receipts) != 1 || !strings.Contains(text(t, x), "1.5s after it was opened") {
		t.Errorf("receipts %+v", x.Receipts)
	}
	for _, id := range []explain.ID{{Finding: x.Findings[0].Finding.ID}, {Requirement: x.Requirement.ID}} {
		again, err := explain.FromHistory(t.Context(), store, everything, id, r.Policies, now)
		if diff := cmp.Diff(x, again); err != nil || diff != "" {
			t.Errorf("%+v: %v\n%s", id, err, diff)
		}
	}
	if _, err := json.Marshal(x); err != nil {
		t.Error(err)
	}

	// Other policies than those that decided are told apart.
	other, err := explain.FromHistory(t.Context(), store, everything, explain.ID{Event: tokyo.ID}, policy.Default(), now)
	if err != nil || other.Current || len(other.Notes) == 0 {
		t.Errorf("%v, current %v, %v", err, other.Current, other.Notes)
	}
	// Another tenant's are not there, nor is what never was.
	for _, id := range []explain.ID{{Event: tokyo.ID}, {Finding: x.Findings[0].Finding.ID}, {Requirement: x.Requirement.ID}} {
		if _, err := explain.FromHistory(t.Context(), store, report.Scope{Tenants: []string{"globex"}}, id, r.Policies, now); !errors.Is(err, report.ErrNotFound) {
			t.Errorf("another tenant sees %+v: %v", id, err)
		}
	}
	for _, id := range []explain.ID{{Event: events.ID("x")}, {Event: "'; DROP TABLE events"}, {Finding: "x"}, {Requirement: "x"}} {
		if _, err := explain.FromHistory(t.Context(), store, everything, id, r.Policies, now); !errors.Is(err, report.ErrNotFound) {
			t.Errorf("%+v: %v", id, err)
		}
	}
}

func TestFindingsOutliveTheirEvent(t *testing.T) {
	t.Parallel()
	store, r := historytest.Open(t), rules(t, policies)
	list, tokyo, _ := story()
	engine := detector.NewEngine(r)
	rows := history.NewFindings()
	for _, e := range list {
		for _, d := range engine.Decide(e) {
			for i := range d.Outcome.Findings {
				if err := rows.Append(&d.Outcome.Findings[i], events.Encode(&d.Outcome.Findings[i]), time.Now()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := store.Insert(t.Context(), &rows.Block); err != nil {
		t.Fatal(err)
	}
	x, err := explain.FromHistory(t.Context(), store, everything, explain.ID{Event: tokyo.ID}, r.Policies, now)
	if err != nil || x.Event != nil || x.Sight == nil || x.Decision == nil || len(x.Notes) != 2 {
		t.Fatalf("%v, %+v", err, x)
	}
	if out := text(t, x); !strings.Contains(out, "EVENT "+tokyo.ID) || !strings.Contains(out, "Tokyo, JP") {
		t.Error(out)
	}
}

func TestTextIsHarmless(t *testing.T) {
	t.Parallel()
	const hostile = "\x1b[2J\x1b]0;owned\a\r\n\u202egnp.exe"
	list, tokyo, _ := story()
	x, err := explain.FromEvents(t.Context(), write(t, list), explain.ID{Event: tokyo.ID}, rules(t, policies), nil)
	if err != nil {
		t.Fatal(err)
	}
	before := strings.Count(text(t, x), "\n")
	for i := range x.Facts {
		x.Facts[i].Name += hostile
		x.Facts[i].Text += hostile
	}
	for _, f := range x.Findings {
		f.Finding.Title, f.Finding.Summary = hostile, hostile
		for i := range f.Evidence {
			f.Evidence[i].Text += hostile
		}
	}
	x.Decision.Policy, x.Decision.Reason, x.Requirement.Reason, x.Requirement.Session = hostile, hostile, hostile, hostile
	x.Receipts = []events.Receipt{{App: hostile}}
	x.Notes = []string{hostile}
	out := text(t, x)
	if strings.ContainsAny(out, "\x1b\a\r\u202e") {
		t.Errorf("%q", out)
	}
	if after := strings.Count(out, "\n"); after != before+3 { // a receipt, a note and the empty line before it
		t.Errorf("%d lines, %d without hostile text", after, before)
	}
}
