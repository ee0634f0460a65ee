package stepupssf

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Metadata is what a transmitter says of itself (SSF 1.0 §7.1).
type Metadata struct {
	Issuer                 string   `json:"issuer"`
	SpecVersion            string   `json:"spec_version"`
	JWKSURI                string   `json:"jwks_uri"`
	DeliveryMethods        []string `json:"delivery_methods_supported"`
	ConfigurationEndpoint  string   `json:"configuration_endpoint"`
	StatusEndpoint         string   `json:"status_endpoint"`
	VerificationEndpoint   string   `json:"verification_endpoint"`
	CriticalSubjectMembers []string `json:"critical_subject_members"`
}

// How long published keys are good. One that was withdrawn is refused after keysFresh; when the transmitter cannot be
// asked, after keysStale. For the sake of an unknown key it is asked at most once in askEvery, after a failure in
// retryEvery.
const (
	keysFresh  = time.Hour
	keysStale  = 24 * time.Hour
	askEvery   = 30 * time.Second
	retryEvery = 2 * time.Second

	maxKeys    = 100
	minRSABits = 2048
)

// published is the metadata and the keys as they were at one time. It is never changed.
type published struct {
	metadata Metadata
	keys     []jose.JSONWebKey
	at       time.Time
}

// party keeps what the transmitter publishes.
type party struct {
	cfg    *Config
	cached atomic.Pointer[published]
	turn   chan struct{} // held by who asks
	// of the last attempt, for who holds turn
	next time.Time
	last error
}

func newParty(cfg *Config) *party { return &party{cfg: cfg, turn: make(chan struct{}, 1)} }

// notYet is the error of something that cannot be told at present; the SET is to come again.
type notYet struct {
	wait time.Duration
	err  error
}

func (e *notYet) Error() string { return e.err.Error() }

func (e *notYet) Unwrap() error { return e.err }

var errAskedJustNow = errors.New("the transmitter was asked a moment ago")

// published returns what the transmitter publishes, not older than keysFresh if it can be had, nor than keysStale.
func (p *party) published(ctx context.Context) (*published, error) {
	now := time.Now()
	have := p.cached.Load()
	if have != nil && now.Sub(have.at) < keysFresh {
		return have, nil
	}
	fresh, err := p.ask(ctx, now.Add(-keysFresh))
	if err == nil {
		return fresh, nil
	}
	if have != nil && now.Sub(have.at) < keysStale {
		return have, nil
	}
	return nil, err
}

// key returns the keys that may have signed: those of the id, or with no id all that fit. An unknown one is asked for.
func (p *party) key(ctx context.Context, kid string, alg jose.SignatureAlgorithm) ([]jose.JSONWebKey, error) {
	came := time.Now()
	have, err := p.published(ctx)
	if err != nil {
		return nil, err
	}
	keys, refusal := have.find(kid, alg)
	switch {
	case refusal == nil:
		return keys, nil
	case have.has(kid):
		return nil, refusal
	}
	return p.newKey(ctx, came, kid, alg)
}

// newKey is key for what none of the known keys fits. Only keys that were published after the SET came can tell that it
// is wrong; before, it might be new.
func (p *party) newKey(ctx context.Context, came time.Time, kid string, alg jose.SignatureAlgorithm) ([]jose.JSONWebKey, error) {
	fresh, err := p.ask(ctx, came)
	if err != nil {
		return nil, fmt.Errorf("looking for key %.60q: %w", kid, err)
	}
	keys, refusal := fresh.find(kid, alg)
	if refusal != nil {
		return nil, refusal
	}
	return keys, nil
}

// ask returns what was published at since or later. Its error is a *notYet.
func (p *party) ask(ctx context.Context, since time.Time) (*published, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, &notYet{retryEvery, ctx.Err()}
	}
	now := time.Now()
	if have := p.cached.Load(); have != nil && !have.at.Before(since) {
		return have, nil // somebody else asked meanwhile
	}
	if wait := p.next.Sub(now); wait > 0 {
		if p.last != nil {
			return nil, &notYet{wait, p.last}
		}
		return nil, &notYet{wait, errAskedJustNow}
	}
	// Whoever waits behind needs the answer too, also when this one is gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*askTimeout)
	defer cancel()
	fresh, err := p.fetch(ctx)
	if p.last = err; err != nil {
		p.next = time.Now().Add(retryEvery)
		return nil, &notYet{retryEvery, err}
	}
	fresh.at = now
	p.next = time.Now().Add(askEvery)
	p.cached.Store(fresh)
	return fresh, nil
}

func (p *party) fetch(ctx context.Context) (*published, error) {
	fresh := &published{}
	address := p.cfg.MetadataURL
	if address == "" {
		address = wellKnown(p.cfg.Issuer)
	}
	if err := p.get(ctx, address, &fresh.metadata); err != nil {
		return nil, fmt.Errorf("reading the transmitter's metadata: %w", err)
	}
	m := &fresh.metadata
	if m.Issuer != p.cfg.Issuer {
		return nil, fmt.Errorf("reading the transmitter's metadata: issuer is %.200q, must be %q", m.Issuer, p.cfg.Issuer)
	}
	for name, address := range map[string]string{
		"jwks_uri": m.JWKSURI, "configuration_endpoint": m.ConfigurationEndpoint, "status_endpoint": m.StatusEndpoint,
		"verification_endpoint": m.VerificationEndpoint,
	} {
		if problem := p.cfg.addressProblem(address); problem != "" && (address != "" || name == "jwks_uri") {
			return nil, fmt.Errorf("reading the transmitter's metadata: %s is %.200q, must be %s", name, address, problem)
		}
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := p.get(ctx, m.JWKSURI, &set); err != nil {
		return nil, fmt.Errorf("reading the transmitter's keys: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("reading the transmitter's keys: there are %d, at most %d are read", len(set.Keys), maxKeys)
	}
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && key.Valid() && key.IsPublic() { // others are of kinds that are not used here
			fresh.keys = append(fresh.keys, key)
		}
	}
	return fresh, nil
}

func (p *party) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	body, err := exchange(p.cfg.HTTP, req, maxAnswer)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// wellKnown is the address of an issuer's metadata: the well-known part stands between its host and its path.
func wellKnown(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/.well-known/ssf-configuration" + strings.TrimSuffix(u.EscapedPath(), "/")
}

// has tells whether there is a key of that id, whatever it is for.
func (p *published) has(kid string) bool {
	return kid != "" && slices.ContainsFunc(p.keys, func(key jose.JSONWebKey) bool { return key.KeyID == kid })
}

// find returns the keys that may be meant; without a refusal there is at least one.
func (p *published) find(kid string, alg jose.SignatureAlgorithm) ([]jose.JSONWebKey, *Refusal) {
	refusal := refuse(InvalidKey, "kid: %.200q is none of the transmitter's keys for %s", kid, alg)
	var keys []jose.JSONWebKey
	for i := range p.keys {
		key := &p.keys[i]
		if kid != "" && key.KeyID != kid || key.Use != "" && key.Use != "sig" || key.Algorithm != "" && key.Algorithm != string(alg) {
			continue
		}
		switch public := key.Key.(type) {
		case *rsa.PublicKey:
			if alg == jose.ES256 {
				continue
			}
			if bits := public.N.BitLen(); bits < minRSABits {
				refusal = refuse(InvalidKey, "kid: %.200q has %d bits, must have %d", key.KeyID, bits, minRSABits)
				continue
			}
		case *ecdsa.PublicKey:
			if alg != jose.ES256 || public.Curve.Params().BitSize != 256 {
				continue
			}
		default:
			continue
		}
		keys = append(keys, *key)
	}
	if len(keys) == 0 {
		return nil, refusal
	}
	return keys, nil
}
