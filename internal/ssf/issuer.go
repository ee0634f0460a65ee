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

	mu       sync.Mutex // is not held while keys are fetched
	keys     []jose.JSONWebKey
	fetched  time.Time
	next     time.Time     // no earlier attempt
	last     error         // of the last attempt
	fetching chan struct{} // is closed when the attempt that is under way has ended; nil when none is
}

// How long an issuer's keys are good: a key that it withdraws is refused after keysFresh, when it does not answer after
// keysStale. For an unknown key they are fetched again at most once in keysEvery, after an error in keysRetry.
const (
	keysFresh = time.Hour
	keysStale = 24 * time.Hour
	keysEvery = time.Minute
	keysRetry = 5 * time.Second
)

// fetchTime is what an attempt to fetch keys may take.
const fetchTime = 10 * time.Second

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

// verify proves a token and returns the client and the scopes in it. An error is a *denied, an *unavailableError or that of ctx.
func (i *issuer) verify(ctx context.Context, token *jwt.JSONWebToken) (id string, scopes []string, err error) {
	keys, err := i.find(ctx, token.Headers[0].KeyID)
	switch {
	case ctx.Err() != nil:
		return "", nil, ctx.Err()
	case err != nil:
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

// find returns the keys that may have signed a token: all of them when it names none. It waits for keys that are not here,
// or not fresh, but not for an issuer that did not
// answer a moment ago: its keys are good until they are stale.
func (i *issuer) find(ctx context.Context, kid string) ([]jose.JSONWebKey, error) {
	i.mu.Lock()
	now := i.now()
	found, age := i.pick(kid), now.Sub(i.fetched)
	if len(found) > 0 && age < keysFresh {
		i.mu.Unlock()
		return found, nil
	}
	if i.fetching == nil && !now.Before(i.next) {
		i.fetching = make(chan struct{})
		go i.refresh(context.WithoutCancel(ctx), i.fetching) // others wait for it too, also when this caller is gone
	}
	fetching, away := i.fetching, i.last != nil && now.Before(i.next.Add(keysEvery))
	i.mu.Unlock()
	if away && len(found) > 0 && age < keysStale {
		return found, nil
	}
	if fetching != nil {
		select {
		case <-fetching:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	found = i.pick(kid)
	if i.last == nil || len(found) > 0 && i.now().Sub(i.fetched) < keysStale {
		return found, nil
	}
	return nil, i.last
}

// pick returns the keys of a name, all of them for none. It is called with i.mu held.
func (i *issuer) pick(kid string) []jose.JSONWebKey {
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

// refresh fetches the keys and closes done.
func (i *issuer) refresh(ctx context.Context, done chan struct{}) {
	keys, err := i.fetch(ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	i.next = now.Add(keysRetry)
	if i.last = err; err == nil {
		i.keys, i.fetched, i.next = keys, now, now.Add(keysEvery)
	}
	i.fetching = nil
	close(done)
}

func (i *issuer) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
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
