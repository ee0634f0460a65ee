package graph_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/countersign-io/countersign/internal/source/entra/graph"
)

func TestConfigurations(t *testing.T) {
	t.Parallel()
	const app = "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00"
	for name, c := range map[string]struct {
		change func(*graph.Config)
		want   []string // the beginnings of the problems
	}{
		"valid": {func(*graph.Config) {}, nil},
		"a client secret": {func(c *graph.Config) {
			c.Credential = graph.Credential{Kind: graph.ClientSecret, ClientID: app, SecretFile: "s"}
		}, nil},
		"a certificate": {func(c *graph.Config) {
			c.Credential = graph.Credential{Kind: graph.Certificate, ClientID: app, CertificateFile: "c", CertificatePasswordFile: "p"}
		}, nil},
		"a workload identity": {func(c *graph.Config) { c.Credential = graph.Credential{Kind: graph.WorkloadIdentity} }, nil},
		"a national cloud":    {func(c *graph.Config) { c.BaseURL = "https://graph.microsoft.us" }, nil},
		"nothing": {func(c *graph.Config) { *c = graph.Config{} }, []string{
			"name: must be", "tenant: must be", "credential.kind: must be",
		}},
		"a secret without anything": {func(c *graph.Config) { c.Credential = graph.Credential{Kind: graph.ClientSecret} }, []string{
			"credential.secret_file: is missing", "credential.client_id: must be",
		}},
		"a certificate without anything": {func(c *graph.Config) { c.Credential = graph.Credential{Kind: graph.Certificate, ClientID: app} }, []string{
			"credential.certificate_file: is missing",
		}},
		"fields of other kinds": {func(c *graph.Config) {
			c.Credential = graph.Credential{Kind: graph.ManagedIdentity, SecretFile: "s", CertificateFile: "c", CertificatePasswordFile: "p", TokenFile: "t"}
		}, []string{
			"credential.secret_file: is not used", "credential.certificate_file: is not used", "credential.certificate_password_file: is not used",
			"credential.token_file: is not used",
		}},
		"the tenant's domain": {func(c *graph.Config) { c.Tenant = "contoso.onmicrosoft.com" }, []string{"tenant: must be"}},
		"an unknown feed":     {func(c *graph.Config) { c.Feeds = []string{"logins"} }, []string{`feeds: "logins" is unknown`}},
		"a feed twice": {func(c *graph.Config) { c.Feeds = []string{graph.RiskyUsers, graph.RiskyUsers} }, []string{
			"feeds: risky_users is named twice",
		}},
		"T40 two copies of the same sign-ins": {func(c *graph.Config) { c.Feeds = []string{graph.SignIns, graph.SignInsBeta} }, []string{
			"feeds: sign_ins and sign_ins_beta",
		}},
		"no history":              {func(c *graph.Config) { c.History = time.Minute }, []string{"history: must be"}},
		"more history than is":    {func(c *graph.Config) { c.History = 31 * 24 * time.Hour }, []string{"history: must be"}},
		"another host":            {func(c *graph.Config) { c.BaseURL = "https://graph.example.com" }, []string{"base_url: "}},
		"a host that looks alike": {func(c *graph.Config) { c.BaseURL = "https://graph.microsoft.com.example.com" }, []string{"base_url: "}},
		"another port":            {func(c *graph.Config) { c.BaseURL = "https://graph.microsoft.com:8443" }, []string{"base_url: "}},
		"no encryption":           {func(c *graph.Config) { c.BaseURL = "http://graph.microsoft.com" }, []string{"base_url: must begin"}},
		"a user in the address":   {func(c *graph.Config) { c.BaseURL = "https://a@graph.microsoft.com" }, []string{"base_url: "}},
		"no address":              {func(c *graph.Config) { c.BaseURL = "graph.microsoft.com" }, []string{"base_url: "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			c.change(&cfg)
			var got []string
			if err := cfg.Validate(); err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if len(got) != len(c.want) {
				t.Fatalf("problems %q, want %q", got, c.want)
			}
			for i, problem := range got {
				if !strings.HasPrefix(problem, c.want[i]) {
					t.Errorf("problem %q, want %q", problem, c.want[i])
				}
			}
		})
	}
}

func TestNamesAreThoseOfTheFeeds(t *testing.T) {
	t.Parallel()
	for _, feeds := range [][]string{nil, {graph.RiskyUsers, graph.SignInsBeta}} {
		cfg := config(feeds...)
		var names []string
		for _, feed := range feedsOf(t, cfg, graph.Deps{Getter: &direct{}}) {
			names = append(names, feed.Name())
		}
		if diff := cmp.Diff(cfg.Names(), names); diff != "" {
			t.Errorf("(-Names +Name):\n%s", diff)
		}
	}
	if got := config().Names(); !slices.Equal(got, []string{"contoso/sign_ins", "contoso/directory_audits"}) {
		t.Errorf("by default: %v", got)
	}
}

// A configuration that is not whole makes no feeds.
func TestNewValidates(t *testing.T) {
	t.Parallel()
	if _, err := graph.New(graph.Config{}, graph.Deps{Getter: &direct{}, Limits: graph.NewLimits()}); err == nil {
		t.Error("no error for an empty configuration")
	}
	if _, err := graph.New(config(), graph.Deps{}); err == nil {
		t.Error("no error without a Getter")
	}
}

func TestTheDocumentedConfigurationIsRead(t *testing.T) {
	t.Parallel()
	const text = `
name: contoso
tenant: 0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80
credential:
  kind: certificate
  client_id: c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00
  certificate_file: /run/secrets/graph.pem
feeds: [sign_ins_beta, non_interactive, directory_audits, risk_detections]
history: 72h
base_url: https://graph.microsoft.us
`
	want := graph.Config{
		Name: "contoso", Tenant: tenant, Feeds: []string{graph.SignInsBeta, graph.NonInteractive, graph.DirectoryAudits, graph.RiskDetections},
		Credential: graph.Credential{Kind: graph.Certificate, ClientID: "c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00", CertificateFile: "/run/secrets/graph.pem"},
		History:    72 * time.Hour, BaseURL: "https://graph.microsoft.us",
	}
	var got graph.Config
	decoder := yaml.NewDecoder(strings.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
}
