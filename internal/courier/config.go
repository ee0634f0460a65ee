package courier

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/countersign-io/countersign/internal/outbound"
)

// Config says where the courier listens, how it reaches receivers, and its limits.
type Config struct {
	// Listen is host:port, for receivers, operators and other couriers.
	Listen string `yaml:"listen"`
	// Advertise is the base URL by which other couriers reach this one, https://host:port; each has its own, and keeps it
	// over restarts. Empty is Listen, which must be one address then.
	Advertise string `yaml:"advertise"`
	// TLSCertFile and TLSKeyFile are PEM. InsecurePlain does without them, on loopback only.
	TLSCertFile   string `yaml:"tls_cert_file"`
	TLSKeyFile    string `yaml:"tls_key_file"`
	InsecurePlain bool   `yaml:"insecure_plain"`
	// PeerCAFile holds authorities to trust for other couriers besides those of the system, PEM.
	PeerCAFile string `yaml:"peer_ca_file"`
	// SecretsKeyFile holds at least 32 characters of chance, the same for all couriers: under them the authorization headers
	// of receivers are kept, and couriers know each other. Without it no stream can have such a header, and no request is
	// passed on to another courier.
	SecretsKeyFile string `yaml:"secrets_key_file"`
	// OperatorTokens are who may use the operator endpoints.
	OperatorTokens []OperatorToken `yaml:"operator_tokens"`

	// Group is the consumer group that spreads the streams over the couriers. SessionTimeout is after what silence a courier
	// counts as dead, HeartbeatInterval how often it shows that it lives.
	Group             string        `yaml:"group"`
	SessionTimeout    time.Duration `yaml:"session_timeout"`
	HeartbeatInterval time.Duration `yaml:"heartbeat_interval"`

	// Window is how many SETs of one stream wait in memory; the others wait on the log.
	Window int `yaml:"window"`
	// PerStream is how many pushes of one stream may be under way, for different subjects; MaxInFlight how many altogether.
	PerStream   int `yaml:"per_stream"`
	MaxInFlight int `yaml:"max_in_flight"`
	// MaxStreams bounds the streams of the installation.
	MaxStreams int `yaml:"max_streams"`
	// CacheBytes bounds the decisions in memory.
	CacheBytes int `yaml:"cache_bytes"`
	// FlushEvery is how soon positions are written. What was delivered since is delivered again after a crash.
	FlushEvery time.Duration `yaml:"flush_every"`
	// WatchEvery is how often streams are looked at that nobody uses, or that are dead.
	WatchEvery time.Duration `yaml:"watch_every"`
	// DrainTimeout bounds what is under way when streams are given up.
	DrainTimeout time.Duration `yaml:"drain_timeout"`

	// RetryMin and RetryMax are the first and the longest pause after a failure that may pass by itself, SlowRetryMin and
	// SlowRetryMax after one that a person has to mend. RetryAfterMax is the longest pause that a receiver may ask for.
	RetryMin      time.Duration `yaml:"retry_min"`
	RetryMax      time.Duration `yaml:"retry_max"`
	SlowRetryMin  time.Duration `yaml:"slow_retry_min"`
	SlowRetryMax  time.Duration `yaml:"slow_retry_max"`
	RetryAfterMax time.Duration `yaml:"retry_after_max"`
	// DeadAfter is how long a receiver may take nothing before its stream is paused, and how long a single SET may fail while
	// others are taken before it goes to the dead letters.
	DeadAfter time.Duration `yaml:"dead_after"`
	// RedeliverAfter is when a SET comes again that a poll has got and not acknowledged.
	RedeliverAfter time.Duration `yaml:"redeliver_after"`
	// RemovalGrace is for how long a subject's events are still sent after it was removed: who gets hold of a receiver's
	// credentials cannot hide a subject at once (SSF 1.0 §9.3).
	RemovalGrace time.Duration `yaml:"removal_grace"`

	// Outbound is where pushes may go.
	Outbound outbound.Config `yaml:"outbound"`

	// These three come from the configuration of the transmitter (package ssf).
	MinVerificationInterval time.Duration `yaml:"-"`
	InactivityTimeout       time.Duration `yaml:"-"`
	PollSets                int           `yaml:"-"`
}

// OperatorToken lets its bearer use the operator endpoints. The secret itself is never configuration.
type OperatorToken struct {
	// Name says whose it is, for people.
	Name string `yaml:"name"`
	// File holds the token, of at least 20 characters.
	File string `yaml:"file"`
}

// DefaultConfig listens on loopback, and needs a certificate.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8443", Group: "countersign-courier", SessionTimeout: 10 * time.Second, HeartbeatInterval: 2 * time.Second,
		Window: 256, PerStream: 8, MaxInFlight: 256, MaxStreams: 10_000, CacheBytes: 48 << 20,
		FlushEvery: 200 * time.Millisecond, WatchEvery: 5 * time.Second, DrainTimeout: 5 * time.Second,
		RetryMin: 500 * time.Millisecond, RetryMax: 5 * time.Minute, SlowRetryMin: 30 * time.Second, SlowRetryMax: 30 * time.Minute,
		RetryAfterMax: time.Hour, DeadAfter: 24 * time.Hour, RedeliverAfter: 30 * time.Second, RemovalGrace: day,
		Outbound: outbound.DefaultConfig(), PollSets: 100,
	}
}

// Validate reports every problem at once. It opens no file.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		add("listen: is %.80q, must be host:port", c.Listen)
	}
	switch {
	case (c.TLSCertFile == "") != (c.TLSKeyFile == ""):
		add("tls_cert_file: needs tls_key_file and the other way round, set both or neither")
	case c.InsecurePlain && c.TLSCertFile != "":
		add("insecure_plain: is set beside a certificate, set one of both")
	case c.InsecurePlain && !loopback(host):
		add("insecure_plain: is for loopback only, listen is %.80q", c.Listen)
	case !c.InsecurePlain && c.TLSCertFile == "":
		add("tls_cert_file: is empty, must name the certificate (insecure_plain does without, on loopback)")
	}
	if ip, err := netip.ParseAddr(host); c.Advertise == "" && (host == "" || err == nil && ip.IsUnspecified()) {
		add("advertise: is empty, must be https://host:port of this courier, because listen is every address")
	}
	if c.Advertise != "" {
		u, err := url.Parse(c.Advertise)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" ||
			u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
			add("advertise: is %.80q, must be https://host:port without a path", c.Advertise)
		}
	}
	names := map[string]bool{}
	for i, t := range c.OperatorTokens {
		if t.Name == "" || names[t.Name] {
			add("operator_tokens[%d].name: %.40q is empty or used twice, say whose the token is", i, t.Name)
		}
		if names[t.Name] = true; t.File == "" {
			add("operator_tokens[%d].file: is empty, must name the file with the token", i)
		}
	}
	if c.Group == "" {
		add("group: is empty, must name a consumer group")
	}
	for _, n := range []struct {
		path         string
		v, low, high int
	}{
		{"window", c.Window, 1, maxWindow},
		{"per_stream", c.PerStream, 1, 256},
		{"max_in_flight", c.MaxInFlight, 1, 10_000},
		{"max_streams", c.MaxStreams, 1, 100_000},
		{"cache_bytes", c.CacheBytes, 1 << 20, 1 << 40},
	} {
		if n.v < n.low || n.v > n.high {
			add("%s: is %d, must be between %d and %d", n.path, n.v, n.low, n.high)
		}
	}
	for _, d := range []struct {
		path         string
		v, low, high time.Duration
	}{
		{"session_timeout", c.SessionTimeout, time.Second, 10 * time.Minute},
		{"heartbeat_interval", c.HeartbeatInterval, 10 * time.Millisecond, c.SessionTimeout / 2},
		{"flush_every", c.FlushEvery, time.Millisecond, time.Minute},
		{"watch_every", c.WatchEvery, time.Millisecond, time.Hour},
		{"drain_timeout", c.DrainTimeout, time.Millisecond, 20 * time.Second},
		{"retry_min", c.RetryMin, time.Millisecond, c.RetryMax},
		{"retry_max", c.RetryMax, time.Millisecond, day},
		{"slow_retry_min", c.SlowRetryMin, time.Millisecond, c.SlowRetryMax},
		{"slow_retry_max", c.SlowRetryMax, time.Millisecond, day},
		{"retry_after_max", c.RetryAfterMax, time.Millisecond, day},
		{"dead_after", c.DeadAfter, time.Millisecond, 30 * day},
		{"redeliver_after", c.RedeliverAfter, time.Millisecond, day},
		{"removal_grace", c.RemovalGrace, 0, 30 * day},
	} {
		if d.v < d.low || d.v > d.high {
			add("%s: is %v, must be between %v and %v", d.path, d.v, d.low, d.high)
		}
	}
	if err := c.Outbound.Validate(); err != nil {
		for _, e := range flatten(err) {
			add("outbound.%w", e)
		}
	}
	return errors.Join(errs...)
}

const day = 24 * time.Hour

// flatten lists the errors that were joined.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, flatten(e)...)
	}
	return out
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
