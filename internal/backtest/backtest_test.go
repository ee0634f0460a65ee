package backtest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/backtest"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
)

var (
	dayZero = events.MillisOf(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))
	utrecht = events.Place{Lat: 52.0907, Lon: 5.1214, City: "Utrecht", Country: "NL", RadiusKm: 20}
	tokyo   = events.Place{Lat: 35.6895, Lon: 139.6917, City: "Tokyo", Country: "JP", RadiusKm: 20}
)

// oldPolicies ask everybody who travels too fast for a proof. newPolicies end the session when it is about payroll, and
// tell somebody of u6, whom the old ones let go.
const (
	oldPolicies = `version: 1
policies:
  - name: travel
    when: has_detection("LOC-01", high)
    then: {action: step_up, scope: user, acr_values: [mfa]}
`
	newPolicies = `version: 1
policies:
  - name: payroll
    when: has_detection("LOC-01", high) && event.app.name == "Payroll"
    then: {action: revoke_session, scope: session}
  - name: country
    when: has_detection("LOC-04") && event.user.id == "u6"
    then: {action: notify}
  - name: watch
    mode: observe
    when: has_detection("LOC-01", high)
    then: {action: step_up, scope: user, acr_values: [mfa]}
`
)

func side(t *testing.T, name, text string) backtest.Side {
	t.Helper()
	catalogue, err := anomaly.New(anomaly.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	policies, err := policy.Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return backtest.Side{Name: name, Rules: detector.Rules{Catalogue: catalogue, Policies: policies}}
}

// signIn is a success at home; at are milliseconds since day zero.
func signIn(user string, at events.Millis) *events.Event {
	source := fmt.Sprintf("%s-%d", user, at)
	return &events.Event{
		ID: events.EventID("acme", "test", source), Kind: events.SignIn, Tenant: "acme",
		User: events.User{ID: user, Name: "Person " + user}, Time: dayZero + at, Source: events.Source{Family: "test", ID: source},
		Outcome: events.Success, Interactive: events.Yes, App: events.Ref{ID: "mail", Name: "Mail"},
		Session: events.Session{ID: "s-" + source}, IP: "192.0.2.7",
		Network: events.Network{Prefix: "192.0.2.0/24", ASN: 64496}, Place: utrecht,
		Device: events.Device{ID: "laptop-" + user, OS: "Windows", Browser: "Edge"},
	}
}

// abroad is the same from Tokyo, with another device.
func abroad(user string, at events.Millis, app string) *events.Event {
	e := signIn(user, at)
	e.IP, e.Network, e.Place = "198.51.100.9", events.Network{Prefix: "198.51.100.0/24", ASN: 64510}, tokyo
	e.Device, e.App = events.Device{OS: "Linux", Browser: "Chrome"}, events.Ref{ID: app, Name: app}
	return e
}

const travelDay = 21

// story is three weeks at home of six users. Then an hour after a sign-in at home u1 and u2 open Payroll in Tokyo, u3, u4
// and u5 open Mail there, and u6 does two days later.
func story() []*events.Event {
	var out []*events.Event
	for day := range events.Millis(travelDay + 1) {
		for n := range 6 {
			out = append(out, signIn(fmt.Sprintf("u%d", n+1), day*events.Day+8*events.Hour+events.Millis(n)*events.Minute))
		}
	}
	for n, app := range []string{"Payroll", "Payroll", "Mail", "Mail", "Mail"} {
		out = append(out, abroad(fmt.Sprintf("u%d", n+1), travelDay*events.Day+9*events.Hour+events.Millis(n)*events.Minute, app))
	}
	return append(out, abroad("u6", (travelDay+2)*events.Day+9*events.Hour, "Mail"))
}

func write(t *testing.T, lines ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events.ndjson")
	if err := os.WriteFile(path, append(bytes.Join(lines, []byte("\n")), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func encoded(list []*events.Event) [][]byte {
	var out [][]byte
	for _, e := range list {
		out = append(out, events.Encode(e))
	}
	return out
}

func options(t *testing.T) backtest.Options {
	t.Helper()
	baseline := side(t, "old.yaml", oldPolicies)
	return backtest.Options{New: side(t, "new.yaml", newPolicies), Baseline: &baseline}
}

func who(d backtest.Differences) (users []string) {
	for _, x := range d.First {
		users = append(users, fmt.Sprintf("%s: %v -> %v", x.User, x.Old, x.New))
	}
	return users
}

// checkStory compares a report with what is known of the story.
func checkStory(t *testing.T, r *backtest.Report) {
	t.Helper()
	for _, c := range []struct {
		what string
		got  backtest.Differences
		want []string
	}{
		{"only new", r.OnlyNew, []string{"u6: nothing -> notify (country)"}},
		{"only old", r.OnlyOld, []string{
			"u3: step_up (travel) -> step_up (watch, only watched)", "u4: step_up (travel) -> step_up (watch, only watched)",
			"u5: step_up (travel) -> step_up (watch, only watched)",
		}},
		{"changed", r.Changed, []string{
			"u1: step_up (travel) -> revoke_session (payroll)", "u2: step_up (travel) -> revoke_session (payroll)",
		}},
	} {
		if diff := cmp.Diff(c.want, who(c.got)); diff != "" || int(c.got.Count) != len(c.want) {
			t.Errorf("%s: %d, (-want, +got)\n%s", c.what, c.got.Count, diff)
		}
	}
	for _, d := range slices.Concat(r.OnlyNew.First, r.OnlyOld.First, r.Changed.First) {
		if !strings.Contains(d.Found(), "LOC-0") || strings.HasSuffix(d.Found(), ": ") {
			t.Errorf("%s: because of %q", d.EventID, d.Found())
		}
	}
	if want := (backtest.Pair{New: backtest.Counts{Notify: 1, RevokeSession: 2, Watched: 3}, Old: backtest.Counts{StepUp: 5}}); r.Total != want {
		t.Errorf("total %+v, want %+v", r.Total, want)
	}
	if r.Requirements.New.Opened != 2 || r.Requirements.Old.Opened != 5 {
		t.Errorf("requirements %+v", r.Requirements)
	}
}

func TestPoliciesDifferOnKnownEvents(t *testing.T) {
	t.Parallel()
	list := story()
	last := 0.0
	r, err := backtest.Run(t.Context(), backtest.File{Path: write(t, encoded(list)...)}, options(t), func(done float64) {
		if done < last || done > 1 {
			t.Errorf("progress from %v to %v", last, done)
		}
		last = done
	})
	if err != nil || last != 1 {
		t.Fatalf("%v, progress %v", err, last)
	}
	checkStory(t, r)
	if int(r.Events) != len(list) || r.Users != 6 || r.WarmUp != 0 || len(r.Days) != travelDay+3 {
		t.Errorf("%d events, %d users, %d warm-up, %d days", r.Events, r.Users, r.WarmUp, len(r.Days))
	}
	// Weeks 0 to 3 of all six users; five of these 24 have one step-up.
	if want := (backtest.Rate{UserWeeks: 24, Asked: 5, Mean: 5.0 / 24, P95: 1, Max: 1}); r.StepUps.Old != want {
		t.Errorf("step-ups %+v, want %+v", r.StepUps.Old, want)
	}
	if r.StepUps.New.Asked != 0 || r.StepUps.New.Max != 0 {
		t.Errorf("step-ups %+v", r.StepUps.New)
	}
	again, err := backtest.Run(t.Context(), backtest.File{Path: write(t, encoded(list)...)}, options(t), nil)
	if diff := cmp.Diff(r, again); err != nil || diff != "" {
		t.Errorf("the same input gives another report: %v\n%s", err, diff)
	}
}

func TestWarmUpIsNotReported(t *testing.T) {
	t.Parallel()
	path := write(t, encoded(story())...)
	o := options(t)
	o.From, o.To, o.WarmUp = dayZero+travelDay*events.Day, dayZero+(travelDay+2)*events.Day, 30*events.Day
	r, err := backtest.Run(t.Context(), backtest.File{Path: path}, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Events != 11 || r.WarmUp != 6*travelDay || r.Total.Old.StepUp != 5 || len(r.Days) != 1 || r.OnlyNew.Count != 0 {
		t.Errorf("%d events, %d warm-up, %+v, %d days, only new %v", r.Events, r.WarmUp, r.Total, len(r.Days), who(r.OnlyNew))
	}
	// Without it nobody is known, and who is not known is not judged.
	o.WarmUp = 0
	if r, err = backtest.Run(t.Context(), backtest.File{Path: path}, o, nil); err != nil || r.WarmUp != 0 || r.Total.Old.StepUp != 0 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestTenantIsKeptApart(t *testing.T) {
	t.Parallel()
	list := story()
	other := signIn("u1", 0)
	other.Tenant = "globex"
	o := options(t)
	o.Tenant = "globex"
	r, err := backtest.Run(t.Context(), backtest.File{Path: write(t, encoded(append(list, other))...)}, o, nil)
	if err != nil || r.Events != 1 || r.Users != 1 {
		t.Errorf("%v, %+v", err, r)
	}
	o.Tenant = "nobody"
	if _, err := backtest.Run(t.Context(), backtest.File{Path: write(t, encoded(list)...)}, o, nil); !errors.Is(err, backtest.ErrNoEvents) {
		t.Errorf("a tenant without events: %v", err)
	}
}

func TestBrokenLinesAreCountedAndLimited(t *testing.T) {
	t.Parallel()
	lines := encoded(story())
	long := append([]byte(`{"id":"`), bytes.Repeat([]byte("x"), 3<<20)...)
	lines = append([][]byte{[]byte(`{"kind":`), nil, long, []byte(`{"kind":"sign_in"}`)}, lines...)
	r, err := backtest.Run(t.Context(), backtest.File{Path: write(t, lines...)}, options(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkStory(t, r)
	var at []int
	for _, p := range r.Problems.First {
		at = append(at, p.Line)
	}
	if diff := cmp.Diff([]int{1, 3, 4}, at); diff != "" || r.Problems.Count != 3 {
		t.Errorf("%+v", r.Problems)
	}
	var out strings.Builder
	if err := r.WriteText(&out); err != nil || !strings.Contains(out.String(), "note: line 3: record is larger") {
		t.Errorf("%v\n%s", err, out.String())
	}
	junk := slices.Repeat([][]byte{[]byte("{}")}, 998)
	for _, c := range []struct {
		lines  [][]byte
		broken bool
	}{{append(junk[:997:997], lines...), false}, {append(junk, lines...), true}} {
		_, err := backtest.Run(t.Context(), backtest.File{Path: write(t, c.lines...)}, options(t), nil)
		if errors.Is(err, backtest.ErrBroken) != c.broken || c.broken && !strings.Contains(err.Error(), "line 1002: ") {
			t.Errorf("%d lines, %d of them broken: %v", len(c.lines), len(c.lines)-len(encoded(story())), err)
		}
	}
}

func TestGzipIsReadByItsContent(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	for _, line := range encoded(story()) {
		if _, err := zip.Write(append(line, '\n')); err != nil {
			t.Fatal(err)
		}
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "events")
	if err := os.WriteFile(path, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := backtest.Run(t.Context(), backtest.File{Path: path}, options(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkStory(t, r)
	if err := os.WriteFile(path, packed.Bytes()[:packed.Len()/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := backtest.Run(t.Context(), backtest.File{Path: path}, options(t), nil); err == nil {
		t.Error("half a file is taken for a whole one")
	}
}

func TestRepeatedEventsChangeNoDecision(t *testing.T) {
	t.Parallel()
	var twice [][]byte
	for _, line := range encoded(story()) {
		twice = append(twice, line, line)
	}
	r, err := backtest.Run(t.Context(), backtest.File{Path: write(t, twice...)}, options(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkStory(t, r)
}

func TestContextEndsARun(t *testing.T) {
	t.Parallel()
	path := write(t, encoded(story())...)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := backtest.Run(ctx, backtest.File{Path: path}, options(t), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*backtest.Options){
		"until: is":             func(o *backtest.Options) { o.From, o.To = dayZero, dayZero-1 },
		"at most 400 are":       func(o *backtest.Options) { o.From, o.To = dayZero, dayZero+401*events.Day },
		"warm-up: is 500 days":  func(o *backtest.Options) { o.WarmUp = 500 * events.Day },
		"tenant: is":            func(o *backtest.Options) { o.Tenant = "a/b" },
		"baseline: is missing,": func(o *backtest.Options) { o.Baseline = nil },
	} {
		o := options(t)
		change(&o)
		if _, err := backtest.Run(t.Context(), backtest.File{Path: "none"}, o, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestReportIsHarmless puts hostile text wherever an attacker may write.
func TestReportIsHarmless(t *testing.T) {
	t.Parallel()
	const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>` + "\x1b[2J\u202e{{.}}"
	list := story()
	for _, e := range list {
		e.User.Name, e.UserAgent, e.Resource.Name, e.Place.City, e.Network.Org = hostile, hostile, hostile, hostile, hostile
		e.Device.Browser = hostile
		if e.Place.Country == "JP" && e.App.Name != "Payroll" {
			e.App.Name = hostile
		}
	}
	o := options(t)
	o.New.Name = hostile
	r, err := backtest.Run(t.Context(), backtest.File{Path: write(t, encoded(list)...)}, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	// What comes by other ways than the file is not cleaned: the writers must stand on their own.
	r.OnlyNew.First[0].Name, r.OnlyNew.First[0].New.Summary, r.Problems = hostile, hostile, backtest.Problems{Count: 1, First: []backtest.Problem{{Error: hostile}}}
	r.Policies[0].Policy, r.Detections[0].Detection, r.ByUser[0].Name, r.ByUser[0].User = hostile, hostile, hostile, hostile
	var page, text bytes.Buffer
	if err := errors.Join(r.WriteHTML(&page), r.WriteText(&text)); err != nil {
		t.Fatal(err)
	}
	lower := strings.ToLower(page.String())
	for _, bad := range []string{"<script", "<img", "onerror=alert(1)>", "http:", "https:", "src=", "url(", "@import", "<link", "style=\"", "javascript:"} {
		if strings.Contains(strings.ReplaceAll(lower, "&lt;img src=x", ""), bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if !strings.Contains(lower, "&lt;script&gt;") || !strings.Contains(lower, "default-src &#39;none&#39;") {
		t.Error("the page does not show the text, or has no policy")
	}
	_, style, _ := strings.Cut(page.String(), "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	if !strings.Contains(html.UnescapeString(page.String()), "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Error("the policy does not allow the page's own style")
	}
	for _, bad := range []string{"\x1b", "\u202e"} {
		if strings.Contains(text.String(), bad) {
			t.Errorf("the text has %q", bad)
		}
	}
}

func TestReportIsJSON(t *testing.T) {
	t.Parallel()
	r, err := backtest.Run(t.Context(), backtest.File{Path: write(t, encoded(story())...)}, options(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back backtest.Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, &back); diff != "" {
		t.Errorf("(-written, +read)\n%s", diff)
	}
}

// TestBreakerHoldsAndAPersonResetsIt has twelve users who travel too fast within a minute, and one after the reset.
func TestBreakerHoldsAndAPersonResetsIt(t *testing.T) {
	t.Parallel()
	var list []*events.Event
	name := func(n int) string { return fmt.Sprintf("u%02d", n) }
	for day := range events.Millis(travelDay + 1) {
		for n := range 13 {
			list = append(list, signIn(name(n), day*events.Day+8*events.Hour+events.Millis(n)*events.Second))
		}
	}
	const nine = travelDay*events.Day + 9*events.Hour
	for n := range 12 {
		list = append(list, abroad(name(n), nine+events.Millis(n)*events.Second, "Mail"))
	}
	reset := &events.Event{
		ID: events.ID("reset"), Kind: events.NetworkVerdict, Tenant: "acme", User: events.User{ID: "-"}, Time: dayZero + nine + 10*events.Minute,
		Source: events.Source{ID: "reset"}, Verdict: &events.Verdict{Detection: policy.ResetDetection},
	}
	list = append(list, reset, abroad(name(12), nine+20*events.Minute, "Mail"))
	baseline := side(t, "old.yaml", oldPolicies)
	o := backtest.Options{New: side(t, "new.yaml", strings.Replace(oldPolicies, "version: 1", "version: 1\nbreaker: {per_minute: 1}", 1)), Baseline: &baseline}
	r, err := backtest.Run(t.Context(), backtest.File{Path: write(t, encoded(list)...)}, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	// A breaker lets five through whatever its limit is.
	if want := (backtest.Pair{New: backtest.Counts{StepUp: 6, Held: 7}, Old: backtest.Counts{StepUp: 13}}); r.Total != want {
		t.Errorf("total %+v, want %+v", r.Total, want)
	}
	if len(r.New.Trips) != 1 || len(r.Old.Trips) != 0 || r.OnlyOld.Count != 7 || r.Same != 6 {
		t.Errorf("trips %+v, only old %d, same %d", r.New.Trips, r.OnlyOld.Count, r.Same)
	}
	var out strings.Builder
	if err := r.WriteText(&out); err != nil || !strings.Contains(out.String(), "new: the breaker of tenant acme tripped at 2026-03-23T09:00:05.000Z") ||
		!strings.Contains(out.String(), "held by the breaker") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestPoliciesThatFailAreCounted(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.New = side(t, "new.yaml", `version: 1
policies:
  - {name: divide, when: '1 / (findings.size() - findings.size()) == 1', then: {action: notify}}
`)
	r, err := backtest.Run(t.Context(), backtest.File{Path: write(t, encoded(story())...)}, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.New.Problems) != 1 || r.New.Problems[0].Events < 6 || !strings.Contains(r.New.Problems[0].Problem, "division by zero") {
		t.Errorf("%+v", r.New.Problems)
	}
}

func TestTablesLeaveOutWhatIsNothing(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.New = side(t, "new.yaml", newPolicies+"  - {name: silent, when: 'event.app.id == \"nothing\"', then: {action: notify}}\n")
	r, err := backtest.Run(t.Context(), backtest.File{Path: write(t, encoded(story())...)}, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Policies, func(p backtest.PolicyLine) bool { return p.Policy == "silent" }) {
		t.Error("the report does not know the silent policy")
	}
	var text, page strings.Builder
	if err := errors.Join(r.WriteText(&text), r.WriteHTML(&page)); err != nil {
		t.Fatal(err)
	}
	_, tables, _ := strings.Cut(text.String(), "By policy")
	tables, _, _ = strings.Cut(tables, "By day")
	if strings.Contains(tables, "silent") || !strings.Contains(tables, "and 1 that decided nothing") || strings.Contains(tables, "  0  ") {
		t.Errorf("text\n%s", tables)
	}
	if !regexp.MustCompile(`critical +high +medium +low +not counted`).MatchString(tables) {
		t.Errorf("findings without severities\n%s", tables)
	}
	if _, policies, _ := strings.Cut(page.String(), "<h2>By policy</h2>"); strings.Contains(policies, "silent") || !strings.Contains(policies, `<td class="n">-</td>`) {
		t.Error("the page shows nothing at length")
	}
}
