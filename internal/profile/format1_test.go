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
)

// What released versions wrote as format 1 must be read for ever. The files hold such bytes, and what that version itself
// found in them; they were made by it, and nothing can make them again.
func TestFormat1StaysReadable(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "format1", "*.hex"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(strings.TrimSuffix(file, ".hex") + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil || b[0] != 1 {
			t.Fatalf("%s: no format 1: %v", file, err)
		}
		p, err := Decode(b)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if diff := cmp.Diff(describe1(p), string(want)); diff != "" {
			t.Errorf("%s (-got, +want)\n%s", file, diff)
		}
		if set := p.sections(); set != 0 {
			t.Errorf("%s: has sections %b", file, set)
		}
		now := p.AppendBinary(nil)
		again, err := Decode(now)
		if err != nil || now[0] != Version || cmp.Diff(again, p, exact) != "" {
			t.Errorf("%s: as format %d it does not read back: %v", file, now[0], err)
		}
		if len(now) > len(b)+1+len(p.Sessions) {
			t.Errorf("%s: %d bytes have become %d", file, len(b), len(now))
		}
		for n := range b {
			if _, err := Decode(b[:n]); err == nil {
				t.Fatalf("%s: accepted %d of %d bytes", file, n, len(b))
			}
		}
		if _, err := Decode(append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%s: accepted a byte more", file)
		}
	}
}

// describe1 shows all that format 1 holds.
func describe1(p *Profile) string {
	var b strings.Builder
	fmt.Fprintf(&b, "first %d last %d adverse %d successes %d late %d forgotten %d\n",
		p.FirstSeen, p.LastSeen, p.LastAdverse, p.Successes, p.Late, p.Forgotten)
	point := func(pt *Point) string {
		s, d := p.Spot(pt), p.Device(pt)
		return fmt.Sprintf("%d %s %s spot %d [%d %d r%d c%d %v as%d %q %q %q] device %d [%x %q %q %q %d %d]",
			pt.Time, pt.Event, hex.EncodeToString(pt.IP[:]),
			pt.Spot, s.Lat, s.Lon, s.RadiusKm, s.Classes, s.Conflict, s.ASN, s.City, s.Region, s.Country,
			pt.Device, d.Hash, d.ID, d.OS, d.Browser, d.Managed, d.Compliant)
	}
	for i := range p.Visits {
		fmt.Fprintf(&b, "visit %s\n      %s\n", point(&p.Visits[i].First), point(&p.Visits[i].Last))
	}
	for i := range p.Sessions {
		s := &p.Sessions[i]
		fmt.Fprintf(&b, "session %x\n  %s\n  %s\n", s.Key, point(&s.Start), point(&s.Last))
	}
	for _, t := range p.Terms {
		fmt.Fprintf(&b, "term %d %x %d %d %v\n", t.Kind, t.Value, t.First, t.Last, t.Unconfirmed)
	}
	fmt.Fprintf(&b, "recent %x\n", p.recent[:p.recents])
	return b.String()
}
