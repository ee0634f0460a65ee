package anomaly

import (
	"fmt"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// IDP-01 passes on what the identity provider itself thinks: of a sign-in, or of the user.
//
// Its severity is the provider's; medium alone is low, because providers themselves call that noisy. Where it is about the same
// as a finding of ours, by the event, the session, the flow or within ten minutes, it corroborates that and is recorded, or
// raises it by one step when the provider thinks worse of it. What only the provider can see corroborates nothing, and an
// account that it knows to be compromised is critical whatever we saw. What it says of a sign-in that failed is no more than a try in
// the user's accumulated risk, RSK-01, unless it is sure.
//
// State: the user's latest findings (U7).
// Evidence: what the provider said, and the detection that it corresponds to.
// False positives: the provider's. Its late reports come up to two days after the event.
var idp01 = Detection{
	ID: "IDP-01", Version: 1, Title: "Risk reported by the identity provider", Technique: "T1078",
	Severity: severities(events.Low, events.Medium, events.High, events.Critical),
}

// corresponds maps the names of providers' detections, in lower case, to ours; what is not here has nothing of ours beside it.
// Microsoft Entra ID Protection as documented in March 2026 (Auth0 says ImpossibleTravel, too); the others as their logs name
// them.
var corresponds = map[string]string{
	"riskyipaddress": "NET-02", "anonymizedipaddress": "NET-02", "maliciousipaddress": "NET-04", "nationstateip": "NET-04",
	"suspiciousipaddress": "NET-04", "malwareinfectedipaddress": "NET-04", "maliciousipaddressvalidcredentialsblockedip": "NET-04",
	"unlikelytravel": "LOC-02", "mcasimpossibletravel": "LOC-01", "newcountry": "LOC-04",
	"unfamiliarfeatures": "FAM-01", "anomaloustoken": "SES-01", "passwordspray": "CRD-06",
	"suspiciousbrowser": "DEV-03", "investigationsthreatintelligence": "NET-04", "attackerinthemiddle": "AIT-01",
	"userreportedsuspiciousactivity": "MFA-04", "suspicioussignins": "WKL-01",

	"suspicious_login": "FAM-01", "is_suspicious": "FAM-01", "suspicious_login_less_secure_app": "OAU-02",
	"suspicious_programmatic_login": "DEV-02", "user_signed_out_due_to_suspicious_session_cookie": "SES-01",

	// Okta's types of reports, the detections of its Identity Threat Protection, its behaviours and the reasons of its risk
	// engine.
	"user.account.report_suspicious_activity_by_enduser": "MFA-04", "user reported suspicious activity": "MFA-04",
	"security.threat.detected": "NET-04", "threatsuspected": "NET-04", "okta threat intelligence": "NET-04",
	"entity critical action from high threat ip": "NET-04", "suspicious brute force attack": "CRD-01", "credential stuffing": "CRD-05",
	"session influenced user risk": "SES-01", "user.session.context.change": "SES-01", "security.session.detect_client_roaming": "SES-01",
	"velocity": "LOC-01", "new country": "LOC-04", "new state": "LOC-07", "new city": "LOC-07", "new geo-location": "LOC-07",
	"anomalous location": "LOC-07", "new device": "DEV-01", "anomalous device": "DEV-01", "proxy": "NET-02",

	// Auth0's assessors, and reuse of a refresh token by whatever provider.
	"impossibletravel": "LOC-01", "newdevice": "DEV-01", "untrustedip": "NET-04", "refresh_token_reuse": "SES-05",

	// Duo's, and what a person says of an Entra prompt.
	"fraud": "MFA-04", "user_marked_fraud": "MFA-04", "user reported fraud": "MFA-04",
}

// withheld is what Entra calls a detection whose name it withholds from those without a licence: it may be any.
const withheld = "generic"

// atLeast are the severities of names that say more than the level that comes with them.
var atLeast = map[string]events.Severity{
	"leakedcredentials": events.High, "adminconfirmedusercompromised": events.Critical,
	"adminconfirmedserviceprincipalcompromised": events.Critical,
}

// judgeVendor is IDP-01, for a report of a user or of an earlier sign-in, and for what comes with an event.
func (o *observation) judgeVendor() {
	risk := &o.e.Risk
	switch risk.State { //nolint:exhaustive // the others are open
	case events.RiskSafe, events.RiskDismissed, events.RiskRemediated:
		return
	}
	mapped, own := mappedOf(risk.Detections)
	vendor := *risk
	if mapped == mfa04.ID {
		l := ladder{severity: events.Critical}
		o.report(&mfa04, &l, "The user reported a prompt or a sign-in as fraud", events.Evidence{Vendor: &vendor})
		return
	}
	severity := vendorSeverity(risk, o.e.Kind == events.RiskReport)
	if severity == "" {
		return
	}
	l := ladder{severity: severity}
	evidence := events.Evidence{Vendor: &vendor}
	if mapped != "" {
		evidence.Facts = append(evidence.Facts, events.Fact{Name: "corresponds_to", Value: mapped})
	}
	told, r := o.toldBefore(), o.same(mapped)
	switch {
	case told != nil && severity.Rank() <= int(told.Severity):
		evidence.Earlier = []events.Earlier{earlier(told)}
		l.rung(rungCorroborates, effectRecord, "the provider has said so before of this sign-in")
	case r != nil && !own && severity != events.Critical:
		evidence.Earlier = []events.Earlier{earlier(r)}
		if severity.Rank() <= int(r.Severity) {
			l.rung(rungCorroborates, effectRecord, fmt.Sprintf("it is about the same as %s, which is as severe", r.Detection))
		} else {
			l.severity = events.Severities[min(severity.Rank(), int(r.Severity)+1)-1]
			l.rung(rungCorroborates, effectLowered, fmt.Sprintf("it is about the same as %s: one step above at most", r.Detection))
		}
	case severity == events.Medium:
		l.severity = events.Low
		l.rung(rungCorroborates, effectLowered, "nothing of ours speaks for it: low")
	}
	o.report(&idp01, &l, vendorSummary(risk), evidence)
}

// mappedOf is the detection of ours that a provider's names correspond to, "" for none: that of fraud, if it is among them, else
// the first. Own tells that all are names of what only the provider can see.
func mappedOf(names []string) (mapped string, own bool) {
	own = len(names) > 0
	for _, name := range names {
		name = strings.ToLower(name)
		id, known := corresponds[name]
		own = own && !known && name != withheld
		if id == mfa04.ID || mapped == "" {
			mapped = id
		}
		if id == mfa04.ID {
			break
		}
	}
	return mapped, own
}

const rungCorroborates = "corroborates"

// vendorSeverity is the provider's level as a severity, "" when there is nothing to report. A detection without a level is low:
// some providers hide the level from those who have not paid for it.
func vendorSeverity(risk *events.Risk, report bool) events.Severity {
	if risk.State == events.RiskConfirmed {
		return events.Critical
	}
	severity := vendorLevel(risk, report)
	for _, name := range risk.Detections {
		if least := atLeast[strings.ToLower(name)]; least.Rank() > severity.Rank() {
			severity = least
		}
	}
	if severity == "" && risk.Level == "" && len(risk.Detections) > 0 {
		return events.Low
	}
	return severity
}

func vendorLevel(risk *events.Risk, report bool) events.Severity {
	level := risk.Level
	if level == "" && report {
		level = risk.User
	}
	switch level { //nolint:exhaustive // none and unknown are nothing
	case events.RiskHigh:
		return events.High
	case events.RiskMedium:
		return events.Medium
	case events.RiskLow:
		return events.Low
	}
	return ""
}

// same finds the finding that a provider's word is about: one that sees the same thing, if it is known what the word means, in
// this event, of the sign-in that it names, of the session or flow, or near in time.
func (o *observation) same(mapped string) *profile.Raised {
	alike := func(id string) bool { return mapped == "" || group(id) == group(mapped) }
	var worst *profile.Raised
	for i := range o.findings {
		f := &o.findings[i]
		if rank := uint8(f.Severity.Rank()); adverse(*f) && alike(f.Detection) && (worst == nil || rank > worst.Severity) {
			worst = &profile.Raised{Detection: profile.DetectionOf(f.Detection), Severity: rank, Time: f.Time, Event: o.id}
		}
	}
	if worst != nil {
		return worst
	}
	e := o.e
	named, at := o.concerned(), e.Time
	if e.Risk.Happened != 0 {
		at = e.Risk.Happened
	}
	session, flow := profile.SessionKey(e.Session.ID), profile.Hash32(e.Correlation)
	own := profile.DetectionOf(idp01.ID)
	for i := len(o.p.Raised) - 1; i >= 0; i-- {
		r := &o.p.Raised[i]
		if r.Detection == own || r.Observed || !alike(r.Detection.String()) {
			continue
		}
		about := r.Event == named || session != 0 && r.Session == session || flow != 0 && r.Flow == flow ||
			max(r.Time-at, at-r.Time) <= ms(o.c.config.Vendor.Near)
		if about && (worst == nil || r.Severity > worst.Severity) {
			worst = r
		}
	}
	return worst
}

// concerned is the sign-in that a provider's word is about: the one that it names, else the event itself.
func (o *observation) concerned() profile.ID {
	if o.e.Risk.SignIn == "" {
		return o.id
	}
	return profile.IDOf(events.EventID(o.e.Tenant, o.e.Source.Family, o.e.Risk.SignIn))
}

// toldBefore is what the provider has said of the same sign-in before.
func (o *observation) toldBefore() *profile.Raised {
	named, own := o.concerned(), profile.DetectionOf(idp01.ID)
	for i := range o.p.Raised {
		if r := &o.p.Raised[i]; r.Detection == own && r.Event == named {
			return r
		}
	}
	return nil
}

func vendorSummary(risk *events.Risk) string {
	text := "The identity provider reports"
	switch {
	case risk.State == events.RiskConfirmed:
		text += " that the account is compromised"
	case risk.Level != "":
		text += " " + string(risk.Level) + " risk"
	default:
		text += " a user at " + string(risk.User) + " risk"
	}
	if len(risk.Detections) > 0 {
		text += ": " + strings.Join(risk.Detections[:min(len(risk.Detections), 4)], ", ")
	}
	return text
}
