package profile

import (
	"bytes"
	"encoding/hex"
	"fmt"
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
	p.AddAttacked(Attacked{
		Detection: DetectionOf("CRD-03"), Source: Hash("ip 192.0.2.1"), Incident: Hash("incident"), Time: e.Time, Told: 5, Observed: true,
	}, events.Day)
	p.AddRaised(Raised{Detection: DetectionOf("LOC-01"), Severity: 4, Time: e.Time, Event: IDOf(e.ID), Tried: true}, events.Day)
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
	p.Marks = Marks{
		StrongAt: start + events.Hour, ManagedAt: start + 3*events.Hour, HostingAt: start + 4*events.Hour, DisabledAt: start + 6*events.Hour,
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

// full2 is full as format 2 holds it.
func full2() *Profile {
	p := full()
	for i := range p.Attacked {
		p.Attacked[i].Told, p.Attacked[i].Observed = 0, false
	}
	for i := range p.Raised {
		p.Raised[i].Tried = false
	}
	return p
}

// The bytes of formats 2 and 3 must be read for ever, by every later version; those of the one that is written must be written in
// the same way. Format 2 has other things beside, which nothing reads any more: they are passed over.
func TestFormatsStayReadable(t *testing.T) {
	if set := full().sections() | hasFamiliar; set != allSections {
		t.Errorf("sections %b are empty", set^allSections)
	}
	for format, want := range map[byte]*Profile{2: full2(), 3: full()} {
		text, err := os.ReadFile(filepath.Join("testdata", fmt.Sprint("format", format), "full.hex"))
		if err != nil {
			t.Fatal(err)
		}
		golden, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil || golden[0] != format {
			t.Fatalf("no format %d: %v", format, err)
		}
		if now := want.AppendBinary(nil); format == Version && !bytes.Equal(now, golden) {
			t.Errorf("is now written as\n%x\nwhich needs a new format, and this one kept as it is", now)
		}
		got, err := Decode(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want, exact); diff != "" {
			t.Errorf("format %d (-got, +want)\n%s", format, diff)
		}
		for n := range golden {
			if _, err := Decode(golden[:n]); err == nil {
				t.Fatalf("format %d: accepted %d of %d bytes", format, n, len(golden))
			}
		}
	}
}

func TestEmptyProfileTakesNoRoom(t *testing.T) {
	if b := New().AppendBinary(nil); len(b) > 15 {
		t.Errorf("%d bytes: %x", len(b), b)
	}
}
