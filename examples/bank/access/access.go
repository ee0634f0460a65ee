// Package access knows the tokens of the bank's identity provider: the applications that take them check them here.
package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign-io/countersign/examples/bank/idp"
	"github.com/countersign-io/countersign/stepup"
)

// Keys are the identity provider's public keys, fetched when an unknown one is first seen. They are safe for concurrent use.
type Keys struct {
	url     string
	client  *http.Client
	mu      sync.Mutex
	keys    jose.JSONWebKeySet
	fetched time.Time
}

// refetchAfter keeps tokens with made-up key ids from having the keys fetched again and again.
const refetchAfter = 10 * time.Second

var errUnknownKey = errors.New("the token's key is unknown")

// NewKeys returns the keys at a JWKS address. Nothing is fetched yet.
func NewKeys(url string) *Keys {
	return &Keys{url: url, client: &http.Client{Timeout: 5 * time.Second}}
}

func (s *Keys) key(ctx context.Context, id string) (*jose.JSONWebKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.keys.Key(id); len(found) == 1 {
		return &found[0], nil
	}
	if time.Since(s.fetched) < refetchAfter {
		return nil, errUnknownKey
	}
	if err := s.fetch(ctx); err != nil {
		return nil, fmt.Errorf("fetching keys: %w", err)
	}
	s.fetched = time.Now()
	if found := s.keys.Key(id); len(found) == 1 {
		return &found[0], nil
	}
	return nil, errUnknownKey
}

func (s *Keys) fetch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	var keys jose.JSONWebKeySet
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&keys); err != nil {
		return err
	}
	s.keys = keys
	return nil
}

// Expectation is what a token must be.
type Expectation struct{ Type, Issuer, Audience string }

// Verify checks a token's signature, type, issuer, audience and time, and returns its claims.
func (s *Keys) Verify(ctx context.Context, raw string, want Expectation) (*idp.Claims, error) {
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, fmt.Errorf("reading token: %w", err)
	}
	if len(token.Headers) != 1 {
		return nil, errors.New("token must have one signature")
	}
	header := token.Headers[0]
	// An ID token is signed with the same key, and is no access token.
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); typ != want.Type {
		return nil, fmt.Errorf("token type is %.20q, must be %s", typ, want.Type)
	}
	key, err := s.key(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	claims := new(idp.Claims)
	if err := token.Claims(key, claims); err != nil {
		return nil, fmt.Errorf("checking signature: %w", err)
	}
	expected := jwt.Expected{Issuer: want.Issuer, AnyAudience: jwt.Audience{want.Audience}, Time: time.Now()}
	if err := claims.ValidateWithLeeway(expected, 5*time.Second); err != nil {
		return nil, fmt.Errorf("checking claims: %w", err)
	}
	if claims.Subject == "" || claims.Expiry == nil || claims.IssuedAt == nil {
		return nil, errors.New("token lacks sub, exp or iat")
	}
	return claims, nil
}

// Bearer is who calls with an access token: what a guard wants to know ([stepup.Config.Identify]). Without an
// Authorization header it is stepup.ErrNoToken.
func (s *Keys) Bearer(r *http.Request, issuer, audience string) (stepup.Token, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return stepup.Token{}, stepup.ErrNoToken
	}
	raw, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		return stepup.Token{}, errors.New("authorization scheme must be Bearer")
	}
	c, err := s.Verify(r.Context(), raw, Expectation{Type: "at+jwt", Issuer: issuer, Audience: audience})
	if err != nil {
		return stepup.Token{}, err
	}
	t := TokenOf(c)
	t.Kind = stepup.Bearer
	return t, nil
}

// TokenOf is what claims say, for a guard.
func TokenOf(c *idp.Claims) stepup.Token {
	t := stepup.Token{
		Subject:  stepup.Subject{Tenant: c.Tenant, User: c.Subject, Session: c.Session},
		IssuedAt: c.IssuedAt.Time(), ACR: c.ACR, ACRS: c.ACRS, AMR: c.AMR, XMSCC: c.XMSCC,
	}
	if c.TenantID != "" {
		t.Tenant, t.Entra = c.TenantID, true
	}
	if c.AuthTime != nil {
		t.AuthTime = c.AuthTime.Time()
	}
	return t
}
