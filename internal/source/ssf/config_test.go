package ssf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-io/countersign/internal/source/ssf"
)

const whole = `
name: corp-idp
tenant: acme
dialect: okta
issuer: https://idp.example.com/acme
audience: ["https://countersign.example.com/ssf"]
jwks_url: https://idp.example.com/acme/jwks
subjects: {issuers: ["https://login.example.com"], names: skip, opaque: user}
push: {token_file: /run/secrets/push}
poll:
  url: https://idp.example.com/acme/poll?stream=1
  client_credentials: {token_url: "https://idp.example.com/token", client_id: countersign, client_secret_file: /run/secrets/client, scopes: [ssf.read]}
  max_events: 50
  wait: 1m
  interval: 10s
clock_skew: 1m
max_age: 24h
`

func parse(t *testing.T, text string) (c ssf.Config) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfig(t *testing.T) {
	t.Parallel()
	c := parse(t, whole)
	if err := c.Validate(); err != nil || !c.Pushes() || !c.Polls() {
		t.Errorf("%v, %v, %v", err, c.Pushes(), c.Polls())
	}
	for field, change := range map[string]func(c *ssf.Config){
		"name: is \"Corp/IdP\"": func(c *ssf.Config) { c.Name = "Corp/IdP" },
		"name: is \"\"":         func(c *ssf.Config) { c.Name = "" },
		"tenant: is \"a/b\"":    func(c *ssf.Config) { c.Tenant = "a/b" },
		"dialect: is \"apple\"": func(c *ssf.Config) { c.Dialect = "apple" },
		"issuer: is empty":      func(c *ssf.Config) { c.Issuer = "" },
		"issuer: \"http://idp.example.com\" is not https":  func(c *ssf.Config) { c.Issuer = "http://idp.example.com" },
		"issuer: \"https://a:b@idp.example.com\" is no":    func(c *ssf.Config) { c.Issuer = "https://a:b@idp.example.com" },
		"audience: names nobody":                           func(c *ssf.Config) { c.Audience = nil },
		"jwks_url: \"idp.example.com\" is no address":      func(c *ssf.Config) { c.JWKSURL = "idp.example.com" },
		"jwks_file: there is a jwks_url too":               func(c *ssf.Config) { c.JWKSFile = "keys.json" },
		"subjects.names: is \"drop\"":                      func(c *ssf.Config) { c.Subjects.Names = "drop" },
		"subjects.opaque: is \"yes\"":                      func(c *ssf.Config) { c.Subjects.Opaque = "yes" },
		"push.token_file: is empty, and so is poll.url":    func(c *ssf.Config) { c.Push, c.Poll = ssf.PushConfig{}, ssf.PollConfig{} },
		"poll.url: is empty":                               func(c *ssf.Config) { c.Poll.URL = "" },
		"poll.url: \"http://192.0.2.1/poll\" is not https": func(c *ssf.Config) { c.Poll.URL = "http://192.0.2.1/poll" },
		"poll.token_file: there are client_credentials":    func(c *ssf.Config) { c.Poll.TokenFile = "token" },
		"poll.token_file: is empty":                        func(c *ssf.Config) { c.Poll.ClientCredentials = ssf.ClientCredentials{} },
		"poll.client_credentials.token_url: is empty":      func(c *ssf.Config) { c.Poll.ClientCredentials.TokenURL = "" },
		"poll.client_credentials.client_id: is empty":      func(c *ssf.Config) { c.Poll.ClientCredentials.ClientID = "" },
		"poll.client_credentials.client_secret_file: is":   func(c *ssf.Config) { c.Poll.ClientCredentials.ClientSecretFile = "" },
		"poll.max_events: is 501":                          func(c *ssf.Config) { c.Poll.MaxEvents = 501 },
		"poll.wait: is 11m0s":                              func(c *ssf.Config) { c.Poll.Wait = 11 * time.Minute },
		"poll.interval: is -1s":                            func(c *ssf.Config) { c.Poll.Interval = -time.Second },
		"clock_skew: is 2h0m0s":                            func(c *ssf.Config) { c.ClockSkew = 2 * time.Hour },
		"max_age: is -1s":                                  func(c *ssf.Config) { c.MaxAge = -time.Second },
	} {
		c := parse(t, whole)
		change(&c)
		err := c.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), field) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, field)
		}
	}
	if err := (ssf.Config{}).Validate(); err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("all problems at once: %v", err)
	}
}

// Files that are missing, empty or wrong are told at the start, all at once, and never with what they hold.
func TestNewReadsItsFiles(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	short, odd := file(t, "hunter2"), file(t, "sha256:hunter2")
	for want, change := range map[string]func(c *ssf.Config){
		"push.token_file: open": func(c *ssf.Config) { c.Push.TokenFile = missing },
		"holds 7 characters":    func(c *ssf.Config) { c.Push.TokenFile = short },
		"holds no digest":       func(c *ssf.Config) { c.Push.TokenFile = odd },
		"poll.token_file: ":     func(c *ssf.Config) { c.Poll.TokenFile = file(t, "") },
		"poll.client_credentials.client_secret_file: open": func(c *ssf.Config) {
			c.Poll.TokenFile, c.Poll.ClientCredentials = "", ssf.ClientCredentials{TokenURL: c.Issuer + "/token", ClientID: "c", ClientSecretFile: missing}
		},
		"jwks_file: open": func(c *ssf.Config) { c.JWKSFile = missing },
		"name: is":        func(c *ssf.Config) { c.Name = "" },
	} {
		cfg := newParty(t).config(t)
		change(&cfg)
		if _, err := ssf.New(cfg, ssf.Deps{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	cfg := newParty(t).config(t)
	cfg.Push.TokenFile, cfg.Poll.TokenFile, cfg.JWKSFile = missing, missing, missing
	if _, err := ssf.New(cfg, ssf.Deps{}); err == nil || strings.Count(err.Error(), missing) != 3 {
		t.Errorf("%v", err)
	}
}

// The documentation's example is one that works.
func TestDocumentedConfig(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "sources", "ssf.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for i, block := range strings.Split(string(raw), "```") {
		text, is := strings.CutPrefix(block, "yaml\n")
		if i%2 == 0 || !is {
			continue
		}
		var doc struct {
			Sources struct {
				SSF []ssf.Config `yaml:"ssf"`
			} `yaml:"sources"`
		}
		d := yaml.NewDecoder(strings.NewReader(text))
		d.KnownFields(true)
		if err := d.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		for _, c := range doc.Sources.SSF {
			blocks++
			if err := c.Validate(); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		}
	}
	if blocks == 0 {
		t.Error("there is no example")
	}
}
