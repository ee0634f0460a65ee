package keycloak

import (
	"reflect"
	"strings"
	"testing"
)

// Whatever comes: something is said of every value, an event is one that can go on the log, and decoding is a function of
// the bytes. A line says of the event what its JSON form says.
func FuzzEvents(f *testing.F) {
	for _, seed := range []string{
		stored(f, "LOGIN", nil), "[" + stored(f, "LOGIN_ERROR", failing("user_not_found", object{"username": "x"})) + ",5]", head + failure,
		head + `type=LOGIN, realmId=r, userId='a b', ipAddress=::1`, adminEvent(f, "CREATE", "USER", "users/u/groups/g", `[{"name":"x"}]`),
		`{"timestamp":"2026-03-04T08:15:35Z","loggerName":"org.keycloak.events","message":"type=\"LOGIN\", userId=\"u\""}`,
		`{"type":"LOGIN","time":1,"userId":"\ud800","details":{"a":"b"}}`, `type="`, `org.keycloak.events type=,=,`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := decode(value)
		if len(got) == 0 && strings.TrimLeft(value, " \t\r\n") != "" && value[0] != '[' && value[0] != '{' && strings.TrimSpace(value)[0] != '[' && strings.TrimSpace(value)[0] != '{' {
			t.Fatal("nothing is said of the value")
		}
		for _, r := range got {
			if (r.event == nil) == (r.err == nil) {
				t.Fatalf("an event and an error, or none: %+v", r)
			}
			if r.err != nil && len(r.err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(r.err.Error()))
			}
			if r.event != nil {
				e := *r.event
				e.Tenant = "acme" // a record may name any, which ingest checks
				if e.Clean(); e.Validate() != nil {
					t.Errorf("%+v: %v", e, e.Validate())
				}
			}
		}
		if again := decode(value); !reflect.DeepEqual(got, again) {
			t.Errorf("first %+v, then %+v", got, again)
		}
	})
}

// A value that Keycloak quotes comes out as it went in, where it does not end in a backslash, and nothing of it becomes
// a field of Keycloak's own.
func FuzzQuotedValue(f *testing.F) {
	for _, seed := range []string{"pat", `x", userId="u`, `\`, `\"`, `a, b=c`, `'`, `x\", type=\"LOGIN`, `",`, `x\", userId=u, z=`} {
		f.Add(seed, seed, `, userId=victim, ipAddress=203.0.113.1, type=LOGIN, z=`)
	}
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }
	f.Fuzz(func(t *testing.T, client, a, b string) {
		if !strings.HasSuffix(client, `\`) {
			p, ok := pairOf("clientId="+quote(client)+`, userId="u-1"`, &quotes{})
			if !ok || p.key != "clientId" || p.value != client || p.rest != `userId="u-1"` {
				t.Errorf("%q gives %+v", client, p)
			}
		}
		r, err := readLine(head + `type="LOGIN_ERROR", realmId="r", clientId=` + quote(client) + `, userId="null", ipAddress="192.0.2.60", error="e", a=` + quote(a) + `, b=` + quote(b))
		if err != nil || r.kind != "LOGIN_ERROR" || r.realm != "r" || r.userID != "" || r.address != "" && r.address != "192.0.2.60" || r.failure != "" && r.failure != "e" {
			t.Errorf("%q, %q, %q give %+v and error %v", client, a, b, r, err)
		}
	})
}
