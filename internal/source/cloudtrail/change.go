package cloudtrail

import (
	"cmp"
	"maps"
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// change is a request that changes who may sign in, or what for.
type change struct {
	kind   events.ChangeType
	action events.ChangeAction
	// what is changed, and the paths in request and answer that name it; the first that is there counts.
	what  string
	paths []string
}

var (
	keyPaths    = []string{"accessKeyId", "accessKey.accessKeyId"}
	mfaPaths    = []string{"serialNumber"}
	policyPaths = []string{"policyArn", "policyName", "permissionsBoundary"}
	groupPaths  = []string{"groupName"}
	devicePaths = []string{"deviceId"}
	memberPaths = []string{"groupId"}
)

// changes of IAM users, by the name of the request.
var changes = map[string]change{
	"CreateUser":                      {events.LifecycleChange, events.Added, "", nil},
	"DeleteUser":                      {events.LifecycleChange, events.Removed, "", nil},
	"CreateLoginProfile":              {events.CredentialChange, events.Added, "password", nil},
	"UpdateLoginProfile":              {events.CredentialChange, events.Reset, "password", nil},
	"DeleteLoginProfile":              {events.CredentialChange, events.Removed, "password", nil},
	"ChangePassword":                  {events.CredentialChange, events.Updated, "password", nil},
	"CreateAccessKey":                 {events.CredentialChange, events.Added, "access_key", keyPaths},
	"DeleteAccessKey":                 {events.CredentialChange, events.Removed, "access_key", keyPaths},
	"UpdateAccessKey":                 {events.CredentialChange, events.Updated, "access_key", keyPaths},
	"UploadSSHPublicKey":              {events.CredentialChange, events.Added, "ssh_key", []string{"sSHPublicKey.sSHPublicKeyId", "sshPublicKey.sshPublicKeyId"}},
	"UploadSigningCertificate":        {events.CredentialChange, events.Added, "certificate", []string{"certificate.certificateId"}},
	"CreateServiceSpecificCredential": {events.CredentialChange, events.Added, "service_credential", []string{"serviceName"}},
	"ResetServiceSpecificCredential":  {events.CredentialChange, events.Reset, "service_credential", []string{"serviceSpecificCredentialId"}},

	"EnableMFADevice":        {events.MethodChange, events.Added, "", mfaPaths},
	"DeactivateMFADevice":    {events.MethodChange, events.Removed, "", mfaPaths},
	"DeleteVirtualMFADevice": {events.MethodChange, events.Removed, "", mfaPaths},
	"ResyncMFADevice":        {events.MethodChange, events.Updated, "", mfaPaths},

	"AttachUserPolicy":              {events.RoleChange, events.Added, "policy", policyPaths},
	"DetachUserPolicy":              {events.RoleChange, events.Removed, "policy", policyPaths},
	"PutUserPolicy":                 {events.RoleChange, events.Updated, "policy", policyPaths},
	"DeleteUserPolicy":              {events.RoleChange, events.Removed, "policy", policyPaths},
	"PutUserPermissionsBoundary":    {events.RoleChange, events.Updated, "boundary", policyPaths},
	"DeleteUserPermissionsBoundary": {events.RoleChange, events.Removed, "boundary", policyPaths},
	"AddUserToGroup":                {events.RoleChange, events.Added, "group", groupPaths},
	"RemoveUserFromGroup":           {events.RoleChange, events.Removed, "group", groupPaths},
}

// directory are changes of users of IAM Identity Center.
var directory = map[string]change{
	"CreateUser":                           {events.LifecycleChange, events.Added, "", nil},
	"DeleteUser":                           {events.LifecycleChange, events.Removed, "", nil},
	"EnableUser":                           {events.LifecycleChange, events.Enabled, "", nil},
	"DisableUser":                          {events.LifecycleChange, events.Disabled, "", nil},
	"UpdatePassword":                       {events.CredentialChange, events.Reset, "password", nil},
	"CompleteVirtualMfaDeviceRegistration": {events.MethodChange, events.Added, "otp", devicePaths},
	"CompleteWebAuthnDeviceRegistration":   {events.MethodChange, events.Added, "fido2", devicePaths},
	"DeleteMfaDeviceForUser":               {events.MethodChange, events.Removed, "", devicePaths},
	"AddMemberToGroup":                     {events.RoleChange, events.Added, "group", memberPaths},
	"RemoveMemberFromGroup":                {events.RoleChange, events.Removed, "group", memberPaths},
}

// root are changes that only the root user's own pages make.
var root = map[string]change{
	"PasswordUpdated":           {events.CredentialChange, events.Updated, "password", nil},
	"PasswordRecoveryCompleted": {events.CredentialChange, events.Reset, "password", nil},
	"EmailUpdated":              {events.RecoveryChange, events.Updated, "email", nil},
}

// ofIAM is a change of the IAM user that the request names, or else of who made it.
func (c change) ofIAM(r *record, e *events.Event) error {
	name := cmp.Or(r.request["userName"], r.response["user.userName"])
	if name == "" || r.who.kind == "IAMUser" && strings.EqualFold(name, r.who.name) {
		return c.ofSelf(r, e)
	}
	target := named(name)
	if id := r.response["user.userId"]; id != "" {
		target = events.User{ID: bounded(id), Name: name}
	}
	return c.by(r, e, target)
}

// ofDirectory is a change of the user whose id the request or the answer holds, or else of who made it.
func (c change) ofDirectory(r *record, e *events.Event) error {
	id := cmp.Or(r.request["userId"], r.request["member.memberId"], r.request["memberId.userId"], r.request["memberId"], r.response["user.userId"])
	if id == "" || strings.EqualFold(id, r.who.onBehalfOf) {
		return c.ofSelf(r, e)
	}
	return c.by(r, e, events.User{ID: bounded(strings.ToLower(id))})
}

// ofSelf is a change that users make for themselves.
func (c change) ofSelf(r *record, e *events.Event) (err error) {
	if e.User, err = r.user(); err != nil {
		return err
	}
	c.apply(r, e)
	if e.Change.Action == events.Reset && r.name != "PasswordRecoveryCompleted" {
		e.Change.Action = events.Updated
	}
	return nil
}

// by is a change that somebody makes for another.
func (c change) by(r *record, e *events.Event, target events.User) error {
	actor, err := r.user()
	if err != nil {
		return err
	}
	c.apply(r, e)
	e.User = target
	e.Change.Actor = events.Ref{ID: actor.ID, Name: actor.Name}
	return nil
}

func (c change) apply(r *record, e *events.Event) {
	e.Kind, e.Outcome = events.AccountChange, r.outcome()
	e.Change = events.Change{Type: c.kind, Action: c.action, Target: events.Ref{ID: c.what}}
	both := maps.Clone(r.response)
	if both == nil {
		both = map[string]string{}
	}
	maps.Copy(both, r.request)
	for _, path := range c.paths {
		if id := both[path]; id != "" {
			e.Change.Target = events.Ref{ID: bounded(id), Name: c.what}
			break
		}
	}
	switch {
	case c.kind == events.MethodChange && c.what == "":
		e.Change.Target.Name = device(e.Change.Target.ID)
	case r.name == "UpdateAccessKey" && strings.EqualFold(both["status"], "Active"):
		e.Change.Action = events.Enabled
	case r.name == "UpdateAccessKey" && strings.EqualFold(both["status"], "Inactive"):
		e.Change.Action = events.Disabled
	}
}

// device is the kind of a second factor, by its name: security keys have one of their own; the others are of time-based
// codes, in an app (arn:aws:iam::…:mfa/…) or of a token with a serial number.
func device(serial string) string {
	switch {
	case serial == "":
		return ""
	case strings.Contains(serial, ":u2f/"):
		return "fido2"
	}
	return "otp"
}
