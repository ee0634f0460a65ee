package api

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/jobs"
	"github.com/countersign-io/countersign/internal/peer"
)

// Config says where the API listens, who may use it, and its limits.
type Config struct {
	// Listen is host:port. Without TLS keep it on loopback or behind a proxy that has it.
	Listen string `yaml:"listen"`
	// TLSCertFile and TLSKeyFile are PEM; both or neither.
	TLSCertFile string `yaml:"tls_cert_file"`
	TLSKeyFile  string `yaml:"tls_key_file"`
	// Tokens are who may use the API.
	Tokens []Token `yaml:"tokens"`
	// OIDC lets people sign in with an identity provider.
	OIDC OIDC `yaml:"oidc"`
	// MaxTokenTTL is the longest that a token made at run time may live.
	MaxTokenTTL time.Duration `yaml:"max_token_ttl"`
	// SessionTTL is how long a browser stays signed in at most, SessionIdle how long without a request; LinkTTL is how long a
	// one-time link works.
	SessionTTL  time.Duration `yaml:"session_ttl"`
	SessionIdle time.Duration `yaml:"session_idle"`
	LinkTTL     time.Duration `yaml:"link_ttl"`
	// TrustedProxies are the networks of proxies in front, as prefixes: what they say in X-Forwarded-For and
	// X-Forwarded-Proto of where a request comes from, and whether by TLS, is believed.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// RequestsPerSecond and RequestBurst bound the requests of each person and each token.
	RequestsPerSecond float64 `yaml:"requests_per_second"`
	RequestBurst      int     `yaml:"request_burst"`
	// MaxSpan bounds the time that one question may be about.
	MaxSpan time.Duration `yaml:"max_span"`
	// MaxQuestions bounds the questions that the history works on at a time; others wait for up to QuestionWait.
	MaxQuestions int           `yaml:"max_questions"`
	QuestionWait time.Duration `yaml:"question_wait"`
	// AuditWait is how long a request waits for the log to take its audit entry; then it is refused.
	AuditWait time.Duration `yaml:"audit_wait"`
	// MaxLiveClients bounds the readers of the live feed, MaxLiveClientsEach those of one person or token, LiveBuffer what is held
	// for one that is slow.
	MaxLiveClients     int `yaml:"max_live_clients"`
	MaxLiveClientsEach int `yaml:"max_live_clients_each"`
	LiveBuffer         int `yaml:"live_buffer"`
	// LiveHeartbeat is the pause after which a feed shows that it lives; at most a minute, after which many proxies cut a quiet one.
	LiveHeartbeat time.Duration `yaml:"live_heartbeat"`

	// PolicyFile is the policy file of the detectors, to be shown and compared with; empty means the policies that ship. It
	// is read again when it changes.
	PolicyFile string `yaml:"policy_file"`
	// Backtests and Export bound those.
	Backtests jobs.Config  `yaml:"backtests"`
	Export    ExportConfig `yaml:"export"`
	// Courier is one of the couriers, with an operator's token; Ingest is ingest, with a token for all tenants and formats.
	// Without them streams cannot be operated, and what ingest refused cannot be sent again.
	Courier peer.Config `yaml:"courier"`
	Ingest  peer.Config `yaml:"ingest"`
}

// Token lets its bearer in. The secret itself is never configuration.
type Token struct {
	// Name says whose it is, for people.
	Name string `yaml:"name"`
	// SHA256 is the secret's hash in hexadecimal: printf %s "$SECRET" | sha256sum
	SHA256 string `yaml:"sha256"`
	// File holds the secret itself, for those who keep secrets in files. One of both is set.
	File string `yaml:"file"`
	// Tenants are those it may see; "*" is all.
	Tenants []string `yaml:"tenants"`
	// Role gives the scopes of a role, one of Roles; Scopes, of those in Scopes, are added. At least one of both is set.
	Role   string   `yaml:"role"`
	Scopes []string `yaml:"scopes"`
}

// AllTenants in a token's tenants lifts the restriction.
const AllTenants = "*"

// DefaultConfig listens on loopback, and lets nobody in but by a one-time link.
func DefaultConfig() Config {
	return Config{
		Listen:             "127.0.0.1:8080",
		OIDC:               DefaultOIDC(),
		MaxTokenTTL:        366 * 24 * time.Hour,
		SessionTTL:         12 * time.Hour,
		SessionIdle:        2 * time.Hour,
		LinkTTL:            time.Hour,
		MaxSpan:            400 * 24 * time.Hour,
		MaxQuestions:       4,
		QuestionWait:       2 * time.Second,
		AuditWait:          3 * time.Second,
		MaxLiveClients:     512,
		MaxLiveClientsEach: 16,
		LiveBuffer:         256,
		LiveHeartbeat:      15 * time.Second,
		Backtests:          jobs.DefaultConfig(),
		Export:             ExportConfig{MaxRows: 1_000_000, Time: 10 * time.Minute, AtOnce: 2},

		RequestsPerSecond: 50,
		RequestBurst:      300,
	}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		add("listen: %q is no address, write host:port", c.Listen)
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		add("tls_cert_file: needs tls_key_file and the other way round, set both or neither")
	}
	names, hashes := map[string]bool{}, map[string]bool{}
	for i, t := range c.Tokens {
		path := fmt.Sprintf("tokens[%d]", i)
		if t.Name == "" || names[t.Name] {
			add("%s.name: %q is empty or used twice, say whose the token is", path, t.Name)
		}
		names[t.Name] = true
		switch b, err := hex.DecodeString(t.SHA256); {
		case t.File != "" && t.SHA256 != "":
			add("%s.file: is set beside sha256, set one of both", path)
		case t.File != "":
		case err != nil || len(b) != 32:
			add("%s.sha256: is no SHA-256 hash of 64 hexadecimal digits, make one with: printf %%s \"$SECRET\" | sha256sum", path)
		case hashes[t.SHA256]:
			add("%s.sha256: is the hash of another token too, give each its own secret", path)
		}
		if t.SHA256 != "" {
			hashes[t.SHA256] = true
		}
		if len(t.Tenants) == 0 {
			add("%s.tenants: empty, name the tenants it may see, or %q", path, AllTenants)
		}
		for _, tenant := range t.Tenants {
			if tenant != AllTenants && !events.ValidTenant(tenant) {
				add("%s.tenants: %.80q is no tenant", path, tenant)
			}
		}
		if len(t.Scopes) == 0 && t.Role == "" {
			add("%s.scopes: empty, name at least one of %s, or give a role", path, Scopes)
		}
		if t.Role != "" && !slices.Contains(Roles, t.Role) {
			add("%s.role: %.40q is unknown, use %s", path, t.Role, Roles)
		}
		for _, s := range t.Scopes {
			if !slices.Contains(Scopes, s) {
				add("%s.scopes: %.40q is unknown, use %s", path, s, Scopes)
			}
		}
	}
	for _, d := range []struct {
		path       string
		value, min time.Duration
	}{
		{"session_ttl", c.SessionTTL, time.Minute},
		{"session_idle", c.SessionIdle, time.Minute},
		{"max_token_ttl", c.MaxTokenTTL, 24 * time.Hour},
		{"link_ttl", c.LinkTTL, time.Minute},
		{"max_span", c.MaxSpan, time.Hour},
		{"question_wait", c.QuestionWait, time.Millisecond},
		{"audit_wait", c.AuditWait, 100 * time.Millisecond},
		{"live_heartbeat", c.LiveHeartbeat, time.Second},
	} {
		if d.value < d.min {
			add("%s: is %v, must be at least %v", d.path, d.value, d.min)
		}
	}
	if c.LiveHeartbeat > time.Minute {
		add("live_heartbeat: is %v, must be at most %v", c.LiveHeartbeat, time.Minute)
	}
	for _, d := range []struct {
		path       string
		value, max int
	}{{"max_questions", c.MaxQuestions, 1000}, {"max_live_clients", c.MaxLiveClients, 100_000}, {"max_live_clients_each", c.MaxLiveClientsEach, 100_000}, {"live_buffer", c.LiveBuffer, 100_000}, {"request_burst", c.RequestBurst, 1_000_000}} {
		if d.value < 1 || d.value > d.max {
			add("%s: is %d, must be between 1 and %d", d.path, d.value, d.max)
		}
	}
	if c.RequestsPerSecond < 0.1 || c.RequestsPerSecond > 100_000 {
		add("requests_per_second: is %v, must be between 0.1 and 100000", c.RequestsPerSecond)
	}
	if err := c.OIDC.Validate(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			add("oidc.%s", line)
		}
	}
	if _, err := c.proxies(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, c.validateActions())...)
}

// proxies are the networks of trusted proxies.
func (c Config) proxies() ([]netip.Prefix, error) {
	var list []netip.Prefix
	var errs []error
	for i, text := range c.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("trusted_proxies[%d]: is %.60q, must be a prefix such as 10.20.0.0/16 or fd00::/8", i, text))
			continue
		}
		list = append(list, p.Masked())
	}
	return list, errors.Join(errs...)
}

// minSecret is the length of the shortest secret in a file.
const minSecret = 20

// hashed reads the tokens' files, all problems at once.
func (c Config) hashed() ([]Token, error) {
	tokens := slices.Clone(c.Tokens)
	var errs []error
	for i := range tokens {
		t := &tokens[i]
		if t.File == "" {
			continue
		}
		raw, err := os.ReadFile(t.File)
		secret := strings.TrimSpace(string(raw))
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("tokens[%d].file: %w", i, err))
		case len(secret) < minSecret:
			errs = append(errs, fmt.Errorf("tokens[%d].file: %s holds %d characters, a secret needs at least %d", i, t.File, len(secret), minSecret))
		default:
			sum := sha256.Sum256([]byte(secret))
			t.SHA256 = hex.EncodeToString(sum[:])
		}
	}
	return tokens, errors.Join(errs...)
}

// tls loads the certificate; nil without one.
func (c Config) tls() (*tls.Config, error) {
	if c.TLSCertFile == "" {
		return nil, nil //nolint:nilnil // nil is how net/http users say "no TLS"
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls_cert_file: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}, nil
}
