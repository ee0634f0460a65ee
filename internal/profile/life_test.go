package profile

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

// live takes an event into a profile with all that the catalogue keeps of it, as if nothing were ever wrong with it.
func live(p *Profile, e *events.Event) {
	id := IDOf(e.ID)
	if !p.Remember(id) {
		return
	}
	switch {
	case e.Kind == events.SignOut:
		p.EndSession(SessionKey(e.Session.ID), e.Time)
		return
	case e.Outcome == events.Failure:
		p.AddFailure(AttemptOf(e), events.Day)
		return
	}
	p.Count(e.Time, 90*events.Day)
	pt := p.Observe(e, id, false)
	spot, device := p.Spot(&pt), p.Device(&pt)
	p.AddVisit(pt)
	for _, t := range []Term{
		{Kind: Country, Value: CountryValue(spot.Country)},
		{Kind: ASN, Value: uint64(spot.ASN)},
		{Kind: DeviceID, Value: DeviceValue(device.Hash)},
		{Kind: Agent, Value: AgentValue(device.OS, device.Browser)},
		{Kind: App, Value: TextValue(e.App.ID)},
		{Kind: AppResource, Value: TextValue(e.App.ID, e.Resource.ID)},
		{Kind: Grant, Value: TextValue(e.App.ID, e.Auth.Protocol)},
	} {
		if t.Value != 0 {
			p.Learn(t.Kind, t.Value, e.Time, false)
		}
	}
	p.LearnCluster(spot, float64(spot.RadiusKm), 100, e.Time, false)
	if key := SessionKey(e.Session.ID); key != 0 {
		s := p.UseSession(key, pt, events.Day)
		s.UseToken(TokenUse{Token: Hash32(e.Session.Token), IP: pt.IP.Hash(), ASN: spot.ASN, Time: e.Time})
		if e.Interactive == events.No {
			s.Refreshed = max(s.Refreshed, e.Time)
		} else {
			s.Interactive = true
		}
	}
	if e.Interactive == events.Yes {
		p.Hours.Add(HourOfWeek(e.Time, events.Hour), e.Time)
		p.Familiar.Learn(familiarity.LoginOf(e), e.Time)
		if e.Auth.Strength == events.PhishingResistant {
			p.Marks.StrongAt = max(p.Marks.StrongAt, e.Time)
		}
	}
	if e.Auth.MFA == events.MFAPerformed {
		p.AddPush(Attempt{Time: e.Time}, events.Hour)
	}
	if device.Managed == events.Yes {
		p.Marks.ManagedAt = max(p.Marks.ManagedAt, e.Time)
	}
}

func employees(tb testing.TB, users, days int) map[string]*Profile {
	tb.Helper()
	cfg := company.DefaultConfig()
	cfg.Seed, cfg.Users, cfg.Days, cfg.QuietDays = 7, users, days, 5
	profiles := map[string]*Profile{}
	for e := range company.New(cfg).Events() {
		p := profiles[e.Key()]
		if p == nil {
			p = New()
			profiles[e.Key()] = p
		}
		live(p, &e)
	}
	return profiles
}

func TestProfilesOfACompanyAreSmall(t *testing.T) {
	profiles := employees(t, 150, 40)
	total, counters, largest := 0, 0, 0
	for _, p := range profiles {
		n := len(p.AppendBinary(nil))
		total, largest = total+n, max(largest, n)
		c := p.Clone()
		c.Familiar = familiarity.Counts{}
		counters += n - len(c.AppendBinary(nil))
		got, err := Decode(p.AppendBinary(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, p, exact); diff != "" {
			t.Fatalf("(-got, +want)\n%s", diff)
		}
	}
	mean, familiar := total/len(profiles), counters/len(profiles)
	t.Logf("%d profiles: %d bytes on average, of them %d of familiarity counters; the largest %d", len(profiles), mean, familiar, largest)
	if mean-familiar > 1500 {
		t.Errorf("%d bytes on average without familiarity counters", mean-familiar)
	}
}

// anyTime draws moments of a few days, and now and then one that no clock ever showed.
func anyTime() *rapid.Generator[events.Millis] {
	usual := rapid.Custom(func(t *rapid.T) events.Millis {
		return start + events.Millis(rapid.Int64Range(-5*events.Day, 90*events.Day).Draw(t, "ms"))
	})
	return rapid.OneOf(usual, usual, usual, rapid.SampledFrom([]events.Millis{0, math.MinInt64, math.MaxInt64, -1, 1}), rapid.Custom(func(t *rapid.T) events.Millis {
		return events.Millis(rapid.Int64().Draw(t, "ms"))
	}))
}

// step does anything to a profile that a caller may do.
func step(t *rapid.T, p *Profile) {
	at, keep := anyTime().Draw(t, "at"), events.Millis(rapid.SampledFrom([]int64{0, events.Hour, events.Day, math.MaxInt64}).Draw(t, "keep"))
	small := rapid.Uint32Range(0, 3)
	attempt := func() Attempt {
		return Attempt{
			Time: at, Cause: rapid.SampledFrom(append([]events.Cause{"", "other"}, events.Causes...)).Draw(t, "cause"),
			IP: small.Draw(t, "ip"), ASN: rapid.Uint32().Draw(t, "asn"), Flow: small.Draw(t, "flow"),
		}
	}
	detection := func() Detection { return Detection(rapid.Uint16().Draw(t, "detection")) }
	number := rapid.Uint64Range(0, 40)
	e := anyEvent().Draw(t, "event")
	spot := spotOf(e, false)
	switch rapid.IntRange(0, 17).Draw(t, "op") {
	case 0:
		p.AddFailure(attempt(), keep)
	case 1:
		p.AddPush(attempt(), keep)
	case 2:
		p.AddCode(attempt(), keep)
	case 3:
		p.AddAttacked(Attacked{
			Detection: detection(), Source: number.Draw(t, "source"), Incident: number.Draw(t, "incident"), Time: at,
			Told: uint8(small.Draw(t, "told")), Observed: rapid.Bool().Draw(t, "observed"),
		}, keep)
	case 4:
		p.AddRaised(Raised{
			Detection: detection(), Severity: uint8(small.Draw(t, "severity")), Time: at, Event: IDOf(e.ID), Session: number.Draw(t, "session"),
			Flow: small.Draw(t, "flow"), IP: small.Draw(t, "ip"), Tried: rapid.Bool().Draw(t, "tried"),
		}, keep)
	case 5:
		pt := p.Observe(e, IDOf(e.ID), false)
		p.AddSuspicion(Suspicion{Point: pt, Session: number.Draw(t, "session"), Kind: RelayedSignIn}, keep)
	case 6:
		p.AddChange(Change{
			Time: at, Type: rapid.SampledFrom(append([]events.ChangeType{"", "other"}, events.ChangeTypes...)).Draw(t, "type"),
			Action: rapid.SampledFrom(append([]events.ChangeAction{"", "other"}, events.ChangeActions...)).Draw(t, "action"), Event: IDOf(e.ID),
		}, keep)
	case 7:
		p.LearnCluster(&spot, rapid.Float64().Draw(t, "radius"), rapid.Float64Range(0, 500).Draw(t, "within"), at, rapid.Bool().Draw(t, "unconfirmed"))
	case 8:
		if n := len(p.Clusters); n > 0 {
			c := &p.Clusters[rapid.IntRange(0, n-1).Draw(t, "cluster")]
			p.PassTransition(&spot, &Spot{Lat: c.Lat, Lon: c.Lon}, at)
		}
	case 9:
		p.Hours.Add(rapid.IntRange(-1, HoursOfWeek).Draw(t, "hour"), at)
	case 10:
		p.Risk.Sum, p.Risk.At = rapid.Float32Range(-1e6, 1e6).Draw(t, "sum"), at
		p.Risk.Add(RiskPart{Detection: detection(), Time: at, Decibans: rapid.Float32Range(0, 60).Draw(t, "decibans")}, keep)
	case 11:
		*p.Marks.times()[rapid.IntRange(0, 3).Draw(t, "mark")] = at
	case 12:
		p.EndSession(SessionKey(e.Session.ID), at)
	case 13:
		p.Familiar.Learn(familiarity.LoginOf(e), e.Time)
	case 14:
		p.Learn(Kind(rapid.Uint8Range(1, 12).Draw(t, "kind")), number.Draw(t, "term"), at, rapid.Bool().Draw(t, "unconfirmed"))
	case 15:
		if n := len(p.Sessions); n > 0 {
			s := &p.Sessions[rapid.IntRange(0, n-1).Draw(t, "session")]
			s.Interactive, s.Refreshed = rapid.Bool().Draw(t, "interactive"), at
			s.UseToken(TokenUse{Token: uint32(number.Draw(t, "token")), IP: small.Draw(t, "ip"), ASN: small.Draw(t, "asn"), Time: at})
		}
	case 16:
		live(p, e)
	default:
		feed(p, e)
	}
}

// checkBounds checks what must hold of every profile.
func checkBounds(tb interface{ Errorf(string, ...any) }, p *Profile) {
	for _, c := range []struct {
		what         string
		length, most int
	}{
		{"visits", len(p.Visits), MaxVisits},
		{"sessions", len(p.Sessions), MaxSessions},
		{"terms", len(p.Terms), MaxTerms},
		{"spots", len(p.spots), MaxSpots},
		{"devices", len(p.devices), MaxDevices},
		{"failures", len(p.Failures), MaxFailures},
		{"pushes", len(p.Pushes), MaxPushes},
		{"codes", len(p.Codes), MaxCodes},
		{"attacked", len(p.Attacked), MaxAttacked},
		{"raised", len(p.Raised), MaxRaised},
		{"suspicions", len(p.Suspicions), MaxSuspicions},
		{"changes", len(p.Changes), MaxChanges},
		{"clusters", len(p.Clusters), MaxClusters},
		{"transitions", len(p.Transitions), MaxTransitions},
		{"hours", len(p.Hours.bins), HoursOfWeek},
		{"parts of the risk", len(p.Risk.Parts), MaxRiskParts},
	} {
		if c.length > c.most {
			tb.Errorf("%d %s, at most %d", c.length, c.what, c.most)
		}
	}
	for i := range p.Sessions {
		if n := len(p.Sessions[i].Tokens); n > MaxTokens {
			tb.Errorf("%d tokens", n)
		}
	}
	for i := range p.Suspicions {
		if s := &p.Suspicions[i]; int(s.Spot) > len(p.spots) || int(s.Device) > len(p.devices) {
			tb.Errorf("a suspicion refers to spot %d, device %d", s.Spot, s.Device)
		}
	}
	ordered(tb, p.Failures)
	ordered(tb, p.Pushes)
	ordered(tb, p.Codes)
	ordered(tb, p.Attacked)
	ordered(tb, p.Raised)
	ordered(tb, p.Suspicions)
	ordered(tb, p.Changes)
	ordered(tb, p.Risk.Parts)
	for i := range p.Clusters {
		c := &p.Clusters[i]
		if !(c.Weight >= 0 && c.Weight <= maxWeight) || c.Lat < -90e4 || c.Lat > 90e4 || c.Lon < -180e4 || c.Lon > 180e4 || c.First > c.Last {
			tb.Errorf("a cluster is %+v", *c)
		}
	}
	if b := p.AppendBinary(nil); len(b) > MaxEncoded {
		tb.Errorf("%d bytes, at most %d", len(b), MaxEncoded)
	}
}

func ordered[T timed](tb interface{ Errorf(string, ...any) }, ring []T) {
	for i := 1; i < len(ring); i++ {
		if ring[i].when() < ring[i-1].when() {
			tb.Errorf("%+v is not by time", ring)
		}
	}
}

func TestAnySequenceIsBoundedAndLossless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := New()
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			step(t, p)
		}
		checkBounds(t, p)
		b := p.AppendBinary(nil)
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, p, exact); diff != "" {
			t.Fatalf("(-got, +want)\n%s", diff)
		}
		if !bytes.Equal(got.AppendBinary([]byte("x")), append([]byte("x"), b...)) {
			t.Fatal("the same profile encodes differently")
		}
		// What is done to a clone is not done to the original, nor the other way round.
		clone := p.Clone()
		for range rapid.IntRange(0, 20).Draw(t, "more") {
			step(t, clone)
		}
		if !bytes.Equal(p.AppendBinary(nil), b) {
			t.Fatal("a change of the clone changed the original")
		}
		changed := clone.AppendBinary(nil)
		for range rapid.IntRange(0, 20).Draw(t, "after") {
			step(t, p)
		}
		if !bytes.Equal(clone.AppendBinary(nil), changed) {
			t.Fatal("a change of the original changed the clone")
		}
	})
}

// worst is a profile than which none is longer: every list is full, and no two values are alike or small.
func worst() *Profile {
	p := New()
	turn := uint64(1)
	hash := func() uint64 { // never small
		turn = turn*6364136223846793005 + 1442695040888963407
		return turn | 1<<63
	}
	far := func(i int) events.Millis { // as far from the one before as can be
		if i%2 == 0 {
			return math.MaxInt64 / 2
		}
		return math.MinInt64 / 2
	}
	text := func(n int) string { return string(bytes.Repeat([]byte{byte('a' + hash()>>32%26)}, n)) }
	id := func() (id ID) {
		for i := range id {
			id[i] = byte(hash() >> 32)
		}
		return id
	}
	h32 := func() uint32 { return uint32(hash()>>32) | 1<<31 }
	minutes := func(i int) Minutes { return Minutes(uint32(i%2) * math.MaxUint32) }

	p.LastSeen, p.FirstSeen, p.LastAdverse = math.MinInt64/4, math.MaxInt64, math.MaxInt64
	p.Successes, p.Late, p.Forgotten = math.MaxUint32, math.MaxUint32, math.MaxUint32
	for range MaxSpots {
		p.spots = append(p.spots, Spot{
			Lat: -90e4, Lon: -180e4, RadiusKm: math.MaxUint16, Classes: knownClasses, Conflict: true, ASN: h32(), City: text(maxName), Region: text(maxName), Country: "NL",
		})
	}
	for range MaxDevices {
		p.devices = append(p.devices, Device{Hash: hash(), ID: text(maxDeviceID), OS: text(maxName), Browser: text(maxName), Managed: 1, Compliant: 1})
	}
	n := 0
	point := func() Point {
		n++
		return Point{Time: far(n), Event: id(), IP: Address(id()), Spot: uint8(n%MaxSpots + 1), Device: uint8(n%MaxDevices + 1)}
	}
	for range MaxVisits {
		p.Visits = append(p.Visits, Visit{point(), point()})
	}
	for range MaxSessions {
		s := Session{Key: hash(), Start: point(), Last: point(), Ended: far(1), Refreshed: far(0), Interactive: true}
		for i := range MaxTokens {
			s.Tokens = append(s.Tokens, TokenUse{Token: h32(), IP: h32(), ASN: h32(), Time: far(i)})
		}
		p.Sessions = append(p.Sessions, s)
	}
	for i := range MaxTerms {
		p.Terms = append(p.Terms, Term{Kind: 31, Value: hash(), First: minutes(i), Last: minutes(i + 1), Unconfirmed: true})
	}
	for i := range MaxRecent {
		p.recent[i] = hash() >> 16
	}
	p.recents = MaxRecent
	ring := func(most int) (ring []Attempt) {
		for i := range most {
			ring = append(ring, Attempt{Time: far(i), Cause: events.PolicyBlock, IP: h32(), Flow: h32(), ASN: h32()})
		}
		return ring
	}
	p.Failures, p.Pushes, p.Codes = ring(MaxFailures), ring(MaxPushes), ring(MaxCodes)
	for i := range MaxAttacked {
		p.Attacked = append(p.Attacked, Attacked{Detection: 0xfff, Source: hash(), Incident: hash(), Time: far(i), Told: 7, Observed: true})
	}
	for i := range MaxRaised {
		p.Raised = append(p.Raised, Raised{Detection: 0xfff, Severity: 5, Time: far(i), Event: id(), Session: hash(), Flow: h32(), IP: h32()})
	}
	for range MaxSuspicions {
		p.Suspicions = append(p.Suspicions, Suspicion{Point: point(), Session: hash(), Kind: 255})
	}
	for i := range MaxChanges {
		p.Changes = append(p.Changes, Change{Time: far(i), Type: events.AssuranceChange, Action: events.Unlocked, Event: id()})
	}
	for i := range MaxClusters {
		p.Clusters = append(p.Clusters, Cluster{
			Lat: -90e4, Lon: -180e4, RadiusKm: math.MaxUint16, Weight: maxWeight, First: minutes(i), Last: minutes(i + 1), Unconfirmed: true,
		})
	}
	for i := range MaxTransitions {
		p.Transitions = append(p.Transitions, Transition{A: h32(), B: h32(), Count: 255, Last: minutes(i)})
	}
	p.Hours.since = maxDay
	for i := range HoursOfWeek {
		p.Hours.bins = append(p.Hours.bins, hourBin{hour: uint8(i), count: math.MaxUint16})
	}
	p.Risk.Sum, p.Risk.At = math.MaxFloat32, far(0)
	for i := range MaxRiskParts {
		p.Risk.Parts = append(p.Risk.Parts, RiskPart{Detection: 0xfff, Time: far(i), Decibans: math.MaxFloat32})
	}
	for _, t := range p.Marks.times() {
		*t = math.MaxInt64
	}
	for i := range 300 {
		var l familiarity.Login
		for k := range l.Values {
			l.Values[k] = hash()
		}
		p.Familiar.Learn(l, start+events.Millis(i)*events.Day)
	}
	return p
}

func TestLongestProfileIsWithinBounds(t *testing.T) {
	p := worst()
	b := p.AppendBinary(nil)
	if len(b) > MaxEncoded {
		t.Errorf("%d bytes, at most %d", len(b), MaxEncoded)
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, p, exact); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	if set := p.sections(); set != allSections {
		t.Errorf("sections %b are empty", set^allSections)
	}
	// Nothing that comes makes it longer.
	for i := range 2000 {
		e := event(i)
		e.IP, e.Session.ID, e.Device.ID = fmt.Sprintf("2001:db8::%x", i), fmt.Sprint("s", i), fmt.Sprint("d", i)
		live(got, e)
		if n := len(got.AppendBinary(nil)); n > len(b) {
			t.Fatalf("after %d events it has %d bytes, more than %d", i, n, len(b))
		}
	}
	t.Logf("%d bytes", len(b))
}

// An attacker's burst of everything leaves a profile within its bounds, and most of it untouched.
func TestHostileBurst(t *testing.T) {
	p := New()
	for i := range 60 {
		live(p, event(i))
	}
	for i := range 20_000 {
		e := event(60)
		e.ID, e.Time = events.EventID("t", "f", fmt.Sprint("burst", i)), e.Time+events.Millis(i)*events.Second
		e.IP, e.Session.ID, e.Correlation = fmt.Sprintf("198.51.%d.%d", i>>8&0xff, i&0xff), fmt.Sprint("burst", i), fmt.Sprint("flow", i)
		e.Session.Token, e.App.ID, e.Resource.ID = fmt.Sprint("token", i), fmt.Sprint("app", i), fmt.Sprint("resource", i)
		e.Network.ASN = uint32(i)
		if i%2 == 0 {
			e.Outcome, e.Cause = events.Failure, events.BadPassword
		}
		live(p, e)
		p.AddRaised(Raised{Detection: DetectionOf("CRD-06"), Severity: 5, Time: e.Time, Event: IDOf(e.ID)}, events.Day)
		p.AddAttacked(Attacked{Detection: DetectionOf("CRD-02"), Incident: uint64(i), Time: e.Time}, events.Day)
	}
	checkBounds(t, p)
	if p.Term(Country, CountryValue("NL")) == nil || p.Term(DeviceID, DeviceValue(Hash(event(0).Device.ID))) == nil {
		t.Error("a noisy kind of term drove out the country or the device")
	}
	if p.Forgotten == 0 {
		t.Error("what was forgotten is not counted")
	}
}

func BenchmarkWholeLife(b *testing.B) {
	profiles := employees(b, 20, 40)
	var list []*Profile
	for _, p := range profiles {
		list = append(list, p)
	}
	var buf []byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := list[i%len(list)].Clone()
		buf = p.AppendBinary(buf[:0])
		if _, err := Decode(buf); err != nil {
			b.Fatal(err)
		}
	}
}
