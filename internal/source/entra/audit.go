package entra

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// audit is an audit of the directory as it came.
type audit struct {
	activity, result, reason string
	by                       actor
	targets                  []target
}

// actor is who did what is audited: a user or a program.
type actor struct {
	user, app events.Ref
}

// target is one of the objects that an audited activity touched, with the properties that are of interest here.
type target struct {
	id, name, upn, kind string
	properties          properties
}

// properties are the modified properties of a target that say what was done.
type properties struct {
	role, group, device, app events.Ref
	user                     events.Ref // for activities whose target is the application
	scopes, oldScopes        string
	consent, oldConsent      string // "Principal" or "AllPrincipals"
	permissions              string // prose that has the scopes of a consent in it
	appRole                  string
	enabled, wasEnabled      string
	methods, recovery        bool
}

// change reads what only audits have.
func (c *cursor) change(r *record, key []byte) bool {
	a := &r.audit
	switch string(key) {
	case "activityDisplayName":
		a.activity = c.word()
	case "result":
		a.result = c.word()
	case "resultReason":
		a.reason = c.word()
	case "initiatedBy":
		c.initiator(r)
	case "targetResources":
		a.targets = c.targets(a.targets[:0])
	case "additionalDetails":
		c.info(r)
	default:
		return false
	}
	return true
}

func (c *cursor) initiator(r *record) {
	for o := c.object(); o.member(); {
		switch string(o.key) {
		case "user":
			r.audit.by.user = o.initiating(r, "id", "userPrincipalName")
		case "app":
			r.audit.by.app = o.initiating(r, "servicePrincipalId", "appId")
		default:
			o.skip()
		}
	}
}

// initiating reads the user or program that did it, with its name or, without one, what stands in for it.
func (c *cursor) initiating(r *record, id, other string) events.Ref {
	var who events.Ref
	var stand string
	for o := c.object(); o.member(); {
		switch string(o.key) {
		case id:
			who.ID = o.text()
		case other:
			stand = o.text()
		case "displayName":
			who.Name = o.word()
		case "ipAddress":
			r.ip = o.scalar()
		default:
			o.skip()
		}
	}
	switch {
	case other == "appId" && who.ID == "":
		who.ID = stand
	case other != "appId" && stand != "":
		who.Name = stand // a person is named by the name to sign in with
	}
	who.ID = bounded(strings.ToLower(who.ID))
	return who
}

func (c *cursor) targets(targets []target) []target {
	for a := c.array(); a.element(); {
		var t target
		for o := a.object(); o.member(); {
			switch string(o.key) {
			case "id":
				t.id = bounded(strings.ToLower(o.text()))
			case "displayName":
				t.name = o.word()
			case "userPrincipalName":
				t.upn = o.text()
			case "type":
				t.kind = o.word()
			case "modifiedProperties":
				o.properties(&t.properties)
			default:
				o.skip()
			}
		}
		if len(targets) < maxElements {
			targets = append(targets, t)
		}
	}
	return targets
}

func (c *cursor) properties(p *properties) {
	for a := c.array(); a.element(); {
		var name, before, after []byte
		for o := a.object(); o.member(); {
			switch string(o.key) {
			case "displayName":
				name = o.scalar()
			case "oldValue":
				before = o.scalar()
			case "newValue":
				after = o.scalar()
			default:
				o.skip()
			}
		}
		p.take(string(name), before, after, c.words)
	}
}

// take keeps a property of interest. Values are JSON in a string, once more: "\"Global Reader\"", "[true]".
func (p *properties) take(name string, before, after []byte, words *words) {
	now := func() string { return plainly(after, words) }
	either := func() string {
		if v := now(); v != "" {
			return v
		}
		return plainly(before, words)
	}
	switch name {
	case "Role.TemplateId":
		p.role.ID = bounded(either())
	case "Role.ObjectID":
		if p.role.ID == "" {
			p.role.ID = bounded(either())
		}
	case "Role.DisplayName":
		p.role.Name = either()
	case "Group.ObjectID":
		p.group.ID = bounded(either())
	case "Group.DisplayName":
		p.group.Name = either()
	case "Device.ObjectID":
		p.device.ID = bounded(either())
	case "Device.DisplayName":
		p.device.Name = either()
	case "ServicePrincipal.ObjectID":
		p.app.ID = bounded(strings.ToLower(either()))
	case "ServicePrincipal.DisplayName":
		p.app.Name = either()
	case "User.ObjectID":
		p.user.ID = bounded(strings.ToLower(either()))
	case "User.UPN":
		p.user.Name = either()
	case "DelegatedPermissionGrant.Scope":
		p.scopes, p.oldScopes = now(), plainly(before, words)
	case "DelegatedPermissionGrant.ConsentType":
		p.consent, p.oldConsent = now(), plainly(before, words)
	case "ConsentAction.Permissions":
		p.permissions = cmp.Or(now(), string(after))
	case "AppRole.Value":
		p.appRole = either()
	case "AccountEnabled":
		p.enabled, p.wasEnabled = now(), plainly(before, words)
	case "StrongAuthenticationMethod", "StrongAuthenticationPhoneAppDetail", "StrongAuthenticationRequirement":
		p.methods = true
	case "StrongAuthenticationUserDetails", "StrongAuthenticationEmail", "AlternateEmailAddresses", "OtherMail":
		p.recovery = true
	}
}

// plainly takes a value out of its quotes and brackets; of a list it is the first text.
func plainly(value []byte, words *words) string {
	if len(value) == 0 || value[0] != '"' && value[0] != '[' {
		return words.word(known(value))
	}
	c := &cursor{data: value, words: words}
	if value[0] == '"' {
		return c.word()
	}
	a := c.array()
	if !a.element() {
		return ""
	}
	if b := a.next(); b == 't' || b == 'f' {
		return strconv.FormatBool(a.flag() == events.Yes)
	}
	return a.word()
}

// audited makes the events of an audit: one for every account that it is about.
func (r *record) audited(e *events.Event, raw []byte, emit foreign.Emit) {
	name := r.audit.activity
	if name == "" {
		name = r.operation
	}
	done, ok := r.done(name, e)
	if !ok {
		emit(raw, nil, &foreign.Skipped{Reason: "category", Category: name})
		return
	}
	var p problems
	e.Time, e.Emitted = p.moment("activityDateTime", r.activity, true), r.emittedAt()
	id := strings.ToLower(string(r.id))
	if id == "" {
		p.missing("id")
	}
	if err := p.err(); err != nil {
		emit(raw, nil, err)
		return
	}
	users := r.concerned(done.whose)
	if len(users) == 0 {
		emit(raw, nil, &foreign.Skipped{Reason: "no_user", Category: name})
		return
	}
	e.Outcome, e.Code, e.Reason, e.UserAgent = r.audit.outcome(r.resultType), name, r.audit.reason, r.userAgent
	r.where(e)
	r.describe(e, done, name)
	shared := *e
	for n, user := range users {
		*e = shared
		e.Change.Grants = append([]string(nil), shared.Change.Grants...) // each event's own
		if e.Source.ID = id; len(users) > 1 {
			e.Source.ID += "#" + strconv.Itoa(n)
		}
		e.Source.ID, e.User = bounded(e.Source.ID), user
		if by := r.audit.by.who(); by.ID != user.ID && (by.ID != "" || by.Name != user.Name) {
			e.Change.Actor = by
		}
		emit(raw, e, nil)
	}
}

// done says what was done, and sets the event's kind and change.
func (r *record) done(name string, e *events.Event) (activity, bool) {
	done, ok := activityOf(name)
	switch strings.ToLower(name) {
	case revokeSessions:
		e.Kind = events.SignOut
		return activity{}, true
	case updateUser:
		done, ok = r.updated()
	}
	e.Kind = events.AccountChange
	e.Change = events.Change{Type: done.change, Action: done.action}
	return done, ok
}

// updated says what an update of a user's attributes means. Most are of no concern.
func (r *record) updated() (activity, bool) {
	for i := range r.audit.targets {
		switch p := &r.audit.targets[i].properties; {
		case p.enabled == "true":
			return activity{change: events.LifecycleChange, action: events.Enabled}, true
		case p.enabled == "false":
			return activity{change: events.LifecycleChange, action: events.Disabled}, true
		case p.methods:
			return activity{change: events.MethodChange, action: events.Updated}, true
		case p.recovery:
			return activity{change: events.RecoveryChange, action: events.Updated}, true
		}
	}
	return activity{}, false
}

// concerned are the accounts that an audit is about: the users among its targets, else whom the activity says.
func (r *record) concerned(otherwise whose) []events.User {
	var users []events.User
	add := func(id, name string, kind events.UserType) {
		if id == "" && name != "" && kind == "" {
			id, kind = byName(name), events.Unresolved
		}
		for _, u := range users {
			if u.ID == id {
				return
			}
		}
		if id != "" {
			users = append(users, events.User{ID: id, Type: kind, Name: name})
		}
	}
	targets := r.audit.targets
	for i := range targets {
		if t := &targets[i]; strings.EqualFold(t.kind, "User") {
			add(t.id, cmp.Or(t.upn, t.name), "")
		}
	}
	for i := range targets {
		if u := targets[i].properties.user; len(users) == 0 {
			add(u.ID, u.Name, "")
		}
	}
	if len(users) > 0 {
		return users
	}
	switch by := r.audit.by; otherwise {
	case initiator:
		add(by.user.ID, by.user.Name, "")
	case program:
		app := r.granted()
		add(app.ID, app.Name, events.Workload)
	case nobody:
	}
	return users
}

// granted is the service principal that an audit is about: the one that its properties name, else the last one among the
// targets, because the resource it gets access to comes first.
func (r *record) granted() (app events.Ref) {
	for i := range r.audit.targets {
		t := &r.audit.targets[i]
		if t.properties.app.ID != "" {
			return t.properties.app
		}
		if strings.EqualFold(t.kind, "ServicePrincipal") {
			app = events.Ref{ID: t.id, Name: t.name}
		}
	}
	return app
}

// who is who did it; a user before a program.
func (a *actor) who() events.Ref {
	if a.user != (events.Ref{}) {
		return a.user
	}
	return a.app
}

// outcome reads the result of an audit, else of the record around it.
func (a *audit) outcome(resultType string) events.Outcome {
	switch strings.ToLower(cmp.Or(a.result, resultType)) {
	case "success", "0":
		return events.Success
	case "failure", "timeout":
		return events.Failure
	}
	return ""
}

// describe says what was changed.
func (r *record) describe(e *events.Event, done activity, name string) {
	change := &e.Change
	switch done.change { //nolint:exhaustive // the others have no object but the account
	case events.CredentialChange, events.MethodChange:
		change.Target.Name = registered(name, r.audit.reason)
	case events.DeviceChange:
		change.Target = r.object("Device", func(p *properties) events.Ref { return p.device })
	case events.ConsentChange:
		change.Target = r.granted()
		r.grants(change)
		if t := r.targetOf("ServicePrincipal"); t != nil && t.id != change.Target.ID {
			e.Resource = events.Ref{ID: t.id, Name: t.name}
		}
	case events.RoleChange:
		r.roles(change)
	case events.LifecycleChange:
		for i := range r.audit.targets {
			if p := &r.audit.targets[i].properties; p.enabled != "" {
				change.From, change.To = enabled(p.wasEnabled), enabled(p.enabled)
			}
		}
	}
}

func enabled(value string) string {
	switch value {
	case "true":
		return "enabled"
	case "false":
		return "disabled"
	}
	return ""
}

// roles sets the role, group or application that the account was taken into or put out of.
func (r *record) roles(change *events.Change) {
	switch {
	case r.targetOf("Group") != nil || r.named(func(p *properties) events.Ref { return p.group }) != events.Ref{}:
		change.Target = r.object("Group", func(p *properties) events.Ref { return p.group })
	case r.targetOf("Role") != nil || r.named(func(p *properties) events.Ref { return p.role }) != events.Ref{}:
		change.Target = r.object("Role", func(p *properties) events.Ref { return p.role })
	default:
		change.Target = r.object("ServicePrincipal", func(*properties) events.Ref { return events.Ref{} })
		r.grants(change)
	}
}

// object is what the change is of: as a property names it, else the target of a kind.
func (r *record) object(kind string, of func(*properties) events.Ref) events.Ref {
	ref := r.named(of)
	if t := r.targetOf(kind); t != nil {
		ref.ID, ref.Name = cmp.Or(ref.ID, t.id), cmp.Or(ref.Name, t.name)
	}
	return ref
}

// named is what the properties name.
func (r *record) named(of func(*properties) events.Ref) (ref events.Ref) {
	for i := range r.audit.targets {
		named := of(&r.audit.targets[i].properties)
		ref.ID, ref.Name = cmp.Or(ref.ID, named.ID), cmp.Or(ref.Name, named.Name)
	}
	return ref
}

// targetOf is the first target of a kind, nil without one.
func (r *record) targetOf(kind string) *target {
	for i := range r.audit.targets {
		if t := &r.audit.targets[i]; strings.EqualFold(t.kind, kind) {
			return t
		}
	}
	return nil
}
