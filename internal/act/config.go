package act

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/outbound"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/source/entra/graph"
	"github.com/countersign-io/countersign/internal/source/okta/credential"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// Config says what is done at the source of an identity, and when. Without actions nothing is.
type Config struct {
	// Group starts the names of the consumer groups, one an action: "<group>.<action>".
	Group string `yaml:"group"`
	// SessionTimeout is how long a group waits for a process that has gone silent.
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// Outbound says where requests may go.
	Outbound outbound.Config `yaml:"outbound"`
	Graph    []GraphAccount  `yaml:"graph"`
	Okta     []OktaAccount   `yaml:"okta"`
	Actions  []ActionConfig  `yaml:"actions"`
	// RetryMin and RetryMax bound the growing pause between tries of what does not succeed.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`
	// RetryDenied is the pause when the source refuses our credentials or permissions: a person has to mend that.
	RetryDenied time.Duration `yaml:"retry_denied"`
	// Concurrency is how many users one action is busy with at a time, in each of its partitions.
	Concurrency int `yaml:"concurrency"`
}

// GraphAccount is an app registration of a Microsoft Entra directory. One of the three files says how it proves who it is.
type GraphAccount struct {
	Name string `yaml:"name"`
	// Directory is the directory's GUID, ClientID that of the app registration.
	Directory string `yaml:"directory"`
	ClientID  string `yaml:"client_id"`
	// SecretFile holds a client secret, CertificateFile a certificate and its private key in PEM, TokenFile the federated
	// token of a workload identity. Each is read again for every new access token.
	SecretFile      string `yaml:"secret_file"`
	CertificateFile string `yaml:"certificate_file"`
	TokenFile       string `yaml:"token_file"`
	// BaseURL is Graph's address, that of a national cloud for example; "" is the global service. AuthorityURL is where
	// tokens come from; "" is the authority of that cloud.
	BaseURL      string `yaml:"base_url"`
	AuthorityURL string `yaml:"authority_url"`
}

// OktaAccount is a way into an Okta organisation: an API token, or a service application with the scope okta.users.manage.
type OktaAccount struct {
	Name   string `yaml:"name"`
	OrgURL string `yaml:"org_url"`
	// TokenFile and OAuth are as for the System Log; one of the two.
	TokenFile string           `yaml:"token_file"`
	OAuth     credential.OAuth `yaml:"oauth"`
}

// The modes of an action.
const (
	Off = "off"
	// Observe writes down what would have been done, and asks nobody.
	Observe = "observe"
	On      = "on"
)

// The kinds of actions.
const (
	// GraphRevoke ends every session of a user of Entra ID: refresh tokens and session cookies are no longer good.
	GraphRevoke = "graph_revoke_sessions"
	// GraphCompromised tells Entra ID Protection that a user is compromised, GraphDismiss that the risk is over.
	GraphCompromised = "graph_confirm_compromised"
	GraphDismiss     = "graph_dismiss_risk"
	// OktaRevoke ends every session of a user of Okta, and revokes the tokens of OpenID Connect and OAuth.
	OktaRevoke = "okta_revoke_sessions"
	// HTTPRequest posts the requirement to an address, signed.
	HTTPRequest = "http"
)

var kinds = []string{GraphRevoke, GraphCompromised, GraphDismiss, OktaRevoke, HTTPRequest}

// ActionConfig is one action.
type ActionConfig struct {
	// Name names the consumer group, the metrics and the dead letters.
	Name string `yaml:"name"`
	Kind string `yaml:"kind"`
	// Mode is off, observe or on; "" is off.
	Mode  string `yaml:"mode"`
	Match Match  `yaml:"match"`
	// Account names an entry of graph or okta.
	Account string `yaml:"account"`
	// URL and SecretsFile are for http: where to, and the secrets that sign.
	URL         string `yaml:"url"`
	SecretsFile string `yaml:"secrets_file"`
	// PerMinute is the breaker: how many users of a tenant this process acts on in any minute; what exceeds waits. 0 is
	// [DefaultPerMinute].
	PerMinute int `yaml:"per_minute"`
	// MaxAge is how long after the decision the action may still be done; then it is a dead letter. 0 is [DefaultMaxAge].
	MaxAge time.Duration `yaml:"max_age"`
}

// Defaults of [ActionConfig].
const (
	DefaultPerMinute = 60
	DefaultMaxAge    = 24 * time.Hour
)

// Match says which requirements an action is for: those that meet every condition.
type Match struct {
	// Tenants are those whose users the account knows. An http action without is for all.
	Tenants []string `yaml:"tenants"`
	// Policies are names of policies; none is all.
	Policies []string `yaml:"policies"`
	// Actions are what the policy decided: step_up, revoke_session, revoke_all. They must be named.
	Actions []events.Action `yaml:"actions"`
	// Severity is the least; "" is any.
	Severity events.Severity `yaml:"severity"`
	// Status is what became of the requirement; none is open, and satisfied for graph_dismiss_risk.
	Status []revocation.Status `yaml:"status"`
}

// DefaultConfig has no actions.
func DefaultConfig() Config {
	return Config{
		Group: "countersign.courier.act", SessionTimeout: 30 * time.Second, Outbound: outbound.DefaultConfig(),
		RetryMin: time.Second, RetryMax: 5 * time.Minute, RetryDenied: 5 * time.Minute, Concurrency: 4,
	}
}

// The bounds of a configuration.
const (
	maxActions   = 32
	maxAccounts  = 100
	maxPerMinute = 6000
	maxMaxAge    = 7 * 24 * time.Hour
	maxListed    = 1000
)

var (
	named = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,39}$`)
	guid  = regexp.MustCompile(`^(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// problems gathers what is wrong.
type problems []error

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, fmt.Errorf("%s: %w", path, fmt.Errorf(format, args...)))
}

// Validate reports every problem at once. It reads no files.
func (c Config) Validate() error {
	var p problems
	if c.Group == "" {
		p.add("group", "is empty, must name the consumer group")
	}
	if c.SessionTimeout < time.Second || c.SessionTimeout > 10*time.Minute {
		p.add("session_timeout", "is %v, must be between 1s and 10m", c.SessionTimeout)
	}
	if err := c.Outbound.Validate(); err != nil {
		p.add("outbound", "%w", err)
	}
	if c.RetryMin < 10*time.Millisecond || c.RetryMax < c.RetryMin || c.RetryMax > time.Hour {
		p.add("retry_max", "is %v with retry_min %v, must be between retry_min, at least 10ms, and 1h", c.RetryMax, c.RetryMin)
	}
	if c.RetryDenied < c.RetryMin || c.RetryDenied > time.Hour {
		p.add("retry_denied", "is %v, must be between retry_min and 1h", c.RetryDenied)
	}
	if c.Concurrency < 1 || c.Concurrency > 64 {
		p.add("concurrency", "is %d, must be between 1 and 64", c.Concurrency)
	}
	if len(c.Graph) > maxAccounts || len(c.Okta) > maxAccounts || len(c.Actions) > maxActions {
		p.add("actions", "has %d with %d and %d accounts, must have at most %d with %d each", len(c.Actions), len(c.Graph), len(c.Okta), maxActions, maxAccounts)
		return errors.Join(p...)
	}
	graphs, oktas := map[string]bool{}, map[string]bool{}
	for i, a := range c.Graph {
		p.name(fmt.Sprintf("graph[%d]", i), a.Name, graphs)
		a.validate(fmt.Sprintf("graph[%d]", i), &p)
	}
	for i, a := range c.Okta {
		path := fmt.Sprintf("okta[%d]", i)
		p.name(path, a.Name, oktas)
		if _, err := credential.CheckOrg(a.OrgURL); err != nil {
			p = append(p, fmt.Errorf("%s.%w", path, err))
		}
		if err := a.credentials().Validate(); err != nil {
			p = append(p, fmt.Errorf("%s.%w", path, err))
		}
	}
	actions := map[string]bool{}
	for i := range c.Actions {
		path := fmt.Sprintf("actions[%d]", i)
		p.name(path, c.Actions[i].Name, actions)
		c.Actions[i].validate(path, &p, &c, graphs, oktas)
	}
	return errors.Join(p...)
}

func (p *problems) name(path, name string, seen map[string]bool) {
	if !named.MatchString(name) {
		p.add(path+".name", "is %.60q, must be 1 to 40 lower-case letters, digits, dashes or underscores", name)
	} else if seen[name] {
		p.add(path+".name", "is %q, which another one has", name)
	}
	seen[name] = true
}

func (a *GraphAccount) validate(path string, p *problems) {
	if !guid.MatchString(a.Directory) {
		p.add(path+".directory", "is %.60q, must be the directory's GUID", a.Directory)
	}
	if !guid.MatchString(a.ClientID) {
		p.add(path+".client_id", "is %.60q, must be the GUID of the app registration", a.ClientID)
	}
	files := 0
	for _, file := range []string{a.SecretFile, a.CertificateFile, a.TokenFile} {
		if file != "" {
			files++
		}
	}
	if files != 1 {
		p.add(path+".secret_file", "is one of %d, must be the only one of secret_file, certificate_file and token_file", files)
	}
	base, authority := a.addresses()
	if err := upstream.CheckBase(base); err != nil {
		p.add(path+".base_url", "%w", err)
	}
	if authority == "" {
		p.add(path+".base_url", "is %.100q, which is none of Graph's hosts; name its authority_url, too", a.BaseURL)
	} else if err := upstream.CheckBase(authority); err != nil {
		p.add(path+".authority_url", "%w", err)
	}
}

// addresses are those of Graph and of the authority, without slashes at the end.
func (a *GraphAccount) addresses() (base, authority string) {
	base, authority = a.BaseURL, a.AuthorityURL
	if base == "" {
		base = graph.DefaultBaseURL
	}
	if u, err := url.Parse(base); err == nil && authority == "" {
		authority = graph.Authorities[strings.ToLower(u.Hostname())]
	}
	return strings.TrimRight(base, "/"), strings.TrimRight(authority, "/")
}

func (a *OktaAccount) credentials() credential.Config {
	oauth := a.OAuth
	if oauth != (credential.OAuth{}) && oauth.Scope == "" {
		oauth.Scope = "okta.users.manage"
	}
	return credential.Config{TokenFile: a.TokenFile, OAuth: oauth}
}

func (a *ActionConfig) validate(path string, p *problems, c *Config, graphs, oktas map[string]bool) {
	if !slices.Contains([]string{"", Off, Observe, On}, a.Mode) {
		p.add(path+".mode", "is %.40q, must be off, observe or on", a.Mode)
	}
	if a.PerMinute < 0 || a.PerMinute > maxPerMinute {
		p.add(path+".per_minute", "is %d, must be between 1 and %d, or 0 for %d", a.PerMinute, maxPerMinute, DefaultPerMinute)
	}
	if a.MaxAge != 0 && (a.MaxAge < time.Minute || a.MaxAge > maxMaxAge) {
		p.add(path+".max_age", "is %v, must be between 1m and %v, or 0 for %v", a.MaxAge, maxMaxAge, DefaultMaxAge)
	}
	switch {
	case !slices.Contains(kinds, a.Kind):
		p.add(path+".kind", "is %.40q, must be one of %s", a.Kind, strings.Join(kinds, ", "))
		return
	case a.Kind == HTTPRequest:
		a.validateHTTP(path, p, c)
	default:
		known, section := graphs, "graph"
		if a.Kind == OktaRevoke {
			known, section = oktas, "okta"
		}
		if !known[a.Account] {
			p.add(path+".account", "is %.60q, must be the name of an entry of %s", a.Account, section)
		}
		if a.URL != "" || a.SecretsFile != "" {
			p.add(path+".url", "is for kind %s only, and so is secrets_file", HTTPRequest)
		}
		if len(a.Match.Tenants) == 0 {
			p.add(path+".match.tenants", "is empty, must name the tenants whose users the account knows")
		}
	}
	a.Match.validate(path+".match", a.Kind, p)
}

func (a *ActionConfig) validateHTTP(path string, p *problems, c *Config) {
	if a.Account != "" {
		p.add(path+".account", "is %.60q, must be left out with kind %s", a.Account, HTTPRequest)
	}
	if a.SecretsFile == "" {
		p.add(path+".secrets_file", "is empty, must name the file with the secrets that sign")
	}
	if guard, err := outbound.NewGuard(c.Outbound); err == nil {
		if err := guard.CheckURL(a.URL); err != nil {
			p.add(path+".url", "%w", err)
		}
	}
}

func (m *Match) validate(path, kind string, p *problems) {
	if len(m.Tenants)+len(m.Policies) > maxListed {
		p.add(path, "names %d tenants and policies, must name at most %d", len(m.Tenants)+len(m.Policies), maxListed)
		return
	}
	for i, tenant := range m.Tenants {
		if !events.ValidTenant(tenant) {
			p.add(fmt.Sprintf("%s.tenants[%d]", path, i), "is %.80q, must be a tenant", tenant)
		}
	}
	if len(m.Actions) == 0 {
		p.add(path+".actions", "is empty, must name step_up, revoke_session or revoke_all")
	}
	for i, action := range m.Actions {
		if action.Rank() < events.StepUp.Rank() {
			p.add(fmt.Sprintf("%s.actions[%d]", path, i), "is %.40q, must be step_up, revoke_session or revoke_all", action)
		}
	}
	if m.Severity != "" && m.Severity.Rank() == 0 {
		p.add(path+".severity", "is %.40q, must be one of %v", m.Severity, events.Severities)
	}
	for i, status := range m.Status {
		want := revocation.Statuses
		switch kind {
		case HTTPRequest:
		case GraphDismiss:
			want = []revocation.Status{revocation.Satisfied}
		default:
			want = []revocation.Status{revocation.Open}
		}
		if !slices.Contains(want, status) {
			p.add(fmt.Sprintf("%s.status[%d]", path, i), "is %.40q, must be of %v with kind %s", status, want, kind)
		}
	}
}

// withDefaults fills in what was left out.
func (a ActionConfig) withDefaults() ActionConfig {
	if a.PerMinute == 0 {
		a.PerMinute = DefaultPerMinute
	}
	if a.MaxAge == 0 {
		a.MaxAge = DefaultMaxAge
	}
	if len(a.Match.Status) == 0 {
		a.Match.Status = []revocation.Status{revocation.Open}
		if a.Kind == GraphDismiss {
			a.Match.Status = []revocation.Status{revocation.Satisfied}
		}
	}
	tenants := make([]string, len(a.Match.Tenants))
	for i, t := range a.Match.Tenants {
		tenants[i] = events.Canonical(t)
	}
	a.Match.Tenants = tenants
	return a
}

// meets reports whether a requirement is one that the action is for.
func (m *Match) meets(c *revocation.Claims) bool {
	return slices.Contains(m.Status, c.Status) && slices.Contains(m.Actions, c.Action) &&
		(len(m.Tenants) == 0 || slices.Contains(m.Tenants, c.Tenant)) &&
		(len(m.Policies) == 0 || slices.Contains(m.Policies, c.Policy)) &&
		(m.Severity == "" || c.Severity.Rank() >= m.Severity.Rank())
}
