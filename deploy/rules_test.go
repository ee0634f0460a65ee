package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.yaml.in/yaml/v3"

	"github.com/countersign-io/countersign/internal/embedded/engine"
	"github.com/countersign-io/countersign/internal/embedded/engine/enginetest"
	"github.com/countersign-io/countersign/internal/enforce"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/set"
	sourcessf "github.com/countersign-io/countersign/internal/source/ssf"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/wiring"
	"github.com/countersign-io/countersign/stepup"
)

func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }

const runbooks = "https://github.com/countersign-io/countersign/blob/main/docs/operations.md#"

// ours are metrics of countersign, foreign those of ClickHouse; the rest is of Prometheus and its client library.
var (
	ours     = regexp.MustCompile(`\bcountersign_[a-z0-9_]+`)
	foreign  = regexp.MustCompile(`\bClickHouse[A-Za-z]+_[A-Za-z0-9_]+`)
	standard = regexp.MustCompile(`\b(up|ALERTS|process_[a-z_]+)\b`)
	// description is what client_golang says of a metric.
	description = regexp.MustCompile(`fqName: "([^"]+)".* constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	constant    = regexp.MustCompile(`([a-z_]+)="`)
	// Where a query names labels: matchers, groupings, texts.
	matchers  = regexp.MustCompile(`\{([^}]*)\}`)
	matcher   = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	groupings = regexp.MustCompile(`\b(?:by|on|without|ignoring)\s*\(([^)]*)\)`)
	inText    = regexp.MustCompile(`\$labels\.([a-z_]+)`)
)

type rule struct {
	Alert, Expr, For string
	Labels           map[string]string
	Annotations      struct {
		Summary    string
		RunbookURL string `yaml:"runbook_url"`
	}
}

func readRules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("prometheus", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var rules []rule
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	if len(rules) == 0 {
		t.Fatal("no rules")
	}
	return rules
}

// An alert without a severity goes nowhere, and a runbook that is not there helps nobody at night.
func TestEveryAlertHasSeverityAndRunbook(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#{2,4} (.+)$`).FindAllStringSubmatch(string(doc), -1) {
		anchors[anchor(m[1])] = true
	}
	seen := map[string]bool{}
	for _, r := range readRules(t) {
		if seen[r.Alert] || !strings.HasPrefix(r.Alert, "Countersign") {
			t.Errorf("%q: is there twice, or is not ours by its name", r.Alert)
		}
		seen[r.Alert] = true
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q, must be critical or warning", r.Alert, s)
		}
		if r.Annotations.Summary == "" {
			t.Errorf("%s: no summary", r.Alert)
		}
		if name, ok := strings.CutPrefix(r.Annotations.RunbookURL, runbooks); !ok || !anchors[name] {
			t.Errorf("%s: %q is no headline of docs/operations.md", r.Alert, r.Annotations.RunbookURL)
		}
		if !strings.Contains(string(doc), "`"+r.Alert+"`") {
			t.Errorf("%s is not in the table of docs/operations.md", r.Alert)
		}
	}
	for _, m := range regexp.MustCompile("`(Countersign[A-Za-z]+)`").FindAllStringSubmatch(string(doc), -1) {
		if !seen[m[1]] {
			t.Errorf("docs/operations.md has the alert %s, rules.yaml has not", m[1])
		}
	}
}

// anchor is the one that GitHub makes of a headline.
func anchor(headline string) string {
	plain := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(headline), "")
	return strings.ReplaceAll(plain, " ", "-")
}

// Every rule has a test in which it is quiet, fires and clears; `make test-rules` runs them.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("prometheus", "tests", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Tests []struct {
				Name  string
				Rules []struct {
					At     string `yaml:"eval_time"`
					Alert  string `yaml:"alertname"`
					Alerts []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, test := range file.Tests {
			became := map[string]int{} // 1 quiet, 2 fired, 3 cleared
			last := time.Duration(-1)
			for _, r := range test.Rules {
				at, err := time.ParseDuration(r.At)
				if err != nil || at <= last {
					t.Errorf("%s, %s: at %s after %s (%v)", path, test.Name, r.At, last, err)
				}
				last = at
				switch fires := len(r.Alerts) > 0; {
				case !fires && became[r.Alert] == 0:
					became[r.Alert] = 1
				case fires && became[r.Alert] == 1:
					became[r.Alert] = 2
				case !fires && became[r.Alert] == 2:
					tested[r.Alert] = true
				}
			}
		}
	}
	for _, r := range readRules(t) {
		if !tested[r.Alert] {
			t.Errorf("%s: no test in which it is quiet, fires and clears", r.Alert)
		}
		delete(tested, r.Alert)
	}
	if len(tested) > 0 {
		t.Errorf("tests of alerts that are not there: %q", slices.Sorted(maps.Keys(tested)))
	}
}

// An alert on, or a panel of, a metric that nobody exports shows nothing for ever; so does a label that it has not.
func TestEveryMetricIsExported(t *testing.T) {
	t.Parallel()
	known := metrics(t)
	check := func(where, expr string, texts ...string) {
		t.Helper()
		names := slices.Concat(ours.FindAllString(expr, -1), foreign.FindAllString(expr, -1))
		if len(names) == 0 {
			names = standard.FindAllString(expr, -1)
		}
		if len(names) == 0 {
			t.Errorf("%s: no metric in %s", where, expr)
		}
		has := labelNames{}
		for _, name := range names {
			if known[name] == nil {
				t.Errorf("%s: nothing exports %s", where, name)
			}
			maps.Copy(has, known[name])
		}
		var labels []string
		for _, m := range matchers.FindAllStringSubmatch(expr, -1) {
			for _, l := range matcher.FindAllStringSubmatch(m[1], -1) {
				labels = append(labels, l[1])
			}
		}
		for _, m := range groupings.FindAllStringSubmatch(expr, -1) {
			labels = append(labels, strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' })...)
		}
		for _, m := range inText.FindAllStringSubmatch(strings.Join(texts, " "), -1) {
			labels = append(labels, m[1])
		}
		for _, l := range labels {
			if !has[l] {
				t.Errorf("%s: none of %q has the label %s", where, names, l)
			}
		}
	}
	for _, r := range readRules(t) {
		check(r.Alert, r.Expr, r.Annotations.Summary)
	}
	for file, d := range readDashboards(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if q.Expr != "" {
					check(file+", panel "+p.Title, q.Expr)
				}
			}
		}
	}
}

type labelNames map[string]bool

// metrics are the names that every part really registers, with those that a histogram makes of its own, and
// their labels.
func metrics(t *testing.T) map[string]labelNames {
	t.Helper()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("a-secret-of-thirty-characters!"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := set.NewKeyFile(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	cfg := wiring.DefaultConfig()
	cfg.Ingest.Tokens = []ingest.TokenConfig{{File: token, Source: "push", Tenants: []string{"*"}}}
	cfg.SigningKeys.Directory, cfg.Courier.InsecurePlain = dir, true
	cfg.SSF.BaseURL, cfg.SSF.Tenants = "https://signals.example.com", []ssf.Tenant{{Name: "acme"}}
	cfg.Sources.Kafka = []pull.KafkaConfig{{
		Name: "broker", Format: ingest.FormatEvent, Tenants: []string{"*"}, Topics: []string{"logins"}, Kafka: stream.Config{Brokers: []string{"127.0.0.1:9"}},
	}}
	cfg.Sources.SSF = []sourcessf.Config{{
		Name: "idp", Tenant: "acme", Issuer: "https://id.example.com", Audience: []string{"https://countersign.example.com"},
		Push: sourcessf.PushConfig{TokenFile: token},
	}}
	p, err := wiring.Open(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Cluster.Close() })
	if _, err := p.AddIngest(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.AddDetector(); err != nil {
		t.Fatal(err)
	}
	if err := p.AddArchiver(); err != nil {
		t.Fatal(err)
	}
	if err := p.AddCouriers(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddAPI(); err != nil {
		t.Fatal(err)
	}

	others := prometheus.NewRegistry()
	if err := others.Register(enforce.Stats{}); err != nil {
		t.Fatal(err)
	}
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		t.Fatal(err)
	}
	gate := enforce.DefaultConfig()
	gate.App, gate.Kafka.Brokers = "payroll", []string{"127.0.0.1:9"}
	gate.Issuers = []enforce.IssuerConfig{{Issuer: "https://id.example.com", Audiences: []string{"payroll"}, Tenant: "acme"}}
	if _, err := enforce.New(gate, enforce.Deps{Index: index, Registerer: others}); err != nil {
		t.Fatal(err)
	}
	enginetest.StartConfig(t, engineConfig(t), engine.Deps{Registerer: others})

	known := map[string]labelNames{}
	descriptions := make(chan *prometheus.Desc)
	go func() {
		p.Metrics.Describe(descriptions)
		others.Describe(descriptions)
		close(descriptions)
	}()
	for d := range descriptions {
		m := description.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("not a description: %s", d)
		}
		labels := labelNames{"job": true, "instance": true, "le": true}
		for _, l := range constant.FindAllStringSubmatch(m[2], -1) {
			labels[l[1]] = true
		}
		for l := range strings.SplitSeq(m[3], ",") {
			labels[l] = true
		}
		for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
			known[m[1]+suffix] = labels
		}
	}
	known["up"], known["ALERTS"] = labelNames{"job": true, "instance": true}, labelNames{"alertname": true, "alertstate": true}
	for _, name := range asynchronous {
		known["ClickHouseAsyncMetrics_"+name] = labelNames{"job": true, "instance": true}
	}
	return known
}

// asynchronous are metrics of a ClickHouse server's prometheus endpoint, by the names of system.asynchronous_metrics; the
// embedded engine collects none.
var asynchronous = []string{"DiskAvailable_default", "DiskTotal_default"}

func engineConfig(t *testing.T) engine.Config {
	t.Helper()
	cfg := engine.DefaultConfig()
	cfg.DataDir = t.TempDir()
	return cfg
}
