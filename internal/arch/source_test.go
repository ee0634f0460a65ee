package arch

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// clockCalls are the functions of package time that read or wait for the wall clock.
var clockCalls = []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTicker", "NewTimer", "Sleep", "Tick"}

// sourceProblems lists what is wrong inside one parsed file.
func sourceProblems(fset *token.FileSet, file *ast.File, pure, test bool) []string {
	var problems []string
	say := func(at ast.Node, what string) {
		problems = append(problems, fmt.Sprintf("%s: %s", fset.Position(at.Pos()), what))
	}
	clock := importName(file, "time")
	format := importName(file, "fmt")
	plain := importName(file, "errors")
	bubble := importName(file, "testing/synctest")
	var bubbles []ast.Node // a bubble's clock is its own: there is no waiting in it
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr: // not only calls: passing time.Now as a value hides a clock as well
			if x, ok := n.X.(*ast.Ident); ok && clock != "" && x.Name == clock {
				inBubble := slices.ContainsFunc(bubbles, func(b ast.Node) bool { return b.Pos() <= n.Pos() && n.End() <= b.End() })
				if test && n.Sel.Name == "Sleep" && !inBubble {
					say(n, "time.Sleep in a test: use testing/synctest, a channel, or kafkatest.Eventually")
				}
				if pure && !test && slices.Contains(clockCalls, n.Sel.Name) {
					say(n, "time."+n.Sel.Name+" in the pure core: time comes with the event")
				}
			}
		case *ast.ExprStmt:
			if call, ok := n.X.(*ast.CallExpr); ok {
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "WithLabelValues" {
					say(n, "WithLabelValues is looked up and not used: add .Inc(), or .Add(0) to pre-set the series")
				}
			}
		case *ast.CallExpr:
			if isCall(n, bubble, "Test") {
				bubbles = append(bubbles, n)
			}
			if isCall(n, format, "Errorf") || isCall(n, plain, "New") {
				if len(n.Args) == 0 {
					return true
				}
				if text, ok := literal(n.Args[0]); ok && strings.Contains(strings.ToLower(text), "failed to") {
					say(n, `"failed to" in an error: say what was being done, as in "reading state: %w"`)
				}
			}
		}
		return true
	})
	return problems
}

// importName is the name by which file knows a package, or "".
func importName(file *ast.File, path string) string {
	for _, spec := range file.Imports {
		if value, err := strconv.Unquote(spec.Path.Value); err != nil || value != path {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path[strings.LastIndexByte(path, '/')+1:]
	}
	return ""
}

func isCall(call *ast.CallExpr, pkg, name string) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || pkg == "" || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

func TestSource(t *testing.T) {
	t.Parallel()
	packages, _ := list(t)
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, p := range packages {
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.TestGoFiles, p.XTestGoFiles) {
			path, err := filepath.Rel(root, filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			source, err := os.ReadFile(filepath.Join(root, path))
			if err != nil {
				t.Fatal(err)
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, path, source, parser.ParseComments)
			if err != nil {
				t.Errorf("%s does not parse: %v", path, err)
				continue
			}
			files++
			if ast.IsGenerated(file) {
				continue
			}
			for _, problem := range sourceProblems(fset, file, within(p.short(), pureCore...), strings.HasSuffix(name, "_test.go")) {
				t.Error(problem)
			}
		}
	}
	if files < 10 {
		t.Errorf("only %d files read, that cannot be all", files)
	}
}

// TestSourceRulesBite feeds the rules files that break them.
func TestSourceRulesBite(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body       string
		pure, test bool
		want       string // a part of the only problem; "" for none
	}{
		"clock in the core":         {body: `import "time"; var _ = time.Now()`, pure: true, want: "time comes with the event"},
		"clock as a value":          {body: `import clock "time"; var now = clock.Now`, pure: true, want: "time comes with the event"},
		"durations in the core":     {body: `import "time"; const d = 3 * time.Second; var t = time.UnixMilli(1)`, pure: true},
		"clock elsewhere":           {body: `import "time"; var _ = time.Now()`},
		"clock in a core test":      {body: `import "time"; var _ = time.Now()`, pure: true, test: true},
		"sleep in a test":           {body: `import "time"; func f() { time.Sleep(1) }`, test: true, want: "time.Sleep in a test"},
		"sleep in a bubble":         {body: `import ("testing/synctest"; "time"); func f() { synctest.Test(t, func() { time.Sleep(1) }) }`, test: true},
		"sleep after a bubble":      {body: `import ("testing/synctest"; "time"); func f() { synctest.Test(t, g); time.Sleep(1) }`, test: true, want: "time.Sleep in a test"},
		"a sleeper of another kind": {body: `type s struct{}; func (s) Sleep() {}; func f(time s) { time.Sleep() }`, test: true},
		"counter not counted":       {body: `func f() { m.WithLabelValues("a") }`, want: "not used"},
		"counter counted":           {body: `func f() { m.WithLabelValues("a").Inc(); c := m.WithLabelValues("b"); _ = c }`},
		"failed to wrap":            {body: `import "fmt"; var e = fmt.Errorf("failed to read: %w", x)`, want: "failed to"},
		"failed to":                 {body: `import "errors"; var e = errors.New("Failed to read")`, want: "failed to"},
		"gerund":                    {body: `import "fmt"; var e = fmt.Errorf("reading: %w", x)`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, "x.go", "package x\n"+tc.body, 0)
			if err != nil {
				t.Fatal(err)
			}
			got := sourceProblems(fset, file, tc.pure, tc.test)
			if tc.want == "" && len(got) == 0 || tc.want != "" && len(got) == 1 && strings.Contains(got[0], tc.want) {
				return
			}
			t.Errorf("problems %q, want one with %q", got, tc.want)
		})
	}
}

// TestLockFilesPinByDigestAlone holds npm's lock files to packages with integrity hashes and without download addresses:
// whoever installs uses the registry of his own configuration.
func TestLockFilesPinByDigestAlone(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*package-lock.json")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("git does not list this tree's files: %v", err)
	}
	for path := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if path == "" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range lockProblems(text) {
			t.Errorf("%s: %s", path, problem)
		}
	}
}

func lockProblems(text []byte) []string {
	var lock struct {
		Packages map[string]struct {
			Version   string `json:"version"`
			Resolved  string `json:"resolved"`
			Integrity string `json:"integrity"`
			Link      bool   `json:"link"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		return []string{fmt.Sprintf("no lock file: %v", err)}
	}
	var problems []string
	for name, p := range lock.Packages {
		if name == "" || p.Link {
			continue // the project itself
		}
		if p.Integrity == "" {
			problems = append(problems, name+" has no integrity hash")
		}
		if p.Resolved != "" {
			problems = append(problems, name+" names a download address: set omit-lockfile-registry-resolved=true in .npmrc and lock again")
		}
	}
	slices.Sort(problems)
	return problems
}

func TestLockRulesBite(t *testing.T) {
	t.Parallel()
	got := lockProblems([]byte(`{"packages": {
		"": {"version": "1"},
		"node_modules/good": {"version": "1", "integrity": "sha512-x"},
		"node_modules/bad": {"version": "1", "resolved": "https://example.com/bad.tgz"}
	}}`))
	if len(got) != 2 || !strings.Contains(got[0], "no integrity") || !strings.Contains(got[1], "address") {
		t.Errorf("problems %q, want a missing hash and an address", got)
	}
	if got := lockProblems([]byte("{")); len(got) != 1 {
		t.Errorf("problems %q for a broken file, want one", got)
	}
}
