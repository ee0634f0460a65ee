package stepupssf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/countersign-io/countersign/stepup"
)

// Event is an event that was accepted.
type Event struct {
	// Issuer and JTI name the SET; Txn is shared by all SETs of one cause, and may be empty.
	Issuer, JTI, Txn string
	// Type is the event's URI.
	Type string
	// IssuedAt is when the SET was issued, Time when it happened, zero where the event does not say.
	IssuedAt, Time time.Time
	// Subject is whom it is about; zero when that is nobody known here. Identifier is as the transmitter says it.
	Subject    stepup.Subject
	Identifier SubjectIdentifier
	// Members are those of the event, a JSON object.
	Members json.RawMessage
}

// effect is what a SET asks for: claims for the index, or else an event for the application; neither for an event that
// has to be discarded. An error is a *Refusal, or a *notYet when it cannot be told at present.
func (r *Receiver) effect(ctx context.Context, s *set) (*stepup.Claims, *Event, error) {
	if member := r.critical(s); member != "" {
		r.log.Warn("event discarded: its subject has a critical member that is not understood", "jti", s.jti, "type", s.kind, "member", member)
		return nil, nil, nil
	}
	event := &Event{
		Issuer: s.issuer, JTI: s.jti, Txn: s.txn, Type: s.kind, IssuedAt: s.issued, Time: s.occurred, Identifier: *s.subject, Members: s.members,
	}
	who, err := r.who(ctx, s.subject)
	switch {
	case errors.Is(err, ErrUnknownSubject):
		r.stats.unknown.Add(1)
		args := []any{"jti", s.jti, "type", s.kind, "error", err}
		if r.cfg.ThirdParty {
			r.log.Debug("event about nobody known here", args...)
		} else { // countersign speaks of users that this application should know
			r.logged.unknown.warn(r.log, "event without effect, about nobody known here: see Config.SubjectIssuers and Config.Subject", args...)
		}
		return nil, event, nil
	case errors.Is(err, ErrForeignSubject):
		return nil, nil, refuse(AccessDenied, "sub_id: %v", err)
	case err != nil:
		return nil, nil, &notYet{time.Second, err}
	}
	event.Subject = who
	claims, err := r.claims(s, who)
	if err == nil {
		claims.Requirement.ThirdParty = r.cfg.ThirdParty
	}
	if errors.Is(err, stepup.ErrEventType) {
		return nil, event, nil
	}
	if err != nil {
		return nil, nil, refuse(InvalidRequest, "%v", err)
	}
	return claims, nil, nil
}

// claims are what the event requires; the error is [stepup.ErrEventType] when it requires nothing.
func (r *Receiver) claims(s *set, who stepup.Subject) (*stepup.Claims, error) {
	if r.cfg.ThirdParty && s.kind == stepup.EventSessionRevoked {
		return s.demand(&Demand{Action: stepup.ActionRevokeSession}, who)
	}
	if !r.cfg.ThirdParty {
		c, err := stepup.ParseClaimsOf(s.payload, who)
		if !errors.Is(err, stepup.ErrEventType) {
			return &c, err
		}
	}
	var event struct {
		Principal string `json:"principal"`
		Level     string `json:"current_level"`
		Direction string `json:"change_direction"`
	}
	if s.kind != stepup.EventRiskLevelChange && s.kind != stepup.EventAssuranceLevelChange {
		return nil, stepup.ErrEventType
	}
	if err := json.Unmarshal(s.members, &event); err != nil {
		return nil, err
	}
	switch {
	case s.kind == stepup.EventAssuranceLevelChange && r.cfg.LowerAssurance != nil && event.Direction == "decrease":
		return s.demand(r.cfg.LowerAssurance, who)
	case s.kind == stepup.EventRiskLevelChange && r.cfg.HighRisk != nil && strings.EqualFold(event.Level, "HIGH"):
		switch strings.ToUpper(event.Principal) {
		case "USER":
			who.Session = ""
			return s.demand(r.cfg.HighRisk, who)
		case "SESSION":
			return s.demand(r.cfg.HighRisk, who)
		}
	}
	return nil, stepup.ErrEventType
}

// demand makes a requirement of an event that has none of countersign's members. Its id is made of issuer and jti, so that
// the same SET always makes the same requirement.
func (s *set) demand(d *Demand, who stepup.Subject) (*stepup.Claims, error) {
	event := map[string]any{"status": stepup.StatusOpen, "action": d.Action}
	kind := stepup.EventStepUpRequired
	if d.Action == stepup.ActionRevokeSession || d.Action == stepup.ActionRevokeAll {
		kind = stepup.EventSessionRevoked
	}
	if d.Action == stepup.ActionRevokeAll {
		who.Session = ""
	}
	lifetime := d.Lifetime
	if lifetime == 0 {
		lifetime = stepup.DefaultLifetime
	}
	sum := sha256.Sum256([]byte(s.issuer + "\x00" + s.jti))
	event["requirement"] = hex.EncodeToString(sum[:16])
	event["acr_values"], event["max_age"], event["severity"] = d.ACRValues, d.MaxAge, d.Severity
	event["not_before"], event["expires"] = seconds(s.issued), seconds(s.issued.Add(lifetime))
	if d.Reason != "" {
		event["reason_user"] = map[string]string{"en": d.Reason}
	}
	text, err := json.Marshal(map[string]any{
		"iss": s.issuer, "iat": seconds(s.issued), "jti": s.jti, "events": map[string]any{kind: event},
	})
	if err != nil {
		return nil, err
	}
	c, err := stepup.ParseClaimsOf(text, who)
	return &c, err
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
