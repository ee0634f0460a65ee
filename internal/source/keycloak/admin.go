package keycloak

import (
	"cmp"
	"errors"
	"strings"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

var errTypeMissing = errors.New("type: is missing, and operationType is as well")

// admin says what an admin event means: those that concern a user have a path that begins with users/<id>.
func (r *raw) admin() (*events.Event, error) {
	parts := strings.Split(strings.Trim(r.path, "/"), "/")
	if len(parts) < 2 || parts[0] != "users" || foreign.Known(parts[1]) == "" {
		return nil, r.unconcerned()
	}
	change, signOut := r.adminChange(parts[2:])
	kind := events.AccountChange
	switch {
	case signOut:
		kind = events.SignOut
	case change.Type == "":
		return nil, r.unconcerned()
	}
	e, err := r.event(kind, r.resource+" "+r.operation)
	if err != nil {
		return nil, err
	}
	e.User.ID = identity(parts[1])
	e.App.ID = identity(r.client)
	if len(parts) == 2 {
		e.User.Name = r.represented("username")
	}
	e.Change = change
	if r.userID != "" && r.userID != parts[1] {
		e.Change.Actor.ID = identity(r.userID)
	}
	return e, nil
}

func (r *raw) unconcerned() error {
	return &foreign.Skipped{Reason: "category", Category: cmp.Or(r.resource, "admin event") + " " + r.operation}
}

// adminChange says what was done to a user, by the path behind his id. signOut says that his sessions were ended.
func (r *raw) adminChange(path []string) (c events.Change, signOut bool) {
	if len(path) == 0 {
		return r.lifecycle(), false
	}
	target := ""
	if len(path) > 1 {
		target = path[1]
	}
	membership := map[string]events.ChangeAction{"CREATE": events.Added, "UPDATE": events.Added, "DELETE": events.Removed}[r.operation]
	switch path[0] {
	case "logout":
		return events.Change{}, true
	case "role-mappings":
		c = events.Change{Type: events.RoleChange, Action: membership, Target: events.Ref{ID: identity(r.represented("id")), Name: r.represented("name")}}
		if names := r.roles(); len(names) > 1 {
			c.To = strings.Join(names, ", ")
		}
	case "groups":
		c = events.Change{Type: events.RoleChange, Action: membership, Target: events.Ref{ID: identity(target), Name: cmp.Or(r.represented("path"), r.represented("name"))}}
	case "reset-password":
		c = events.Change{Type: events.CredentialChange, Action: events.Reset}
	case "remove-totp":
		c = events.Change{Type: events.MethodChange, Action: events.Removed, Target: events.Ref{Name: "otp"}}
	case "disable-credential-types":
		c = events.Change{Type: events.MethodChange, Action: events.Disabled}
	case "credentials":
		if r.operation == "DELETE" || r.operation == "ACTION" && len(path) == 2 {
			c = events.Change{Type: events.MethodChange, Action: events.Removed, Target: events.Ref{ID: identity(target)}}
		}
	case "federated-identity":
		c = events.Change{Type: events.CredentialChange, Action: membership, Target: events.Ref{Name: target}}
	case "consents":
		c = events.Change{Type: events.ConsentChange, Action: events.Removed, Target: events.Ref{ID: identity(target)}}
	}
	return c, false
}

// lifecycle says what was done to the account itself.
func (r *raw) lifecycle() events.Change {
	c := events.Change{Type: events.LifecycleChange}
	switch r.operation {
	case "CREATE":
		c.Action = events.Added
	case "DELETE":
		c.Action = events.Removed
	case "UPDATE":
		c.Action = events.Updated
		if r.represented("enabled") == "false" {
			c.Action = events.Disabled
		}
	default:
		return events.Change{}
	}
	return c
}

// represented is a member of what was written, or of the first of several.
func (r *raw) represented(member string) (text string) {
	r.each(func(l *jlexer.Lexer) {
		found := ""
		foreign.Object(l, func(l *jlexer.Lexer, key string) {
			switch {
			case key != member:
				l.SkipRecursive()
			case l.CurrentToken() == jlexer.TokenBool:
				if found = "false"; l.Bool() {
					found = "true"
				}
			default:
				found = foreign.Text(l)
			}
		})
		text = cmp.Or(text, found)
	})
	return text
}

// roles are the names of the roles that were mapped.
func (r *raw) roles() (names []string) {
	r.each(func(l *jlexer.Lexer) {
		foreign.Object(l, func(l *jlexer.Lexer, key string) {
			if key == "name" && len(names) < events.MaxElements {
				names = append(names, foreign.Text(l))
				return
			}
			l.SkipRecursive()
		})
	})
	return names
}

// each calls read for what was written: an object, or every one of an array.
func (r *raw) each(read func(l *jlexer.Lexer)) {
	l := &jlexer.Lexer{Data: []byte(r.representation)}
	if strings.HasPrefix(strings.TrimSpace(r.representation), "[") {
		foreign.Array(l, read)
		return
	}
	read(l)
}
