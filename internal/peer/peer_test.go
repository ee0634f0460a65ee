package peer

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestCallsCarryTheTokenAndTrustTheAuthority(t *testing.T) {
	t.Parallel()
	var got string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.Join([]string{r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body)}, " ")
		_, _ = io.WriteString(w, "answer")
	}))
	defer server.Close()
	authority := file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	token := file(t, "first\n")
	c, err := Open(Config{URL: server.URL, TokenFile: token, CAFile: authority}, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Call(t.Context(), http.MethodPost, "/x/y", "application/json", []byte("{}"))
	if err != nil || string(answer) != "answer" || got != "POST /x/y Bearer first application/json {}" {
		t.Errorf("%q %v, asked %q", answer, err, got)
	}
	if err := os.WriteFile(token, []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Call(t.Context(), http.MethodGet, "/", "", nil); err != nil || !strings.Contains(got, "Bearer second") {
		t.Errorf("a token that was replaced: %v, asked %q", err, got)
	}
	stranger, err := Open(Config{URL: server.URL, TokenFile: token}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got = ""
	if _, err := stranger.Call(t.Context(), http.MethodGet, "/", "", nil); err == nil || got != "" {
		t.Errorf("without its authority: %v, asked %q", err, got)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token went elsewhere") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		case "/courier":
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"error":"too often"}`)
		case "/problem":
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"detail":"not so"}`)
		case "/page":
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>")
		}
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	c, err := Open(Config{TokenFile: file(t, "token")}, func(context.Context) (string, error) { return addr, nil })
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]Error{
		"/courier": {429, "too often", "2"}, "/problem": {400, "not so", ""}, "/page": {502, `"<html>"`, ""}, "/redirect": {307, `""`, ""},
	} {
		_, err := c.Call(t.Context(), http.MethodPost, path, "", nil)
		got, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if diff := cmp.Diff(*got, want); diff != "" {
			t.Errorf("%s (-got, +want)\n%s", path, diff)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for url, good := range map[string]bool{
		"": true, "https://courier:8443": true, "http://127.0.0.1:9": true, "http://[::1]:9": true, "http://ingest:9": false, "ftp://x": false, "https://": false,
		"https://u:p@host": false, "https://host/path": false, "https://host?q": false, "\x00": false,
	} {
		err := Config{URL: url, TokenFile: "f"}.Validate()
		if (err == nil) != good {
			t.Errorf("%q: %v", url, err)
		}
	}
	if err := (Config{URL: "http://ingest:9", TokenFile: "f", Plain: true}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{URL: "https://host"}).Validate(); err == nil || !strings.Contains(err.Error(), "token_file: ") {
		t.Errorf("without a token: %v", err)
	}
	if _, err := Open(Config{TokenFile: "f"}, nil); err == nil || !strings.Contains(err.Error(), "url: ") {
		t.Errorf("without an address: %v", err)
	}
	if _, err := Open(Config{URL: "https://host", TokenFile: "f", CAFile: file(t, "no PEM")}, nil); err == nil || !strings.Contains(err.Error(), "ca_file: ") {
		t.Errorf("without a certificate: %v", err)
	}
}
