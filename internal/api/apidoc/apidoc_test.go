package apidoc_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/api"
	"github.com/countersign-io/countersign/internal/api/apidoc"
)

func TestThePageIsThatOfTheDocument(t *testing.T) {
	t.Parallel()
	document, err := api.Document()
	if err != nil {
		t.Fatal(err)
	}
	want, err := apidoc.Markdown(document)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(got), "\n"), strings.Split(string(want), "\n")); diff != "" {
		t.Errorf("docs/api.md is not that of the document, run go generate ./internal/api (-got, +want):\n%s", diff)
	}
	var d struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	for path, methods := range d.Paths {
		for method := range methods {
			if !strings.Contains(string(want), "\n### "+strings.ToUpper(method)+" "+path+"\n") {
				t.Errorf("nothing about %s %s", method, path)
			}
		}
	}
	for _, scope := range api.Scopes {
		if !strings.Contains(string(want), "| `"+scope+"` |") {
			t.Errorf("nothing about the scope %s", scope)
		}
	}
}

func TestWhatIsNoDocumentIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := apidoc.Markdown([]byte("{")); err == nil {
		t.Error("accepted")
	}
	// Nothing in a document ends a table, and references in a circle end.
	page, err := apidoc.Markdown([]byte(`{"paths":{"/v1/x":{"post":{"summary":"X","parameters":[{"name":"p","in":"query","description":"a|b\n<c>","schema":{"$ref":"#/components/schemas/A"}}],
		"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/A"}}}},"responses":{"204":{}}}}},
		"components":{"schemas":{"A":{"$ref":"#/components/schemas/A"}}}}`))
	if err != nil || !strings.Contains(string(page), "| `p` | query | A | a\\|b &lt;c&gt; |") {
		t.Errorf("%v\n%s", err, page)
	}
}
