package profile

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
)

func TestRingIsTheSameInEveryOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfNDistinct(rapid.Int64Range(0, 100), 0, 40, rapid.ID).Draw(t, "minutes")
		keep := events.Millis(rapid.Int64Range(0, 120).Draw(t, "keep")) * events.Minute
		ring := func() []events.Millis {
			p := New()
			for _, m := range times {
				p.AddPush(Attempt{Time: start + events.Millis(m)*events.Minute}, keep)
			}
			var got []events.Millis
			for _, a := range p.Pushes {
				got = append(got, a.Time)
			}
			return got
		}
		got := ring()
		slices.Sort(times)
		var want []events.Millis
		for _, m := range times[max(0, len(times)-MaxPushes):] {
			if at := start + events.Millis(m)*events.Minute; at >= start+events.Millis(times[len(times)-1])*events.Minute-keep {
				want = append(want, at)
			}
		}
		if !slices.Equal(got, want) || !slices.Equal(ring(), want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestRingKeepsTheOrderOfOneMoment(t *testing.T) {
	p := New()
	for i := range uint32(5) {
		p.AddFailure(Attempt{Time: start, IP: i + 1}, events.Hour)
	}
	p.AddFailure(Attempt{Time: start - 1, IP: 9}, events.Hour)
	var got []uint32
	for _, a := range p.Failures {
		got = append(got, a.IP)
	}
	if want := []uint32{9, 1, 2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestRingsWithoutLimitOfTime(t *testing.T) {
	p := New()
	for _, at := range []events.Millis{math.MaxInt64, math.MinInt64, 0} {
		p.AddCode(Attempt{Time: at}, math.MaxInt64)
	}
	if len(p.Codes) != 2 || p.Codes[0].Time != 0 { // the beginning of time is more than that before its end
		t.Errorf("%v", p.Codes)
	}
}

func TestAttackIsNotedOnceAnIncidentAndSource(t *testing.T) {
	p := New()
	a := Attacked{Detection: DetectionOf("CRD-03"), Source: Hash("ip 192.0.2.1"), Incident: 7, Time: start}
	p.AddAttacked(a, events.Day)
	before := p.Clone()
	a.Time += events.Hour
	p.AddAttacked(a, events.Day)
	a.Time -= 2 * events.Hour
	p.AddAttacked(a, events.Day) // late
	if len(p.Attacked) != 1 || p.Attacked[0].Time != start+events.Hour {
		t.Errorf("%+v", p.Attacked)
	}
	if before.Attacked[0].Time != start {
		t.Error("the clone has changed")
	}
	a.Source++
	p.AddAttacked(a, events.Day)
	if len(p.Attacked) != 2 {
		t.Errorf("%+v", p.Attacked)
	}
}

func TestFindingIsNotedOnceAnEvent(t *testing.T) {
	p := New()
	r := Raised{Detection: DetectionOf("SES-01"), Severity: 3, Time: start, Event: IDOf("a")}
	p.AddRaised(r, events.Day)
	r.Severity = 4
	p.AddRaised(r, events.Day)
	r.Detection = DetectionOf("SES-02")
	p.AddRaised(r, events.Day)
	if len(p.Raised) != 2 || p.Raised[0].Severity != 4 {
		t.Errorf("%+v", p.Raised)
	}
}

func TestSuspicionsKeepTheirPlaces(t *testing.T) {
	p := New()
	e := event(1)
	e.Place.City, e.Device.ID = "Elsewhere", "theirs"
	p.AddSuspicion(Suspicion{Point: p.Observe(e, IDOf(e.ID), false), Session: 1, Kind: RelayedSignIn}, events.Day)
	for i := range 200 {
		e := event(i)
		e.Place.City, e.Device.ID = fmt.Sprint(i), fmt.Sprint(i)
		feed(p, e)
	}
	s := p.Sight(&p.Suspicions[0].Point)
	if s.Place.City != "Elsewhere" || s.Device.ID != "theirs" || s.EventID != IDOf(e.ID).String() {
		t.Errorf("%+v", s)
	}
}

func TestRiskKeepsTheGreatestParts(t *testing.T) {
	var r Risk
	for i := range 20 {
		r.Add(RiskPart{Detection: Detection(i), Time: start + events.Millis(i), Decibans: float32(i % 10)}, events.Day)
	}
	least := float32(math.Inf(1))
	for _, part := range r.Parts {
		least = min(least, part.Decibans)
	}
	if len(r.Parts) != MaxRiskParts || least != 6 {
		t.Errorf("%+v", r)
	}
	r.Add(RiskPart{Time: start + 2*events.Day, Decibans: 1}, events.Day)
	if len(r.Parts) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestNumbersThatAreNoneDoNotSpoilAProfile(t *testing.T) {
	p := New()
	p.Risk.Sum = float32(math.NaN())
	p.Risk.Add(RiskPart{Decibans: float32(math.Inf(1))}, 0)
	p.Clusters = []Cluster{{Weight: float32(math.Inf(-1))}}
	got, err := Decode(p.AppendBinary(nil))
	if err != nil || got.Risk.Sum != 0 || got.Risk.Parts[0].Decibans != 0 || got.Clusters[0].Weight != 0 {
		t.Fatalf("%+v: %v", got, err)
	}
	e := event(1)
	live(got, e)
	if c := got.Clusters[0]; !(c.Weight >= 0) {
		t.Errorf("%+v", c)
	}
	var zero, negative Profile
	zero.Risk.At, negative.Risk.At = 1, 1
	negative.Risk.Sum = float32(math.Copysign(0, -1))
	if string(zero.AppendBinary(nil)) != string(negative.AppendBinary(nil)) {
		t.Error("equal profiles have other bytes")
	}
}

// Every id of the catalogue has a number of its own and comes back.
func TestDetectionNumbers(t *testing.T) {
	counts := map[string]int{
		"LOC": 8, "NET": 5, "DEV": 4, "CONJ": 3, "FAM": 1, "TIM": 3, "CRD": 8, "MFA": 6, "SES": 8, "OAU": 5, "AIT": 2, "WKL": 1, "PRV": 1,
		"IDP": 1, "RSK": 1,
	}
	seen := map[Detection]string{0: ""}
	for family, n := range counts {
		for i := 1; i <= n; i++ {
			id := fmt.Sprintf("%s-%02d", family, i)
			d := DetectionOf(id)
			if other, ok := seen[d]; ok || d.String() != id {
				t.Errorf("%s is %d, %q, as is %q", id, d, d.String(), other)
			}
			seen[d] = id
		}
	}
	if d := DetectionOf("CONJ-03"); d != 4<<8|3 {
		t.Errorf("CONJ-03 has become %#x", d)
	}
	for _, id := range []string{"", "LOC", "LOC-", "LOC-1", "LOC-001", "loc-01", "XYZ-01", "-01", "LOC-0x", "LOC_01"} {
		if d := DetectionOf(id); d != 0 {
			t.Errorf("%q is %d", id, d)
		}
	}
	for _, d := range []Detection{0, 1, 16 << 8, 0xffff, 1<<8 | 100} {
		if s := d.String(); s != "" {
			t.Errorf("%d is %q", d, s)
		}
	}
}

// A new cause or type of change needs a number here, and causes must leave room for other bits.
func TestEveryWordHasANumber(t *testing.T) {
	for _, c := range events.Causes {
		if n := causes.code(c); n == 0 || n > 15 || causes.name(n) != c {
			t.Errorf("%s has number %d", c, n)
		}
	}
	for _, c := range events.ChangeTypes {
		if n := changeTypes.code(c); n == 0 || n > 15 || changeTypes.name(n) != c {
			t.Errorf("%s has number %d", c, n)
		}
	}
	for _, c := range events.ChangeActions {
		if n := changeActions.code(c); n == 0 || n > 15 || changeActions.name(n) != c {
			t.Errorf("%s has number %d", c, n)
		}
	}
}

func TestAttemptOfAnEvent(t *testing.T) {
	e := event(1)
	e.Cause, e.Correlation = events.BadCode, "flow"
	a := AttemptOf(e)
	if a.Time != e.Time || a.Cause != events.BadCode || a.ASN != e.Network.ASN || a.IP == 0 || a.Flow != Hash32("flow") {
		t.Errorf("%+v", a)
	}
	if diff := cmp.Diff(AttemptOf(&events.Event{Time: 5, IP: "no address"}), Attempt{Time: 5}); diff != "" {
		t.Errorf("what is unknown (-got, +want)\n%s", diff)
	}
	e.IP = "::ffff:192.0.1.7"
	if AttemptOf(e).IP != a.IP {
		t.Error("an address has two hashes")
	}
}

func TestSessionsEnd(t *testing.T) {
	p := New()
	for i := range 3 {
		e := event(i)
		p.UseSession(uint64(i+1), p.Observe(e, IDOf(e.ID), false), events.Day)
	}
	at := event(1).Time
	p.EndSession(1, at+5)
	p.EndSession(0, at) // the third had not begun
	p.EndSession(1, at+9)
	if got := [3]events.Millis{p.Session(1).Ended, p.Session(2).Ended, p.Session(3).Ended}; got != [3]events.Millis{at, at, 0} {
		t.Errorf("%v", got)
	}
	p.EndSession(77, at)
	if len(p.Sessions) != 3 {
		t.Error("an unknown session was added")
	}
}

func TestTokensOfASession(t *testing.T) {
	s := &Session{}
	s.UseToken(TokenUse{Token: 0, IP: 1, Time: start})
	for i := range uint32(MaxTokens + 1) {
		s.UseToken(TokenUse{Token: i + 1, IP: 1, Time: start + events.Millis(i)})
	}
	before := s.Tokens
	s.UseToken(TokenUse{Token: 2, IP: 1, ASN: 9, Time: start + 100})
	s.UseToken(TokenUse{Token: 2, IP: 1, ASN: 8, Time: start + 50}) // late
	s.UseToken(TokenUse{Token: 77, IP: 1, Time: start - 1})         // older than all
	tokens := map[uint32]TokenUse{}
	for _, u := range s.Tokens {
		tokens[u.Token] = u
	}
	_, oldest := tokens[1]
	if len(s.Tokens) != MaxTokens || len(tokens) != MaxTokens || oldest || tokens[2].ASN != 9 || tokens[2].Time != start+100 {
		t.Errorf("%+v", s.Tokens)
	}
	for _, u := range before {
		if u.Time == start+100 {
			t.Error("tokens were changed in place")
		}
	}
}

func TestManySessionsOfOneUser(t *testing.T) {
	p := New()
	for i := range 10_000 {
		e := event(0)
		e.Time += events.Millis(i) * events.Second
		e.IP, e.Session.ID = fmt.Sprintf("10.0.%d.%d", i>>8, i&0xff), fmt.Sprint(i)
		p.Count(e.Time, 90*events.Day)
		p.UseSession(SessionKey(e.Session.ID), p.Observe(e, IDOf(fmt.Sprint(i)), false), events.Day)
	}
	if len(p.Sessions) != MaxSessions || p.Session(SessionKey("9999")) == nil || p.Session(SessionKey("9968")) == nil || p.Forgotten != 10_000-MaxSessions {
		t.Errorf("%d sessions, %d forgotten", len(p.Sessions), p.Forgotten)
	}
}

func TestNoisyKindLeavesTheOthersTheirFloor(t *testing.T) {
	p := New()
	kinds := []Kind{Country, ASN, DeviceID, Agent, AppResource, Grant}
	for i := range events.Millis(TermFloor + 2) {
		for _, k := range kinds {
			p.Learn(k, uint64(i+1), start+i*events.Hour, false)
		}
	}
	d := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		p.Learn(App, d.Uint64()>>32+1, start+events.Millis(i)*events.Day, false)
		if len(p.Terms) > MaxTerms {
			t.Fatalf("%d terms", len(p.Terms))
		}
	}
	for _, k := range kinds {
		if n := p.CountTerms(k, 0); n < TermFloor {
			t.Errorf("%d of kind %d", n, k)
		}
		if p.Term(k, TermFloor+2) == nil {
			t.Errorf("of kind %d the newest was dropped", k)
		}
	}
	const known = 12
	if int(CredentialType) != known || known*TermFloor >= MaxTerms || known > kindBits {
		t.Error("the floors of all kinds do not fit")
	}
}
