package ssf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// issuer verifies the access tokens of an external authorization server.
type issuer struct {
	cfg  ExternalIssuer
	http *http.Client
	now  func() time.Time

	mu      sync.Mutex // is held while keys are fetched, too: those that wait need them as well
	keys    []jose.JSONWebKey
	fetched time.Time
	next    time.Time // no earlier attempt
	last    error     // of the last attempt
}

// How long an issuer's keys are good: a key that it withdraws is refused after keysFresh, when it does not answer after
// keysStale. For an unknown key they are fetched again at most once in keysEvery, after an error in keysRetry.
const (
	keysFresh = time.Hour
	keysStale = 24 * time.Hour
	keysEvery = time.Minute
	keysRetry = 5 * time.Second
)

// Bounds of what an issuer publishes.
const (
	maxKeys = 100
	maxJWKS = 1 << 20
)

func newIssuer(cfg ExternalIssuer, client *http.Client, now func() time.Time) *issuer {
	if cfg.ClientClaim == "" {
		cfg.ClientClaim = "client_id"
	}
	if cfg.ScopeClaim == "" {
		cfg.ScopeClaim = "scope"
	}
	return &issuer{cfg: cfg, http: client, now: now}
}

// unavailableError is for a request that cannot be judged now.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return e.err.Error() }

func (e *unavailableError) Unwrap() error { return e.err }

// verify proves a token and returns the client and the scopes in it. An error is a *denied or an *unavailableError.
func (i *issuer) verify(ctx context.Context, token *jwt.JSONWebToken) (id string, scopes []string, err error) {
	keys, err := i.find(ctx, token.Headers[0].KeyID)
	if err != nil {
		return "", nil, &unavailableError{fmt.Errorf("fetching the keys of %s: %w", i.cfg.Issuer, err)}
	}
	var claims jwt.Claims
	members := map[string]json.RawMessage{}
	proven := slices.ContainsFunc(keys, func(k jose.JSONWebKey) bool {
		ours := (k.Use == "" || k.Use == "sig") && (k.Algorithm == "" || k.Algorithm == token.Headers[0].Algorithm)
		return ours && token.Claims(k.Key, &claims, &members) == nil
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

// find returns the keys that may have signed a token: all of them when it names none.
func (i *issuer) find(ctx context.Context, kid string) ([]jose.JSONWebKey, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	pick := func() []jose.JSONWebKey {
		if kid == "" {
			return i.keys
		}
		var keys []jose.JSONWebKey
		for _, k := range i.keys {
			if k.KeyID == kid {
				keys = append(keys, k)
			}
		}
		return keys
	}
	now := i.now()
	fresh := i.keys != nil && now.Sub(i.fetched) < keysFresh
	if found := pick(); fresh && len(found) > 0 {
		return found, nil
	}
	if !now.Before(i.next) {
		// Others wait for the answer too, also when this caller is gone.
		keys, err := i.fetch(context.WithoutCancel(ctx))
		if i.last = err; err == nil {
			i.keys, i.fetched, i.next = keys, now, now.Add(keysEvery)
		} else {
			i.next = now.Add(keysRetry)
		}
	}
	found := pick()
	switch {
	case i.last == nil, i.keys != nil && now.Sub(i.fetched) < keysStale && len(found) > 0:
		return found, nil
	default:
		return nil, i.last
	}
}

func (i *issuer) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.cfg.JWKSURL, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := i.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxJWKS+1))
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer is %d", response.StatusCode)
	case len(raw) > maxJWKS:
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxJWKS)
	}
	return parseKeys(raw)
}

// parseKeys reads a JWK Set. Keys of kinds that are not understood are left out, and so are secrets.
func parseKeys(raw []byte) ([]jose.JSONWebKey, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &document); err != nil || len(document.Keys) > maxKeys {
		return nil, fmt.Errorf("the answer is no JSON Web Key Set of at most %d keys", maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, one := range document.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(one) == nil && key.Valid() && key.IsPublic() {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the answer has no public key")
	}
	return keys, nil
}
