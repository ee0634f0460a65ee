package peers

import (
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

func TestFreemanRanksStrangersAboveTheirOwn(t *testing.T) {
	t.Parallel()
	s := peer(t, "freeman_published").Scorer()
	if _, ok := s.Score(at(9, "rome")); ok {
		t.Error("a first login has a score")
	}
	for _, e := range days(20, 1, "rome") {
		s.Learn(e)
	}
	for _, e := range days(20, 1, "tokyo", by("bob"), linux) {
		s.Learn(e)
	}
	s.Learn(at(8, "tokyo", phone, failed(events.BadPassword))) // failures teach nothing
	own, ok := s.Score(at(9, "rome"))
	again, _ := s.Score(at(9, "rome"))
	halfway, _ := s.Score(at(9, "rome", linux))
	stranger, _ := s.Score(at(9, "tokyo", phone))
	// An agent that only shares its type of device with the user's counts more than one that shares nothing: as published, a
	// feature that is wholly new counts 4.
	if !ok || own != again || own >= stranger || stranger != 16 || halfway <= stranger {
		t.Errorf("own %g and %g, on a new system %g, from elsewhere %g", own, again, halfway, stranger)
	}
	if _, ok := s.Score(at(9, "rome", failed(events.BadPassword))); ok {
		t.Error("a failure has a score")
	}
}
