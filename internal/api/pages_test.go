package api

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// build is a dashboard as `make web` leaves one.
func build() fstest.MapFS {
	return fstest.MapFS{
		".gitkeep":                {},
		"index.html":              {Data: []byte("<!doctype html><title>plain index</title>")},
		"index.html.br":           {Data: []byte("brotli index")},
		"index.html.gz":           {Data: []byte("gzip index")},
		"icon.svg":                {Data: []byte("<svg/>")},
		"assets/app-a1b2.js":      {Data: []byte("plain script")},
		"assets/app-a1b2.js.gz":   {Data: []byte("gzip script")},
		"assets/secrets.unlisted": {Data: []byte("no type, not served")},
	}
}

func ask(t *testing.T, a *API, method, path string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	r.Header = header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, r)
	return w
}

func newSite(t *testing.T, files fstest.MapFS) *API {
	t.Helper()
	a, err := New(DefaultConfig(), Deps{History: &questions{}, Log: tail{}, Publisher: &ledger{}, Web: files})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestEveryAddressOfAPersonGetsTheDashboard(t *testing.T) {
	t.Parallel()
	a := newSite(t, build())
	browser := http.Header{"Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"}}
	for path, want := range map[string]string{
		"/": "plain index", "/findings/0123": "plain index", "/users/acme/a%2Fb?range=7d": "plain index", "/index.html": "plain index",
		"/users/acme/../../v1": "", // cleaned by the mux: a redirect
		"/icon.svg":            "<svg/>", "/assets/app-a1b2.js": "plain script",
		"/assets/gone-0000.js": "nothing here", "/assets/secrets.unlisted": "nothing here", "/v1/nothing": "bearer token",
	} {
		w := ask(t, a, http.MethodGet, path, browser)
		if !strings.Contains(w.Body.String(), want) || want == "plain index" && w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
	// A program that mistakes an address is told, and not given a page.
	for _, accept := range []string{"", "*/*", "application/json", "text/html;q=0"} {
		if w := ask(t, a, http.MethodGet, "/findings", http.Header{"Accept": {accept}}); w.Code != http.StatusNotFound || !strings.Contains(w.Header().Get("Content-Type"), "problem+json") {
			t.Errorf("Accept %q: %d %v", accept, w.Code, w.Header())
		}
	}
	if w := ask(t, a, http.MethodPut, "/", browser); w.Code != http.StatusNotFound {
		t.Errorf("PUT /: %d", w.Code)
	}
}

func TestFilesAreServedInTheirBestCoding(t *testing.T) {
	t.Parallel()
	a := newSite(t, build())
	for _, tc := range []struct{ path, accept, coding, body string }{
		{"/", "", "", "plain index"},
		{"/", "gzip, deflate, br, zstd", "br", "brotli index"},
		{"/", "br;q=0, gzip", "gzip", "gzip index"},
		{"/", "BR;q=0.5", "br", "brotli index"},
		{"/", "br;q=no", "", "plain index"},
		{"/assets/app-a1b2.js", "br, gzip", "gzip", "gzip script"},
		{"/assets/app-a1b2.js", "br", "", "plain script"},
	} {
		w := ask(t, a, http.MethodGet, tc.path, http.Header{"Accept-Encoding": {tc.accept}})
		if w.Header().Get("Content-Encoding") != tc.coding || !strings.Contains(w.Body.String(), tc.body) || w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s with %q: %v %s", tc.path, tc.accept, w.Header(), w.Body)
		}
	}
	js := ask(t, a, http.MethodGet, "/assets/app-a1b2.js", nil)
	if got := js.Header().Get("Cache-Control"); !strings.Contains(got, "immutable") || js.Header().Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("an asset: %v", js.Header())
	}
	if got := ask(t, a, http.MethodGet, "/", nil).Header().Get("Cache-Control"); got != "no-cache" {
		t.Errorf("the index is kept: %q", got)
	}
}

func TestWhatTheReaderHasIsNotSentAgain(t *testing.T) {
	t.Parallel()
	a := newSite(t, build())
	brotli := http.Header{"Accept-Encoding": {"br"}}
	first := ask(t, a, http.MethodGet, "/", brotli)
	tag := first.Header().Get("ETag")
	plain := ask(t, a, http.MethodGet, "/", nil).Header().Get("ETag")
	if tag == "" || tag == plain {
		t.Fatalf("tags %q and %q", tag, plain)
	}
	for _, given := range []string{tag, `"x", W/` + tag, "*"} {
		w := ask(t, a, http.MethodGet, "/", http.Header{"Accept-Encoding": {"br"}, "If-None-Match": {given}})
		if w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("If-None-Match %s: %d", given, w.Code)
		}
	}
	if w := ask(t, a, http.MethodGet, "/", http.Header{"Accept-Encoding": {"br"}, "If-None-Match": {plain}}); w.Code != http.StatusOK {
		t.Errorf("the tag of another coding: %d", w.Code)
	}
}

func TestWithoutABuildThePageSaysHowToMakeOne(t *testing.T) {
	t.Parallel()
	w := ask(t, newSite(t, fstest.MapFS{".gitkeep": {}}), http.MethodGet, "/", nil)
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "make web") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// The dashboard's types come from this document: what it says and what the api answers must not part.
func TestTheDashboardHasTheNewestDescription(t *testing.T) {
	t.Parallel()
	want, err := Document()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../web/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("web/openapi.json is old: run `make generate` (or `go generate ./internal/api`) and commit it (-new, +old)\n%.2000s", diff)
	}
}
