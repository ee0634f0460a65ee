package cloudtrail

import (
	"cmp"
	"errors"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// hidden is what CloudTrail writes for the name of a user that does not exist: it may be a password.
const hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// errNobody is returned for a record of something that somebody did, without who.
var errNobody = errors.New("userIdentity: names nobody: neither principalId nor onBehalfOf nor userName")

// user is who made the request, as far as that is known.
func (r *record) user() (events.User, error) {
	w := &r.who
	name := cmp.Or(r.extra["UserName"], w.name)
	if name == hidden {
		name = ""
	}
	switch {
	case w.onBehalfOf != "":
		return events.User{ID: bounded(strings.ToLower(w.onBehalfOf)), Name: name}, nil
	case w.kind == "Root" && w.principal+w.account != "":
		// Its principal id is the account's; it has no name unless the account has an alias.
		return events.User{ID: bounded(cmp.Or(w.principal, w.account)), Name: cmp.Or(name, "root"), Privileged: events.Yes}, nil
	case w.isPrincipal():
		_, session, _ := strings.Cut(w.principal, ":")
		user := events.User{ID: bounded(w.principal), Name: cmp.Or(name, session)}
		if w.isProgram() {
			user.Type = events.Workload
		}
		return user, nil
	case name != "":
		return named(name), nil
	case w.name == hidden:
		// Somebody tried a name that nobody has.
		return events.User{ID: "name:" + strings.ToLower(hidden), Type: events.Unresolved}, nil
	case w.invokedBy != "":
		return events.User{ID: bounded(w.invokedBy), Type: events.Workload}, nil
	}
	return events.User{}, errNobody
}

// isPrincipal tells whether the principal id is one of a user or session: for people of a directory it is the account's.
func (w *identity) isPrincipal() bool {
	return w.principal != "" && w.principal != w.account
}

// isProgram tells identities that are never people.
func (w *identity) isProgram() bool {
	switch w.kind {
	case "AWSService", "AWSAccount":
		return true
	case "WebIdentityUser":
		for _, mark := range workloads {
			if strings.Contains(w.provider, mark) || strings.Contains(w.principal, mark) {
				return true
			}
		}
	}
	return false
}

// workloads are marks of the OpenID Connect providers that speak for programs: clusters and build services.
var workloads = []string{
	"oidc.eks.", "system:serviceaccount:", "token.actions.githubusercontent.com", "app.terraform.io", "gitlab.com", "oidc.circleci.com",
}

// named is a user of whom only the name is known: it gets a space of its own.
func named(name string) events.User {
	return events.User{ID: bounded("name:" + strings.ToLower(name)), Type: events.Unresolved, Name: name}
}
