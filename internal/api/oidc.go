package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/jwks"
	"github.com/countersign-io/countersign/internal/outbound"
)

// How long what a provider says of itself is good, when to ask again after an error, and what an attempt may take.
const (
	discoveryFresh = 12 * time.Hour
	discoveryRetry = 5 * time.Second
	discoveryTime  = 10 * time.Second
)

// maxProviderBody bounds every answer of a provider, in bytes.
const maxProviderBody = 1 << 20

// signAlgorithms are those that a provider may sign with: with a key pair, never with a secret, and never not at all.
var signAlgorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// provider is an OpenID Connect provider. It is asked when somebody comes, so that the API starts without it.
type provider struct {
	cfg    OIDC
	secret string
	http   *http.Client
	now    func() time.Time

	mu       sync.Mutex // is not held while the provider is asked
	metadata *metadata
	fetched  time.Time
	next     time.Time     // no earlier attempt
	last     error         // of the last attempt
	fetching chan struct{} // is closed when the attempt that is under way has ended; nil when none is
}

// metadata is what a provider says of itself (OpenID Connect Discovery 1.0).
type metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	Algorithms            []string `json:"id_token_signing_alg_values_supported"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	// IssInResponse says that every answer names the issuer (RFC 9207).
	IssInResponse bool `json:"authorization_response_iss_parameter_supported"`

	keys *jwks.Set
}

func newProvider(cfg OIDC) (*provider, error) {
	if cfg.Issuer == "" {
		return nil, nil //nolint:nilnil // nobody signs in this way
	}
	secret, err := cfg.secret()
	if err != nil {
		return nil, err
	}
	client, err := outbound.New(cfg.Outbound)
	if err != nil {
		return nil, fmt.Errorf("oidc.outbound.%w", err)
	}
	client.Transport = boundedBodies{client.Transport}
	return &provider{cfg: cfg, secret: secret, http: client, now: time.Now}, nil
}

// boundedBodies cuts answers off that are too long, for libraries that read all of them.
type boundedBodies struct{ next http.RoundTripper }

func (b boundedBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxProviderBody), res.Body}
	}
	return res, err
}

// discover is what the provider says of itself: what it said before while it does not answer. It waits for one attempt at
// most, and for none right after one that failed. The error wraps errAway.
func (p *provider) discover(ctx context.Context) (*metadata, error) {
	p.mu.Lock()
	now := p.now()
	if p.metadata != nil && now.Sub(p.fetched) < discoveryFresh {
		defer p.mu.Unlock()
		return p.metadata, nil
	}
	if p.fetching == nil && !now.Before(p.next) {
		p.fetching = make(chan struct{})
		go p.refresh(context.WithoutCancel(ctx), p.fetching)
	}
	fetching, known := p.fetching, p.metadata
	p.mu.Unlock()
	if known != nil {
		return known, nil
	}
	if fetching != nil {
		select {
		case <-fetching:
		case <-ctx.Done():
			return nil, errors.Join(errAway, ctx.Err())
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.metadata == nil {
		return nil, errors.Join(errAway, p.last)
	}
	return p.metadata, nil
}

func (p *provider) refresh(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, discoveryTime)
	defer cancel()
	m, err := p.fetch(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.last, p.next, p.fetching = err, now.Add(discoveryRetry), nil
	if err == nil {
		if p.metadata != nil && p.metadata.JWKSURI == m.JWKSURI {
			m.keys = p.metadata.keys
		}
		p.metadata, p.fetched = m, now
	}
	close(done)
}

func (p *provider) fetch(ctx context.Context) (*metadata, error) {
	// Entra ID describes applications of several directories under this name.
	address := strings.ReplaceAll(p.cfg.Issuer, tenantPlaceholder, "organizations")
	ctx = oidc.InsecureIssuerURLContext(oidc.ClientContext(ctx, p.http), p.cfg.Issuer) // the issuer is looked at below
	found, err := oidc.NewProvider(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("asking the provider: %w", err)
	}
	m := &metadata{}
	if err := found.Claims(m); err != nil {
		return nil, fmt.Errorf("reading what the provider says of itself: %w", err)
	}
	if m.Issuer != p.cfg.Issuer {
		return nil, fmt.Errorf("the provider calls itself %.200q, not %q", m.Issuer, p.cfg.Issuer)
	}
	for name, endpoint := range map[string]string{
		"authorization_endpoint": m.AuthorizationEndpoint, "token_endpoint": m.TokenEndpoint, "jwks_uri": m.JWKSURI, "end_session_endpoint": m.EndSessionEndpoint,
	} {
		if endpoint == "" && name == "end_session_endpoint" {
			continue
		}
		if u, err := url.Parse(endpoint); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			return nil, fmt.Errorf("the provider's %s is %.200q, must be an https URL", name, endpoint)
		}
	}
	own := m.Algorithms
	m.Algorithms = slices.DeleteFunc(slices.Clone(signAlgorithms), func(a string) bool { return !slices.Contains(own, a) })
	if len(m.Algorithms) == 0 {
		return nil, fmt.Errorf("the provider signs with %.200q, none of which is among %v", own, signAlgorithms)
	}
	m.keys = jwks.New(m.JWKSURI, p.http, p.now)
	return m, nil
}

// oauth is the client that the dashboard is at the provider.
func (p *provider) oauth(m *metadata) *oauth2.Config {
	// Not found out by trying: a code that was sent once is used.
	style := oauth2.AuthStyleInHeader
	if p.secret == "" || !slices.Contains(m.AuthMethods, "client_secret_basic") && slices.Contains(m.AuthMethods, "client_secret_post") {
		style = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.secret, RedirectURL: p.cfg.RedirectURL, Scopes: p.cfg.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: m.AuthorizationEndpoint, TokenURL: m.TokenEndpoint, AuthStyle: style},
	}
}

// exchange turns a code into the claims of a person. The error wraps errAway when the provider does not answer.
func (p *provider) exchange(ctx context.Context, code, verifier, nonce string) (*claims, error) {
	m, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, p.http)
	token, err := p.oauth(m).Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response != nil && refused.Response.StatusCode < http.StatusInternalServerError {
			return nil, fmt.Errorf("exchanging the code: %w", err)
		}
		return nil, errors.Join(errAway, err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok || raw == "" {
		return nil, errors.New("the provider has sent no ID token")
	}
	c, err := p.verify(ctx, m, raw, p.cfg.ClientID)
	if err != nil {
		return nil, err
	}
	if err := c.ofSignIn(p.cfg.ClientID, nonce); err != nil {
		return nil, err
	}
	return c, nil
}

// bearer finds out whose a token of the provider's is. Nobody's is nil; the error wraps errAway.
func (p *provider) bearer(ctx context.Context, raw string) (*principal, time.Time, error) {
	m, err := p.discover(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	c, err := p.verify(ctx, m, raw, p.cfg.Audience)
	if err != nil {
		if errors.Is(err, errAway) {
			return nil, time.Time{}, err
		}
		return nil, time.Time{}, nil
	}
	who, _ := p.principal(c)
	if who == nil {
		// The token is good, and gives nothing: the answer is 403, not 401.
		who = &principal{name: c.name(p.cfg.NameClaim), via: events.ViaOIDC, subject: c.Issuer + " " + c.Subject}
	}
	return who, c.Expiry, nil
}

// endSession is where a browser ends its session at the provider too; "" when there is no such place.
func (p *provider) endSession(home string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.metadata == nil || p.metadata.EndSessionEndpoint == "" {
		return ""
	}
	u, err := url.Parse(p.metadata.EndSessionEndpoint)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.cfg.ClientID)
	q.Set("post_logout_redirect_uri", home)
	u.RawQuery = q.Encode()
	return u.String()
}

// members are the claims as the token has them.
func members(payload []byte) (map[string]any, error) {
	m := map[string]any{}
	return m, json.Unmarshal(payload, &m)
}
