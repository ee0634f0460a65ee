package set

import (
	"context"
	"encoding/json"
)

// Token is a Security Event Token with one event. Times are seconds since the Unix epoch.
type Token struct {
	Issuer   string
	IssuedAt int64
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
