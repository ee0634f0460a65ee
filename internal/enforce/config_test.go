package enforce

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/config"
)

func TestConfigNamesEveryProblem(t *testing.T) {
	t.Parallel()
	good := func() Config {
		c := DefaultConfig()
		c.App, c.Kafka.Brokers = "payroll", []string{"kafka:9092"}
		c.Issuers = []IssuerConfig{{Issuer: "https://id.example.com", Audiences: []string{"api"}, Tenant: "acme"}}
		return c
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"listen: ":                    func(c *Config) { c.Listen = "8083" },
		"tls.cert_file: is empty":     func(c *Config) { c.Listen = "0.0.0.0:8083" },
		"tls.cert_file: needs":        func(c *Config) { c.TLS.KeyFile = "k" },
		"tls.client_ca_file: ":        func(c *Config) { c.TLS.ClientCAFile = "k" },
		"app: ":                       func(c *Config) { c.App = "" },
		"proxies: is empty":           func(c *Config) { c.Proxies = nil },
		"proxies[0]: ":                func(c *Config) { c.Proxies = []netip.Prefix{{}} },
		"issuers: is empty":           func(c *Config) { c.Issuers = nil },
		"issuers[1].issuer: is named": func(c *Config) { c.Issuers = append(c.Issuers, c.Issuers[0]) },
		"issuers[0].issuer: is empty": func(c *Config) { c.Issuers[0].Issuer = "" },
		"issuers[0].audiences: ":      func(c *Config) { c.Issuers[0].Audiences = nil },
		"issuers[0].jwks_url: \"http": func(c *Config) { c.Issuers[0].JWKSURL = "http://id.example.com/keys" },
		"issuers[0].jwks_file: ":      func(c *Config) { c.Issuers[0].JWKSURL, c.Issuers[0].JWKSFile = "https://x/y", "f" },
		"issuers[0].algorithms[1]: ":  func(c *Config) { c.Issuers[0].Algorithms = []string{"RS256", "HS256"} },
		"issuers[0].algorithms[0]: ":  func(c *Config) { c.Issuers[0].Algorithms = []string{"none"} },
		"issuers[0].tenant: is empty": func(c *Config) { c.Issuers[0].Tenant = "" },
		"issuers[0].tenant: set":      func(c *Config) { c.Issuers[0].TenantClaim = "tid" },
		"issuers[0].tenant: \"a/b\"":  func(c *Config) { c.Issuers[0].Tenant = "a/b" },
		"header.user: is empty":       func(c *Config) { c.Header.ACR = "X" },
		"header.user: \"a b\"":        func(c *Config) { c.Header = HeaderConfig{User: "a b", Tenant: "acme"} },
		"header.tenant: ":             func(c *Config) { c.Header.User = "X-User" },
		"sign_in.url: ":               func(c *Config) { c.SignIn = SignInConfig{ReturnParameter: "rd", AppURL: "https://x"} },
		"sign_in.app_url: ":           func(c *Config) { c.SignIn = SignInConfig{ReturnParameter: "rd", URL: "https://x"} },
		"sign_in.return_parameter: ":  func(c *Config) { c.SignIn = SignInConfig{AppURL: "https://x", URL: "https://x"} },
		"public[0].path: ":            func(c *Config) { c.Public = []Match{{Path: "/a/../b"}} },
		"public[0].methods[0]: ":      func(c *Config) { c.Public = []Match{{Path: "/", Methods: []string{"get"}}} },
		"routes[0].path: ":            func(c *Config) { c.Routes = []RouteConfig{{Path: "a", ACRValues: []string{"x"}}} },
		"routes[0].acr_values: is":    func(c *Config) { c.Routes = []RouteConfig{{Path: "/a"}} },
		"routes[0].acr_values[0]: ":   func(c *Config) { c.Routes = []RouteConfig{{Path: "/a", ACRValues: []string{"a b"}}} },
		"routes[0].max_age: ":         func(c *Config) { c.Routes = []RouteConfig{{Path: "/a", MaxAge: time.Millisecond}} },
		"stale: ":                     func(c *Config) { c.Stale = "open" },
		"ranking[1]: ":                func(c *Config) { c.Ranking = []string{"pwd", ""} },
		"leeway: ":                    func(c *Config) { c.Leeway = -1 },
		"max_challenges: ":            func(c *Config) { c.MaxChallenges = 0 },
		"max_open: ":                  func(c *Config) { c.MaxOpen = 0 },
		"challenge_window: ":          func(c *Config) { c.ChallengeWindow = 0 },
		"max_staleness: ":             func(c *Config) { c.MaxStaleness = time.Millisecond },
		"ssf: is set":                 func(c *Config) { c.SSF.Issuer = "https://x" },
		"ssf.issuer: \"http:":         func(c *Config) { stream(c).Issuer = "http://courier" },
		"ssf.token_url: ":             func(c *Config) { stream(c).TokenURL = "" },
		"ssf.client_id: ":             func(c *Config) { stream(c).ClientID = "" },
		"ssf.client_secret_file: ":    func(c *Config) { stream(c).ClientSecretFile = "" },
		"ssf.description: ":           func(c *Config) { stream(c).Description = "" },
		"ssf.store: ":                 func(c *Config) { stream(c).Store = "" },
		"kafka.brokers: ":             func(c *Config) { c.Kafka.Brokers = nil },
		"receipts.url: is empty":      func(c *Config) { c.Receipts.TokenFile = "x" },
		"receipts.url: \"http":        func(c *Config) { c.Receipts = ReportConfig{URL: "http://x/v1/receipts", TokenFile: "x"} },
		"sessions.token_file: ":       func(c *Config) { c.Sessions.URL = "https://x/v1/sessions" },
	} {
		c := good()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// stream makes SSF the source of a configuration.
func stream(c *Config) *SSFConfig {
	c.Kafka = KafkaConfig{}
	c.SSF = SSFConfig{
		Issuer: "https://courier.example.com/acme", TokenURL: "https://courier.example.com/token", ClientID: "payroll",
		ClientSecretFile: "secret", Description: "payroll-1", Store: "payroll.ssf",
	}
	return &c.SSF
}

func TestStaleness(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	if got := c.Staleness(); got != 30*time.Second {
		t.Errorf("with Kafka %v", got)
	}
	stream(&c)
	if got := c.Staleness(); got != 2*time.Minute {
		t.Errorf("with SSF %v", got)
	}
	if c.MaxStaleness = time.Second; c.Staleness() != time.Second {
		t.Errorf("as configured %v", c.Staleness())
	}
}

// What docs/apps.md shows can be used.
func TestTheExampleOfTheDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "apps.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```yaml\n# enforce.yaml")
	example, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("docs/apps.md shows no enforce.yaml")
	}
	cfg, err := config.Parse(DefaultConfig(), []byte(example), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Routes) == 0 || len(cfg.Issuers) == 0 || len(cfg.Proxies) == 0 {
		t.Errorf("%+v", cfg)
	}
	block := func(begin string) string {
		_, rest, ok := strings.Cut(string(text), "```yaml\n"+begin)
		block, _, closed := strings.Cut(rest, "```")
		if !ok || !closed {
			t.Fatalf("docs/apps.md shows no %s", begin)
		}
		return begin + block
	}
	kafka := "kafka:\n  brokers: [127.0.0.1:9092]\n"
	for name, variant := range map[string]string{
		"header": example + block("header:"), "ssf": strings.Replace(example, kafka, block("ssf:"), 1),
	} {
		if cfg, err = config.Parse(DefaultConfig(), []byte(variant), nil); err != nil || cfg.SignIn.URL == "" && cfg.SSF.Issuer == "" {
			t.Errorf("with %s: %v", name, err)
		}
	}
	for _, path := range []string{pathNginx, pathTraefik, pathEnvoy} {
		if !strings.Contains(string(text), path) {
			t.Errorf("docs/apps.md does not show how to ask under %s", path)
		}
	}
}
