package anomaly

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/org"
	"github.com/countersign-io/countersign/internal/profile"
)

// anyEvent draws events of every kind of a much travelled user, or program, within some days.
func anyEvent() *rapid.Generator[*events.Event] {
	return rapid.Custom(func(t *rapid.T) *events.Event {
		n := rapid.IntRange(0, 200).Draw(t, "n")
		city := rapid.SampledFrom(cityNames).Draw(t, "city")
		network := rapid.SampledFrom(networkNames).Draw(t, "network")
		e := &events.Event{
			ID: events.EventID("acme", "any", fmt.Sprint(n)), Tenant: "acme", User: events.User{ID: "u1"},
			Kind:    rapid.SampledFrom(append(events.Kinds, events.SignIn, events.SignIn, events.SessionUse)).Draw(t, "kind"),
			Time:    dayZero + events.Millis(rapid.Int64Range(-3*events.Day, 3*events.Day).Draw(t, "time")),
			Outcome: rapid.SampledFrom([]events.Outcome{events.Success, events.Success, "", events.Failure, events.Interrupt}).Draw(t, "outcome"),
			IP:      address(city, network), Place: cities[city], Network: networks[network],
			Device:      devices[rapid.SampledFrom([]string{"laptop", "phone", "iphone", "windows", "linux", "none"}).Draw(t, "device")],
			Session:     events.Session{ID: rapid.SampledFrom([]string{"", "s1", "s2", "s3"}).Draw(t, "session")},
			Interactive: rapid.SampledFrom([]events.Tri{events.Unknown, events.Yes, events.No}).Draw(t, "interactive"),
			Auth: events.Auth{
				MFA:      rapid.SampledFrom(append([]events.MFA{""}, events.MFAResults...)).Draw(t, "mfa"),
				Strength: rapid.SampledFrom(append([]events.Strength{""}, events.Strengths...)).Draw(t, "strength"),
			},
		}
		if rapid.IntRange(0, 3).Draw(t, "odd") == 0 {
			e.Place.RadiusKm = rapid.SampledFrom([]float64{0, 1, 75, 400, 1000, 20038}).Draw(t, "radius")
			e.Place.Lat = rapid.Float64Range(-90, 90).Draw(t, "lat")
			e.Place.Lon = rapid.Float64Range(-180, 180).Draw(t, "lon")
			e.ProviderPlace = cities[rapid.SampledFrom(cityNames).Draw(t, "provider")]
		}
		if e.Outcome == events.Failure {
			e.Cause = rapid.SampledFrom(append([]events.Cause{""}, events.Causes...)).Draw(t, "cause")
		}
		if rapid.Bool().Draw(t, "more") {
			anyMore(t, e)
		}
		switch e.Kind { //nolint:exhaustive // the others have no more
		case events.NetworkVerdict:
			e.Verdict = anyVerdict(t, e.Time)
		case events.AccountChange:
			e.Change = events.Change{
				Type:   rapid.SampledFrom(events.ChangeTypes).Draw(t, "change"),
				Action: rapid.SampledFrom(events.ChangeActions).Draw(t, "action"),
				Target: events.Ref{ID: rapid.SampledFrom([]string{"", "a1", "a2"}).Draw(t, "target")},
				Grants: rapid.SampledFrom([][]string{nil, {"openid"}, {"mail.read", "offline_access"}}).Draw(t, "grants"),
			}
		case events.RiskReport:
			e.Risk = anyRisk(t)
		case events.TenantContext:
			e.Org = &events.OrgContext{Until: e.Time}
		}
		return e
	})
}

// anyMore draws what few events have.
func anyMore(t *rapid.T, e *events.Event) {
	e.User.Type = rapid.SampledFrom([]events.UserType{"", "", events.Workload, events.Unresolved}).Draw(t, "type")
	e.User.Privileged = rapid.SampledFrom([]events.Tri{events.Unknown, events.Yes}).Draw(t, "privileged")
	e.App.ID = rapid.SampledFrom([]string{"", "a1", "29d9ed98-a469-4536-ade2-f981bc1d605e"}).Draw(t, "app")
	e.Resource.ID = rapid.SampledFrom([]string{"", "r1", "r2"}).Draw(t, "resource")
	e.Auth.Protocol = rapid.SampledFrom([]string{"", "deviceCode", "ROPC", "IMAP4"}).Draw(t, "protocol")
	e.Auth.Methods = rapid.SampledFrom([][]string{nil, {"password"}, {"password", "sms"}, {"fido2"}}).Draw(t, "methods")
	e.Auth.Time = rapid.SampledFrom([]events.Millis{0, e.Time, e.Time - events.Hour}).Draw(t, "proved")
	e.Session.Token = rapid.SampledFrom([]string{"", "t1", "t2"}).Draw(t, "token")
	e.Session.TokenType = rapid.SampledFrom([]string{"", "access_token", "refresh_token"}).Draw(t, "tokentype")
	e.Correlation = rapid.SampledFrom([]string{"", "f1", "f2"}).Draw(t, "flow")
	e.UserAgent = rapid.SampledFrom([]string{"", "axios/1.7", "curl/8", "Mozilla/5.0"}).Draw(t, "ua")
	e.Network.Built = rapid.SampledFrom([]events.Millis{0, e.Time - events.Hour, e.Time - 60*events.Day}).Draw(t, "list")
	e.Risk = anyRisk(t)
}

func anyRisk(t *rapid.T) events.Risk {
	return events.Risk{
		Level:      rapid.SampledFrom(append([]events.RiskLevel{""}, events.RiskLevels...)).Draw(t, "level"),
		User:       rapid.SampledFrom(append([]events.RiskLevel{""}, events.RiskLevels...)).Draw(t, "userlevel"),
		State:      rapid.SampledFrom(append([]events.RiskState{"", ""}, events.RiskStates...)).Draw(t, "state"),
		Detections: rapid.SampledFrom([][]string{nil, {"generic"}, {"unlikelyTravel"}, {"anomalousToken"}, {"fraud"}, {"unheardOf", "anomalousToken"}}).Draw(t, "vendor"),
		SignIn:     rapid.SampledFrom([]string{"", "", "1", "2"}).Draw(t, "signin"),
		Happened:   rapid.SampledFrom([]events.Millis{0, dayZero}).Draw(t, "happened"),
	}
}

func anyVerdict(t *rapid.T, at events.Millis) *events.Verdict {
	return &events.Verdict{
		Detection: rapid.SampledFrom([]string{"CRD-03", "CRD-04", "CRD-05", "CRD-07", "CRD-08", "NET-05", "DEV-03", "XXX-99"}).Draw(t, "verdict"),
		Severity:  rapid.SampledFrom(append([]events.Severity{""}, events.Severities...)).Draw(t, "severity"),
		Source:    rapid.SampledFrom([]string{"", "ip 198.18.1.1", "prefix 198.18.1.0/24", "asn 1000", "agent Linux Chrome", "asn", "ip x"}).Draw(t, "guilty"),
		Incident:  rapid.SampledFrom([]string{"", "i1"}).Draw(t, "incident"),
		Users:     rapid.IntRange(0, 1000).Draw(t, "users"), Z: rapid.Float64Range(0, 100).Draw(t, "z"),
		From: at - events.Hour, To: at,
	}
}

// anyContext draws what is known of an organisation, or nil.
func anyContext() *rapid.Generator[*org.Context] {
	return rapid.Custom(func(t *rapid.T) *org.Context {
		if rapid.IntRange(0, 3).Draw(t, "unknown") == 0 {
			return nil
		}
		term := func(value string) events.OrgTerm {
			return events.OrgTerm{Value: value, Users: rapid.IntRange(0, 9).Draw(t, value)}
		}
		prefix, _, _ := strings.Cut(address("utrecht", "other"), ".10")
		return org.NewContext(&events.OrgContext{
			Since: dayZero - events.Millis(rapid.IntRange(0, 60).Draw(t, "span"))*events.Day, Until: dayZero, Users: 100, Logins: 4000,
			Countries: []events.OrgTerm{term("NL"), term("IT")}, Networks: []events.OrgTerm{term("1012"), term("8000"), term("5000")},
			Cells: []events.OrgTerm{term("52,5"), term("41,12")}, Apps: []events.OrgTerm{term("a1")}, Agents: []events.OrgTerm{term("Linux Chrome")},
			Egress: []string{prefix + ".0/24"}, Hubs: []uint32{1008},
			Thresholds: []events.OrgThreshold{{Class: "daily", Score: rapid.Float64Range(-5, 20).Draw(t, "threshold")}},
		})
	})
}

// everything evaluates events one after another and returns all findings in their wire form.
func everything(c *Catalogue, p *profile.Profile, told *org.Context, list []*events.Event) []string {
	var out []string
	for _, e := range list {
		r := c.Evaluate(p, told, e)
		for i := range r.Findings {
			out = append(out, string(events.Encode(&r.Findings[i])))
		}
		out = append(out, fmt.Sprint(r.Risk, r.Score, r.Scored))
		if r.Sighting != nil {
			out = append(out, fmt.Sprintf("%+v", *r.Sighting))
		}
	}
	return out
}

func TestSameLogSameFindings(t *testing.T) {
	tb, c := t, catalogue(t)
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(anyEvent(), 0, 60).Draw(t, "events")
		told := anyContext().Draw(t, "organisation")
		whole := profile.New()
		want := everything(c, whole, told, list)

		again := everything(catalogue(tb), profile.New(), told, list)
		if diff := cmp.Diff(again, want); diff != "" {
			t.Fatalf("the second run differs (-got, +want)\n%s", diff)
		}
		// Stored, read and copied after every event, as detectors do.
		var stored []string
		p := profile.New()
		for _, e := range list {
			q, err := profile.Decode(p.AppendBinary(nil))
			if err != nil {
				t.Fatal(err)
			}
			p = q.Clone()
			stored = append(stored, everything(c, p, told, []*events.Event{e})...)
		}
		if diff := cmp.Diff(stored, want); diff != "" {
			t.Fatalf("storing makes a difference (-got, +want)\n%s", diff)
		}
		if !bytes.Equal(p.AppendBinary(nil), whole.AppendBinary(nil)) {
			t.Fatal("the profiles differ")
		}
	})
}

func TestRepeatedEventChangesNothing(t *testing.T) {
	c := catalogue(t)
	rapid.Check(t, func(t *rapid.T) {
		p, told := profile.New(), anyContext().Draw(t, "organisation")
		for _, e := range rapid.SliceOfN(anyEvent(), 1, 40).Draw(t, "events") {
			c.Evaluate(p, told, e)
			before := p.AppendBinary(nil)
			again := *e
			again.Place, again.Device = cities["tokyo"], devices["linux"] // the same record with other fields (T41)
			if r := c.Evaluate(p, told, &again); r.Findings != nil || r.Sighting != nil {
				t.Fatalf("%+v", r)
			}
			if !bytes.Equal(p.AppendBinary(nil), before) {
				t.Fatal("the profile changed")
			}
		}
	})
}

func TestFindingsAreWellFormed(t *testing.T) {
	c := catalogue(t)
	finite := func(t *rapid.T, f *events.Finding, what string, v, low float64) {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < low {
			t.Fatalf("%s is %g in %s", what, v, f.ID)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p, told := profile.New(), anyContext().Draw(t, "organisation")
		if rapid.Bool().Draw(t, "known") {
			p = known(c)
		}
		seen, came := map[string]bool{}, map[string]bool{}
		for _, e := range rapid.SliceOfN(anyEvent(), 0, 60).Draw(t, "events") {
			if came[e.ID] { // ingest lets none in twice; of the latest the profile knows itself
				continue
			}
			came[e.ID] = true
			r := c.Evaluate(p, told, e)
			found := r.Findings
			if path := notFinite(reflect.ValueOf(r), "result"); path != "" {
				t.Fatalf("%s is no finite number", path)
			}
			if !slices.IsSortedFunc(found, func(a, b events.Finding) int { return strings.Compare(a.Detection, b.Detection) }) {
				t.Fatal("not in order")
			}
			for i := range found {
				f := &found[i]
				if f.EventID != e.ID || f.Summary == "" || f.Severity.Rank() == 0 || f.Disposition == "" || f.Decision != nil || byID[f.Detection] == nil {
					t.Fatalf("incomplete: %s", events.Encode(f))
				}
				if slices.Contains(f.Anchors, f.EventID) {
					t.Fatalf("compared with itself: %s", events.Encode(f))
				}
				if seen[f.ID] {
					t.Fatalf("id repeats: %s", events.Encode(f))
				}
				seen[f.ID] = true
				if rung := breaksLadder(f); rung != "" {
					t.Fatalf("%s must not excuse %s: %s", rung, f.Detection, events.Encode(f))
				}
				travels := slices.Clone(f.Evidence.Others)
				if f.Evidence.Travel != nil {
					travels = append(travels, *f.Evidence.Travel)
				}
				for _, way := range travels {
					finite(t, f, "distance", way.DistanceKm, 0)
					finite(t, f, "effective distance", way.EffectiveKm, 0)
					finite(t, f, "speed", way.SpeedKmh, 0)
					finite(t, f, "gap", way.GapSeconds, 0)
					if way.EffectiveKm > way.DistanceKm || way.From.Time > way.To.Time {
						t.Fatalf("impossible even so: %s", events.Encode(f))
					}
				}
				if again, err := events.DecodeFinding(events.Encode(f)); err != nil || cmp.Diff(again, f) != "" {
					t.Fatalf("does not survive the wire: %v\n%s", err, cmp.Diff(again, f))
				}
			}
		}
	})
}

// known is a user who is past learning.
func known(c *Catalogue) *profile.Profile {
	p := profile.New()
	for day := range 20 {
		c.Evaluate(p, nil, &events.Event{
			ID: events.EventID("acme", "known", fmt.Sprint(day)), Kind: events.SignIn, Tenant: "acme", User: events.User{ID: "u1"},
			Time: dayZero + events.Millis(day-30)*events.Day, Outcome: events.Success, IP: address("utrecht", ""), Place: cities["utrecht"],
			Network: networks[""], Device: devices["laptop"],
		})
	}
	return p
}

func TestPairFiresOnceWhateverTheOrder(t *testing.T) {
	c := catalogue(t)
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyEvent().Draw(t, "a"), anyEvent().Draw(t, "b")
		if a.ID == b.ID {
			return
		}
		a.Time = dayZero
		b.Time = dayZero + events.Millis(rapid.Int64Range(-events.Day, events.Day).Draw(t, "gap"))
		keys := func(list ...*events.Event) []string {
			p := known(c)
			var ids []string
			for _, e := range list {
				for _, f := range c.Evaluate(p, nil, e).Findings {
					if f.Detection == "LOC-01" || f.Detection == "SES-01" || f.Detection == "SES-02" { // those that rest on a pair
						ids = append(ids, f.Detection+f.ID)
					}
				}
			}
			slices.Sort(ids)
			return ids
		}
		if diff := cmp.Diff(keys(b, a), keys(a, b)); diff != "" {
			t.Fatalf("%s at %s and %s at %s (-late, +in order)\n%s", a.Place.City, a.Time, b.Place.City, b.Time, diff)
		}
	})
}

func TestDistance(t *testing.T) {
	degrees := func(limit float64) *rapid.Generator[float64] {
		return rapid.Map(rapid.Int32Range(-int32(limit*1e4), int32(limit*1e4)), func(v int32) float64 { return float64(v) / 1e4 })
	}
	rapid.Check(t, func(t *rapid.T) {
		lat1, lon1 := degrees(90).Draw(t, "lat1"), degrees(180).Draw(t, "lon1")
		lat2, lon2 := degrees(90).Draw(t, "lat2"), degrees(180).Draw(t, "lon2")
		d := profile.Kilometres(lat1, lon1, lat2, lon2)
		if math.IsNaN(d) || d < 0 || d > math.Pi*profile.EarthKm+1e-6 {
			t.Fatalf("%g km", d)
		}
		if back := profile.Kilometres(lat2, lon2, lat1, lon1); math.Abs(back-d) > 1e-6 {
			t.Fatalf("%g there, %g back", d, back)
		}
		spot := func(lat, lon float64) *profile.Spot {
			return &profile.Spot{Lat: int32(math.Round(lat * 1e4)), Lon: int32(math.Round(lon * 1e4))}
		}
		if a, b := spot(lat1, lon1), spot(lat2, lon2); near(a, b, d-1e-6) {
			t.Fatalf("surely nearer than they are, %g km", d)
		}
	})
	for _, c := range []struct{ lat1, lon1, lat2, lon2, km float64 }{
		{0, 0, 0, 180, 20015.1},
		{90, 0, -90, 0, 20015.1},
		{0, 0, 0, 1, 111.2},
		{52.0907, 5.1214, 35.6895, 139.6917, 9304.8},
		{0, 179.5, 0, -179.5, 111.2},
		{40.7128, -74.006, 34.0522, -118.2437, 3935.8},
	} {
		if got := profile.Kilometres(c.lat1, c.lon1, c.lat2, c.lon2); math.Abs(got-c.km) > 0.1 {
			t.Errorf("%v: %g km", c, got)
		}
	}
}

// notFinite names the first number in a value that is none, or "".
func notFinite(v reflect.Value, path string) string {
	switch v.Kind() { //nolint:exhaustive // others hold no numbers
	case reflect.Float64, reflect.Float32:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return path
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return notFinite(v.Elem(), path)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if bad := notFinite(v.Index(i), fmt.Sprintf("%s[%d]", path, i)); bad != "" {
				return bad
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if bad := notFinite(v.Field(i), path+"."+v.Type().Field(i).Name); bad != "" {
				return bad
			}
		}
	}
	return ""
}

// What one user does is nothing to another: events of two users in any order are the events of each.
func TestUsersAreNothingToEachOther(t *testing.T) {
	c := catalogue(t)
	rapid.Check(t, func(t *rapid.T) {
		told := anyContext().Draw(t, "organisation")
		one, two := rapid.SliceOfN(anyEvent(), 0, 30).Draw(t, "one"), rapid.SliceOfN(anyEvent(), 0, 30).Draw(t, "two")
		for _, e := range two {
			e.User.ID = "u2"
		}
		want1, want2 := everything(c, profile.New(), told, one), everything(c, profile.New(), told, two)
		p1, p2 := profile.New(), profile.New()
		var got1, got2 []string
		for len(one)+len(two) > 0 {
			if len(two) == 0 || len(one) > 0 && rapid.Bool().Draw(t, "first") {
				got1, one = append(got1, everything(c, p1, told, one[:1])...), one[1:]
			} else {
				got2, two = append(got2, everything(c, p2, told, two[:1])...), two[1:]
			}
		}
		if diff := cmp.Diff([][]string{got1, got2}, [][]string{want1, want2}); diff != "" {
			t.Fatalf("(-got, +want)\n%s", diff)
		}
	})
}
