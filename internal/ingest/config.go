package ingest

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// Config configures a Server.
type Config struct {
	// Listen is the address of the HTTP server, host:port.
	Listen string    `yaml:"listen"`
	TLS    TLSConfig `yaml:"tls"`
	// Tokens are who may send.
	Tokens []TokenConfig `yaml:"tokens"`
	// MaxBody bounds a request's body in bytes, before and after decompression; MaxRecords the records in it.
	MaxBody    int64 `yaml:"max_body"`
	MaxRecords int   `yaml:"max_records"`
	// MaxRequests bounds the requests that are served at once; more are told to come back.
	MaxRequests int `yaml:"max_requests"`
	// ReadTimeout bounds the time to receive a request, PublishTimeout the time the log may take to acknowledge it.
	ReadTimeout    time.Duration `yaml:"read_timeout"`
	PublishTimeout time.Duration `yaml:"publish_timeout"`
	// DrainTimeout bounds how long requests may take to finish when the server stops.
	DrainTimeout time.Duration `yaml:"drain_timeout"`

	Pipeline PipelineConfig `yaml:"pipeline"`
}

// TLSConfig names the server's certificate; empty means plain HTTP.
type TLSConfig struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// TerminatedElsewhere says that plain HTTP is meant, on an address that others can reach: a proxy in front does TLS.
	TerminatedElsewhere bool `yaml:"terminated_elsewhere"`
}

// TokenConfig binds a bearer token to what its bearer may send.
type TokenConfig struct {
	// File holds the token, of at least 20 characters, or "sha256:" and the hexadecimal digest of one. The token itself
	// is never configuration.
	File string `yaml:"file"`
	// Source is the name under which its records are known.
	Source string `yaml:"source"`
	// Tenants are the tenants it may write for; "*" alone means every tenant.
	Tenants []string `yaml:"tenants"`
	// Format is what it sends; the default is "event". Formats are others that a request may ask for; "*" is every one. A
	// token of an application is best bound to what it sends: the words of a provider weigh more than an application's.
	// "receipt" is no format of events; it permits POST /v1/receipts.
	Format  string   `yaml:"format"`
	Formats []string `yaml:"formats"`
	// TrustedPlaces keeps the places and networks that its events carry.
	TrustedPlaces bool `yaml:"trusted_places"`
}

// The formats that have an endpoint of their own: countersign's own event JSON, and applications' reports of
// session use.
const (
	FormatEvent   = "event"
	FormatSession = "session"
	// FormatReceipt is what applications did with requirements. It is not decoded to events.
	FormatReceipt = "receipt"
)

// anyTenant stands for every tenant, anyFormat for every format.
const (
	anyTenant = "*"
	anyFormat = "*"
)

// format is what the token sends unless a request says otherwise.
func (t TokenConfig) format() string {
	if t.Format == "" {
		return FormatEvent
	}
	return t.Format
}

// allows tells whether the token may send a format.
func (t TokenConfig) allows(format string) bool {
	return format == t.format() || slices.Contains(t.Formats, format) || slices.Contains(t.Formats, anyFormat)
}

// DefaultConfig listens on this machine only, and has no tokens yet.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8081", MaxBody: 32 << 20, MaxRecords: 100_000, MaxRequests: 256,
		ReadTimeout: 60 * time.Second, PublishTimeout: 15 * time.Second, DrainTimeout: 20 * time.Second,
		Pipeline: DefaultPipelineConfig(),
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Validate reports every problem of c at once, each as "field.path: problem, what to do". It opens no file.
func (c Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if host, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		bad("listen: %q is no address, write host:port", c.Listen)
	} else if c.TLS == (TLSConfig{}) && !loopback(host) {
		bad("tls.cert_file: is empty, so that tokens would come over plain HTTP on %s; name a certificate, or set tls.terminated_elsewhere", c.Listen)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls.cert_file: needs tls.key_file and the other way round, set both or neither")
	}
	if len(c.Tokens) == 0 {
		bad("tokens: is empty, so that nobody could send; name at least one token")
	}
	files := map[string]int{}
	for i, t := range c.Tokens {
		if t.File == "" {
			bad("tokens[%d].file: is empty, name the file that holds the token", i)
		} else if j, taken := files[t.File]; taken {
			bad("tokens[%d].file: is also that of tokens[%d], a token has one source", i, j)
		}
		files[t.File] = i
		if t.Source == "" || len(t.Source) > events.MaxName {
			bad("tokens[%d].source: must have 1 to %d bytes, name where its records come from", i, events.MaxName)
		}
		if len(t.Tenants) == 0 {
			bad(`tokens[%d].tenants: is empty, name its tenants, or "*" for all`, i)
		}
		for j, tenant := range t.Tenants {
			switch {
			case tenant == anyTenant && len(t.Tenants) > 1:
				bad(`tokens[%d].tenants[%d]: "*" means every tenant, remove the others`, i, j)
			case tenant != anyTenant && !events.ValidTenant(tenant):
				bad("tokens[%d].tenants[%d]: %.80q is no tenant: 1 to %d letters, digits, dots, dashes, underscores", i, j, tenant, events.MaxTenant)
			}
		}
	}
	for _, limit := range []struct {
		name             string
		value, low, high int64
	}{
		{"max_body", c.MaxBody, 1 << 10, 1 << 30},
		{"max_records", int64(c.MaxRecords), 1, 10_000_000},
		{"max_requests", int64(c.MaxRequests), 1, 100_000},
	} {
		if limit.value < limit.low || limit.value > limit.high {
			bad("%s: is %d, must be between %d and %d", limit.name, limit.value, limit.low, limit.high)
		}
	}
	for name, d := range map[string]time.Duration{
		"read_timeout": c.ReadTimeout, "publish_timeout": c.PublishTimeout, "drain_timeout": c.DrainTimeout,
	} {
		if d <= 0 {
			bad("%s: is %v, use for example 30s", name, d)
		}
	}
	if err := c.Pipeline.Validate(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			bad("pipeline.%s", line)
		}
	}
	slices.SortStableFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}
