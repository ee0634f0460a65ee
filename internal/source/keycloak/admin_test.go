package keycloak

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

// adminEvent is an admin event as the REST API gives it.
func adminEvent(t testing.TB, operation, resource, path, representation string) string {
	t.Helper()
	raw, err := json.Marshal(object{
		"id": eventID, "time": int64(1772612135123), "realmId": realmID, "operationType": operation, "resourceType": resource, "resourcePath": path,
		"representation": representation, "authDetails": object{"realmId": "0c0c0c0c-0000-4000-8000-000000000001", "clientId": "admin-cli", "userId": adminID, "ipAddress": "198.51.100.9"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestAdminEvents(t *testing.T) {
	const user = "users/" + userID
	admin := events.Ref{ID: adminID}
	for name, c := range map[string]struct {
		operation, resource, path, representation string
		want                                      events.Change
	}{
		"created":  {"CREATE", "USER", user, `{"username":"pat","enabled":true}`, events.Change{Type: events.LifecycleChange, Action: events.Added, Actor: admin}},
		"updated":  {"UPDATE", "USER", user, `{"username":"pat","enabled":true}`, events.Change{Type: events.LifecycleChange, Action: events.Updated, Actor: admin}},
		"disabled": {"UPDATE", "USER", user, `{"username":"pat","enabled":false}`, events.Change{Type: events.LifecycleChange, Action: events.Disabled, Actor: admin}},
		"deleted":  {"DELETE", "USER", user, "", events.Change{Type: events.LifecycleChange, Action: events.Removed, Actor: admin}},
		"role": {
			"CREATE", "REALM_ROLE_MAPPING", user + "/role-mappings/realm", `[{"id":"r-1","name":"admin"}]`,
			events.Change{Type: events.RoleChange, Action: events.Added, Target: events.Ref{ID: "r-1", Name: "admin"}, Actor: admin},
		},
		"roles taken": {
			"DELETE", "CLIENT_ROLE_MAPPING", user + "/role-mappings/clients/c-1", `[{"id":"r-1","name":"admin"},{"id":"r-2","name":"auditor"}]`,
			events.Change{Type: events.RoleChange, Action: events.Removed, Target: events.Ref{ID: "r-1", Name: "admin"}, To: "admin, auditor", Actor: admin},
		},
		"group": {
			"CREATE", "GROUP_MEMBERSHIP", user + "/groups/g-1", `{"id":"g-1","name":"ops","path":"/it/ops"}`,
			events.Change{Type: events.RoleChange, Action: events.Added, Target: events.Ref{ID: "g-1", Name: "/it/ops"}, Actor: admin},
		},
		"password":       {"ACTION", "USER", user + "/reset-password", `{"type":"password","value":"**********"}`, events.Change{Type: events.CredentialChange, Action: events.Reset, Actor: admin}},
		"credential":     {"ACTION", "USER", user + "/credentials/k-1", "", events.Change{Type: events.MethodChange, Action: events.Removed, Target: events.Ref{ID: "k-1"}, Actor: admin}},
		"external":       {"CREATE", "USER", user + "/federated-identity/github", "", events.Change{Type: events.CredentialChange, Action: events.Added, Target: events.Ref{Name: "github"}, Actor: admin}},
		"consent":        {"DELETE", "USER", user + "/consents/app", "", events.Change{Type: events.ConsentChange, Action: events.Removed, Target: events.Ref{ID: "app"}, Actor: admin}},
		"broken writing": {"CREATE", "REALM_ROLE_MAPPING", user + "/role-mappings/realm", `[{"id":`, events.Change{Type: events.RoleChange, Action: events.Added, Actor: admin}},
	} {
		e := one(t, adminEvent(t, c.operation, c.resource, c.path, c.representation))
		if diff := cmp.Diff(c.want, e.Change); diff != "" || e.Kind != events.AccountChange || e.User.ID != userID || e.Tenant != realmID || e.IP != "198.51.100.9" {
			t.Errorf("%s: %s of %q in %q from %q; %s", name, e.Kind, e.User.ID, e.Tenant, e.IP, diff)
		}
	}
	e := one(t, adminEvent(t, "ACTION", "USER", user+"/logout", ""))
	if e.Kind != events.SignOut || e.Session.ID != "" || e.Change.Actor != admin {
		t.Errorf("%+v", e)
	}
	for _, path := range []string{"clients/c-1", "users", "users/", "users/" + userID + "/impersonation", "users/" + userID + "/execute-actions-email", "users/" + userID + "/credentials/k-1/moveToFirst", ""} {
		skipped(t, adminEvent(t, "ACTION", "X", path, ""), "category")
	}
}

func TestAdminEventInTheLog(t *testing.T) {
	e := one(t, head+`operationType="CREATE", realmId="9a8b7c6d", realmName="prod", clientId="admin-cli", userId="`+adminID+`", ipAddress="198.51.100.9", resourceType="REALM_ROLE_MAPPING", resourcePath="users/`+userID+`/role-mappings/realm"`)
	if e.User.ID != userID || e.Change.Actor.ID != adminID || e.Change.Type != events.RoleChange || e.Source.Category != "REALM_ROLE_MAPPING CREATE" {
		t.Errorf("%+v", e)
	}
}
