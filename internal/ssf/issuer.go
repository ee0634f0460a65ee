package ssf

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/countersign-io/countersign/internal/jwks"
)

// issuer verifies the access tokens of an external authorization server.
type issuer struct {
	cfg  ExternalIssuer
	keys *jwks.Set
	now  func() time.Time
}

func newIssuer(cfg ExternalIssuer, client *http.Client, now func() time.Time) *issuer {
	if cfg.ClientClaim == "" {
		cfg.ClientClaim = "client_id"
	}
	if cfg.ScopeClaim == "" {
		cfg.ScopeClaim = "scope"
	}
	return &issuer{cfg: cfg, keys: jwks.New(cfg.JWKSURL, client, now), now: now}
}

// unavailableError is for a request that cannot be judged now.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return e.err.Error() }

func (e *unavailableError) Unwrap() error { return e.err }

// verify proves a token and returns the client and the scopes in it. An error is a *denied, an *unavailableError or that of ctx.
func (i *issuer) verify(ctx context.Context, token *jwt.JSONWebToken) (id string, scopes []string, err error) {
	keys, err := i.keys.Find(ctx, token.Headers[0].KeyID)
	switch {
	case ctx.Err() != nil:
		return "", nil, ctx.Err()
	case err != nil:
		return "", nil, &unavailableError{fmt.Errorf("fetching the keys of %s: %w", i.cfg.Issuer, err)}
	}
	var claims jwt.Claims
	members := map[string]json.RawMessage{}
	proven := slices.ContainsFunc(keys, func(k jwks.Key) bool {
		return k.Signs(token.Headers[0].Algorithm) && token.Claims(k.Key, &claims, &members) == nil
	})
	now := i.now()
	switch {
	case !proven:
		return "", nil, invalidToken("the token's signature is not valid")
	case claims.Expiry == nil || !now.Before(claims.Expiry.Time().Add(skew)):
		return "", nil, invalidToken("the token has expired")
	case claims.NotBefore != nil && claims.NotBefore.Time().After(now.Add(skew)):
		return "", nil, invalidToken("the token is not valid yet")
	case claims.Issuer != i.cfg.Issuer || !claims.Audience.Contains(i.cfg.Audience):
		return "", nil, invalidToken("the token is not for this")
	}
	if err := json.Unmarshal(members[i.cfg.ClientClaim], &id); err != nil || id == "" {
		return "", nil, invalidToken("the token names no client")
	}
	var text string
	if raw := members[i.cfg.ScopeClaim]; json.Unmarshal(raw, &text) == nil {
		scopes = strings.Fields(text)
	} else if json.Unmarshal(raw, &scopes) != nil {
		scopes = nil
	}
	return id, scopes, nil
}
