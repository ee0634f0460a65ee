package courier

import (
	"time"

	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/ssf/dialect"
)

// subjects are those of a stream, read once.
type subjects struct {
	all bool // who is not named is wanted
	// simple are by their canonical form; the others have to be compared one by one (SSF 1.0 §8.1.3.1).
	simple  map[string]int64
	complex []complexSubject
}

type complexSubject struct {
	id      set.Identifier
	removed int64
}

func newSubjects(s *ssf.Stream) *subjects {
	w := &subjects{all: s.DefaultSubjects != ssf.SubjectsNone, simple: make(map[string]int64, len(s.Subjects))}
	for _, e := range s.Subjects {
		id, err := set.ParseIdentifier(e.Subject)
		switch {
		case err != nil: // it was checked when it was added
		case id.Complex():
			w.complex = append(w.complex, complexSubject{id, e.Removed})
		default:
			w.simple[string(id.Canonical())] = e.Removed
		}
	}
	return w
}

// matches reports whether the stream wants the subject of a decision: one that was added, or that nobody removed when all
// are wanted. A removal counts after the grace.
func (w *subjects) matches(s *ssf.Stream, c *revocation.Claims, now time.Time, grace time.Duration) bool {
	if len(w.simple)+len(w.complex) == 0 {
		return w.all
	}
	added, removed := false, false
	note := func(at int64) {
		if at == 0 || now.Before(time.Unix(at, 0).Add(grace)) {
			added = true
		} else {
			removed = true
		}
	}
	for _, id := range dialect.Identifiers(*s, c) {
		if !id.Complex() {
			if at, known := w.simple[string(id.Canonical())]; known {
				note(at)
			}
			continue
		}
		for i := range w.complex {
			if id.Matches(&w.complex[i].id) {
				note(w.complex[i].removed)
			}
		}
	}
	return added || w.all && !removed
}
