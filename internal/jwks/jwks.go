// Package jwks fetches the public keys of an issuer of tokens (RFC 7517) and remembers them: a key that the issuer withdraws
// is refused within the hour, one that it adds is found at once, and neither an issuer that is away nor tokens with made-up
// key names make many requests. It is safe for concurrent use.
package jwks

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
)

// How long keys are good: one that the issuer withdraws is refused after Fresh, when it does not answer after Stale. For an
// unknown key they are fetched again at most once in Every, after an error in Retry.
const (
	Fresh = time.Hour
	Stale = 24 * time.Hour
	Every = time.Minute
	Retry = 5 * time.Second
)

// fetchTime is what an attempt to fetch keys may take.
const fetchTime = 10 * time.Second

// Bounds of what an issuer publishes.
const (
	maxKeys  = 100
	maxBytes = 1 << 20
)

// Key is a public key.
type Key struct {
	jose.JSONWebKey
	// Issuer is whose tokens alone the key signs, where one set is of several issuers, as Entra ID's are; "" says nothing.
	Issuer string
}

// Signs reports whether the key may sign tokens with an algorithm, by what it says of itself.
func (k *Key) Signs(algorithm string) bool {
	return (k.Use == "" || k.Use == "sig") && (k.Algorithm == "" || k.Algorithm == algorithm)
}

// Set is the keys of one issuer.
type Set struct {
	url  string
	http *http.Client
	now  func() time.Time

	mu       sync.Mutex // is not held while keys are fetched
	keys     []Key
	fetched  time.Time
	next     time.Time     // no earlier attempt
	last     error         // of the last attempt
	fetching chan struct{} // is closed when the attempt that is under way has ended; nil when none is
}

// New returns the set at an address. It fetches nothing yet.
func New(url string, client *http.Client, now func() time.Time) *Set {
	return &Set{url: url, http: client, now: now}
}

// Find returns the keys that may have signed a token: those of its key id, all of them when it names none. It waits for keys
// that are not here, or not fresh, but not for an issuer that did not answer a moment ago: its keys are good until they are
// stale. An error says that the keys are not known now.
func (s *Set) Find(ctx context.Context, kid string) ([]Key, error) {
	s.mu.Lock()
	now := s.now()
	found, age := s.pick(kid), now.Sub(s.fetched)
	if len(found) > 0 && age < Fresh {
		s.mu.Unlock()
		return found, nil
	}
	if s.fetching == nil && !now.Before(s.next) {
		s.fetching = make(chan struct{})
		go s.refresh(context.WithoutCancel(ctx), s.fetching) // others wait for it too, also when this caller is gone
	}
	fetching, away := s.fetching, s.last != nil && now.Before(s.next.Add(Every))
	s.mu.Unlock()
	if away && len(found) > 0 && age < Stale {
		return found, nil
	}
	if fetching != nil {
		select {
		case <-fetching:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found = s.pick(kid)
	if s.last == nil || len(found) > 0 && s.now().Sub(s.fetched) < Stale {
		return found, nil
	}
	return nil, s.last
}

// pick returns the keys of a name, all of them for none. It is called with mu held.
func (s *Set) pick(kid string) []Key {
	if kid == "" {
		return s.keys
	}
	var keys []Key
	for _, k := range s.keys {
		if k.KeyID == kid {
			keys = append(keys, k)
		}
	}
	return keys
}

// refresh fetches the keys and closes done.
func (s *Set) refresh(ctx context.Context, done chan struct{}) {
	keys, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.next = now.Add(Retry)
	if s.last = err; err == nil {
		s.keys, s.fetched, s.next = keys, now, now.Add(Every)
	}
	s.fetching = nil
	close(done)
}

func (s *Set) fetch(ctx context.Context) ([]Key, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := s.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxBytes+1))
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer is %d", response.StatusCode)
	case len(raw) > maxBytes:
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxBytes)
	}
	return parse(raw)
}

// parse reads a JWK Set. Keys of kinds that are not understood are left out, and so are secrets.
func parse(raw []byte) ([]Key, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &document); err != nil || len(document.Keys) > maxKeys {
		return nil, fmt.Errorf("the answer is no JSON Web Key Set of at most %d keys", maxKeys)
	}
	var keys []Key
	for _, one := range document.Keys {
		var key Key
		if key.UnmarshalJSON(one) != nil || !key.Valid() || !key.IsPublic() {
			continue
		}
		var more struct {
			Issuer string `json:"issuer"`
		}
		if json.Unmarshal(one, &more) == nil {
			key.Issuer = more.Issuer
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("the answer has no public key")
	}
	return keys, nil
}
