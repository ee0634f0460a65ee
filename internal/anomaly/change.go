package anomaly

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// judgeChange looks at a change of the account.
func (o *observation) judgeChange() {
	ch := &o.e.Change
	if o.e.Outcome == events.Failure || o.e.Outcome == events.Blocked {
		o.judgeVendor()
		return // nothing was changed
	}
	if ch.Type == events.LifecycleChange && !o.changedLater(events.LifecycleChange) {
		switch ch.Action { //nolint:exhaustive // others say nothing of who may sign in
		case events.Disabled, events.Removed:
			o.p.Marks.DisabledAt = o.e.Time
		case events.Enabled, events.Added:
			o.p.Marks.DisabledAt = 0
		}
	}
	o.changedAfterFinding()
	o.consent()
	o.enrolledAfterRelay()
	o.p.AddChange(profile.Change{Time: o.e.Time, Type: ch.Type, Action: ch.Action, Event: o.id}, events.Day)
	o.judgeVendor()
}

// changedLater tells whether a later change of the kind has come before this one.
func (o *observation) changedLater(what events.ChangeType) bool {
	return slices.ContainsFunc(o.p.Changes, func(c profile.Change) bool { return c.Type == what && c.Time > o.e.Time })
}

// consent is OAU-03.
func (o *observation) consent() {
	ch := &o.e.Change
	if ch.Type != events.ConsentChange || ch.Action == events.Removed {
		return
	}
	var risky []string
	for _, grant := range ch.Grants {
		if o.c.riskyScope(grant) {
			risky = append(risky, grant)
		}
	}
	if len(risky) == 0 || o.org.Span() < ms(o.c.config.Novelty.OrgSpan) {
		return
	}
	term, _ := o.org.App(ch.Target.ID)
	if term.Users > o.c.config.OAuth.RareUsers {
		return
	}
	l := ladder{severity: events.High}
	if o.p.CountTerms(profile.App, 0) == 0 && o.p.Successes == 0 {
		l.rung(rungLearning, effectRecord, "nothing is known of the user")
	}
	evidence := events.Evidence{Change: &o.e.Change, Facts: []events.Fact{
		{Name: "risky_scopes", Value: strings.Join(risky, " ")}, {Name: "users_of_the_application", Value: strconv.Itoa(term.Users)},
	}}
	summary := fmt.Sprintf("Consented to %s, which %s: %s", changeTarget(ch), plural(term.Users, "user of the organisation uses", "users of the organisation use"),
		strings.Join(risky[:min(len(risky), 4)], ", "))
	for i := range o.p.Raised {
		r := &o.p.Raised[i]
		if gap := o.e.Time - r.Time; gap >= 0 && gap <= ms(o.c.config.OAuth.SoonAfter) && !r.Observed {
			l.severity = events.Critical
			evidence.Earlier = append(evidence.Earlier, earlier(r))
		}
	}
	o.report(&oau03, &l, summary, evidence)
}

// riskyScope tells a scope on the list; an entry that ends in * matches what it begins.
func (c *Catalogue) riskyScope(scope string) bool {
	scope = strings.ToLower(scope)
	return slices.ContainsFunc(c.config.OAuth.RiskyScopes, func(entry string) bool {
		if start, ok := strings.CutSuffix(entry, "*"); ok {
			return strings.HasPrefix(scope, start)
		}
		return scope == entry
	})
}

func changeTarget(ch *events.Change) string {
	switch {
	case ch.Target.Name != "":
		return ch.Target.Name
	case ch.Target.ID != "":
		return ch.Target.ID
	}
	return "an application"
}

// changeName says what was changed.
func changeName(ch *events.Change) string {
	switch ch.Type { //nolint:exhaustive // the rest name themselves
	case events.CredentialChange:
		return "A password or key was"
	case events.MethodChange:
		return "An authentication method was"
	case events.RecoveryChange:
		return "Recovery data was"
	case events.DeviceChange:
		return "A device was"
	}
	return "Something (" + string(ch.Type) + ") was"
}

func changeVerb(ch *events.Change) string {
	if ch.Action == "" {
		return "changed"
	}
	return string(ch.Action)
}

// earlier shows a finding that another builds on.
func earlier(r *profile.Raised) events.Earlier {
	e := events.Earlier{Detection: r.Detection.String(), EventID: r.Event.String(), Time: r.Time}
	if n := int(r.Severity); n >= 1 && n <= len(events.Severities) {
		e.Severity = events.Severities[n-1]
	}
	return e
}
