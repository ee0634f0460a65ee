package cloudtrail

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/source/foreign"
)

// kind completes an event with what a record means.
type kind func(r *record, e *events.Event) error

// kinds are the records of concern, by source and name.
var kinds = allKinds()

func allKinds() map[string]kind {
	all := maps.Clone(signIns)
	for name, c := range changes {
		all["iam.amazonaws.com/"+name] = c.ofIAM
	}
	for name, c := range directory {
		all["sso-directory.amazonaws.com/"+name] = c.ofDirectory
	}
	for name, c := range root {
		all["signin.amazonaws.com/"+name] = c.ofSelf
	}
	return all
}

// signIns are the records of sign-ins, their steps and their ends.
var signIns = map[string]kind{
	"signin.amazonaws.com/ConsoleLogin":           console,
	"signin.amazonaws.com/CredentialChallenge":    challenge,
	"signin.amazonaws.com/CredentialVerification": verification,
	"signin.amazonaws.com/UserAuthentication":     authentication,

	"sso.amazonaws.com/Authenticate":       portal,
	"sso.amazonaws.com/Federate":           portal,
	"sso.amazonaws.com/GetRoleCredentials": portal,
	"sso.amazonaws.com/Logout":             logout,
	"signin.amazonaws.com/Authenticate":    portal,
	"signin.amazonaws.com/Federate":        portal,
	"signin.amazonaws.com/Logout":          logout,

	"sts.amazonaws.com/AssumeRoleWithSAML":        withSAML,
	"sts.amazonaws.com/AssumeRoleWithWebIdentity": withWebIdentity,
	"sts.amazonaws.com/GetFederationToken":        federationToken,
}

// steps belong to a sign-in that has a record of its own.
var steps = map[string]bool{
	"signin.amazonaws.com/CheckMfa": true, "signin.amazonaws.com/GetSigninToken": true, "signin.amazonaws.com/SwitchRole": true,
	"signin.amazonaws.com/PasswordRecoveryRequested": true,
}

// console is a sign-in to the console: of the root user, of an IAM user, or of somebody whom another provider vouches for.
func console(r *record, e *events.Event) (err error) {
	if e.User, err = r.user(); err != nil {
		return err
	}
	e.Kind, e.Interactive = events.SignIn, events.Yes
	switch answer := r.response["ConsoleLogin"]; {
	case strings.EqualFold(answer, "Success"):
		e.Outcome = events.Success
	case strings.EqualFold(answer, "Failure"), r.errorCode != "", r.errorMessage != "":
		e.Outcome = events.Failure
	}
	e.Code = cmp.Or(r.errorCode, r.response["ConsoleLogin"])
	provider := r.extra["SamlProviderArn"]
	e.App.ID = bounded(cmp.Or(page(r.extra["LoginTo"]), provider))
	if provider != "" {
		e.Auth.Protocol = "saml"
	}
	own := r.who.kind == "IAMUser" || r.who.kind == "Root"
	switch used := strings.EqualFold(r.extra["MFAUsed"], "Yes"); {
	case used && e.Outcome == events.Success:
		e.Auth.MFA, e.Auth.Strength = events.MFAPerformed, events.MultiFactor
		if strings.Contains(r.extra["MFAIdentifier"], ":u2f/") {
			e.Auth.Strength = events.PhishingResistant
			e.Auth.Methods = []string{"fido2"}
		}
	case used && e.Outcome == events.Failure:
		e.Auth.MFA = events.MFAFailed // it is asked for after the password
	case own && e.Outcome == events.Success && strings.EqualFold(r.extra["MFAUsed"], "No"):
		e.Auth.MFA, e.Auth.Strength, e.Auth.Methods = events.MFANotRequired, events.SingleFactor, []string{"password"}
	}
	return nil
}

// page is an address without what is particular to one visit.
func page(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// credentials are what IAM Identity Center asks for. Those that are not here prove nothing that is known.
var credentials = map[string]struct {
	name     string
	strength events.Strength
	second   bool // asked for after a password
}{
	"PASSWORD":     {"password", events.SingleFactor, false},
	"TOTP":         {"otp", events.SingleFactor, true},
	"RESYNC_TOTP":  {"otp", events.SingleFactor, true},
	"EMAIL_OTP":    {"email", events.SingleFactor, false},
	"WEBAUTHN":     {"fido2", events.PhishingResistant, true},
	"SMARTCARD":    {"certificate", events.PhishingResistant, false},
	"EXTERNAL_IDP": {"external_idp", "", false},
}

// proved reads the credentials of a sign-in or of a step in it.
func (r *record) proved() (names []string, strongest events.Strength, second bool) {
	for text := range strings.SplitSeq(r.extra["CredentialType"], ",") {
		c, known := credentials[strings.ToUpper(strings.TrimSpace(text))]
		if !known {
			continue
		}
		if !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
		if c.strength.Rank() > strongest.Rank() {
			strongest = c.strength
		}
		second = second || c.second
	}
	return names, strongest, second
}

// challenge is IAM Identity Center asking for a credential. Some directories do not say whom.
func challenge(r *record, e *events.Event) error {
	user, err := r.user()
	if err != nil {
		return &foreign.Skipped{Reason: "context", Category: r.name} // a question to nobody is of no concern
	}
	e.User, e.Kind, e.Outcome, e.Interactive = user, events.SignIn, events.Challenge, events.Yes
	e.Auth.Methods, _, _ = r.proved()
	return nil
}

// verification is an answer to a challenge. A right one is followed by more challenges or by the sign-in itself.
func verification(r *record, e *events.Event) (err error) {
	if e.User, err = r.user(); err != nil {
		return err
	}
	e.Kind, e.Interactive = events.SignIn, events.Yes
	names, _, second := r.proved()
	e.Auth.Methods = names
	e.Code = cmp.Or(r.errorCode, r.service["CredentialVerification"])
	switch answer := r.service["CredentialVerification"]; {
	case strings.EqualFold(answer, "Success"):
		e.Outcome = events.Interrupt
		if second {
			e.Auth.MFA = events.MFAPerformed
		}
	case answer != "", r.errorCode != "", r.errorMessage != "":
		e.Outcome = events.Failure
		if second {
			e.Auth.MFA = events.MFAFailed
		}
	}
	return nil
}

// authentication is a sign-in to IAM Identity Center at its end, with all credentials that were verified.
func authentication(r *record, e *events.Event) (err error) {
	if e.User, err = r.user(); err != nil {
		return err
	}
	e.Kind, e.Interactive = events.SignIn, events.Yes
	e.App.ID = bounded(page(r.extra["LoginTo"]))
	e.Code = cmp.Or(r.errorCode, r.service["UserAuthentication"])
	e.Outcome = r.outcome()
	if answer := r.service["UserAuthentication"]; answer != "" && !strings.EqualFold(answer, "Success") {
		e.Outcome = events.Failure
	}
	names, strongest, second := r.proved()
	e.Auth.Methods = names
	if slices.Contains(names, "external_idp") {
		e.Auth.Protocol = "saml"
		return nil // what that provider asked for is not known here
	}
	if e.Outcome != events.Success {
		return nil
	}
	e.Auth.Strength = strongest
	switch {
	case strongest == events.PhishingResistant:
		e.Auth.MFA = events.MFAPerformed
	case second:
		e.Auth.MFA, e.Auth.Strength = events.MFAPerformed, events.MultiFactor
	case slices.Equal(names, []string{"password"}):
		e.Auth.MFA = events.MFANotRequired
	}
	return nil
}

// portal is the use of a session with the access portal: to open it, or to get into an account by a role.
func portal(r *record, e *events.Event) (err error) {
	if e.User, err = r.user(); err != nil {
		return err
	}
	e.Kind, e.Outcome, e.Interactive = events.SignIn, r.outcome(), events.No
	e.Session.ID = bounded(r.who.credential)
	if account, role := r.service["account_id"], r.service["role_name"]; account != "" || role != "" {
		e.Resource = events.Ref{ID: bounded(account + "/" + role), Name: role}
	}
	return nil
}

func logout(r *record, e *events.Event) (err error) {
	e.User, err = r.user()
	e.Kind, e.Outcome = events.SignOut, r.outcome()
	e.Session.ID = bounded(r.who.credential)
	return err
}

// withSAML is a session by an assertion of a SAML provider. The user is the session that a ConsoleLogin names, too; its
// name comes from the provider.
func withSAML(r *record, e *events.Event) (err error) {
	if e.User, err = r.user(); err != nil {
		return err
	}
	if session := r.response["assumedRoleUser.assumedRoleId"]; session != "" && r.who.onBehalfOf == "" {
		e.User.ID = bounded(session)
	}
	e.Kind, e.Outcome = events.SignIn, r.outcome()
	e.Auth.Protocol = "saml"
	provider := r.request["principalArn"]
	e.App.ID, e.Resource.ID = bounded(provider), bounded(r.request["roleArn"])
	if strings.Contains(provider, ":saml-provider/AWSSSO_") {
		e.Interactive = events.No // IAM Identity Center did it for somebody who uses the portal, from an address of its own
	}
	return nil
}

// withWebIdentity is a session by a token of an OpenID Connect provider. The caller chooses the session's name, so that
// the user is who the provider says.
func withWebIdentity(r *record, e *events.Event) (err error) {
	if e.User, err = r.user(); err != nil {
		return err
	}
	e.Kind, e.Outcome = events.SignIn, r.outcome()
	e.Auth.Protocol = "oidc"
	e.App.ID, e.Resource.ID = bounded(r.who.provider), bounded(r.request["roleArn"])
	if e.User.Type == events.Workload {
		e.Interactive = events.No
	}
	return nil
}

// federationToken is a session in a name that the caller chooses, so that the user is the caller.
func federationToken(r *record, e *events.Event) (err error) {
	if e.User, err = r.user(); err != nil {
		return err
	}
	e.Kind, e.Outcome, e.Interactive = events.SignIn, r.outcome(), events.No
	e.Resource = events.Ref{ID: bounded(r.response["federatedUser.arn"]), Name: r.request["name"]}
	return nil
}
