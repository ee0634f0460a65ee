package api_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/report"
)

func TestPeopleAndPlacesComeFromTheRealHistory(t *testing.T) {
	t.Parallel()
	c := newClient(t, filled(t))
	var users struct {
		Users []report.UserSummary
		Next  string `json:"next_cursor"`
	}
	seen := map[string]report.UserSummary{}
	for parameters := (url.Values{"limit": {"1"}}); ; parameters.Set("cursor", users.Next) {
		users.Next = ""
		c.ask("/v1/users", parameters, &users)
		if len(users.Users) != 1 {
			t.Fatalf("a page of %d users", len(users.Users))
		}
		u := users.Users[0]
		seen[u.Tenant+"/"+u.User] = u
		if users.Next == "" {
			break
		}
	}
	if len(seen) != 4 || seen["acme/u1"].Events != 8 || seen["acme/u1"].Findings != 8 || seen["globex/a/b ?#%"].Name != markup {
		t.Errorf("users are %+v", seen)
	}
	if c.ask("/v1/users", url.Values{"q": {"<IMG SRC"}, "tenant": {"acme"}}, &users); len(users.Users) != 2 {
		t.Errorf("%d users by name", len(users.Users))
	}

	odd := url.PathEscape("a/b ?#%")
	var user report.UserProfile
	c.ask("/v1/users/acme/"+odd, nil, &user)
	if user.User != "a/b ?#%" || user.Events != 7 || user.Findings != 7 || len(user.Places) != 1 || user.Places[0].Label != markup+", DE" || user.Sessions == nil {
		t.Errorf("user is %+v", user)
	}
	var lanes report.Lanes
	c.ask("/v1/users/acme/"+odd+"/lanes", morning, &lanes)
	if len(lanes.Findings) != 7 || len(lanes.Requirements) != 7 || len(lanes.Lanes.Places) != 1 {
		t.Errorf("lanes are %+v", lanes)
	}
	for kinds, want := range map[string]int{"": 21, "event": 7, "finding,requirement": 14, "receipt": 0} {
		var timeline struct{ Entries []report.Entry }
		parameters := with("limit", "200")
		if kinds != "" {
			parameters.Set("kind", kinds)
		}
		c.ask("/v1/users/acme/"+odd+"/timeline", parameters, &timeline)
		if len(timeline.Entries) != want {
			t.Errorf("kinds %q: %d entries, want %d", kinds, len(timeline.Entries), want)
		}
	}
	var m report.WorldMap
	c.ask("/v1/map", morning, &m)
	if len(m.Places) != 1 || m.Places[0].Events != 30 || m.Places[0].Users != 4 || m.Places[0].Findings != 30 || m.Arcs == nil {
		t.Errorf("map is %+v", m)
	}
	var apps struct{ Apps []report.AppSummary }
	if c.ask("/v1/apps", morning, &apps); apps.Apps == nil || len(apps.Apps) != 0 {
		t.Errorf("apps are %+v", apps)
	}
	var network report.NetworkProfile
	c.ask("/v1/networks", with("ip", "::ffff:192.0.2.1"), &network)
	if network.IP != "192.0.2.1" || network.Prefix != "192.0.2.0/24" || network.Users == nil || network.Findings == nil {
		t.Errorf("network is %+v", network)
	}
}

// What a caller may not see answers as what does not exist does, to the letter.
func TestForeignPeopleLookLikeNobody(t *testing.T) {
	t.Parallel()
	c := newClient(t, filled(t))
	for _, paths := range [][2]string{
		{"/v1/users/hidden/u1", "/v1/users/acme/nobody"},
		{"/v1/users/hidden/u1/timeline", "/v1/users/nowhere/u1/timeline"},
		{"/v1/users/hidden/u1/lanes", "/v1/users/nowhere/u1/lanes"},
		{"/v1/sessions/hidden/s", "/v1/sessions/acme/nothing"},
		{"/v1/sessions/hidden/s/events", "/v1/sessions/acme/nothing/events"},
		{"/v1/apps/hidden/a", "/v1/apps/acme/none"},
	} {
		foreign, body := c.get(paths[0], nil)
		none, other := c.get(paths[1], nil)
		if foreign != http.StatusNotFound || none != http.StatusNotFound || body != other {
			t.Errorf("%s: %d %s\n%s: %d %s", paths[0], foreign, body, paths[1], none, other)
		}
	}
	for _, path := range []string{"/v1/users?q=u1", "/v1/map", "/v1/apps", "/v1/networks?ip=192.0.2.1"} {
		path, query, _ := strings.Cut(path, "?")
		parameters, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if path != "/v1/users" {
			parameters.Set("from", morning.Get("from"))
			parameters.Set("to", morning.Get("to"))
		}
		for tenant, want := range map[string]bool{"": true, "acme": true, "hidden": false, "nowhere": false} {
			parameters.Set("tenant", tenant)
			var answer map[string]json.RawMessage
			body := c.ask(path, parameters, &answer)
			if strings.Contains(body, "hidden") || !want && (strings.Contains(body, "acme") || strings.Contains(body, "u1")) {
				t.Errorf("%s of tenant %q: %s", path, tenant, body)
			}
		}
	}
}

func TestQuestionsAboutPeopleThatMeanNothingAreRefused(t *testing.T) {
	t.Parallel()
	c := newClient(t, filled(t))
	for _, address := range []string{
		"/v1/users?limit=0", "/v1/users?limit=201", "/v1/users?cursor=x", "/v1/users?type=robot", "/v1/users?from=2026-03-04T07:00:00Z", "/v1/users?other=1",
		"/v1/users?q=" + strings.Repeat("a", 257), "/v1/users/acme/" + strings.Repeat("a", 257), "/v1/users/acme/u1?from=2026-03-04T07:00:00Z",
		"/v1/users/acme/u1/timeline?kind=thing", "/v1/users/acme/u1/timeline?cursor=x", "/v1/users/acme/u1/lanes?from=x",
		"/v1/users/acme/u1/lanes?from=2026-03-04T07:00:00Z&to=2026-03-04T07:00:00Z", "/v1/users/acme/u1/lanes?from=2020-03-04T07:00:00Z",
		"/v1/sessions/acme/s/events?cursor=x", "/v1/sessions/acme/s/events?limit=-1", "/v1/networks", "/v1/networks?ip=&prefix=",
		"/v1/networks?ip=192.0.2.1&prefix=192.0.2.0/24", "/v1/networks?ip=192.0.2", "/v1/networks?ip=0.0.0.0", "/v1/networks?ip=" + url.QueryEscape("' OR 1=1"),
		"/v1/networks?prefix=192.0.2.1/24", "/v1/networks?prefix=192.0.0.0/16", "/v1/networks?prefix=2001:db8::/32", "/v1/map?severity=worst",
		"/v1/map?from=2026-03-04T07:00:00Z&to=2026-03-04T06:00:00Z", "/v1/apps?from=1900-01-01T00:00:00Z&to=1900-01-02T00:00:00Z", "/v1/apps/acme/a?limit=3",
	} {
		path, query, _ := strings.Cut(address, "?")
		parameters, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if status, body := c.get(path, parameters); status != http.StatusUnprocessableEntity || !strings.Contains(body, `"errors"`) {
			t.Errorf("%s: %d %s", address, status, body)
		}
	}
}

func TestNoTextAboutPeopleReachesTheStatement(t *testing.T) {
	t.Parallel()
	s := filled(t)
	c := newClient(t, s)
	for _, text := range []string{
		"' OR '1'='1", `\' OR 1=1 --`, "') OR 1=1 --", "u1' UNION ALL SELECT raw FROM events --", "{tenants:Array(String)}", "'; DROP TABLE events; --",
		"u1\x00", "${database}", "hidden') OR (tenant != '", "%", "_1", `u\1`, "日本語", "../../acme/u1", "<script>",
	} {
		segment := url.PathEscape(text)
		for _, path := range []string{
			"/v1/users/acme/" + segment, "/v1/users/" + segment + "/u1", "/v1/sessions/acme/" + segment, "/v1/sessions/" + segment + "/s/events",
			"/v1/apps/acme/" + segment, "/v1/apps/" + segment + "/a",
		} {
			if status, body := c.get(path, nil); status != http.StatusNotFound {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		var users struct{ Users []report.UserSummary }
		if c.ask("/v1/users", url.Values{"q": {text}}, &users); len(users.Users) != 0 {
			t.Errorf("%q finds %+v", text, users.Users)
		}
		if c.ask("/v1/users", url.Values{"tenant": {text}}, &users); len(users.Users) != 0 {
			t.Errorf("tenant %q has %+v", text, users.Users)
		}
		var lanes report.Lanes
		if c.ask("/v1/users/acme/"+segment+"/lanes", morning, &lanes); len(lanes.Lanes.Places)+len(lanes.Findings) != 0 {
			t.Errorf("%q has lanes %+v", text, lanes)
		}
		// A cursor may say what it likes of an id.
		for _, path := range []string{"/v1/users", "/v1/users/acme/u1/timeline"} {
			cursor := report.Cursor{Time: events.MillisOf(start) - events.Day, ID: text}
			parameters := url.Values{"cursor": {cursorOf(cursor)}}
			if status, body := c.get(path, parameters); status != http.StatusOK || strings.Contains(body, "u1") {
				t.Errorf("%s with a cursor of %q: %d %s", path, text, status, body)
			}
		}
	}
	if n, err := s.Things(t.Context(), history.TableEvents); err != nil || n != 45 {
		t.Errorf("%d events are left, %v: want 45", n, err)
	}
}

// cursorOf makes a cursor as anybody can.
func cursorOf(c report.Cursor) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d:0:0:%s", c.Time, c.ID))
}

func TestPeopleWithoutAnEngineAre503(t *testing.T) {
	t.Parallel()
	cfg := history.DefaultConfig()
	cfg.URLs = []string{"http://127.0.0.1:1"}
	s, err := history.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := newClient(t, s)
	for _, path := range []string{
		"/v1/users", "/v1/users/acme/u1", "/v1/users/acme/u1/lanes", "/v1/sessions/acme/s", "/v1/sessions/acme/s/events", "/v1/map", "/v1/apps", "/v1/apps/acme/a",
	} {
		if status, body := c.get(path, nil); status != http.StatusServiceUnavailable || strings.Contains(body, "127.0.0.1") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _ := c.get("/v1/networks", url.Values{"ip": {"192.0.2.1"}}); status != http.StatusServiceUnavailable {
		t.Errorf("networks: %d", status)
	}
}
