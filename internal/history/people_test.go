package history_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
)

// odd are ids that are hard to handle: each is a user, a session, a device and an application of its own.
var odd = []string{
	"anna", "Anna Ärger", "ANNA_2", "an%", "an_", `CORP\anna`, `C:\new\table`, "o'brien", `"quoted"`, "a/b ?#%", "ünïcode/ß", "日本語", "tab\tline\nend",
	"' OR '1'='1", "{text:String}", "${database}", "u1\x00", `u1\`, "a", "--", "/*",
}

// crowd is what happened to some people, and a history that was told all of it more than once.
type crowd struct {
	*testing.T
	store  *history.Store
	events []*events.Event
}

// newCrowd makes n events of two tenants' users within a day.
func newCrowd(t *testing.T, n int) *crowd {
	t.Helper()
	c := &crowd{T: t, store: historytest.Open(t)}
	r := rand.New(rand.NewPCG(1, 2))
	places := []events.Place{
		{Country: "DE", City: "München", Lat: 48.1, Lon: 11.5, RadiusKm: 20},
		{Country: "DE", City: "Berlin", Lat: 52.5, Lon: 13.4, RadiusKm: 10},
		{Country: "FR", Lat: 46, Lon: 2, RadiusKm: 500},
		{Country: "US"},
		{},
	}
	for i := range n {
		tenant := []string{"acme", "globex", "hidden"}[r.IntN(3)]
		e := event(tenant, odd[r.IntN(len(odd))], r.IntN(24*3600))
		e.User.Name = []string{"", e.User.ID, "Name of " + e.User.ID, "<b>" + e.User.ID}[r.IntN(4)]
		e.Source.ID = fmt.Sprint(i)
		e.ID = events.EventID(tenant, e.Source.Family, e.Source.ID)
		e.Outcome = events.Outcomes[r.IntN(len(events.Outcomes))]
		e.Place = places[r.IntN(len(places))]
		e.Session.ID = append([]string{""}, odd...)[r.IntN(len(odd)+1)]
		e.IP = fmt.Sprintf("192.0.%d.%d", r.IntN(3), r.IntN(2))
		e.Network = events.Network{Prefix: strings.TrimSuffix(strings.TrimSuffix(e.IP, ".0"), ".1") + ".0/24", ASN: 64496, Org: "Example"}
		e.App = events.Ref{ID: append([]string{""}, odd[:4]...)[r.IntN(5)]}
		if e.App.ID != "" {
			e.App.Name = "App " + e.App.ID
		}
		e.Device = events.Device{ID: append([]string{""}, odd[:3]...)[r.IntN(4)], OS: []string{"", "Windows", "iOS"}[r.IntN(3)]}
		if r.IntN(50) == 0 {
			e.Kind = events.NetworkVerdict // told to the user's partition by countersign itself
		}
		c.events = append(c.events, e)
	}
	insertEvents(t, c.store, c.events...)
	insertEvents(t, c.store, c.events[n/3:]...)
	insertEvents(t, c.store, append(slices.Clone(c.events[:n/2]), c.events[:n/4]...)...)
	return c
}

// those are the events of people that a test lets through.
func (c *crowd) those(test func(*events.Event) bool) (list []*events.Event) {
	for _, e := range c.events {
		if !e.Kind.Internal() && test(e) {
			list = append(list, e)
		}
	}
	return list
}

func failures(list []*events.Event) (n uint64) {
	for _, e := range list {
		if e.Outcome == events.Failure || e.Outcome == events.Blocked {
			n++
		}
	}
	return n
}

// line is what is compared of a group: its key, how many, how many failed, first and last.
type line struct {
	Key              string
	Events, Failures uint64
	First, Last      events.Millis
}

// sorted groups events by a key, as the history does; "" is no key.
func sorted(list []*events.Event, key func(*events.Event) string) map[string]line {
	groups := map[string][]*events.Event{}
	for _, e := range list {
		if k := key(e); k != "" {
			groups[k] = append(groups[k], e)
		}
	}
	lines := map[string]line{}
	for k, g := range groups {
		first := slices.MinFunc(g, func(a, b *events.Event) int { return cmp.Compare(a.Time, b.Time) })
		last := slices.MaxFunc(g, func(a, b *events.Event) int { return cmp.Compare(a.Time, b.Time) })
		lines[k] = line{k, uint64(len(g)), failures(g), first.Time, last.Time}
	}
	return lines
}

func linesOf(list []report.Seen) map[string]line {
	lines := map[string]line{}
	for _, s := range list {
		lines[s.Key] = line{s.Key, s.Events, s.Failures, s.First, s.Last}
	}
	return lines
}

func placeKey(e *events.Event) string {
	if e.Place.Country == "" && e.Place.City == "" {
		return ""
	}
	return e.Place.Country + "/" + e.Place.City
}

func deviceKey(e *events.Event) string {
	if e.Device.ID != "" || e.Device.OS == "" {
		return e.Device.ID
	}
	return e.Device.OS + "//"
}

func sessionKey(e *events.Event) string { return e.Session.ID }
func networkKey(e *events.Event) string { return e.Network.Prefix }
func appID(e *events.Event) string      { return e.App.ID }
func personKey(e *events.Event) string  { return events.Key(e.Tenant, e.User.ID) }

// same compares a list of an answer with the groups that must be in it: all of them, or the first 20.
func (c *crowd) same(what string, got []report.Seen, want map[string]line) {
	c.Helper()
	if n := min(len(want), 20); len(got) != n {
		c.Errorf("%s: %d entries, want %d of %d", what, len(got), n, len(want))
	}
	for key, line := range linesOf(got) {
		if diff := gocmp.Diff(want[key], line); diff != "" {
			c.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func TestAProfileIsOfAllThatAUserDid(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 900)
	for _, id := range odd {
		u, err := c.store.User(t.Context(), report.Scope{Tenants: []string{"acme"}}, "acme", id, at(0))
		if err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		mine := c.those(func(e *events.Event) bool { return e.Tenant == "acme" && e.User.ID == id })
		all := sorted(mine, personKey)["acme/"+id]
		if diff := gocmp.Diff(all, line{u.Tenant + "/" + u.User, u.Events, u.Failures, u.First, u.Last}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", id, diff)
		}
		c.same("places of "+id, u.Places, sorted(mine, placeKey))
		c.same("devices of "+id, u.Devices, sorted(mine, deviceKey))
		c.same("networks of "+id, u.Networks, sorted(mine, networkKey))
		c.same("apps of "+id, u.Apps, sorted(mine, appID))
		c.same("sessions of "+id, u.Sessions, sorted(mine, sessionKey))
		if !slices.IsSortedFunc(u.Places, func(a, b report.Seen) int { return cmp.Compare(b.Events, a.Events) }) ||
			!slices.IsSortedFunc(u.Sessions, func(a, b report.Seen) int { return cmp.Compare(b.Last, a.Last) }) {
			t.Errorf("%q: not in order: %+v %+v", id, u.Places, u.Sessions)
		}
		for _, s := range u.Places {
			if located := s.Key == "DE/München" || s.Key == "DE/Berlin" || s.Key == "FR/"; (s.Location != nil) != located {
				t.Errorf("place %s is at %+v", s.Key, s.Location)
			}
		}
		slices.SortStableFunc(mine, func(a, b *events.Event) int { return cmp.Compare(a.Time, b.Time) })
		var name string
		for _, e := range mine {
			name = cmp.Or(e.User.Name, name)
		}
		if u.Name != name {
			t.Errorf("%q is called %q, want %q", id, u.Name, name)
		}
	}
}

func TestUsersAreFoundByHowIDOrNameStarts(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 600)
	scopes := map[string]report.Scope{"all": everything, "acme": {Tenants: []string{"acme"}}, "two": {Tenants: []string{"acme", "globex"}}, "none": {}}
	for _, text := range append([]string{"", "a", "A", "AN", "ANNA Ä", "%", "_", "name of ", "<B>", "Ü", "日", `\`, "'", "nobody", "acme/"}, odd...) {
		for which, scope := range scopes {
			want := map[string]report.UserSummary{}
			for key, l := range sorted(c.those(func(e *events.Event) bool { return scope.Allows(e.Tenant) }), personKey) {
				tenant, id, _ := strings.Cut(key, "/")
				name := ""
				for _, e := range slices.SortedStableFunc(slices.Values(c.those(func(e *events.Event) bool { return personKey(e) == key })), func(a, b *events.Event) int {
					return cmp.Compare(a.Time, b.Time)
				}) {
					name = cmp.Or(e.User.Name, name)
				}
				lower := strings.ToLower(text)
				if strings.HasPrefix(strings.ToLower(id), lower) || strings.HasPrefix(strings.ToLower(name), lower) {
					want[key] = report.UserSummary{Tenant: tenant, User: id, Name: name, Last: l.Last, Events: l.Events}
				}
			}
			q := report.UserQuery{Scope: scope, Text: text, Now: at(0), Limit: 200}
			page, err := c.store.Users(t.Context(), q)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			got := map[string]report.UserSummary{}
			for _, u := range page.Users {
				got[events.Key(u.Tenant, u.User)] = u
			}
			if diff := gocmp.Diff(want, got); diff != "" || len(got) != len(page.Users) {
				t.Errorf("%q of %s (-want +got):\n%s", text, which, diff)
			}
			if text != "" && text != "a" {
				continue
			}
			var paged []report.UserSummary
			for q.Limit = 3; ; {
				part, err := c.store.Users(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if paged = append(paged, part.Users...); part.Next == nil {
					break
				}
				q.After = *part.Next
			}
			if diff := gocmp.Diff(page.Users, paged); diff != "" {
				t.Errorf("%q of %s in pages (-want +got):\n%s", text, which, diff)
			}
		}
	}
}

func TestUsersAreTold(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	person, program, tried := event("acme", "p", 1), event("acme", "w", 2), event("acme", "x", 3)
	program.User.Type, tried.User.Type = events.Workload, events.Unresolved
	insertEvents(t, s, person, program, tried)
	for _, v := range []struct {
		q    report.UserQuery
		want []string
	}{
		{report.UserQuery{}, []string{"x", "w", "p"}},
		{report.UserQuery{Persons: true}, []string{"p"}},
		{report.UserQuery{Type: events.Workload}, []string{"w"}},
		{report.UserQuery{Type: events.Unresolved}, []string{"x"}},
	} {
		v.q.Scope, v.q.Limit = everything, 10
		page, err := s.Users(t.Context(), v.q)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, u := range page.Users {
			got = append(got, u.User)
		}
		if diff := gocmp.Diff(v.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", v.q, diff)
		}
	}
	f1, f2 := finding(person, "LOC-01", events.High), finding(person, "LOC-02", events.Low)
	f2.Disposition = events.Suppressed
	f1.Evidence.Risk = &events.UserRisk{Before: 1, After: 12.5, Parts: []events.RiskPart{{Detection: "LOC-01", Time: at(1), Decibans: 11.5}}}
	insertFindings(t, s, f1, f2)
	insertFindings(t, s, f1)
	insertRequirements(t, s, requirement("acme", "p", 10, report.Open))
	insertRequirements(t, s, requirement("acme", "p", 10, report.Open), requirement("acme", "p", 11, report.Satisfied))
	page, err := s.Users(t.Context(), report.UserQuery{Scope: everything, Text: "P", Now: at(20), Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := []report.UserSummary{{Tenant: "acme", User: "p", Name: "p of acme", Last: at(1), Events: 1, Findings: 1, Open: 1}}
	if diff := gocmp.Diff(want, page.Users); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	u, err := s.User(t.Context(), everything, "acme", "p", at(20))
	if err != nil {
		t.Fatal(err)
	}
	if u.Findings != 1 || len(u.Requirements) != 1 || u.Severities[1] != (report.Count{Name: "high", Count: 1}) || u.Risk == nil || u.Risk.Decibans != 12.5 || len(u.Risk.Parts) != 1 || u.Risk.Finding != f1.ID {
		t.Errorf("profile is %+v with risk %+v", u, u.Risk)
	}
	if u, err = s.User(t.Context(), everything, "acme", "p", at(99999)); err != nil || len(u.Requirements) != 0 {
		t.Errorf("%d requirements are open after their time, %v", len(u.Requirements), err)
	}
	if u, err = s.User(t.Context(), everything, "acme", "w", at(20)); err != nil || u.Type != events.Workload || u.Risk != nil {
		t.Errorf("program is %+v, %v", u, err)
	}
}

func TestWhoCannotBeSeenIsNotThere(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 300)
	e := c.those(func(e *events.Event) bool { return e.Tenant == "acme" && e.Session.ID != "" && e.App.ID != "" })[0]
	for _, q := range []struct {
		scope                      report.Scope
		tenant, user, session, app string
		want                       bool
	}{
		{everything, "acme", e.User.ID, e.Session.ID, e.App.ID, true},
		{report.Scope{Tenants: []string{"acme"}}, "acme", e.User.ID, e.Session.ID, e.App.ID, true},
		{report.Scope{Tenants: []string{"globex"}}, "acme", e.User.ID, e.Session.ID, e.App.ID, false},
		{report.Scope{}, "acme", e.User.ID, e.Session.ID, e.App.ID, false},
		{everything, "", e.User.ID, e.Session.ID, e.App.ID, false},
		{everything, "acme", "", "", "", false},
		{everything, "acme", "nobody", "nothing", "none", false},
		{report.Scope{Tenants: hostile}, hostile[0], e.User.ID, e.Session.ID, e.App.ID, false},
	} {
		for name, ask := range map[string]func() error{
			"user":    func() error { _, err := c.store.User(t.Context(), q.scope, q.tenant, q.user, at(0)); return err },
			"session": func() error { _, err := c.store.Session(t.Context(), q.scope, q.tenant, q.session, at(0)); return err },
			"events": func() error {
				_, err := c.store.SessionEvents(t.Context(), report.SessionQuery{Scope: q.scope, Tenant: q.tenant, Session: q.session, Limit: 10})
				return err
			},
			"app": func() error {
				_, err := c.store.App(t.Context(), report.AppQuery{Scope: q.scope, Tenant: q.tenant, App: q.app, Span: day, Now: at(0)})
				return err
			},
		} {
			if err := ask(); (err == nil) != q.want || err != nil && !errors.Is(err, report.ErrNotFound) {
				t.Errorf("%s of %+v: %v", name, q, err)
			}
		}
		l, err := c.store.Lanes(t.Context(), report.LanesQuery{Scope: q.scope, Tenant: q.tenant, User: q.user, Span: day, Now: at(0)})
		if err != nil || len(l.Lanes.Networks) > 0 != q.want {
			t.Errorf("lanes of %+v: %+v, %v", q, l.Lanes, err)
		}
	}
}

// What comes in while somebody pages does not show anybody twice, and leaves out only whom it moves to the first page.
func TestPagesHoldWhileEventsComeIn(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	var list []*events.Event
	for i := range 40 {
		e := event("acme", fmt.Sprintf("u%02d", i), 1000+i/3)
		e.Session.ID = "s"
		list = append(list, e)
	}
	insertEvents(t, s, list...)
	for run := range uint64(4) {
		r := rand.New(rand.NewPCG(run, 7))
		moved := map[string]bool{}
		seen := map[string]int{}
		ids := map[string]int{}
		users := report.UserQuery{Scope: everything, Limit: 1 + r.IntN(12)}
		session := report.SessionQuery{Scope: everything, Tenant: "acme", Session: "s", Limit: 3 + r.IntN(12)}
		whole, err := s.SessionEvents(t.Context(), report.SessionQuery{Scope: everything, Tenant: "acme", Session: "s", Limit: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		before, err := s.Users(t.Context(), report.UserQuery{Scope: everything, Limit: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		for step := 0; users.Limit > 0 || session.Limit > 0; step++ {
			if users.Limit > 0 {
				page, err := s.Users(t.Context(), users)
				if err != nil {
					t.Fatal(err)
				}
				for _, u := range page.Users {
					seen[u.User]++
				}
				if page.Next == nil {
					users.Limit = 0
				} else {
					users.After = *page.Next
				}
			}
			if session.Limit > 0 {
				page, err := s.SessionEvents(t.Context(), session)
				if err != nil {
					t.Fatal(err)
				}
				for _, raw := range page.Events {
					ids[string(raw)]++
				}
				if page.Next == nil {
					session.Limit = 0
				} else {
					session.After = *page.Next
				}
			}
			if step < 6 && r.IntN(2) == 0 {
				e := event("acme", fmt.Sprintf("u%02d", r.IntN(45)), 1000+r.IntN(80_000))
				e.Session.ID = "s"
				e.Source.ID = fmt.Sprint(run, "/", step)
				e.ID = events.EventID(e.Tenant, e.Source.Family, e.Source.ID)
				moved[e.User.ID] = true
				insertEvents(t, s, e, list[r.IntN(len(list))])
			}
		}
		for user, n := range seen {
			if n != 1 {
				t.Errorf("%s is shown %d times", user, n)
			}
		}
		for _, u := range before.Users {
			if seen[u.User] != 1 && !moved[u.User] {
				t.Errorf("%s is left out", u.User)
			}
		}
		for _, raw := range whole.Events {
			if ids[string(raw)] != 1 {
				t.Errorf("%s is shown %d times", raw, ids[string(raw)])
			}
		}
	}
}
