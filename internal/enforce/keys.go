package enforce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// keysEvery is how often an issuer's keys are read anew, keysAtMost how often because of a key that is not known.
	keysEvery  = time.Hour
	keysAtMost = 10 * time.Second
	// keysRetry is how soon keys are read again that could not be.
	keysRetry   = 30 * time.Second
	keysTimeout = 10 * time.Second
	maxKeys     = 1 << 20 // bytes
	maxKeyCount = 64
)

// errKeys says that a token cannot be judged because its issuer's keys are not there.
var errKeys = errors.New("the issuer's keys cannot be read")

// keySet is the keys of an issuer. It is safe for concurrent use.
type keySet struct {
	cfg    IssuerConfig
	client *http.Client
	failed func(error)

	// reading is held by who reads them anew.
	reading sync.Mutex
	mu      sync.RWMutex
	keys    *jose.JSONWebKeySet
	tried   time.Time
	err     error
}

func newKeySet(cfg IssuerConfig, client *http.Client, failed func(error)) *keySet {
	return &keySet{cfg: cfg, client: client, failed: failed}
}

// run keeps the keys fresh until ctx ends.
func (k *keySet) run(ctx context.Context) {
	for {
		wait := keysEvery
		if k.read(ctx) != nil {
			wait = keysRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// ready returns an error until there are keys.
func (k *keySet) ready() error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.keys == nil {
		return fmt.Errorf("%w: %s: %w", errKeys, k.cfg.Issuer, k.err)
	}
	return nil
}

// of returns the keys that may have made a signature: those with the id, or all when there is none.
func (k *keySet) of(ctx context.Context, id, algorithm string) ([]jose.JSONWebKey, error) {
	found := k.known(id, algorithm)
	if len(found) > 0 {
		return found, nil
	}
	err := k.refresh(ctx)
	if found = k.known(id, algorithm); len(found) == 0 && err != nil {
		return nil, fmt.Errorf("%w: %w", errKeys, err)
	}
	return found, nil
}

func (k *keySet) known(id, algorithm string) []jose.JSONWebKey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.keys == nil {
		return nil
	}
	var found []jose.JSONWebKey
	for _, key := range k.keys.Keys {
		if (id == "" || key.KeyID == id) && (key.Use == "" || key.Use == "sig") && (key.Algorithm == "" || key.Algorithm == algorithm) {
			found = append(found, key)
		}
	}
	return found
}

// refresh reads the keys anew, unless that was done a moment ago: anybody can send a token with an unknown key.
func (k *keySet) refresh(ctx context.Context) error {
	k.mu.RLock()
	tried, err := k.tried, k.err
	k.mu.RUnlock()
	if !tried.IsZero() && time.Since(tried) < keysAtMost {
		return err
	}
	// The keys are everybody's, not only this request's.
	return k.readSince(context.WithoutCancel(ctx), tried)
}

func (k *keySet) read(ctx context.Context) error {
	k.mu.RLock()
	tried := k.tried
	k.mu.RUnlock()
	return k.readSince(ctx, tried)
}

// readSince reads the keys, unless somebody has since the time seen.
func (k *keySet) readSince(ctx context.Context, seen time.Time) error {
	k.reading.Lock()
	defer k.reading.Unlock()
	k.mu.RLock()
	tried, err := k.tried, k.err
	k.mu.RUnlock()
	if !tried.Equal(seen) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	keys, err := k.load(ctx)
	if err != nil {
		k.failed(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried, k.err = time.Now(), err
	if err == nil {
		k.keys = keys
	}
	return err
}

func (k *keySet) load(ctx context.Context) (*jose.JSONWebKeySet, error) {
	var text []byte
	var err error
	if k.cfg.JWKSFile != "" {
		text, err = os.ReadFile(k.cfg.JWKSFile)
	} else {
		text, err = k.fetch(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the keys of %s: %w", k.cfg.Issuer, err)
	}
	return parseKeys(text)
}

// parseKeys reads a JWK Set (RFC 7517 §5). Keys that are not understood, and such that are no public keys, are left out.
func parseKeys(text []byte) (*jose.JSONWebKeySet, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("reading a set of keys: %w", err)
	}
	if len(set.Keys) > maxKeyCount {
		return nil, fmt.Errorf("the set has %d keys, at most %d are allowed", len(set.Keys), maxKeyCount)
	}
	keys := &jose.JSONWebKeySet{}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && key.IsPublic() && key.Valid() {
			keys.Keys = append(keys.Keys, key)
		}
	}
	if len(keys.Keys) == 0 {
		return nil, errors.New("the set holds no public key that can be used")
	}
	return keys, nil
}

// fetch reads the keys from their URL, or from the one that the issuer's metadata names (OpenID Connect Discovery §4).
func (k *keySet) fetch(ctx context.Context) ([]byte, error) {
	if k.cfg.JWKSURL != "" {
		return k.get(ctx, k.cfg.JWKSURL)
	}
	text, err := k.get(ctx, strings.TrimSuffix(k.cfg.Issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	var metadata struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(text, &metadata); err != nil {
		return nil, fmt.Errorf("reading the issuer's metadata: %w", err)
	}
	if metadata.Issuer != k.cfg.Issuer {
		return nil, fmt.Errorf("the metadata is that of issuer %.200q", metadata.Issuer)
	}
	if err := checkURL(metadata.Keys, k.cfg.PlainHTTP); err != nil {
		return nil, fmt.Errorf("jwks_uri of the issuer's metadata: %w", err)
	}
	return k.get(ctx, metadata.Keys)
}

func (k *keySet) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", url, resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeys+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeys {
		return nil, fmt.Errorf("%s answered more than %d bytes", url, maxKeys)
	}
	return text, nil
}
