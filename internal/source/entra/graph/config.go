package graph

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Config describes one tenant, asked through one app registration. Several tenants are several configurations.
type Config struct {
	// Name is that of the sources, each "name/feed"; cursors and the status are kept under it.
	Name string `yaml:"name"`
	// Tenant is the GUID of the directory.
	Tenant     string     `yaml:"tenant"`
	Credential Credential `yaml:"credential"`
	// Feeds are what is asked for, see [Feeds]; none is sign_ins and directory_audits. sign_ins_beta is a fuller copy of
	// sign_ins, so that only one of them may be on.
	Feeds []string `yaml:"feeds"`
	// History is how far back the first start goes; 0 is 24 hours.
	History time.Duration `yaml:"history"`
	// BaseURL is Graph's address, that of a national cloud for example; "" is the global service.
	BaseURL string `yaml:"base_url"`
}

// Credential is how the app proves who it is. Which fields are used depends on Kind.
type Credential struct {
	// Kind is client_secret, certificate, workload_identity or managed_identity.
	Kind string `yaml:"kind"`
	// ClientID is the GUID of the app registration, or of a user-assigned managed identity.
	ClientID string `yaml:"client_id"`
	// SecretFile holds a client secret.
	SecretFile string `yaml:"secret_file"`
	// CertificateFile holds a certificate and its private key, as PEM or PKCS #12.
	CertificateFile         string `yaml:"certificate_file"`
	CertificatePasswordFile string `yaml:"certificate_password_file"`
	// TokenFile holds the federated token of a workload identity; "" is what AZURE_FEDERATED_TOKEN_FILE names.
	TokenFile string `yaml:"token_file"`
}

// The kinds of credentials.
const (
	ClientSecret     = "client_secret"
	Certificate      = "certificate"
	WorkloadIdentity = "workload_identity"
	ManagedIdentity  = "managed_identity"
)

// DefaultBaseURL is the address of the global service.
const DefaultBaseURL = "https://graph.microsoft.com"

const (
	defaultHistory = day
	minHistory     = time.Hour
	maxHistory     = 30 * day
)

// Authorities are the hosts of Graph that are asked, each with the authority that gives tokens for it: a token must not go
// anywhere else.
var Authorities = map[string]string{
	"graph.microsoft.com":             "https://login.microsoftonline.com/",
	"graph.microsoft.us":              "https://login.microsoftonline.us/",
	"dod-graph.microsoft.us":          "https://login.microsoftonline.us/",
	"microsoftgraph.chinacloudapi.cn": "https://login.chinacloudapi.cn/",
	"canary.graph.microsoft.com":      "https://login.microsoftonline.com/",
}

var (
	guid    = regexp.MustCompile(`^(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	naming  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	secrets = map[string][]string{ // the fields that a kind uses besides client_id
		ClientSecret: {"secret_file"}, Certificate: {"certificate_file", "certificate_password_file"}, WorkloadIdentity: {"token_file"}, ManagedIdentity: nil,
	}
)

func (c Config) withDefaults() Config {
	c.Tenant = strings.ToLower(c.Tenant)
	if len(c.Feeds) == 0 {
		c.Feeds = usual()
	}
	if c.History == 0 {
		c.History = defaultHistory
	}
	if c.BaseURL == "" {
		c.BaseURL = DefaultBaseURL
	}
	return c
}

// Validate lists what is wrong with the configuration.
func (c Config) Validate() error {
	var problems []error
	say := func(field, format string, args ...any) {
		problems = append(problems, fmt.Errorf(field+": "+format, args...))
	}
	if !naming.MatchString(c.Name) {
		say("name", "must be 1 to 64 letters, digits, dots, dashes or underscores")
	}
	if !guid.MatchString(c.Tenant) {
		say("tenant", "must be the directory's GUID, not its domain: it becomes the tenant of the events")
	}
	for i, name := range c.Feeds {
		switch {
		case feeds[name].path == "":
			say("feeds", "%.60q is unknown, must be of %s", name, known())
		case slices.Contains(c.Feeds[:i], name):
			say("feeds", "%s is named twice", name)
		}
	}
	if slices.Contains(c.Feeds, SignIns) && slices.Contains(c.Feeds, SignInsBeta) {
		say("feeds", "sign_ins and sign_ins_beta are the same sign-ins, choose one: the poorer copy may come first")
	}
	if c.History != 0 && (c.History < minHistory || c.History > maxHistory) {
		say("history", "must be between %v and %v", minHistory, maxHistory)
	}
	if err := checkBase(c.BaseURL); err != nil {
		say("base_url", "%w", err)
	}
	problems = append(problems, c.Credential.validate()...)
	return errors.Join(problems...)
}

// validate asks for the fields that the kind needs, and for no others.
func (c Credential) validate() (problems []error) {
	used, ok := secrets[c.Kind]
	if !ok {
		return []error{errors.New("credential.kind: must be client_secret, certificate, workload_identity or managed_identity")}
	}
	given := map[string]string{
		"secret_file": c.SecretFile, "certificate_file": c.CertificateFile, "certificate_password_file": c.CertificatePasswordFile, "token_file": c.TokenFile,
	}
	for _, field := range []string{"secret_file", "certificate_file", "certificate_password_file", "token_file"} {
		if given[field] != "" && !slices.Contains(used, field) {
			problems = append(problems, fmt.Errorf("credential.%s: is not used by %s, remove it", field, c.Kind))
		}
	}
	switch {
	case c.Kind == ClientSecret && c.SecretFile == "":
		problems = append(problems, errors.New("credential.secret_file: is missing, name the file that holds the client secret"))
	case c.Kind == Certificate && c.CertificateFile == "":
		problems = append(problems, errors.New("credential.certificate_file: is missing, name the file that holds the certificate and its key"))
	}
	// The platform may name the app of a workload identity, and a machine has one identity of its own.
	optional := c.Kind == WorkloadIdentity || c.Kind == ManagedIdentity
	if !guid.MatchString(c.ClientID) && (c.ClientID != "" || !optional) {
		problems = append(problems, errors.New("credential.client_id: must be the GUID of the app registration"))
	}
	return problems
}

// checkBase accepts the clouds, and loopback for tests and proxies on the same machine.
func checkBase(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("must be an address such as " + DefaultBaseURL)
	}
	if loopback(u.Hostname()) {
		return nil
	}
	if Authorities[strings.ToLower(u.Hostname())] == "" || u.Port() != "" && u.Port() != "443" {
		return fmt.Errorf("%.100q is none of Graph's hosts", u.Host)
	}
	if u.Scheme != "https" {
		return errors.New("must begin with https://")
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
