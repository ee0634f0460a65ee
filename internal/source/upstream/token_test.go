package upstream_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/source/upstream"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// authority gives tokens to whoever knows the secret, and answers with the last one only.
func authority(t *testing.T, secret string) (*upstreamtest.Server, *upstream.Tokens) {
	t.Helper()
	given := 0
	s := upstreamtest.New(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/token":
			if r.Header.Get("Authorization") != fmt.Sprint("Bearer ", given) {
				w.WriteHeader(http.StatusUnauthorized)
			}
		case r.FormValue("client_secret") != secret || r.FormValue("audience") != "logs":
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":"invalid_client","error_description":"you sent %s"}`, r.FormValue("client_secret"))
		default:
			given++
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"access_token":"%d","token_type":"Bearer","expires_in":3600}`, given)
		}
	}))
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, " hunter2\n")
	return s, &upstream.Tokens{
		URL: s.URL + "/token", ClientID: "countersign", SecretFile: file, Params: map[string][]string{"audience": {"logs"}}, Style: 1,
	}
}

func TestTokensAreKeptAndReplacedOnce(t *testing.T) {
	t.Parallel()
	s, tokens := authority(t, "hunter2")
	c := upstream.New(upstream.Config{Base: s.URL})
	ask := func() error {
		_, err := c.Authorized(t.Context(), tokens, http.MethodGet, s.URL+"/api", nil)
		return err
	}
	for range 3 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(s.Requests(), ", "); got != "POST /token, GET /api, GET /api, GET /api" {
		t.Errorf("it asks %s", got)
	}
	s.Script(upstreamtest.Expired)
	if err := ask(); err != nil || len(s.Requests()) != 7 {
		t.Errorf("%v after %q", err, s.Requests())
	}
	s.Script(upstreamtest.Expired, "", upstreamtest.Expired)
	if e, ok := errors.AsType[*upstream.Error](ask()); !ok || e.Status != http.StatusUnauthorized || len(s.Requests()) != 10 {
		t.Errorf("%v after %q", e, s.Requests())
	}
	if _, err := c.Authorized(t.Context(), tokens, http.MethodGet, "https://"+s.Host, nil); !errors.Is(err, upstream.ErrElsewhere) {
		t.Errorf("another scheme: %v", err)
	}
}

func TestTokenErrorsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	s, tokens := authority(t, "another")
	_, err := tokens.Get(t.Context())
	e, ok := errors.AsType[*upstream.TokenError](err)
	if !ok || e.Status != 401 || e.Code != "invalid_client" || e.RetryAfter() != 7*time.Second || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	if _, ok := errors.AsType[*upstream.Error](err); ok {
		t.Error("it is taken for an answer of the API")
	}
	for _, fault := range []upstreamtest.Fault{upstreamtest.Broken, upstreamtest.HungUp, upstreamtest.Short} {
		s.Script(fault)
		if _, err := tokens.Get(t.Context()); err == nil || strings.Contains(err.Error(), "/token") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", fault, err)
		}
	}
	write(t, tokens.SecretFile, "another")
	if token, err := tokens.Get(t.Context()); err != nil || token != "1" {
		t.Errorf("after the secret was replaced: %q, %v", token, err)
	}
}

func TestSecretsThatAreNone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	for _, text := range []string{"", " \n", strings.Repeat("x", 1<<16+1)} {
		write(t, path, text)
		if _, err := upstream.ReadSecret(path); err == nil || strings.Contains(err.Error(), "xx") {
			t.Errorf("%.10q: %v", text, err)
		}
	}
	if _, err := upstream.ReadSecret(path + ".gone"); err == nil {
		t.Error("a file that is not there is a secret")
	}
}

// Some tell the second in which they take requests again, by a clock of their own.
func TestResetInsteadOfRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 8, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"theirs":      {http.Header{"X-Reset": {fmt.Sprint(now.Unix() + 7)}, "Date": {now.Add(2 * time.Second).Format(http.TimeFormat)}}, 5 * time.Second},
		"over":        {http.Header{"X-Reset": {fmt.Sprint(now.Unix() - 7)}, "Date": {now.Format(http.TimeFormat)}}, time.Second},
		"Retry-After": {http.Header{"X-Reset": {fmt.Sprint(now.Unix() + 7)}, "Retry-After": {"3"}}, 3 * time.Second},
		"far off":     {http.Header{"X-Reset": {"99999999999"}}, time.Hour},
		"none":        {http.Header{"X-Reset": {"soon"}}, 0},
	} {
		s := upstreamtest.New(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			maps.Copy(w.Header(), c.header)
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		_, err := upstream.New(upstream.Config{Base: s.URL, Reset: "X-Reset", Now: func() time.Time { return now }}).Get(t.Context(), s.URL, nil)
		if e, ok := errors.AsType[*upstream.Error](err); !ok || e.RetryAfter() != c.want {
			t.Errorf("%s: %v, want %v", name, e, c.want)
		}
	}
}
