package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/countersign-io/countersign"

// goPackage is what `go list` tells of a package of this module.
type goPackage struct {
	ImportPath   string
	Dir          string
	Standard     bool
	GoFiles      []string
	CgoFiles     []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

// short is the path below the module, "" for the root.
func (p goPackage) short() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// within reports whether path is one of the roots or lies below one.
func within(path string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return path == root || strings.HasPrefix(path, root+"/")
	})
}

// pureCore are the packages whose results depend on their arguments alone.
var pureCore = []string{"internal/codec", "internal/events", "internal/familiarity", "internal/org", "internal/profile", "internal/anomaly", "internal/policy", "internal/revocation", "internal/ssf/dialect", "internal/notify/incident", "internal/export"}

// mayImport says for some packages (and those below them) which others of this module they may import. Packages that are
// not named here are bound by the rules below only.
var mayImport = map[string][]string{
	"internal/codec":           {},
	"internal/events":          {},
	"internal/familiarity":     {"internal/events"},
	"internal/org":             {"internal/codec", "internal/events", "internal/familiarity"},
	"internal/profile":         {"internal/events", "internal/familiarity"},
	"internal/anomaly":         {"internal/events", "internal/familiarity", "internal/org", "internal/profile"},
	"internal/policy":          {"internal/events", "internal/profile", "internal/anomaly"},
	"internal/revocation":      {"internal/events", "internal/profile", "internal/anomaly", "internal/policy"},
	"internal/export":          {"internal/events", "internal/report"},
	"internal/geo":             {"internal/events"},
	"internal/stream":          {},
	"internal/ssf":             {"internal/events", "internal/jwks", "internal/revocation", "internal/set"},
	"internal/jwks":            {},
	"internal/outbound":        {},
	"internal/webhook":         {},
	"internal/set":             {},
	"internal/config":          {},
	"internal/lifecycle":       {},
	"internal/telemetry":       {},
	"internal/embedded":        {},
	"internal/kafkatest":       {},
	"internal/jobs":            {},
	"internal/peer":            {},
	"internal/notify/incident": {"internal/events", "internal/revocation"},
	"stepup/ssf":               {"stepup"},
	"tools":                    {"internal/kafkatest"},
}

// mustNotImport forbids edges, prefix to prefix.
var mustNotImport = []struct {
	from, to []string
	why      string
}{
	{[]string{"internal/api"}, []string{"internal/history"}, "api declares the readers it needs, cmd injects them"},
	{[]string{"internal/ingest"}, []string{"internal/source"}, "ingest declares Source, cmd injects the sources"},
	{[]string{"internal/courier"}, []string{"internal/detector", "internal/anomaly"}, "courier delivers decisions, it makes none"},
	{
		[]string{"internal/history", "internal/archiver", "internal/ssf", "internal/notify", "internal/act"},
		[]string{"internal/detector", "internal/api", "internal/ingest"},
		"these are told, they do not decide",
	},
}

// onlyImporters confines a dependency. Tests may import it too unless strict.
var onlyImporters = []struct {
	dependency string
	by         []string
	strict     bool
}{
	// internal/bench measures the bare client beside the pipeline; the other two wait for a broker to answer.
	{"github.com/segmentio/kafka-go", []string{"internal/stream", "internal/bench", "internal/kafkatest", "tools/kafka"}, false},
	{"github.com/ClickHouse/clickhouse-go/v2/lib/proto", []string{"internal/history", "internal/embedded"}, false},
	{"github.com/ClickHouse/clickhouse-go/v2/lib/column", []string{"internal/history", "internal/embedded"}, false},
	{"github.com/ClickHouse/ch-go", []string{"internal/history", "internal/embedded"}, false},
	{"github.com/ClickHouse/clickhouse-go", []string{"internal/history"}, false},
	{"github.com/twmb/franz-go/pkg/kfake", []string{"internal/embedded/broker", "internal/kafkatest"}, true},
	{"github.com/twmb/franz-go", []string{"internal/embedded/broker", "internal/kafkatest"}, false}, // names of requests and errors
	{"github.com/ebitengine/purego", []string{"internal/embedded"}, true},
	{"github.com/parquet-go/parquet-go", []string{"internal/export"}, false},
	{"github.com/oschwald/maxminddb-golang", []string{"internal/geo"}, false},
	{"github.com/nicholas-fedor/shoutrrr", []string{"internal/notify"}, true},
	{"github.com/microsoftgraph/msgraph-sdk-go", []string{"internal/source/entra/graphsdk"}, true},
}

// testKit reports whether a package is for tests: those of the standard library and, by their names, our own.
func testKit(path string) bool {
	return path == "testing" || strings.HasPrefix(path, module+"/") && strings.HasSuffix(path, "test") && path != module+"/internal/backtest"
}

// impure are the imports that make a pure package impure.
var impure = []string{
	"os", "io/fs", "net/http", "database/sql", "log", "math/rand", "crypto/rand",
	"go.uber.org/zap", "github.com/prometheus/client_golang",
}

// importProblems lists what is wrong with the imports of one package. standard tells the standard library's packages.
func importProblems(p goPackage, standard func(string) bool) []string {
	var problems []string
	from := p.short()
	say := func(imported, why string) {
		problems = append(problems, fmt.Sprintf("%s imports %s: %s", from, imported, why))
	}
	ours := func(path string) (string, bool) {
		short, ok := strings.CutPrefix(path, module+"/")
		return short, ok
	}

	for _, imported := range p.Imports {
		// internal/bench measures with testing.Benchmark.
		if testKit(imported) && !testKit(p.ImportPath) && !within(from, "tools", "internal/bench") {
			say(imported, "it is for tests")
		}
		to, own := ours(imported)
		if own {
			if within(to, "cmd") && !within(to, from) {
				say(to, "nothing imports cmd")
			}
			for root, allowed := range mayImport {
				if within(from, root) && !within(to, root) && !within(to, allowed...) {
					say(to, fmt.Sprintf("%s may import of this module: %v", root, allowed))
				}
			}
			for _, rule := range mustNotImport {
				if within(from, rule.from...) && within(to, rule.to...) {
					say(to, rule.why)
				}
			}
		}
		if within(from, pureCore...) {
			switch {
			case imported == "net":
				say(imported, "the pure core has no network; addresses are net/netip's")
			case within(imported, impure...):
				say(imported, "the pure core has no clock, network, files, chance or logger; pass the value in")
			}
		}
		if from == "stepup" && !standard(imported) {
			say(imported, "stepup is standard library only; what speaks Kafka belongs in a package below it")
		}
	}

	tests := slices.Concat(p.TestImports, p.XTestImports)
	for _, imported := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(p.Imports, tests)))) {
		inTestsOnly := !slices.Contains(p.Imports, imported)
		for _, rule := range onlyImporters {
			if !within(imported, rule.dependency) {
				continue
			}
			if !within(from, rule.by...) && (rule.strict || !inTestsOnly) && imported != p.ImportPath {
				say(imported, fmt.Sprintf("only %v may", rule.by))
			}
			break // the first, most specific, rule decides
		}
		if to, own := ours(imported); own && within(to, "cmd") && !within(from, "cmd") && inTestsOnly {
			say(to, "nothing imports cmd")
		}
	}

	// The Graph SDK is so large that whoever links all of it pays minutes of compilation and gigabytes of memory.
	links := slices.ContainsFunc(p.Deps, func(dep string) bool { return within(dep, "github.com/microsoftgraph/msgraph-sdk-go") })
	if links && !within(from, "cmd/ingest", "internal/source/entra/graphsdk") {
		say("github.com/microsoftgraph/msgraph-sdk-go", "only cmd/ingest links it")
	}
	// Its generated client is what takes them; we use the rest.
	if slices.ContainsFunc(p.Deps, func(dep string) bool {
		return dep == "github.com/microsoftgraph/msgraph-sdk-go" || dep == "github.com/microsoftgraph/msgraph-sdk-go/models"
	}) {
		say("github.com/microsoftgraph/msgraph-sdk-go", "the generated client takes minutes to compile; use msgraph-sdk-go-core")
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// list returns the packages of the module, and a test for standard library paths.
func list(t *testing.T) ([]goPackage, func(string) bool) {
	t.Helper()
	fields := "-json=ImportPath,Dir,Standard,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports,Deps"
	run := func(args ...string) []goPackage {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e"}, args...)...)
		cmd.Dir = filepath.Join("..", "..")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list: %v\n%s", err, &stderr)
		}
		var packages []goPackage
		for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
			var p goPackage
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				return packages
			} else if err != nil {
				t.Fatalf("reading go list: %v", err)
			}
			packages = append(packages, p)
		}
	}
	std := map[string]bool{}
	for _, p := range run("-json=ImportPath", "std") {
		std[p.ImportPath] = true
	}
	packages := run(fields, "./...")
	if len(packages) < 3 {
		t.Fatalf("go list names %d packages, that cannot be all", len(packages))
	}
	return packages, func(path string) bool { return std[path] }
}

func TestImports(t *testing.T) {
	t.Parallel()
	packages, standard := list(t)
	for _, p := range packages {
		for _, problem := range importProblems(p, standard) {
			t.Error(problem)
		}
	}
}

// TestRulesNameExistingPackages keeps a renamed package from slipping out of its rule. Packages of later issues are listed.
func TestRulesNameExistingPackages(t *testing.T) {
	t.Parallel()
	packages, _ := list(t)
	later := []string{"internal/courier", "internal/ssf", "internal/notify"}
	exists := func(root string) bool {
		return within(root, later...) || slices.ContainsFunc(packages, func(p goPackage) bool { return within(p.short(), root) })
	}
	var names []string
	for from, to := range mayImport {
		names = append(append(names, from), to...)
	}
	for _, rule := range mustNotImport {
		names = append(append(names, rule.from...), rule.to...)
	}
	for _, rule := range onlyImporters {
		names = append(names, rule.by...)
	}
	names = append(names, pureCore...)
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if !exists(name) {
			t.Errorf("a rule names %s, and no such package exists", name)
		}
	}
}

// TestImportRulesBite feeds the rules packages that break them.
func TestImportRulesBite(t *testing.T) {
	t.Parallel()
	own := func(short string) string { return module + "/" + short }
	standard := func(path string) bool { return !strings.Contains(path, ".") }
	for name, tc := range map[string]struct {
		pkg  goPackage
		want string // a part of the only problem; "" for none
	}{
		"core upward":       {goPackage{ImportPath: own("internal/events"), Imports: []string{own("internal/policy")}}, "internal/events may import"},
		"core downward":     {goPackage{ImportPath: own("internal/policy"), Imports: []string{own("internal/events")}}, ""},
		"core below":        {goPackage{ImportPath: own("internal/anomaly/travel"), Imports: []string{own("internal/anomaly"), own("internal/profile")}}, ""},
		"core reads files":  {goPackage{ImportPath: own("internal/profile"), Imports: []string{"os"}}, "pure core"},
		"core logs":         {goPackage{ImportPath: own("internal/anomaly/travel"), Imports: []string{"go.uber.org/zap/zapcore"}}, "pure core"},
		"core dials":        {goPackage{ImportPath: own("internal/events"), Imports: []string{"net"}}, "net/netip"},
		"core on netip":     {goPackage{ImportPath: own("internal/events"), Imports: []string{"net/netip", "time"}}, ""},
		"core's test":       {goPackage{ImportPath: own("internal/events"), XTestImports: []string{"os", "testing"}}, ""},
		"stray kafka":       {goPackage{ImportPath: own("internal/detector"), Imports: []string{"github.com/segmentio/kafka-go/sasl"}}, "only [internal/stream"},
		"kafka in a test":   {goPackage{ImportPath: own("internal/detector"), TestImports: []string{"github.com/segmentio/kafka-go"}}, ""},
		"kfake in a test":   {goPackage{ImportPath: own("internal/detector"), XTestImports: []string{"github.com/twmb/franz-go/pkg/kfake"}}, "only [internal/embedded/broker"},
		"shim's blocks":     {goPackage{ImportPath: own("internal/embedded/engine"), Imports: []string{"github.com/ClickHouse/clickhouse-go/v2/lib/proto"}}, ""},
		"shim's client":     {goPackage{ImportPath: own("internal/embedded/engine"), Imports: []string{"github.com/ClickHouse/clickhouse-go/v2"}}, "only [internal/history]"},
		"api on history":    {goPackage{ImportPath: own("internal/api"), Imports: []string{own("internal/history")}}, "declares the readers"},
		"ingest on source":  {goPackage{ImportPath: own("internal/ingest"), Imports: []string{own("internal/source/eventhub")}}, "injects the sources"},
		"imports cmd":       {goPackage{ImportPath: own("internal/eval"), Imports: []string{own("cmd/countersign")}}, "nothing imports cmd"},
		"test imports cmd":  {goPackage{ImportPath: own("internal/eval"), TestImports: []string{own("cmd/countersign")}}, "nothing imports cmd"},
		"sdk on zap":        {goPackage{ImportPath: own("stepup"), Imports: []string{"go.uber.org/zap"}}, "standard library only"},
		"sdk on internals":  {goPackage{ImportPath: own("stepup"), Imports: []string{own("internal/events")}}, "standard library only"},
		"sdk's kafka":       {goPackage{ImportPath: own("stepup/kafka"), Imports: []string{own("internal/stream"), own("stepup")}}, ""},
		"links graph":       {goPackage{ImportPath: own("cmd/countersign"), Deps: []string{"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"}}, "only cmd/ingest links it"},
		"ingest links it":   {goPackage{ImportPath: own("cmd/ingest"), Deps: []string{"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"}}, ""},
		"ingest links all":  {goPackage{ImportPath: own("cmd/ingest"), Deps: []string{"github.com/microsoftgraph/msgraph-sdk-go/models"}}, "generated client"},
		"test kit shipped":  {goPackage{ImportPath: own("internal/detector"), Imports: []string{own("internal/kafkatest")}}, "for tests"},
		"testing shipped":   {goPackage{ImportPath: own("internal/detector"), Imports: []string{"testing"}}, "for tests"},
		"kit on a kit":      {goPackage{ImportPath: own("internal/history/historytest"), Imports: []string{"testing", own("internal/embedded/engine/enginetest")}}, ""},
		"no kit":            {goPackage{ImportPath: own("cmd/countersign"), Imports: []string{own("internal/backtest")}}, ""},
		"kmsg in a test":    {goPackage{ImportPath: own("internal/detector"), TestImports: []string{"github.com/twmb/franz-go/pkg/kmsg"}}, ""},
		"stream on events":  {goPackage{ImportPath: own("internal/stream"), Imports: []string{own("internal/events")}}, "internal/stream may import"},
		"nothing in common": {goPackage{ImportPath: own("internal/eventsource"), Imports: []string{"os", own("internal/policy")}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := importProblems(tc.pkg, standard)
			switch {
			case tc.want == "" && len(got) == 0:
			case tc.want != "" && len(got) == 1 && strings.Contains(got[0], tc.want):
			default:
				t.Errorf("problems: %v", cmp.Diff(tc.want, strings.Join(got, "\n")))
			}
		})
	}
}
