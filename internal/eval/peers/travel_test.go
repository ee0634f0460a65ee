package peers

import (
	"math"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestCrowdsecHasNoSpeed(t *testing.T) {
	t.Parallel()
	expect(t, run(t, "crowdsec_defaults", at(9, "newyork"), at(11.9, "losangeles")), "ann@losangeles/11.9000 travel medium")
	expect(t, run(t, "crowdsec_defaults", at(9, "newyork"), at(12.1, "losangeles"))) // left the queue
	expect(t, run(t, "crowdsec_defaults", at(9, "rome"), at(9.1, "frankfurt")))      // 960 km
	expect(t, run(t, "crowdsec_defaults", at(9, "newyork"), at(9.5, "losangeles", source("other"))))
	expect(t, run(t, "crowdsec_defaults", at(9, "newyork"), at(9.5, "losangeles", failed(events.BadPassword))))
}

func TestPantherTravel(t *testing.T) {
	t.Parallel()
	expect(t, run(t, "panther_defaults", at(9, "rome"), at(10, "tokyo"), at(11, "rome")),
		"ann@tokyo/10.0000 travel high", "ann@rome/11.0000 travel high")
	expect(t, run(t, "panther_defaults", at(9, "rome"), at(20.5, "tokyo"))) // 858 km/h
	expect(t, run(t, "panther_defaults", at(9, "rome"), at(9, "tokyo")), "ann@tokyo/9.0000 travel high")
	expect(t, run(t, "panther_defaults", at(9, "rome"), at(10, "tokyo", from("192.0.2.4")))) // same address
	// A relay is info, and Rome stays the place to come from.
	expect(t, run(t, "panther_defaults", at(9, "rome"), at(10, "tokyo", class(events.Relay)), at(11, "newyork")),
		"ann@tokyo/10.0000 travel info", "ann@newyork/11.0000 travel high")
	near := func(e *events.Event) { e.Place.Lat += 0.4; e.IP = "198.51.100.1" }
	expect(t, run(t, "panther_defaults", at(9, "rome"), at(9.03, "rome", near)), "ann@rome/9.0300 travel low")
}

func TestPantherCountsFailures(t *testing.T) {
	t.Parallel()
	var stream []*events.Event
	for i := range 25 {
		stream = append(stream, at(9+float64(i)/100, "rome", failed(events.BadPassword)))
	}
	expect(t, run(t, "panther_defaults", stream...),
		"ann@rome/9.1900 brute force by user medium", "ann@rome/9.1900 brute force by address medium")
	for i, e := range stream {
		e.User.ID = string(rune('a' + i))
	}
	alerts := run(t, "panther_defaults", stream...)
	if len(alerts) != 1 || alerts[0].Kind != Spray || alerts[0].User != "" || len(alerts[0].Events) != 19 {
		t.Errorf("25 users from one address: %+v", alerts)
	}
}

func TestPantherSession(t *testing.T) {
	t.Parallel()
	use := func(e *events.Event) { e.Kind, e.Session.ID = events.SessionUse, "s1" }
	expect(t, run(t, "panther_defaults", at(9, "rome", session("s1")), at(9.2, "tokyo", use, linux)), "ann@tokyo/9.2000 session high")
	expect(t, run(t, "panther_defaults", at(9, "rome", session("s1")), at(9.2, "milan", use))) // the same agent
	expect(t, run(t, "panther_defaults", at(9, "rome", session("s1")), at(9.2, "tokyo", use, session("s2"), linux)))
}

func TestSimilarity(t *testing.T) {
	t.Parallel()
	// 2 * 6 / 14 and so on, by hand.
	for _, c := range []struct {
		a, b string
		want float64
	}{{"", "", 1}, {"abc", "", 0}, {"abcdef", "abcxdefy", 12.0 / 14}, {"xabcy", "zabcw", 0.6}, {"WIKIMEDIA", "WIKIMANIA", 14.0 / 18}} {
		if got := similarity(c.a, c.b); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("similarity(%q, %q) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
	if s := similarity(windowsEdge, linuxFox); s >= pantherSimilarity {
		t.Errorf("Edge on Windows and Firefox on Linux are %.2f alike", s)
	}
}
