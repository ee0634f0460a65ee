package deploy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-io/countersign/internal/embedded/engine"
	"github.com/countersign-io/countersign/internal/embedded/engine/enginetest"
	"github.com/countersign-io/countersign/internal/history/historytest"
)

const (
	clickHouse = "countersign-clickhouse"
	promSource = "countersign-prometheus"
)

type dataSource struct{ Type, UID string }

type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Tags          []string
	ID            *int
	Panels        []panel
	Templating    struct{ List []variable }
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               dataSource
	GridPos                  struct{ H, W, X, Y int }
	Targets                  []target
}

type target struct {
	RefID, Expr, RawSQL string
	Datasource          dataSource
	Format              any
	QueryType           string
}

type variable struct {
	Name, Type string
	Query      any
	Datasource dataSource
}

func readDashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("grafana", "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards (%v)", err)
	}
	all := map[string]dashboard{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(file)] = d
	}
	return all
}

func TestDashboardsAreWhole(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("grafana", "provisioning", "datasources", "countersign.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var provisioned struct{ Datasources []dataSource }
	if err := yaml.Unmarshal(text, &provisioned); err != nil {
		t.Fatal(err)
	}
	boards := readDashboards(t)
	// Links and bookmarks are made of them.
	for file, uid := range map[string]string{"security-overview.json": "countersign-security", "pipeline.json": "countersign-pipeline"} {
		if boards[file].UID != uid {
			t.Errorf("%s: uid %q, must stay %q", file, boards[file].UID, uid)
		}
	}
	for file, d := range boards {
		// 42 is the last of the classic schema (Grafana 12 and 13). An id is one installation's own.
		if d.SchemaVersion != 42 || d.Title == "" || d.ID != nil || !slices.Contains(d.Tags, "countersign") {
			t.Errorf("%s: schema %d, title %q, id %v, tags %q", file, d.SchemaVersion, d.Title, d.ID, d.Tags)
		}
		ids := map[int]bool{}
		taken := map[[2]int]string{}
		for _, p := range d.Panels {
			if ids[p.ID] || p.ID == 0 || p.Title == "" {
				t.Errorf("%s: panel %d %q has no id or title of its own", file, p.ID, p.Title)
			}
			ids[p.ID] = true
			g := p.GridPos
			if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
				t.Errorf("%s: %q lies at %+v", file, p.Title, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" {
						t.Fatalf("%s: %q lies over %q", file, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			if len(p.Targets) == 0 {
				t.Errorf("%s: %q asks nothing", file, p.Title)
			}
			for _, q := range p.Targets {
				if !slices.Contains(provisioned.Datasources, q.Datasource) || q.Datasource != p.Datasource {
					t.Errorf("%s: %q asks %+v, which is not provisioned", file, p.Title, q.Datasource)
				}
				if (q.Datasource.UID == clickHouse) == (q.RawSQL == "") || (q.Datasource.UID == promSource) == (q.Expr == "") {
					t.Errorf("%s: %q, query %s does not fit its data source", file, p.Title, q.RefID)
				}
			}
		}
	}
}

// grafana replaces what Grafana and its ClickHouse data source replace in a query before it is sent, for the forms that the
// dashboards use. Anything else is an error of the test, not silently the server's.
func grafana(t *testing.T, query string, from, to time.Time, tenants []string) string {
	t.Helper()
	quoted := make([]string, len(tenants))
	for i, tenant := range tenants {
		quoted[i] = "'" + strings.ReplaceAll(tenant, "'", `\'`) + "'"
	}
	seconds := func(at time.Time) string { return fmt.Sprintf("toDateTime(%d)", at.Unix()) }
	query = strings.ReplaceAll(query, "${tenant:singlequote}", strings.Join(quoted, ","))
	query = regexp.MustCompile(`\$__timeFilter\(([a-z_.]+)\)`).ReplaceAllString(query, "$1 >= "+seconds(from)+" AND $1 <= "+seconds(to))
	query = strings.NewReplacer("$__fromTime", seconds(from), "$__toTime", seconds(to), "$__interval_s", "60").Replace(query)
	if left := regexp.MustCompile(`\$\S+`).FindString(query); left != "" {
		t.Fatalf("%s would reach ClickHouse", left)
	}
	return query
}

// Every question of every dashboard, and of its variables, runs on the engine, answers what is in the tables, and asks for
// no more than Grafana's user may read.
func TestQueriesOfDashboardsRun(t *testing.T) {
	t.Parallel()
	e := enginetest.Shared(t)
	cfg := historytest.For(e)
	historytest.OpenConfig(t, cfg)
	ask := func(database, query string) ([][]any, error) {
		address := "http://" + e.Addr() + "/?" + url.Values{"database": {database}, "default_format": {"JSONCompact"}}.Encode()
		req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, address, strings.NewReader(query))
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(engine.User, e.Key())
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return nil, err
		}
		if res.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s", res.Status, body)
		}
		if len(bytes.TrimSpace(body)) == 0 {
			return nil, nil
		}
		var answer struct{ Data [][]any }
		err = json.Unmarshal(body, &answer)
		return answer.Data, err
	}
	for _, insert := range fixtures {
		if _, err := ask(cfg.Database, insert); err != nil {
			t.Fatal(err)
		}
	}
	// The embedded engine has no users: what Grafana's may not read is not there in a database like the other.
	granted := cfg.Database + "_granted"
	if _, err := ask(cfg.Database, "CREATE DATABASE "+granted); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := ask("default", "DROP DATABASE "+granted); err != nil {
			t.Error(err)
		}
	})
	for table, columns := range grants(t) {
		create := fmt.Sprintf("CREATE TABLE %s.%s ENGINE = ReplacingMergeTree ORDER BY tenant AS SELECT %s FROM %[2]s", granted, table, columns)
		if _, err := ask(cfg.Database, create); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	run := func(where, query string) [][]any {
		t.Helper()
		query = grafana(t, query, now.Add(-time.Hour), now.Add(time.Hour), []string{"acme", "o'neill"})
		rows, err := ask(cfg.Database, query)
		if err != nil {
			t.Errorf("%s: %v\n%s", where, err, query)
		}
		if _, err := ask(granted, query); err != nil {
			t.Errorf("%s asks for more than Grafana's user may read: %v", where, err)
		}
		return rows
	}
	answers := map[string][][]any{}
	for file, d := range readDashboards(t) {
		for _, v := range d.Templating.List {
			if query, ok := v.Query.(string); ok && v.Datasource.UID == clickHouse {
				if rows := run(file+", variable "+v.Name, query); len(rows) != 2 {
					t.Errorf("%s: tenants %v", file, rows)
				}
			}
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if q.RawSQL == "" {
					continue
				}
				if kind := map[string]any{"table": 1.0, "timeseries": 0.0}[q.QueryType]; kind == nil || q.Format != kind {
					t.Errorf("%s: %q: format %v of %q", file, p.Title, q.Format, q.QueryType)
				}
				answers[p.Title] = run(file+", panel "+p.Title, q.RawSQL)
				if len(answers[p.Title]) == 0 {
					t.Errorf("%s: %q answers nothing", file, p.Title)
				}
			}
		}
	}
	for title, want := range map[string]string{
		"Findings": "[[3]]", "Users affected": "[[2]]", "Step-ups": "[[3]]", "Open now": "[[1]]", "Enforced, median": "[[2]]", "Precision": "[[0.5]]",
		"Precision of rules": "[[LOC-01 1 1 0.5]]", "Findings by country": "[[JP 2] [unknown 1]]",
		"Time to enforce, by application": "[[bank challenged 1 2 2 2] [bank satisfied 1 30 30 30]]",
		"Step-ups by what became of them": "[[* expired 1] [* open 1] [* satisfied 1]]",
		"Users with most findings":        "[[acme alice Alice 2 2 1 *] [o'neill bob  1 0 1 *]]",
	} {
		got := fmt.Sprint(answers[title])
		if ok, err := regexp.MatchString("^"+strings.ReplaceAll(regexp.QuoteMeta(want), `\*`, ".*")+"$", got); err != nil || !ok {
			t.Errorf("%s: %s, want %s", title, got, want)
		}
	}
}

// fixtures are two tenants' findings, one of them twice as after a crash, a third tenant's that is not asked for, and what
// became of them.
var fixtures = []string{
	`INSERT INTO events (tenant, user_id, time, id, logged, outcome, country) VALUES
		('acme', 'alice', now(), unhex('01000000000000000000000000000000'), now(), 'success', 'JP'),
		('o''neill', 'bob', now(), unhex('02000000000000000000000000000000'), now(), 'failure', '')`,
	`INSERT INTO findings (tenant, time, id, logged, detection, severity, disposition, user_id, user_name, country, action, policy) VALUES
		('acme', now() - 60, unhex('0a000000000000000000000000000000'), now(), 'LOC-01', 'high', 'active', 'alice', 'Alice', 'JP', 'step_up', 'p'),
		('acme', now() - 50, unhex('0b000000000000000000000000000000'), now(), 'LOC-01', 'critical', 'active', 'alice', 'Alice', 'JP', 'step_up', 'p'),
		('o''neill', now() - 40, unhex('0c000000000000000000000000000000'), now(), 'DEV-02', 'low', 'active', 'bob', '', '', '', ''),
		('o''neill', now() - 30, unhex('0d000000000000000000000000000000'), now(), 'DEV-02', 'low', 'observed', 'carol', '', '', '', ''),
		('other', now() - 20, unhex('0e000000000000000000000000000000'), now(), 'DEV-02', 'low', 'active', 'dave', '', '', '', '')`,
	`INSERT INTO findings (tenant, time, id, logged, detection, severity, disposition, user_id, user_name, country, action, policy)
		SELECT tenant, time, id, logged + 1, detection, severity, disposition, user_id, user_name, country, action, policy FROM findings WHERE user_id = 'bob'`,
	`INSERT INTO revocations (tenant, requirement, version, logged, user_id, action, status, not_before, expires, severity) VALUES
		('acme', 'r1', 1, now(), 'alice', 'step_up', 'open', now64(3) - 100, now64(3) + 3600, 'high'),
		('acme', 'r2', 1, now(), 'alice', 'step_up', 'open', now64(3) - 100, now64(3) + 3600, 'high'),
		('acme', 'r4', 1, now(), 'erin', 'step_up', 'open', now64(3) - 100, now64(3) - 40, 'high'),
		('other', 'r3', 1, now(), 'dave', 'step_up', 'open', now64(3) - 100, now64(3) + 3600, 'high')`,
	`INSERT INTO revocations (tenant, requirement, version, logged, user_id, action, status, not_before, expires, severity)
		SELECT tenant, requirement, 2, now(), user_id, action, 'satisfied', not_before, expires, severity FROM revocations WHERE requirement = 'r1'`,
	`INSERT INTO receipts (tenant, requirement, time, id, logged, user_id, app, status)
		SELECT tenant, requirement, not_before + 2, 'a', now(), user_id, 'bank', 'challenged' FROM revocations FINAL WHERE requirement = 'r1'`,
	`INSERT INTO receipts (tenant, requirement, time, id, logged, user_id, app, status)
		SELECT tenant, requirement, not_before + 30, 'b', now(), user_id, 'bank', 'satisfied' FROM revocations FINAL WHERE requirement = 'r1'`,
	`INSERT INTO marks (tenant, finding, time, id, logged, detection, found, verdict) VALUES
		('acme', unhex('0a000000000000000000000000000000'), now() - 5, unhex('f1000000000000000000000000000000'), now(), 'LOC-01', now() - 60, 'false_positive'),
		('acme', unhex('0a000000000000000000000000000000'), now() - 4, unhex('f2000000000000000000000000000000'), now(), 'LOC-01', now() - 60, 'true_positive'),
		('acme', unhex('0b000000000000000000000000000000'), now() - 3, unhex('f3000000000000000000000000000000'), now(), 'LOC-01', now() - 50, 'false_positive')`,
}

// grants are what Grafana's user of compose may read: the columns of each table, or "*".
func grants(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("clickhouse", "grafana.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		ReadOnly string   `xml:"profiles>grafana>readonly"`
		Grants   []string `xml:"users>grafana>grants>query"`
	}
	if err := xml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if file.ReadOnly != "1" {
		t.Errorf("Grafana's user has readonly %q", file.ReadOnly)
	}
	granted := map[string]string{}
	for _, g := range file.Grants {
		m := regexp.MustCompile(`^GRANT SELECT(?:\(([a-z_, ]+)\))? ON countersign\.([a-z_]+)$`).FindStringSubmatch(g)
		if m == nil {
			t.Fatalf("%q is more than reading one table", g)
		}
		granted[m[2]] = cmp.Or(m[1], "*")
	}
	return granted
}
