package set_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/set/settest"
)

const sessionRevoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"

func token() set.Token {
	return set.Token{
		Issuer: "https://courier.example.com/acme", IssuedAt: 1767225600, JTI: "01JG", Audience: []string{"https://app.example.com/ssf"},
		Txn: "inc-7f3a", Subject: set.Subject(`{"format":"opaque","id":"s9"}`), EventTime: 1767225599, EventType: sessionRevoked,
		Event: json.RawMessage(`{"event_timestamp":1767225599,"reason_admin":{"en":"policy geo-3 v12"}}`),
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	one := token()
	two := token()
	two.Audience, two.Txn, two.EventTime = []string{"a", "b"}, "", 0
	for want, token := range map[string]set.Token{
		`{"iss":"https://courier.example.com/acme","iat":1767225600,"jti":"01JG","aud":"https://app.example.com/ssf","txn":"inc-7f3a",` +
			`"toe":1767225599,"sub_id":{"format":"opaque","id":"s9"},"events":{"` + sessionRevoked +
			`":{"event_timestamp":1767225599,"reason_admin":{"en":"policy geo-3 v12"}}}}`: one,
		`{"iss":"https://courier.example.com/acme","iat":1767225600,"jti":"01JG","aud":["a","b"],"sub_id":{"format":"opaque","id":"s9"},"events":{"` +
			sessionRevoked + `":{"event_timestamp":1767225599,"reason_admin":{"en":"policy geo-3 v12"}}}}`: two,
	} {
		got, err := token.Claims()
		if diff := cmp.Diff(string(got), want); err != nil || diff != "" {
			t.Errorf("%v (-got, +want)\n%s", err, diff)
		}
	}
}

func TestClaimsRefuse(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*set.Token){
		"iss": func(t *set.Token) { t.Issuer = "" }, "jti": func(t *set.Token) { t.JTI = "" }, "iat": func(t *set.Token) { t.IssuedAt = 0 },
		"aud": func(t *set.Token) { t.Audience = nil }, "type": func(t *set.Token) { t.EventType = "" },
		"event must be": func(t *set.Token) { t.Event = json.RawMessage(`[]`) }, "sub_id": func(t *set.Token) { t.Subject = nil },
		"bytes":          func(t *set.Token) { t.JTI = strings.Repeat("x", set.MaxToken) },
		"writing claims": func(t *set.Token) { t.Event = json.RawMessage(`{"a":`) },
	} {
		broken := token()
		spoil(&broken)
		if _, err := broken.Claims(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if _, err := set.Sign(t.Context(), settest.Key(t), &broken); err == nil {
			t.Errorf("%s: signed", want)
		}
	}
}

func TestSignedTokensAreVerified(t *testing.T) {
	t.Parallel()
	key := settest.Key(t)
	jwks := settest.JWKS(t, key)
	given := token()
	compact, err := set.Sign(t.Context(), key, &given)
	if err != nil {
		t.Fatal(err)
	}
	want := settest.Want{Issuer: given.Issuer, Audience: given.Audience, Types: []string{sessionRevoked}, JTI: "01JG", Txn: "inc-7f3a"}
	if got := settest.Check(t, compact, jwks, want); got.KeyID != key.KeyID() || got.IssuedAt != given.IssuedAt || got.Type != sessionRevoked {
		t.Errorf("%+v", got)
	}
	for name, broken := range map[string]struct {
		compact string
		want    func(w *settest.Want)
	}{
		"signature": {compact[:len(compact)-8] + "AAAAAAAA", func(*settest.Want) {}},
		"claims":    {strings.Replace(compact, ".ey", ".eY", 1), func(*settest.Want) {}},
		"issuer":    {compact, func(w *settest.Want) { w.Issuer += "/" }},
		"audience":  {compact, func(w *settest.Want) { w.Audience = []string{"b"} }},
		"type":      {compact, func(w *settest.Want) { w.Types = []string{"x"} }},
	} {
		w := want
		broken.want(&w)
		if _, err := settest.Verify(broken.compact, jwks, w); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// What the conformance suite would find is found here too.
func TestCheckFindsProblems(t *testing.T) {
	t.Parallel()
	key := settest.Key(t)
	state := "x"
	for name, spoil := range map[string]func(*set.Token){
		"future":         func(t *set.Token) { t.IssuedAt = 32503680000 },
		"reason missing": func(t *set.Token) { t.Event = json.RawMessage(`{"event_timestamp":1}`) },
		"reason empty":   func(t *set.Token) { t.Event = json.RawMessage(`{"event_timestamp":1,"reason_admin":{}}`) },
		"milliseconds": func(t *set.Token) {
			t.Event = json.RawMessage(`{"event_timestamp":1767225599000,"reason_admin":{"en":"x"}}`)
		},
		"entity": func(t *set.Token) {
			t.Event = json.RawMessage(`{"event_timestamp":1,"initiating_entity":"x","reason_admin":{"en":"x"}}`)
		},
		"unknown type": func(t *set.Token) { t.EventType = "https://example.com/x" },
		"subject":      func(t *set.Token) { t.Subject = set.Subject(`{"format":"x"}`) },
		"credential": func(t *set.Token) {
			t.EventType = strings.Replace(sessionRevoked, "session-revoked", "credential-change", 1)
		},
		"state unasked": func(t *set.Token) { t.EventType, t.Event = verificationType, json.RawMessage(`{"state":null}`) },
		"control subject": func(t *set.Token) {
			t.EventType, t.Event, t.Subject = verificationType, json.RawMessage(`{}`), set.Subject(`{"format":"opaque","id":"other"}`)
		},
		"unknown control": func(t *set.Token) { t.EventType = strings.Replace(verificationType, "verification", "x", 1) },
		"status of stream": func(t *set.Token) {
			t.EventType, t.Event = strings.Replace(verificationType, "verification", "stream-updated", 1), json.RawMessage(`{}`)
		},
	} {
		broken := token()
		spoil(&broken)
		compact, err := set.Sign(t.Context(), key, &broken)
		if err != nil {
			t.Fatal(err)
		}
		want := settest.Want{Issuer: broken.Issuer, Audience: broken.Audience, StreamID: "s9"}
		if _, err := settest.Verify(compact, settest.JWKS(t, key), want); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	asked := token()
	asked.EventType, asked.Event = verificationType, json.RawMessage(`{}`)
	compact, err := set.Sign(t.Context(), key, &asked)
	if err != nil {
		t.Fatal(err)
	}
	want := settest.Want{Issuer: asked.Issuer, Audience: asked.Audience, StreamID: "s9"}
	settest.Check(t, compact, settest.JWKS(t, key), want)
	want.State = &state
	if _, err := settest.Verify(compact, settest.JWKS(t, key), want); err == nil {
		t.Error("a verification without the state that was asked for: accepted")
	}
}

const verificationType = "https://schemas.openid.net/secevent/ssf/event-type/verification"

type brokenSigner struct{}

func (brokenSigner) KeyID() string { return "k" }
func (brokenSigner) Sign(context.Context, []byte) ([]byte, error) {
	return nil, errors.New("the service is away")
}

func TestSignSaysThatTheSignerIsAway(t *testing.T) {
	t.Parallel()
	given := token()
	if _, err := set.Sign(t.Context(), brokenSigner{}, &given); err == nil || !strings.Contains(err.Error(), "signing: the service is away") {
		t.Error(err)
	}
}

func TestShortKeysAreRefused(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	private, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.NewKey(private); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Error(err)
	}
	if _, err := set.NewKey(nil); err == nil {
		t.Error("no key: accepted")
	}
}

func BenchmarkSign(b *testing.B) {
	key := settest.Key(b)
	given := token()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := set.Sign(b.Context(), key, &given); err != nil {
			b.Fatal(err)
		}
	}
}
