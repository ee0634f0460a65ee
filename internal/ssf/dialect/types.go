package dialect

import (
	"slices"

	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/ssf"
)

const (
	caep = "https://schemas.openid.net/secevent/caep/event-type/"
	okta = "https://schemas.okta.com/secevent/okta/event-type/"
)

// The event types: countersign's own, those of CAEP 1.0 §3, and Okta's.
const (
	StepUpRequired         = revocation.EventStepUpRequired
	SessionRevoked         = revocation.EventSessionRevoked
	AssuranceLevelChange   = caep + "assurance-level-change"
	RiskLevelChange        = caep + "risk-level-change"
	DeviceComplianceChange = caep + "device-compliance-change"
	CredentialChange       = caep + "credential-change"
	UserRiskChange         = okta + "user-risk-change"
)

// The control events (SSF 1.0 §8.1.4.1 and §8.1.5). They are on no list of types, and every stream gets them.
const (
	VerificationType  = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	StreamUpdatedType = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
)

// standard are the types of the dialects, in the order in which a decision looks for one.
var standard = map[ssf.Dialect][]string{
	ssf.DialectSSF1:     {AssuranceLevelChange, RiskLevelChange, DeviceComplianceChange, SessionRevoked, CredentialChange},
	ssf.DialectGoogle:   {SessionRevoked},
	ssf.DialectOkta:     {UserRiskChange, DeviceComplianceChange, SessionRevoked},
	ssf.DialectAppleSSE: {SessionRevoked, CredentialChange},
}

// of is the stream's dialect.
func of(s *ssf.Stream) ssf.Dialect {
	if s.Dialect == "" {
		return ssf.DialectSSF1
	}
	return s.Dialect
}

// Supported are the types that the stream could get: its events_supported. countersign's own is among them for streams of
// ssf1 that are not marked as interop.
func Supported(s ssf.Stream) []string {
	d := of(&s)
	if d == ssf.DialectSSF1 && !s.Interop {
		return slices.Insert(slices.Clone(standard[d]), 0, StepUpRequired)
	}
	return slices.Clone(standard[d])
}

// Delivered are the types that the stream gets: its events_delivered. It is what was requested of the supported ones;
// without a request all but countersign's own, which has to be asked for.
func Delivered(s ssf.Stream) []string {
	return slices.DeleteFunc(Supported(s), func(kind string) bool { return !delivers(&s, kind) })
}

// delivers reports whether the type is among those that the stream gets.
func delivers(s *ssf.Stream, kind string) bool {
	d := of(s)
	if kind == StepUpRequired {
		return d == ssf.DialectSSF1 && !s.Interop && slices.Contains(s.Requested, kind)
	}
	return slices.Contains(standard[d], kind) && (len(s.Requested) == 0 || slices.Contains(s.Requested, kind))
}
