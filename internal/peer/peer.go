// Package peer is the way to another process of the installation: HTTP with a bearer token from a file, by TLS or to this
// machine.
package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Config says where a process is and what proves who asks.
type Config struct {
	// URL is https://host:port, or http:// for this machine.
	URL string `yaml:"url"`
	// TokenFile holds the bearer token. It is read for each call, so that it may be replaced.
	TokenFile string `yaml:"token_file"`
	// CAFile holds the authority of the process's certificate in PEM; empty means those of the system.
	CAFile string `yaml:"ca_file"`
	// Plain permits http:// to other machines, where the network between is trusted: the token can be read there.
	Plain bool `yaml:"plain"`
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var errs []error
	switch base, err := url.Parse(c.URL); {
	case c.URL == "":
	case err != nil || base.Host == "" || base.User != nil || strings.Trim(base.Path, "/") != "" || base.RawQuery != "" || base.Scheme != "https" && base.Scheme != "http":
		errs = append(errs, fmt.Errorf("url: is %.80q, must be https://host:port", c.URL))
	case base.Scheme == "http" && !c.Plain && !slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, base.Hostname()):
		errs = append(errs, fmt.Errorf("url: is %.80q, must be https://, or set plain: true where the network between is trusted", c.URL))
	}
	if c.URL != "" && c.TokenFile == "" {
		errs = append(errs, errors.New("token_file: is missing, must be the file with the bearer token"))
	}
	return errors.Join(errs...)
}

// Configured reports whether there is anything to ask.
func (c Config) Configured() bool { return c.TokenFile != "" }

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 64 << 20

// callTimeout bounds a call.
const callTimeout = time.Minute

// Client asks another process. It is safe for concurrent use.
type Client struct {
	cfg  Config
	addr func(context.Context) (string, error)
	http *http.Client
}

// Open validates cfg and reads its authority. Where cfg has no URL, addr says at each call at which host:port of this
// machine the process listens; it may be nil otherwise.
func Open(cfg Config, addr func(context.Context) (string, error)) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.URL == "" && addr == nil {
		return nil, errors.New("url: is missing, must be https://host:port")
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 4,
	}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM", cfg.CAFile)
		}
	}
	return &Client{cfg: cfg, addr: addr, http: &http.Client{
		Transport: transport, Timeout: callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this process only
	}}, nil
}

// Error is an answer that refuses.
type Error struct {
	Status int
	// Problem is what the process says, for people; RetryAfter its header.
	Problem    string
	RetryAfter string
}

func (e *Error) Error() string { return fmt.Sprintf("it answers %d: %s", e.Status, e.Problem) }

// Call asks. path begins with a slash; body nil sends none. It returns the answer as it came; one that is not 2xx is an
// [Error].
func (c *Client) Call(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	base := strings.TrimSuffix(c.cfg.URL, "/")
	if base == "" {
		addr, err := c.addr(ctx)
		if err != nil {
			return nil, err
		}
		base = "http://" + addr
	}
	token, err := os.ReadFile(c.cfg.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("token_file: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case len(raw) > maxAnswer:
		return nil, fmt.Errorf("reading the answer: it has more than %d bytes", maxAnswer)
	case resp.StatusCode/100 != 2:
		return nil, &Error{Status: resp.StatusCode, Problem: problem(raw), RetryAfter: resp.Header.Get("Retry-After")}
	}
	return raw, nil
}

// problem is what a refusal says: the member "error" or "detail" of its JSON, or its beginning.
func problem(raw []byte) string {
	var said struct{ Error, Detail string }
	if json.Unmarshal(raw, &said) == nil {
		for _, text := range []string{said.Error, said.Detail} {
			if text != "" {
				return fmt.Sprintf("%.500s", strings.ToValidUTF8(text, ""))
			}
		}
	}
	return fmt.Sprintf("%.200q", raw)
}
