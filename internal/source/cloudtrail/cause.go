package cloudtrail

import (
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// noSuchUser is what a console's sign-in says of a name that nobody has. Of everything else it says "Failed authentication".
const noSuchUser = "No username found in supplied account"

// cause is why a sign-in failed. AWS tells the user's own mistakes apart by what was asked for only: the password, or what
// comes after it.
func (r *record) cause(e *events.Event) events.Cause {
	switch {
	case e.Outcome != events.Failure && e.Outcome != events.Blocked:
		return ""
	case denied[r.errorCode]:
		return events.PolicyBlock
	case r.who.name == hidden, r.errorMessage == noSuchUser:
		return events.UnknownUser
	}
	switch r.key() {
	case "signin.amazonaws.com/ConsoleLogin":
		switch {
		case e.Auth.Protocol == "saml" || r.who.kind != "IAMUser" && r.who.kind != "Root":
			return events.OtherCause // another provider asked
		case e.Auth.MFA == events.MFAFailed && strings.Contains(r.extra["MFAIdentifier"], ":u2f/"):
			return events.OtherCause
		case e.Auth.MFA == events.MFAFailed:
			return events.BadCode
		}
		return events.BadPassword
	case "signin.amazonaws.com/CredentialVerification", "signin.amazonaws.com/UserAuthentication":
		switch {
		case len(e.Auth.Methods) == 0:
			return ""
		case slices.Equal(e.Auth.Methods, []string{"password"}):
			return events.BadPassword
		}
		return foreign.FactorCause(e.Auth.Methods[len(e.Auth.Methods)-1])
	}
	return events.OtherCause // a session, an assertion or a token was not good
}
