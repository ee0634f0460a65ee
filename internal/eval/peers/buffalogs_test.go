package peers

import (
	"slices"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// The cases of the measurement of BuffaLogs 3.0.0: the restatement must do what the original did.

// thereAndBack is IT, 31 days later IT, then JP, IT, JP, JP one hour apart, of a user who is known for a year.
func thereAndBack() []*events.Event {
	stream := days(365, 32, "rome")
	return append(stream, at(-31*24+9, "rome"), at(9, "rome"), at(10, "tokyo"), at(11, "rome"), at(12, "tokyo"), at(13, "tokyo"))
}

func TestBuffalogsFiltersEverythingAtDefaults(t *testing.T) {
	t.Parallel()
	alerts := run(t, "buffalogs_defaults", thereAndBack()...)
	travels := 0
	for _, a := range alerts {
		if !slices.Contains(a.Filtered, "minimum risk") {
			t.Errorf("%s of %s is not filtered", a.Check, a.EventID)
		}
		if a.Check == "travel" {
			travels++
		}
	}
	if travels != 1 {
		t.Errorf("%d raw travel alerts, want 1", travels)
	}
}

func TestBuffalogsFindsOneOfThreeWithFiltersOpened(t *testing.T) {
	t.Parallel()
	expect(t, run(t, "buffalogs_best", thereAndBack()...),
		"ann@rome/9.0000 atypical country medium",
		"ann@tokyo/10.0000 new country medium",
		"ann@tokyo/10.0000 travel medium")
}

func TestBuffalogsInsideOneCountry(t *testing.T) {
	t.Parallel()
	stream := append(days(20, 1, "newyork"), at(9, "newyork"), at(10, "losangeles"))
	expect(t, run(t, "buffalogs_defaults", stream...), "ann@losangeles/10.0000 travel medium (same country, minimum risk)")
	expect(t, run(t, "buffalogs_best", stream...), "ann@losangeles/10.0000 travel medium")
}

func TestBuffalogsMobileUserAgent(t *testing.T) {
	t.Parallel()
	stream := append(days(20, 1, "rome"), at(9, "rome"), at(10, "tokyo", phone))
	alerts := run(t, "buffalogs_defaults", stream...)
	expect(t, alerts,
		"ann@tokyo/10.0000 new device medium (minimum risk, mobile system)",
		"ann@tokyo/10.0000 new country medium (minimum risk, mobile system)",
		"ann@tokyo/10.0000 travel medium (minimum risk, mobile system)")
	if got := run(t, "buffalogs_best", stream...); len(got) != 3 {
		t.Errorf("filters opened: %v", short(got))
	}
}

func TestBuffalogsIgnoresWhatIsOlderThanTheStoredLogin(t *testing.T) {
	t.Parallel()
	stream := append(days(20, 1, "rome"), at(10, "rome"), at(10-1.0/6, "tokyo"))
	expect(t, run(t, "buffalogs_best", stream...), "ann@tokyo/9.8333 new country medium")
}

func TestBuffalogsSkipsLatitudeZero(t *testing.T) {
	t.Parallel()
	stream := append(days(20, 1, "rome"), at(9, "rome"), at(10, "quito"))
	expect(t, run(t, "buffalogs_best", stream...))
}

func TestBuffalogsDoesNotCheckTheFirstLoginOfASecondSource(t *testing.T) {
	t.Parallel()
	stream := append(days(20, 1, "rome"), at(9, "rome"), at(10, "tokyo", source("other")))
	expect(t, run(t, "buffalogs_best", stream...))
}

func TestBuffalogsLearnsFor14Days(t *testing.T) {
	t.Parallel()
	stream := append(days(10, 1, "rome"), at(9, "rome"), at(10, "tokyo"))
	expect(t, run(t, "buffalogs_defaults", stream...),
		"ann@tokyo/10.0000 new country medium (minimum risk, learning)",
		"ann@tokyo/10.0000 travel medium (minimum risk, learning)")
}

func TestBuffalogsRiskRisesWithUnfilteredAlerts(t *testing.T) {
	t.Parallel()
	stream := days(20, 1, "rome")
	h := 9.0
	for _, place := range []string{"tokyo", "newyork", "frankfurt"} {
		stream = append(stream, at(h, place, from("198.51.100."+place)))
		h++
	}
	expect(t, run(t, "buffalogs_best", stream...),
		"ann@tokyo/9.0000 new country medium",
		"ann@tokyo/9.0000 travel medium", // 428 km/h since yesterday's login in Rome
		"ann@newyork/10.0000 new country medium",
		"ann@newyork/10.0000 travel medium",
		"ann@newyork/10.0000 user risk medium",
		"ann@frankfurt/11.0000 new country medium",
		"ann@frankfurt/11.0000 travel medium")
}

func TestBuffalogsTellsOneToTwoHoursLater(t *testing.T) {
	t.Parallel()
	for _, minutes := range []float64{0.5, 20, 59} {
		stream := append(days(20, 1, "rome"), at(9, "rome"), at(10+minutes/60, "tokyo"))
		for _, a := range run(t, "buffalogs_best", stream...) {
			late := a.At - stream[len(stream)-1].Time
			if late < events.Hour || late > 2*events.Hour {
				t.Errorf("%s told after %d minutes", a.Check, late/events.Minute)
			}
		}
	}
}

func TestBuffalogsForgetsAddresses(t *testing.T) {
	t.Parallel()
	// The address in Tokyo was seen 50 days ago: it is new again.
	stream := append(days(60, 51, "rome"), at(-50*24, "tokyo"))
	stream = append(stream, days(49, 1, "rome")...)
	stream = append(stream, at(9, "rome"), at(10, "tokyo"))
	expect(t, run(t, "buffalogs_best", stream...)[2:],
		"ann@tokyo/10.0000 new country medium",
		"ann@tokyo/10.0000 travel medium")
}
