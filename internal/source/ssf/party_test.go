package ssf_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/ssf"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

const (
	audience  = "https://countersign.example/ssf"
	tenant    = "acme"
	userID    = "5b9e1f04-8c2d-4a76-b3f1-2d60c7a9e315"
	pushToken = "hand-written-token-of-the-push-tests"

	caep = "https://schemas.openid.net/secevent/caep/event-type/"
	risc = "https://schemas.openid.net/secevent/risc/event-type/"
	own  = "https://schemas.openid.net/secevent/ssf/event-type/"
)

type object = map[string]any

// signer is a private key of a transmitter.
type signer struct {
	kid string
	alg jose.SignatureAlgorithm
	key crypto.Signer
}

func rsaKey(bits int) crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// Keys are costly to make, so the tests share them.
var (
	rs256 = sync.OnceValue(func() signer { return signer{"rs-1", jose.RS256, rsaKey(2048)} })
	other = sync.OnceValue(func() signer { return signer{"rs-2", jose.RS256, rsaKey(2048)} })
	es256 = sync.OnceValue(func() signer {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return signer{"es-1", jose.ES256, key}
	})
	eddsa = sync.OnceValue(func() signer {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		return signer{"ed-1", jose.EdDSA, key}
	})
)

// public is the published form of a key.
func (s signer) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: s.key.Public(), KeyID: s.kid, Algorithm: string(s.alg), Use: "sig"}
}

// sign makes a token of claims; header members replace those of a right one, and nil removes one.
func (s signer) sign(t testing.TB, claims any, header object) string {
	t.Helper()
	all := map[jose.HeaderKey]any{"typ": "secevent+jwt"}
	key := any(jose.JSONWebKey{Key: s.key, KeyID: s.kid})
	for name, value := range header {
		switch {
		case name == "kid" && value == nil:
			key = s.key
		case name == "kid":
			key = jose.JSONWebKey{Key: s.key, KeyID: value.(string)}
		case value == nil:
			delete(all, jose.HeaderKey(name))
		default:
			all[jose.HeaderKey(name)] = value
		}
	}
	made, err := jose.NewSigner(jose.SigningKey{Algorithm: s.alg, Key: key}, &jose.SignerOptions{ExtraHeaders: all})
	if err != nil {
		t.Fatal(err)
	}
	payload, is := claims.(string)
	if !is {
		payload = encode(t, claims)
	}
	signed, err := made.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func encode(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// party is a small transmitter: metadata, keys, a token endpoint, and a poll endpoint after RFC 8936 that sends every
// token again until it is acknowledged or reported.
type party struct {
	*upstreamtest.Server

	mu       sync.Mutex
	keys     []signer
	metadata object // more than the metadata have of themselves
	sets     []offer
	acked    map[string]int
	reported map[string]ssf.Refusal
	held     chan struct{} // gets one for every time that a poll waits
	wake     chan struct{}
	polls    []object // their bodies
	tokens   []string // that are good; the newest is given out
	lastPage int      // size of a page; 0 is what is asked for
	strict   string   // a member that is answered 400
}

type offer struct{ jti, set string }

func newParty(t testing.TB, keys ...signer) *party {
	t.Helper()
	p := &party{keys: keys, acked: map[string]int{}, reported: map[string]ssf.Refusal{}, wake: make(chan struct{}), held: make(chan struct{}, 100), tokens: []string{pollToken(t)}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/ssf-configuration", p.serveMetadata)
	mux.HandleFunc("GET /.well-known/ssf-configuration/{path}", p.serveMetadata)
	mux.HandleFunc("GET /.well-known/risc-configuration", p.serveMetadata)
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		var set jose.JSONWebKeySet
		for _, k := range p.keys {
			set.Keys = append(set.Keys, k.public())
		}
		write(w, set)
	})
	mux.HandleFunc("POST /token", p.serveToken)
	mux.HandleFunc("POST /poll", p.servePoll)
	p.Server = upstreamtest.New(t, mux)
	return p
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func pollToken(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "poll.token"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

func (p *party) serveMetadata(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	issuer := p.URL
	if path := r.PathValue("path"); path != "" {
		issuer += "/" + path
	}
	metadata := object{"issuer": issuer, "spec_version": "1_0", "jwks_uri": p.URL + "/jwks", "delivery_methods_supported": []string{"urn:ietf:rfc:8935", "urn:ietf:rfc:8936"}}
	maps.Copy(metadata, p.metadata)
	write(w, metadata)
}

func (p *party) serveToken(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id, secret, _ := r.BasicAuth(); id != "countersign" || secret != pushToken || r.FormValue("scope") != "ssf.read" {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		write(w, object{"error": "invalid_client", "error_description": "the secret is not " + pushToken})
		return
	}
	token := fmt.Sprintf("granted-%d", len(p.tokens))
	p.tokens = append(p.tokens, token)
	write(w, object{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
}

func (p *party) servePoll(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if token := p.tokens[len(p.tokens)-1]; r.Header.Get("Authorization") != "Bearer "+token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var body struct {
		MaxEvents         *int                   `json:"maxEvents"`
		ReturnImmediately bool                   `json:"returnImmediately"`
		Ack               []string               `json:"ack"`
		SetErrs           map[string]ssf.Refusal `json:"setErrs"`
	}
	var raw object
	if err := json.NewDecoder(r.Body).Decode(&raw); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.polls = append(p.polls, raw)
	if _, there := raw[p.strict]; there {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if err := json.Unmarshal([]byte(encodeOrPanic(raw)), &body); err != nil || len(body.SetErrs) > 0 && r.Header.Get("Content-Language") == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, jti := range body.Ack {
		p.acked[jti]++
	}
	maps.Copy(p.reported, body.SetErrs)
	for !body.ReturnImmediately && len(p.open()) == 0 {
		wake := p.wake
		p.mu.Unlock()
		p.held <- struct{}{}
		select {
		case <-wake:
		case <-r.Context().Done():
		}
		p.mu.Lock()
		if r.Context().Err() != nil {
			return
		}
	}
	open := p.open()
	page := len(open)
	if body.MaxEvents != nil {
		page = min(page, *body.MaxEvents)
	}
	if p.lastPage > 0 {
		page = min(page, p.lastPage)
	}
	var sets []string // in order, which a map has not
	for _, o := range open[:page] {
		sets = append(sets, encodeOrPanic(o.jti)+":"+encodeOrPanic(o.set))
	}
	answer := `{"sets":{` + strings.Join(sets, ",") + `}`
	if page < len(open) {
		answer += `,"moreAvailable":true`
	}
	_, _ = w.Write([]byte(answer + "}"))
}

func encodeOrPanic(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// open are the tokens that are neither acknowledged nor reported.
func (p *party) open() []offer {
	return slices.DeleteFunc(slices.Clone(p.sets), func(o offer) bool {
		_, reported := p.reported[o.jti]
		return p.acked[o.jti] > 0 || reported
	})
}

// offer puts tokens out for polls.
func (p *party) offer(sets ...offer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sets = append(p.sets, sets...)
	close(p.wake)
	p.wake = make(chan struct{})
}

// publish replaces the keys.
func (p *party) publish(keys ...signer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// state is a copy of what was acknowledged and reported.
func (p *party) state() (acked []string, reported map[string]ssf.Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.acked)), maps.Clone(p.reported)
}

// asked counts requests for a path.
func (p *party) asked(path string) (n int) {
	for _, r := range p.Requests() {
		if _, uri, _ := strings.Cut(r, " "); uri == path {
			n++
		}
	}
	return n
}

// clock is a clock of the test's own.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// claims are those of a right token about one user; change edits them.
func (p *party) claims(jti string, change func(c object)) object {
	c := object{
		"iss": p.URL, "iat": time.Now().Unix(), "jti": jti, "aud": audience, "txn": "inc-7f3a",
		"sub_id": object{"format": "iss_sub", "iss": p.URL, "sub": userID},
		"events": object{caep + "session-revoked": object{"event_timestamp": time.Now().Add(-time.Minute).Unix(), "reason_admin": object{"en": "policy geo-3"}}},
	}
	if change != nil {
		change(c)
	}
	return c
}

// config is that of the party as a transmitter that pushes and is polled.
func (p *party) config(t testing.TB) ssf.Config {
	t.Helper()
	return ssf.Config{
		Name: "idp", Tenant: tenant, Issuer: p.URL, Audience: []string{audience},
		Push: ssf.PushConfig{TokenFile: file(t, pushToken)},
		Poll: ssf.PollConfig{URL: p.URL + "/poll", TokenFile: filepath.Join("testdata", "poll.token")},
	}
}

func file(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// transmitter is the party as countersign knows it; change edits its configuration.
func (p *party) transmitter(t testing.TB, deps ssf.Deps, change func(c *ssf.Config)) *ssf.Transmitter {
	t.Helper()
	cfg := p.config(t)
	if change != nil {
		change(&cfg)
	}
	tr, err := ssf.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// decoded is what a decoder emitted for one record.
type decoded struct {
	record string
	event  *events.Event
	err    error
}

type decoder interface {
	Decode(value []byte, emit func(record []byte, e *events.Event, err error))
}

func decode(d decoder, value string) (all []decoded) {
	d.Decode([]byte(value), func(record []byte, e *events.Event, err error) {
		r := decoded{record: string(record), err: err}
		if e != nil {
			c := *e
			r.event = &c
		}
		all = append(all, r)
	})
	return all
}

// replace writes a file anew.
func replace(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
