package ssf

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/set"
)

// Config says what the transmitter is called, who may use it, and its limits.
type Config struct {
	// BaseURL is where receivers reach the couriers, all of them together: https://host, without a path. Plain http is for
	// loopback only.
	BaseURL string `yaml:"base_url"`
	// Tenants are those whose events are transmitted. The issuer of each is <base_url>/<name>, byte for byte.
	Tenants []Tenant `yaml:"tenants"`
	// Clients are the receivers. Who is not named here has no access, whatever token it brings.
	Clients []Client `yaml:"clients"`
	// TokenTTL is how long a token of the own token endpoint is good, at most an hour.
	TokenTTL time.Duration `yaml:"token_ttl"`
	// ExternalIssuers are authorization servers whose tokens are taken instead of those of the own token endpoint.
	ExternalIssuers []ExternalIssuer `yaml:"external_issuers"`
	// MinVerificationInterval is published in each stream, in whole seconds: how often a receiver may ask for a verification.
	MinVerificationInterval time.Duration `yaml:"min_verification_interval"`
	// InactivityTimeout is published in each stream, in whole seconds: a stream that its receiver does not name for so long
	// is paused. 0 is never.
	InactivityTimeout time.Duration `yaml:"inactivity_timeout"`
	// PollWait is how long a poll waits for an event, at most 90 seconds: a courier that passes a poll on to another gives up
	// after 2 minutes, and so do many proxies.
	PollWait time.Duration `yaml:"poll_wait"`
	// RequestsPerSecond is what one receiver may send on average, Burst how many at a time; more is answered with 429.
	RequestsPerSecond float64 `yaml:"requests_per_second"`
	Burst             int     `yaml:"burst"`
	Limits            Limits  `yaml:"limits"`
}

// Tenant is an issuer of its own.
type Tenant struct {
	// Name is the tenant's in events, and the path of its issuer.
	Name string `yaml:"name"`
	// DefaultSubjects is ALL (the default), or NONE for streams that get events of the subjects only that are added to them.
	DefaultSubjects string `yaml:"default_subjects"`
}

// Client is a receiver: an OAuth client, and the properties that its streams get.
type Client struct {
	// ID is its client id.
	ID string `yaml:"id"`
	// SecretFile holds its secret for the own token endpoint, of at least 32 characters, one on a line. There may be two
	// lines while a secret is being replaced: both are good then. What is taken out ends the tokens that were got with it.
	SecretFile string `yaml:"secret_file"`
	// Issuer is the external issuer that vouches for it instead. Without one or the other the client never calls, as is
	// usual with google and okta.
	Issuer string `yaml:"issuer"`
	// Tenant is whose events it gets.
	Tenant string `yaml:"tenant"`
	// Audience is the aud of its streams. With apple-sse, whose receivers choose it themselves, these are the ones that they
	// may choose: an entry that ends in * allows all that begin so.
	Audience []string `yaml:"audience"`
	// Scopes are what its tokens may be for; none is both.
	Scopes []string `yaml:"scopes"`
	// Dialect is ssf1 unless said otherwise.
	Dialect Dialect `yaml:"dialect"`
	// SubjectFormat is how users are named: email, iss_sub or opaque; "" leaves it to the dialect. With google it is always
	// email, with apple-sse iss_sub. SubjectIssuer is the iss of iss_sub, which needs it.
	SubjectFormat string `yaml:"subject_format"`
	SubjectIssuer string `yaml:"subject_issuer"`
	// Interop keeps countersign's own event type away from its streams.
	Interop bool `yaml:"interop"`
	// RevokeForStepUp sends session-revoked for a step-up when its streams ask for nothing finer.
	RevokeForStepUp bool `yaml:"revoke_for_step_up"`
	// MaxStreams is how many streams it may have; 0 is limits.streams.
	MaxStreams int `yaml:"max_streams"`
}

// ExternalIssuer is an authorization server whose JWT access tokens (RFC 9068, or what is like them) are taken.
type ExternalIssuer struct {
	// Issuer is the iss of its tokens, Audience the aud that means us.
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`
	// JWKSURL is where its keys are.
	JWKSURL string `yaml:"jwks_url"`
	// ClientClaim names the client in a token; "" is client_id. Entra writes azp or appid.
	ClientClaim string `yaml:"client_claim"`
	// ScopeClaim names the scopes, a text separated by spaces or an array; "" is scope. Entra writes roles.
	ScopeClaim string `yaml:"scope_claim"`
}

// Limits bound what a receiver may send.
type Limits struct {
	// Body is in bytes, Description in characters: what is longer is cut.
	Body        int `yaml:"body"`
	Description int `yaml:"description"`
	// Streams is how many a receiver may have.
	Streams int `yaml:"streams"`
	// Subjects is how many may be added to, or removed from, one stream.
	Subjects int `yaml:"subjects"`
	// EventsRequested is how many types a stream may ask for.
	EventsRequested int `yaml:"events_requested"`
	// PollSets is the most SETs in the answer to a poll, PollAcks the most entries of ack and of setErrs in its request.
	PollSets int `yaml:"poll_sets"`
	PollAcks int `yaml:"poll_acks"`
}

// The scopes of a token (CAEP Interoperability Profile §2.7.3).
const (
	// ScopeManage allows everything, ScopeRead reading and polling.
	ScopeManage = "ssf.manage"
	ScopeRead   = "ssf.read"
)

// Subject formats of a client.
const (
	FormatEmail  = set.FormatEmail
	FormatIssSub = set.FormatIssSub
	FormatOpaque = set.FormatOpaque
)

// GoogleAudience is the only aud that Google takes.
const GoogleAudience = "https://sharedsignals.googleapis.com"

// DefaultConfig has no tenants and no clients.
func DefaultConfig() Config {
	return Config{
		TokenTTL:                time.Hour,
		MinVerificationInterval: 5 * time.Second,
		PollWait:                30 * time.Second,
		RequestsPerSecond:       50,
		Burst:                   100,
		Limits: Limits{
			Body: 64 << 10, Description: 1000, Streams: 10, Subjects: 1000, EventsRequested: 100, PollSets: 100, PollAcks: 1000,
		},
	}
}

// Issuer is the issuer of a tenant's SETs.
func (c Config) Issuer(tenant string) string { return c.BaseURL + "/" + tenant }

// Receiver is the client of the given id, with all the scopes that it may have.
func (c Config) Receiver(id string) (Receiver, bool) {
	for _, client := range c.Clients {
		if client.ID == id {
			return client.receiver(c.Limits), true
		}
	}
	return Receiver{}, false
}

func (c Client) receiver(l Limits) Receiver {
	r := Receiver{
		ID: c.ID, Tenant: c.Tenant, Audience: c.Audience, Scopes: c.Scopes, Dialect: c.Dialect, Interop: c.Interop,
		SubjectFormat: c.SubjectFormat, SubjectIssuer: c.SubjectIssuer, RevokeForStepUp: c.RevokeForStepUp, MaxStreams: c.MaxStreams,
	}
	if len(r.Scopes) == 0 {
		r.Scopes = []string{ScopeManage, ScopeRead}
	}
	if r.Dialect == "" {
		r.Dialect = DialectSSF1
	}
	if r.MaxStreams == 0 {
		r.MaxStreams = l.Streams
	}
	return r
}

// Validate reports every problem at once. It opens no file.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if problem := addressProblem(c.BaseURL); problem != "" {
		add("base_url: %s", problem)
	} else if u, err := url.Parse(c.BaseURL); err != nil || u.Path != "" || u.RawQuery != "" || strings.HasSuffix(c.BaseURL, "?") {
		add("base_url: is %.200q, must be a scheme and a host alone, without a / at its end", c.BaseURL)
	}
	if len(c.Tenants) == 0 {
		add("tenants: is empty, must name at least one")
	}
	tenants := map[string]Tenant{}
	for i, t := range c.Tenants {
		_, twice := tenants[t.Name]
		switch {
		case !events.ValidTenant(t.Name) || strings.Trim(t.Name, ".") == "":
			add("tenants[%d].name: is %.80q, must be 1 to %d letters, digits, dots, dashes or underscores, and not dots alone", i, t.Name, events.MaxTenant)
		case twice:
			add("tenants[%d].name: is %q, must be there once only", i, t.Name)
		}
		if d := t.DefaultSubjects; d != "" && d != SubjectsAll && d != SubjectsNone {
			add("tenants[%d].default_subjects: is %.40q, must be %s or %s", i, d, SubjectsAll, SubjectsNone)
		}
		tenants[t.Name] = t
	}
	issuers := map[string]bool{}
	for i, e := range c.ExternalIssuers {
		e.validate(func(format string, args ...any) { add("external_issuers[%d]."+format, append([]any{i}, args...)...) })
		if issuers[e.Issuer] || e.Issuer == c.BaseURL {
			add("external_issuers[%d].issuer: is %.200q, must be there once only, and not be base_url", i, e.Issuer)
		}
		issuers[e.Issuer] = true
	}
	ids := map[string]bool{}
	for i, client := range c.Clients {
		bad := func(format string, args ...any) { add("clients[%d]."+format, append([]any{i}, args...)...) }
		if ids[client.ID] {
			bad("id: is %.80q, must be there once only", client.ID)
		}
		ids[client.ID] = true
		tenant, known := tenants[client.Tenant]
		if !known {
			bad("tenant: is %.80q, must be one of tenants", client.Tenant)
		}
		if client.Interop && tenant.DefaultSubjects == SubjectsNone {
			bad("interop: is true, must be false in a tenant whose default_subjects are %s: the profile has no subject calls", SubjectsNone)
		}
		if client.Issuer != "" && !issuers[client.Issuer] {
			bad("issuer: is %.200q, must be one of external_issuers", client.Issuer)
		}
		client.validate(bad)
	}
	c.validateNumbers(add)
	return errors.Join(errs...)
}

func (e ExternalIssuer) validate(bad func(format string, args ...any)) {
	if problem := addressProblem(e.Issuer); problem != "" {
		bad("issuer: %s", problem)
	}
	if problem := addressProblem(e.JWKSURL); problem != "" {
		bad("jwks_url: %s", problem)
	}
	if e.Audience == "" {
		bad("audience: is empty, must be the aud of tokens that are for us")
	}
}

func (c Client) validate(bad func(format string, args ...any)) {
	if !validClientID(c.ID) {
		bad("id: is %.80q, must be 1 to 128 letters, digits, dots, dashes or underscores", c.ID)
	}
	switch {
	case c.SecretFile != "" && c.Issuer != "":
		bad("issuer: is set beside secret_file, must be one of both")
	case c.SecretFile == "" && c.Issuer == "" && c.Dialect != DialectGoogle && c.Dialect != DialectOkta:
		bad("secret_file: is empty, must name the file with the client's secret, or issuer must be set")
	}
	switch c.Dialect {
	case "", DialectSSF1, DialectOkta, DialectAppleSSE:
	case DialectGoogle:
		if !slices.Equal(c.Audience, []string{GoogleAudience}) {
			bad("audience: is %.200q, must be [%s] with google", c.Audience, GoogleAudience)
		}
	default:
		bad("dialect: is %.40q, must be %s, %s, %s or %s", c.Dialect, DialectSSF1, DialectGoogle, DialectOkta, DialectAppleSSE)
	}
	if len(c.Audience) == 0 || slices.Contains(c.Audience, "") {
		bad("audience: is empty or has an empty entry, must be the aud of the client's streams")
	}
	for _, a := range c.Audience {
		if strings.HasSuffix(a, "*") && c.Dialect != DialectAppleSSE {
			bad("audience: has %.200q, must be without * but with %s", a, DialectAppleSSE)
		}
	}
	for _, s := range c.Scopes {
		if s != ScopeManage && s != ScopeRead {
			bad("scopes: has %.40q, must be of %s and %s", s, ScopeManage, ScopeRead)
		}
	}
	only := c.Dialect.SubjectFormat()
	switch c.SubjectFormat {
	case "", only:
	case FormatEmail, FormatIssSub, FormatOpaque:
		if only != "" {
			bad("subject_format: is %s, must be %s with %s", c.SubjectFormat, only, c.Dialect)
		}
	default:
		bad("subject_format: is %.40q, must be %s, %s or %s", c.SubjectFormat, FormatEmail, FormatIssSub, FormatOpaque)
	}
	if (only == FormatIssSub || c.SubjectFormat == FormatIssSub) && c.SubjectIssuer == "" {
		bad("subject_issuer: is empty, must be the iss of users that are named by %s", FormatIssSub)
	}
	if c.MaxStreams < 0 || c.MaxStreams > 10_000 {
		bad("max_streams: is %d, must be between 0 and 10000", c.MaxStreams)
	}
}

func (c Config) validateNumbers(add func(format string, args ...any)) {
	for _, d := range []struct {
		path            string
		value, min, max time.Duration
	}{
		{"token_ttl", c.TokenTTL, time.Minute, time.Hour},
		{"min_verification_interval", c.MinVerificationInterval, time.Second, time.Hour},
		{"inactivity_timeout", c.InactivityTimeout, 0, 400 * 24 * time.Hour},
		{"poll_wait", c.PollWait, time.Second, 90 * time.Second},
	} {
		if d.value < d.min || d.value > d.max {
			add("%s: is %v, must be between %v and %v", d.path, d.value, d.min, d.max)
		}
	}
	if t := c.InactivityTimeout; t > 0 && t < time.Minute {
		add("inactivity_timeout: is %v, must be at least 1m, or 0", t)
	}
	if c.RequestsPerSecond <= 0 || c.RequestsPerSecond > 1e6 {
		add("requests_per_second: is %v, must be between 0 and 1000000, and not 0", c.RequestsPerSecond)
	}
	l := c.Limits
	for _, d := range []struct {
		path            string
		value, min, max int
	}{
		{"burst", c.Burst, 1, 1_000_000},
		{"limits.body", l.Body, 1 << 10, 1 << 20},
		{"limits.description", l.Description, 1, 10_000},
		{"limits.streams", l.Streams, 1, 10_000},
		{"limits.subjects", l.Subjects, 1, 10_000},
		{"limits.events_requested", l.EventsRequested, 1, 1000},
		{"limits.poll_sets", l.PollSets, 1, 1000},
		{"limits.poll_acks", l.PollAcks, 1, 10_000},
	} {
		if d.value < d.min || d.value > d.max {
			add("%s: is %d, must be between %d and %d", d.path, d.value, d.min, d.max)
		}
	}
}

// unreserved are the characters of stream and client ids (RFC 3986 §2.3).
const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

func validClientID(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, unreserved) == ""
}

// addressProblem says why text is no address of ours or of an authorization server: https, or plain http on this machine.
func addressProblem(text string) string {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return "is empty, must be an https address"
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "":
		return fmt.Sprintf("is %.200q, must be an https address", text)
	case u.Scheme == "https":
		return ""
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback()) {
		return ""
	}
	return fmt.Sprintf("is %.200q, must be https", text)
}
