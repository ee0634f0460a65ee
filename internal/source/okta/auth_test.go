package okta_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-io/countersign/internal/source/okta"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pemOf(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func elliptical(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestServiceApplication(t *testing.T) {
	t.Parallel()
	key := elliptical(t)
	jwk, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: "key-1"})
	if err != nil {
		t.Fatal(err)
	}
	for form, oauth := range map[string]okta.OAuth{
		"PEM": {ClientID: "0oaSERVICE", KeyFile: file(t, pemOf(t, key)), KeyID: "key-1"},
		"JWK": {ClientID: "0oaSERVICE", KeyFile: file(t, string(jwk))},
	} {
		o := newOrg(t, entriesOf(25, now))
		o.key, o.tokens = &key.PublicKey, nil
		cfg := config(o.URL)
		cfg.TokenFile, cfg.OAuth = "", oauth
		r := newReader(t, cfg)
		r.MustFetch(t)
		r.complete(t, o.entries)
		if o.tokensGranted() != 1 {
			t.Errorf("%s: %d tokens for one round", form, o.tokensGranted())
		}
		// A token that expired is asked for once more.
		o.Script(upstreamtest.Expired)
		r.MustFetch(t)
		if o.tokensGranted() != 2 {
			t.Errorf("%s: %d tokens after one expired", form, o.tokensGranted())
		}
		o.Script(upstreamtest.Expired, "", upstreamtest.Expired)
		if _, err := r.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("%s: new tokens that are not taken either: %v", form, err)
		}
		o.change(func(o *org) { o.kind = "DPoP" })
		o.Script(upstreamtest.Expired)
		if _, err := r.Fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "DPoP") {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func TestAPITokenIsReadAgain(t *testing.T) {
	t.Parallel()
	o := newOrg(t, entriesOf(3, now))
	cfg := config(o.URL)
	cfg.TokenFile = file(t, "old-token\n")
	o.tokens = map[string]bool{"SSWS old-token": true}
	r := newReader(t, cfg)
	r.MustFetch(t)
	o.change(func(o *org) { o.tokens = map[string]bool{"SSWS new-token": true} })
	if _, err := r.Fetch(t.Context()); err == nil || strings.Contains(err.Error(), "old-token") {
		t.Errorf("a token that is not taken: %v", err)
	}
	if err := os.WriteFile(cfg.TokenFile, []byte("new-token"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.MustFetch(t)
}

func TestSecretsThatAreNone(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := json.Marshal(jose.JSONWebKey{Key: weak.Public()})
	if err != nil {
		t.Fatal(err)
	}
	symmetric, err := json.Marshal(jose.JSONWebKey{Key: []byte("hunter2hunter2hunter2")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ field, text, want string }{
		{"token_file", "", "is empty"},
		{"token_file", "hunter2 hunter2", "does not hold one token"},
		{"token_file", strings.Repeat("x", 1<<17), "larger"},
		{"oauth.key_file", "hunter2", "neither PEM"},
		{"oauth.key_file", "{hunter2", "no JSON Web Key"},
		{"oauth.key_file", string(public), "no private"},
		{"oauth.key_file", string(symmetric), "no private"},
		{"oauth.key_file", "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----", "no private key"},
	} {
		cfg := config("https://example.okta.com")
		if c.field == "token_file" {
			cfg.TokenFile = file(t, c.text)
		} else {
			cfg.TokenFile, cfg.OAuth = "", okta.OAuth{ClientID: "0oa", KeyFile: file(t, c.text)}
		}
		_, err := okta.New(cfg, okta.Deps{})
		if err == nil || !strings.Contains(err.Error(), c.field) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s %.20q: %v", c.field, c.text, err)
		}
	}
	cfg := config("https://example.okta.com")
	cfg.TokenFile = filepath.Join(t.TempDir(), "absent")
	if _, err := okta.New(cfg, okta.Deps{}); err == nil || !strings.Contains(err.Error(), "token_file") {
		t.Errorf("%v", err)
	}
	cfg.TokenFile, cfg.OAuth = "", okta.OAuth{ClientID: "0oa", KeyFile: file(t, pemOf(t, weak))}
	if _, err := okta.New(cfg, okta.Deps{}); err != nil {
		t.Errorf("an RSA key: %v", err)
	}
}

func TestConfigsThatAreNone(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(c *okta.Config){
		"name: ":                func(c *okta.Config) { c.Name = "" },
		"tenant: ":              func(c *okta.Config) { c.Tenant = "a/b" },
		"use an address":        func(c *okta.Config) { c.OrgURL = "example.okta.com" },
		"org_url: ":             func(c *okta.Config) { c.OrgURL = "https://example.okta.com/api/v1" },
		"use https":             func(c *okta.Config) { c.OrgURL = "http://example.okta.com" },
		"token_file: is empty":  func(c *okta.Config) { c.TokenFile = "" },
		"use one of the two":    func(c *okta.Config) { c.OAuth.ClientID = "0oa" },
		"oauth.client_id: ":     func(c *okta.Config) { c.TokenFile, c.OAuth.KeyFile = "", "k" },
		"oauth.key_file: ":      func(c *okta.Config) { c.TokenFile, c.OAuth.ClientID = "", "0oa" },
		"history: ":             func(c *okta.Config) { c.History = 100 * 24 * time.Hour },
		"interval: ":            func(c *okta.Config) { c.Interval = -1 },
		"requests_per_minute: ": func(c *okta.Config) { c.RequestsPerMinute = -1 },
	} {
		cfg := config("https://example.okta.com")
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := okta.New(cfg, okta.Deps{}); err == nil {
			t.Errorf("New takes it, want %q", want)
		}
	}
	cfg := config("https://example.okta.com/")
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}
