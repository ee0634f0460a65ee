package ssf

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// Config configures one transmitter.
type Config struct {
	// Name is under which its records are known, and the last part of its push address /v1/ssf/<name>: lower-case
	// letters, digits, dashes and underscores.
	Name string `yaml:"name"`
	// Tenant is the tenant whose users it speaks of.
	Tenant string `yaml:"tenant"`
	// Dialect says what else than SSF 1.0 is tolerated; "" is ssf1.
	Dialect Dialect `yaml:"dialect"`
	// Issuer is the iss of its tokens, compared byte for byte.
	Issuer string `yaml:"issuer"`
	// Audience are the values of aud that mean us; a token must have one of them.
	Audience []string `yaml:"audience"`
	// JWKSURL or JWKSFile is where its public keys are. With neither they are looked up in its well-known configuration.
	JWKSURL  string `yaml:"jwks_url"`
	JWKSFile string `yaml:"jwks_file"`
	// Subjects says whom its subjects name.
	Subjects SubjectsConfig `yaml:"subjects"`
	// Push takes what it sends, Poll asks it; at least one of them is needed.
	Push PushConfig `yaml:"push"`
	Poll PollConfig `yaml:"poll"`
	// ClockSkew is how far in the future a token may have been issued, 0 is 2m; MaxAge how old it may be, 0 is 720h.
	ClockSkew time.Duration `yaml:"clock_skew"`
	MaxAge    time.Duration `yaml:"max_age"`
}

// SubjectsConfig says whom subjects name.
type SubjectsConfig struct {
	// Issuers are the iss of iss_sub subjects whose sub is the stable id of a user of the tenant; none is the issuer of
	// the tokens alone. Tokens about others' users are refused.
	Issuers []string `yaml:"issuers"`
	// Names says what becomes of subjects that name a user without a stable id, such as an address of e-mail:
	// "unresolved" (the default) takes them for names of unknown accounts, "skip" leaves their events out.
	Names string `yaml:"names"`
	// Opaque says what the id of an opaque subject is: "" is nothing that is known here, "user" the stable id of a user.
	Opaque string `yaml:"opaque"`
}

// PushConfig takes what a transmitter sends.
type PushConfig struct {
	// TokenFile holds the bearer token with which the transmitter authenticates, of at least 20 characters, or "sha256:"
	// and its hexadecimal digest. "" switches push off.
	TokenFile string `yaml:"token_file"`
}

// PollConfig asks a transmitter.
type PollConfig struct {
	// URL is the endpoint_url of the stream's delivery. "" switches polling off.
	URL string `yaml:"url"`
	// TokenFile holds the bearer token to poll with. It is read again when the token is refused.
	TokenFile string `yaml:"token_file"`
	// ClientCredentials get tokens instead.
	ClientCredentials ClientCredentials `yaml:"client_credentials"`
	// MaxEvents bounds the tokens of one answer; 0 is 100.
	MaxEvents int `yaml:"max_events"`
	// Wait is for how long the transmitter may hold a poll until there is something to tell; 0 is not at all.
	Wait time.Duration `yaml:"wait"`
	// Interval is the least time between two polls that brought nothing; 0 is 5s.
	Interval time.Duration `yaml:"interval"`
}

// ClientCredentials are those of the OAuth 2.0 grant of that name (RFC 6749, section 4.4).
type ClientCredentials struct {
	TokenURL         string   `yaml:"token_url"`
	ClientID         string   `yaml:"client_id"`
	ClientSecretFile string   `yaml:"client_secret_file"`
	Scopes           []string `yaml:"scopes"`
}

func (c ClientCredentials) used() bool {
	return c.TokenURL != "" || c.ClientID != "" || c.ClientSecretFile != "" || len(c.Scopes) > 0
}

// Dialect names what a transmitter does otherwise than SSF 1.0.
type Dialect string

// The dialects. Every dialect may put the subject inside the event, write times in milliseconds, and levels in any case.
const (
	// SSF1 is SSF 1.0 Final: typ is secevent+jwt, one event a token, neither sub nor exp.
	SSF1 Dialect = "ssf1"
	// Okta allows several events a token, and ignores sub and exp.
	Okta Dialect = "okta"
	// Google is RISC before SSF: like Okta, and typ may be missing or JWT; its metadata are in risc-configuration.
	Google Dialect = "google"
)

// rules are what a dialect allows.
type rules struct {
	untyped   bool // typ may be missing or JWT
	several   bool // events in one token
	tolerant  bool // sub and exp are allowed
	wellKnown string
}

const ssfWellKnown = "/.well-known/ssf-configuration"

var dialects = map[Dialect]rules{
	SSF1:   {wellKnown: ssfWellKnown},
	Okta:   {several: true, tolerant: true, wellKnown: ssfWellKnown},
	Google: {untyped: true, several: true, tolerant: true, wellKnown: "/.well-known/risc-configuration"},
}

// Pushes reports whether the transmitter sends, Polls whether it is asked.
func (c Config) Pushes() bool { return c.Push.TokenFile != "" }

// Polls reports whether the transmitter is asked.
func (c Config) Polls() bool { return c.Poll.URL != "" }

func (c Config) withDefaults() Config {
	defaultTo(&c.Dialect, SSF1)
	defaultTo(&c.ClockSkew, 2*time.Minute)
	defaultTo(&c.MaxAge, 720*time.Hour)
	defaultTo(&c.Poll.MaxEvents, 100)
	defaultTo(&c.Poll.Interval, 5*time.Second)
	return c
}

func defaultTo[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// mapping is the part of c that says what claims mean.
func (c Config) mapping() mapping {
	m := mapping{tenant: c.Tenant, issuers: c.Subjects.Issuers, names: c.Subjects.Names != namesSkip, opaque: c.Subjects.Opaque == opaqueUser, rules: dialects[c.Dialect]}
	if len(m.issuers) == 0 {
		m.issuers = []string{c.Issuer}
	}
	return m
}

const (
	namesUnresolved = "unresolved"
	namesSkip       = "skip"
	opaqueUser      = "user"
)

// maxEvents bounds max_events: the acknowledgements of one answer are kept until the next.
const maxEvents = 500

// Validate reports every problem of c at once, each as "field.path: problem, what to do". It opens no file.
func (c Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !validName(c.Name) {
		bad("name: is %.80q, use 1 to 64 lower-case letters, digits, dashes and underscores", c.Name)
	}
	if !events.ValidTenant(c.Tenant) {
		bad("tenant: is %.80q, must be 1 to %d letters, digits, dots, dashes or underscores", c.Tenant, events.MaxTenant)
	}
	if _, known := dialects[c.Dialect]; !known && c.Dialect != "" {
		bad("dialect: is %.40q, use %s, %s or %s", c.Dialect, SSF1, Okta, Google)
	}
	address := func(field, text string) {
		if problem := addressProblem(text); problem != "" {
			bad("%s: %s", field, problem)
		}
	}
	address("issuer", c.Issuer)
	if len(c.Audience) == 0 || slices.Contains(c.Audience, "") {
		bad("audience: names nobody, write the aud of the stream")
	}
	if c.JWKSURL != "" {
		address("jwks_url", c.JWKSURL)
		if c.JWKSFile != "" {
			bad("jwks_file: there is a jwks_url too, keep one of them")
		}
	}
	if s := c.Subjects.Names; s != "" && s != namesUnresolved && s != namesSkip {
		bad("subjects.names: is %.40q, use %s or %s", s, namesUnresolved, namesSkip)
	}
	if s := c.Subjects.Opaque; s != "" && s != opaqueUser {
		bad(`subjects.opaque: is %.40q, use %s or leave it out`, s, opaqueUser)
	}
	if !c.Pushes() && !c.Polls() {
		bad("push.token_file: is empty, and so is poll.url: set one of them, or both")
	}
	c.Poll.validate(bad)
	if c.ClockSkew < 0 || c.ClockSkew > time.Hour {
		bad("clock_skew: is %v, use 0s to 1h", c.ClockSkew)
	}
	if c.MaxAge < 0 {
		bad("max_age: is %v, use for example 720h", c.MaxAge)
	}
	return errors.Join(problems...)
}

func (p PollConfig) validate(bad func(format string, args ...any)) {
	if p.URL == "" {
		if p.TokenFile != "" || p.ClientCredentials.used() {
			bad("poll.url: is empty, write the endpoint_url of the stream's delivery")
		}
		return
	}
	if problem := addressProblem(p.URL); problem != "" {
		bad("poll.url: %s", problem)
	}
	switch cc := p.ClientCredentials; {
	case cc.used() && p.TokenFile != "":
		bad("poll.token_file: there are client_credentials too, keep one of them")
	case cc.used():
		if problem := addressProblem(cc.TokenURL); problem != "" {
			bad("poll.client_credentials.token_url: %s", problem)
		}
		if cc.ClientID == "" {
			bad("poll.client_credentials.client_id: is empty, write the id that the transmitter gave")
		}
		if cc.ClientSecretFile == "" {
			bad("poll.client_credentials.client_secret_file: is empty, name the file that holds the secret")
		}
	case p.TokenFile == "":
		bad("poll.token_file: is empty, name the file that holds the token, or set client_credentials")
	}
	if p.MaxEvents < 0 || p.MaxEvents > maxEvents {
		bad("poll.max_events: is %d, use 1 to %d", p.MaxEvents, maxEvents)
	}
	if p.Wait < 0 || p.Wait > 10*time.Minute {
		bad("poll.wait: is %v, use 0s to 10m", p.Wait)
	}
	if p.Interval < 0 || p.Interval > time.Hour {
		bad("poll.interval: is %v, use for example 5s", p.Interval)
	}
}

func validName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// addressProblem says why text is no address of a transmitter: https, or plain http on this machine.
func addressProblem(text string) string {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return "is empty, write an https address"
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Sprintf("%.200q is no address, write an https address", text)
	case upstream.Safe(u):
		return ""
	}
	return fmt.Sprintf("%.200q is not https", text)
}
