package stepup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TransportConfig configures a [Transport]. The zero value of a field means its default.
type TransportConfig struct {
	// Source returns access tokens without bothering anybody, and for a challenge tries to get one that meets it. There
	// is no default.
	Source TokenSource
	// Interact is asked when Source returns an [InteractionRequiredError]: it signs the user in anew, passing on what the
	// request says. Without it the error goes to the sender of the request.
	Interact TokenSource
	// Hosts are those that may see the tokens, such as api.example.com or api.example.com:8443. There is no default.
	// Requests to others, such as those of redirects, are sent without a token.
	Hosts []string
	// PlainHTTP allows tokens over http. Without it only this very machine gets them so.
	PlainHTTP bool
	// Capabilities are what the client can do, such as "cp1" for Microsoft Entra ID: they go into the claims of every
	// token request. A library that adds them by itself, as azidentity does, needs none.
	Capabilities []string
	// MaxBody is how many bytes of a request's body are kept so that it can be repeated, if the request has no GetBody.
	// Default 1 MiB; negative keeps none, which bodies need that are written while the answer is read.
	MaxBody int64
	// Hold is for how long a challenge that could not be met is not tried again. Default 30 seconds.
	Hold time.Duration
	// Base sends the requests. Default http.DefaultTransport.
	Base http.RoundTripper
}

// TokenSource returns an access token that is as req says. It is called for one challenge at a time.
type TokenSource func(ctx context.Context, req TokenRequest) (AccessToken, error)

// TokenRequest says which token is needed.
type TokenRequest struct {
	// ACRValues are acceptable authentication contexts, best first. MaxAge is the greatest age of the proof in seconds,
	// [NoMaxAge] when it does not matter. Scope is one that the challenge named, "" for none.
	ACRValues []string
	MaxAge    int
	Scope     string
	// Claims is the JSON of a claims request, to be passed on as the parameter `claims`; "" for none.
	Claims string
	// Previous is the token that was turned down or has expired; "" for none. It must not be returned again.
	Previous string
}

// AccessToken is an access token.
type AccessToken struct {
	Value string
	// Type is its scheme in the Authorization header; "Bearer" when empty. For DPoP the proof is Base's to add.
	Type string
	// Expires is when it does; zero is never.
	Expires time.Time
}

const (
	defaultMaxBody = 1 << 20
	defaultHold    = 30 * time.Second
	// renewBefore is how long before its end a token is no longer used.
	renewBefore = 10 * time.Second
	maxDrained  = 64 << 10
)

// Transport is an [http.RoundTripper] that sends requests with one user's access token, and understands when an API asks
// for a better one, by RFC 9470 or by a claims challenge of Microsoft Entra ID: it gets one that meets the challenge and
// sends the request once more. If that is challenged too, the answer is the caller's.
//
// Many requests that are challenged at once ask for one token. It is safe for concurrent use.
type Transport struct {
	cfg    TransportConfig
	hosts  map[string]bool
	tokens tokens
}

// NewTransport checks cfg and returns a transport that holds no token yet.
func NewTransport(cfg TransportConfig) (*Transport, error) {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if cfg.Source == nil {
		bad("Source: is missing, it has to get tokens")
	}
	hosts := map[string]bool{}
	for i, h := range cfg.Hosts {
		u, err := url.Parse("https://" + h)
		if err != nil || u.Host != h || u.Hostname() == "" {
			bad("Hosts[%d]: is %.80q, must be one such as api.example.com", i, h)
			continue
		}
		hosts[strings.ToLower(h)] = true
	}
	if len(cfg.Hosts) == 0 {
		bad("Hosts: is empty, name the hosts that may see the tokens")
	}
	for i, c := range cfg.Capabilities {
		if !validACR(c) {
			bad("Capabilities[%d]: is %.40q, must be one such as cp1", i, c)
		}
	}
	if cfg.Hold < 0 {
		bad("Hold: must not be negative")
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("stepup: %w", errors.Join(problems...))
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = defaultMaxBody
	}
	if cfg.Hold == 0 {
		cfg.Hold = defaultHold
	}
	if cfg.Base == nil {
		cfg.Base = http.DefaultTransport
	}
	return &Transport{cfg: cfg, hosts: hosts, tokens: newTokens(cfg)}, nil
}

// RoundTrip sends a request. A request with an Authorization header of its own, and one to a host that may not see the
// token, is sent as it is.
//
// A challenge that the token source cannot meet is an error: an [InteractionRequiredError], one that is
// [ErrUnmetRequirements], or the source's own.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") != "" || !t.trusted(r.URL) {
		return t.cfg.Base.RoundTrip(r)
	}
	ctx := r.Context()
	token, err := t.tokens.current(ctx)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // a round tripper closes it in any case
		}
		return nil, fmt.Errorf("getting a token for %s: %w", r.URL.Host, err)
	}
	p, err := t.payload(r)
	if err != nil {
		return nil, fmt.Errorf("reading the request's body: %w", err)
	}
	first, err := p.request(r, token)
	if err != nil {
		return nil, err
	}
	resp, err := t.cfg.Base.RoundTrip(first)
	if err != nil {
		return nil, err
	}
	challenge, ok := challengeIn(resp)
	if !ok {
		return resp, nil
	}
	better, err := t.tokens.better(ctx, challenge, token)
	switch {
	case err != nil:
		_ = resp.Body.Close() // the error says more
		return nil, fmt.Errorf("meeting a challenge of %s: %w", r.URL.Host, err)
	case better.Value == token.Value:
		return resp, nil
	case p.again == nil: // a repeat by the sender will do
		return resp, nil
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrained) // so that the connection can be used again
	_ = resp.Body.Close()
	second, err := p.request(r, better)
	if err != nil {
		return nil, fmt.Errorf("repeating the request's body: %w", err)
	}
	if resp, err = t.cfg.Base.RoundTrip(second); err != nil {
		return nil, err
	}
	if _, ok := challengeIn(resp); ok {
		t.tokens.inVain(challenge)
	}
	return resp, nil
}

// CloseIdleConnections closes those of Base.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.cfg.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// trusted tells whether a request to u may carry the token.
func (t *Transport) trusted(u *url.URL) bool {
	defaultPort := "443"
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && (t.cfg.PlainHTTP || loopback(u.Hostname())):
		defaultPort = "80"
	default:
		return false
	}
	host := strings.ToLower(u.Host)
	if t.hosts[host] {
		return true
	}
	if u.Port() == "" {
		return t.hosts[net.JoinHostPort(strings.ToLower(u.Hostname()), defaultPort)]
	}
	return u.Port() == defaultPort && t.hosts[strings.TrimSuffix(host, ":"+defaultPort)]
}

// challengeIn finds the challenge of an answer that another token may meet.
func challengeIn(resp *http.Response) (Challenge, bool) {
	if resp.StatusCode != http.StatusUnauthorized {
		return Challenge{}, false
	}
	var found Challenge
	ok := false
	for _, c := range ParseChallenges(resp.Header) {
		switch {
		case c.Error == ErrorInsufficientAuthentication, c.Error == ErrorInsufficientClaims && c.Claims != "":
			return c, true
		case c.Error == ErrorInvalidToken && !ok:
			// It may just have ended: a new one is worth a try, whatever else stands in the challenge.
			found, ok = Challenge{Scheme: c.Scheme, Error: c.Error, MaxAge: NoMaxAge}, true
		}
	}
	return found, ok
}

// key names what a challenge asks for. When the token has to be issued is left out: an API that asks for a proof of the last
// minutes names another second each time, and is still the one whose challenge could not be met.
func (c *Challenge) key() string {
	return strings.Join(slices.Concat([]string{c.Error, strconv.Itoa(c.MaxAge), c.Scope, timeless(c.Claims)}, c.ACRValues), "\x00")
}

// timeless is a claims request without the value of nbf.
func timeless(claims string) string {
	var parts map[string]map[string]json.RawMessage
	if json.Unmarshal([]byte(claims), &parts) != nil {
		return claims
	}
	for _, part := range parts {
		if _, ok := part["nbf"]; ok {
			part["nbf"] = nil
		}
	}
	text, err := json.Marshal(parts)
	if err != nil {
		return claims
	}
	return string(text)
}

// payload is a request's body.
type payload struct {
	body io.ReadCloser
	// again returns it once more; nil when it cannot.
	again func() (io.ReadCloser, error)
	// size is its length when again returns what was kept, else -1.
	size int64
	used bool
}

// payload prepares a request's body for being sent twice.
func (t *Transport) payload(r *http.Request) (*payload, error) {
	p := &payload{body: r.Body, again: r.GetBody, size: -1}
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		p.again = func() (io.ReadCloser, error) { return r.Body, nil }
		return p, nil
	case r.GetBody != nil || r.ContentLength > t.cfg.MaxBody || t.cfg.MaxBody < 0:
		return p, nil
	}
	kept, err := io.ReadAll(io.LimitReader(r.Body, t.cfg.MaxBody+1))
	if err != nil {
		return nil, errors.Join(err, r.Body.Close())
	}
	if int64(len(kept)) > t.cfg.MaxBody {
		p.body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(kept), r.Body), r.Body}
		return p, nil
	}
	if err := r.Body.Close(); err != nil {
		return nil, err
	}
	p.size = int64(len(kept))
	p.again = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kept)), nil }
	p.body, err = p.again()
	return p, err
}

// request is r with a token, for the first or the second time.
func (p *payload) request(r *http.Request, token AccessToken) (*http.Request, error) {
	body := p.body
	if p.used {
		var err error
		if body, err = p.again(); err != nil {
			return nil, err
		}
	}
	p.used = true
	out := r.Clone(r.Context())
	out.Body = body
	if p.size >= 0 {
		out.ContentLength, out.GetBody = p.size, p.again
	}
	if out.Header == nil {
		out.Header = http.Header{}
	}
	out.Header.Set("Authorization", token.scheme()+" "+token.Value)
	return out, nil
}

func (a *AccessToken) scheme() string {
	if a.Type == "" {
		return "Bearer"
	}
	return a.Type
}

// check tells whether the token can stand in a header (RFC 6750 §2.1, RFC 9110 §11.1).
func (a *AccessToken) check() error {
	if a.Value == "" {
		return errors.New("the token source returned no token")
	}
	for _, c := range []byte(a.Value) {
		if c <= ' ' || c >= 0x7f {
			return errors.New("the token source returned a token that cannot stand in a header")
		}
	}
	for _, c := range []byte(a.scheme()) {
		if !tokenChar(c) {
			return fmt.Errorf("the token source returned a token of type %.40q", a.Type)
		}
	}
	return nil
}
