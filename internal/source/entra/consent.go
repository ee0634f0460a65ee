package entra

import (
	"cmp"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// grants sets the scopes that were granted or taken: those that are new where both are known.
func (r *record) grants(change *events.Change) {
	for i := range r.audit.targets {
		p := &r.audit.targets[i].properties
		old := strings.Fields(p.oldScopes)
		now := strings.Fields(p.scopes)
		if len(now) == 0 {
			old, now = nil, old // all are taken
		}
		for _, scope := range now {
			if !slices.Contains(old, scope) {
				change.Grants = addOnce(change.Grants, scope)
			}
		}
		if p.appRole != "" {
			change.Grants = addOnce(change.Grants, p.appRole)
		}
		change.From, change.To = cmp.Or(change.From, p.oldConsent), cmp.Or(change.To, p.consent)
		scopes, consent := permitted(p.permissions)
		for _, scope := range scopes {
			change.Grants = addOnce(change.Grants, scope)
		}
		change.To = cmp.Or(change.To, consent)
	}
}

// permitted reads the prose of ConsentAction.Permissions: what was before => what is now, entries in brackets with
// "ConsentType: AllPrincipals" and "Scope: User.Read Mail.Read" among their members.
func permitted(prose string) (scopes []string, consent string) {
	if _, now, found := strings.Cut(prose, "=>"); found {
		prose = now
	}
	for prose != "" {
		var member string
		member, prose = nextMember(prose)
		switch key, value, _ := strings.Cut(member, ":"); strings.TrimSpace(key) {
		case "Scope":
			for scope := range strings.FieldsSeq(value) {
				scopes = addOnce(scopes, scope)
			}
		case "ConsentType":
			consent = cmp.Or(consent, strings.TrimSpace(value))
		}
	}
	return scopes, consent
}

// nextMember cuts the first member off.
func nextMember(prose string) (member, rest string) {
	if i := strings.IndexAny(prose, ",[];"); i >= 0 {
		return prose[:i], prose[i+1:]
	}
	return prose, ""
}
