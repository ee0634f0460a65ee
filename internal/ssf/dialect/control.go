package dialect

import (
	"fmt"
	"slices"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
)

// Verification is the answer to a request for verification, whose state it repeats, or with nil one that nobody asked for
// (SSF 1.0 §8.1.4.1).
func Verification(s ssf.Stream, jti string, state *string, now time.Time) set.Token {
	return control(&s, jti, VerificationType, struct {
		State *string `json:"state,omitempty"`
	}{state}, now)
}

// StreamUpdated tells the receiver of a status that it did not ask for (SSF 1.0 §8.1.5); reason may be empty.
func StreamUpdated(s ssf.Stream, jti string, status ssf.Status, reason string, now time.Time) set.Token {
	return control(&s, jti, StreamUpdatedType, struct {
		Status ssf.Status `json:"status"`
		Reason string     `json:"reason,omitempty"`
	}{status, events.Cut(reason, maxReason)}, now)
}

// control is an event about the stream itself.
func control(s *ssf.Stream, jti, kind string, event any, now time.Time) set.Token {
	return set.Token{
		Issuer: s.Issuer, IssuedAt: now.Unix(), JTI: jti, Audience: s.Audience, Subject: encode(opaque(s.ID)),
		EventType: kind, Event: encode(event),
	}
}

// The subject of an Example: nobody has this name (RFC 2606 §3).
const (
	exampleUser   = "countersign-synthetic"
	exampleName   = "countersign-synthetic@example.com"
	exampleReason = "Synthetic event: an operator asked for it to test the stream. Nothing has happened."
)

// Example is an event of a type that the stream gets, about nobody, and said to be synthetic in its reason_admin.
func Example(s ssf.Stream, kind, jti string, now time.Time) (set.Token, error) {
	if !delivers(&s, kind) {
		return set.Token{}, fmt.Errorf("the stream does not get %.120q, it gets %v", kind, Delivered(s))
	}
	const life = 60 // seconds until applications forget it
	c := revocation.Claims{
		IssuedAt: now.Unix(), JTI: jti, Tenant: s.Tenant, User: exampleUser, Status: revocation.Open,
		Requirement: revocation.Requirement{
			ID: jti, Action: events.StepUp, ACRValues: []string{"phr", "mfa"}, NotBefore: now.Unix(), Expires: now.Unix() + life,
			Severity: events.Info, Policy: exampleUser, EventTime: now.Unix(), UserName: exampleName,
		},
	}
	if slices.Contains([]string{SessionRevoked, CredentialChange}, kind) {
		c.Action = events.RevokeAll
	}
	if kind == CredentialChange {
		c.CredentialChange, c.Status, c.ClosedAt = true, revocation.Satisfied, now.Unix()
	}
	if kind == DeviceComplianceChange {
		c.NoncompliantDevice, c.Device = true, exampleUser
	}
	return write(&s, &c, kind, exampleReason, now)
}
