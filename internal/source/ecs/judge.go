package ecs

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// decide says what the document reports, or else why it is of no concern here.
func (r *record) decide(e *events.Event) (skip string) {
	if r.kind != "" && r.kind != "event" {
		return "category" // alerts and states are about events
	}
	if r.of("iam") && r.is("creation", "change", "deletion") && !r.is("start", "end") {
		if change, ok := r.change(); ok {
			r.changed(e, change)
			return ""
		}
	}
	switch {
	case (r.of("authentication") || r.of("session")) && r.ends():
		return r.signedOut(e)
	case r.of("authentication"):
		r.signedIn(e)
		return ""
	}
	return "category"
}

// signedOut leaves out what ends nothing, and what would end every session of the user.
func (r *record) signedOut(e *events.Event) (skip string) {
	e.Kind = events.SignOut
	r.result(e)
	switch {
	case e.Outcome != events.Success && e.Outcome != "":
		return "failed"
	case e.Session.ID == "":
		return "no_session"
	}
	return ""
}

// ends tells the end of a session.
func (r *record) ends() bool {
	if r.is("start") {
		return false
	}
	action := words(r.action)
	return r.is("end") || slices.ContainsFunc([]string{"logout", "logged out", "logoff", "logged off", "sign out", "signout"}, func(mark string) bool {
		return strings.Contains(action, mark)
	})
}

// result sets what became of the attempt, and why. An outcome of "unknown" is how interrupts are exported.
func (r *record) result(e *events.Event) {
	switch strings.ToLower(r.outcome) {
	case "success":
		e.Outcome = events.Success
	case "failure":
		e.Outcome = events.Failure
		if r.is("denied") {
			e.Outcome = events.Blocked
		}
	}
	if e.Outcome != events.Success {
		e.Reason = cmp.Or(r.reason, r.errorMessage)
	}
}

func (r *record) signedIn(e *events.Event) {
	e.Kind = events.SignIn
	r.result(e)
	if e.Outcome == events.Success && r.is("info") && !r.is("start") {
		e.Outcome = events.Interrupt // a step went well, such as the evaluation of a policy: nobody is in yet
	}
	if e.Outcome == events.Failure && r.interrupted() {
		e.Outcome = events.Interrupt
	}
	e.Interactive = r.interactive()
	e.Cause = r.cause(e)
}

// interactive tells whether a person took part, as far as there is evidence.
func (r *record) interactive() events.Tri {
	switch strings.ToLower(r.logonType) {
	case "interactive", "remoteinteractive", "cachedinteractive", "cachedremoteinteractive", "unlock", "cachedunlock":
		return events.Yes
	case "network", "batch", "service", "networkcleartext", "newcredentials":
		return events.No
	}
	action := words(r.action)
	for _, mark := range []string{"token", "refresh", "ticket"} {
		if strings.Contains(action, mark) {
			return events.No
		}
	}
	return events.Unknown
}

// risk is what the source thinks.
func (r *record) risk() events.Risk {
	out := events.Risk{Level: band(cmp.Or(r.scoreNorm, r.score))}
	switch strings.ToLower(r.userRisk) {
	case "low":
		out.User = events.RiskLow
	case "moderate", "medium":
		out.User = events.RiskMedium
	case "high", "critical":
		out.User = events.RiskHigh
	default:
		out.User = band(r.userScore)
	}
	return out
}

// band is the level of a score of 0 to 100, with the borders of Elastic's own levels. Other scores have no scale.
func band(score string) events.RiskLevel {
	n, err := strconv.ParseFloat(score, 64)
	switch {
	case err != nil || !(n >= 0 && n <= 100):
		return ""
	case n == 0:
		return events.RiskNone
	case n < 40:
		return events.RiskLow
	case n < 70:
		return events.RiskMedium
	}
	return events.RiskHigh
}

// subjects are what an action changes, by a part of its name; the first that is found counts.
var subjects = []struct {
	mark string
	kind events.ChangeType
}{
	{"recovery", events.RecoveryChange},
	{"password", events.CredentialChange},
	{"credential", events.CredentialChange},
	{"mfa", events.MethodChange},
	{"factor", events.MethodChange},
	{"2fa", events.MethodChange},
	{"2sv", events.MethodChange},
	{"authenticator", events.MethodChange},
	{"passkey", events.MethodChange},
	{"webauthn", events.MethodChange},
	{"fido", events.MethodChange},
	{"totp", events.MethodChange},
	{"security info", events.MethodChange},
	{"consent", events.ConsentChange},
	{"device", events.DeviceChange},
	{"role", events.RoleChange},
	{"group", events.RoleChange},
	{"member", events.RoleChange},
	{"privilege", events.RoleChange},
}

// verbs are what an action does, by a part of its name; the first that is found counts.
var verbs = []struct {
	mark   string
	action events.ChangeAction
}{
	{"unblock", events.Enabled},
	{"block", events.Disabled},
	{"unlock", events.Unlocked},
	{"lock", events.Locked},
	{"reset", events.Reset},
	{"unsuspend", events.Enabled},
	{"reactivat", events.Enabled},
	{"deactivat", events.Disabled},
	{"suspend", events.Disabled},
	{"disable", events.Disabled},
	{"unenroll", events.Removed},
	{"unregister", events.Removed},
	{"deregister", events.Removed},
	{"unassign", events.Removed},
	{"remove", events.Removed},
	{"delete", events.Removed},
	{"revoke", events.Removed},
	{"detach", events.Removed},
	{"enable", events.Enabled},
	{"activate", events.Enabled},
	{"update", events.Updated},
	{"change", events.Updated},
	{"modif", events.Updated},
	{"edit", events.Updated},
	{"enroll", events.Added},
	{"regist", events.Added},
	{"add", events.Added},
	{"create", events.Added},
	{"grant", events.Added},
	{"assign", events.Added},
	{"attach", events.Added},
}

// change reads what was changed out of action and types; ok is false when they do not tell.
func (r *record) change() (c events.Change, ok bool) {
	action := words(r.action)
	for _, s := range subjects {
		if strings.Contains(action, s.mark) {
			c.Type = s.kind
			break
		}
	}
	for _, v := range verbs {
		if strings.Contains(action, v.mark) {
			c.Action = v.action
			break
		}
	}
	if c.Action == "" {
		switch {
		case r.is("creation"):
			c.Action = events.Added
		case r.is("deletion"):
			c.Action = events.Removed
		default:
			c.Action = events.Updated
		}
	}
	switch c.Type { //nolint:exhaustive // the others need nothing more
	case "":
		// Of the account itself only what decides whether and for whom it opens.
		c.Type = events.LifecycleChange
		return c, (r.is("user") || strings.Contains(action, "user") || strings.Contains(action, "account")) &&
			c.Action != events.Updated && c.Action != events.Reset
	case events.MethodChange:
		switch c.Action { //nolint:exhaustive // the others are words for methods as well
		case events.Enabled:
			c.Action = events.Added
		case events.Disabled:
			c.Action = events.Removed
		}
	case events.RoleChange:
		if r.is("creation", "deletion") && !strings.Contains(action, "member") && !strings.Contains(action, "user") {
			return c, false // the group is new or gone: of its members nothing is said
		}
		c.Target = events.Ref{ID: identity(r.groupID), Name: r.groupName}
	}
	return c, true
}

// changed writes a change. Who did it is in user, and whom it concerns in user.target, when that is another.
func (r *record) changed(e *events.Event, c events.Change) {
	e.Kind, e.Change = events.AccountChange, c
	r.result(e)
	if target := r.target.account(); target.ID != "" {
		if by := e.User; by.ID != target.ID {
			e.Change.Actor = events.Ref{ID: by.ID, Name: by.Name}
		}
		e.User = target
	}
}

// words is an action in lower case, with blanks where sources join its words by dots, dashes, underscores or colons.
func words(action string) string {
	const enough = 128
	if len(action) > enough {
		action = action[:enough]
	}
	return strings.Map(func(c rune) rune {
		switch c {
		case '.', '-', '_', ':':
			return ' '
		}
		return c
	}, strings.ToLower(action))
}
