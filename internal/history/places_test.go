package history_test

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/history/historytest"
	"github.com/countersign-io/countersign/internal/report"
)

func TestLanesAddUpToAllThatAUserDid(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 900)
	span := report.Span{From: at(3600 + 17), To: at(20*3600 + 1)}
	for _, id := range odd {
		l, err := c.store.Lanes(t.Context(), report.LanesQuery{Scope: everything, Tenant: "acme", User: id, Span: span, Now: at(0)})
		if err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		if l.From > span.From || l.To < span.To || l.Step != 600 || int64(l.To-l.From)/l.Step/1000 > 120 {
			t.Errorf("steps of %d seconds from %v to %v", l.Step, l.From, l.To)
		}
		mine := c.those(func(e *events.Event) bool {
			return e.Tenant == "acme" && e.User.ID == id && e.Time >= l.From && e.Time < l.To
		})
		for _, lane := range []struct {
			name string
			rows []report.Lane
			key  func(*events.Event) string
		}{
			{"places", l.Lanes.Places, placeKey},
			{"devices", l.Lanes.Devices, deviceKey},
			{"networks", l.Lanes.Networks, networkKey},
			{"sessions", l.Lanes.Sessions, sessionKey},
		} {
			want := map[string]map[events.Millis]report.LanePoint{}
			shown := map[string]bool{}
			for i, row := range lane.rows {
				if row.Key == "" && (i != 12 || row.Label != "other") {
					t.Errorf("%q: row %d of %s is %q", id, i, lane.name, row.Label)
				}
				shown[row.Key] = true
			}
			for _, e := range mine {
				key := lane.key(e)
				switch {
				case key == "":
					continue
				case !shown[key]:
					key = "" // the rest
				}
				step := events.Millis(l.Step * 1000)
				if want[key] == nil {
					want[key] = map[events.Millis]report.LanePoint{}
				}
				p := want[key][e.Time/step*step]
				p.Time = e.Time / step * step
				p.Events++
				p.Failures += failures([]*events.Event{e})
				want[key][p.Time] = p
			}
			got := map[string]map[events.Millis]report.LanePoint{}
			for _, row := range lane.rows {
				got[row.Key] = map[events.Millis]report.LanePoint{}
				for _, p := range row.Points {
					got[row.Key][p.Time] = p
				}
				if !slices.IsSortedFunc(row.Points, func(a, b report.LanePoint) int { return cmp.Compare(a.Time, b.Time) }) {
					t.Errorf("%q: points of %s are not in order", id, lane.name)
				}
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("%q: %s (-want +got):\n%s", id, lane.name, diff)
			}
		}
	}
}

func TestLanesShowFindingsAndRequirementsOfTheirTime(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	var findings []*events.Finding
	for i := range 4 {
		e := event("acme", "u", i*3600)
		insertEvents(t, s, e)
		findings = append(findings, finding(e, "LOC-01", events.High))
	}
	insertFindings(t, s, findings...)
	insertFindings(t, s, append(findings, finding(event("acme", "v", 3600), "LOC-01", events.High), finding(event("globex", "u", 3600), "LOC-01", events.High))...)
	insertRequirements(t, s, requirement("acme", "u", 3600, report.Open), requirement("acme", "u", 9*3600, report.Open), requirement("globex", "u", 3600, report.Open))
	l, err := s.Lanes(t.Context(), report.LanesQuery{Scope: everything, Tenant: "acme", User: "u", Span: report.Span{From: at(3600), To: at(3 * 3600)}, Now: at(0)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range l.Findings {
		got = append(got, f.ID)
	}
	if diff := gocmp.Diff([]string{findings[2].ID, findings[1].ID}, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if len(l.Requirements) != 1 || l.Requirements[0].NotBefore != at(3600) {
		t.Errorf("requirements are %+v", l.Requirements)
	}
}

func TestASessionIsAllThatWasSeenOfIt(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 900)
	for _, id := range odd {
		mine := c.those(func(e *events.Event) bool { return e.Tenant == "globex" && e.Session.ID == id })
		slices.SortFunc(mine, func(a, b *events.Event) int { return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(b.ID, a.ID)) })
		s, err := c.store.Session(t.Context(), report.Scope{Tenants: []string{"globex"}}, "globex", id, at(0))
		if err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		if diff := gocmp.Diff(sorted(mine, sessionKey)[id], line{s.Session, s.Events, s.Failures, s.First, s.Last}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", id, diff)
		}
		c.same("places of "+id, s.Places, sorted(mine, placeKey))
		c.same("devices of "+id, s.Devices, sorted(mine, deviceKey))
		c.same("networks of "+id, s.Networks, sorted(mine, networkKey))
		c.same("apps of "+id, s.Apps, sorted(mine, appID))
		users := map[string]bool{}
		for _, e := range mine {
			users[e.User.ID] = true
		}
		if s.User != mine[len(mine)-1].User.ID || len(s.Others)+1 != min(len(users), 20) {
			t.Errorf("%q: first of %q and %d others, want %q and %d", id, s.User, len(s.Others), mine[len(mine)-1].User.ID, len(users)-1)
		}
		for _, limit := range []int{3, 200} {
			q := report.SessionQuery{Scope: everything, Tenant: "globex", Session: id, Limit: limit}
			var got []string
			for {
				page, err := c.store.SessionEvents(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				for _, raw := range page.Events {
					e, err := events.Decode(raw)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, e.ID)
				}
				if page.Next == nil {
					break
				}
				q.After = *page.Next
			}
			var want []string
			for _, e := range mine {
				want = append(want, e.ID)
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("events of %q in pages of %d (-want +got):\n%s", id, limit, diff)
			}
		}
	}
}

func TestASessionHasItsFindingsAndRequirements(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	var list []*events.Event
	for i := range 3 {
		e := event("acme", "u", 1000*(i+1))
		e.Session.ID = []string{"s", "s", "other"}[i]
		list = append(list, e)
	}
	insertEvents(t, s, list...)
	mine, other := finding(list[1], "LOC-01", events.High), finding(list[2], "LOC-01", events.High)
	mine.Title, mine.Summary = "A title", "A summary of 'it'"
	insertFindings(t, s, mine, other)
	insertFindings(t, s, mine)
	own, whole, before, another := requirement("acme", "u", 5000, report.Open), requirement("acme", "u", 1500, report.Open), requirement("acme", "u", 10, report.Open), requirement("acme", "u", 1600, report.Open)
	own.Session, another.Session = "s", "other"
	insertRequirements(t, s, own, whole, before, another)
	answer, err := s.Session(t.Context(), everything, "acme", "s", at(0))
	if err != nil {
		t.Fatal(err)
	}
	want := []report.FindingLine{{
		ID: mine.ID, Tenant: "acme", User: "u", Name: "u of acme", Time: mine.Time, Detection: "LOC-01", Severity: events.High,
		Disposition: events.Active, Session: "s", Title: "A title", Summary: "A summary of 'it'",
	}}
	if diff := gocmp.Diff(want, answer.Findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	var got []string
	for _, r := range answer.Requirements {
		got = append(got, r.ID)
	}
	if diff := gocmp.Diff([]string{own.ID, whole.ID}, got); diff != "" {
		t.Errorf("requirements (-want +got):\n%s", diff)
	}
}

func TestANetworkIsWhoCameFromIt(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 900)
	late := event("acme", "tomorrow", 30*3600)
	late.IP, late.Network.Prefix = "192.0.1.1", "192.0.1.0/24"
	insertEvents(t, c.store, late)
	for _, scope := range []report.Scope{everything, {Tenants: []string{"acme"}}, {}} {
		for _, q := range []report.NetworkQuery{
			{Prefix: "192.0.1.0/24"},
			{IP: netip.MustParseAddr("192.0.1.1")},
			{IP: netip.MustParseAddr("192.0.1.77")},
			{Prefix: "198.51.100.0/24"},
			{IP: netip.MustParseAddr("2001:db8::1")},
		} {
			q.Scope, q.Span = scope, report.Span{From: at(7 * 3600), To: at(8 * 3600)}
			n, err := c.store.Network(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			mine := c.those(func(e *events.Event) bool {
				return scope.Allows(e.Tenant) && (q.Prefix == e.Network.Prefix || q.IP.IsValid() && q.IP.String() == e.IP)
			})
			all := sorted(mine, func(*events.Event) string { return "all" })["all"]
			all.Key = ""
			if diff := gocmp.Diff(all, line{"", n.Events, n.Failures, n.First, n.Last}); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", q, diff)
			}
			if n.From != at(0) || n.To != at(24*3600) || len(mine) > 0 && (n.ASN != 64496 || n.Org != "Example") {
				t.Errorf("network is %+v", n)
			}
			people := sorted(mine, personKey)
			if n.UserCount != uint64(len(people)) || len(n.Users) != min(len(people), 50) {
				t.Errorf("%+v: %d users, %d listed, want %d", q, n.UserCount, len(n.Users), len(people))
			}
			for _, u := range n.Users {
				key := events.Key(u.Tenant, u.User)
				if diff := gocmp.Diff(people[key], line{key, u.Events, u.Failures, u.First, u.Last}); diff != "" {
					t.Errorf("%+v: user (-want +got):\n%s", q, diff)
				}
			}
			apps := map[string]map[string]bool{}
			for _, e := range mine {
				if e.App.ID != "" {
					key := e.Tenant + "/" + e.App.ID
					if apps[key] == nil {
						apps[key] = map[string]bool{}
					}
					apps[key][e.User.ID] = true
				}
			}
			if len(n.Apps) != len(apps) {
				t.Errorf("%+v: %d apps, want %d", q, len(n.Apps), len(apps))
			}
			for _, a := range n.Apps {
				// Who used several from one address on one day used each of them.
				if a.Users < uint64(len(apps[a.Tenant+"/"+a.App])) || a.Name != "App "+a.App {
					t.Errorf("%+v: app %+v, want %d users", q, a, len(apps[a.Tenant+"/"+a.App]))
				}
			}
		}
	}
}

func TestANetworkHasItsFindings(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	var list []*events.Finding
	for i, ip := range []string{"2001:db8:1::1", "2001:db8:1::2", "2001:db8:2::1"} {
		e := event("acme", "u", i)
		e.IP, e.Network.Prefix = ip, netip.PrefixFrom(netip.MustParseAddr(ip), 48).Masked().String()
		insertEvents(t, s, e)
		list = append(list, finding(e, "LOC-01", events.High))
	}
	insertFindings(t, s, list...)
	insertFindings(t, s, list...)
	for _, v := range []struct {
		q    report.NetworkQuery
		want []*events.Finding
	}{
		{report.NetworkQuery{Prefix: "2001:db8:1::/48"}, []*events.Finding{list[1], list[0]}},
		{report.NetworkQuery{IP: netip.MustParseAddr("2001:db8:1::1")}, list[:1]},
		{report.NetworkQuery{IP: netip.MustParseAddr("2001:db8:2:0::1")}, list[2:]},
	} {
		v.q.Scope, v.q.Span = everything, day
		n, err := s.Network(t.Context(), v.q)
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, f := range n.Findings {
			got = append(got, f.ID)
		}
		for _, f := range v.want {
			want = append(want, f.ID)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", v.q, diff)
		}
	}
}

func TestTheMapHasPlacesAndArcs(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 600)
	var list []*events.Finding
	for i, e := range c.those(func(e *events.Event) bool { return e.Place.Located() })[:12] {
		f := finding(e, []string{"LOC-01", "LOC-03", "LOC-05"}[i%3], events.Severities[i%5])
		f.Evidence.Travel = &events.Travel{
			From: events.Sight{Place: events.Place{Lat: 1, Lon: 2, RadiusKm: 3, City: "<i>", Country: "DE"}}, To: f.Evidence.Sight, SpeedKmh: 1234,
		}
		if i == 3 {
			f.Disposition = events.Learning
		}
		list = append(list, f)
	}
	insertFindings(t, c.store, list...)
	insertFindings(t, c.store, list...)
	for _, scope := range []report.Scope{everything, {Tenants: []string{"acme", "globex"}}, {}} {
		m, err := c.store.Map(t.Context(), report.MapQuery{Scope: scope, Span: day, Now: at(0)})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]report.MapPlace{}
		for _, city := range []string{"München", "Berlin", ""} {
			there := c.those(func(e *events.Event) bool { return scope.Allows(e.Tenant) && e.Place.Located() && e.Place.City == city })
			if len(there) == 0 {
				continue
			}
			p := there[0].Place
			place := report.MapPlace{
				Location: report.Location{Lat: p.Lat, Lon: p.Lon, RadiusKm: p.RadiusKm, City: p.City, Country: p.Country},
				Events:   uint64(len(there)), Users: uint64(len(sorted(there, personKey))),
			}
			for _, f := range list {
				if f.Evidence.Sight.Place.City == city && f.Disposition == events.Active && scope.Allows(f.Tenant) {
					place.Findings++
				}
			}
			want[city] = place
		}
		got := map[string]report.MapPlace{}
		for _, p := range m.Places {
			got[p.City] = p
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("places (-want +got):\n%s", diff)
		}
		var arcs []string
		for _, f := range slices.SortedFunc(slices.Values(list), func(a, b *events.Finding) int {
			return cmp.Or(cmp.Compare(b.Severity.Rank(), a.Severity.Rank()), cmp.Compare(b.Time, a.Time), cmp.Compare(b.ID, a.ID))
		}) {
			if scope.Allows(f.Tenant) && f.Disposition == events.Active && f.Detection != "LOC-05" {
				arcs = append(arcs, f.ID)
			}
		}
		var gotArcs []string
		for _, a := range m.Arcs {
			gotArcs = append(gotArcs, a.Finding)
			if a.From != (report.Location{Lat: 1, Lon: 2, RadiusKm: 3, City: "<i>", Country: "DE"}) || a.SpeedKmh != 1234 || a.To.Lat == 0 {
				t.Errorf("arc is %+v", a)
			}
		}
		if diff := gocmp.Diff(arcs, gotArcs); diff != "" {
			t.Errorf("arcs (-want +got):\n%s", diff)
		}
	}
	m, err := c.store.Map(t.Context(), report.MapQuery{Scope: everything, Span: day, Now: at(0), Severity: []events.Severity{events.Critical}})
	if err != nil || len(m.Arcs) == 0 || slices.ContainsFunc(m.Arcs, func(a report.Arc) bool { return a.Severity != events.Critical }) {
		t.Errorf("critical arcs are %+v, %v", m.Arcs, err)
	}
}

// Quiet places with a finding are on the map beside five hundred busy ones.
func TestTheMapKeepsPlacesWithFindings(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	var list []*events.Event
	for i := range 1100 {
		e := event("acme", "u", i)
		e.Place = events.Place{Country: "DE", City: fmt.Sprint("city ", i%550), Lat: 50, Lon: 8}
		list = append(list, e)
	}
	quiet := event("acme", "u", 5000)
	quiet.Place = events.Place{Country: "AQ", City: "quiet", Lat: -75, Lon: 1}
	insertEvents(t, s, append(list, quiet)...)
	insertFindings(t, s, finding(quiet, "LOC-01", events.High))
	m, err := s.Map(t.Context(), report.MapQuery{Scope: everything, Span: day, Now: at(0)})
	if err != nil {
		t.Fatal(err)
	}
	last := m.Places[len(m.Places)-1]
	if len(m.Places) != 500 || last.City != "quiet" || last.Findings != 1 || last.Events != 1 {
		t.Errorf("%d places, the quietest is %+v", len(m.Places), last)
	}
}

// What is counted by hours and days is counted once, however a span lies over them.
func TestSpansAreCountedOnceByHoursAndDays(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	// The server forgets hours by its own clock.
	begin := events.MillisOf(time.Now())/events.Day*events.Day - 5*events.Day
	at := func(seconds int) events.Millis { return begin + events.Millis(seconds*1000) }
	near := func(got uint64, want int) bool { return math.Abs(float64(got)-float64(want)) <= 0.02*float64(want) }
	var list []*events.Event
	for i := range 24 * 6 {
		e := event("acme", fmt.Sprint("u", i%3), i*1800)
		e.Time = at(i * 1800)
		e.App = events.Ref{ID: "app", Name: "An app"}
		list = append(list, e)
	}
	insertEvents(t, s, list...)
	insertEvents(t, s, list[20:60]...)
	for _, v := range []struct {
		from, to, now        int
		wantFrom, wantTo     int
		wantStep, wantEvents int
	}{
		{0, 3 * 86400, 0, 0, 3 * 86400, 3600, 144},
		{3600, 7200, 0, 3600, 7200, 3600, 2},
		{3601, 7199, 0, 3600, 7200, 3600, 2},
		{5 * 3600, 86400, 0, 5 * 3600, 86400, 3600, 38},
		{5 * 3600, 86400 + 1, 0, 5 * 3600, 86400 + 3600, 3600, 40},
		{23 * 3600, 2*86400 + 3600, 0, 23 * 3600, 2*86400 + 3600, 3600, 2 + 48 + 2},
		{-86400, 86400, 0, -86400, 86400, 3600, 48},
		// Long ago: by days.
		{5 * 3600, 6 * 3600, 60 * 86400, 0, 86400, 86400, 48},
		{5 * 3600, 2*86400 + 3600, 60 * 86400, 0, 3 * 86400, 86400, 144},
		// The start is long ago, the end is not.
		{5 * 3600, 86400 + 3600, 40 * 86400, 0, 86400 + 3600, 86400, 50},
		// Longer than the chart has hours.
		{3600, 5*86400 + 5*3600, 0, 3600, 5*86400 + 5*3600, 2 * 3600, 142},
	} {
		q := report.AppQuery{Scope: everything, Tenant: "acme", App: "app", Span: report.Span{From: at(v.from), To: at(v.to)}, Now: at(v.now)}
		a, err := s.App(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.Map(t.Context(), report.MapQuery{Scope: everything, Span: q.Span, Now: q.Now})
		if err != nil {
			t.Fatal(err)
		}
		if m.From != at(v.wantFrom) || m.To != at(v.wantTo) || len(m.Places) != 1 || !near(m.Places[0].Events, v.wantEvents) || m.Places[0].Users != min(3, uint64(v.wantEvents)) {
			t.Errorf("%+v: map is %+v", v, m)
		}
		// The application's numbers are all of the span of its chart.
		var sum uint64
		for _, p := range a.Series {
			sum += p.Events
		}
		wantEvents := 0
		for _, e := range list {
			if e.Time >= a.From && e.Time < a.To {
				wantEvents++
			}
		}
		if !near(a.Events, wantEvents) || !near(sum, wantEvents) || a.Step != int64(v.wantStep) || a.From > q.Span.From || a.To < q.Span.To ||
			a.To-a.From != events.Millis(len(a.Series))*events.Millis(a.Step*1000) {
			t.Errorf("%+v: app is %+v", v, a)
		}
	}
}

func TestAppsAreWhatWasUsed(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 900)
	for _, scope := range []report.Scope{everything, {Tenants: []string{"globex"}}, {}} {
		apps, err := c.store.Apps(t.Context(), report.AppQuery{Scope: scope, Span: day, Now: at(0)})
		if err != nil {
			t.Fatal(err)
		}
		mine := c.those(func(e *events.Event) bool { return scope.Allows(e.Tenant) })
		want := map[string]report.AppSummary{}
		for key, l := range sorted(mine, func(e *events.Event) string {
			if e.App.ID == "" {
				return ""
			}
			return events.Key(e.Tenant, e.App.ID)
		}) {
			people := sorted(c.those(func(e *events.Event) bool { return events.Key(e.Tenant, e.App.ID) == key }), personKey)
			tenant, app, _ := strings.Cut(key, "/")
			want[key] = report.AppSummary{
				Tenant: tenant, App: app, Name: "App " + app, Last: l.Last, Events: l.Events, Failures: l.Failures, Users: uint64(len(people)),
			}
		}
		got := map[string]report.AppSummary{}
		for _, a := range apps {
			got[events.Key(a.Tenant, a.App)] = a
		}
		if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("apps (-want +got):\n%s", diff)
		}
		if !slices.IsSortedFunc(apps, func(a, b report.AppSummary) int { return cmp.Compare(b.Events, a.Events) }) {
			t.Errorf("apps are not in order: %+v", apps)
		}
	}
}

func TestAppsAreTimedByTheirReceipts(t *testing.T) {
	t.Parallel()
	s := historytest.Open(t)
	logged := time.Now().Truncate(time.Second)
	moment := func(ms int) events.Millis { return events.MillisOf(logged) + events.Millis(ms) }
	findings, receipts := history.NewFindings(), history.NewReceipts()
	add := func(r *events.Receipt) {
		r.ID = events.ReceiptID(r)
		for range 2 {
			if err := receipts.Append(r, logged); err != nil {
				t.Fatal(err)
			}
		}
	}
	var requirements []*report.Requirement
	for i := range 5 {
		tenant := []string{"acme", "acme", "acme", "acme", "globex"}[i]
		e := event(tenant, "u", i)
		f := finding(e, "LOC-01", events.High)
		if err := findings.Append(f, events.Encode(f), logged); err != nil {
			t.Fatal(err)
		}
		r := requirement(tenant, "u", i, report.Open)
		r.EventID = e.ID
		requirements = append(requirements, r)
	}
	insert(t, s, &findings.Block)
	insertRequirements(t, s, requirements...)
	for i, ms := range []int{100, 300, 200} {
		r := requirements[i]
		add(&events.Receipt{Tenant: "acme", User: "u", Requirement: r.ID, App: "bank", Status: events.Delivered, Time: moment(10)})
		add(&events.Receipt{Tenant: "acme", User: "u", Requirement: r.ID, App: "bank", Status: events.Challenged, Time: moment(ms)})
		add(&events.Receipt{Tenant: "acme", User: "u", Requirement: r.ID, App: "bank", Status: events.Satisfied, Time: moment(ms + 9000)})
	}
	add(&events.Receipt{Tenant: "acme", User: "u", Requirement: requirements[3].ID, App: "bank", Status: events.Delivered, Time: moment(5)})
	add(&events.Receipt{Tenant: "globex", User: "u", Requirement: requirements[4].ID, App: "bank", Status: events.Revoked, Time: moment(7000)})
	insert(t, s, &receipts.Block)
	half, most, other := int64(200), int64(300), int64(7000)
	acme := report.AppSummary{Tenant: "acme", App: "bank", Last: moment(9300), Requirements: 4, Enforced: 3, P50: &half, P95: &most}
	globex := report.AppSummary{Tenant: "globex", App: "bank", Last: moment(7000), Requirements: 1, Enforced: 1, P50: &other, P95: &other}
	for _, v := range []struct {
		scope report.Scope
		span  report.Span
		want  []report.AppSummary
	}{
		{everything, day, []report.AppSummary{acme, globex}},
		{report.Scope{Tenants: []string{"globex"}}, day, []report.AppSummary{globex}},
		{everything, report.Span{From: at(1), To: at(2)}, []report.AppSummary{acme, globex}}, // of the whole hour, as events are
		{everything, report.Span{From: at(3600), To: at(7200)}, nil},
		{report.Scope{}, day, nil},
	} {
		apps, err := s.Apps(t.Context(), report.AppQuery{Scope: v.scope, Span: v.span, Now: at(0)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(v.want, apps, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", v.scope, diff)
		}
	}
	a, err := s.App(t.Context(), report.AppQuery{Scope: everything, Tenant: "acme", App: "bank", Span: day, Now: at(0)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(acme, a.AppSummary); diff != "" {
		t.Errorf("one app (-want +got):\n%s", diff)
	}
}
