package auth0

import (
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// judge sets what became of what the record tells.
func (r *record) judge(e *events.Event, kind rule) error {
	if e.Outcome != events.Success {
		e.Reason = r.description
	}
	if kind.detection != "" {
		e.Risk.State, e.Risk.Detections = events.RiskOpen, append(e.Risk.Detections, kind.detection)
	}
	switch e.Kind { //nolint:exhaustive // there are no others here
	case events.SignIn:
		r.prove(e, kind)
		r.explain(e)
	case events.SignOut:
		if r.kind == managementAPI {
			e.Session = events.Session{} // all of them
		} else if e.Session.ID == "" {
			// Without a session this would say that all of them ended.
			return &foreign.Skipped{Reason: "no_session", Category: r.kind}
		}
	case events.AccountChange:
		e.Change.Type, e.Change.Action = kind.change, kind.action
		if kind.change == events.MethodChange {
			e.Change.Target.ID, _ = method(r.details.factor)
		}
		if q := &r.details.request; r.kind == managementAPI && q.actor != r.userID {
			e.Change.Actor, e.Session = events.Ref{ID: bounded(q.actor), Name: q.actorName}, events.Session{}
		}
	}
	return nil
}

// prove sets how identity was proved.
func (r *record) prove(e *events.Event, kind rule) {
	e.Auth.Protocol, e.Auth.MFA = kind.protocol, kind.mfa
	if kind.protocol == "" && !strings.EqualFold(r.strategyType, "database") {
		e.Auth.Protocol = strings.ToLower(r.strategyType)
	}
	add := func(name string) {
		if name != "" && len(e.Auth.Methods) < events.MaxElements && !slices.Contains(e.Auth.Methods, name) {
			e.Auth.Methods = append(e.Auth.Methods, name)
		}
	}
	resistant := false
	used := func(name string) {
		short, strong := method(name)
		resistant = resistant || strong
		add(short)
	}
	add(kind.method)
	if kind.mfa != "" && kind.method == "" {
		used(r.details.factor)
	}
	if kind.interactive == events.Yes && e.Outcome == events.Success {
		for _, p := range r.details.prompts {
			for _, name := range p.amr {
				if strings.EqualFold(name, "mfa") {
					e.Auth.MFA = events.MFAPerformed
					continue
				}
				used(name)
			}
			if len(p.acr) > 0 {
				e.Auth.ACR = p.acr[0]
			}
		}
	}
	switch {
	case e.Outcome != events.Success || kind.interactive != events.Yes:
	case resistant:
		e.Auth.MFA, e.Auth.Strength = events.MFAPerformed, events.PhishingResistant
	case e.Auth.MFA == events.MFAPerformed:
		e.Auth.Strength = events.MultiFactor
	case kind.protocol == "ropc": // there is no place for a second factor
		e.Auth.Strength = events.SingleFactor
	}
}

// method is the short name of an authenticator or of an authentication method reference (RFC 8176), and whether it
// cannot be relayed.
func method(name string) (short string, resistant bool) {
	lower := strings.ToLower(name)
	switch {
	case lower == "":
		return "", false
	case strings.HasPrefix(lower, "webauthn"), lower == "hwk", lower == "fido2", lower == "phrh", lower == "phr":
		return "fido2", true
	case strings.Contains(lower, "passkey"):
		return "passkey", true
	case lower == "pwd":
		return "password", false
	case strings.Contains(lower, "push"):
		return "push", false
	case lower == "voice":
		return "voice", false
	case lower == "tel", lower == "phone":
		return "phone", false
	}
	return strings.ReplaceAll(lower, "-", "_"), false
}

// risk is what Auth0 thinks, the other way round: low confidence is high risk. Assessors that failed have low confidence
// and say nothing; when the low confidence altogether is theirs alone, the level is what the others say.
func (a *assessment) risk() (out events.Risk) {
	worst, failed := events.RiskLevel(""), false
	for _, one := range a.assessors {
		if strings.EqualFold(one.code, "assessment_not_available") {
			failed = true
			continue
		}
		level := inverted[strings.ToLower(one.confidence)]
		if rank(level) > rank(worst) {
			worst = level
		}
		if level == events.RiskHigh {
			out.Detections = append(out.Detections, one.name)
		}
	}
	out.Level = inverted[strings.ToLower(a.confidence)]
	if failed && rank(worst) < rank(out.Level) {
		out.Level = worst
	}
	return out
}

// inverted are levels of risk by confidence.
var inverted = map[string]events.RiskLevel{"low": events.RiskHigh, "medium": events.RiskMedium, "high": events.RiskLow}

func rank(l events.RiskLevel) int { return slices.Index(events.RiskLevels, l) }
