package familiarity

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign-io/countersign/internal/events"
)

const start events.Millis = 1767571200000 // 5 January 2026

// logins draws values from a small range, so that they repeat, and now and then from all.
var logins = rapid.Custom(func(t *rapid.T) Login {
	var l Login
	for i := range l.Values {
		if rapid.IntRange(0, 9).Draw(t, "hostile") == 0 {
			l.Values[i] = rapid.Uint64().Draw(t, "any")
		} else {
			l.Values[i] = rapid.Uint64Range(0, 20).Draw(t, "value") * 0x9e3779b97f4a7c15
		}
	}
	return l
})

var times = rapid.Custom(func(t *rapid.T) events.Millis {
	if rapid.IntRange(0, 19).Draw(t, "hostile") == 0 {
		return events.Millis(rapid.Int64().Draw(t, "any time"))
	}
	return start + events.Millis(rapid.Int64Range(-100*events.Day, 200*events.Day).Draw(t, "time"))
})

func drawCounts(t *rapid.T) *Counts {
	c := &Counts{}
	for range rapid.IntRange(0, 150).Draw(t, "logins") {
		c.Learn(logins.Draw(t, "login"), times.Draw(t, "at"))
	}
	return c
}

func TestCountsEncodeLosslessly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawCounts(t)
		b := c.AppendBinary([]byte("before"))[6:]
		if len(b) > MaxCountsEncoded {
			t.Fatalf("%d bytes, more than %d", len(b), MaxCountsEncoded)
		}
		var d Counts
		if err := d.Decode(b); err != nil {
			t.Fatal(err)
		}
		if again := d.AppendBinary(nil); !bytes.Equal(again, b) {
			t.Fatal(cmp.Diff(again, b))
		}
		l, at := logins.Draw(t, "login"), times.Draw(t, "at")
		want, wantOK := DefaultModel().Score(c, nil, l, at)
		got, gotOK := DefaultModel().Score(&d, nil, l, at)
		if diff := cmp.Diff(got, want); diff != "" || gotOK != wantOK {
			t.Fatalf("score of decoded counters (-got, +want)\n%s", diff)
		}
	})
}

func TestCountsAreBounded(t *testing.T) {
	t.Parallel()
	c := &Counts{}
	for i := range uint64(100_000) {
		var l Login
		for k := range l.Values {
			l.Values[k] = hashNumber(i)
		}
		c.Learn(l, start+events.Millis(i))
	}
	if b := c.AppendBinary(nil); len(b) > MaxCountsEncoded {
		t.Errorf("%d bytes, more than %d", len(b), MaxCountsEncoded)
	}
	if got := c.Total(start); got != 100_000 {
		t.Errorf("total %g", got)
	}
}

// TestCountsOfATypicalUserAreSmall has a user with laptop and phone at home, at the office, over mobile and VPN for a year.
func TestCountsOfATypicalUserAreSmall(t *testing.T) {
	t.Parallel()
	c := &Counts{}
	for day := range 365 {
		at := start + events.Millis(day*events.Day)
		version := uint64(day / 28)
		for where := range uint64(4) {
			laptop := Login{Values: [Levels]uint64{
				IP: hashNumber(where), ASN: hashNumber(where), Country: 1 << 40, Agent: hashNumber(version), Browser: hashNumber(version),
				System: 1 << 40, DeviceType: 1 << 40, DeviceID: 1 << 40,
			}}
			c.Learn(laptop, at)
		}
		if day%7 == 0 {
			c.Learn(Login{Values: [Levels]uint64{
				IP: hashNumber(9), ASN: hashNumber(9), Country: 1 << 40, Agent: hashNumber(100 + version), Browser: hashNumber(100 + version),
				System: 2 << 40, DeviceType: 2 << 40, DeviceID: 2 << 40,
			}}, at)
		}
	}
	if n := len(c.AppendBinary(nil)); n > 350 {
		t.Errorf("%d bytes", n)
	}
}

func TestCountsDecay(t *testing.T) {
	t.Parallel()
	var c Counts
	l := LoginOf(&events.Event{IP: "192.0.2.1"})
	c.Learn(l, start)
	for days, want := range map[int]float64{0: 1, 60: 0.5, 120: 0.25, 600: 1. / 1024, 1201: 0, -60: 1} {
		if got := c.Total(start + events.Millis(days*events.Day)); math.Abs(got-want) > 1e-12 {
			t.Errorf("after %d days %g, want %g", days, got, want)
		}
	}
	// A late one counts what it would have been worth by now, and does not turn time back.
	c.Learn(l, start-60*events.Day)
	if got := c.Total(start); math.Abs(got-1.5) > 1e-6 {
		t.Errorf("total %g, want 1.5", got)
	}
	c.Learn(l, start+60*events.Day)
	if got := c.Total(start + 60*events.Day); math.Abs(got-1.75) > 1e-6 {
		t.Errorf("total %g, want 1.75", got)
	}
}

// TestOrderOfLoginsHardlyMatters: as long as nothing is evicted, order changes rounding only.
func TestOrderOfLoginsHardlyMatters(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type login struct {
			l  Login
			at events.Millis
		}
		var list []login
		for range rapid.IntRange(1, 30).Draw(t, "logins") {
			var l Login
			for i := range l.Values {
				l.Values[i] = rapid.Uint64Range(1, 4).Draw(t, "value") << 40
			}
			list = append(list, login{l, start + events.Millis(rapid.Int64Range(0, 60*events.Day).Draw(t, "time"))})
		}
		var a, b Counts
		for _, x := range list {
			a.Learn(x.l, x.at)
		}
		for _, x := range rapid.Permutation(list).Draw(t, "order") {
			b.Learn(x.l, x.at)
		}
		l, at := list[0].l, start+60*events.Day
		x, okX := DefaultModel().Score(&a, nil, l, at)
		y, okY := DefaultModel().Score(&b, nil, l, at)
		if okX != okY || math.Abs(x.Value-y.Value) > 0.01 || ClassOf(&a, at) != ClassOf(&b, at) {
			t.Fatalf("%v %v, %v %v", x, okX, y, okY)
		}
	})
}

func TestDecodeRefusesWhatIsNoCounts(t *testing.T) {
	t.Parallel()
	var c Counts
	c.Learn(LoginOf(&events.Event{IP: "192.0.2.1"}), start)
	good := c.AppendBinary(nil)
	for n := range good {
		if err := new(Counts).Decode(good[:n]); !errors.Is(err, errCorrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if err := new(Counts).Decode(append(bytes.Clone(good), 0)); !errors.Is(err, errCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
	newer := bytes.Clone(good)
	newer[0]++
	if err := new(Counts).Decode(newer); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("newer format: %v", err)
	}
}

func FuzzDecodeCounts(f *testing.F) {
	var c Counts
	f.Add(c.AppendBinary(nil))
	for i := range 40 {
		c.Learn(LoginOf(&events.Event{IP: "192.0.2." + string(rune('0'+i%10)), UserAgent: string(rune('a' + i))}), start+events.Millis(i*events.Day))
	}
	f.Add(c.AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Counts
		if err := d.Decode(b); err != nil {
			return
		}
		d.Learn(LoginOf(&events.Event{IP: "192.0.2.1"}), start)
		s, ok := DefaultModel().Score(&d, nil, Login{}, start)
		if ok && (math.IsNaN(s.Value) || math.IsInf(s.Value, 0)) {
			t.Fatalf("score %v", s)
		}
		again := d.AppendBinary(nil)
		var e Counts
		if err := e.Decode(again); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.AppendBinary(nil), again) {
			t.Fatal("encoding changes")
		}
	})
}

func TestClassOfRhythm(t *testing.T) {
	t.Parallel()
	every := func(days int) *Counts {
		c := &Counts{}
		for day := 0; day < 112; day += days {
			for range 3 { // several logins a day are one day
				c.Learn(Login{}, start+events.Millis(day*events.Day))
			}
		}
		return c
	}
	workdays := &Counts{}
	for day := range 100 {
		if day%7 < 5 {
			workdays.Learn(Login{}, start+events.Millis(day*events.Day))
		}
	}
	now := start + 111*events.Day
	for name, tc := range map[string]struct {
		counts *Counts
		at     events.Millis
		want   string
	}{
		"every day":         {every(1), now, Daily},
		"workdays, holiday": {workdays, now, Daily},
		"every three days":  {every(3), now, SeveralAWeek},
		"every week":        {every(7), now, Weekly},
		"every month":       {every(28), now, Monthly},
		"every two months":  {every(56), now, Rarer},
		"daily, long ago":   {every(1), now + 300*events.Day, Rarer},
		"new":               {every(112), start, Weekly},
		"nothing":           {&Counts{}, start, Rarer},
	} {
		if got := ClassOf(tc.counts, tc.at); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
