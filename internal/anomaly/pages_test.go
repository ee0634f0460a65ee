package anomaly

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/org"
)

const pages = "../../docs/detections"

// TestDetectionPages makes the pages of docs/detections from the comments on the catalogue's variables and on the fields of
// Config. With -update it writes them.
func TestDetectionPages(t *testing.T) { //nolint:paralleltest // writes with -update
	src := readSource(t)
	want := map[string]string{"README.md": src.index(t)}
	for _, d := range all {
		want[d.ID+".md"] = src.page(t, d)
	}
	if *update {
		if err := os.MkdirAll(pages, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(pages, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	entries, err := os.ReadDir(pages)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, ok := want[e.Name()]; !ok {
			t.Errorf("%s is no page of a detection: remove it", e.Name())
		}
	}
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(pages, name))
		if err != nil {
			t.Error(err)
		} else if diff := cmp.Diff(string(got), text); diff != "" {
			t.Errorf("%s is not up to date, run this test with -update (-got, +want)\n%s", name, diff)
		}
	}
}

// source is what the comments say: of a detection by its id, of a parameter by its path.
type source struct {
	detections map[string]string
	parameters map[string]string
	config     Config
}

func readSource(t *testing.T) *source {
	t.Helper()
	s := &source{detections: map[string]string{}, parameters: map[string]string{}, config: DefaultConfig()}
	s.read(t, "*.go", "")
	s.read(t, "../org/config.go", "network stage")
	return s
}

// read takes in the comments of files; the parameters of their Config are under a path.
func (s *source) read(t *testing.T, glob, path string) {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]*ast.StructType{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			g, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					if doc := g.Doc.Text(); len(spec.Names) == 1 && len(doc) > 6 {
						id, _, _ := strings.Cut(doc, " ")
						if byID[id] != nil && strings.EqualFold(strings.ReplaceAll(id, "-", ""), spec.Names[0].Name) {
							s.detections[id] = doc
						}
					}
				case *ast.TypeSpec:
					if st, ok := spec.Type.(*ast.StructType); ok {
						structs[spec.Name.Name] = st
					}
				}
			}
		}
	}
	s.describe(structs, structs["Config"], path)
}

// describe collects the comments of fields. One that has none shares that of the field before.
func (s *source) describe(structs map[string]*ast.StructType, st *ast.StructType, path string) {
	last := ""
	var named []string
	for _, f := range st.Fields.List {
		if f.Tag != nil && len(f.Names) == 1 {
			named = append(named, f.Names[0].Name, reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml"))
		}
	}
	for _, f := range st.Fields.List {
		if f.Tag == nil {
			continue
		}
		name := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml")
		at := strings.TrimPrefix(path+"."+name, ".")
		if text := strings.Join(strings.Fields(f.Doc.Text()), " "); text != "" {
			last = text
			for i := 0; i < len(named); i += 2 {
				last = regexp.MustCompile(`\b`+named[i]+`\b`).ReplaceAllString(last, "`"+named[i+1]+"`")
			}
		}
		s.parameters[at] = last
		if id, ok := f.Type.(*ast.Ident); ok && structs[id.Name] != nil {
			s.describe(structs, structs[id.Name], at)
		}
	}
}

// page is the page of one detection.
func (s *source) page(t *testing.T, d *Detection) string {
	t.Helper()
	doc := s.detections[d.ID]
	for _, part := range []string{"State:", "Evidence:", "False positives:"} {
		if !strings.Contains(doc, part) {
			t.Errorf("%s: its comment has no part %q", d.ID, part)
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!-- Made from internal/anomaly by `go test ./internal/anomaly -run DetectionPages -update`. -->\n")
	fmt.Fprintf(&b, "# %s: %s\n\n", d.ID, d.Title)
	var severity []string
	for _, v := range d.Severity {
		severity = append(severity, string(v))
	}
	fmt.Fprintf(&b, "| severity | ATT&CK technique | version |\n|---|---|---|\n| %s | %s | %d |\n\n", strings.Join(severity, ", "), d.Technique, d.Version)
	for paragraph := range strings.SplitSeq(strings.TrimSpace(doc), "\n\n") {
		for _, part := range paragraphs(paragraph) {
			fmt.Fprintf(&b, "%s\n\n", part)
		}
	}
	fmt.Fprintf(&b, "## Parameters\n\n")
	rows := 0
	for _, p := range s.config.Parameters() {
		if !slices.Contains(p.Of, d.ID) {
			continue
		}
		if rows == 0 {
			fmt.Fprintf(&b, "In the detector's configuration, under `detector.anomaly`:\n\n| parameter | default | from | to | what it is |\n|---|---|---|---|---|\n")
		}
		rows++
		unit := ""
		if p.Unit != "" && p.Unit != "h" {
			unit = " " + p.Unit
		}
		fmt.Fprintf(&b, "| `%s` | %s%s | %s | %s | %s |\n", p.Path, p.Text(p.Value), unit, p.Text(p.Low), p.Text(p.High), s.parameters[p.Path])
	}
	if rows > 0 {
		b.WriteString("\n")
	}
	if lists := s.lists(d.ID); lists != "" {
		rows++
		fmt.Fprintf(&b, "Lists, under `detector.anomaly`; a list in the file takes the place of the default:\n\n| list | default | what it is |\n|---|---|---|\n%s\n", lists)
	}
	if section := networkSections[d.ID]; section != "" {
		rows++
		b.WriteString("Of the network stage, under `detector.network`:\n\n" + networkHead + s.network(t, section+".") + "\n")
	}
	if rows == 0 {
		b.WriteString("None.\n\n")
	}
	fmt.Fprintf(&b, "To watch it without consequence, or to switch it off:\n\n```yaml\ndetector:\n  anomaly:\n    modes: {%s: observe} # on, observe or off\n```\n", d.ID)
	return b.String()
}

// networkSections are the parameters of the network stage behind a detection.
var networkSections = map[string]string{
	"CRD-03": "spray", "CRD-04": "season", "CRD-05": "stuffing", "CRD-07": "enumeration", "CRD-08": "lockouts", "NET-05": "bad_ratio", "DEV-03": "devices",
}

const networkHead = "| parameter | default | from | to | what it is |\n|---|---|---|---|---|\n"

// lists are the rows of the lists that a detection uses.
func (s *source) lists(id string) string {
	var b strings.Builder
	leaves(reflect.ValueOf(s.config), "", func(path string, f reflect.StructField, v reflect.Value) {
		if v.Kind() != reflect.Slice || !slices.Contains(strings.Fields(f.Tag.Get("of")), id) {
			return
		}
		usual := "empty"
		if n := v.Len(); n == 1 {
			usual = "1 entry"
		} else if n > 1 {
			usual = fmt.Sprintf("%d entries", n)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", path, usual, s.parameters[path])
	})
	return b.String()
}

// network are the rows of the network stage's parameters whose path begins so. Their ranges are what its check of a value far
// below says.
func (s *source) network(t *testing.T, prefixes ...string) string {
	t.Helper()
	var b strings.Builder
	config := org.DefaultConfig()
	leaves(reflect.ValueOf(&config).Elem(), "", func(path string, _ reflect.StructField, v reflect.Value) {
		if !slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
			return
		}
		usual, low, high := fmt.Sprint(v.Interface()), "", ""
		switch old := reflect.New(v.Type()).Elem(); v.Kind() {
		case reflect.Slice:
			usual = "empty"
		default:
			old.Set(v)
			if v.CanFloat() {
				v.SetFloat(-1e9)
			} else {
				v.SetInt(-1)
			}
			limits := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(path) + `: .* between (\S+) and (\S+)$`).FindStringSubmatch(fmt.Sprint(config.Validate()))
			if limits == nil {
				t.Fatalf("%s: no range in %v", path, config.Validate())
			}
			v.Set(old)
			low, high = limits[1], limits[2]
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", path, usual, low, high, s.parameters["network stage."+path])
	})
	return strings.NewReplacer("h0m0s", "h", " 0s ", " 0 ").Replace(b.String())
}

// leaves visits every field that is no section.
func leaves(v reflect.Value, path string, visit func(string, reflect.StructField, reflect.Value)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		at := strings.TrimPrefix(path+"."+f.Tag.Get("yaml"), ".")
		if f.Type.Kind() == reflect.Struct {
			leaves(v.Field(i), at, visit)
			continue
		}
		visit(at, f, v.Field(i))
	}
}

// paragraphs makes one of every labelled line of a comment's paragraph.
func paragraphs(text string) []string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		label, rest, ok := strings.Cut(line, ": ")
		switch {
		case ok && slices.Contains([]string{"State", "Evidence", "False positives"}, label):
			out = append(out, "**"+label+".** "+strings.ToUpper(rest[:1])+rest[1:])
		case len(out) == 0:
			out = append(out, line)
		default:
			out[len(out)-1] += " " + line
		}
	}
	return out
}

// index is the page that lists them all.
func (s *source) index(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("<!-- Made from internal/anomaly by `go test ./internal/anomaly -run DetectionPages -update`. -->\n# Detections\n\n" +
		"What countersign sees, one page each. Severity is not an action: [policy](../policy.md) decides what happens. Every finding\n" +
		"carries its evidence, the reasons considered for not counting it, and the parameters in force. Each detection can be on, off,\n" +
		"or only observed; `countersign explain EVENT_ID` shows what one did, `countersign eval` measures them all.\n\n" +
		"| id | what it sees | severity | ATT&CK |\n|---|---|---|---|\n")
	for _, d := range all {
		var severity []string
		for _, v := range d.Severity {
			severity = append(severity, string(v))
		}
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s | %s |\n", d.ID, d.ID, d.Title, strings.Join(severity, ", "), d.Technique)
	}
	b.WriteString("\n## Parameters of all detections\n\nWhen enough is known of a user, and what the operator vouches for:\n\n| parameter | default | from | to | what it is |\n|---|---|---|---|---|\n")
	for _, p := range s.config.Parameters() {
		if len(p.Of) == 0 {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", p.Path, p.Text(p.Value), p.Text(p.Low), p.Text(p.High), s.parameters[p.Path])
		}
	}
	b.WriteString("| `allow.prefixes`, `allow.asns`, `allow.countries` | | | | Networks and countries that the operator vouches for: findings there are recorded only. |\n")
	b.WriteString("\nOf the network stage, under `detector.network`: what makes a prefix the organisation's own, a carrier's hub, the rate that\nsets the limits of FAM-01, and bounds of memory:\n\n" +
		networkHead + s.network(t, "egress.", "hubs.", "reauthentication", "sources", "incidents"))
	return b.String()
}
