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
	// simple are by their canonical form. The others have to be compared (SSF 1.0 §8.1.3.1); two that name different users
	// never match, so they are by the user that they name, "" for none.
	simple  map[string]int64
	complex map[string][]complexSubject
}

type complexSubject struct {
	id      set.Identifier
	removed int64
}

func newSubjects(s *ssf.Stream) *subjects {
	w := &subjects{all: s.DefaultSubjects != ssf.SubjectsNone, simple: make(map[string]int64, len(s.Subjects)), complex: map[string][]complexSubject{}}
	for _, e := range s.Subjects {
		id, err := set.ParseIdentifier(e.Subject)
		switch {
		case err != nil: // it was checked when it was added
		case id.Complex():
			user := id.Part(partUser)
			w.complex[user] = append(w.complex[user], complexSubject{id, e.Removed})
		default:
			w.simple[string(id.Canonical())] = e.Removed
		}
	}
	return w
}

// partUser is the member of a complex subject that every decision has.
const partUser = "user"

// matches reports whether the stream wants the subject of a decision: one that was added, or that nobody removed when all
// are wanted. A removal counts after the grace. A part that only one of both has does not matter for what was added; but
// what was removed must be named in full, or the removal of one device, which decisions do not name, would silence all.
func (w *subjects) matches(s *ssf.Stream, c *revocation.Claims, now time.Time, grace time.Duration) bool {
	if len(w.simple)+len(w.complex) == 0 {
		return w.all
	}
	added, removed := false, false
	counts := func(at int64) bool { return at != 0 && !now.Before(time.Unix(at, 0).Add(grace)) }
	for _, id := range dialect.Identifiers(*s, c) {
		if !id.Complex() {
			if at, known := w.simple[string(id.Canonical())]; known {
				added, removed = added || !counts(at), removed || counts(at)
			}
			continue
		}
		for _, user := range []string{id.Part(partUser), ""} {
			for i := range w.complex[user] {
				switch e := &w.complex[user][i]; {
				case counts(e.removed):
					removed = removed || e.id.Within(&id)
				case id.Matches(&e.id):
					added = true
				}
			}
		}
	}
	return added || w.all && !removed
}
