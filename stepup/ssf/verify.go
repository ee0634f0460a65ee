package stepupssf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
)

// Code says why a SET was refused (RFC 8935 §2.4, SSF 1.0 §8.1.4).
type Code string

// The codes.
const (
	InvalidRequest       Code = "invalid_request"
	InvalidKey           Code = "invalid_key"
	InvalidIssuer        Code = "invalid_issuer"
	InvalidAudience      Code = "invalid_audience"
	AuthenticationFailed Code = "authentication_failed"
	AccessDenied         Code = "access_denied"
	InvalidState         Code = "invalid_state"
)

// Refusal is what the transmitter is told of a SET that is not accepted.
type Refusal struct {
	Code        Code   `json:"err,omitempty"`
	Description string `json:"description"`
}

// Error is the code and the description.
func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Description }

const (
	// MaxSET is the largest SET that is taken, in bytes.
	MaxSET = 88 << 10

	maxDescription = 400
	maxName        = 256 // bytes of a jti, a txn
	msThreshold    = 1e11
	lastSecond     = 253402300799 // of the year 9999
	// absurdlyAhead is more than clocks differ by: such a SET is refused, one that is less ahead has to come again.
	absurdlyAhead = 24 * time.Hour
)

func refuse(code Code, format string, args ...any) *Refusal {
	text := fmt.Sprintf(format, args...)
	return &Refusal{code, strings.ToValidUTF8(text[:min(len(text), maxDescription)], "")}
}

// set is the claims set of a SET (RFC 8417 §2.2, SSF 1.0 §4).
type set struct {
	issuer, jti, txn string
	audience         Audience
	issued           time.Time
	occurred         time.Time // event_timestamp, else toe; zero when neither is given
	subject          *SubjectIdentifier
	kind             string // the event's type
	members          json.RawMessage
	payload          []byte
}

// readSET reads a claims set. An error says what is against the specifications.
func readSET(payload []byte) (*set, error) {
	if !utf8.Valid(payload) {
		return nil, errors.New("the claims set is not valid UTF-8")
	}
	var wire struct {
		Issuer   string                     `json:"iss"`
		Audience Audience                   `json:"aud"`
		Issued   *float64                   `json:"iat"`
		JTI      string                     `json:"jti"`
		Txn      string                     `json:"txn"`
		Occurred *float64                   `json:"toe"`
		Sub      json.RawMessage            `json:"sub"`
		Exp      json.RawMessage            `json:"exp"`
		Subject  json.RawMessage            `json:"sub_id"`
		Events   map[string]json.RawMessage `json:"events"`
	}
	if err := json.Unmarshal(payload, &wire); err != nil {
		return nil, fmt.Errorf("reading the claims set: %w", err)
	}
	switch {
	case wire.Issuer == "":
		return nil, errors.New("iss: is missing")
	case wire.JTI == "" || len(wire.JTI) > maxName:
		return nil, fmt.Errorf("jti: must have 1 to %d bytes", maxName)
	case len(wire.Txn) > maxName:
		return nil, fmt.Errorf("txn: must have at most %d bytes", maxName)
	case wire.Issued == nil:
		return nil, errors.New("iat: is missing")
	case wire.Sub != nil:
		return nil, errors.New("sub: must not be in a SET")
	case wire.Exp != nil:
		return nil, errors.New("exp: must not be in a SET")
	case len(wire.Events) != 1:
		return nil, fmt.Errorf("events: has %d members, must have exactly one", len(wire.Events))
	}
	s := &set{issuer: wire.Issuer, jti: wire.JTI, txn: wire.Txn, audience: wire.Audience, issued: moment(wire.Issued), payload: payload}
	if s.issued.IsZero() {
		return nil, errors.New("iat: is no date")
	}
	for s.kind, s.members = range wire.Events { // exactly one, as checked
	}
	if s.kind == "" || len(s.members) == 0 || s.members[0] != '{' {
		return nil, errors.New("events: the event must be an object with a type")
	}
	var event struct {
		Subject  json.RawMessage `json:"subject"`
		Occurred any             `json:"event_timestamp"`
	}
	if err := json.Unmarshal(s.members, &event); err != nil {
		return nil, fmt.Errorf("reading the event: %w", err)
	}
	if s.occurred = moment(wire.Occurred); event.Occurred != nil {
		if at, ok := event.Occurred.(float64); ok {
			s.occurred = moment(&at)
		}
	}
	raw := wire.Subject
	if raw == nil || string(raw) == "null" {
		raw = event.Subject // where some transmitters put it
	}
	if raw != nil && string(raw) != "null" {
		s.subject = &SubjectIdentifier{}
		if err := json.Unmarshal(raw, s.subject); err != nil {
			return nil, fmt.Errorf("reading sub_id: %w", err)
		}
	} else if !s.control() {
		return nil, errors.New("sub_id: is missing")
	}
	return s, nil
}

// control tells whether the event is about the stream itself.
func (s *set) control() bool { return s.kind == eventVerification || s.kind == eventStreamUpdated }

// moment is a date in seconds or, above 10^11, in milliseconds since 1970; zero for what is none.
func moment(n *float64) time.Time {
	if n == nil {
		return time.Time{}
	}
	at := *n
	if at > msThreshold {
		at /= 1000
	}
	if !(at > 0 && at <= lastSecond) {
		return time.Time{}
	}
	return time.UnixMilli(int64(math.Round(at * 1000))).UTC()
}

// verify returns the claims set of a SET that is genuine, meant for this receiver and in time. An error is a *Refusal, or
// a *notYet when it cannot be told at present.
func (r *Receiver) verify(ctx context.Context, compact string) (*set, error) {
	s, err := r.genuine(ctx, compact)
	if err != nil {
		return nil, &unproved{err}
	}
	audience := r.audience(ctx)
	if len(audience) == 0 {
		return nil, &notYet{time.Second, errors.New("the stream's audience is not known yet")}
	}
	if !slices.ContainsFunc(s.audience, func(a string) bool { return slices.Contains(audience, a) }) {
		return nil, refuse(InvalidAudience, "aud: is %.200q, must be one of %q", []string(s.audience), audience)
	}
	switch age := time.Since(s.issued); {
	case age < -absurdlyAhead:
		return nil, refuse(InvalidRequest, "iat: is %v in the future", (-age).Round(time.Second))
	case age < -r.cfg.MaxSkew:
		// Clocks differ, and are put right. A refusal would be the last word on what may be a revocation.
		return nil, &notYet{min(-age-r.cfg.MaxSkew, maxRetry), fmt.Errorf("iat is %v in the future, at most %v is allowed: is the clock right, here and there?", (-age).Round(time.Second), r.cfg.MaxSkew)}
	case age > r.cfg.MaxAge:
		return nil, refuse(InvalidRequest, "iat: is %v ago, at most %v is allowed", age.Round(time.Second), r.cfg.MaxAge)
	}
	return s, nil
}

// unproved is the error of a SET that is not known to be the transmitter's.
type unproved struct{ error }

func (e *unproved) Unwrap() error { return e.error }

// genuine returns the claims set of a SET that the transmitter has signed.
func (r *Receiver) genuine(ctx context.Context, compact string) (*set, error) {
	if len(compact) > MaxSET {
		return nil, refuse(InvalidRequest, "the SET is larger than %d bytes", MaxSET)
	}
	signed, err := jose.ParseSignedCompact(strings.TrimSpace(compact), r.algorithms)
	if err != nil {
		if odd, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
			return nil, refuse(InvalidKey, "alg: is %.40q, must be one of %v", string(odd.Got), r.algorithms)
		}
		return nil, refuse(InvalidRequest, "it is no signed token in compact form")
	}
	header := signed.Signatures[0].Header
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if strings.TrimPrefix(strings.ToLower(typ), "application/") != "secevent+jwt" {
		return nil, refuse(InvalidRequest, "typ: is %.60q, must be secevent+jwt", typ)
	}
	s, err := readSET(signed.UnsafePayloadWithoutVerification())
	if err != nil {
		return nil, refuse(InvalidRequest, "%v", err)
	}
	// Before any key is asked for: other issuers' keys are of no interest.
	if s.issuer != r.cfg.Issuer {
		return nil, refuse(InvalidIssuer, "iss: is %.200q, must be %q", s.issuer, r.cfg.Issuer)
	}
	if err := r.signature(ctx, signed, header.KeyID, jose.SignatureAlgorithm(header.Algorithm)); err != nil {
		return nil, err
	}
	return s, nil
}

// signature checks that one of the transmitter's keys has signed.
func (r *Receiver) signature(ctx context.Context, signed *jose.JSONWebSignature, kid string, alg jose.SignatureAlgorithm) error {
	came := time.Now()
	keys, err := r.client.party.key(ctx, kid, alg)
	if err != nil {
		return err
	}
	if !signedBy(signed, keys) && kid == "" {
		// Without an id a new key looks like a wrong signature.
		if keys, err = r.client.party.newKey(ctx, came, kid, alg); err != nil {
			return err
		}
	}
	if !signedBy(signed, keys) {
		return refuse(AuthenticationFailed, "the signature is not right")
	}
	return nil
}

func signedBy(signed *jose.JSONWebSignature, keys []jose.JSONWebKey) bool {
	return slices.ContainsFunc(keys, func(key jose.JSONWebKey) bool {
		_, err := signed.Verify(key.Key)
		return err == nil
	})
}
