// Package outbound makes the HTTP clients with which countersign calls addresses that others have named: receivers of
// streams, webhooks. A client speaks TLS 1.2 or later, follows no redirect, uses no proxy of the environment, and looks at
// the resolved address of each connection before it is opened, so that neither a name that resolves anew nor an odd form
// of an address leads to the networks of the installation itself.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Config says where requests may go. It is a section of several configurations.
type Config struct {
	// AllowNetworks are private networks that may be called all the same, as prefixes: 10.20.0.0/16, 127.0.0.0/8.
	AllowNetworks []string `yaml:"allow_networks"`
	// PlainHTTP allows http: addresses.
	PlainHTTP bool `yaml:"plain_http"`
	// CAFile holds authorities to trust besides those of the system, PEM.
	CAFile string `yaml:"ca_file"`
	// Timeout bounds one request, its answer's body included.
	Timeout time.Duration `yaml:"timeout"`
	// MaxConnsPerHost bounds the connections to one receiver.
	MaxConnsPerHost int `yaml:"max_conns_per_host"`
}

// DefaultConfig allows public addresses by TLS.
func DefaultConfig() Config {
	return Config{Timeout: 10 * time.Second, MaxConnsPerHost: 16}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	_, err := c.networks()
	errs := []error{err}
	if c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute {
		errs = append(errs, fmt.Errorf("timeout: is %v, must be between 100ms and 1m", c.Timeout))
	}
	if c.MaxConnsPerHost < 1 || c.MaxConnsPerHost > 1000 {
		errs = append(errs, fmt.Errorf("max_conns_per_host: is %d, must be between 1 and 1000", c.MaxConnsPerHost))
	}
	return errors.Join(errs...)
}

func (c Config) networks() ([]netip.Prefix, error) {
	var list []netip.Prefix
	var errs []error
	for i, text := range c.AllowNetworks {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().Is4In6() {
			errs = append(errs, fmt.Errorf("allow_networks[%d]: is %.60q, must be a prefix such as 10.20.0.0/16 or fd00::/8", i, text))
			continue
		}
		list = append(list, p.Masked())
	}
	return list, errors.Join(errs...)
}

// ErrForbidden is in the error of a request to an address that may not be called; with it ErrPlain where only plain_http is
// missing, and ErrPrivate where only allow_networks is.
var (
	ErrForbidden = errors.New("the address may not be called")
	ErrPlain     = fmt.Errorf("%w: its scheme is http, it must be https", ErrForbidden)
	ErrPrivate   = fmt.Errorf("%w: it is not public", ErrForbidden)
)

// Guard knows which addresses may be called.
type Guard struct {
	allowed []netip.Prefix
	plain   bool
}

// NewGuard returns the guard of a configuration.
func NewGuard(cfg Config) (*Guard, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	allowed, err := cfg.networks()
	return &Guard{allowed: allowed, plain: cfg.PlainHTTP}, err
}

// New returns a client that is guarded. Its idle connections are closed by [http.Client.CloseIdleConnections].
func New(cfg Config) (*http.Client, error) {
	g, err := NewGuard(cfg)
	if err != nil {
		return nil, err
	}
	roots, err := trusted(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: min(5*time.Second, cfg.Timeout), KeepAlive: 30 * time.Second, ControlContext: g.control}
	return &http.Client{
		Timeout: cfg.Timeout,
		// A redirect is an answer like others: the caller sees its status.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &guarded{guard: g, next: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout: min(5*time.Second, cfg.Timeout), ResponseHeaderTimeout: cfg.Timeout,
			MaxIdleConns: 1000, MaxIdleConnsPerHost: cfg.MaxConnsPerHost, MaxConnsPerHost: cfg.MaxConnsPerHost,
			IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		}},
	}, nil
}

// trusted are the system's authorities and those of the file; nil means the system's.
func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // that is what crypto/tls wants
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM", file)
	}
	return pool, nil
}

// guarded looks at the scheme; the address is looked at when it is dialled.
type guarded struct {
	guard *Guard
	next  *http.Transport
}

func (t *guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.guard.scheme(r.URL); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	return t.next.RoundTrip(r)
}

func (t *guarded) CloseIdleConnections() { t.next.CloseIdleConnections() }

func (g *Guard) scheme(u *url.URL) error {
	if u.Scheme == "https" || u.Scheme == "http" && g.plain {
		return nil
	}
	if u.Scheme == "http" {
		return ErrPlain
	}
	return fmt.Errorf("%w: its scheme is %.20q, it must be https", ErrForbidden, u.Scheme)
}

// CheckURL tells early what a request to the URL would run into: its scheme, and its address when that is written as one.
// What a name resolves to is looked at when it is dialled only, since it may change until then. Besides, it refuses user
// names, passwords and fragments, which have no business in an address that is called.
func (g *Guard) CheckURL(raw string) error {
	const longest = 2048
	if len(raw) > longest {
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(raw), longest)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("is no URL")
	}
	if err := g.scheme(u); err != nil {
		return err
	}
	if u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return errors.New("must have neither user name nor fragment")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("has port %.20q, which there is not", port)
		}
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if host == "" {
		return errors.New("has no host")
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return g.check(netip.IPv6Loopback())
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.check(addr)
	}
	return nil
}

// control is asked before each connection, with the address that was resolved.
func (g *Guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: network %s", ErrForbidden, network)
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %.80q is no address", ErrForbidden, address)
	}
	return g.check(ap.Addr())
}

func (g *Guard) check(addr netip.Addr) error {
	plain := addr.WithZone("").Unmap()
	for _, p := range g.allowed {
		if p.Contains(plain) {
			return nil
		}
	}
	if !public(plain) {
		return fmt.Errorf("%w: %s; allow_networks can allow it", ErrPrivate, plain)
	}
	return nil
}

// special are the blocks that are not globally reachable, or that lead to others, by the IANA registries of special-purpose
// addresses (RFC 6890 and later), besides those that netip knows.
var special = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4",
	"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16",
	"fec0::/10", "::/96",
)

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, t := range texts {
		list = append(list, netip.MustParsePrefix(t))
	}
	return list
}

// public reports whether an unmapped address is globally reachable unicast.
func public(addr netip.Addr) bool {
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}
