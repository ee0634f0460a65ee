package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/backtest"
	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/report"
)

// past is a Bulk with some sign-ins of a day, which a test may hold up.
type past struct {
	bulk
	hold   chan struct{}
	fails  error
	panics bool
	scope  chan report.Scope
}

func (p *past) Replay(ctx context.Context, q report.ReplayQuery, take func([]byte) error, progress func(float64)) error {
	select {
	case p.scope <- q.Scope:
	default:
	}
	progress(0.25)
	if p.hold != nil {
		select {
		case <-p.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if p.panics {
		panic("boo")
	}
	for i := range 5 {
		e := events.Event{
			Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "u1"}, Time: events.MillisOf(yesterday.Add(time.Duration(i) * time.Hour)),
			Source: events.Source{ID: fmt.Sprint(i)}, Outcome: events.Success,
		}
		e.ID = events.EventID(e.Tenant, "", e.Source.ID)
		if err := take(events.Encode(&e)); err != nil {
			return err
		}
	}
	return p.fails
}

func (*past) Findings(context.Context, report.FindingQuery) (report.FindingPage, error) {
	return report.FindingPage{}, nil
}

func (*past) Requirements(context.Context, report.RequirementQuery) (report.RequirementPage, error) {
	return report.RequirementPage{}, nil
}

var yesterday = time.Now().UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour)

// exchange makes a request with a body and reads the answer into v, unless that is nil.
func exchange(t *testing.T, method, address, secret string, body, v any) *http.Response {
	t.Helper()
	content, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(raw, v); err != nil {
			t.Fatalf("%s %s: %d %v in %s", method, address, res.StatusCode, err, raw)
		}
	}
	return res
}

func backtesting(t *testing.T, p *past, change func(*Config)) (*API, string) {
	t.Helper()
	a, _, base := newAPI(t, change)
	a.deps.Bulk = p
	a.deps.Rules = func(set *policy.Set) (detector.Rules, error) {
		rules, err := detector.LoadRules(detector.DefaultConfig())
		rules.Policies = set
		return rules, err
	}
	return a, base
}

func span() map[string]any {
	return map[string]any{"from": yesterday, "to": yesterday.Add(24 * time.Hour), "warm_up_days": 1}
}

func with(m map[string]any, pairs ...any) map[string]any {
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// await asks until a backtest is over.
func await(t *testing.T, base, secret, id string) (b Backtest, raw map[string]any) {
	t.Helper()
	for {
		exchange(t, http.MethodGet, base+"/v1/backtests/"+id, secret, nil, &raw)
		if s := raw["state"]; s != "queued" && s != "running" {
			b.State, b.Error, b.Progress = s.(string), fmt.Sprint(raw["error"]), raw["progress"].(float64)
			return b, raw
		}
	}
}

const onePolicy = "version: 1\npolicies:\n  - name: all\n    mode: observe\n    when: event.user.id == 'u1'\n    then:\n      action: notify\n"

// A page asks again and again; the trail says once that somebody has read a result, of each who has.
func TestReadingAResultIsWrittenDownOnceForEachReader(t *testing.T) {
	t.Parallel()
	a, base := backtesting(t, &past{}, nil)
	trail := a.deps.Publisher.(*ledger)
	var b map[string]any
	exchange(t, http.MethodPost, base+"/v1/backtests", wholeSecret, with(span(), "policy", onePolicy, "tenant", "acme"), &b)
	id := b["id"].(string)
	trail.fail(errors.New("no broker"))
	for {
		res := exchange(t, http.MethodGet, base+"/v1/backtests/"+id, wholeSecret, nil, &b)
		if res.StatusCode == http.StatusServiceUnavailable {
			break
		}
		if b["state"] == "done" {
			t.Fatal("a result was read without an entry in the trail")
		}
	}
	trail.fail(nil)
	var tag string
	for range 3 {
		for _, secret := range []string{wholeSecret, acmeSecret} {
			res := exchange(t, http.MethodGet, base+"/v1/backtests/"+id, secret, nil, &b)
			if tag = res.Header.Get("ETag"); res.StatusCode != http.StatusOK || b["result"] == nil || tag == "" {
				t.Fatalf("%d %v", res.StatusCode, b)
			}
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/backtests/"+id, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+wholeSecret)
	req.Header.Set("If-None-Match", tag)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusNotModified || res.Header.Get("ETag") != tag || len(body) > 0 {
		t.Errorf("asked whether there is another: %d %v %s, %v", res.StatusCode, res.Header, body, err)
	}
	var readers []string
	for _, e := range trail.audited(t) {
		if e.Action == "backtest.read" {
			readers = append(readers, e.Actor)
		}
	}
	if diff := cmp.Diff([]string{"whole", "acme"}, readers); diff != "" {
		t.Errorf("the trail (-want +got)\n%s", diff)
	}
}

func TestAWarmUpOfNoDaysIsOne(t *testing.T) {
	t.Parallel()
	a, base := backtesting(t, &past{}, nil)
	for name, c := range map[string]struct {
		asked any
		want  float64
	}{"none": {0, 0}, "one day": {1, 1}, "left out": {nil, defaultWarmUp}} {
		question := with(span(), "policy", onePolicy)
		if delete(question, "warm_up_days"); c.asked != nil {
			question["warm_up_days"] = c.asked
		}
		var b map[string]any
		res := exchange(t, http.MethodPost, base+"/v1/backtests", wholeSecret, question, &b)
		if res.StatusCode != http.StatusAccepted || b["warm_up_days"] != c.want {
			t.Errorf("%s: %d, %v days", name, res.StatusCode, b["warm_up_days"])
		}
		id, _ := b["id"].(string)
		a.backtests.Cancel(id)
	}
}

func TestABacktestRunsAndIsRead(t *testing.T) {
	t.Parallel()
	p := &past{scope: make(chan report.Scope, 10)}
	a, base := backtesting(t, p, nil)
	for _, baseline := range []string{recorded, current} {
		var b map[string]any
		res := exchange(t, http.MethodPost, base+"/v1/backtests", wholeSecret, with(span(), "policy", onePolicy, "tenant", "acme", "baseline", baseline), &b)
		id, _ := b["id"].(string)
		if res.StatusCode != http.StatusAccepted || res.Header.Get("Location") != "/v1/backtests/"+id || b["by"] != "whole" || b["version"] == "" {
			t.Fatalf("%d %v %v", res.StatusCode, res.Header, b)
		}
		done, raw := await(t, base, wholeSecret, id)
		result, _ := raw["result"].(map[string]any)
		if done.State != "done" || done.Progress != 1 || result["events"] != 5.0 || (baseline == recorded) != (result["old"].(map[string]any)["name"] == "recorded") {
			t.Errorf("%+v %v", done, raw)
		}
		if s := <-p.scope; s.All || len(s.Tenants) != 1 || s.Tenants[0] != "acme" {
			t.Errorf("it read %+v", s)
		}
	}
	var list struct{ Backtests []map[string]any }
	exchange(t, http.MethodGet, base+"/v1/backtests", acmeSecret, nil, &list)
	if len(list.Backtests) != 2 || list.Backtests[0]["result"] != nil {
		t.Errorf("who may see acme sees %v", list.Backtests)
	}
	actions := map[string]int{}
	for _, e := range a.deps.Publisher.(*ledger).audited(t) {
		actions[e.Action]++
	}
	if actions["backtest.start"] != 2 || actions["backtest.read"] != 2 {
		t.Errorf("the trail: %v", actions)
	}
}

func TestBacktestsOnOtherTenantsAreNotSeen(t *testing.T) {
	t.Parallel()
	p := &past{}
	_, base := backtesting(t, p, nil)
	var b, own map[string]any
	exchange(t, http.MethodPost, base+"/v1/backtests", wholeSecret, span(), &b) // all tenants
	exchange(t, http.MethodPost, base+"/v1/backtests", acmeSecret, span(), &own)
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if res := exchange(t, method, base+"/v1/backtests/"+b["id"].(string), acmeSecret, nil, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", method, res.StatusCode)
		}
	}
	var list struct{ Backtests []map[string]any }
	exchange(t, http.MethodGet, base+"/v1/backtests", acmeSecret, nil, &list)
	if len(list.Backtests) != 1 || list.Backtests[0]["id"] != own["id"] {
		t.Errorf("%v", list)
	}
	if res := exchange(t, http.MethodPost, base+"/v1/backtests", acmeSecret, with(span(), "tenant", "globex"), nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("on another tenant: %d", res.StatusCode)
	}
}

func TestBacktestsAreRefused(t *testing.T) {
	t.Parallel()
	_, base := backtesting(t, &past{}, nil)
	for name, c := range map[string]struct {
		body map[string]any
		say  string
	}{
		"no span":           {map[string]any{"from": yesterday}, "expected required property to"},
		"backwards":         {with(span(), "to", yesterday.Add(-time.Hour)), "must be before to"},
		"too long":          {with(span(), "from", yesterday.AddDate(-3, 0, 0)), "at most"},
		"a bad policy":      {with(span(), "policy", strings.Replace(onePolicy, "event.user.id", "evnt", 1)), "undeclared reference"},
		"too much policy":   {with(span(), "policy", strings.Repeat("#", 256<<10+1)), "262144"},
		"an odd baseline":   {with(span(), "baseline", "best"), "expected value to be one of"},
		"nothing to try":    {with(span(), "baseline", "current"), "give policies to try"},
		"a foreign warm-up": {with(span(), "warm_up_days", 4000), "400"},
	} {
		var said map[string]any
		res := exchange(t, http.MethodPost, base+"/v1/backtests", wholeSecret, c.body, &said)
		if text := fmt.Sprint(said); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(text, c.say) {
			t.Errorf("%s: %d %s", name, res.StatusCode, text)
		}
	}
	if res := exchange(t, http.MethodPost, base+"/v1/backtests", blindSecret, span(), nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("without the scope: %d", res.StatusCode)
	}
	_, _, bare := newAPI(t, nil)
	if res := exchange(t, http.MethodPost, bare+"/v1/backtests", wholeSecret, span(), nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("without a history of its own: %d", res.StatusCode)
	}
}

func TestAFullQueueAndCancelling(t *testing.T) {
	t.Parallel()
	p := &past{hold: make(chan struct{}), scope: make(chan report.Scope, 10)}
	_, base := backtesting(t, p, func(c *Config) { c.Backtests.Waiting = 1 })
	var running, waiting map[string]any
	exchange(t, http.MethodPost, base+"/v1/backtests", wholeSecret, span(), &running)
	<-p.scope // it runs
	exchange(t, http.MethodPost, base+"/v1/backtests", wholeSecret, span(), &waiting)
	if waiting["state"] != "queued" {
		t.Errorf("the second is %v", waiting)
	}
	if res := exchange(t, http.MethodPost, base+"/v1/backtests", wholeSecret, span(), nil); res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("the third: %d", res.StatusCode)
	}
	// Other questions are answered meanwhile.
	if res, _ := get(t, base+"/v1/overview", wholeSecret); res.StatusCode != http.StatusOK {
		t.Errorf("the overview: %d", res.StatusCode)
	}
	for _, b := range []map[string]any{waiting, running} {
		var after map[string]any
		if exchange(t, http.MethodDelete, base+"/v1/backtests/"+b["id"].(string), wholeSecret, nil, &after); after["state"] != "cancelled" {
			t.Errorf("cancelled: %v", after)
		}
	}
	close(p.hold)
	var last map[string]any
	exchange(t, http.MethodPost, base+"/v1/backtests", wholeSecret, span(), &last)
	if b, _ := await(t, base, wholeSecret, last["id"].(string)); b.State != "done" {
		t.Errorf("after them: %+v", b)
	}
	// One that has ended is forgotten.
	address := base + "/v1/backtests/" + last["id"].(string)
	exchange(t, http.MethodDelete, address, wholeSecret, nil, nil)
	if res := exchange(t, http.MethodGet, address, wholeSecret, nil, nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("forgotten: %d", res.StatusCode)
	}
}

func TestABacktestThatFailsSaysWhyAndNoMore(t *testing.T) {
	t.Parallel()
	for say, p := range map[string]*past{
		"the history was away":        {fails: fmt.Errorf("%w: dial tcp 10.0.0.1", report.ErrUnavailable)},
		"it failed, the log says how": {fails: errors.New("secret")},
		"it broke":                    {panics: true},
		"ask for a shorter span":      {fails: fmt.Errorf("too many, %w", backtest.ErrTooMany)},
	} {
		_, base := backtesting(t, p, nil)
		var b map[string]any
		exchange(t, http.MethodPost, base+"/v1/backtests", wholeSecret, span(), &b)
		after, _ := await(t, base, wholeSecret, b["id"].(string))
		if after.State != "failed" || !strings.Contains(after.Error, say) || strings.Contains(after.Error, "10.0.0.1") || strings.Contains(after.Error, "secret") {
			t.Errorf("%+v, want %q", after, say)
		}
	}
}

// TestPoliciesTellNothingOfOtherTenants: the file is the installation's, and may name everybody's people.
func TestPoliciesTellNothingOfOtherTenants(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	text := "version: 1\npolicies:\n"
	for _, p := range []string{
		"{name: everybody, except: {users: [vip@globex.example], groups: [board], apps: [treasury], tenants: [Globex, ACME-test]}",
		"{name: ours, for: {tenants: [Acme], users: [ann@acme.example]}, except: {users: [bob@acme.example]}",
		"{name: shared, for: {tenants: [acme, globex], groups: [board]}",
		"{name: theirs, for: {tenants: [globex], users: [vip@globex.example]}",
		"{name: not-ours, except: {tenants: [acme]}",
	} {
		text += "  - " + p + ", when: \"true\", then: {action: notify}}\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, q, base := newAPI(t, func(c *Config) { c.PolicyFile = file })
	q.records = map[string]report.PolicyRecord{"theirs": {Policy: "theirs", Matched: 3}}
	type shown struct {
		Problem, YAML string
		Policies      []Policy
		Former        []FormerPolicy
	}
	var got shown
	exchange(t, http.MethodGet, base+"/v1/policies", acmeSecret, nil, &got)
	raw, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, foreign := range []string{"lobex", "board", "treasury", "not-ours", "acme-test"} {
		if strings.Contains(strings.ToLower(string(raw)), foreign) {
			t.Errorf("acme reads %q in %s", foreign, raw)
		}
	}
	selectors := map[string][2]*PolicySelector{}
	for _, p := range got.Policies {
		selectors[p.Name] = [2]*PolicySelector{p.For, p.Except}
	}
	want := map[string][2]*PolicySelector{
		"everybody": {nil, {Withheld: true}},
		"ours":      {{Tenants: []string{"Acme"}, Users: []string{"ann@acme.example"}}, {Users: []string{"bob@acme.example"}}},
		"shared":    {{Tenants: []string{"acme"}, Withheld: true}, nil},
	}
	if diff := cmp.Diff(want, selectors); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// What it did to acme's people once, it did.
	if len(got.Former) != 1 || got.Former[0].Name != "theirs" {
		t.Errorf("former: %+v", got.Former)
	}
	q.records = nil
	var whole shown
	exchange(t, http.MethodGet, base+"/v1/policies", wholeSecret, nil, &whole)
	if whole.YAML != text || len(whole.Policies) != 5 || !slices.ContainsFunc(whole.Policies, func(p Policy) bool { return p.Except != nil && slices.Contains(p.Except.Groups, "board") }) {
		t.Errorf("who may see all tenants: %+v", whole)
	}
	// Nor does what is wrong with it, in which its words are.
	if err := os.WriteFile(file, []byte("version: 1\npolicies: [{name: of-globex, whom: board}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.inForce.now(time.Now().Add(time.Minute))
	for secret, tells := range map[string]bool{acmeSecret: false, wholeSecret: true} {
		got = shown{}
		exchange(t, http.MethodGet, base+"/v1/policies", secret, nil, &got)
		if got.Problem == "" || strings.Contains(got.Problem, "whom") != tells {
			t.Errorf("the problem, told %v: %q", tells, got.Problem)
		}
	}
}

func TestPoliciesAreShownWithTheirRecord(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(onePolicy)
	a, q, base := newAPI(t, func(c *Config) { c.PolicyFile = file })
	q.records = map[string]report.PolicyRecord{"all": {Policy: "all", Matched: 7}, "gone": {Policy: "gone", Matched: 2}}
	var got struct {
		Version, Source, YAML, Problem, History string
		Policies                                []struct {
			Name, Mode, Condition, Action string
			Record                        map[string]float64
		}
		Former []struct {
			Name   string
			Record map[string]float64
		}
	}
	exchange(t, http.MethodGet, base+"/v1/policies", wholeSecret, nil, &got)
	if got.Source != "policy.yaml" || got.YAML != onePolicy || got.History != "ok" || len(got.Policies) != 1 || got.Policies[0].Mode != "observe" ||
		got.Policies[0].Condition != "event.user.id == 'u1'" || got.Policies[0].Record["matched"] != 7 || len(got.Former) != 1 || got.Former[0].Name != "gone" {
		t.Errorf("%+v", got)
	}
	// Without the history the policies are there all the same.
	q.err, q.records = report.ErrUnavailable, nil
	exchange(t, http.MethodGet, base+"/v1/policies", acmeSecret, nil, &got)
	if got.History != "away" || len(got.Policies) != 1 {
		t.Errorf("away: %+v", got)
	}
	q.err = nil
	// A change is taken; one that is wrong is told and changes nothing.
	before := got.Version
	write(strings.ReplaceAll(onePolicy, "'u1'", "'u2'"))
	if set := a.inForce.now(time.Now().Add(time.Minute)); set.set.Version() == before || set.problem != "" {
		t.Errorf("a changed file: %+v", set)
	}
	write("version: 1\npolicies: 3\n")
	if set := a.inForce.now(time.Now().Add(2 * time.Minute)); !strings.Contains(string(set.text), "'u2'") || !strings.Contains(set.problem, "policies") {
		t.Errorf("a broken file: %+v", set)
	}
	if _, err := New(func() Config { c := DefaultConfig(); c.PolicyFile = file; return c }(), Deps{History: q, Log: tail{}, Publisher: &ledger{}}); err == nil {
		t.Error("a broken file at the start")
	}
	// The shipped ones, without a file.
	_, _, base = newAPI(t, nil)
	exchange(t, http.MethodGet, base+"/v1/policies", acmeSecret, nil, &got)
	if got.Source != "shipped" || got.YAML != string(policy.DefaultYAML()) || len(got.Policies) != len(policy.Default().Policies()) {
		t.Errorf("shipped: %s, %d policies", got.Source, len(got.Policies))
	}
}

func TestPoliciesAreChecked(t *testing.T) {
	t.Parallel()
	_, _, base := newAPI(t, nil)
	check := func(text string) (problems []PolicyProblem, n int) {
		var got struct {
			Problems []PolicyProblem
			Policies int
		}
		if res := exchange(t, http.MethodPost, base+"/v1/policies/check", wholeSecret, map[string]any{"yaml": text}, &got); res.StatusCode != http.StatusOK {
			t.Fatal(res.StatusCode)
		}
		return got.Problems, got.Policies
	}
	if problems, n := check(onePolicy); len(problems) != 0 || n != 1 {
		t.Errorf("a good one: %v", problems)
	}
	if problems, _ := check(string(policy.DefaultYAML())); len(problems) != 0 {
		t.Errorf("the shipped ones: %v", problems)
	}
	problems, _ := check(strings.Replace(strings.Replace(onePolicy, "event.user.id", "evnt", 1), "notify", "shout", 1))
	if len(problems) != 2 || problems[0].Path != "policies[0].when" || problems[0].Line != 5 || problems[0].Column != 1 || !strings.Contains(problems[0].Message, "undeclared") ||
		problems[1].Path != "policies[0].then.action" || problems[1].Line != 7 {
		t.Errorf("%+v", problems)
	}
	for _, text := range []string{"", "\x00", "a: [", "- 1", "version: 2", strings.Repeat("a: {", 10_000), "x: &a [*a]"} {
		if problems, _ := check(text); len(problems) == 0 || problems[0].Message == "" {
			t.Errorf("%.20q: %v", text, problems)
		}
	}
}
