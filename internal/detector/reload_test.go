package detector

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

const (
	goodPolicies = "version: 1\npolicies:\n- {name: stolen, when: 'has_detection(\"SES-01\")', then: {action: step_up, proof: any_mfa}}\n"
	badPolicies  = "version: 1\npolicies:\n- {name: stolen, when: 'has_detection(\"SES-01\") && evnt.id == 1', then: {action: step_up, proof: any_mfa}}\n"
)

func TestPoliciesAreLoadedAgainAndABadFileChangesNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(goodPolicies)
	set, err := LoadPolicies(file)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	m := newMetrics(prometheus.NewRegistry())
	live := newPolicies(file, set, m, zap.New(core))

	for i, step := range []struct {
		do                    func()
		loaded, same, refused float64
		changes               bool
	}{
		{func() {}, 0, 0, 0, false},
		{func() { write(badPolicies) }, 0, 0, 1, false},
		{func() {}, 0, 0, 1, false}, // told once
		{func() { write(goodPolicies + "# a comment\n") }, 0, 1, 1, false},
		{func() { write(goodPolicies + "  \x00") }, 0, 1, 2, false},
		{func() { must(t, os.Remove(file)) }, 0, 1, 3, false},
		{func() {}, 0, 1, 3, false},
		{func() { write("version: 1\npolicies: []\n") }, 1, 1, 3, true},
		{func() { write(badPolicies) }, 1, 1, 4, false},
		{func() { write(goodPolicies) }, 2, 1, 4, true},
	} {
		before := live.current.Load()
		step.do()
		live.look()
		if live.current.Load() != before {
			t.Fatalf("step %d: changed by one look", i)
		}
		live.look()
		got := []float64{
			testutil.ToFloat64(m.reloads.WithLabelValues(reloadLoaded)), testutil.ToFloat64(m.reloads.WithLabelValues(reloadSame)),
			testutil.ToFloat64(m.reloads.WithLabelValues(reloadRefused)),
		}
		if diff := cmp.Diff(got, []float64{step.loaded, step.same, step.refused}); diff != "" {
			t.Fatalf("step %d: loaded, same, refused (-got, +want)\n%s", i, diff)
		}
		if changed := live.current.Load() != before; changed != step.changes {
			t.Fatalf("step %d: changed %v", i, changed)
		}
	}
	if n := logs.FilterLevelExact(zap.ErrorLevel).Len(); n != 4 {
		t.Errorf("%d errors logged, want one for each refused content", n)
	}
	if n := testutil.CollectAndCount(m.inForce); n != 1 {
		t.Errorf("%d versions in force", n)
	}
	if got := testutil.ToFloat64(m.inForce.WithLabelValues(live.current.Load().Version())); got != 1 {
		t.Errorf("the version in force is %v", got)
	}
}

// The beginning of a file that is being written may be a valid set: it is not in force.
func TestAHalfWrittenPolicyFileIsNotInForce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	const whole = goodPolicies + "- {name: tor, when: 'has_detection(\"NET-01\")', then: {action: step_up, proof: any_mfa}}\n"
	must(t, os.WriteFile(file, []byte("version: 1\npolicies: []\n"), 0o600))
	set, err := LoadPolicies(file)
	must(t, err)
	live := newPolicies(file, set, newMetrics(nil), zap.NewNop())
	counts := map[int]bool{}
	for n := range len(whole) + 1 {
		must(t, os.WriteFile(file, []byte(whole[:n]), 0o600))
		live.look()
		counts[len(live.current.Load().Policies())] = true
	}
	if counts[1] || counts[2] {
		t.Errorf("policies in force while the file was written: %v", counts)
	}
	live.look()
	if n := len(live.current.Load().Policies()); n != 2 {
		t.Errorf("%d policies are in force, want 2", n)
	}
}

// Each policy that cannot be evaluated is reported once a version, up to a bound.
func TestEveryBrokenPolicyIsReportedOnce(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	p := newProcessor(rules(t), newMetrics(nil), newContexts())
	p.log = zap.New(core)
	e := use(1, 1, "s", 64500, "laptop", "Windows")
	for range 3 {
		p.tell(e, &Outcome{Broken: []string{"first: no such key", "second: no such key"}})
	}
	if n := logs.Len(); n != 2 {
		t.Errorf("%d warnings of two policies", n)
	}
	for i := range 1000 {
		p.tell(e, &Outcome{Broken: []string{fmt.Sprint("reason ", i)}})
	}
	if n := logs.Len(); n != maxToldOf {
		t.Errorf("%d warnings of one version", n)
	}
	set, err := policy.Load([]byte(goodPolicies))
	must(t, err)
	p.rules.Policies = set
	p.tell(e, &Outcome{Broken: []string{"first: no such key"}})
	if n := logs.Len(); n != maxToldOf+1 {
		t.Errorf("%d warnings after another version", n)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The shipped policies and those of a file may only speak of detections that there are.
func TestPoliciesNameDetectionsOfTheCatalogue(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	must(t, os.WriteFile(file, policy.DefaultYAML(), 0o600))
	if _, err := LoadPolicies(file); err != nil {
		t.Error(err)
	}
	must(t, os.WriteFile(file, []byte(strings.ReplaceAll(goodPolicies, "SES-01", "SES-99")), 0o600))
	if _, err := LoadPolicies(file); err == nil || !strings.Contains(err.Error(), `there is no detection "SES-99"`) {
		t.Error(err)
	}
}

// A new set is in force from the next batch on, not within one.
func TestPoliciesChangeBetweenBatches(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	must(t, os.WriteFile(file, []byte("version: 1\npolicies: []\n"), 0o600))
	set, err := LoadPolicies(file)
	must(t, err)
	m := newMetrics(nil)
	live := newPolicies(file, set, m, zap.NewNop())
	p := newProcessor(rules(t), m, newContexts())
	p.live = live

	log := recordsOf(t, append(stolen(), use(100, 11.6, "home", 64520, "", "Mac OS X"))...)
	last := len(log) - 1
	res, err := p.Process(t.Context(), log[:last])
	must(t, err)
	p.Commit()
	if got := outputs(res)[events.TopicRevocations]; len(got) != 0 {
		t.Fatalf("no policy, %d revocations", len(got))
	}
	must(t, os.WriteFile(file, []byte(goodPolicies), 0o600))
	live.look()
	live.look()
	res, err = p.Process(t.Context(), log[last:])
	must(t, err)
	if got := outputs(res)[events.TopicRevocations]; len(got) != 1 {
		t.Fatalf("%d revocations by the new policy", len(got))
	}
}

// What needs no finding is asked once, with a finding that says why, and not again while it is open or has been met.
func TestARequirementWithoutFindingsHasAReason(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	must(t, os.WriteFile(file, []byte(`
version: 1
lists: {apps: {high: [Payroll]}}
policies:
- {name: devices, cooldown: 4h, when: 'event.device.noncompliant && event.app.sensitivity == "high"', then: {action: step_up, proof: phishing_resistant}}
- {name: night, cooldown: 4h, when: 'event.hour == 20', then: {action: notify}}
`), 0o600))
	set, err := LoadPolicies(file)
	must(t, err)
	r := rules(t)
	r.Policies = set
	tenant, user := &Tenant{}, NewUser()
	n := 0
	at := func(minutes int, edit func(e *events.Event)) string {
		n++
		e := use(n, float64(minutes)/60, "s1", 64500, "laptop", "Windows")
		e.Device.Compliant, e.App.Name = events.No, "payroll"
		edit(e)
		out := r.Fold(tenant, user, e)
		text := ""
		for _, f := range out.Findings {
			text += fmt.Sprintf("%s %s by %s, observed %v; ", f.Detection, f.Decision.Action, f.Decision.Policy, f.Decision.Observed)
		}
		for _, c := range out.Changes {
			text += fmt.Sprintf("%s %s because of %d; ", c.Claims.Action, c.Claims.Status, len(c.Claims.Findings))
		}
		return text
	}
	plain := func(*events.Event) {}
	strong := func(e *events.Event) { e.Auth.Strength, e.Auth.ACR = events.PhishingResistant, "phr" }
	elsewhere := func(e *events.Event) { e.App.Name = "Lunch" }
	failed := func(e *events.Event) { e.Outcome = events.Failure }
	const asked, met = "POL-01 step_up by devices, observed false; step_up open because of 1; ", "step_up satisfied because of 1; "
	for i, step := range []struct {
		minutes int
		edit    func(e *events.Event)
		want    string
	}{
		{0, elsewhere, ""},
		{1, failed, ""},
		{2, plain, asked},
		{3, plain, ""},
		{4, strong, met},
		{5, plain, ""},
		{240, plain, ""},
		{245, plain, asked},
		{246, strong, met},
		{900, strong, ""}, // what it would ask for is in the event itself
		{20 * 60, elsewhere, "POL-01 notify by night, observed false; "},
		{20*60 + 1, elsewhere, ""},
		{44 * 60, elsewhere, "POL-01 notify by night, observed false; "},
	} {
		if got := at(step.minutes, step.edit); got != step.want {
			t.Errorf("step %d: got  %q\nwant %q", i, got, step.want)
		}
	}
	decoded, err := revocation.DecodeState(user.Requirements.AppendBinary(nil))
	must(t, err)
	if diff := cmp.Diff(decoded.Passes(), user.Requirements.Passes()); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
}

func TestTheBreakerHoldsUntilItIsReset(t *testing.T) {
	r := rules(t)
	tenant := &Tenant{}
	raised, held := 0, 0
	attack := func(from, to int) {
		for i := from; i < to; i++ {
			user := NewUser()
			for _, e := range stolen() {
				e.User.ID = fmt.Sprint("user-", i)
				out := r.Fold(tenant, user, e)
				raised += len(out.Changes)
				for _, f := range out.Findings {
					if f.Decision.Held {
						held++
						break
					}
				}
			}
		}
	}
	attack(0, 20)
	if raised != 20 || held != 0 {
		t.Fatalf("%d raised, %d held", raised, held)
	}
	attack(20, 200)
	// All who are active are asked, far over the share: it counts once enough are active, about 50 by the sketch's count.
	limits := r.Policies.Breaker()
	if raised < limits.MinUsers-5 || raised > limits.PerMinute || held != 200-raised {
		t.Fatalf("%d raised, %d held, limits %+v", raised, held, limits)
	}
	if at, why := tenant.Breaker.Tripped(); at == 0 || why == "" {
		t.Error("it does not say why")
	}
	r.Fold(tenant, NewUser(), &events.Event{
		ID: "reset", Kind: events.NetworkVerdict, Tenant: "acme", User: events.User{ID: "p3"}, Time: 1767225700000,
		Verdict: &events.Verdict{Detection: "BRK-00"},
	})
	raised, held = 0, 0
	attack(200, 205)
	if raised != 5 || held != 0 {
		t.Errorf("after the reset: %d raised, %d held", raised, held)
	}
}

func TestAResetReachesEveryPartitionAndIsValid(t *testing.T) {
	for _, partitions := range []int{1, 8, 100} {
		list := ResetBreaker("acme", "checked by Bo: the new policy was too eager", partitions, 1767225700000)
		seen := map[int]bool{}
		for i, e := range list {
			if err := e.Validate(); err != nil {
				t.Fatal(err)
			}
			if !policy.ResetsBreaker(e) || stream.PartitionFor([]byte(e.Key()), partitions) != i {
				t.Errorf("%d of %d: %+v", i, partitions, e)
			}
			seen[i] = true
		}
		if len(seen) != partitions {
			t.Errorf("%d of %d", len(seen), partitions)
		}
	}
}
