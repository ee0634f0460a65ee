package stepupssf_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-io/countersign/stepup"
)

// signer is a key of a transmitter.
type signer struct {
	kid string
	alg jose.SignatureAlgorithm
	key crypto.Signer
}

func newRSA(bits int) crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

// Keys are costly to make, so the tests share them.
var (
	key1  = sync.OnceValue(func() signer { return signer{"k1", jose.RS256, newRSA(2048)} })
	key2  = sync.OnceValue(func() signer { return signer{"k2", jose.RS256, newRSA(2048)} })
	short = sync.OnceValue(func() signer { return signer{"short", jose.RS256, newRSA(1024)} })
	curve = sync.OnceValue(func() signer {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return signer{"ec", jose.ES256, key}
	})
)

// sign makes a SET; header members replace those of a right one, and nil removes one.
func (s signer) sign(claims any, header object) string {
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
		panic(err)
	}
	signed, err := made.Sign([]byte(text(claims)))
	if err != nil {
		panic(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return compact
}

func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// claims are those of a right SET; change edits them.
func (p *transmitter) claims(jti, kind string, members object, change func(object)) object {
	c := object{
		"iss": p.issuer(), "iat": time.Now().Unix(), "jti": jti, "aud": audience, "txn": "inc-7f3a",
		"sub_id": subject("u1", "s1"), "events": object{kind: members},
	}
	if change != nil {
		change(c)
	}
	return c
}

func opaque(id string) object { return object{"format": "opaque", "id": id} }

// subject is a complex one, as countersign writes it; the session may be empty.
func subject(user, session string) object {
	s := object{"format": "complex", "tenant": opaque("acme"), "user": opaque(user)}
	if session != "" {
		s["session"] = opaque(session)
	}
	return s
}

// required are the members of countersign's own event.
func required(id, status string) object {
	now := time.Now().Unix()
	return object{
		"status": status, "requirement": id, "action": "step_up", "acr_values": []string{"phr", "mfa"}, "max_age": 0, "scope": "user",
		"not_before": now, "expires": now + 3600, "event_timestamp": time.Now().UnixMilli(),
	}
}

// stepUp is a right SET of countersign's own type about a user.
func (p *transmitter) stepUp(jti, user, status string) string {
	return key1().sign(p.claims(jti, stepup.EventStepUpRequired, required("r-"+user, status), func(c object) {
		c["sub_id"] = subject(user, "")
	}), nil)
}

// everyType are the events that the conformance suite may send, with times in milliseconds: SSF's, CAEP's and RISC's.
func everyType() map[string]object {
	at := time.Now().UnixMilli()
	all := map[string]object{
		caep + "session-revoked":          {"reason_admin": object{"en": "policy"}},
		caep + "token-claims-change":      {"claims": object{"role": "ro-admin"}},
		caep + "credential-change":        {"credential_type": "app", "change_type": "create", "reason_admin": object{"en": "user"}},
		caep + "assurance-level-change":   {"namespace": "NIST-AAL", "current_level": "nist-aal2"},
		caep + "device-compliance-change": {"previous_status": "compliant", "current_status": "not-compliant"},
		caep + "session-established":      {"amr": []string{"pwd"}},
		caep + "session-presented":        {"ext_id": "e1"},
		caep + "risk-level-change":        {"principal": "USER", "current_level": "HIGH"},
		risc + "account-disabled":         {"reason": "hijacking"},
		risc + "identifier-changed":       {"new-value": "new@example.com"},
		risc + "credential-compromise":    {"credential_type": "password"},
	}
	for _, name := range []string{
		"account-credential-change-required", "account-purged", "account-enabled", "identifier-recycled", "opt-in", "opt-out-initiated",
		"opt-out-cancelled", "opt-out-effective", "recovery-activated", "recovery-information-changed", "sessions-revoked",
	} {
		all[risc+name] = object{}
	}
	for _, members := range all {
		members["event_timestamp"] = at
	}
	return all
}
