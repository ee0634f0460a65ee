package peers

import (
	"cmp"

	"github.com/countersign-io/countersign/internal/events"
)

// table is what a rule remembers by key. Rows that nothing was written to for `keep` are forgotten.
type table[K comparable, V any] struct {
	keep events.Millis
	rows map[K]*row[V]
	next events.Millis // when to look for old rows
}

type row[V any] struct {
	used  events.Millis
	value V
}

func newTable[K comparable, V any](keep events.Millis) table[K, V] {
	return table[K, V]{keep: keep, rows: map[K]*row[V]{}}
}

// at gives the row of a key, a new one when there is none; now is when the event arrived.
func (t *table[K, V]) at(key K, now events.Millis) *V {
	if now >= t.next {
		for k, r := range t.rows {
			if r.used < now-t.keep {
				delete(t.rows, k)
			}
		}
		t.next = now + t.keep
	}
	r := t.rows[key]
	if r == nil || r.used < now-t.keep {
		r = &row[V]{}
		t.rows[key] = r
	}
	r.used = max(r.used, now)
	return &r.value
}

// attempt is what is remembered of one try.
type attempt struct {
	at, arrived              events.Millis
	event, user, ip, country string
	place                    string
	agent, session, cause    string
	asn                      uint32
	ok                       bool
}

func attemptOf(e *events.Event) attempt {
	return attempt{
		at: e.Time, arrived: arrival(e), event: e.ID, user: e.User.ID, ip: e.IP, country: e.Place.Country, place: placeName(e), agent: e.UserAgent,
		session: cmp.Or(e.Session.ID, e.Correlation), cause: string(e.Cause), asn: e.Network.ASN, ok: e.Outcome == events.Success,
	}
}

// attempts are the tries of a window of event time, at most MaxEvents.
type attempts struct {
	tries []attempt
	last  events.Millis // the newest event time
	quiet events.Millis // an alert covers everything before it
}

// add takes a try, and drops what has left the window. An event that comes again counts once.
func (a *attempts) add(t attempt, window events.Millis) {
	a.last = max(a.last, t.at)
	kept := a.tries[:0]
	for i := range a.tries {
		if old := &a.tries[i]; old.at > a.last-window && old.event != t.event {
			kept = append(kept, *old)
		}
	}
	if len(kept) >= MaxEvents {
		kept = kept[:copy(kept, kept[1:])]
	}
	a.tries = kept
	if t.at > a.last-window {
		a.tries = append(a.tries, t)
	}
}

// due tells whether an alert would be news, and notes that it is told: one alert for a window.
func (a *attempts) due(window events.Millis) bool {
	if a.last < a.quiet {
		return false
	}
	a.quiet = a.last + window
	return true
}

// oldest is the time of the earliest try.
func (a *attempts) oldest() events.Millis {
	first := a.last
	for i := range a.tries {
		first = min(first, a.tries[i].at)
	}
	return first
}

// others are the events of all tries but one.
func (a *attempts) others(but string) []string {
	ids := make([]string, 0, len(a.tries))
	for i := range a.tries {
		if a.tries[i].event != but {
			ids = append(ids, a.tries[i].event)
		}
	}
	return ids
}

// distinct counts the values, "" aside, that some tries have.
func distinct(tries []attempt, of func(*attempt) string) int {
	seen := map[string]struct{}{}
	for i := range tries {
		if v := of(&tries[i]); v != "" {
			seen[v] = struct{}{}
		}
	}
	return len(seen)
}

func byUser(t *attempt) string    { return t.user }
func byIP(t *attempt) string      { return t.ip }
func byCountry(t *attempt) string { return t.country }
func byPlace(t *attempt) string   { return t.place }
func byAgent(t *attempt) string   { return t.agent }
func bySession(t *attempt) string { return t.session }

// schedule is when a peer looks: every `every`, at what happened in the `lookBack` before, and `delay` until somebody is told.
// Without `every` it looks at each event as it arrives.
type schedule struct{ every, lookBack, delay events.Millis }

// tells is when somebody is told of events of which the last arrived at a time and the oldest happened at one; false when that
// has left the look-back by then.
func (s schedule) tells(arrived, oldest events.Millis) (events.Millis, bool) {
	if s.every == 0 {
		return arrived + s.delay, true
	}
	run := (arrived + s.every - 1) / s.every * s.every
	if s.lookBack > 0 && oldest <= run-s.lookBack {
		return 0, false
	}
	return run + s.delay, true
}
