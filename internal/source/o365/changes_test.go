package o365

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

func target(kind, id string, more ...object) []object {
	return append([]object{{"ID": kind + "_" + id, "Type": 2}, {"ID": id, "Type": 2}, {"ID": kind, "Type": 2}}, more...)
}

// directory is a record of type 8: an administrator changes a user.
func directory(t testing.TB, operation string, change func(r object)) string {
	t.Helper()
	r := object{
		"Id": recordID, "CreationTime": "2026-03-04T08:15:35", "RecordType": 8, "Operation": operation, "ResultStatus": "Success",
		"OrganizationId": tenantID, "Workload": "AzureActiveDirectory", "UserKey": "10030000A8DD5B4C@example.com", "UserId": "admin@example.com",
		"UserType": 0, "ActorIpAddress": nil, "ClientIP": "<null>", "ObjectId": "pat@example.com", "AzureActiveDirectoryEventType": 1,
		"ExtendedProperties": []object{pair("additionalDetails", `{"User-Agent":"Example/1.0"}`), pair("extendedAuditEventCategory", "User")},
		"Actor":              append(target("User", adminID), object{"ID": "admin@example.com", "Type": 5}, object{"ID": "10030000A8DD5B4C", "Type": 3}),
		"Target":             append(target("User", userID), object{"ID": "pat@example.com", "Type": 5}, object{"ID": "10037FFE91510806", "Type": 3}),
		"ModifiedProperties": []object{},
	}
	if change != nil {
		change(r)
	}
	return asJSON(t, r)
}

func modified(properties ...object) func(object) {
	return func(r object) { r["ModifiedProperties"] = properties }
}

func property(name, before, after string) object {
	return object{"Name": name, "OldValue": before, "NewValue": after}
}

var admin = events.Ref{ID: adminID, Name: "admin@example.com"}

func TestDirectoryChange(t *testing.T) {
	want := &events.Event{
		ID: events.EventID(tenantID, "o365", recordID), Kind: events.AccountChange, Tenant: tenantID,
		User: events.User{ID: userID, Name: "pat@example.com"}, Time: 1772612135000,
		Source: events.Source{Family: "o365", ID: recordID, Category: "Reset user password"}, Outcome: events.Success,
		UserAgent: "Example/1.0",
		Change:    events.Change{Type: events.CredentialChange, Action: events.Reset, Actor: admin},
	}
	if diff := cmp.Diff(want, one(t, directory(t, "Reset user password.", nil))); diff != "" {
		t.Error(diff)
	}
}

func TestChanges(t *testing.T) {
	role := events.Ref{ID: "62e90394-69f5-4237-9190-012177145e10", Name: "Global Administrator"}
	app := events.Ref{ID: appID, Name: "Mail Reader"}
	consent := func(grants string) func(object) {
		return func(r object) {
			r["Target"] = target("ServicePrincipal", appID, object{"ID": "Mail Reader", "Type": 1})
			r["ModifiedProperties"] = []object{property("ConsentContext.IsAdminConsent", "", "True"), property("ConsentAction.Permissions", "", grants)}
		}
	}
	for name, c := range map[string]struct {
		operation string
		change    func(object)
		user      string
		want      events.Change
	}{
		"password by oneself": {
			"Change user password.", func(r object) { r["Actor"] = r["Target"]; r["UserId"] = "pat@example.com" },
			userID,
			events.Change{Type: events.CredentialChange, Action: events.Updated},
		},
		"security info":         {"User registered security info", nil, userID, events.Change{Type: events.MethodChange, Action: events.Added, Actor: admin}},
		"strong authentication": {"Disable Strong Authentication.", nil, userID, events.Change{Type: events.MethodChange, Action: events.Disabled, Actor: admin}},
		"passkey":               {"Add passkey (device-bound).", nil, userID, events.Change{Type: events.MethodChange, Action: events.Added, Actor: admin}},
		"role": {
			"Add member to role.", modified(property("Role.ObjectID", "", role.ID), property("Role.DisplayName", "", role.Name), property("Role.TemplateId", "", "x")),
			userID,
			events.Change{Type: events.RoleChange, Action: events.Added, Target: role, Actor: admin},
		},
		"role taken": {
			"Remove member from role.", modified(property("Role.ObjectID", `"`+role.ID+`"`, ""), property("Role.DisplayName", `"Global Administrator"`, "")),
			userID,
			events.Change{Type: events.RoleChange, Action: events.Removed, Target: role, Actor: admin},
		},
		"group": {
			"Add member to group.", modified(property("Group.ObjectID", "", "a-1"), property("Group.DisplayName", "", "Finance")),
			userID,
			events.Change{Type: events.RoleChange, Action: events.Added, Target: events.Ref{ID: "a-1", Name: "Finance"}, Actor: admin},
		},
		"consent": {
			"Consent to application.", consent("[] => [[Id: x, ClientId: y, PrincipalId: z, ResourceId: w, ConsentType: Principal, Scope:  User.Read Mail.Read offline_access, CreatedDateTime: , LastModifiedDateTime ]]; "),
			adminID,
			events.Change{Type: events.ConsentChange, Action: events.Added, Target: app, Grants: []string{"User.Read", "Mail.Read", "offline_access"}},
		},
		"consent of two": {
			"Consent to application.", consent("[[Scope: A]] => [[Id: x, Scope: B C, D: ], [Id: y, Scope: E]]"),
			adminID,
			events.Change{Type: events.ConsentChange, Action: events.Added, Target: app, Grants: []string{"B", "C", "E"}},
		},
		"grant": {
			"Add delegated permission grant.", func(r object) {
				consent("")(r)
				r["ModifiedProperties"] = []object{property("DelegatedPermissionGrant.Scope", "", `" Files.Read Mail.Send"`)}
			},
			adminID,
			events.Change{Type: events.ConsentChange, Action: events.Added, Target: app, Grants: []string{"Files.Read", "Mail.Send"}},
		},
		"owner of a device": {
			"Add registered owner to device.", modified(property("Device.ObjectID", "", "D-1"), property("Device.DisplayName", "", "laptop")),
			userID,
			events.Change{Type: events.DeviceChange, Action: events.Added, Target: events.Ref{ID: "d-1", Name: "laptop"}, Actor: admin},
		},
		"a device by a user": {
			"Delete device.", func(r object) { r["Target"] = target("Device", appID, object{"ID": "laptop", "Type": 1}) },
			adminID,
			events.Change{Type: events.DeviceChange, Action: events.Removed, Target: events.Ref{ID: appID, Name: "laptop"}},
		},
		"disabled":              {"Disable account.", nil, userID, events.Change{Type: events.LifecycleChange, Action: events.Disabled, Actor: admin}},
		"in capitals, no point": {"ADD USER", nil, userID, events.Change{Type: events.LifecycleChange, Action: events.Added, Actor: admin}},
		"by a program": {
			"Reset user password.", func(r object) {
				r["Actor"] = target("ServicePrincipal", appID, object{"ID": "Reset Tool", "Type": 1})
				r["UserId"], r["UserKey"] = "ServicePrincipal_"+appID, "Not Available"
			},
			userID,
			events.Change{Type: events.CredentialChange, Action: events.Reset, Actor: events.Ref{ID: appID, Name: "Reset Tool"}},
		},
		"target with an older id only": {
			"Delete user.", set("Target", []object{{"ID": "pat@example.com", "Type": 5}, {"ID": "10037FFE91510806", "Type": 3}}),
			"puid:10037ffe91510806",
			events.Change{Type: events.LifecycleChange, Action: events.Removed, Actor: admin},
		},
	} {
		e := one(t, directory(t, c.operation, c.change))
		if diff := cmp.Diff(c.want, e.Change); diff != "" || e.User.ID != c.user || e.Kind != events.AccountChange {
			t.Errorf("%s: %s of user %s, want %s; %s", name, e.Kind, e.User.ID, c.user, diff)
		}
	}
}

func TestUpdateUserSaysWhatInItsProperties(t *testing.T) {
	phones := `[{"MethodType":6,"Default":true}]`
	for name, c := range map[string]struct {
		properties []object
		want       []events.Change
	}{
		"added":    {[]object{property("StrongAuthenticationMethod", "[]", phones)}, []events.Change{{Type: events.MethodChange, Action: events.Added}}},
		"removed":  {[]object{property("StrongAuthenticationMethod", phones, "[]")}, []events.Change{{Type: events.MethodChange, Action: events.Removed}}},
		"updated":  {[]object{property("StrongAuthenticationPhoneAppDetail", phones, phones)}, []events.Change{{Type: events.MethodChange, Action: events.Updated}}},
		"disabled": {[]object{property("AccountEnabled", "[\r\n  true\r\n]", "[\r\n  false\r\n]")}, []events.Change{{Type: events.LifecycleChange, Action: events.Disabled}}},
		"enabled":  {[]object{property("AccountEnabled", "[false]", "[true]")}, []events.Change{{Type: events.LifecycleChange, Action: events.Enabled}}},
		"two": {
			[]object{property("AccountEnabled", "[true]", "[false]"), property("StrongAuthenticationMethod", "[]", phones), property("StrongAuthenticationMethod", phones, "[]")},
			[]events.Change{{Type: events.LifecycleChange, Action: events.Disabled}, {Type: events.MethodChange, Action: events.Added}},
		},
	} {
		got := decode(directory(t, "Update user.", modified(c.properties...)))
		if len(got) != len(c.want) {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		ids := map[string]bool{}
		for n, r := range got {
			if r.err != nil {
				t.Fatal(r.err)
			}
			e := valid(t, r.event)
			ids[e.ID] = true
			if e.Change.Type != c.want[n].Type || e.Change.Action != c.want[n].Action || e.Change.Actor != admin {
				t.Errorf("%s: change %+v, want %+v", name, e.Change, c.want[n])
			}
			if strings.Contains(e.Change.Target.Name+e.Change.From+e.Change.To, "MethodType") {
				t.Errorf("%s: the values leak: %+v", name, e.Change)
			}
		}
		if len(ids) != len(c.want) {
			t.Errorf("%s: ids %v must differ", name, ids)
		}
	}
	skipped(t, directory(t, "Update user.", modified(property("DisplayName", "a", "b"))), "category")
	skipped(t, directory(t, "Update user.", nil), "category")
}

func TestRevokedSessionsAreASignOut(t *testing.T) {
	e := one(t, directory(t, "Update StsRefreshTokenValidFrom Timestamp.", nil))
	if e.Kind != events.SignOut || e.User.ID != userID || e.Session.ID != "" || e.Change.Actor != admin || e.Change.Type != "" {
		t.Errorf("%+v", e)
	}
}

func TestChangesOfNoConcern(t *testing.T) {
	skipped(t, directory(t, "Change user license.", nil), "category")
	skipped(t, directory(t, "", nil), "category")
	// A device that a service registers is nobody's yet.
	skipped(t, directory(t, "Add device.", func(r object) {
		r["Target"], r["Actor"] = target("Device", appID), target("ServicePrincipal", adminID)
		r["UserId"], r["UserKey"] = "ServicePrincipal_"+adminID, "Not Available"
	}), "no_user")
	refused(t, directory(t, "Delete user.", without("Id")), "Id: is missing")
	// A change that failed is told, with its outcome.
	if e := one(t, directory(t, "Delete user.", set("ResultStatus", "Failure"))); e.Outcome != events.Failure {
		t.Errorf("outcome %q", e.Outcome)
	}
	if e := one(t, directory(t, "Delete user.", without("ResultStatus"))); e.Outcome != "" {
		t.Errorf("outcome %q, want unknown", e.Outcome)
	}
}
