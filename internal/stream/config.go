package stream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Config says how to reach a Kafka cluster. One value feeds every connection the package opens.
type Config struct {
	// Brokers are the bootstrap addresses, each host:port.
	Brokers []string `yaml:"brokers"`
	// ClientID names this process in the broker's logs and quotas.
	ClientID string `yaml:"client_id"`
	// Prefix goes before the name of every topic and consumer group, so that several installations can share a cluster.
	Prefix string `yaml:"prefix"`
	// DialTimeout bounds opening one connection, TLS and SASL included.
	DialTimeout time.Duration `yaml:"dial_timeout"`
	// RequestTimeout bounds one request and its answer; long polls add their own wait.
	RequestTimeout time.Duration `yaml:"request_timeout"`

	TLS  TLSConfig  `yaml:"tls"`
	SASL SASLConfig `yaml:"sasl"`
}

// TLSConfig selects TLS towards the brokers. Files are PEM and are read by Connect.
type TLSConfig struct {
	Enabled bool `yaml:"enabled"`
	// CAFile holds the authorities to trust; empty means those of the system.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are the client certificate of mutual TLS; both or neither.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ServerName overrides the name the broker's certificate is checked against; empty means the broker's host.
	ServerName string `yaml:"server_name"`
}

// SASL mechanisms a SASLConfig may name.
const (
	SASLPlain       = "plain"
	SASLScramSHA256 = "scram-sha-256"
	SASLScramSHA512 = "scram-sha-512"
	SASLOAuthBearer = "oauthbearer"
)

// SASLConfig selects SASL authentication; an empty Mechanism means none.
type SASLConfig struct {
	// Mechanism is one of plain, scram-sha-256, scram-sha-512, oauthbearer, or empty.
	Mechanism string `yaml:"mechanism"`
	// Username and the password are for all but oauthbearer.
	Username string `yaml:"username"`
	// PasswordFile holds the password; one trailing line break is ignored. The password itself is never configuration.
	PasswordFile string `yaml:"password_file"`
	// OAuth says where the tokens of oauthbearer come from.
	OAuth OAuthConfig `yaml:"oauth"`
}

// DefaultConfig is a cluster on this machine, without TLS or SASL.
func DefaultConfig() Config {
	return Config{
		Brokers:        []string{"127.0.0.1:9092"},
		ClientID:       "countersign",
		DialTimeout:    5 * time.Second,
		RequestTimeout: 10 * time.Second,
	}
}

// Validate reports every problem of c at once, each as "field.path: problem, what to do".
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Brokers) == 0 {
		add("brokers: empty, name at least one host:port")
	}
	for i, b := range c.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			add("brokers[%d]: %q is not an address, write host:port", i, b)
		} else if strings.Contains(b, ",") {
			add("brokers[%d]: %q holds a comma, write one list entry per broker", i, b)
		}
	}
	if c.ClientID == "" {
		add("client_id: empty, name this process")
	}
	if len(c.Prefix) > 100 || strings.ContainsFunc(c.Prefix, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	}) {
		add("prefix: %.120q cannot begin a topic's name, use at most 100 letters, digits, dots, dashes, underscores", c.Prefix)
	}
	if c.DialTimeout <= 0 {
		add("dial_timeout: %v is not positive, use for example 5s", c.DialTimeout)
	}
	if c.RequestTimeout <= 0 {
		add("request_timeout: %v is not positive, use for example 10s", c.RequestTimeout)
	}
	if !c.TLS.Enabled && (c.TLS.CAFile != "" || c.TLS.CertFile != "" || c.TLS.KeyFile != "" || c.TLS.ServerName != "") {
		add("tls.enabled: false although other tls fields are set, set it to true or remove them")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		add("tls.cert_file: needs tls.key_file and the other way round, set both or neither")
	}
	c.SASL.validate(add)
	if secret := c.SASL.Mechanism == SASLPlain || c.SASL.Mechanism == SASLOAuthBearer; secret && !c.TLS.Enabled && !c.local() {
		add("tls.enabled: false, so that %s would send the secret as it is; set it to true, or use %s", c.SASL.Mechanism, SASLScramSHA512)
	}
	return errors.Join(errs...)
}

// local tells whether every broker is on this machine.
func (c Config) local() bool {
	return !slices.ContainsFunc(c.Brokers, func(broker string) bool {
		host, _, err := net.SplitHostPort(broker)
		ip := net.ParseIP(host)
		return err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}

func (s SASLConfig) validate(add func(format string, args ...any)) {
	const known = SASLPlain + ", " + SASLScramSHA256 + ", " + SASLScramSHA512 + " or " + SASLOAuthBearer
	switch s.Mechanism {
	case "":
		if s != (SASLConfig{}) {
			add("sasl.mechanism: empty although credentials are set, use %s", known)
		}
	case SASLPlain, SASLScramSHA256, SASLScramSHA512:
		if s.Username == "" {
			add("sasl.username: empty, name the user")
		}
		if s.PasswordFile == "" {
			add("sasl.password_file: empty, name the file that holds the password")
		}
		if s.OAuth != (OAuthConfig{}) {
			add("sasl.oauth: is for %s only, remove it", SASLOAuthBearer)
		}
	case SASLOAuthBearer:
		if s.Username != "" || s.PasswordFile != "" {
			add("sasl.username: and password_file are not for %s, remove them", SASLOAuthBearer)
		}
		s.OAuth.validate(add)
	default:
		add("sasl.mechanism: %q is unknown, use %s", s.Mechanism, known)
	}
}

// load reads the certificate files; nil when TLS is off.
func (t TLSConfig) load() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil //nolint:nilnil // nil is how crypto/tls users say "no TLS"
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s holds no certificate, it must be PEM", t.CAFile)
		}
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// load reads the password or the client's secret; nil when SASL is off.
func (s SASLConfig) load() (sasl.Mechanism, error) {
	switch s.Mechanism {
	case "":
		return nil, nil //nolint:nilnil // nil is how kafka-go says "no SASL"
	case SASLOAuthBearer:
		return s.OAuth.load()
	}
	password, err := readSecret(s.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("sasl.password_file: %w", err)
	}
	switch s.Mechanism {
	case SASLScramSHA256:
		return scram.Mechanism(scram.SHA256, s.Username, password)
	case SASLScramSHA512:
		return scram.Mechanism(scram.SHA512, s.Username, password)
	default:
		return plain.Mechanism{Username: s.Username, Password: password}, nil
	}
}

// readSecret reads a secret from its file, without one trailing line break.
func readSecret(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	if secret == "" {
		return "", fmt.Errorf("%s is empty, write the secret into it", path)
	}
	return secret, nil
}
