package okta

import (
	"cmp"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// judge sets what became of what the record tells.
func (r *record) judge(e *events.Event, kind rule) error {
	e.Outcome = outcomes[strings.ToUpper(r.result)]
	if e.Code = r.result; code(r.reason) {
		e.Code = r.reason
	}
	switch e.Kind { //nolint:exhaustive // there are no reports of applications here
	case events.SignIn:
		return r.judgeSignIn(e, kind.flow)
	case events.SignOut:
		return r.judgeSignOut(e)
	case events.RiskReport:
		r.judgeReport(e)
	case events.AccountChange:
		r.judgeChange(e, kind)
	}
	r.explain(e)
	return nil
}

// outcomes are the results; a record that was skipped, or says that nothing is known, tells nothing.
var outcomes = map[string]events.Outcome{
	"SUCCESS": events.Success, "ALLOW": events.Success, "FAILURE": events.Failure, "DENY": events.Blocked, "CHALLENGE": events.Challenge,
}

// code tells a reason that is a code, such as INVALID_CREDENTIALS, from one that is prose.
func code(reason string) bool {
	return reason != "" && !strings.ContainsFunc(reason, func(c rune) bool { return c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9') })
}

// explain gives the reason of what did not succeed.
func (r *record) explain(e *events.Event) {
	if e.Outcome != events.Success {
		e.Reason = r.reason
	}
}

func (r *record) judgeSignIn(e *events.Event, f flow) error {
	used := r.methods()
	e.Auth.Methods, e.Auth.Protocol = used.names, r.protocol()
	e.Interactive = events.Yes
	switch f {
	case whole, step:
		if e.Outcome == events.Failure && refusal(r.reason) {
			e.Outcome = events.Blocked
		}
		switch {
		case e.Outcome == events.Success && f == step:
			e.Outcome = events.Interrupt
		case e.Outcome == events.Success:
			used.prove(e)
		}
	case factor:
		r.judgeFactor(e, used)
	case reuse:
		e.Interactive = events.No
		r.redeemed(e)
		if r.eventType == adminConsole && e.Outcome == events.Success {
			e.User.Privileged = events.Yes // nobody else gets in
		}
	case asked:
		if e.Outcome != events.Success {
			return &foreign.Skipped{Reason: "not_sent", Category: r.eventType}
		}
		e.Outcome, e.Interactive = events.Challenge, events.Unknown
		if name, _, ok := known(r.eventType); ok && len(e.Auth.Methods) == 0 {
			e.Auth.Methods = []string{name}
		}
	case rejected:
		e.Outcome, e.Auth.MFA = events.Failure, events.MFADenied
		e.Auth.Methods = []string{"push"}
	case evaluated:
		return r.judgePolicy(e)
	case barred:
		e.Outcome, e.Interactive = events.Blocked, events.Unknown
		r.policies(e)
	case replayed:
		e.Outcome, e.Interactive = events.Failure, events.No
		e.Session.TokenType = "refresh_token"
		e.Risk.State, e.Risk.Detections = events.RiskOpen, append(e.Risk.Detections, "refresh_token_reuse")
	}
	e.Cause = r.cause(e, f, used)
	r.explain(e)
	return nil
}

// adminConsole is the type of an entry into the administrators' console.
const adminConsole = "user.session.access_admin_app"

// refusal tells a failure that is not the person's: a lock, or a rule that keeps an address or user out.
func refusal(reason string) bool {
	reason = strings.ToUpper(reason)
	return slices.ContainsFunc([]string{"LOCKED", "BLACKLIST", "BLOCKLIST", "DENY", "DENIED"}, func(mark string) bool {
		return strings.Contains(reason, mark)
	})
}

// judgeFactor reads a factor. The password is one to Okta, too.
func (r *record) judgeFactor(e *events.Event, used usage) {
	second := used.strongest >= possession
	switch {
	case e.Outcome == events.Success && !second:
		e.Outcome = events.Interrupt
	case e.Outcome == events.Success:
		used.prove(e)
	case e.Outcome == events.Failure && second:
		e.Auth.MFA = events.MFAFailed
		if said := strings.ToUpper(r.debug.push + " " + r.debug.challenge + " " + r.reason); strings.Contains(said, "DENY") ||
			strings.Contains(said, "DENIED") || strings.Contains(said, "REJECT") || strings.Contains(said, "CHALLENGE_RESPONSE_ERROR") {
			e.Auth.MFA = events.MFADenied
		}
	}
}

// judgePolicy reads the verdict of a sign-on policy, which is no sign-in.
func (r *record) judgePolicy(e *events.Event) error {
	e.Interactive = events.Unknown
	r.policies(e)
	switch e.Outcome { //nolint:exhaustive // there are no others of policies
	case events.Blocked, events.Challenge:
		e.Cause = r.cause(e, evaluated, usage{})
		r.explain(e)
		return nil
	case events.Success:
		if e.Risk.Level == events.RiskMedium || e.Risk.Level == events.RiskHigh {
			e.Kind, e.Auth = events.RiskReport, events.Auth{}
			e.Risk.State, e.Risk.Happened = events.RiskOpen, e.Time
			return nil
		}
	}
	return &foreign.Skipped{Reason: "context", Category: r.eventType}
}

// policies sets what the provider's policies said.
func (r *record) policies(e *events.Event) {
	switch e.Outcome { //nolint:exhaustive // the others are no verdicts
	case events.Blocked:
		e.Access.Result = events.AccessDenied
	case events.Success:
		e.Access.Result = events.AccessGranted
	}
	for i := range r.targets {
		if t := &r.targets[i]; strings.HasPrefix(t.kind, "Policy") || t.kind == "Rule" {
			e.Access.Policies = append(e.Access.Policies, events.AccessPolicy{ID: bounded(t.id), Name: t.name, Result: strings.ToLower(r.result)})
		}
	}
}

// protocol is how the token or assertion was asked for.
func (r *record) protocol() string {
	if strings.HasSuffix(r.debug.grant, "device_code") {
		return "devicecode"
	}
	if r.debug.grant != "" {
		return strings.ToLower(r.debug.grant)
	}
	if via, ok := strings.CutPrefix(r.eventType, "user.authentication.auth_via_"); ok && via != "mfa" {
		return strings.ToLower(via)
	}
	return strings.ToLower(r.debug.protocol)
}

// redeemed names the token of a token event: an access token is what the session goes on with.
func (r *record) redeemed(e *events.Event) {
	if t := r.target("access_token"); t != nil && t.id != "" {
		e.Session.Token = bounded(t.id)
	}
	if strings.EqualFold(r.debug.grant, "refresh_token") {
		e.Session.TokenType = "refresh_token"
	}
}

// judgeSignOut reads the end of a session. What an administrator clears is every session of the user, and the record's
// own session is the administrator's.
func (r *record) judgeSignOut(e *events.Event) error {
	switch {
	case e.Outcome == events.Failure || e.Outcome == events.Blocked:
		return &foreign.Skipped{Reason: "failed", Category: r.eventType}
	case r.endsAll():
		e.Session = events.Session{}
	case e.Session.ID == "":
		// Without a session this would say that all of them ended.
		return &foreign.Skipped{Reason: "no_session", Category: r.eventType}
	}
	return nil
}

// endsAll tells the end of every session.
func (r *record) endsAll() bool {
	return r.eventType == "user.session.clear" || r.eventType == "user.authentication.universal_logout"
}

// reportedByUser is the type by which a user says that a sign-in was somebody else's.
const reportedByUser = "user.account.report_suspicious_activity_by_enduser"

// judgeReport reads a report of risk. user.risk.change tells of the user altogether, the others of what was seen.
func (r *record) judgeReport(e *events.Event) {
	e.Risk.Happened = e.Time
	if name := valueOf(r.debug.risk, "detectionName"); name != "" {
		e.Risk.Detections, e.Risk.Detail = []string{name}, valueOf(r.debug.risk, "reasons")
	}
	if len(e.Risk.Detections) == 0 || r.eventType == reportedByUser {
		e.Risk.Detections = []string{r.eventType} // what else was noticed of that sign-in does not matter any more
	}
	if r.eventType == "user.risk.change" {
		e.Risk.User, e.Risk.Level = e.Risk.Level, ""
	}
	worst := e.Risk.Level
	if worst == "" {
		worst = e.Risk.User
	}
	if worst != events.RiskLow && worst != events.RiskNone {
		e.Risk.State = events.RiskOpen
	}
}

func (r *record) judgeChange(e *events.Event, kind rule) {
	e.Change.Type, e.Change.Action = kind.change, kind.action
	if e.Change.Actor != (events.Ref{}) {
		e.Session = events.Session{} // that of whoever did it
	}
	switch kind.change { //nolint:exhaustive // nothing else has a target
	case events.MethodChange:
		if used := r.methods(); len(used.names) > 0 {
			e.Change.Target.ID = used.names[0]
		} else if name, _, ok := known(r.reason); ok { // "User set up SMS_FACTOR factor"
			e.Change.Target.ID = name
		}
	case events.DeviceChange:
		e.Change.Target = r.targetRef("Device")
	case events.ConsentChange:
		e.Change.Target, e.Change.Grants = r.app(), scopes(r.debug.scopes)
	case events.RoleChange:
		e.Change.Target = r.targetRef("UserGroup")
		if e.Change.Target == (events.Ref{}) {
			e.Change.Target = r.targetRef("ROLE")
		}
		if e.Change.Target == (events.Ref{}) {
			e.Change.Target.Name = r.debug.privilege
		}
	}
	if strings.HasPrefix(r.eventType, "user.session.impersonation.") {
		e.Change.Target = events.Ref{Name: "impersonation"}
	}
}

func (r *record) targetRef(kind string) events.Ref {
	if t := r.target(kind); t != nil {
		return events.Ref{ID: bounded(t.id), Name: cmp.Or(t.name, t.alternate)}
	}
	return events.Ref{}
}

// scopes splits a list of scopes, which Okta writes with commas or blanks.
func scopes(list string) []string {
	if list == "" {
		return nil
	}
	found := strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' || c == '[' || c == ']' })
	return found[:min(len(found), events.MaxElements)]
}

// risk is what Okta thinks: the level, its reasons and the behaviours that are new. What it thought and did not act on
// fills the gap.
func (r *record) risk() events.Risk {
	level, behaviors := r.debug.risk, r.debug.behaviors
	if level == nil {
		level = r.debug.quiet.risk
	}
	if behaviors == nil {
		behaviors = r.debug.quiet.behaviors
	}
	out := events.Risk{Level: levels[strings.ToUpper(valueOf(level, "level"))]}
	seen := func(name string) {
		if name = foreign.Known(name); name != "" && len(out.Detections) < events.MaxElements-2 && !slices.Contains(out.Detections, name) {
			out.Detections = append(out.Detections, name)
		}
	}
	for reason := range strings.SplitSeq(valueOf(level, "reasons"), ",") {
		seen(reason)
	}
	for _, b := range behaviors {
		if strings.EqualFold(b.value, "POSITIVE") {
			seen(b.name)
		}
	}
	if r.debug.threat == events.Yes {
		seen("threatSuspected")
	}
	if r.security.proxy == events.Yes {
		seen("proxy")
	}
	return out
}

var levels = map[string]events.RiskLevel{"NONE": events.RiskNone, "LOW": events.RiskLow, "MEDIUM": events.RiskMedium, "HIGH": events.RiskHigh}
