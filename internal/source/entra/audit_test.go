package entra

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

const (
	adminID = "ac7e68c4-40fe-4b81-a7f7-b484de797cd3"
	roleID  = "62e90394-69f5-4237-9190-012177145e10"
	graphID = "0aa1bb22-1111-4222-8333-944455556666"
)

// auditProperties are those of an audit by which a person registers an authenticator.
func auditProperties(change func(object)) object {
	return edited(object{
		"id": "Authentication Methods_a412fc4e-c5e5-4f37-a928-896c34deb7ee_1ZG16_116958925", "category": "UserManagement", "result": "success",
		"resultReason": "User registered Authenticator App with Notification and Code", "activityDisplayName": "User registered security info",
		"activityDateTime": "2026-03-04T08:15:31.2442191+00:00", "loggedByService": "Authentication Methods", "operationType": "Add",
		"initiatedBy":     by(userID, userID+"@example.com"),
		"targetResources": []object{user(userID)}, "additionalDetails": []object{{"key": "User-Agent", "value": "Mozilla/5.0 Example/1.0"}},
	}, change)
}

// by is a person that did it.
func by(id, upn string) object {
	return object{"app": nil, "user": object{"id": id, "displayName": "Example", "userPrincipalName": upn, "ipAddress": "203.0.113.9", "roles": []string{}}}
}

// user is a user as a target, with modified properties: every one is "name|old|new", values as plain text.
func user(id string, modified ...string) object {
	return aim("User", id, id+"@example.com", modified...)
}

// aim is a target. Values of modified properties are JSON in a string, as Entra writes them.
func aim(kind, id, name string, modified ...string) object {
	properties := []object{}
	for _, m := range modified {
		f := strings.Split(m, "|")
		quoted := func(s string) any {
			switch {
			case s == "":
				return nil
			case s[0] == '[':
				return s
			}
			return fmt.Sprintf("%q", s)
		}
		properties = append(properties, object{"displayName": f[0], "oldValue": quoted(f[1]), "newValue": quoted(f[2])})
	}
	t := object{"id": strings.ToUpper(id), "type": kind, "displayName": name, "groupType": nil, "modifiedProperties": properties}
	if kind == "User" {
		t["userPrincipalName"], t["displayName"] = name, "Example"
	}
	return t
}

// audited decodes an audit that must give one event, by every way.
func audited(t testing.TB, change func(object)) *events.Event {
	t.Helper()
	t.Helper()
	e := one(t, EventHub(), around(t, "AuditLogs", auditProperties(change)))
	fromRow := one(t, LogAnalytics(), asRow(t, "AuditLogs", auditProperties(change)))
	if diff := cmp.Diff(e, fromRow); diff != "" && e.IP != "198.51.100.99" {
		t.Errorf("the row differs: %s", diff)
	}
	if fromGraph := decode(Graph(), text(t, auditProperties(change)))[0]; fromGraph.err != nil || fromGraph.event.Source != e.Source || !cmp.Equal(fromGraph.event.Change, e.Change) {
		t.Errorf("Graph's differs: %+v", fromGraph)
	}
	return e
}

// activityWith changes the activity, who did it and to what.
func activityWith(name string, by object, targets ...object) func(object) {
	return func(p object) {
		p["activityDisplayName"], p["initiatedBy"], p["targetResources"], p["resultReason"] = name, by, targets, ""
	}
}

func TestAudit(t *testing.T) {
	const id = "authentication methods_a412fc4e-c5e5-4f37-a928-896c34deb7ee_1zg16_116958925"
	want := &events.Event{
		ID: events.EventID(tenantID, "entra", id), Kind: events.AccountChange, Tenant: tenantID, Time: 1772612131244, Emitted: 1772612275104,
		User: events.User{ID: userID, Name: userID + "@example.com"}, Source: events.Source{Family: "entra", ID: id, Category: "AuditLogs"},
		Outcome: events.Success, Code: "User registered security info", Reason: "User registered Authenticator App with Notification and Code",
		IP: "203.0.113.9", UserAgent: "Mozilla/5.0 Example/1.0",
		Change: events.Change{Type: events.MethodChange, Action: events.Added, Target: events.Ref{Name: "authenticator_app"}},
	}
	if diff := cmp.Diff(want, audited(t, nil)); diff != "" {
		t.Error(diff)
	}
}

func TestAuditedChanges(t *testing.T) {
	admin := by(adminID, "admin@example.com")
	self := by(userID, userID+"@example.com")
	who := events.Ref{ID: adminID, Name: "admin@example.com"}
	role := []string{"Role.ObjectID||other", "Role.DisplayName||Global Administrator", "Role.TemplateId||" + roleID, "Role.WellKnownObjectName||TenantAdmins"}
	for name, c := range map[string]struct {
		change func(object)
		want   events.Change
	}{
		"own password":     {activityWith("Change password (self-service)", self, user(userID)), events.Change{Type: events.CredentialChange, Action: events.Updated}},
		"reset":            {activityWith("Reset user password", admin, user(userID)), events.Change{Type: events.CredentialChange, Action: events.Reset, Actor: who}},
		"reset, full stop": {activityWith("Reset password (by admin).", admin, user(userID)), events.Change{Type: events.CredentialChange, Action: events.Reset, Actor: who}},
		"app password":     {activityWith("Create application password for user", self, user(userID)), events.Change{Type: events.CredentialChange, Action: events.Added, Target: events.Ref{Name: "app_password"}}},
		"recovery":         {activityWith("Security info saved for self-service password reset", self, user(userID)), events.Change{Type: events.RecoveryChange, Action: events.Updated}},
		"pass by admin": {func(p object) {
			activityWith("Admin registered security info", admin, user(userID, "TemporaryAccessPass.Id||3d38627e"))(p)
			p["resultReason"] = "Admin registered temporary access pass method for user"
		}, events.Change{Type: events.MethodChange, Action: events.Added, Actor: who, Target: events.Ref{Name: "temporary_access_pass"}}},
		"key":          {activityWith("Add FIDO2 security key", self, user(userID)), events.Change{Type: events.MethodChange, Action: events.Added, Target: events.Ref{Name: "fido2"}}},
		"MFA off":      {activityWith("Disable Strong Authentication", admin, user(userID)), events.Change{Type: events.MethodChange, Action: events.Disabled, Actor: who}},
		"methods":      {activityWith("Update user", admin, user(userID, `StrongAuthenticationMethod|[{"MethodType":6}]|[]`)), events.Change{Type: events.MethodChange, Action: events.Updated, Actor: who}},
		"contact":      {activityWith("Update user", self, user(userID, `StrongAuthenticationUserDetails|[]|[{"PhoneNumber":"+1"}]`)), events.Change{Type: events.RecoveryChange, Action: events.Updated}},
		"switched off": {activityWith("Update user", admin, user(userID, "AccountEnabled|[true]|[false]")), events.Change{Type: events.LifecycleChange, Action: events.Disabled, Actor: who, From: "enabled", To: "disabled"}},
		"disabled":     {activityWith("Disable account", admin, user(userID)), events.Change{Type: events.LifecycleChange, Action: events.Disabled, Actor: who}},
		"deleted":      {activityWith("Delete user", admin, user(userID)), events.Change{Type: events.LifecycleChange, Action: events.Removed, Actor: who}},
		"unlocked":     {activityWith("Unlock user account (self-service)", self, user(userID)), events.Change{Type: events.LifecycleChange, Action: events.Unlocked}},
		"device":       {activityWith("Register device", object{"app": object{"displayName": "Device Registration Service", "servicePrincipalId": programID}}, aim("Device", "d-1", "LAPTOP"), user(userID)), events.Change{Type: events.DeviceChange, Action: events.Added, Target: events.Ref{ID: "d-1", Name: "LAPTOP"}, Actor: events.Ref{ID: programID, Name: "Device Registration Service"}}},
		"owner":        {activityWith("Add registered owner to device", self, user(userID, "Device.ObjectID||d-1", "Device.DisplayName||LAPTOP")), events.Change{Type: events.DeviceChange, Action: events.Added, Target: events.Ref{ID: "d-1", Name: "LAPTOP"}}},
		"own device":   {activityWith("Delete device", self, aim("Device", "d-1", "LAPTOP")), events.Change{Type: events.DeviceChange, Action: events.Removed, Target: events.Ref{ID: "d-1", Name: "LAPTOP"}}},
		"role":         {activityWith("Add member to role", admin, user(userID, role...), aim("Role", roleID, "")), events.Change{Type: events.RoleChange, Action: events.Added, Actor: who, Target: events.Ref{ID: roleID, Name: "Global Administrator"}}},
		"role, gone":   {activityWith("Remove member from role", admin, user(userID, "Role.DisplayName|Global Administrator|")), events.Change{Type: events.RoleChange, Action: events.Removed, Actor: who, Target: events.Ref{Name: "Global Administrator"}}},
		"role, in PIM": {activityWith("Add member to role completed (PIM activation)", self, aim("Role", roleID, "Global Administrator"), aim("Request", "x", ""), user(userID)), events.Change{Type: events.RoleChange, Action: events.Added, Target: events.Ref{ID: roleID, Name: "Global Administrator"}}},
		"group":        {activityWith("Add member to group", admin, user(userID, "Group.ObjectID||g-1", "Group.DisplayName||Admins"), aim("Group", "g-1", "")), events.Change{Type: events.RoleChange, Action: events.Added, Actor: who, Target: events.Ref{ID: "g-1", Name: "Admins"}}},
		"app role":     {activityWith("Add app role assignment grant to user", admin, aim("ServicePrincipal", programID, "Example Portal", "AppRole.Value||Owner", "User.ObjectID||"+userID, "User.UPN||"+userID+"@example.com")), events.Change{Type: events.RoleChange, Action: events.Added, Actor: who, Target: events.Ref{ID: programID, Name: "Example Portal"}, Grants: []string{"Owner"}}},
	} {
		e := audited(t, c.change)
		if diff := cmp.Diff(c.want, e.Change); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if e.User.ID != userID || e.User.Name != userID+"@example.com" || e.User.Type != "" {
			t.Errorf("%s: user %+v", name, e.User)
		}
	}
}

func TestAuditedConsents(t *testing.T) {
	self := by(userID, userID+"@example.com")
	app := events.Ref{ID: programID, Name: "Document Viewer"}
	permissions := "ConsentAction.Permissions||[] => [[Id: 2PkD, ClientId: 00000000-0000-0000-0000-000000000000, PrincipalId: " + userID +
		", ResourceId: " + graphID + ", ConsentType: Principal, Scope:  Mail.Read offline_access, CreatedDateTime: , LastModifiedDateTime ]]; "
	for name, c := range map[string]struct {
		change   func(object)
		user     events.User
		resource string
		want     events.Change
	}{
		"consent": {
			activityWith("Consent to application", self, aim("ServicePrincipal", programID, "Document Viewer", "ConsentContext.IsAdminConsent||False", permissions)),
			events.User{ID: userID, Name: userID + "@example.com"},
			"",
			events.Change{Type: events.ConsentChange, Action: events.Added, Target: app, To: "Principal", Grants: []string{"Mail.Read", "offline_access"}},
		},
		"delegated": {
			activityWith("Add delegated permission grant", self, aim("ServicePrincipal", graphID, "Microsoft Graph", "DelegatedPermissionGrant.Scope| User.Read| User.Read Mail.Read",
				"DelegatedPermissionGrant.ConsentType||AllPrincipals", "ServicePrincipal.ObjectID||"+programID, "ServicePrincipal.DisplayName||Document Viewer"), aim("ServicePrincipal", programID, "")),
			events.User{ID: userID, Name: userID + "@example.com"},
			graphID,
			events.Change{Type: events.ConsentChange, Action: events.Added, Target: app, To: "AllPrincipals", Grants: []string{"Mail.Read"}},
		},
		"taken back": {
			activityWith("Remove delegated permission grant", self, aim("ServicePrincipal", graphID, "Microsoft Graph", "DelegatedPermissionGrant.Scope| User.Read Mail.Read|",
				"DelegatedPermissionGrant.ConsentType|Principal|"), aim("ServicePrincipal", programID, "Document Viewer")),
			events.User{ID: userID, Name: userID + "@example.com"},
			graphID,
			events.Change{Type: events.ConsentChange, Action: events.Removed, Target: app, From: "Principal", Grants: []string{"User.Read", "Mail.Read"}},
		},
		"of a program": {
			activityWith("Add app role assignment to service principal", self, aim("ServicePrincipal", graphID, "Microsoft Graph", "AppRole.Value||Mail.ReadWrite",
				"ServicePrincipal.ObjectID||"+programID, "ServicePrincipal.DisplayName||Document Viewer"), aim("ServicePrincipal", programID, "")),
			events.User{ID: programID, Type: events.Workload, Name: "Document Viewer"},
			graphID,
			events.Change{Type: events.ConsentChange, Action: events.Added, Target: app, Grants: []string{"Mail.ReadWrite"}, Actor: events.Ref{ID: userID, Name: userID + "@example.com"}},
		},
	} {
		e := audited(t, c.change)
		if diff := cmp.Diff(c.want, e.Change); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if !cmp.Equal(e.User, c.user) || e.Resource.ID != c.resource {
			t.Errorf("%s: user %+v, resource %+v", name, e.User, e.Resource)
		}
	}
}

func TestAuditOfSeveralUsers(t *testing.T) {
	value := around(t, "AuditLogs", auditProperties(activityWith("Add member to group", by(adminID, "admin@example.com"),
		user(userID, "Group.DisplayName||Admins"), user(adminID), user(userID))))
	got := decode(EventHub(), value)
	if len(got) != 2 {
		t.Fatalf("%+v, want two events", got)
	}
	for n, r := range got {
		if r.err != nil || !strings.HasSuffix(r.event.Source.ID, fmt.Sprintf("#%d", n)) || r.event.Change.Target.Name != "Admins" || r.record != value {
			t.Errorf("%d: %+v", n, r)
		}
	}
	if a, b := got[0].event, got[1].event; a.User.ID != userID || b.User.ID != adminID || a.Change.Actor.ID != adminID || b.Change.Actor != (events.Ref{}) {
		t.Errorf("%+v and %+v", a, b)
	}
}

func TestRevokedSessionsAreASignOut(t *testing.T) {
	e := one(t, EventHub(), around(t, "AuditLogs", auditProperties(activityWith("Update StsRefreshTokenValidFrom Timestamp", by(adminID, "admin@example.com"), user(userID)))))
	if e.Kind != events.SignOut || e.User.ID != userID || e.Session.ID != "" || e.Change.Type != "" || e.Change.Actor.ID != adminID {
		t.Errorf("%+v", e)
	}
}

func TestAuditsOfNoConcern(t *testing.T) {
	admin := by(adminID, "admin@example.com")
	for _, c := range []struct {
		change           func(object)
		reason, category string
	}{
		{activityWith("Set company information", admin), "category", "Set company information"},
		{activityWith("Update user", admin, user(userID, "Department|Sales|Security")), "category", "Update user"},
		{activityWith("Add member to role requested (PIM activation)", admin, user(userID)), "category", "Add member to role requested (PIM activation)"},
		{activityWith("Add member to role", admin, aim("Group", "g-1", "Admins"), aim("Role", roleID, "")), "no_user", "Add member to role"},
		{activityWith("Update device", object{"app": object{"displayName": "Device Registration Service"}}, aim("Device", "d-1", "LAPTOP")), "no_user", "Update device"},
	} {
		if reason, category := skipped(t, EventHub(), around(t, "AuditLogs", auditProperties(c.change))); reason != c.reason || category != c.category {
			t.Errorf("%q %q, want %q %q", reason, category, c.reason, c.category)
		}
	}
}

func TestAuditNamedByItsOperation(t *testing.T) {
	value := around(t, "AuditLogs", auditProperties(func(p object) { delete(p, "activityDisplayName") }))
	e := one(t, EventHub(), strings.Replace(value, `"category":"AuditLogs"`, `"category":"AuditLogs","operationName":"Disable account"`, 1))
	if e.Code != "Disable account" || e.Change.Type != events.LifecycleChange || e.Change.Action != events.Disabled {
		t.Errorf("%q %+v", e.Code, e.Change)
	}
}

func TestAuditResults(t *testing.T) {
	for result, want := range map[any]events.Outcome{"success": events.Success, "Success": events.Success, 0: events.Success, "failure": events.Failure, "timeout": events.Failure, "unknownFutureValue": "", nil: ""} {
		e := audited(t, func(p object) { p["result"] = result })
		if e.Outcome != want {
			t.Errorf("%v: %q, want %q", result, e.Outcome, want)
		}
	}
	for field, change := range map[string]func(object){
		"id: is missing":               func(p object) { delete(p, "id") },
		"activityDateTime: is missing": func(p object) { p["activityDateTime"] = "" },
		`activityDateTime: "soon"`:     func(p object) { p["activityDateTime"] = "soon" },
	} {
		if why := refused(t, EventHub(), around(t, "AuditLogs", auditProperties(change))); !strings.Contains(why, field) {
			t.Errorf("%s: %s", field, why)
		}
	}
}

func TestT25_AuditsWriteNullAsAnAddress(t *testing.T) {
	e := audited(t, func(p object) {
		who := maps.Clone(p["initiatedBy"].(object)["user"].(object))
		who["ipAddress"] = "<null>"
		p["initiatedBy"] = object{"user": who}
	})
	if e.IP != "198.51.100.99" || e.AddressText != "" {
		t.Errorf("%q %q, want the caller's", e.IP, e.AddressText)
	}
}
