package ssf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Code says why a token was refused, to its transmitter (RFC 8935, section 2.4).
type Code string

// The codes.
const (
	InvalidRequest       Code = "invalid_request"
	InvalidKey           Code = "invalid_key"
	InvalidIssuer        Code = "invalid_issuer"
	InvalidAudience      Code = "invalid_audience"
	AuthenticationFailed Code = "authentication_failed"
	AccessDenied         Code = "access_denied"
)

var codes = []Code{InvalidRequest, InvalidKey, InvalidIssuer, InvalidAudience, AuthenticationFailed, AccessDenied}

// Refusal is the answer to a token that is not taken, as push answers and the setErrs of polls carry it.
type Refusal struct {
	Code        Code   `json:"err,omitempty"`
	Description string `json:"description"`
}

func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Description }

// maxDescription bounds what is quoted back, in bytes.
const maxDescription = 400

func refuse(code Code, format string, args ...any) *Refusal {
	text := strings.ToValidUTF8(fmt.Sprintf(format, args...), "?")
	return &Refusal{code, strings.ToValidUTF8(text[:min(len(text), maxDescription)], "")}
}

// algorithms are those that are taken: signatures with public keys only, so that neither "none" nor a public key taken
// for a shared secret can pass.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// received is a token on its way in.
type received struct {
	// value is what the decoder gets: the verified claims, or the token with the reason why it is not taken.
	value []byte
	// refusal is what the transmitter is to be told; nil when the token counts as received.
	refusal *Refusal
	// claims are those of a token that was taken.
	claims *claims
}

// receive verifies a token. An error means that it cannot be judged yet, and should come again.
func (t *Transmitter) receive(ctx context.Context, set []byte) (received, error) {
	payload, c, err := t.verify(ctx, set)
	if err == nil {
		if reason := t.critical(c); reason != "" {
			return received{value: joinRefused(reason, set)}, nil
		}
		return received{value: payload, claims: c}, nil
	}
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return received{value: joinRefused(refusal.Error(), set), refusal: refusal}, nil
	}
	return received{}, err
}

// verify returns the claims of a token, as they are signed and as they are read. An error is a *[Refusal], or means that
// the token cannot be judged yet.
func (t *Transmitter) verify(ctx context.Context, set []byte) ([]byte, *claims, error) {
	if len(set) > MaxSET {
		return nil, nil, refuse(InvalidRequest, "the token is larger than %d bytes", MaxSET)
	}
	signed, err := jose.ParseSignedCompact(strings.TrimSpace(string(set)), algorithms)
	if err != nil {
		if unexpected, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
			return nil, nil, refuse(InvalidKey, "alg: is %.40q, use one of %v", unexpected.Got, algorithms)
		}
		return nil, nil, refuse(InvalidRequest, "is no signed token in compact form")
	}
	header := signed.Signatures[0].Header
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if !t.subject.rules.typed(typ) {
		return nil, nil, refuse(InvalidRequest, "typ: is %.60q, must be secevent+jwt", typ)
	}
	c, err := readClaims(signed.UnsafePayloadWithoutVerification())
	if err != nil {
		return nil, nil, refuse(InvalidRequest, "the claims set %v", err)
	}
	// Keys are asked for only in the name of the issuer whose keys they are.
	if c.issuer != t.cfg.Issuer {
		return nil, nil, refuse(InvalidIssuer, "iss: is %.200q, must be %q", c.issuer, t.cfg.Issuer)
	}
	payload, err := t.signature(ctx, signed, header.KeyID, jose.SignatureAlgorithm(header.Algorithm))
	if err != nil {
		return nil, nil, err
	}
	return payload, c, t.check(c)
}

// signature returns the payload that one of the transmitter's keys has signed.
func (t *Transmitter) signature(ctx context.Context, signed *jose.JSONWebSignature, kid string, alg jose.SignatureAlgorithm) ([]byte, error) {
	keys, err := t.keys.find(ctx, kid, alg)
	if err != nil {
		return nil, err
	}
	payload, ok := verifyWith(signed, keys)
	if !ok && kid == "" {
		if keys, err = t.keys.renewed(ctx, alg); err != nil {
			return nil, err
		}
		payload, ok = verifyWith(signed, keys)
	}
	if !ok {
		return nil, refuse(AuthenticationFailed, "the signature is not right")
	}
	return payload, nil
}

func verifyWith(signed *jose.JSONWebSignature, keys []jose.JSONWebKey) ([]byte, bool) {
	for i := range keys {
		if payload, err := signed.Verify(keys[i].Key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// typed reports whether typ says that this is a Security Event Token and nothing else that its issuer signs.
func (r rules) typed(typ string) bool {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	return typ == "secevent+jwt" || r.untyped && (typ == "" || typ == "jwt")
}

// check judges claims whose signature is right.
func (t *Transmitter) check(c *claims) error {
	if !slices.ContainsFunc(c.audience, func(aud string) bool { return slices.Contains(t.cfg.Audience, aud) }) {
		return refuse(InvalidAudience, "aud: is %.200q, must be one of %q", c.audience, t.cfg.Audience)
	}
	if err := t.subject.shape(c); err != nil {
		return err
	}
	switch age := t.now().Sub(moment(c.issued)); {
	case age < -t.cfg.ClockSkew:
		return refuse(InvalidRequest, "iat: is %v in the future, at most %v is allowed", (-age).Round(time.Second), t.cfg.ClockSkew)
	case age > t.cfg.MaxAge:
		return refuse(InvalidRequest, "iat: is %v ago, at most %v is allowed", age.Round(time.Second), t.cfg.MaxAge)
	}
	// What is against an event's definition is told to the transmitter; what has no place here is not its concern.
	for i := range c.events {
		if _, err := t.subject.event(c, i); err != nil {
			if refusal, ok := errors.AsType[*Refusal](err); ok {
				return refusal
			}
		}
	}
	return nil
}

// understood are the members of complex subjects whose meaning is known. Narrowing by the others is not.
var understood = []string{"user", "session", "device", "application", "tenant"}

// critical says why a token has to be discarded although it is right: the transmitter declares a member of its subject
// critical that is not understood here (SSF, critical_subject_members).
func (t *Transmitter) critical(c *claims) string {
	critical := t.keys.criticalMembers()
	for i := range c.events {
		s := t.subject.about(c, &c.events[i])
		if s == nil || !s.complex() {
			continue
		}
		for _, member := range s.members {
			if slices.Contains(critical, member) && !slices.Contains(understood, member) {
				return fmt.Sprintf("sub_id.%s: is critical to the transmitter, and not understood", member)
			}
		}
	}
	return ""
}
