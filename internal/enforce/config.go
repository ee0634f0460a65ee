package enforce

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/telemetry"
)

// Config is the configuration of `countersign enforce`, its file's whole.
type Config struct {
	// Listen is the address of the HTTP server, host:port.
	Listen string    `yaml:"listen"`
	TLS    TLSConfig `yaml:"tls"`
	// Proxies are the addresses from which requests are answered. What they forward is believed.
	Proxies []netip.Prefix `yaml:"proxies"`
	// App names the application in receipts and logs.
	App string `yaml:"app"`

	// Issuers are whose tokens are accepted, Header where the proxy tells the caller instead. One of the two is needed.
	Issuers []IssuerConfig `yaml:"issuers"`
	Header  HeaderConfig   `yaml:"header"`
	// SignIn is where browsers go that the proxy has signed in (Header) when their proof is not enough.
	SignIn SignInConfig `yaml:"sign_in"`

	// Public are requests that need no caller. All others do.
	Public []Match `yaml:"public"`
	// Routes demand proofs of every caller, whatever was found. All that match a request must be met.
	Routes []RouteConfig `yaml:"routes"`

	// Stale is fail_open or fail_closed: what happens while nothing is heard from countersign.
	Stale string `yaml:"stale"`
	// Ranking orders authentication contexts, weakest first.
	Ranking []string `yaml:"ranking"`
	// Leeway is how much older than demanded a proof may be.
	Leeway time.Duration `yaml:"leeway"`
	Entra  EntraConfig   `yaml:"entra"`
	// MaxChallenges is how many different tokens of one session may fail within ChallengeWindow before the answer is 403.
	MaxChallenges   int           `yaml:"max_challenges"`
	ChallengeWindow time.Duration `yaml:"challenge_window"`
	// MaxOpen bounds the requirements that are remembered, MaxStaleness is how long countersign may be silent: by default
	// 30 seconds with Kafka, and 2 minutes with SSF, whose polls are held.
	MaxOpen      int           `yaml:"max_open"`
	MaxStaleness time.Duration `yaml:"max_staleness"`

	// Kafka or SSF is where requirements come from. Receipts go to Kafka too, unless Receipts names another place.
	Kafka KafkaConfig `yaml:"kafka"`
	SSF   SSFConfig   `yaml:"ssf"`
	// Receipts and Sessions are ingest's /v1/receipts and /v1/sessions. Without a URL sessions are not reported.
	Receipts ReportConfig `yaml:"receipts"`
	Sessions ReportConfig `yaml:"sessions"`

	Telemetry telemetry.Config `yaml:"telemetry"`
}

// TLSConfig names the server's certificate; empty means plain HTTP.
type TLSConfig struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ClientCAFile holds the authorities of the proxies' own certificates; with it they need one.
	ClientCAFile string `yaml:"client_ca_file"`
	// TerminatedElsewhere says that plain HTTP is meant on an address that others can reach.
	TerminatedElsewhere bool `yaml:"terminated_elsewhere"`
}

// IssuerConfig is one issuer of JWT access tokens.
type IssuerConfig struct {
	// Issuer is the claim `iss`, Audiences are those of which a token must have one.
	Issuer    string   `yaml:"issuer"`
	Audiences []string `yaml:"audiences"`
	// JWKSURL is where its keys are, JWKSFile a file that holds them. Without either they are found by OpenID Connect
	// Discovery.
	JWKSURL  string `yaml:"jwks_url"`
	JWKSFile string `yaml:"jwks_file"`
	// Algorithms are the signatures that are accepted.
	Algorithms []string `yaml:"algorithms"`
	// Tenant is the tenant of its users as countersign knows it, TenantClaim the claim that names it instead.
	Tenant      string `yaml:"tenant"`
	TenantClaim string `yaml:"tenant_claim"`
	// UserClaim and SessionClaim are by default sub (oid with Entra) and sid.
	UserClaim    string `yaml:"user_claim"`
	SessionClaim string `yaml:"session_claim"`
	// Entra marks Microsoft Entra ID: its clients are sent claims challenges.
	Entra bool `yaml:"entra"`
	// PlainHTTP allows keys over http.
	PlainHTTP bool `yaml:"plain_http"`
}

// HeaderConfig names headers by which a proxy that has signed the user in tells who the caller is. The proxy must overwrite
// them in every request: enforce cannot tell what it set from what it let through.
type HeaderConfig struct {
	User    string `yaml:"user"`
	Session string `yaml:"session"`
	// AuthTime is when the user last signed in, in Unix seconds or RFC 3339; ACR is the authentication context.
	AuthTime string `yaml:"auth_time"`
	ACR      string `yaml:"acr"`
	// Tenant is the tenant of all users.
	Tenant string `yaml:"tenant"`
}

// SignInConfig is where browsers go to prove identity. Without a URL they get the 401 of other clients.
type SignInConfig struct {
	// URL gets the parameters acr_values, max_age and claims, as far as they are demanded, and in ReturnParameter the address
	// to come back to, which is below AppURL.
	URL             string `yaml:"url"`
	ReturnParameter string `yaml:"return_parameter"`
	AppURL          string `yaml:"app_url"`
	// EndSessionURL is where browsers go whose session was revoked, such as the sign-out of the proxy: no proof brings such a
	// session back. It gets no parameter and should not come back by itself. Without it browsers get the 401 of other clients.
	EndSessionURL string `yaml:"end_session_url"`
}

// Match tells requests by path and method.
type Match struct {
	// Path and everything below it.
	Path string `yaml:"path"`
	// Methods are those it is about; none is all. GET is HEAD too.
	Methods []string `yaml:"methods"`
}

// RouteConfig demands a proof.
type RouteConfig struct {
	// Path, and everything below it, in any case of its letters.
	Path    string   `yaml:"path"`
	Methods []string `yaml:"methods"`
	// ACRValues are acceptable authentication contexts, best first; MaxAge is the greatest age of the proof.
	ACRValues []string      `yaml:"acr_values"`
	MaxAge    time.Duration `yaml:"max_age"`
}

// EntraConfig says how tokens of Microsoft Entra ID are challenged.
type EntraConfig struct {
	AuthContext      string `yaml:"auth_context"`
	AuthorizationURI string `yaml:"authorization_uri"`
	Realm            string `yaml:"realm"`
}

// KafkaConfig is the way to countersign's Kafka.
type KafkaConfig struct {
	Brokers []string        `yaml:"brokers"`
	TLS     KafkaTLSConfig  `yaml:"tls"`
	SASL    KafkaSASLConfig `yaml:"sasl"`
	// SnapshotFile keeps what is required for the next start, so that it is known before a broker answers; empty is none.
	SnapshotFile string `yaml:"snapshot_file"`
}

// KafkaTLSConfig is how to speak TLS towards the brokers. Files are PEM.
type KafkaTLSConfig struct {
	Enabled    bool   `yaml:"enabled"`
	CAFile     string `yaml:"ca_file"`
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
	ServerName string `yaml:"server_name"`
}

// KafkaSASLConfig is how to authenticate to the brokers; without a mechanism not at all.
type KafkaSASLConfig struct {
	// Mechanism is plain, scram-sha-256 or scram-sha-512.
	Mechanism    string `yaml:"mechanism"`
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"password_file"`
}

// SSFConfig is a stream of Shared Signals from countersign's courier, which is polled. It is found or made by itself.
type SSFConfig struct {
	// Issuer is the transmitter's issuer.
	Issuer string `yaml:"issuer"`
	// TokenURL is where the client gets its tokens, with the secret in the file.
	TokenURL         string `yaml:"token_url"`
	ClientID         string `yaml:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file"`
	// Description names the stream; each instance needs one of its own.
	Description string `yaml:"description"`
	// Store is the file in which requirements are kept.
	Store string `yaml:"store"`
	// SubjectIssuers are the `iss` of users that the courier names by iss_sub (ssf.clients[].subject_issuer).
	SubjectIssuers []string `yaml:"subject_issuers"`
	// CAFile holds an authority to trust instead of the system's, PEM.
	CAFile    string `yaml:"ca_file"`
	PlainHTTP bool   `yaml:"plain_http"`
}

func (c SSFConfig) used() bool { return !reflect.DeepEqual(c, SSFConfig{}) }

// ReportConfig is an endpoint of countersign ingest.
type ReportConfig struct {
	URL       string `yaml:"url"`
	TokenFile string `yaml:"token_file"`
	PlainHTTP bool   `yaml:"plain_http"`
}

// The values of Config.Stale.
const (
	FailOpen   = "fail_open"
	FailClosed = "fail_closed"
)

// algorithms are the signatures that can be accepted: none with a shared secret.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// DefaultConfig answers proxies on this machine and accepts nobody's tokens yet. It fails closed.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8083", Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Stale: FailClosed, MaxChallenges: 5, ChallengeWindow: 10 * time.Minute, MaxOpen: 1 << 20,
		Telemetry: telemetry.Config{LogLevel: "info", LogFormat: "json", Listen: "127.0.0.1:9465"},
	}
}

// Validate reports every problem of c at once, each as "field.path: problem, what to do". It opens no file. What is wrong
// with Telemetry is for that to say.
func (c Config) Validate() error {
	var p problems
	c.validateListener(&p)
	if c.App == "" || len(c.App) > events.MaxName {
		p.add("app: must have 1 to %d bytes, name the application", events.MaxName)
	}
	if len(c.Issuers) == 0 && c.Header.User == "" {
		p.add("issuers: is empty, and header.user too: name whose tokens are accepted, or the header in which the proxy tells the caller")
	}
	seen := map[string]bool{}
	for i, issuer := range c.Issuers {
		issuer.validate(&p, fmt.Sprintf("issuers[%d]", i))
		if seen[issuer.Issuer] {
			p.add("issuers[%d].issuer: is named twice, put the audiences together", i)
		}
		seen[issuer.Issuer] = true
	}
	c.Header.validate(&p)
	c.SignIn.validate(&p)
	for i, m := range c.Public {
		m.validate(&p, fmt.Sprintf("public[%d]", i))
	}
	for i, r := range c.Routes {
		path := fmt.Sprintf("routes[%d]", i)
		Match{r.Path, r.Methods}.validate(&p, path)
		if len(r.ACRValues) == 0 && r.MaxAge == 0 {
			p.add("%s.acr_values: is empty, and max_age too, so that nothing is demanded; set one of them", path)
		}
		p.contexts(path+".acr_values", r.ACRValues)
		if r.MaxAge < 0 || r.MaxAge > 0 && r.MaxAge < time.Second {
			p.add("%s.max_age: is %v, must be at least 1s, or 0s for any age", path, r.MaxAge)
		}
	}
	if c.Stale != FailOpen && c.Stale != FailClosed {
		p.add("stale: is %.40q, must be %s or %s", c.Stale, FailOpen, FailClosed)
	}
	p.contexts("ranking", c.Ranking)
	if c.Leeway < 0 || c.Leeway > time.Hour {
		p.add("leeway: is %v, must be between 0s and 1h", c.Leeway)
	}
	if c.Entra.AuthContext != "" {
		p.contexts("entra.auth_context", []string{c.Entra.AuthContext})
	}
	if c.MaxChallenges < 1 {
		p.add("max_challenges: is %d, must be at least 1", c.MaxChallenges)
	}
	if c.MaxOpen < 1 {
		p.add("max_open: is %d, must be at least 1", c.MaxOpen)
	}
	if c.ChallengeWindow < time.Second {
		p.add("challenge_window: is %v, must be at least 1s", c.ChallengeWindow)
	}
	if c.MaxStaleness != 0 && c.MaxStaleness < time.Second {
		p.add("max_staleness: is %v, must be at least 1s", c.MaxStaleness)
	}
	switch kafka := len(c.Kafka.Brokers) > 0; {
	case kafka && c.SSF.used():
		p.add("ssf: is set although kafka.brokers is; one of them is where requirements come from")
	case !kafka && !c.SSF.used():
		p.add("kafka.brokers: is empty, and ssf too, so that nothing could be known; name countersign's brokers, or its courier")
	case !kafka:
		c.SSF.validate(&p)
		if c.MaxStaleness != 0 && c.MaxStaleness <= 30*time.Second {
			p.add("max_staleness: is %v, must be more than 30s with ssf, whose polls are held that long", c.MaxStaleness)
		}
	}
	c.Receipts.validate(&p, "receipts")
	c.Sessions.validate(&p, "sessions")
	return errors.Join(p...)
}

// problems collects what is wrong.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

// contexts checks authentication contexts, which stand in space-separated lists.
func (p *problems) contexts(path string, values []string) {
	for i, v := range values {
		if v == "" || len(v) > events.MaxID || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }) {
			p.add("%s[%d]: is %.40q, must be printable ASCII without space, quote and backslash", path, i, v)
		}
	}
}

func (c Config) validateListener(p *problems) {
	if host, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		p.add("listen: %q is no address, write host:port", c.Listen)
	} else if c.TLS.CertFile == "" && !c.TLS.TerminatedElsewhere && !loopback(host) {
		p.add("tls.cert_file: is empty, so that tokens would come over plain HTTP on %s; name a certificate, or set tls.terminated_elsewhere", c.Listen)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		p.add("tls.cert_file: needs tls.key_file and the other way round, set both or neither")
	}
	if c.TLS.ClientCAFile != "" && c.TLS.CertFile == "" {
		p.add("tls.client_ca_file: needs tls.cert_file")
	}
	if len(c.Proxies) == 0 {
		p.add("proxies: is empty, so that nobody would be answered; name the proxies' addresses")
	}
	for i, prefix := range c.Proxies {
		if !prefix.IsValid() {
			p.add("proxies[%d]: is no prefix, write for example 10.1.2.0/24", i)
		}
	}
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (c IssuerConfig) validate(p *problems, path string) {
	if c.Issuer == "" {
		p.add("%s.issuer: is empty, name the claim iss of its tokens", path)
	}
	if len(c.Audiences) == 0 || slices.Contains(c.Audiences, "") {
		p.add("%s.audiences: must name what its tokens are for: tokens for other applications would be accepted", path)
	}
	if c.JWKSURL != "" && c.JWKSFile != "" {
		p.add("%s.jwks_file: set either jwks_url or jwks_file", path)
	}
	if c.JWKSFile == "" {
		keys := c.JWKSURL
		if keys == "" {
			keys = c.Issuer
		}
		if err := checkURL(keys, c.PlainHTTP); err != nil && keys != "" {
			p.add("%s.jwks_url: %w", path, err)
		}
	}
	for i, alg := range c.Algorithms {
		if !slices.Contains(algorithms, alg) {
			p.add("%s.algorithms[%d]: is %.40q, must be one of %s", path, i, alg, strings.Join(algorithms, ", "))
		}
	}
	switch {
	case c.Tenant != "" && c.TenantClaim != "":
		p.add("%s.tenant: set either tenant or tenant_claim", path)
	case c.Tenant == "" && c.TenantClaim == "":
		p.add("%s.tenant: is empty, name the tenant as countersign knows it, or in tenant_claim the claim that does", path)
	case c.Tenant != "" && !events.ValidTenant(c.Tenant):
		p.add("%s.tenant: %.80q is no tenant: 1 to %d letters, digits, dots, dashes, underscores", path, c.Tenant, events.MaxTenant)
	}
}

// checkURL checks where keys come from.
func checkURL(raw string, plain bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%.80q is no URL, write for example https://id.example.com/keys", raw)
	case u.Scheme == "http" && !plain && !loopback(u.Hostname()):
		return fmt.Errorf("%.80q is plain http, where anybody on the way could put keys of their own; use https, or set plain_http", raw)
	}
	return nil
}

func (c HeaderConfig) validate(p *problems) {
	for _, h := range []struct{ path, name string }{{"user", c.User}, {"session", c.Session}, {"auth_time", c.AuthTime}, {"acr", c.ACR}} {
		if h.name != "" && !isToken(h.name) {
			p.add("header.%s: %.80q is no name of a header", h.path, h.name)
		}
	}
	switch {
	case c.User == "" && c != (HeaderConfig{}):
		p.add("header.user: is empty although others are set, name the header with the user")
	case c.User != "" && !events.ValidTenant(c.Tenant):
		p.add("header.tenant: %.80q is no tenant: 1 to %d letters, digits, dots, dashes, underscores", c.Tenant, events.MaxTenant)
	}
}

func (c SignInConfig) validate(p *problems) {
	if c == (SignInConfig{}) {
		return
	}
	for _, f := range []struct{ path, url string }{{"url", c.URL}, {"app_url", c.AppURL}} {
		if u, err := url.Parse(f.url); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			p.add("sign_in.%s: %.80q is no URL, write for example https://payroll.example.com", f.path, f.url)
		}
	}
	if u, err := url.Parse(c.EndSessionURL); c.EndSessionURL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		p.add("sign_in.end_session_url: %.80q is no URL, write for example https://payroll.example.com/oauth2/sign_out", c.EndSessionURL)
	}
	if c.ReturnParameter == "" {
		p.add("sign_in.return_parameter: is empty, name the parameter with the address to come back to")
	}
}

func (m Match) validate(p *problems, path string) {
	if !strings.HasPrefix(m.Path, "/") || cleaned(m.Path) != m.Path || strings.ContainsAny(m.Path, "%?#;\\") {
		p.add("%s.path: is %.80q, must be a path such as /transfers, not encoded", path, m.Path)
	}
	for i, method := range m.Methods {
		if !isToken(method) || method != strings.ToUpper(method) {
			p.add("%s.methods[%d]: is %.40q, must be one such as %s", path, i, method, http.MethodPost)
		}
	}
}

func (c SSFConfig) validate(p *problems) {
	for _, f := range []struct{ path, url string }{{"issuer", c.Issuer}, {"token_url", c.TokenURL}} {
		if err := checkURL(f.url, c.PlainHTTP); err != nil {
			p.add("ssf.%s: %w", f.path, err)
		}
	}
	for _, f := range []struct{ path, value, what string }{
		{"client_id", c.ClientID, "name the OAuth client"},
		{"client_secret_file", c.ClientSecretFile, "name the file with the client's secret"},
		{"description", c.Description, "name this instance's stream"},
		{"store", c.Store, "name the file to keep requirements in"},
	} {
		if f.value == "" {
			p.add("ssf.%s: is empty, %s", f.path, f.what)
		}
	}
}

// Staleness is MaxStaleness or its default.
func (c Config) Staleness() time.Duration {
	switch {
	case c.MaxStaleness != 0:
		return c.MaxStaleness
	case c.SSF.used():
		return 2 * time.Minute
	}
	return 30 * time.Second
}

func (c ReportConfig) validate(p *problems, path string) {
	if c.URL == "" {
		if c != (ReportConfig{}) {
			p.add("%s.url: is empty although others are set", path)
		}
		return
	}
	if err := checkURL(c.URL, c.PlainHTTP); err != nil {
		p.add("%s.url: %w", path, err)
	}
	if c.TokenFile == "" {
		p.add("%s.token_file: is empty, name the file with the bearer token", path)
	}
}
