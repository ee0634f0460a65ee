package ssf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func goodConfig() Config {
	c := DefaultConfig()
	c.BaseURL = "https://courier.example.com"
	c.Tenants = []Tenant{{Name: "acme"}, {Name: "quiet", DefaultSubjects: SubjectsNone}}
	c.ExternalIssuers = []ExternalIssuer{{Issuer: "https://login.example.com/", Audience: "api://ssf", JWKSURL: "https://login.example.com/keys"}}
	c.Clients = []Client{
		{ID: "a", SecretFile: "a.secret", Tenant: "acme", Audience: []string{"x"}},
		{ID: "b", Issuer: "https://login.example.com/", Tenant: "quiet", Audience: []string{"x"}, Scopes: []string{ScopeRead}},
		{ID: "g", Tenant: "acme", Dialect: DialectGoogle, Audience: []string{GoogleAudience}, SubjectFormat: FormatEmail, MaxStreams: 1},
	}
	return c
}

func TestConfigNamesEveryProblem(t *testing.T) {
	t.Parallel()
	if err := goodConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Config){
		"base_url: is empty":                    func(c *Config) { c.BaseURL = "" },
		"base_url: is \"https://x/\"":           func(c *Config) { c.BaseURL = "https://x/" },
		"base_url: is \"http://x.example.com\"": func(c *Config) { c.BaseURL = "http://x.example.com" },
		"tenants: is empty":                     func(c *Config) { c.Tenants = nil },
		"tenants[1].name: is \"..\"":            func(c *Config) { c.Tenants[1].Name = ".." },
		"tenants[1].name: is \"acme\"":          func(c *Config) { c.Tenants[1].Name = "acme" },
		"tenants[0].default_subjects:":          func(c *Config) { c.Tenants[0].DefaultSubjects = "SOME" },
		"external_issuers[0].issuer: ":          func(c *Config) { c.ExternalIssuers[0].Issuer = c.BaseURL },
		"external_issuers[0].jwks_url: ":        func(c *Config) { c.ExternalIssuers[0].JWKSURL = "http://x.example.com" },
		"external_issuers[0].audience: ":        func(c *Config) { c.ExternalIssuers[0].Audience = "" },
		"clients[0].id: is \"a b\"":             func(c *Config) { c.Clients[0].ID = "a b" },
		"clients[1].id: is \"a\"":               func(c *Config) { c.Clients[1].ID = "a" },
		"clients[0].tenant: ":                   func(c *Config) { c.Clients[0].Tenant = "x" },
		"clients[0].secret_file: ":              func(c *Config) { c.Clients[0].SecretFile = "" },
		"clients[0].issuer: is set beside":      func(c *Config) { c.Clients[0].Issuer = "https://login.example.com/" },
		"clients[1].issuer: is \"x\"":           func(c *Config) { c.Clients[1].Issuer = "x" },
		"clients[0].audience: is empty":         func(c *Config) { c.Clients[0].Audience = nil },
		"clients[0].audience: has \"x*\"":       func(c *Config) { c.Clients[0].Audience = []string{"x*"} },
		"clients[2].audience: ":                 func(c *Config) { c.Clients[2].Audience = []string{"x"} },
		"clients[0].dialect: ":                  func(c *Config) { c.Clients[0].Dialect = "x" },
		"clients[0].scopes: ":                   func(c *Config) { c.Clients[0].Scopes = []string{"admin"} },
		"clients[0].subject_format: ":           func(c *Config) { c.Clients[0].SubjectFormat = "did" },
		"clients[0].max_streams: ":              func(c *Config) { c.Clients[0].MaxStreams = -1 },
		"clients[1].interop: ":                  func(c *Config) { c.Clients[1].Interop = true },
		"token_ttl: ":                           func(c *Config) { c.TokenTTL = 61 * time.Minute },
		"min_verification_interval: ":           func(c *Config) { c.MinVerificationInterval = 0 },
		"inactivity_timeout: ":                  func(c *Config) { c.InactivityTimeout = time.Second },
		"poll_wait: is 1m31s":                   func(c *Config) { c.PollWait = 91 * time.Second },
		"clients[0].subject_issuer: ":           func(c *Config) { c.Clients[0].SubjectFormat = FormatIssSub },
		"clients[1].subject_issuer: ":           func(c *Config) { c.Clients[1].Dialect = DialectAppleSSE },
		"clients[2].subject_format: is opaque":  func(c *Config) { c.Clients[2].SubjectFormat = FormatOpaque },
		"clients[1].subject_format: is email": func(c *Config) {
			c.Clients[1].Dialect, c.Clients[1].SubjectFormat = DialectAppleSSE, FormatEmail
		},
		"requests_per_second: ": func(c *Config) { c.RequestsPerSecond = 0 },
		"burst: ":               func(c *Config) { c.Burst = 0 },
		"limits.body: ":         func(c *Config) { c.Limits.Body = 0 },
		"limits.poll_sets: ":    func(c *Config) { c.Limits.PollSets = 0 },
	} {
		c := goodConfig()
		spoil(&c)
		err := c.Validate()
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestReceiverOfAClient(t *testing.T) {
	t.Parallel()
	c := goodConfig()
	got, ok := c.Receiver("g")
	want := Receiver{
		ID: "g", Tenant: "acme", Audience: []string{GoogleAudience}, Scopes: []string{ScopeManage, ScopeRead}, Dialect: DialectGoogle,
		SubjectFormat: FormatEmail, MaxStreams: 1,
	}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Error(diff)
	}
	if got, _ := c.Receiver("b"); got.MaxStreams != c.Limits.Streams || got.Dialect != DialectSSF1 {
		t.Errorf("%+v", got)
	}
	if _, ok := c.Receiver("nobody"); ok {
		t.Error("a receiver that nobody configured")
	}
}

func TestSecretsAreChecked(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("s", minSecret)
	for name, tc := range map[string]struct {
		content string
		want    string
	}{
		"one": {long + "\n", ""}, "two": {long + "\n" + long + "2\n", ""}, "none": {"\n", "0 lines"}, "three": {long + " " + long + " " + long, "3 lines"},
		"short": {"hunter2", "7 characters"}, "huge": {strings.Repeat("s", 5000), "must have one secret"},
	} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := readSecrets(path)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := goodConfig()
	c.Clients[0].SecretFile = filepath.Join(t.TempDir(), "absent")
	if _, err := newGuard(c, Deps{}); err == nil || !strings.Contains(err.Error(), "clients[0].secret_file: ") {
		t.Errorf("%v", err)
	}
}
