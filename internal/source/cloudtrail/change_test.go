package cloudtrail_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

func TestChangesOfIAMUsers(t *testing.T) {
	t.Parallel()
	const (
		key    = "AKIAEXAMPLE"
		policy = "arn:aws:iam::aws:policy/AdministratorAccess"
		phone  = "arn:aws:iam::111122223333:mfa/5b9e1f04"
		token  = "arn:aws:iam::111122223333:u2f/user/5b9e1f04/key"
	)
	self := events.User{ID: "AIDAEXAMPLE", Name: "5b9e1f04"}
	other := events.User{ID: "name:other", Type: events.Unresolved, Name: "Other"}
	by := events.Ref{ID: "AIDAEXAMPLE", Name: "5b9e1f04"}
	for name, c := range map[string]struct {
		call            string
		request, answer object
		user            events.User
		want            events.Change
	}{
		"own password": {"ChangePassword", nil, nil, self, events.Change{Type: events.CredentialChange, Action: events.Updated, Target: events.Ref{ID: "password"}}},
		"own key": {
			"CreateAccessKey", nil,
			object{"accessKey": object{"accessKeyId": key, "userName": "5b9e1f04", "status": "Active"}},
			self,
			events.Change{Type: events.CredentialChange, Action: events.Added, Target: events.Ref{ID: key, Name: "access_key"}},
		},
		"key for another": {
			"CreateAccessKey",
			object{"userName": "Other"},
			object{"accessKey": object{"accessKeyId": key}},
			other,
			events.Change{Type: events.CredentialChange, Action: events.Added, Target: events.Ref{ID: key, Name: "access_key"}, Actor: by},
		},
		"key off": {
			"UpdateAccessKey",
			object{"userName": "Other", "accessKeyId": key, "status": "Inactive"},
			nil, other,
			events.Change{Type: events.CredentialChange, Action: events.Disabled, Target: events.Ref{ID: key, Name: "access_key"}, Actor: by},
		},
		"key on": {
			"UpdateAccessKey",
			object{"userName": "Other", "accessKeyId": key, "status": "Active"},
			nil, other,
			events.Change{Type: events.CredentialChange, Action: events.Enabled, Target: events.Ref{ID: key, Name: "access_key"}, Actor: by},
		},
		"console for another": {
			"CreateLoginProfile",
			object{"userName": "Other", "passwordResetRequired": true},
			nil, other,
			events.Change{Type: events.CredentialChange, Action: events.Added, Target: events.Ref{ID: "password"}, Actor: by},
		},
		"password of another": {
			"UpdateLoginProfile",
			object{"userName": "Other"},
			nil, other,
			events.Change{Type: events.CredentialChange, Action: events.Reset, Target: events.Ref{ID: "password"}, Actor: by},
		},
		"own profile": {
			"UpdateLoginProfile",
			object{"userName": "5B9E1F04"},
			nil, self,
			events.Change{Type: events.CredentialChange, Action: events.Updated, Target: events.Ref{ID: "password"}},
		},
		"own phone": {
			"EnableMFADevice",
			object{"userName": "5b9e1f04", "serialNumber": phone},
			nil, self,
			events.Change{Type: events.MethodChange, Action: events.Added, Target: events.Ref{ID: phone, Name: "otp"}},
		},
		"key of another off": {
			"DeactivateMFADevice",
			object{"userName": "Other", "serialNumber": token},
			nil, other,
			events.Change{Type: events.MethodChange, Action: events.Removed, Target: events.Ref{ID: token, Name: "fido2"}, Actor: by},
		},
		"device gone": {
			"DeleteVirtualMFADevice",
			object{"serialNumber": phone},
			nil, self,
			events.Change{Type: events.MethodChange, Action: events.Removed, Target: events.Ref{ID: phone, Name: "otp"}},
		},
		"administrator": {
			"AttachUserPolicy",
			object{"userName": "Other", "policyArn": policy},
			nil, other,
			events.Change{Type: events.RoleChange, Action: events.Added, Target: events.Ref{ID: policy, Name: "policy"}, Actor: by},
		},
		"group": {
			"AddUserToGroup",
			object{"userName": "Other", "groupName": "admins"},
			nil, other,
			events.Change{Type: events.RoleChange, Action: events.Added, Target: events.Ref{ID: "admins", Name: "group"}, Actor: by},
		},
		"new user": {
			"CreateUser",
			object{"userName": "Other"},
			object{"user": object{"userId": "AIDAOTHER", "userName": "Other", "arn": "arn:aws:iam::111122223333:user/Other"}},
			events.User{ID: "AIDAOTHER", Name: "Other"},
			events.Change{Type: events.LifecycleChange, Action: events.Added, Actor: by},
		},
	} {
		e := one(t, call("iam", c.call, nil, c.request, c.answer))
		if e.Kind != events.AccountChange || e.Outcome != events.Success || e.Source.Category != c.call {
			t.Errorf("%s: %s %q", name, e.Kind, e.Outcome)
		}
		if diff := cmp.Diff(c.user, e.User) + cmp.Diff(c.want, e.Change); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	e := one(t, func(r object) {
		call("iam", "CreateAccessKey", nil, object{"userName": "Other"}, nil)(r)
		r["errorCode"], r["errorMessage"] = "AccessDenied", "User is not authorized"
	})
	if e.Outcome != events.Blocked || e.Code != "AccessDenied" || e.Change.Target != (events.Ref{ID: "access_key"}) {
		t.Errorf("a change that was refused: %q %q %+v", e.Outcome, e.Code, e.Change)
	}
	role := object{"type": "AssumedRole", "principalId": "AROAEXAMPLE:5b9e1f04", "accountId": account, "userName": "5b9e1f04"}
	if e := one(t, call("iam", "UpdateLoginProfile", role, object{"userName": "5b9e1f04"}, nil)); e.Change.Actor.ID != "AROAEXAMPLE:5b9e1f04" || e.User.ID != "name:5b9e1f04" {
		t.Errorf("a session that took a user's name is the user: %+v by %+v", e.User, e.Change.Actor)
	}
}

func TestChangesOfTheRootUser(t *testing.T) {
	t.Parallel()
	who := object{"type": "Root", "principalId": account, "accountId": account}
	for name, want := range map[string]events.Change{
		"PasswordUpdated":           {Type: events.CredentialChange, Action: events.Updated, Target: events.Ref{ID: "password"}},
		"PasswordRecoveryCompleted": {Type: events.CredentialChange, Action: events.Reset, Target: events.Ref{ID: "password"}},
		"EmailUpdated":              {Type: events.RecoveryChange, Action: events.Updated, Target: events.Ref{ID: "email"}},
	} {
		e := one(t, call("signin", name, who, nil, object{name: "Success"}))
		if diff := cmp.Diff(want, e.Change); diff != "" || e.User.ID != account || e.User.Privileged != events.Yes {
			t.Errorf("%s: %+v %s", name, e.User, diff)
		}
	}
}

func TestChangesInTheDirectory(t *testing.T) {
	t.Parallel()
	const other = "90ab12cd-0000-4000-8000-000000000001"
	for name, c := range map[string]struct {
		call    string
		request object
		user    string
		want    events.Change
	}{
		"own code":  {"CompleteVirtualMfaDeviceRegistration", object{"deviceId": "dev-1"}, portalUser, events.Change{Type: events.MethodChange, Action: events.Added, Target: events.Ref{ID: "dev-1", Name: "otp"}}},
		"own key":   {"CompleteWebAuthnDeviceRegistration", object{"userId": portalUser}, portalUser, events.Change{Type: events.MethodChange, Action: events.Added, Target: events.Ref{ID: "fido2"}}},
		"taken off": {"DeleteMfaDeviceForUser", object{"userId": other, "deviceId": "dev-1"}, other, events.Change{Type: events.MethodChange, Action: events.Removed, Target: events.Ref{ID: "dev-1", Name: "otp"}, Actor: events.Ref{ID: portalUser}}},
		"password":  {"UpdatePassword", object{"userId": other}, other, events.Change{Type: events.CredentialChange, Action: events.Reset, Target: events.Ref{ID: "password"}, Actor: events.Ref{ID: portalUser}}},
		"disabled":  {"DisableUser", object{"userId": other}, other, events.Change{Type: events.LifecycleChange, Action: events.Disabled, Actor: events.Ref{ID: portalUser}}},
		"group":     {"AddMemberToGroup", object{"groupId": "g-1", "memberId": object{"userId": other}}, other, events.Change{Type: events.RoleChange, Action: events.Added, Target: events.Ref{ID: "g-1", Name: "group"}, Actor: events.Ref{ID: portalUser}}},
	} {
		e := one(t, func(r object) {
			center("sso-directory", c.call, nil, nil)(r)
			r["requestParameters"] = c.request
		})
		if diff := cmp.Diff(c.want, e.Change); diff != "" || e.User.ID != c.user || e.Kind != events.AccountChange {
			t.Errorf("%s: %+v %s", name, e.User, diff)
		}
	}
}
