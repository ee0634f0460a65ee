package bank

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign-io/countersign/examples/bank/idp"
)

// keySet is the identity provider's public keys, fetched when an unknown one is first seen.
type keySet struct {
	url     string
	client  *http.Client
	mu      sync.Mutex
	keys    jose.JSONWebKeySet
	fetched time.Time
}

// refetchAfter keeps tokens with made-up key ids from having the keys fetched again and again.
const refetchAfter = 10 * time.Second

var errUnknownKey = errors.New("the token's key is unknown")

func newKeySet(url string) *keySet {
	return &keySet{url: url, client: &http.Client{Timeout: 5 * time.Second}}
}

func (s *keySet) key(ctx context.Context, id string) (*jose.JSONWebKey, error) {
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

func (s *keySet) fetch(ctx context.Context) error {
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

// expectation is what a token must be.
type expectation struct{ typ, issuer, audience string }

// verify checks a token's signature, type, issuer, audience and time, and returns its claims.
func (s *keySet) verify(ctx context.Context, raw string, want expectation) (*idp.Claims, error) {
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, fmt.Errorf("reading token: %w", err)
	}
	if len(token.Headers) != 1 {
		return nil, errors.New("token must have one signature")
	}
	header := token.Headers[0]
	// An ID token is signed with the same key, and is no access token.
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); typ != want.typ {
		return nil, fmt.Errorf("token type is %.20q, must be %s", typ, want.typ)
	}
	key, err := s.key(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	claims := new(idp.Claims)
	if err := token.Claims(key, claims); err != nil {
		return nil, fmt.Errorf("checking signature: %w", err)
	}
	expected := jwt.Expected{Issuer: want.issuer, AnyAudience: jwt.Audience{want.audience}, Time: time.Now()}
	if err := claims.ValidateWithLeeway(expected, 5*time.Second); err != nil {
		return nil, fmt.Errorf("checking claims: %w", err)
	}
	if claims.Subject == "" || claims.Expiry == nil || claims.IssuedAt == nil {
		return nil, errors.New("token lacks sub, exp or iat")
	}
	return claims, nil
}
