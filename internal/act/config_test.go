package act

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/source/okta/credential"
)

const complete = `
act:
  graph:
    - {name: corp, directory: aaaaaaaa-0000-4000-8000-00000000000a, client_id: bbbbbbbb-0000-4000-8000-00000000000b, secret_file: /run/secrets/graph}
    - {name: gov, directory: aaaaaaaa-0000-4000-8000-00000000000a, client_id: bbbbbbbb-0000-4000-8000-00000000000b, token_file: t, base_url: "https://graph.microsoft.us"}
  okta:
    - {name: org, org_url: "https://example.okta.com", oauth: {client_id: 0oa, key_file: k}}
  actions:
    - {name: end, kind: graph_revoke_sessions, mode: observe, account: corp, match: {tenants: [acme], actions: [revoke_all], severity: high, policies: [p]}}
    - {name: risk, kind: graph_confirm_compromised, account: corp, match: {tenants: [acme], actions: [revoke_all]}}
    - {name: calm, kind: graph_dismiss_risk, mode: "on", account: gov, match: {tenants: [acme], actions: [step_up]}}
    - {name: okta, kind: okta_revoke_sessions, mode: "on", account: org, per_minute: 5, max_age: 1h, match: {tenants: [acme], actions: [revoke_session]}}
    - {name: hook, kind: http, mode: "on", url: "https://hooks.example.com/x", secrets_file: s, match: {actions: [step_up], status: [open, satisfied, expired]}}
`

type whole struct {
	Act Config `yaml:"act"`
}

func parse(text string) (Config, error) {
	w, err := config.Parse(whole{DefaultConfig()}, []byte(text), nil)
	return w.Act, err
}

func TestCompleteConfiguration(t *testing.T) {
	t.Parallel()
	c, err := parse(complete)
	if err != nil {
		t.Fatal(err)
	}
	if base, authority := c.Graph[0].addresses(); base != "https://graph.microsoft.com" || authority != "https://login.microsoftonline.com" {
		t.Errorf("%s, %s", base, authority)
	}
	if base, authority := c.Graph[1].addresses(); base != "https://graph.microsoft.us" || authority != "https://login.microsoftonline.us" {
		t.Errorf("%s, %s", base, authority)
	}
	if got := c.Okta[0].credentials().OAuth.Scope; got != "okta.users.manage" {
		t.Errorf("scope %s", got)
	}
	for i, want := range [][]revocation.Status{{revocation.Open}, {revocation.Open}, {revocation.Satisfied}, {revocation.Open}, revocation.Statuses} {
		a := c.Actions[i].withDefaults()
		if !slices.Equal(a.Match.Status, want) || i == 0 && (a.PerMinute != 60 || a.MaxAge != 24*time.Hour) || i == 3 && (a.PerMinute != 5 || a.MaxAge != time.Hour) {
			t.Errorf("%s: %+v", a.Name, a)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("default: %v", err)
	}
}

func TestEveryProblemHasItsPath(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Config){
		"group: ":                       func(c *Config) { c.Group = "" },
		"session_timeout: ":             func(c *Config) { c.SessionTimeout = 0 },
		"outbound: timeout: ":           func(c *Config) { c.Outbound.Timeout = 0 },
		"retry_max: ":                   func(c *Config) { c.RetryMax = 0 },
		"retry_denied: ":                func(c *Config) { c.RetryDenied = 0 },
		"concurrency: ":                 func(c *Config) { c.Concurrency = 0 },
		"graph[0].name: ":               func(c *Config) { c.Graph[0].Name, c.Actions = "A B", nil },
		"graph[1].name: ":               func(c *Config) { c.Graph[1].Name, c.Actions = "corp", nil },
		"graph[0].directory: ":          func(c *Config) { c.Graph[0].Directory = "example.com" },
		"graph[0].client_id: ":          func(c *Config) { c.Graph[0].ClientID = "" },
		"graph[0].secret_file: ":        func(c *Config) { c.Graph[0].TokenFile = "x" },
		"graph[0].base_url: ":           func(c *Config) { c.Graph[0].BaseURL = "https://graph.example.com" },
		"graph[0].authority_url: ":      func(c *Config) { c.Graph[0].AuthorityURL = "http://login.example.com" },
		"okta[0].org_url: ":             func(c *Config) { c.Okta[0].OrgURL = "http://example.okta.com" },
		"okta[0].token_file: ":          func(c *Config) { c.Okta[0].OAuth = credential.OAuth{} },
		"actions[1].name: ":             func(c *Config) { c.Actions[1].Name = "end" },
		"actions[0].mode: ":             func(c *Config) { c.Actions[0].Mode = "maybe" },
		"actions[0].kind: ":             func(c *Config) { c.Actions[0].Kind = "delete_user" },
		"actions[0].account: ":          func(c *Config) { c.Actions[0].Account = "org" },
		"actions[3].account: ":          func(c *Config) { c.Actions[3].Account = "corp" },
		"actions[4].account: ":          func(c *Config) { c.Actions[4].Account = "corp" },
		"actions[0].url: ":              func(c *Config) { c.Actions[0].URL = "https://x.example" },
		"actions[4].url: ":              func(c *Config) { c.Actions[4].URL = "https://169.254.169.254/latest" },
		"actions[4].secrets_file: ":     func(c *Config) { c.Actions[4].SecretsFile = "" },
		"actions[0].per_minute: ":       func(c *Config) { c.Actions[0].PerMinute = -1 },
		"actions[0].max_age: ":          func(c *Config) { c.Actions[0].MaxAge = time.Second },
		"actions[0].match.tenants: ":    func(c *Config) { c.Actions[0].Match.Tenants = nil },
		"actions[0].match.tenants[0]: ": func(c *Config) { c.Actions[0].Match.Tenants = []string{"a/b"} },
		"actions[0].match.actions: ":    func(c *Config) { c.Actions[0].Match.Actions = nil },
		"actions[0].match.actions[0]: ": func(c *Config) { c.Actions[0].Match.Actions = []events.Action{"none"} },
		"actions[0].match.severity: ":   func(c *Config) { c.Actions[0].Match.Severity = "huge" },
		"actions[0].match.status[0]: ":  func(c *Config) { c.Actions[0].Match.Status = []revocation.Status{revocation.Satisfied} },
		"actions[2].match.status[0]: ":  func(c *Config) { c.Actions[2].Match.Status = []revocation.Status{revocation.Open} },
		"actions[4].match.status[0]: ":  func(c *Config) { c.Actions[4].Match.Status = []revocation.Status{"new"} },
		"actions: ":                     func(c *Config) { c.Actions = make([]ActionConfig, 33) },
		"actions[4].match: ":            func(c *Config) { c.Actions[4].Match.Policies = make([]string, 1001) },
	} {
		c, err := parse(complete)
		if err != nil {
			t.Fatal(err)
		}
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s\ngot %v", want, err)
		}
	}
	if _, err := parse("act: {actions: [{colour: x}]}"); err == nil || !strings.Contains(err.Error(), "colour") {
		t.Errorf("an unknown key: %v", err)
	}
}

func TestEveryConfigurationOfTheDocumentationIsGood(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "actions.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) == 0 {
		t.Fatal("there is none")
	}
	for _, b := range blocks {
		if c, err := parse(string(b[1])); err != nil || len(c.Actions) == 0 {
			t.Errorf("%s\n%v", b[1], err)
		}
	}
}

// What is off needs no secrets yet; what is observed does.
func TestOffReadsNoFiles(t *testing.T) {
	t.Parallel()
	c, err := parse(complete)
	if err != nil {
		t.Fatal(err)
	}
	log := &memoryLog{}
	if _, err := New(c, Deps{Log: log, Publisher: log}); err == nil || !strings.HasPrefix(err.Error(), "actions[0].account corp: ") {
		t.Errorf("%v", err)
	}
	for i := range c.Actions {
		c.Actions[i].Mode = Off
	}
	r, err := New(c, Deps{Log: log, Publisher: log})
	if err != nil || len(r.actions) != 0 {
		t.Errorf("%v", err)
	}
	if _, err := New(c, Deps{}); err == nil {
		t.Error("it works without a log")
	}
}
