package o365

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/entra"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// verdict is what an operation on the directory changes.
type verdict struct {
	of     events.ChangeType
	action events.ChangeAction
}

// operations are those that Entra's own audits do not have, or under another name, in lower case and without the full
// stop that some end in.
var operations = map[string]verdict{
	"set force change user password":             {events.CredentialChange, events.Updated},
	"user registered all required security info": {events.MethodChange, events.Added},
	"add oauth2permissiongrant":                  {events.ConsentChange, events.Added},
	"remove oauth2permissiongrant":               {events.ConsentChange, events.Removed},
}

// verdictOf says what an operation on the directory does to an account.
func verdictOf(operation string) (verdict, bool) {
	if v, known := operations[operation]; known {
		return v, true
	}
	of, action, known := entra.ActivityOf(operation)
	return verdict{of, action}, known
}

// Operations with rules of their own: one says in its modified properties what it did, the other ends every session.
const (
	updateUser     = "update user"
	revokeSessions = "update stsrefreshtokenvalidfrom timestamp"
)

// change emits what a record of type 8 means: an event for each thing it changed.
func (r *raw) change(record []byte, emit foreign.Emit) {
	operation := strings.ToLower(strings.TrimSuffix(r.operation, "."))
	kind, verdicts, targets := events.AccountChange, []verdict(nil), []string{""}
	if v, known := verdictOf(operation); known {
		verdicts = []verdict{v}
	}
	switch operation {
	case revokeSessions:
		kind, verdicts = events.SignOut, []verdict{{}}
	case updateUser:
		verdicts, targets = r.updates()
	}
	if len(verdicts) == 0 {
		emit(record, nil, &foreign.Skipped{Reason: "category", Category: r.operation})
		return
	}
	for n, v := range verdicts {
		e, err := r.directory(kind, v)
		if err == nil && n > 0 {
			e.Source.ID = identity(fmt.Sprintf("%s#%d", e.Source.ID, n))
		}
		if err == nil && targets[n] != "" {
			e.Change.Target = events.Ref{Name: targets[n]}
		}
		emit(record, e, err)
		if err != nil {
			return // the others would say the same
		}
	}
}

// updates are the changes that "Update user." lists among its modified properties, with the name of the property. Their
// values are left where they are: they hold telephone numbers and keys.
func (r *raw) updates() (verdicts []verdict, targets []string) {
	var method, account bool
	for _, m := range r.modified {
		switch {
		case strings.HasPrefix(m.name, "StrongAuthentication") && !method:
			method = true
			v := verdict{events.MethodChange, events.Updated}
			switch before, after := hollow(m.before), hollow(m.after); {
			case before && !after:
				v.action = events.Added
			case after && !before:
				v.action = events.Removed
			}
			verdicts, targets = append(verdicts, v), append(targets, m.name)
		case m.name == "AccountEnabled" && !account:
			account = true
			v := verdict{events.LifecycleChange, events.Enabled}
			if strings.Contains(strings.ToLower(m.after), "false") {
				v.action = events.Disabled
			}
			verdicts, targets = append(verdicts, v), append(targets, "")
		}
	}
	return verdicts, targets
}

// hollow reports whether a list of values as text holds none.
func hollow(s string) bool { return strings.Trim(s, "[]{}\" \t\r\n") == "" }

// directory is the event of a change. It is that of the user who was changed; where something else was, as in a consent
// or a device, of the user who did it.
func (r *raw) directory(kind events.Kind, v verdict) (*events.Event, error) {
	e, err := r.event(kind)
	if err != nil {
		return nil, err
	}
	actor, target := r.who(r.actor, true), r.who(r.target, false)
	switch {
	case target.kind == "User":
		e.User = target.user()
		e.Change.Target = r.property(v)
	case actor.kind == "User":
		e.User = actor.user()
		if e.Change.Target = target.ref(); e.Change.Target == (events.Ref{}) {
			e.Change.Target = r.property(v)
		}
	}
	if e.User.ID == "" {
		return nil, &foreign.Skipped{Reason: "no_user", Category: r.operation}
	}
	if by := actor.ref(); by.ID != e.User.ID {
		e.Change.Actor = by
	}
	e.Change.Type, e.Change.Action = v.of, v.action
	if v.of == events.ConsentChange {
		e.Change.Grants = r.grants()
	}
	if kind == events.SignOut { // nothing was changed, but who did it counts
		e.Change = events.Change{Actor: e.Change.Actor}
	}
	switch result := strings.ToLower(r.result); {
	case strings.HasPrefix(result, "succe"):
		e.Outcome = events.Success
	case strings.HasPrefix(result, "fail"):
		e.Outcome = events.Failure
	}
	return e, nil
}

// property names what a user was made a member of or an owner of.
func (r *raw) property(v verdict) events.Ref {
	var prefixes []string
	switch v.of {
	case events.RoleChange:
		prefixes = []string{"Role.", "Group."}
	case events.DeviceChange:
		prefixes = []string{"Device."}
	default:
		return events.Ref{}
	}
	var ref events.Ref
	for _, m := range r.modified {
		for _, prefix := range prefixes {
			field, ok := strings.CutPrefix(m.name, prefix)
			value := strings.Trim(cmp.Or(m.after, m.before), "[]\" \t\r\n")
			switch {
			case !ok:
			case field == "ObjectID":
				ref.ID = identity(strings.ToLower(value))
			case field == "DisplayName":
				ref.Name = value
			}
		}
	}
	return ref
}

// grants are the scopes of a consent. Records write them as "… Scope: User.Read Mail.Read, …" among other things, or by
// themselves.
func (r *raw) grants() []string {
	var scopes []string
	for _, m := range r.modified {
		value := cmp.Or(m.after, m.before)
		switch m.name {
		case "ConsentAction.Permissions":
			if _, after, ok := strings.Cut(value, "=>"); ok {
				value = after
			}
			_, rest, ok := strings.Cut(value, "Scope:")
			for ok {
				value, rest, _ = strings.Cut(rest, ",")
				scopes = appendScopes(scopes, value)
				_, rest, ok = strings.Cut(rest, "Scope:")
			}
		case "DelegatedPermissionGrant.Scope", "OAuth2PermissionGrant.Scope":
			scopes = appendScopes(scopes, value)
		}
	}
	return scopes
}

func appendScopes(scopes []string, text string) []string {
	for scope := range strings.FieldsSeq(strings.Trim(text, "[]\" \t\r\n")) {
		if len(scopes) == events.MaxElements {
			break
		}
		scopes = append(scopes, strings.Trim(scope, "[]\","))
	}
	return scopes
}
