package entra

import (
	"strings"

	"github.com/countersign-io/countersign/internal/events"
)

// activity is what an audited activity does to an account.
type activity struct {
	change events.ChangeType
	action events.ChangeAction
	// whose says whom the change is about when no user is among the targets.
	whose whose
}

// whose says whom an audit without a user among its targets is about.
type whose int

const (
	nobody    whose = iota
	initiator       // who did it did it to himself
	program         // a service principal among the targets
)

// activities are the audited activities that concern an account, by their display names in lower case. The names are prose
// of the provider.
var activities = map[string]activity{
	"change password (self-service)":                      {events.CredentialChange, events.Updated, initiator},
	"change user password":                                {events.CredentialChange, events.Updated, nobody},
	"reset password":                                      {events.CredentialChange, events.Reset, nobody},
	"reset user password":                                 {events.CredentialChange, events.Reset, nobody},
	"reset password (by admin)":                           {events.CredentialChange, events.Reset, nobody},
	"reset password (self-service)":                       {events.CredentialChange, events.Reset, initiator},
	"create application password for user":                {events.CredentialChange, events.Added, nobody},
	"delete application password for user":                {events.CredentialChange, events.Removed, nobody},
	"add service principal credentials":                   {events.CredentialChange, events.Added, program},
	"remove service principal credentials":                {events.CredentialChange, events.Removed, program},
	"security info saved for self-service password reset": {events.RecoveryChange, events.Updated, initiator},

	"user registered security info":                       {events.MethodChange, events.Added, initiator},
	"user updated security info":                          {events.MethodChange, events.Updated, initiator},
	"user changed default security info":                  {events.MethodChange, events.Updated, initiator},
	"user deleted security info":                          {events.MethodChange, events.Removed, initiator},
	"admin registered security info":                      {events.MethodChange, events.Added, nobody},
	"admin updated security info":                         {events.MethodChange, events.Updated, nobody},
	"admin deleted security info":                         {events.MethodChange, events.Removed, nobody},
	"enable strong authentication":                        {events.MethodChange, events.Enabled, nobody},
	"disable strong authentication":                       {events.MethodChange, events.Disabled, nobody},
	"add users strong authentication phone app detail":    {events.MethodChange, events.Added, nobody},
	"remove users strong authentication phone app detail": {events.MethodChange, events.Removed, nobody},
	"add fido2 security key":                              {events.MethodChange, events.Added, initiator},
	"delete fido2 security key(s)":                        {events.MethodChange, events.Removed, initiator},
	"add passkey (device-bound)":                          {events.MethodChange, events.Added, initiator},
	"delete passkey (device-bound)":                       {events.MethodChange, events.Removed, initiator},
	"add windows hello for business credential":           {events.MethodChange, events.Added, initiator},
	"delete windows hello for business credential":        {events.MethodChange, events.Removed, initiator},
	"add passwordless phone sign-in credential":           {events.MethodChange, events.Added, initiator},
	"delete passwordless phone sign-in credential":        {events.MethodChange, events.Removed, initiator},
	"add platform credential":                             {events.MethodChange, events.Added, initiator},
	"delete platform credential":                          {events.MethodChange, events.Removed, initiator},

	"add device":                          {events.DeviceChange, events.Added, initiator},
	"register device":                     {events.DeviceChange, events.Added, initiator},
	"add registered owner to device":      {events.DeviceChange, events.Added, initiator},
	"add registered users to device":      {events.DeviceChange, events.Added, initiator},
	"update device":                       {events.DeviceChange, events.Updated, initiator},
	"device no longer compliant":          {events.DeviceChange, events.Updated, nobody},
	"device no longer managed":            {events.DeviceChange, events.Updated, nobody},
	"delete device":                       {events.DeviceChange, events.Removed, initiator},
	"unregister device":                   {events.DeviceChange, events.Removed, initiator},
	"remove registered owner from device": {events.DeviceChange, events.Removed, initiator},
	"remove registered users from device": {events.DeviceChange, events.Removed, initiator},

	"consent to application":                            {events.ConsentChange, events.Added, initiator},
	"add delegated permission grant":                    {events.ConsentChange, events.Added, initiator},
	"remove delegated permission grant":                 {events.ConsentChange, events.Removed, initiator},
	"add app role assignment to service principal":      {events.ConsentChange, events.Added, program},
	"remove app role assignment from service principal": {events.ConsentChange, events.Removed, program},

	"add app role assignment grant to user":       {events.RoleChange, events.Added, nobody},
	"remove app role assignment from user":        {events.RoleChange, events.Removed, nobody},
	"add member to role":                          {events.RoleChange, events.Added, program},
	"add eligible member to role":                 {events.RoleChange, events.Added, program},
	"add scoped member to role":                   {events.RoleChange, events.Added, program},
	"add role assignment to role definition":      {events.RoleChange, events.Added, program},
	"remove member from role":                     {events.RoleChange, events.Removed, program},
	"remove eligible member from role":            {events.RoleChange, events.Removed, program},
	"remove scoped member from role":              {events.RoleChange, events.Removed, program},
	"remove role assignment from role definition": {events.RoleChange, events.Removed, program},
	"add member to group":                         {events.RoleChange, events.Added, nobody},
	"remove member from group":                    {events.RoleChange, events.Removed, nobody},

	"add user":                           {events.LifecycleChange, events.Added, nobody},
	"invite external user":               {events.LifecycleChange, events.Added, nobody},
	"restore user":                       {events.LifecycleChange, events.Added, nobody},
	"delete user":                        {events.LifecycleChange, events.Removed, nobody},
	"hard delete user":                   {events.LifecycleChange, events.Removed, nobody},
	"enable account":                     {events.LifecycleChange, events.Enabled, nobody},
	"disable account":                    {events.LifecycleChange, events.Disabled, nobody},
	"unlock user account (self-service)": {events.LifecycleChange, events.Unlocked, initiator},
}

const (
	// updateUser is the activity of any change of a user's attributes; what it means its properties say.
	updateUser = "update user"
	// revokeSessions is the activity by which all refresh tokens of a user end.
	revokeSessions = "update stsrefreshtokenvalidfrom timestamp"
)

// ActivityOf says what an audited activity, by its display name, does to the account of a user: not those that concern a
// program only. Other logs of the same directory have the same activities.
func ActivityOf(name string) (events.ChangeType, events.ChangeAction, bool) {
	done, ok := activityOf(name)
	if !ok || done.whose == program && done.change != events.RoleChange {
		return "", "", false
	}
	return done.change, done.action, true
}

// activityOf finds an activity by its display name.
func activityOf(name string) (activity, bool) {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if a, ok := activities[name]; ok {
		return a, true
	}
	return privileged(name)
}

// privileged are the activities of Privileged Identity Management. Requests, approvals and refusals change nothing yet;
// what is completed or has expired does.
func privileged(name string) (activity, bool) {
	if !strings.Contains(name, "completed") && !strings.Contains(name, "expired") && !strings.Contains(name, "outside of pim") {
		return activity{}, false
	}
	for _, p := range [...]struct {
		prefix string
		action events.ChangeAction
	}{
		{"add member to role", events.Added},
		{"add eligible member to role", events.Added},
		{"restore member from role", events.Added},
		{"restore eligible member from role", events.Added},
		{"remove member from role", events.Removed},
		{"remove eligible member from role", events.Removed},
	} {
		if strings.HasPrefix(name, p.prefix) {
			return activity{events.RoleChange, p.action, program}, true
		}
	}
	return activity{}, false
}

// registered names the method that an audit is about, by the words of its activity and reason; "" when they name none.
func registered(name, reason string) string {
	for _, text := range [...]string{name, reason} {
		text = strings.ToLower(text)
		for _, m := range registrations {
			if strings.Contains(text, m.mark) {
				return m.name
			}
		}
	}
	return ""
}

// registrations are matched in order by a part of their name.
var registrations = []struct{ mark, name string }{
	{"fido", "fido2"},
	{"passkey", "passkey"},
	{"windows hello", "windows_hello"},
	{"platform credential", "platform_credential"},
	{"certificate", "certificate"},
	{"temporary access pass", "temporary_access_pass"},
	{"phone sign-in", "phone_sign_in"},
	{"passwordless", "phone_sign_in"},
	{"app password", "app_password"},
	{"application password", "app_password"},
	{"authenticator app with code", "otp"},
	{"authenticator", "authenticator_app"},
	{"phone app", "authenticator_app"},
	{"mobile app", "authenticator_app"},
	{"oath", "otp"},
	{"hardware token", "otp"},
	{"security question", "security_questions"},
	{"email", "email"},
	{"phone", "phone"},
}
