package profile

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

// Steps of flows come by the dozen: they drive each other out, never a sign-in that was relayed.
func TestStepsDoNotDriveRelaysOut(t *testing.T) {
	t.Parallel()
	p := New()
	p.AddSuspicion(Suspicion{Kind: RelayedSignIn, Session: 1, Point: Point{Time: 100}}, events.Day)
	for i := range 40 {
		at := events.Millis(200+i) + events.Millis(i)*5*events.Minute
		p.AddSuspicion(Suspicion{Kind: FlowStep, Session: uint64(10 + i), Point: Point{Time: at}}, events.Hour)
	}
	for i := range 20 {
		p.AddSuspicion(Suspicion{Kind: RelayedSignIn, Session: uint64(2 + i), Point: Point{Time: events.Millis(3*events.Hour + i)}}, events.Day)
	}
	kinds := map[SuspicionKind]int{}
	for i, s := range p.Suspicions {
		kinds[s.Kind]++
		if i > 0 && s.Time < p.Suspicions[i-1].Time {
			t.Error("out of order")
		}
	}
	if diff := cmp.Diff(kinds, map[SuspicionKind]int{RelayedSignIn: 4, FlowStep: 4}); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	q, err := Decode(p.AppendBinary(nil))
	if err != nil || !cmp.Equal(q.Suspicions, p.Suspicions) {
		t.Errorf("read back: %v, %v", q.Suspicions, err)
	}
}

// A token is as old as its first use anywhere, however often and wherever it is used after that, and once that is read back.
func TestTokensKeepTheirAge(t *testing.T) {
	t.Parallel()
	p := New()
	p.Count(1000*events.Hour, events.Day)
	s := p.UseSession(7, Point{Time: 1000 * events.Hour}, events.Day)
	for i := range 30 {
		s.UseToken(TokenUse{Token: 5, IP: uint32(1 + i%3), Time: events.Millis(1000+i) * events.Hour})
	}
	s.UseToken(TokenUse{Token: 6, IP: 1, Time: 1030 * events.Hour})
	q, err := Decode(p.AppendBinary(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(q.Session(7).Tokens, s.Tokens); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	for _, u := range q.Session(7).Tokens {
		if want := events.Millis(map[uint32]int{5: 1000, 6: 1030}[u.Token]) * events.Hour; u.First != want {
			t.Errorf("token %d first seen %v, want %v", u.Token, u.First, want)
		}
	}
}

// What was told of an attack is not forgotten when the attack goes on; what it counts for is what the latest word says.
func TestAttacksKeepWhatWasTold(t *testing.T) {
	t.Parallel()
	p := New()
	a := Attacked{Detection: DetectionOf("CRD-03"), Source: 1, Incident: 2, Time: 100, Told: 4, Observed: true}
	p.AddAttacked(a, events.Day)
	before := p.Attacked
	a.Time, a.Told, a.Observed = 200, 0, false
	p.AddAttacked(a, events.Day)
	a.Incident = 3
	p.AddAttacked(a, events.Day)
	want := []Attacked{
		{Detection: a.Detection, Source: 1, Incident: 2, Time: 200, Told: 4}, {Detection: a.Detection, Source: 1, Incident: 3, Time: 200},
	}
	if diff := cmp.Diff(p.Attacked, want); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
	if len(before) != 1 || before[0].Time != 100 {
		t.Error("a ring was changed in place")
	}
}
