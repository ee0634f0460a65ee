package wiring

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.yaml.in/yaml/v3"

	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/stream"
)

var (
	metricName = regexp.MustCompile(`countersign_[a-z_]+`)
	fqName     = regexp.MustCompile(`fqName: "([^"]+)"`)
)

// An alert on a metric that nobody exports would never fire, and a runbook that is not there helps nobody.
func TestAlertsAreOnMetricsThereAre(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("a-secret-of-thirty-characters!"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Ingest.Tokens = []ingest.TokenConfig{{File: token, Source: "push", Tenants: []string{"*"}}}
	if _, _, err := set.NewKeyFile(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	cfg.SigningKeys.Directory, cfg.Courier.InsecurePlain = dir, true
	cfg.SSF.BaseURL, cfg.SSF.Tenants = "https://signals.example.com", []ssf.Tenant{{Name: "acme"}}
	cfg.Sources.Kafka = []pull.KafkaConfig{{
		Name: "broker", Format: ingest.FormatEvent, Tenants: []string{"*"}, Topics: []string{"logins"}, Kafka: stream.Config{Brokers: []string{"127.0.0.1:9"}},
	}}
	p, err := Open(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Cluster.Close()
	if _, err := p.AddIngest(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.AddDetector(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddCourier(nil); err != nil {
		t.Fatal(err)
	}
	if err := p.AddNotify(); err != nil {
		t.Fatal(err)
	}
	if err := p.AddAct(); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	descriptions := make(chan *prometheus.Desc)
	go func() {
		p.Metrics.Describe(descriptions)
		close(descriptions)
	}()
	for d := range descriptions {
		if m := fqName.FindStringSubmatch(d.String()); m != nil {
			known[m[1]] = true
		}
	}

	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "deploy", "prometheus", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations struct{ Summary, Runbook string }
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	rules := 0
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			rules++
			names := metricName.FindAllString(rule.Expr, -1)
			if len(names) == 0 || rule.Annotations.Summary == "" {
				t.Errorf("%s: no metric, or no summary", rule.Alert)
			}
			for _, name := range names {
				if !known[name] {
					t.Errorf("%s: nothing exports %s", rule.Alert, name)
				}
			}
			page, anchor, _ := strings.Cut(rule.Annotations.Runbook, "#")
			doc, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(page)))
			if err != nil || !strings.Contains(string(doc), "### "+headline(anchor)) {
				t.Errorf("%s: no headline in %s for #%s (%v)", rule.Alert, page, anchor, err)
			}
		}
	}
	if rules < 4 {
		t.Errorf("%d alerts", rules)
	}
}

// headline is the one an anchor is of, for headlines of plain words.
func headline(anchor string) string {
	words := strings.ReplaceAll(anchor, "-", " ")
	if words == "" {
		return "(no anchor)"
	}
	return strings.ToUpper(words[:1]) + words[1:]
}
