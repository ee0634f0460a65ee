package history

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Config says how to reach ClickHouse and how long it keeps what.
type Config struct {
	// URLs are the servers of one cluster, each such as "http://host:8123", "https://host:8443" or "clickhouse://host:9000"
	// (the native protocol). All have one scheme. The first that answers is used; several are servers of Cluster.
	URLs []string `yaml:"urls"`
	// User and PasswordFile authenticate; one trailing line break in the file is ignored.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	// Password is for callers in the process; it is never configuration.
	Password string `yaml:"-"`
	// Database holds all tables; [Store.Migrate] creates it.
	Database string `yaml:"database"`
	// Compression of what travels is "none" or "lz4". None is right on loopback.
	Compression string    `yaml:"compression"`
	TLS         TLSConfig `yaml:"tls"`
	// MaxConnections bounds the connections of this process.
	MaxConnections int           `yaml:"max_connections"`
	DialTimeout    time.Duration `yaml:"dial_timeout"`
	// InsertTimeout bounds one insert, QueryTimeout one query; the server ends a query at QueryTimeout too.
	InsertTimeout time.Duration `yaml:"insert_timeout"`
	QueryTimeout  time.Duration `yaml:"query_timeout"`
	Retention     Retention     `yaml:"retention"`
	Tiering       Tiering       `yaml:"tiering"`
	// Cluster is the name of a cluster of the server's configuration (remote_servers) over which the tables are spread and
	// replicated; empty is one server. It is for a new database: tables that are there are not moved.
	Cluster string `yaml:"cluster"`
}

// Tiering moves events to slower and cheaper disks when they are old. The zero value keeps them where they are.
type Tiering struct {
	// StoragePolicy is one of the server's configuration that holds the disks of the events' present one, and Volume the
	// volume of it to which parts go EventDays days after they entered the log.
	StoragePolicy string `yaml:"storage_policy"`
	Volume        string `yaml:"volume"`
	EventDays     int    `yaml:"event_days"`
}

// TLSConfig selects TLS for "https" and "clickhouse" URLs. Files are PEM.
type TLSConfig struct {
	// Enabled is implied by an "https" URL.
	Enabled bool `yaml:"enabled"`
	// CAFile holds the authorities to trust; empty means those of the system.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are the client certificate of mutual TLS; both or neither.
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
	ServerName string `yaml:"server_name"`
}

// Retention is how many days rows are kept after they entered the log. Whole parts are dropped, so that some rows stay
// up to a month longer.
type Retention struct {
	EventDays int `yaml:"event_days"`
	// DecisionDays is for findings, revocations, receipts, marks, alerts and the audit trail.
	DecisionDays   int `yaml:"decision_days"`
	DeadLetterDays int `yaml:"dead_letter_days"`
}

// DefaultConfig is a server on this machine, over HTTP.
func DefaultConfig() Config {
	return Config{
		URLs:           []string{"http://127.0.0.1:8123"},
		User:           "default",
		Database:       "countersign",
		Compression:    "none",
		MaxConnections: 8,
		DialTimeout:    5 * time.Second,
		InsertTimeout:  time.Minute,
		QueryTimeout:   10 * time.Second,
		Retention:      Retention{EventDays: 90, DecisionDays: 400, DeadLetterDays: 30},
	}
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.URLs) == 0 {
		add("urls: empty, name at least one server such as http://127.0.0.1:8123")
	}
	var scheme string
	for i, text := range c.URLs {
		u, err := url.Parse(text)
		switch {
		case err != nil:
			add("urls[%d]: is not a URL, write for example http://127.0.0.1:8123", i)
			continue
		case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "clickhouse":
			add("urls[%d]: scheme %q is unknown, use http, https or clickhouse", i, u.Scheme)
		case u.User != nil:
			add("urls[%d]: holds credentials, use user and password_file", i)
		case u.Hostname() == "" || u.Port() == "":
			add("urls[%d]: needs a host and a port, such as http://127.0.0.1:8123", i)
		case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
			add("urls[%d]: holds more than scheme, host and port, use the other fields", i)
		case scheme != "" && scheme != u.Scheme:
			add("urls[%d]: scheme %q differs from %q, all servers are reached the same way", i, u.Scheme, scheme)
		case u.Scheme == "http" && c.TLS.Enabled:
			add("urls[%d]: is http although tls.enabled is true, write https", i)
		}
		scheme = u.Scheme
	}
	if c.Password != "" && c.PasswordFile != "" {
		add("password_file: is set although the process gave a password, remove it")
	}
	if c.User == "" && (c.PasswordFile != "" || c.Password != "") {
		add("user: empty although there is a password, name the user")
	}
	if !identifier.MatchString(c.Database) {
		add("database: %.80q is no name, use letters, digits and underscores, at most 63", c.Database)
	}
	if c.Compression != "none" && c.Compression != "lz4" {
		add("compression: %.40q is unknown, use none or lz4", c.Compression)
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		add("tls.cert_file: needs tls.key_file and the other way round, set both or neither")
	}
	if c.MaxConnections < 1 || c.MaxConnections > 1000 {
		add("max_connections: is %d, must be between 1 and 1000", c.MaxConnections)
	}
	for _, d := range []struct {
		path  string
		value time.Duration
	}{{"dial_timeout", c.DialTimeout}, {"insert_timeout", c.InsertTimeout}, {"query_timeout", c.QueryTimeout}} {
		if d.value < 100*time.Millisecond || d.value > time.Hour {
			add("%s: is %v, must be between 100ms and 1h", d.path, d.value)
		}
	}
	for _, d := range []struct {
		path string
		days int
	}{
		{"retention.event_days", c.Retention.EventDays},
		{"retention.decision_days", c.Retention.DecisionDays},
		{"retention.dead_letter_days", c.Retention.DeadLetterDays},
	} {
		if d.days < 1 || d.days > 36500 {
			add("%s: is %d, must be between 1 and 36500", d.path, d.days)
		}
	}
	if t := c.Tiering; t != (Tiering{}) {
		for path, name := range map[string]string{"tiering.storage_policy": t.StoragePolicy, "tiering.volume": t.Volume} {
			if !identifier.MatchString(name) {
				add("%s: %.80q is no name, use letters, digits and underscores, at most 63", path, name)
			}
		}
		if t.EventDays < 1 || t.EventDays >= c.Retention.EventDays {
			add("tiering.event_days: is %d, must be between 1 and retention.event_days less one, %d", t.EventDays, c.Retention.EventDays-1)
		}
	}
	if len(c.URLs) > 1 && c.Cluster == "" {
		add("cluster: empty although there are %d urls, name the cluster that they are of, or one address: without one each server would hold a part of the history", len(c.URLs))
	}
	if c.Cluster != "" && !identifier.MatchString(c.Cluster) {
		add("cluster: %.80q is no name, use letters, digits and underscores, at most 63", c.Cluster)
	}
	return errors.Join(errs...)
}

// options translates c for the client, reading its files. c is valid.
func (c Config) options() (*clickhouse.Options, error) {
	o := &clickhouse.Options{
		Auth:         clickhouse.Auth{Username: c.User, Password: c.Password},
		DialTimeout:  c.DialTimeout,
		ReadTimeout:  max(c.InsertTimeout, c.QueryTimeout),
		MaxOpenConns: c.MaxConnections,
		MaxIdleConns: c.MaxConnections,
		ClientInfo:   clickhouse.ClientInfo{Products: []struct{ Name, Version string }{{Name: "countersign", Version: "1"}}},
	}
	secure := c.TLS.Enabled
	for _, text := range c.URLs {
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("urls: %w", err)
		}
		o.Addr = append(o.Addr, u.Host)
		if u.Scheme != "clickhouse" {
			o.Protocol = clickhouse.HTTP
		}
		secure = secure || u.Scheme == "https"
	}
	if c.Compression == "lz4" {
		o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	}
	if c.PasswordFile != "" {
		raw, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("password_file: %w", err)
		}
		o.Auth.Password = strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
		if o.Auth.Password == "" {
			return nil, fmt.Errorf("password_file: %s is empty, write the password into it", c.PasswordFile)
		}
	}
	if secure {
		var err error
		if o.TLS, err = c.TLS.load(); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (t TLSConfig) load() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s holds no certificate, it must be PEM", t.CAFile)
		}
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}
