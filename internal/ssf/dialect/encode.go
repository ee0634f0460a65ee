package dialect

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
)

// Encode writes the decision for the stream; ok is false when the stream gets nothing of it. Its jti is the decision's, its
// txn the requirement. An error means that the subject cannot be named in the way that the stream wants: that does not get
// better, the decision is a dead letter.
//
// Whether the stream is of the decision's tenant, and wants the subject, is for the caller to know; see [Identifiers].
func Encode(s ssf.Stream, c *revocation.Claims, now time.Time) (t set.Token, ok bool, err error) {
	kind := choose(&s, c)
	if kind == "" {
		return set.Token{}, false, nil
	}
	if t, err = write(&s, c, kind, reason(c), now); err != nil {
		return set.Token{}, false, err
	}
	return t, true, nil
}

// choose is the type of the only event that the stream gets of the decision, "" for none.
func choose(s *ssf.Stream, c *revocation.Claims) string {
	stepUp, open := c.Action == events.StepUp, c.Status == revocation.Open
	for _, one := range []struct {
		kind string
		fits bool
	}{
		{StepUpRequired, stepUp},
		{AssuranceLevelChange, stepUp},
		{RiskLevelChange, stepUp},
		{UserRiskChange, stepUp},
		{DeviceComplianceChange, stepUp && open && c.NoncompliantDevice},
		{SessionRevoked, open && (!stepUp || s.RevokeForStepUp)},
		{SessionRevoked, !open && !stepUp && delivers(s, StepUpRequired)},
		{CredentialChange, c.Status == revocation.Satisfied && c.CredentialChange},
	} {
		if one.fits && delivers(s, one.kind) {
			return one.kind
		}
	}
	return ""
}

// event is the members of every type.
type event struct {
	Subject     json.RawMessage   `json:"subject,omitempty"`
	Timestamp   int64             `json:"event_timestamp"`
	Initiator   string            `json:"initiating_entity"`
	ReasonAdmin map[string]string `json:"reason_admin"`
	ReasonUser  map[string]string `json:"reason_user,omitempty"`
	// assurance-level-change, risk-level-change and user-risk-change
	Namespace     string `json:"namespace,omitempty"`
	Principal     string `json:"principal,omitempty"`
	CurrentLevel  string `json:"current_level,omitempty"`
	PreviousLevel string `json:"previous_level,omitempty"`
	Direction     string `json:"change_direction,omitempty"`
	RiskReason    string `json:"risk_reason,omitempty"`
	// device-compliance-change
	PreviousStatus string `json:"previous_status,omitempty"`
	CurrentStatus  string `json:"current_status,omitempty"`
	// credential-change
	CredentialType string `json:"credential_type,omitempty"`
	ChangeType     string `json:"change_type,omitempty"`
	*extension
}

// extension is what countersign adds to the types of a step-up and a revocation, as its own type has it.
type extension struct {
	Status      revocation.Status `json:"status"`
	Requirement string            `json:"requirement"`
	Action      events.Action     `json:"action"`
	ACRValues   []string          `json:"acr_values,omitempty"`
	Contexts    []string          `json:"acrs,omitempty"`
	MaxAge      int               `json:"max_age"`
	NotBefore   int64             `json:"not_before"`
	Expires     int64             `json:"expires"`
	Credential  bool              `json:"credential_change,omitempty"`
	Severity    events.Severity   `json:"severity,omitempty"`
	Scope       string            `json:"scope"`
	Policy      policy            `json:"policy"`
	ClosedAt    int64             `json:"closed_at,omitempty"`
}

type policy struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// The words of CAEP 1.0.
const (
	english      = "en"
	byPolicy     = "policy"
	nistAAL      = "NIST-AAL"
	aal1         = "nist-aal1"
	aal2         = "nist-aal2"
	aal3         = "nist-aal3"
	increase     = "increase"
	decrease     = "decrease"
	riskHigh     = "HIGH"
	riskLow      = "LOW"
	ofSession    = "SESSION"
	ofUser       = "USER"
	compliant    = "compliant"
	notCompliant = "not-compliant"
	password     = "password"
	update       = "update"
)

// write makes a token with an event of the given type.
func write(s *ssf.Stream, c *revocation.Claims, kind, why string, now time.Time) (set.Token, error) {
	about, err := subjectOf(s, c, kind)
	if err != nil {
		return set.Token{}, fmt.Errorf("sub_id: %w", err)
	}
	e := event{
		Subject: about.inside, Timestamp: c.EventTime, Initiator: byPolicy,
		ReasonAdmin: map[string]string{english: why},
	}
	open := c.Status == revocation.Open
	if open {
		e.ReasonUser = spoken(c.ReasonUser)
	} else {
		e.Timestamp = c.ClosedAt
	}
	switch kind {
	case AssuranceLevelChange:
		e.Namespace, e.CurrentLevel, e.Direction = nistAAL, aal1, decrease
		if !open {
			e.CurrentLevel, e.PreviousLevel, e.Direction = demanded(c.ACRValues), aal1, increase
		}
	case RiskLevelChange, UserRiskChange:
		e.CurrentLevel = riskHigh
		if !open {
			e.CurrentLevel, e.PreviousLevel = riskLow, riskHigh
		}
		if kind == UserRiskChange {
			e.CurrentLevel, e.PreviousLevel = strings.ToLower(e.CurrentLevel), strings.ToLower(e.PreviousLevel)
			break
		}
		e.Principal, e.RiskReason = ofUser, why
		if about.session {
			e.Principal = ofSession
		}
	case DeviceComplianceChange:
		// The type knows changes only. That the device was compliant before is what the standard makes one say.
		e.PreviousStatus, e.CurrentStatus = compliant, notCompliant
	case CredentialChange:
		e.CredentialType, e.ChangeType = password, update
	}
	t := set.Token{
		Issuer: s.Issuer, IssuedAt: min(c.IssuedAt, now.Unix()), JTI: c.JTI, Audience: s.Audience, Subject: about.subject, Txn: c.ID,
		EventType: kind,
	}
	if of(s) == ssf.DialectSSF1 {
		t.EventTime = e.Timestamp
		if kind != DeviceComplianceChange && kind != CredentialChange {
			e.extension = extend(c, kind, about.session)
		}
	}
	t.Event = encode(e)
	return t, nil
}

// extend is what countersign adds. session tells whether the subject names one.
func extend(c *revocation.Claims, kind string, session bool) *extension {
	x := &extension{
		Status: c.Status, Requirement: c.ID, Action: c.Action, ACRValues: c.ACRValues, MaxAge: c.MaxAge, NotBefore: c.NotBefore,
		Expires: c.Expires, Credential: c.CredentialChange, Severity: c.Severity, Scope: "user",
		Policy: policy{c.Policy, c.PolicyVersion}, ClosedAt: c.ClosedAt,
	}
	if session {
		x.Scope = "session"
	}
	if kind == SessionRevoked && c.Action == events.StepUp {
		x.Action = events.RevokeSession // what the event asks for, to those who know nothing finer
	}
	for _, v := range c.ACRValues {
		if entraContext(v) {
			x.Contexts = append(x.Contexts, v)
		}
	}
	return x
}

// entraContext tells an authentication context of Microsoft Entra ID, c1 to c99.
func entraContext(v string) bool {
	number, found := strings.CutPrefix(v, "c")
	n, err := strconv.Atoi(number)
	return found && err == nil && n >= 1 && n <= 99 && strconv.Itoa(n) == number
}

// demanded is the least assurance that satisfies a requirement.
func demanded(acrValues []string) string {
	if slices.Contains(acrValues, "phr") && !slices.Contains(acrValues, "mfa") {
		return aal3
	}
	return aal2
}

// maxReason bounds a reason, in bytes.
const maxReason = 1000

// reason says which policy decided on which detections.
func reason(c *revocation.Claims) string {
	text := strings.TrimSpace("policy " + c.Policy + " " + c.PolicyVersion)
	var detections []string
	for i := range c.Findings {
		if d := c.Findings[i].Detection; d != "" && !slices.Contains(detections, d) {
			detections = append(detections, d)
		}
	}
	if len(detections) > 0 {
		text += ": " + strings.Join(detections, ", ")
	}
	if c.Status != revocation.Open {
		text = string(c.Status) + ": " + text
	}
	return events.Cut(text, maxReason)
}

// spoken are the texts that say something, by language; nil when none does.
func spoken(texts map[string]string) map[string]string {
	var out map[string]string
	for language, text := range texts {
		if language == "" || text == "" {
			continue
		}
		if out == nil {
			out = make(map[string]string, len(texts))
		}
		out[language] = events.Cut(text, maxReason)
	}
	return out
}

// encode writes v as JSON.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("dialect: encoding: %v", err)) // text, numbers, lists and JSON written here
	}
	return b
}
