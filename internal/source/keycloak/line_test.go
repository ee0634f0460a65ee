package keycloak

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

const (
	head    = "2026-03-04 08:15:35,123 WARN  [org.keycloak.events] (executor-thread-1) "
	failure = `type="LOGIN_ERROR", realmId="9a8b7c6d", realmName="prod", clientId="web", userId="null", ipAddress="192.0.2.60", error="user_not_found", auth_method="openid-connect", auth_type="code", redirect_uri="https://app.example.com/?a=b, c=d", code_id="c-1", username="pat"`
)

// sameButID compares what two lines say.
func sameButID(t *testing.T, name string, want, got *events.Event) {
	t.Helper()
	a, b := *want, *got
	a.ID, a.Source.ID, b.ID, b.Source.ID = "", "", "", ""
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

func TestT19_LinesOfTheLog(t *testing.T) {
	want := one(t, head+failure)
	if want.Tenant != "9a8b7c6d" || want.User.ID != "name:pat" || want.User.Type != events.Unresolved || want.IP != "192.0.2.60" || want.Code != "user_not_found" ||
		want.App.ID != "web" || want.Time.String() != "2026-03-04T08:15:35.123Z" || want.Correlation != "c-1" || want.Auth.Protocol != "openid-connect" || want.Interactive != events.Yes {
		t.Fatalf("%+v", want)
	}
	old := `type=LOGIN_ERROR, realmId=9a8b7c6d, clientId=web, userId=null, ipAddress=192.0.2.60, error=user_not_found, auth_method=openid-connect, auth_type=code, redirect_uri='https://app.example.com/ and more', code_id=c-1, username=pat`
	message := func(fields object) string {
		raw, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for name, value := range map[string]string{
		"no quotes":                       head + old,
		"single quotes":                   head + strings.ReplaceAll(failure, `"`, `'`),
		"another order":                   head + `username="pat", error="user_not_found", code_id="c-1", ipAddress="192.0.2.60", userId="null", auth_method="openid-connect", clientId="web", type="LOGIN_ERROR", realmId="9a8b7c6d"`,
		"a session behind, a trace after": head + failure + `, authSessionParentId="c-1", authSessionTabId="x", requestUri="https://sso.example.com/?q=1", cookies=[a=b, c=d]`,
		"ISO with zone":                   "2026-03-04T09:15:35.123+01:00 sso-0 keycloak[1]: WARN [org.keycloak.events] (t) " + failure,
		"both times, the zone counts":     "2026-03-04T08:15:35.123Z stdout F 2026-03-04 10:15:35,123 WARN  [org.keycloak.events] (t) " + failure,
		"time first":                      "2026-03-04T08:15:35.123Z " + failure,
		"JSON with dotted keys": message(object{
			"@timestamp": "2026-03-04T08:15:35.123Z", "event.sequence": 77, "log.logger": "org.keycloak.events", "log.level": "WARN", "message": failure, "host.hostname": "sso-0",
		}),
		"JSON, nested": message(object{
			"@timestamp": "2026-03-04T08:15:35.123Z", "event": object{"sequence": 77}, "log": object{"logger": "org.keycloak.events"}, "message": failure, "host": object{"name": "sso-0"},
		}),
		"JSON of the server": message(object{
			"timestamp": "2026-03-04T08:15:35.123Z", "sequence": 77, "loggerClassName": "org.jboss.logging.Logger", "loggerName": "org.keycloak.events", "level": "WARN",
			"message": failure, "threadName": "t", "mdc": object{}, "hostName": "sso-0",
		}),
		"JSON, no quotes":    message(object{"timestamp": "2026-03-04T08:15:35.123Z", "loggerName": "org.keycloak.events", "message": old}),
		"JSON of the engine": message(object{"log": head + failure + "\n", "stream": "stdout", "time": "2026-03-04T08:15:35.123456789Z"}),
	} {
		sameButID(t, name, want, one(t, value))
	}
}

func TestIDOfALine(t *testing.T) {
	line := func(host string, sequence int, text string) string {
		raw, err := json.Marshal(object{"timestamp": "2026-03-04T08:15:35.123Z", "sequence": sequence, "loggerName": "org.keycloak.events", "message": text, "hostName": host})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	ids := map[string]bool{}
	for _, value := range []string{
		line("a", 1, failure), line("a", 1, failure), line("b", 1, failure), line("a", 2, failure), line("a", 1, failure+`, x="y"`), head + failure, head + failure,
		strings.Replace(head, ",123", ",124", 1) + failure,
	} {
		ids[one(t, value).Source.ID] = true
	}
	if len(ids) != 6 {
		t.Errorf("ids %v: a line has one id, however often it is read, and another line another", ids)
	}
}

func TestLinesThatAreNone(t *testing.T) {
	skipped(t, "2026-03-04 08:15:35,123 INFO  [io.quarkus] (main) Keycloak started type of things", "category")
	skipped(t, "\tat org.keycloak.events.EventBuilder.send(EventBuilder.java:1)", "category")
	skipped(t, "2026-03-04 08:15:35,123 INFO  [org.keycloak.events.jpa] (main) grant_type=x", "category")
	skipped(t, `{"timestamp":"2026-03-04T08:15:35Z","loggerName":"io.quarkus","message":"type=\"LOGIN\""}`, "category")
	skipped(t, `{"log":"starting\n","time":"2026-03-04T08:15:35Z"}`, "category")
	refused(t, failure, "time: is missing")
	refused(t, "08:15:35,123 WARN  [org.keycloak.events] (t) "+failure, "time: is missing")
	refused(t, head+"something", "is no event")
}

// Hostile lines take no longer than others of their length: what is left is not searched again and again.
func TestHostileLinesAreReadOnce(t *testing.T) {
	for name, unit := range map[string]string{
		"quotes that never close": `a="x, `, "single ones": `a='x, `, "closing ones before commas": `",`, "blanks": `"   `, "commas": `, ,`, "escapes": `\"`, "keys": `a=b, `, "long key": `aaaa`,
	} {
		value := head + `type="LOGIN", realmId="r", userId="u", x="` + strings.Repeat(unit, (1<<20)/len(unit)) + strings.Repeat(" ", 1<<18) + "."
		if got := decode(value); len(got) != 1 || got[0].err != nil || got[0].event.User.ID != "u" {
			t.Errorf("%s: %.200v", name, got)
		}
	}
}

// A client may write what it likes into its own fields; it must not become somebody else's event.
func TestForgedFieldsDoNotCount(t *testing.T) {
	for name, value := range map[string]string{
		"unquoted, in a detail":         head + `type=LOGIN_ERROR, realmId=r, clientId=web, userId=null, ipAddress=192.0.2.60, error=user_not_found, username=x, userId=` + userID + `, ipAddress=203.0.113.1, type=LOGIN`,
		"single quotes":                 head + `type=LOGIN_ERROR, realmId=r, clientId=web, userId=null, ipAddress=192.0.2.60, error=user_not_found, username='x y', userId=` + userID + `, z='`,
		"escaped quotes":                head + `type="LOGIN_ERROR", realmId="r", clientId="web", userId="null", ipAddress="192.0.2.60", error="user_not_found", username="x\", userId=\"` + userID + `\", type=\"LOGIN"`,
		"a backslash at the end, twice": head + `type="LOGIN_ERROR", realmId="r", clientId="x\", userId="null", ipAddress="192.0.2.60", error="user_not_found", a="\", b=", userId=` + userID + `, type=LOGIN, username="pat"`,
		"another line":                  head + `type="LOGIN_ERROR", realmId="r", clientId="web", userId="null", ipAddress="192.0.2.60", error="user_not_found", username="[org.keycloak.events] type=\"LOGIN\", userId=\"` + userID + `\""`,
	} {
		e := one(t, value)
		if e.User.Type != events.Unresolved || e.Outcome != events.Failure || e.IP == "203.0.113.1" {
			t.Errorf("%s: %+v from %s, %s", name, e.User, e.IP, e.Outcome)
		}
	}
}

func TestQuotedValues(t *testing.T) {
	e := one(t, head+`type="LOGIN_ERROR", realmId="r", userId="null", error="e", reason="say \"no\", or \ not", username="a=b, c"`)
	if e.Reason != `say "no", or \ not` || e.User.Name != "a=b, c" {
		t.Errorf("reason %q, name %q", e.Reason, e.User.Name)
	}
	// A quote that is never closed is a character.
	e = one(t, head+`type="LOGIN", realmId="r", userId="u-1", username="x`)
	if e.User.Name != `"x` {
		t.Errorf("name %q", e.User.Name)
	}
}
