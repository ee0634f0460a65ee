package org

import (
	"math"
	"slices"
	"strconv"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/familiarity"
)

// State is all that the network stage remembers of one tenant. It is bounded whatever the input. It is not safe for
// concurrent use.
type State struct {
	tenant         string
	config         *Config
	pinned, banned map[string]bool

	head      head
	season    season
	quarter   span
	day       span
	recent    recent
	passing   shares
	failing   shares
	totals    totals
	limits    limits
	sources   lru[*source]
	incidents lru[*incident]
	egress    lru[*egress]
	terms     [termKinds]terms
	devices   map[int]*devices
	// strays are names of restored pieces that the configuration has no place for: they are deleted by and by.
	strays []string

	changed []piece
	removed map[string]bool
	room    int

	notices       []Notice
	scratch, name []byte // for keys under construction
}

// Notice is what follows from a sighting: what a user has to be told, or what everybody has.
type Notice struct {
	// User is whom Verdict concerns; Unresolved tells that it is a name that belongs to nobody.
	User       string
	Unresolved bool
	Verdict    *events.Verdict
	// Context is the tenant's context as of now.
	Context *events.OrgContext
	// Life and Number tell repeats: notices of a tenant are numbered for as long as its state lives, and life is when the first
	// sighting that it is made of was accepted. State that is built anew, from a log that begins later, has a later life.
	Life   events.Millis
	Number uint64
}

// NewState is the state of a tenant that nothing is known of. The configuration must be valid and not change.
func NewState(tenant string, config *Config) *State {
	s := &State{
		tenant: tenant, config: config, pinned: map[string]bool{}, banned: map[string]bool{}, removed: map[string]bool{},
		devices: map[int]*devices{},
		sources: newLRU[*source](), incidents: newLRU[*incident](), egress: newLRU[*egress](),
		scratch: make([]byte, 0, 2*maxText), name: make([]byte, 0, 2*maxText),
	}
	for _, prefix := range config.Egress.Pin {
		s.pinned[prefix] = true
	}
	for _, prefix := range config.Egress.Ban {
		s.banned[prefix] = true
	}
	s.quarter.piece, s.day.piece, s.passing.piece, s.failing.piece = pieceQuarter, pieceDay, piecePassing, pieceFailing
	for kind := range s.terms {
		s.terms[kind] = newTerms(termKind(kind))
	}
	return s
}

// head is what every sighting changes.
type head struct {
	marks
	// since is the time of the first sighting, now that of the latest, told that of the last context.
	since, now, told events.Millis
	// life is when the first sighting was accepted.
	life events.Millis
	// due asks for a context before its time.
	due bool
	// next numbers changes, notices what was told.
	next, notices uint64
	// users have been seen.
	users distinct // large
	// seen are, by partition of the events, the offset of the last sighting: one at or below is a repeat.
	seen []int64
}

// MaxPartitions is how many partitions the events may have.
const MaxPartitions = 4096

func (*head) name() string { return pieceHead }
func (h *head) room() int  { return 128 + 600 + seenRoom*len(h.seen) + 10 }

// seenRoom is the most bytes that one of head.seen takes.
const seenRoom = 10

func (h *head) append(w *writer) {
	w.millis(h.since)
	w.millis(h.now)
	w.millis(h.told)
	w.Bool(h.due)
	w.Uint(h.next)
	w.Uint(h.notices)
	h.users.append(w)
	w.Count(len(h.seen))
	for _, offset := range h.seen {
		w.Uint(uint64(offset + 1))
	}
	w.millis(h.life)
}

func (h *head) read(r *reader) {
	h.since, h.now, h.told, h.due = r.millis(), r.millis(), r.millis(), r.Bool()
	h.next, h.notices = r.Uint(), r.Uint()
	h.users.read(r, large)
	h.seen = nil
	for range r.Count(MaxPartitions) {
		h.seen = append(h.seen, int64(r.Count(math.MaxInt64))-1)
	}
	if h.life = h.since; r.Len() > 0 { // what was written before there were lives has none
		h.life = r.millis()
	}
}

// repeated tells a sighting that was folded before, and remembers it.
func (s *State) repeated(m *events.Sighting) bool {
	h := &s.head
	if m.Partition < 0 || m.Partition >= MaxPartitions || m.Offset < 0 {
		return true // of no event
	}
	for len(h.seen) <= m.Partition {
		h.seen = append(h.seen, -1)
		if h.changed {
			s.room += seenRoom // else it is counted when the head is
		}
	}
	if m.Offset <= h.seen[m.Partition] {
		return true
	}
	h.seen[m.Partition] = m.Offset
	return false
}

// maxAhead is how far ahead of the time it was accepted an event may be and still be believed.
const maxAhead = 15 * events.Minute

// Fold takes in one sighting of the tenant. What it returns is valid until the next call; it keeps none of the sighting's
// texts. A sighting that was folded before, by its place on the log, changes nothing, nor does one of a partition that is
// none (below 0, or [MaxPartitions] and above). It changes at most [ChangeBytes] and [ChangePieces].
func (s *State) Fold(m *events.Sighting) []Notice {
	s.notices = nil
	if s.repeated(m) {
		return nil
	}
	s.forgetStrays()
	s.sources.order()
	s.incidents.order()
	s.egress.order()
	t := m.Time
	if m.Ingested != 0 {
		t = min(t, m.Ingested+maxAhead)
	}
	if s.head.since == 0 {
		s.head.since, s.head.now, s.head.told = t, t, t
		if s.head.life = m.Ingested; m.Ingested == 0 {
			s.head.life = t
		}
	}
	s.head.now = max(s.head.now, t)
	s.change(&s.head)
	s.turn(s.head.now)

	h := hash(m.User)
	if !m.Unresolved {
		s.head.users.add(h, large)
	}
	if m.Outcome == events.Success {
		s.success(m, t, h)
	} else if m.Kind == events.SignIn {
		s.failure(m, t, h)
	}
	if m.Kind == events.SignIn {
		s.judgeDevice(m, t)
	}
	s.revoked(m, h)
	if s.due() {
		s.notify(Notice{Context: s.Context()})
		s.head.told, s.head.due = s.head.now, false
	}
	return s.notices
}

func (s *State) failure(m *events.Sighting, t events.Millis, h uint64) {
	if guess(m) {
		s.judgeAttempt(&attempt{Sighting: m, t: t, hash: h, print: fingerprint(m)})
	}
	if m.Cause == events.AccountLocked {
		s.judgeLockout(m, t, h)
	}
}

func (s *State) success(m *events.Sighting, t events.Millis, h uint64) {
	s.judgeSuccess(m, t, h)
	s.learnEgress(m, t, h)
	if m.Scored {
		s.limits.Add(m.Class, m.Score, t)
		s.change(&s.limits)
	}
	if m.Adverse {
		return
	}
	s.passing.add(t, fingerprint(m), 1)
	s.change(&s.passing)
	s.totals.Learn(loginOf(m), t)
	s.change(&s.totals)
	s.learnTerms(m, t, h)
}

// loginOf is what the familiarity score looks at.
func loginOf(m *events.Sighting) familiarity.Login {
	e := events.Event{IP: m.IP, Network: m.Network, Device: m.Device}
	e.Place.Country = m.Country
	l := familiarity.LoginOf(&e)
	if agent, err := strconv.ParseUint(m.Agent, 16, 64); err == nil {
		l.Values[familiarity.Agent] = max(agent, 1)
	}
	return l
}

// tell adds a verdict for a user.
func (s *State) tell(user string, unresolved bool, v events.Verdict) {
	s.notify(Notice{User: user, Unresolved: unresolved, Verdict: &v})
}

func (s *State) notify(n Notice) {
	s.head.notices++
	n.Life, n.Number = s.head.life, s.head.notices
	s.notices = append(s.notices, n)
}

// due tells whether a context is to be told: an hour, six hours and a day after the first sighting, then daily; and after a
// promotion, but not more than once an hour.
func (s *State) due() bool {
	age := func(t events.Millis) events.Millis { return t - s.head.since }
	if s.head.due && s.head.now >= s.head.told+events.Hour {
		return true
	}
	for _, first := range [...]events.Millis{events.Hour, 6 * events.Hour} {
		if age(s.head.told) < first && age(s.head.now) >= first {
			return true
		}
	}
	return age(s.head.now)/events.Day > age(s.head.told)/events.Day
}

// Context is what is known of the tenant as of the latest sighting.
func (s *State) Context() *events.OrgContext {
	return &events.OrgContext{
		Since: s.head.since, Until: s.head.now, Users: s.head.users.count(), Logins: s.totals.Total(s.head.now),
		Countries: s.inUse(termCountry), Networks: s.inUse(termNetwork), Cells: s.inUse(termCell), Apps: s.inUse(termApp),
		Agents: s.inUse(termAgent), Hubs: s.hubs(), Levels: s.totals.Levels(),
		Thresholds: s.limits.Table(s.config.Reauthentication), Egress: s.ownPrefixes(),
	}
}

// totals and limits are what the familiarity score has to know of the tenant.
type totals struct {
	marks
	familiarity.Totals
}

type limits struct {
	marks
	familiarity.Thresholds
}

func (*totals) name() string       { return pieceTotals }
func (*totals) room() int          { return 24 << 10 }
func (t *totals) append(w *writer) { w.Append(t.AppendBinary) }
func (t *totals) read(r *reader)   { r.all(t.Decode) }

func (*limits) name() string       { return pieceLimits }
func (*limits) room() int          { return 20 << 10 }
func (t *limits) append(w *writer) { w.Append(t.AppendBinary) }
func (t *limits) read(r *reader)   { r.all(t.Decode) }

// all hands the rest over.
func (r *reader) all(decode func([]byte) error) {
	if err := decode(r.Rest()); err != nil {
		r.Fail("%w", err)
	}
}

// find returns a piece by its name, nil when there is none.
func (s *State) find(name string) piece {
	for _, p := range s.single() {
		if p.name() == name {
			return p
		}
	}
	what, rest := split(name)
	switch what {
	case pieceSource:
		if n := s.sources.nodes[rest]; n != nil {
			return n.value
		}
	case pieceIncident:
		for n := s.incidents.oldest; n != nil; n = n.newer {
			if n.value.id == rest {
				return n.value
			}
		}
	case pieceEgress:
		if n := s.egress.nodes[rest]; n != nil {
			return n.value
		}
	case pieceTerms:
		if b := s.bucket(rest); b != nil {
			return b
		}
	case pieceDevices:
		if i, err := strconv.Atoi(rest); err == nil && s.devices[i] != nil {
			return s.devices[i]
		}
	}
	return nil
}

// single are the pieces that every tenant has one of.
func (s *State) single() []piece {
	return []piece{&s.head, &s.season, &s.quarter, &s.day, &s.recent, &s.passing, &s.failing, &s.totals, &s.limits}
}

// bucket finds the terms of "kind/index".
func (s *State) bucket(name string) *bucket {
	kind, index := split(name)
	i, err := strconv.Atoi(index)
	k := slices.Index(termNames[:], kind)
	if err != nil || k < 0 || i < 0 || i >= len(s.terms[k].buckets) {
		return nil
	}
	return &s.terms[k].buckets[i]
}
