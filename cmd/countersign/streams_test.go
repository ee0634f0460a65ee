package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The verbs for receivers that never call ask the courier for what the flags say, with the secrets from files.
func TestStreamsAreMadeAndDeletedByOperators(t *testing.T) {
	t.Parallel()
	var asked []string
	var body map[string]any
	courier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.Method == http.MethodPost {
			if err := json.Unmarshal(text, &body); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusCreated)
		}
		fmt.Fprint(w, `{"stream_id":"abc","receiver":"workspace","tenant":"acme","method":"push","status":"enabled","result":"disabled, SETs dropped that waited: 4"}`)
	}))
	defer courier.Close()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	token, secret := file("token", "the-operators-token\n"), file("secret", "Bearer of-the-vendor\n")
	run := func(args ...string) (string, error) {
		c := streamsCommand()
		var out bytes.Buffer
		c.SetOut(&out)
		c.SetErr(io.Discard)
		c.SetArgs(append([]string{"--courier", courier.URL, "--token-file", token}, args...))
		err := c.ExecuteContext(t.Context())
		return out.String(), err
	}
	out, err := run("create", "--receiver", "workspace", "--endpoint", "https://v.example.com/e", "--authorization-file", secret,
		"--event", "https://a.example.com/1", "--event", "https://a.example.com/2", "--default-subjects", "NONE")
	if err != nil || !strings.Contains(out, "abc") || strings.Contains(out, "of-the-vendor") {
		t.Errorf("%q, %v", out, err)
	}
	want := map[string]any{
		"receiver": "workspace", "default_subjects": "NONE", "events_requested": []any{"https://a.example.com/1", "https://a.example.com/2"},
		"delivery": map[string]any{"method": "urn:ietf:rfc:8935", "endpoint_url": "https://v.example.com/e", "authorization_header": "Bearer of-the-vendor"},
	}
	if d := cmp.Diff(want, body); d != "" {
		t.Errorf("asked for (-want, +got):\n%s", d)
	}
	for _, asJSON := range []bool{false, true} {
		args := []string{"disable", "abc"}
		if asJSON {
			args = append(args, "--json")
		}
		if out, err = run(args...); err != nil || strings.Contains(out, "stream abc: disabled, SETs dropped that waited: 4\n") == asJSON {
			t.Errorf("%q, %v", out, err)
		}
	}
	if out, err = run("delete", "abc"); err != nil || !strings.Contains(out, "abc of workspace is deleted") {
		t.Errorf("%q, %v", out, err)
	}
	for _, wrong := range [][]string{
		{"create", "--endpoint", "https://v.example.com/e"},
		{"create", "--receiver", "workspace"},
		{"create", "--receiver", "w", "--method", "mail"},
		{"create", "--receiver", "w", "--method", "poll", "--endpoint", "https://v.example.com/e"},
		{"delete"},
	} {
		if _, err := run(wrong...); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
	const prefix, bearer = "/operator/v1/streams", " Bearer the-operators-token"
	if d := cmp.Diff([]string{"POST " + prefix + bearer, "POST " + prefix + "/abc/disable" + bearer, "POST " + prefix + "/abc/disable" + bearer, "DELETE " + prefix + "/abc" + bearer}, asked); d != "" {
		t.Errorf("requests (-want, +got):\n%s", d)
	}
}
