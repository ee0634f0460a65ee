// Package upstream asks the HTTP API of another system for its records: bounded in size and time, no faster than allowed,
// and with errors that say when to come back.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// MaxBody is the largest answer that is read unless a [Config] says otherwise, in bytes.
const MaxBody = 64 << 20

// Config configures a Client.
type Config struct {
	// HTTP carries the requests, with whatever authenticates them; nil is [NewHTTP].
	HTTP *http.Client
	// Requests are allowed per Period; 0 is no limit of ours. They are spread evenly: no bursts.
	Requests int
	Period   time.Duration
	// MaxBody bounds an answer in bytes; 0 is [MaxBody].
	MaxBody int64
	// Base is the API's address. Only its scheme and host are asked: addresses of further pages come out of answers, and
	// credentials must not follow them elsewhere, or in the clear.
	Base string
	// Reset is the header, "" for none, by which the API tells when it takes requests again, in seconds since 1970, where it
	// sends no Retry-After with its 429.
	Reset string
	// Now is the clock by which a date in Retry-After is read; nil is time.Now.
	Now func() time.Time
}

// NewHTTP returns an HTTP client for use with an upstream: it follows no redirects, which would carry credentials along.
func NewHTTP(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// Client asks one API. It is safe for concurrent use.
type Client struct {
	cfg     Config
	limiter *rate.Limiter
}

// New returns a client.
func New(cfg Config) *Client {
	if cfg.HTTP == nil {
		cfg.HTTP = NewHTTP(time.Minute)
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = MaxBody
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{cfg: cfg, limiter: rate.NewLimiter(rate.Inf, 1)}
	if cfg.Requests > 0 {
		c.limiter = rate.NewLimiter(rate.Every(cfg.Period/time.Duration(cfg.Requests)), 1)
	}
	return c
}

// Answer is a complete answer with a status of 2xx.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Error is an answer that is none: another status than 2xx, or a body that did not come whole.
type Error struct {
	// Status is that of the answer, 0 when there was none.
	Status int
	// Detail is the beginning of the body, for people.
	Detail string
	// Wait is how long the upstream asked to be left alone; 0 when it did not say.
	Wait time.Duration
	Err  error
}

func (e *Error) Error() string {
	switch {
	case e.Status == 0:
		return e.Err.Error()
	case e.Err != nil:
		return fmt.Sprintf("answered %d: %v", e.Status, e.Err)
	case e.Detail != "":
		return fmt.Sprintf("answered %d: %.200q", e.Status, e.Detail)
	}
	return fmt.Sprintf("answered %d", e.Status)
}

func (e *Error) Unwrap() error { return e.Err }

// ErrLarger is in the [Error] of an answer that exceeds the bound.
var ErrLarger = errors.New("the answer is larger")

// RetryAfter is how long the upstream asked to be left alone; 0 when it did not say.
func (e *Error) RetryAfter() time.Duration { return e.Wait }

// Stale reports whether an error says that a link or token of a further page is no longer good, where nothing else of the
// request can be wrong.
func Stale(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusBadRequest || e.Status == http.StatusNotFound || e.Status == http.StatusGone)
}

// Get asks for an address.
func (c *Client) Get(ctx context.Context, address string, header http.Header) (*Answer, error) {
	return c.do(ctx, http.MethodGet, address, header, nil)
}

// Post sends a body.
func (c *Client) Post(ctx context.Context, address string, header http.Header, body []byte) (*Answer, error) {
	return c.do(ctx, http.MethodPost, address, header, body)
}

// Credentials authenticate requests. They are safe for concurrent use.
type Credentials interface {
	// Authorization is the value of the header, at hand or asked for. Its errors hold no secrets.
	Authorization(ctx context.Context) (string, error)
	// Forget drops what was refused.
	Forget()
}

var _ Credentials = (*Tokens)(nil)

// Authorized makes a request with credentials; a body is JSON, nil is none. It asks once more, with new credentials, when
// those at hand are refused.
func (c *Client) Authorized(ctx context.Context, credentials Credentials, method, address string, body []byte) (*Answer, error) {
	if err := c.allowed(address); err != nil {
		return nil, err
	}
	for again := false; ; again = true {
		authorization, err := credentials.Authorization(ctx)
		if err != nil {
			return nil, err
		}
		header := http.Header{"Authorization": {authorization}, "Accept": {"application/json"}}
		if body != nil {
			header.Set("Content-Type", "application/json")
		}
		answer, err := c.do(ctx, method, address, header, body)
		refused, ok := errors.AsType[*Error](err)
		if !ok || refused.Status != http.StatusUnauthorized || again {
			return answer, err
		}
		credentials.Forget()
	}
}

func (c *Client) do(ctx context.Context, method, address string, header http.Header, body []byte) (*Answer, error) {
	if err := c.allowed(address); err != nil {
		return nil, err
	}
	if err := c.limiter.Wait(ctx); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(string(body)))
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	maps.Copy(req.Header, header)
	req.Header.Set("User-Agent", "countersign")
	res, err := c.cfg.HTTP.Do(req)
	if err != nil {
		if hidden, ok := errors.AsType[*url.Error](err); ok {
			err = hidden.Err // the address may hold secrets
		}
		return nil, &Error{Err: fmt.Errorf("asking %s: %w", req.URL.Host, err)}
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		detail, _ := io.ReadAll(io.LimitReader(res.Body, 512)) // for people: what came is enough
		return nil, &Error{Status: res.StatusCode, Detail: strings.TrimSpace(string(detail)), Wait: c.wait(res)}
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, c.cfg.MaxBody+1))
	switch {
	case err != nil:
		return nil, &Error{Status: res.StatusCode, Err: fmt.Errorf("reading the answer: %w", err)}
	case int64(len(answer)) > c.cfg.MaxBody:
		return nil, &Error{Status: res.StatusCode, Err: fmt.Errorf("%w than %d bytes", ErrLarger, c.cfg.MaxBody)}
	}
	return &Answer{Status: res.StatusCode, Header: res.Header, Body: answer}, nil
}

// ErrElsewhere is in the error of an address that does not lead to the upstream.
var ErrElsewhere = errors.New("which is not the upstream")

// allowed refuses addresses that lead to another host, or there by another scheme.
func (c *Client) allowed(address string) error {
	base, err := url.Parse(c.cfg.Base)
	if err != nil {
		return fmt.Errorf("the upstream's address: %w", err)
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return fmt.Errorf("the address to ask is none, %w", ErrElsewhere)
	case u.Scheme != "https" && u.Scheme != "http", u.Scheme != base.Scheme, u.Host == "", !strings.EqualFold(u.Host, base.Host):
		return fmt.Errorf("the address to ask leads to %.100q, %w", u.Scheme+"://"+u.Host, ErrElsewhere)
	}
	return nil
}

// wait is how long an answer asks to be left alone.
func (c *Client) wait(res *http.Response) time.Duration {
	now, text := c.cfg.Now(), res.Header.Get("Retry-After")
	if res.StatusCode != http.StatusTooManyRequests || text != "" || c.cfg.Reset == "" {
		return retryAfter(text, now)
	}
	reset, err := strconv.ParseInt(res.Header.Get(c.cfg.Reset), 10, 64)
	if err != nil {
		return 0
	}
	if theirs, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		now = theirs // the two are of one clock
	}
	return min(max(time.Unix(reset, 0).Sub(now), time.Second), time.Hour)
}

// Safe reports whether credentials may travel to an address: by https, or by http within this machine.
func Safe(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}

// CheckBase says what is wrong with the address of an API in a configuration.
func CheckBase(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("is no address but %.100q, use for example https://api.example.com", address)
	case !Safe(u):
		return fmt.Errorf("is %.100q, must begin with https://, for it is sent a secret", address)
	}
	return nil
}

// retryAfter reads seconds or a date, at most a day.
func retryAfter(text string, now time.Time) time.Duration {
	const longest = 24 * time.Hour
	if seconds, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
		return min(max(time.Duration(seconds)*time.Second, 0), longest)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), longest)
	}
	return 0
}

// Next is the address of the next page in the Link headers (RFC 8288), "" when this is the last.
func Next(header http.Header) string {
	for _, line := range header.Values("Link") {
		for link := range strings.SplitSeq(line, ",") {
			address, rest, ok := strings.Cut(link, ">")
			address, begins := strings.CutPrefix(strings.TrimSpace(address), "<")
			if !ok || !begins {
				continue
			}
			for parameter := range strings.SplitSeq(rest, ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
				if strings.EqualFold(name, "rel") && strings.EqualFold(strings.Trim(value, `"`), "next") {
					return address
				}
			}
		}
	}
	return ""
}
