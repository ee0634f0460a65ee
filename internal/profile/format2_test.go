package profile

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
)

// full has something of everything, but for the familiarity counters, which have a format of their own.
func full() *Profile {
	p := New()
	for i := range 4 {
		feed(p, event(i))
	}
	e := event(4)
	e.IP, e.Correlation, e.Cause = "2001:db8::7", "flow", events.BadPassword
	p.AddFailure(AttemptOf(e), events.Day)
	e.Time += events.Second
	p.AddFailure(AttemptOf(e), events.Day)
	e.Cause = events.MFARefused
	p.AddPush(AttemptOf(e), events.Day)
	p.AddPush(Attempt{Time: e.Time - events.Minute}, events.Day)
	p.AddCode(Attempt{Time: e.Time, Cause: events.BadCode, ASN: 64496}, events.Day)
	p.AddAttacked(Attacked{Detection: DetectionOf("CRD-03"), Source: Hash("ip 192.0.2.1"), Incident: Hash("incident"), Time: e.Time}, events.Day)
	p.AddRaised(Raised{Detection: DetectionOf("LOC-01"), Severity: 4, Time: e.Time, Event: IDOf(e.ID)}, events.Day)
	p.AddRaised(Raised{
		Detection: DetectionOf("SES-01"), Severity: 3, Time: e.Time, Event: IDOf(e.ID), Session: SessionKey("s1"), Flow: 7, IP: 8,
	}, events.Day)
	p.AddSuspicion(Suspicion{Point: p.Observe(e, IDOf(e.ID), true), Session: SessionKey("s1"), Kind: RelayedSignIn}, events.Day)
	p.AddChange(Change{Time: e.Time, Type: events.MethodChange, Action: events.Added, Event: IDOf(e.ID)}, events.Day)
	spot := p.Spot(&p.Visits[0].First)
	p.LearnCluster(spot, 75, 100, e.Time, false)
	p.LearnCluster(degrees(-33.9, 18.4), 20, 100, e.Time, true)
	p.PassTransition(spot, degrees(-33.9, 18.4), e.Time)
	for i := range 30 {
		p.Hours.Add(HourOfWeek(e.Time, 0)+i%3, e.Time+events.Millis(i)*events.Day)
	}
	p.Risk.Sum, p.Risk.At = 42.5, e.Time
	p.Risk.Add(RiskPart{Detection: DetectionOf("LOC-01"), Time: e.Time, Decibans: 30}, events.Day)
	p.Risk.Add(RiskPart{Detection: DetectionOf("SES-01"), Time: e.Time + 1, Decibans: 12.5}, events.Day)
	p.Marks.Strongest, p.Marks.ManagedDevice = 3, Hash("device")
	for i, t := range p.Marks.times() {
		*t = start + events.Millis(i)*events.Hour
	}
	for k := Country; k <= CredentialType; k++ {
		p.Learn(k, uint64(k)<<28, e.Time+events.Millis(k)*events.Hour, k%2 == 0)
	}
	s := p.Session(SessionKey("s0"))
	s.Interactive, s.Refreshed = true, e.Time
	s.UseToken(TokenUse{Token: Hash32("t1"), IP: 9, ASN: 64496, Time: e.Time})
	s.UseToken(TokenUse{Token: Hash32("t2"), IP: 9, ASN: 64496, Time: e.Time + 1})
	p.EndSession(SessionKey("s0"), e.Time+events.Hour)
	return p
}

// The bytes of format 2 must be read for ever, by every later version; as long as it is the one that is written, it must
// be written in the same way.
func TestFormat2StaysReadable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "format2", "full.hex"))
	if err != nil {
		t.Fatal(err)
	}
	golden, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	want := full()
	if set := want.sections() | hasFamiliar; set != allSections {
		t.Errorf("sections %b are empty", set^allSections)
	}
	if now := want.AppendBinary(nil); !bytes.Equal(now, golden) {
		t.Errorf("is now written as\n%x\nwhich needs a new format, and this one kept as it is", now)
	}
	got, err := Decode(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want, exact); diff != "" {
		t.Errorf("(-got, +want)\n%s", diff)
	}
}

func TestEmptyProfileTakesNoRoom(t *testing.T) {
	if b := New().AppendBinary(nil); len(b) > 15 {
		t.Errorf("%d bytes: %x", len(b), b)
	}
}
