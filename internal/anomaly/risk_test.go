package anomaly

import (
	"fmt"
	"math"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/profile"
)

// The risk of a user who is busy day and night fades like that of one who is not.
func TestRiskOfABusyUserFades(t *testing.T) {
	t.Parallel()
	c := catalogue(t)
	busy := known(c)
	idle := busy.Clone()
	for _, p := range []*profile.Profile{busy, idle} {
		p.Risk.Sum, p.Risk.At = 45, dayZero
	}
	const minutes = 7 * 24 * 60
	for i := 1; i < minutes; i++ {
		c.Evaluate(busy, nil, plain(i))
	}
	last := plain(minutes)
	got, want := c.Evaluate(busy, nil, last).Risk, c.Evaluate(idle, nil, last).Risk
	if got != want || want != 22.5 {
		t.Errorf("%g after a busy week, %g after an idle one, want half of 45", got, want)
	}
}

// What an outsider's tries raise keeps nothing of the user's from being trusted; what the user or the provider is sure of does.
func TestTriesDoNotKeepTermsFromTrust(t *testing.T) {
	t.Parallel()
	c := catalogue(t)
	for line, adverse := range map[string]bool{
		"09:00 a sign_in tokyo none cause=bad_password level=high":                             false,
		"09:00 a sign_in tokyo none outcome=blocked level=high":                                false,
		"09:00 a sign_in tokyo none cause=account_disabled":                                    false,
		"09:00 a account_change tokyo none change=credential:reset outcome=failure level=high": false,
		"09:00 a sign_in tokyo none cause=mfa_denied vendor=fraud":                             true,
		"09:00 a sign_in tokyo none cause=bad_password state=confirmed_compromised":            true,
		"09:00 a risk nowhere none level=high":                                                 true,
	} {
		p := known(c)
		before := p.LastAdverse
		found := c.Evaluate(p, nil, newScenario(t).event(line)).Findings
		if len(found) == 0 || !active(found) {
			t.Errorf("%s: raises nothing", line)
		}
		if p.LastAdverse != before != adverse {
			t.Errorf("%s: is remembered as an adverse finding: %v", line, !adverse)
		}
	}
}

// However often an outsider tries, the sum stays where one medium finding of the user's own does not make it high; and what was above
// that fades as if nobody tried.
func TestPatienceOfAnOutsiderIsWorthLittle(t *testing.T) {
	t.Parallel()
	c, s := catalogue(t), newScenario(t)
	try := s.event("09:00 a sign_in tokyo none outcome=blocked level=high")
	tries := func(p *profile.Profile, until events.Millis) (risk float64) {
		for at := dayZero + events.Minute; at <= until; at += 10 * events.Minute {
			e := *try
			e.Time, e.ID = at, events.EventID("acme", "try", at.String())
			risk = c.Evaluate(p, nil, &e).Risk
		}
		return risk
	}
	p := known(c)
	if got := tries(p, dayZero+2*events.Day); got > c.config.Risk.Medium {
		t.Errorf("%g decibans of tries alone", got)
	}
	r := c.Evaluate(p, nil, s.event("3d 09:00 trip sign_in rome laptop"))
	if !active(r.Findings) {
		t.Error("the journey raises nothing: the test shows little")
	}
	for _, f := range r.Findings {
		if f.Detection == rsk01.ID && f.Severity != events.Medium {
			t.Errorf("%s of a journey after tries: %g", f.Severity, r.Risk)
		}
	}
	p = known(c)
	p.Risk.Sum, p.Risk.At = 400, dayZero
	if got := tries(p, dayZero+7*events.Day+events.Minute); got < 199 || got > 201 {
		t.Errorf("%g after a week of tries, want half of 400", got)
	}
}

// A weight halves with the half-life, to what a float can tell, and never grows with age.
func TestHalved(t *testing.T) {
	t.Parallel()
	for _, half := range []events.Millis{events.Day, 7 * events.Day, 365 * events.Day} {
		last := 1.0
		for age := events.Millis(0); age < 20*half; age += half/97 + 1 {
			got, want := halved(age, half), math.Exp2(-float64(age)/float64(half))
			if math.Abs(got-want) > 1e-8*want || got > last {
				t.Fatalf("%d of %d: %.12g after %.12g, want %.12g", age, half, got, last, want)
			}
			last = got
		}
		for _, age := range []events.Millis{-1, 0, math.MinInt64} {
			if got := halved(age, half); got != 1 {
				t.Errorf("%d: %g", age, got)
			}
		}
		for n := range 5 {
			if got, want := halved(events.Millis(n)*half, half), 1/float64(int(1)<<n); got != want {
				t.Errorf("%d half-lives: %g, want %g", n, got, want)
			}
		}
		if got := halved(math.MaxInt64, half); got < 0 || got > 1e-9 {
			t.Error(fmt.Sprint(got))
		}
	}
}
