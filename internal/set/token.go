package set

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxToken is the largest claims set that is written, in bytes.
const MaxToken = 64 << 10

// Type is the `typ` of a token's header (RFC 8417 §2.3), Algorithm its only `alg`.
const (
	Type      = "secevent+jwt"
	Algorithm = "RS256"
)

// Token is a Security Event Token with one event. Times are seconds since the Unix epoch.
type Token struct {
	Issuer string
	// IssuedAt must not be later than the moment of issue: receivers allow no skew. Round down.
	IssuedAt int64
	// JTI is unique within a stream.
	JTI      string
	Audience []string
	Subject  Subject
	// Txn is the underlying cause, shared by all its tokens; "" leaves it out.
	Txn string
	// EventTime is the time of the event (toe); 0 leaves it out.
	EventTime int64
	// EventType is the event's URI, Event its members, an object.
	EventType string
	Event     json.RawMessage
}

// Signer signs with one key, RS256. It has the shape of a key management service: the key itself need not be here.
type Signer interface {
	// KeyID is the `kid` of the key, which the JWKS holds.
	KeyID() string
	// Sign signs the SHA-256 of input by RSASSA-PKCS1-v1_5.
	Sign(ctx context.Context, input []byte) ([]byte, error)
}

// audience is written as a string when it is one, else as an array (RFC 7519 §4.1.3).
type audience []string

func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// Claims writes the token's claims set, without `sub` and `exp`, which SSF forbids. The same token gives the same bytes. A
// token that lacks what every token must have is an error.
func (t *Token) Claims() ([]byte, error) {
	switch {
	case t.Issuer == "":
		return nil, errors.New("iss: is missing")
	case t.JTI == "":
		return nil, errors.New("jti: is missing")
	case t.IssuedAt <= 0:
		return nil, fmt.Errorf("iat: is %d, must be after 0", t.IssuedAt)
	case len(t.Audience) == 0:
		return nil, errors.New("aud: is missing")
	case t.EventType == "":
		return nil, errors.New("events: the event's type is missing")
	case !object(t.Event):
		return nil, errors.New("events: the event must be an object")
	case !object(t.Subject):
		return nil, errors.New("sub_id: must be an object")
	}
	b, err := json.Marshal(struct {
		Issuer   string                     `json:"iss"`
		IssuedAt int64                      `json:"iat"`
		JTI      string                     `json:"jti"`
		Audience audience                   `json:"aud"`
		Txn      string                     `json:"txn,omitempty"`
		Time     int64                      `json:"toe,omitempty"`
		Subject  Subject                    `json:"sub_id"`
		Events   map[string]json.RawMessage `json:"events"`
	}{t.Issuer, t.IssuedAt, t.JTI, t.Audience, t.Txn, t.EventTime, t.Subject, map[string]json.RawMessage{t.EventType: t.Event}})
	if err != nil {
		return nil, fmt.Errorf("writing claims: %w", err)
	}
	if len(b) > MaxToken {
		return nil, fmt.Errorf("claims set has %d bytes, at most %d are allowed", len(b), MaxToken)
	}
	return b, nil
}

func object(b []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) }

// Sign writes the token in compact form (RFC 7515 §7.1), signed. It costs one signature: with an RSA key in memory about a
// millisecond.
func Sign(ctx context.Context, s Signer, t *Token) (string, error) {
	claims, err := t.Claims()
	if err != nil {
		return "", err
	}
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
		Type      string `json:"typ"`
	}{Algorithm, s.KeyID(), Type})
	if err != nil {
		return "", fmt.Errorf("writing header: %w", err)
	}
	url := base64.RawURLEncoding
	const signature = 344 // of a key with 2048 bits, and the dots
	b := make([]byte, 0, url.EncodedLen(len(header))+url.EncodedLen(len(claims))+signature)
	b = url.AppendEncode(b, header)
	b = append(b, '.')
	b = url.AppendEncode(b, claims)
	sum, err := s.Sign(ctx, b)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	b = append(b, '.')
	return string(url.AppendEncode(b, sum)), nil
}
