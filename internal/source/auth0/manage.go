package auth0

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// managementAPI is the type of successful requests to the Management API.
const managementAPI = "sapi"

// managed says what a request to the Management API did to a user, whom the path names, and who did it. Others are
// of no concern.
func (r *record) managed() (rule, bool) {
	q := &r.details.request
	if !strings.HasPrefix(q.status, "2") {
		return rule{}, false
	}
	path, ok := strings.CutPrefix(q.path, "/api/v2/users/")
	if !ok {
		return rule{}, false
	}
	id, rest, _ := strings.Cut(path, "/")
	id, err := url.PathUnescape(id)
	if err != nil || id == "" {
		return rule{}, false
	}
	kind, ok := q.meaning(rest)
	if ok {
		// The record's own user is the one who asked.
		q.actor, q.actorName = cmp.Or(q.actor, r.userID, r.clientID), cmp.Or(q.actorName, r.userName, r.clientName)
		r.userID, r.userName = id, ""
	}
	return kind, ok
}

// meaning says what a request below a user's path did.
func (q *request) meaning(rest string) (rule, bool) {
	part, _, _ := strings.Cut(rest, "/")
	method := strings.ToUpper(q.method)
	did := func(t events.ChangeType, a events.ChangeAction) (rule, bool) {
		return changed(events.Success, t, a), true
	}
	switch {
	case part == "" && method == http.MethodDelete:
		return did(events.LifecycleChange, events.Removed)
	case part == "" && method == http.MethodPatch && q.password:
		return did(events.CredentialChange, events.Reset)
	case part == "" && method == http.MethodPatch && q.blocked == events.Yes:
		return did(events.LifecycleChange, events.Disabled)
	case part == "" && method == http.MethodPatch && q.blocked == events.No:
		return did(events.LifecycleChange, events.Enabled)
	case part == "" && method == http.MethodPatch && q.email:
		return did(events.RecoveryChange, events.Updated)
	case (part == "roles" || part == "permissions") && method == http.MethodPost:
		return did(events.RoleChange, events.Added)
	case (part == "roles" || part == "permissions") && method == http.MethodDelete:
		return did(events.RoleChange, events.Removed)
	case part == "authentication-methods" && method == http.MethodPost:
		return did(events.MethodChange, events.Added)
	case part == "authentication-methods" && method == http.MethodDelete && strings.Contains(rest, "/"), part == "multifactor" && method == http.MethodDelete:
		return did(events.MethodChange, events.Removed)
	case (part == "authentication-methods" || part == "authenticators") && method == http.MethodDelete:
		return did(events.MethodChange, events.Reset)
	case part == "sessions" && method == http.MethodDelete, part == "revoke-access" && method == http.MethodPost:
		return rule{kind: events.SignOut, outcome: events.Success}, true
	}
	return rule{}, false
}
