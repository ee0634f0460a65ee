package ssf

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// How long keys are good. A key that is withdrawn is refused after keysFresh at the latest; when the transmitter does not
// answer, after keysStale. Unknown keys are asked for at most once in refetchEvery, after an error in retryEvery.
const (
	keysFresh    = time.Hour
	keysStale    = 24 * time.Hour
	refetchEvery = time.Minute
	retryEvery   = 2 * time.Second
)

// Bounds of what a transmitter publishes.
const (
	maxKeys    = 100
	maxJWKS    = 1 << 20
	minRSABits = 2048
	askTimeout = 10 * time.Second
)

// unavailable is the error of a token that cannot be judged yet.
type unavailable struct {
	wait time.Duration
	err  error
}

func (u *unavailable) Error() string { return u.err.Error() }

func (u *unavailable) Unwrap() error { return u.err }

// RetryAfter is when to try again.
func (u *unavailable) RetryAfter() time.Duration { return u.wait }

// published is what a transmitter publishes of itself. It is never changed.
type published struct {
	keys     []jose.JSONWebKey
	critical []string // members of complex subjects
	at       time.Time
}

// keySet caches the public keys of a transmitter.
type keySet struct {
	fetch  func(ctx context.Context) (published, error)
	now    func() time.Time
	cached atomic.Pointer[published]
	turn   chan struct{} // is held by who asks
	// of the last attempt; whoever holds turn may read and write them
	next time.Time
	last error
}

func newKeySet(cfg Config, deps Deps) *keySet {
	k := &keySet{now: deps.Now, turn: make(chan struct{}, 1)}
	client := upstream.NewHTTP(askTimeout)
	client.Transport = deps.Transport
	switch {
	case cfg.JWKSFile != "":
		k.fetch = func(context.Context) (published, error) {
			keys, err := readKeyFile(cfg.JWKSFile)
			return published{keys: keys}, err
		}
	case cfg.JWKSURL != "":
		k.fetch = func(ctx context.Context) (published, error) {
			keys, err := fetchKeys(ctx, client, cfg.JWKSURL)
			return published{keys: keys}, err
		}
	default:
		k.fetch = func(ctx context.Context) (published, error) { return discover(ctx, client, cfg) }
	}
	return k
}

// criticalMembers are those that the transmitter declares critical, as far as its metadata were read.
func (k *keySet) criticalMembers() []string {
	if p := k.cached.Load(); p != nil {
		return p.critical
	}
	return nil
}

// find returns the keys that may have signed a token: those of the given id, or all that fit when it has none. An error
// is a *[Refusal] when there is no such key, or means that this cannot be said yet.
func (k *keySet) find(ctx context.Context, kid string, alg jose.SignatureAlgorithm) ([]jose.JSONWebKey, error) {
	asked := k.now()
	have := k.cached.Load()
	if have != nil && asked.Sub(have.at) < keysFresh {
		if keys, err := have.find(kid, alg); !errors.Is(err, errUnknownKey) {
			return keys, err
		}
	}
	wait, err := k.refresh(ctx, asked)
	have = k.cached.Load()
	switch {
	case err == nil:
		return have.find(kid, alg)
	case have != nil && asked.Sub(have.at) < keysStale:
		if keys, problem := have.find(kid, alg); problem == nil {
			return keys, nil
		}
	}
	return nil, &unavailable{wait, fmt.Errorf("looking up key %.60q: %w", kid, err)}
}

// renewed is find for a token whose signature none of the keys found so far has made, and which names no key: there may
// be a new one. Keys that were fetched a moment ago are new enough.
func (k *keySet) renewed(ctx context.Context, alg jose.SignatureAlgorithm) ([]jose.JSONWebKey, error) {
	wait, err := k.refresh(ctx, k.now())
	if err != nil && !errors.Is(err, errTooSoon) {
		return nil, &unavailable{wait, fmt.Errorf("looking for new keys: %w", err)}
	}
	return k.cached.Load().find("", alg)
}

var errTooSoon = errors.New("it is unknown, and keys were asked for a moment ago")

// refresh makes sure that the cached keys are from asked or later. An error comes with the time to wait.
func (k *keySet) refresh(ctx context.Context, asked time.Time) (time.Duration, error) {
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	now := k.now()
	if have := k.cached.Load(); have != nil && !have.at.Before(asked) {
		return 0, nil // somebody else did, meanwhile
	}
	if wait := k.next.Sub(now); wait > 0 {
		if k.last != nil {
			return wait, k.last
		}
		return wait, errTooSoon
	}
	// Whoever waits behind needs the answer too, also when this one is gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*askTimeout)
	defer cancel()
	fetched, err := k.fetch(ctx)
	now = k.now()
	if k.last = err; err != nil {
		k.next = now.Add(retryEvery)
		return retryEvery, err
	}
	fetched.at, k.next = now, now.Add(refetchEvery)
	k.cached.Store(&fetched)
	return 0, nil
}

// errUnknownKey is in the refusal of a token whose key is not among those that are known.
var errUnknownKey = refuse(InvalidKey, "the token's key is none of the transmitter's")

// find returns the keys that may be meant. Without an error there is at least one.
func (p *published) find(kid string, alg jose.SignatureAlgorithm) (keys []jose.JSONWebKey, err error) {
	err = errUnknownKey
	for i := range p.keys {
		key := &p.keys[i]
		if kid != "" && key.KeyID != kid {
			continue
		}
		if !fits(key, alg) {
			if kid != "" {
				err = refuse(InvalidKey, "kid: %.200q is not for %s", kid, alg)
			}
			continue
		}
		if r, ok := key.Key.(*rsa.PublicKey); ok && r.N.BitLen() < minRSABits {
			err = refuse(InvalidKey, "kid: %.200q has %d bits, at least %d are needed", key.KeyID, r.N.BitLen(), minRSABits)
			continue
		}
		keys = append(keys, *key)
	}
	if len(keys) > 0 {
		return keys, nil
	}
	return nil, err
}

// fits reports whether a key may sign by an algorithm.
func fits(key *jose.JSONWebKey, alg jose.SignatureAlgorithm) bool {
	if key.Use != "" && key.Use != "sig" || key.Algorithm != "" && key.Algorithm != string(alg) {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(string(alg), "RS") || strings.HasPrefix(string(alg), "PS")
	case *ecdsa.PublicKey:
		curves := map[jose.SignatureAlgorithm]string{jose.ES256: "P-256", jose.ES384: "P-384", jose.ES512: "P-521"}
		return curves[alg] == public.Curve.Params().Name
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	}
	return false
}

// parseKeys reads a JWK Set. Keys of a kind that is not understood are left out, and so are secrets.
func parseKeys(raw []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, errors.New("the keys are no JSON Web Key Set")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("there are %d keys, at most %d are read", len(set.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, one := range set.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(one); err != nil || !key.Valid() {
			continue
		}
		if public := key.Public(); public.Valid() {
			keys = append(keys, public)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no public key in the set")
	}
	return keys, nil
}

func readKeyFile(path string) ([]jose.JSONWebKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxJWKS))
	if err != nil {
		return nil, err
	}
	return parseKeys(raw)
}

func fetchKeys(ctx context.Context, client *http.Client, address string) ([]jose.JSONWebKey, error) {
	raw, err := get(ctx, client, address)
	if err != nil {
		return nil, fmt.Errorf("fetching keys: %w", err)
	}
	return parseKeys(raw)
}

func get(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	answer, err := upstream.New(upstream.Config{HTTP: client, MaxBody: maxJWKS, Base: address}).
		Get(ctx, address, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// discover reads the transmitter's metadata (SSF 1.0, section 7) and then its keys. What the metadata say of the issuer
// must be what was configured, or they are somebody else's.
func discover(ctx context.Context, client *http.Client, cfg Config) (published, error) {
	raw, err := get(ctx, client, wellKnown(cfg))
	if err != nil {
		return published{}, fmt.Errorf("fetching the transmitter's configuration: %w", err)
	}
	var metadata struct {
		Issuer   string   `json:"issuer"`
		JWKSURI  string   `json:"jwks_uri"`
		Critical []string `json:"critical_subject_members"`
	}
	if err := json.Unmarshal(raw, &metadata); err != nil {
		return published{}, errors.New("the transmitter's configuration is no JSON")
	}
	same := metadata.Issuer == cfg.Issuer
	if cfg.Dialect == Google { // whose tokens write a slash that the metadata do not
		same = strings.TrimSuffix(metadata.Issuer, "/") == strings.TrimSuffix(cfg.Issuer, "/")
	}
	if !same {
		return published{}, fmt.Errorf("the transmitter's configuration is that of issuer %.200q", metadata.Issuer)
	}
	if problem := addressProblem(metadata.JWKSURI); problem != "" {
		return published{}, fmt.Errorf("jwks_uri in the transmitter's configuration: %s", problem)
	}
	if strings.HasPrefix(cfg.Issuer, "https:") && !strings.HasPrefix(metadata.JWKSURI, "https:") {
		// Plain http is for transmitters on this machine; one elsewhere must not have us ask it.
		return published{}, fmt.Errorf("jwks_uri in the transmitter's configuration: %.200q is not https, as the issuer is", metadata.JWKSURI)
	}
	keys, err := fetchKeys(ctx, client, metadata.JWKSURI)
	return published{keys: keys, critical: slices.Clone(metadata.Critical)}, err
}

// wellKnown is the address of the metadata: the well-known path goes between the issuer's host and its path.
func wellKnown(cfg Config) string {
	u, err := url.Parse(cfg.Issuer)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + dialects[cfg.Dialect].wellKnown + strings.TrimSuffix(u.EscapedPath(), "/")
}
