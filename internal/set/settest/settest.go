// Package settest checks Security Event Tokens as the OpenID conformance suite does, and a little more strictly.
package settest

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-io/countersign/internal/set"
)

const (
	caep         = "https://schemas.openid.net/secevent/caep/event-type/"
	control      = "https://schemas.openid.net/secevent/ssf/event-type/"
	verification = control + "verification"
)

// Want is what a token is held against. The zero values of Types and Txn allow anything.
type Want struct {
	Issuer   string
	Audience []string
	// StreamID is the subject of control events.
	StreamID string
	// Types are the event types that may come, besides control events.
	Types []string
	// State is what a verification must carry; nil: there must be no state at all.
	State *string
	JTI   string
	Txn   string
	// Now is the moment of receipt; zero is the present.
	Now time.Time
}

// Token is a token that was read.
type Token struct {
	KeyID, Issuer, JTI, Txn, Type string
	IssuedAt                      int64
	Subject                       set.Identifier
	Event                         map[string]any
	// Claims are the bytes that were signed.
	Claims []byte
}

var key = sync.OnceValues(func() (*set.Key, error) {
	private, err := rsa.GenerateKey(rand.Reader, set.MinBits)
	if err != nil {
		return nil, fmt.Errorf("making key: %w", err)
	}
	return set.NewKey(private)
})

// Key is a signing key, the same in all of a process.
func Key(t testing.TB) *set.Key {
	t.Helper()
	k, err := key()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// JWKS is the document with the public keys of some keys.
func JWKS(t testing.TB, keys ...*set.Key) []byte {
	t.Helper()
	var doc jose.JSONWebKeySet
	for _, k := range keys {
		doc.Keys = append(doc.Keys, k.Public())
	}
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Check reads a compact token, verifies it by the JWKS, and ends the test when anything is wrong with it.
func Check(t testing.TB, compact string, jwks []byte, want Want) *Token {
	t.Helper()
	got, err := Verify(compact, jwks, want)
	if err != nil {
		t.Fatalf("the token is not as it must be:\n%v\n%s", err, claimsOf(got))
	}
	return got
}

func claimsOf(t *Token) []byte {
	if t == nil {
		return nil
	}
	return t.Claims
}

// Verify is [Check] without a test: it returns every problem.
func Verify(compact string, jwks []byte, want Want) (*Token, error) {
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(jwks, &keys); err != nil {
		return nil, fmt.Errorf("reading JWKS: %w", err)
	}
	signed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, fmt.Errorf("reading token: %w", err)
	}
	header := signed.Signatures[0].Protected
	known := keys.Key(header.KeyID)
	if len(known) != 1 {
		return nil, fmt.Errorf("kid: %q names %d keys of the JWKS", header.KeyID, len(known))
	}
	public, ok := known[0].Key.(*rsa.PublicKey)
	if !ok || public.N.BitLen() < set.MinBits {
		return nil, errors.New("kid: is no RSA key of 2048 bits or more")
	}
	claims, err := signed.Verify(&known[0])
	if err != nil {
		return nil, fmt.Errorf("verifying signature: %w", err)
	}
	t := &Token{KeyID: header.KeyID, Claims: claims}
	return t, errors.Join(typ(header), t.read(want))
}

func typ(header jose.Header) error {
	if header.ExtraHeaders[jose.HeaderType] != set.Type {
		return fmt.Errorf("typ: is %v, must be %s", header.ExtraHeaders[jose.HeaderType], set.Type)
	}
	return nil
}

// read takes the claims apart.
func (t *Token) read(want Want) error {
	var problems []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	var all map[string]json.RawMessage
	var c struct {
		Issuer   string                    `json:"iss"`
		IssuedAt json.Number               `json:"iat"`
		JTI      string                    `json:"jti"`
		Audience any                       `json:"aud"`
		Txn      string                    `json:"txn"`
		Subject  json.RawMessage           `json:"sub_id"`
		Events   map[string]map[string]any `json:"events"`
	}
	if err := errors.Join(json.Unmarshal(t.Claims, &all), json.Unmarshal(t.Claims, &c)); err != nil {
		return fmt.Errorf("reading claims: %w", err)
	}
	now := want.Now
	if now.IsZero() {
		now = time.Now()
	}
	issued, err := c.IssuedAt.Int64()
	t.Issuer, t.JTI, t.Txn, t.IssuedAt = c.Issuer, c.JTI, c.Txn, issued
	require(err == nil && issued > 0, "iat: is %q, must be seconds", c.IssuedAt)
	require(issued <= now.Unix(), "iat: is %d, after now, %d", issued, now.Unix())
	require(c.Issuer == want.Issuer && c.Issuer != "", "iss: is %q, must be %q", c.Issuer, want.Issuer)
	require(c.JTI != "" && (want.JTI == "" || c.JTI == want.JTI), "jti: is %q, must be %q", c.JTI, want.JTI)
	require(want.Txn == "" || c.Txn == want.Txn, "txn: is %q, must be %q", c.Txn, want.Txn)
	for _, forbidden := range []string{"sub", "exp"} {
		require(all[forbidden] == nil, "%s: must not be in a token", forbidden)
	}
	audience, err := list(c.Audience)
	require(err == nil && len(audience) > 0, "aud: is %v, must be text or a list of texts", c.Audience)
	for _, a := range audience {
		require(slices.Contains(want.Audience, a), "aud: has %q, the stream's are %q", a, want.Audience)
	}
	require(len(c.Events) == 1, "events: has %d members, must have one", len(c.Events))
	for kind, event := range c.Events {
		t.Type, t.Event = kind, event
		require(event != nil, "events: %s must be an object", kind)
	}
	if t.Subject, err = set.ParseIdentifier(c.Subject); err != nil {
		problems = append(problems, fmt.Errorf("sub_id: %w", err))
	}
	if strings.HasPrefix(t.Type, control) {
		return errors.Join(append(problems, t.control(want))...)
	}
	require(len(want.Types) == 0 || slices.Contains(want.Types, t.Type), "events: %s is not among what the stream gets, %q", t.Type, want.Types)
	return errors.Join(append(problems, t.event())...)
}

// list is an audience, which may be one text.
func list(v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case []any:
		var out []string
		for _, one := range v {
			text, ok := one.(string)
			if !ok {
				return nil, errors.New("not text")
			}
			out = append(out, text)
		}
		return out, nil
	}
	return nil, errors.New("neither")
}

// control checks an event about the stream (SSF 1.0 §8.1.4.1 and §8.1.5).
func (t *Token) control(want Want) error {
	var problems []error
	id, err := set.ParseSubject([]byte(fmt.Sprintf(`{"format":"opaque","id":%q}`, want.StreamID)))
	if err != nil || !bytes.Equal(t.Subject.Canonical(), id) {
		problems = append(problems, fmt.Errorf("sub_id: is %s, must be opaque and the stream, %q", t.Subject.Canonical(), want.StreamID))
	}
	state, present := t.Event["state"]
	switch {
	case t.Type == control+"stream-updated":
		if status, _ := t.Event["status"].(string); !slices.Contains([]string{"enabled", "paused", "disabled"}, status) {
			problems = append(problems, fmt.Errorf("status: is %q", status))
		}
	case t.Type != verification:
		problems = append(problems, fmt.Errorf("events: %s is no control event", t.Type))
	case want.State == nil && present:
		problems = append(problems, fmt.Errorf("state: is %v, nobody asked", state))
	case want.State != nil && state != *want.State:
		problems = append(problems, fmt.Errorf("state: is %v, must be %q", state, *want.State))
	}
	return errors.Join(problems...)
}

// required are the members that CAEP 1.0 §3 demands, with their values; none: any text that is not empty.
var required = map[string]map[string][]string{
	caep + "session-revoked":        {},
	caep + "credential-change":      {"credential_type": nil, "change_type": {"create", "revoke", "update", "delete"}},
	caep + "assurance-level-change": {"namespace": {"RFC8176", "RFC6711", "ISO-IEC-29115", "NIST-IAL", "NIST-AAL", "NIST-FAL"}, "current_level": nil},
	caep + "device-compliance-change": {
		"previous_status": {"compliant", "not-compliant"}, "current_status": {"compliant", "not-compliant"},
	},
	caep + "risk-level-change": {
		"principal": {"USER", "DEVICE", "SESSION", "TENANT", "ORG_UNIT", "GROUP"}, "current_level": {"LOW", "MEDIUM", "HIGH"},
	},
	"https://schemas.okta.com/secevent/okta/event-type/user-risk-change":      {"current_level": {"low", "medium", "high", "secure", "none"}},
	"https://schemas.countersign.io/secevent/event-type/step-up-required":     {"status": {"open", "satisfied", "expired"}},
	"https://schemas.openid.net/secevent/caep/event-type/session-established": {},
	"https://schemas.openid.net/secevent/caep/event-type/session-presented":   {},
}

// optional are members that have their values when they are there.
var optional = map[string][]string{
	"initiating_entity": {"admin", "user", "policy", "system"},
	"change_direction":  {"increase", "decrease"},
}

// event checks the members of an event that is not about the stream.
func (t *Token) event() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	members, known := required[t.Type]
	if !known {
		bad("events: %s is not known", t.Type)
	}
	for name, values := range members {
		if v, _ := t.Event[name].(string); v == "" || values != nil && !slices.Contains(values, v) {
			bad("%s: is %v, must be one of %q", name, t.Event[name], values)
		}
	}
	for name, values := range optional {
		if v, present := t.Event[name]; present {
			if text, _ := v.(string); !slices.Contains(values, text) {
				bad("%s: is %v, must be one of %q", name, v, values)
			}
		}
	}
	const milliseconds = 1e11
	if at, ok := t.Event["event_timestamp"].(float64); !ok || at > milliseconds {
		bad("event_timestamp: is %v, must be seconds", t.Event["event_timestamp"])
	}
	for _, name := range []string{"reason_admin", "reason_user"} {
		v, present := t.Event[name]
		texts, _ := v.(map[string]any)
		if present && len(texts) == 0 {
			bad("%s: is %v, must be an object that is not empty", name, v)
		}
		for language, one := range texts {
			if text, _ := one.(string); text == "" {
				bad("%s.%s: is %v, must be text", name, language, one)
			}
		}
	}
	if (t.Type == caep+"session-revoked" || t.Type == caep+"credential-change") && t.Event["reason_admin"] == nil {
		bad("reason_admin: is missing")
	}
	return errors.Join(problems...)
}
