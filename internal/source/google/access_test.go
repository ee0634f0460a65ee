package google_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/source/google"
	"github.com/countersign-io/countersign/internal/source/upstream"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

func TestQuotaIsWaitedForAndPermissionIsNot(t *testing.T) {
	t.Parallel()
	c := newClock()
	r, cfg := newReports(t, c.now)
	ask := func(status int, reason, message string) error {
		r.answer = func(w http.ResponseWriter) bool { refuse(w, status, reason, message); return true }
		_, err := poller(t, cfg, c.now).Fetch(t.Context(), nil, newLog(t).take)
		return err
	}
	wait := func(err error) time.Duration {
		e, ok := errors.AsType[*upstream.Error](err)
		if !ok {
			t.Fatalf("%v", err)
		}
		return e.RetryAfter()
	}
	for _, reason := range []string{"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"} {
		if got := wait(ask(http.StatusForbidden, reason, "slow down")); got != time.Minute {
			t.Errorf("%s: %v", reason, got)
		}
	}
	if got := wait(ask(http.StatusForbidden, "x", "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute per user'")); got != time.Minute {
		t.Errorf("quota by message: %v", got)
	}
	err := ask(http.StatusForbidden, "forbidden", "Caller does not have access to the customers reporting data.")
	if wait(err) != 0 || !strings.Contains(err.Error(), "does not have access") || !strings.Contains(err.Error(), "login activities") {
		t.Errorf("%v waits %v", err, wait(err))
	}
}

func TestExpiredTokensAreReplacedOnce(t *testing.T) {
	t.Parallel()
	c := newClock()
	r, cfg := newReports(t, c.now)
	p := poller(t, cfg, c.now)
	l := newLog(t)
	fetch := func() error {
		c.advance(time.Hour)
		_, err := p.Fetch(t.Context(), l.position, l.take)
		return err
	}
	if err := errors.Join(fetch(), fetch()); err != nil || r.tokens != 1 {
		t.Errorf("%v, %d tokens for two calls", err, r.tokens)
	}
	r.Script(upstreamtest.Expired)
	if err := fetch(); err != nil || r.tokens != 2 {
		t.Errorf("%v, %d tokens", err, r.tokens)
	}
	r.answer = func(w http.ResponseWriter) bool {
		refuse(w, http.StatusUnauthorized, "authError", "Invalid Credentials")
		return true
	}
	if err := fetch(); err == nil || r.tokens != 3 {
		t.Errorf("%v, %d tokens: a refusal that stays is an error after one more token", err, r.tokens)
	}
}

func TestTheKeyFileIsReadAgainAndTellsNothing(t *testing.T) {
	t.Parallel()
	c := newClock()
	r, cfg := newReports(t, c.now)
	good, err := os.ReadFile(cfg.CredentialsFile)
	if err != nil {
		t.Fatal(err)
	}
	var key object
	if err := json.Unmarshal(good, &key); err != nil {
		t.Fatal(err)
	}
	p := poller(t, cfg, c.now)
	key["private_key"] = otherKey(t)
	bad, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(raw []byte) {
		if err := os.WriteFile(cfg.CredentialsFile, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace(bad)
	if _, err := p.Fetch(t.Context(), nil, newLog(t).take); err == nil || !strings.Contains(err.Error(), "invalid_grant: Invalid JWT Signature") {
		t.Errorf("%v", err)
	}
	replace(good)
	if _, err := p.Fetch(t.Context(), nil, newLog(t).take); err != nil || r.tokens != 1 {
		t.Errorf("%v, %d tokens", err, r.tokens)
	}
	cfg.Admin = "someone.else@example.com"
	if _, err := poller(t, cfg, c.now).Fetch(t.Context(), nil, newLog(t).take); err == nil || !strings.Contains(err.Error(), "unauthorized_client") {
		t.Errorf("%v", err)
	}
	for field, value := range map[string]any{
		"type": "authorized_user", "client_email": "", "private_key": "hunter2", "token_uri": "http://token.example.com/",
	} {
		broken := maps.Clone(key)
		broken[field] = value
		cfg.CredentialsFile = writeKey(t, broken)
		if _, err := google.New(cfg, google.Deps{}); err == nil || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestConfigTellsEveryProblem(t *testing.T) {
	t.Parallel()
	err := google.Config{
		Tenant: "a b", Admin: "admin", Applications: []string{"drive", "login", "login"}, History: 5000 * time.Hour, BaseURL: "http://example.com",
	}.Validate()
	for _, want := range []string{"name: ", "tenant: ", "credentials_file: ", "admin: ", "applications[0]: ", "applications[2]: ", "history: ", "base_url: "} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+want) {
			t.Errorf("no problem with %q in: %v", want, err)
		}
	}
	if err := (google.Config{Name: "g", CredentialsFile: "f", Admin: admin}).Validate(); err != nil {
		t.Error(err)
	}
}
