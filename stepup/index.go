package stepup

import (
	"container/heap"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// IndexConfig configures an [Index]. The zero value of a field means its default.
type IndexConfig struct {
	// MaxOpen bounds the requirements that are remembered: so many open ones, and so many satisfied or ended ones.
	// Default 1,048,576; a full index takes about 0.5 GB.
	//
	// Past the bound a requirement is forgotten and counted in [Stats.Evicted]: one of a third party if there is one, and
	// among those the one that would end soonest by itself. An application that sees this number grow has to raise the
	// bound.
	MaxOpen int
	// MaxStaleness is how long the feed may be silent before [Index.Fresh] says no. Default 30 seconds.
	MaxStaleness time.Duration
}

const (
	defaultMaxOpen      = 1 << 20
	defaultMaxStaleness = 30 * time.Second
	// maxPerUser bounds the requirements of one user, so that one user's flood costs no other user anything.
	maxPerUser = 64
)

// Index holds the requirements that restrain users, for a look-up at every request. It is safe for concurrent use. A
// look-up takes no lock and writes nothing, so look-ups do not slow each other down on any number of processors; it waits
// for no more than the exchange of one entry in its 256th of the index.
//
// A feed (such as stepup/kafka) hands it every change by [Index.Apply] and [Index.Remove], in any order and any number of
// times, and tells it by [Index.CaughtUp] and [Index.Heartbeat] that it is complete and alive.
//
// A satisfied requirement is kept until it expires, as a floor: a token whose proof is older than the moment of
// satisfaction must still satisfy it by itself. Otherwise the step-up of the true user would let a thief's old token in
// again.
//
// An index needs no closing; a timer wakes it when a requirement ends.
type Index struct {
	cfg   IndexConfig
	users table

	// heard is when the feed was last known to be complete, in Unix nanoseconds; 0 until it has caught up.
	heard atomic.Int64

	// Whoever changes anything holds writing; look-ups do not.
	writing sync.Mutex
	known   map[string]*record
	open    book // open requirements
	closed  book // satisfied ones, and the ids of ended ones
	evicted uint64
	wake    *time.Timer
	wakeAt  int64 // Unix nanoseconds
}

// user is what restrains one user: open restraints first, then by stricter. It is never changed, only replaced. The first
// restraint is in place so that Check can return its address without reading it.
type user struct {
	first restraint
	rest  []restraint
}

type restraint struct {
	Requirement
	closed int64 // when it was satisfied, in Unix nanoseconds; 0 while open
}

// record is a requirement's place in the books. Its state never goes back.
type record struct {
	id, tenant, user string
	thirdParty       bool
	state            Status // StatusExpired also stands for removed
	expires          int64  // Unix nanoseconds
	at               int    // in its heap
}

// book holds records in the order of their ends. Those of third parties are apart, because they have to make room first.
type book struct{ own, thirdParty expiryHeap }

func (b *book) len() int { return b.own.Len() + b.thirdParty.Len() }

// least is the record that can best be done without; the book must not be empty.
func (b *book) least() *record {
	if b.thirdParty.Len() > 0 {
		return b.thirdParty[0]
	}
	return b.own[0]
}

// NewIndex returns an empty index that is not fresh yet.
func NewIndex(cfg IndexConfig) (*Index, error) {
	if cfg.MaxOpen < 0 || cfg.MaxStaleness < 0 {
		return nil, errors.New("stepup: MaxOpen and MaxStaleness must not be negative")
	}
	if cfg.MaxOpen == 0 {
		cfg.MaxOpen = defaultMaxOpen
	}
	if cfg.MaxStaleness == 0 {
		cfg.MaxStaleness = defaultMaxStaleness
	}
	x := &Index{cfg: cfg, known: map[string]*record{}}
	x.users.init()
	return x, nil
}

// Check returns the strictest open requirement that holds for the subject, if there is one. It takes about 0.1
// microseconds, allocates nothing and reads no clock.
//
// It answers what is open, not what a token must do: [Guard] also asks whether the token satisfies the requirement, and
// whether a satisfied one still restrains an older token. With a million users restrained, Check mistakes an unrestrained
// user for one of them with probability 10^-13; where that matters compare the requirement's Subject, as Guard does.
func (x *Index) Check(s Subject) (*Requirement, bool) {
	who, isPlain := x.users.get(x.users.tag(s.Tenant, s.User))
	switch {
	case who == nil:
		return nil, false
	case isPlain:
		return &who.first.Requirement, true
	}
	for r := range who.all() {
		if r.closed != 0 {
			break
		}
		if r.applies(s.Session) {
			return &r.Requirement, true
		}
	}
	return nil, false
}

// restraints returns what restrains exactly this user, nil for nothing.
func (x *Index) restraints(tenant, name string) *user {
	who, _ := x.users.get(x.users.tag(tenant, name))
	if who == nil || who.first.User != name || who.first.Tenant != tenant {
		return nil
	}
	return who
}

// all goes over a user's restraints; a nil user has none.
func (u *user) all() func(yield func(*restraint) bool) {
	return func(yield func(*restraint) bool) {
		if u == nil || !yield(&u.first) {
			return
		}
		for i := range u.rest {
			if !yield(&u.rest[i]) {
				return
			}
		}
	}
}

// Apply takes in one change, and reports whether it changed anything. Repeats and late arrivals do not, over whatever feed
// they come: a requirement that was closed is never opened again.
func (x *Index) Apply(c Claims) bool {
	x.writing.Lock()
	defer x.writing.Unlock()
	now := time.Now().UnixNano()
	x.sweep(now)

	r := &c.Requirement
	rec := x.known[r.ID]
	switch {
	case r.Expires.UnixNano() <= now:
		return false
	case rec == nil:
		rec = &record{id: r.ID, tenant: r.Tenant, user: r.User, thirdParty: r.ThirdParty}
		x.known[r.ID] = rec
	case rec.state != StatusOpen || c.Status == StatusOpen || rec.tenant != r.Tenant || rec.user != r.User || rec.thirdParty != r.ThirdParty:
		return false
	default:
		heap.Remove(x.heapOf(rec), rec.at)
	}
	rec.state, rec.expires = c.Status, r.Expires.UnixNano()
	x.file(rec)
	switch {
	case x.known[r.ID] != rec: // there was no room for it
	case rec.state == StatusOpen:
		x.restrain(rec, &restraint{Requirement: *r})
	case rec.state == StatusSatisfied:
		x.restrain(rec, &restraint{Requirement: *r, closed: max(c.ClosedAt.UnixNano(), 1)})
	default:
		x.restrain(rec, nil)
	}
	x.schedule(now)
	return x.known[r.ID] == rec
}

// Remove takes in the deletion of a requirement, by the key of its record: tenant/user/requirement. An unknown key changes
// nothing.
func (x *Index) Remove(key string) {
	x.writing.Lock()
	defer x.writing.Unlock()
	rec := x.known[key[strings.LastIndexByte(key, '/')+1:]]
	if rec == nil || rec.state == StatusExpired {
		return
	}
	heap.Remove(x.heapOf(rec), rec.at)
	rec.state = StatusExpired
	x.restrain(rec, nil)
	x.file(rec)
}

func (x *Index) bookOf(rec *record) *book {
	if rec.state == StatusOpen {
		return &x.open
	}
	return &x.closed
}

func (x *Index) heapOf(rec *record) *expiryHeap {
	if rec.thirdParty {
		return &x.bookOf(rec).thirdParty
	}
	return &x.bookOf(rec).own
}

// file puts a record into its book. When that is too full, one is forgotten, which may be this very one.
func (x *Index) file(rec *record) {
	heap.Push(x.heapOf(rec), rec)
	if b := x.bookOf(rec); b.len() > x.cfg.MaxOpen {
		x.forget(b.least())
	}
}

// forget drops a record for want of room.
func (x *Index) forget(rec *record) {
	if rec.state != StatusExpired { // an ended requirement restrains nobody
		x.evicted++
	}
	x.drop(rec)
}

func (x *Index) drop(rec *record) {
	heap.Remove(x.heapOf(rec), rec.at)
	delete(x.known, rec.id)
	x.restrain(rec, nil)
}

func (x *Index) heaps() [4]*expiryHeap {
	return [4]*expiryHeap{&x.open.own, &x.open.thirdParty, &x.closed.own, &x.closed.thirdParty}
}

// sweep drops what has ended by itself.
func (x *Index) sweep(now int64) {
	for _, h := range x.heaps() {
		for h.Len() > 0 && (*h)[0].expires <= now {
			x.drop((*h)[0])
		}
	}
}

// schedule sets the timer to the next end.
func (x *Index) schedule(now int64) {
	next := int64(0)
	for _, h := range x.heaps() {
		if h.Len() > 0 && (next == 0 || (*h)[0].expires < next) {
			next = (*h)[0].expires
		}
	}
	if next == 0 || x.wakeAt != 0 && x.wakeAt <= next {
		return // an early timer does no harm
	}
	// An hour at most, because the wall clock may be set while the timer runs.
	pause := min(time.Duration(next-now), time.Hour)
	x.wakeAt = now + int64(pause)
	if x.wake == nil {
		x.wake = time.AfterFunc(pause, x.expire)
	} else {
		x.wake.Reset(pause)
	}
}

func (x *Index) expire() {
	x.writing.Lock()
	defer x.writing.Unlock()
	now := time.Now().UnixNano()
	x.wakeAt = 0
	x.sweep(now)
	x.schedule(now)
}

// restrain puts r in the place of the record's restraint; nil takes it away.
func (x *Index) restrain(rec *record, r *restraint) {
	tag := x.users.tag(rec.tenant, rec.user)
	var all []restraint
	was, _ := x.users.get(tag)
	for have := range was.all() {
		if have.ID != rec.id {
			all = append(all, *have)
		}
	}
	if r != nil {
		if len(all) >= maxPerUser {
			least := x.least(all, rec)
			x.forget(least)
			if least != rec {
				x.restrain(rec, r)
			}
			return
		}
		at, _ := slices.BinarySearchFunc(all, r, func(a restraint, b *restraint) int { return before(&a, b) })
		all = slices.Insert(all, at, *r)
	}
	if len(all) == 0 {
		x.users.set(tag, nil)
		return
	}
	x.users.set(tag, &user{first: all[0], rest: slices.Clone(all[1:])})
}

// before orders a user's restraints.
func before(a, b *restraint) int {
	if open := a.closed == 0; open != (b.closed == 0) {
		if open {
			return -1
		}
		return 1
	}
	return stricter(&a.Requirement, &b.Requirement)
}

// least picks what a user with too many restraints can best do without: one of a third party if there is one, which may be
// rec, the one to be added, so that no flood of theirs costs a requirement of countersign; then a satisfied one; then the
// one that ends first.
func (x *Index) least(all []restraint, rec *record) *record {
	least := &all[0]
	for i := range all {
		if r := &all[i]; dearer(least, r) {
			least = r
		}
	}
	if rec.thirdParty && !least.ThirdParty {
		return rec
	}
	return x.known[least.ID]
}

// dearer tells whether a is to be kept rather than b.
func dearer(a, b *restraint) bool {
	if a.ThirdParty != b.ThirdParty {
		return b.ThirdParty
	}
	if open := a.closed == 0; open != (b.closed == 0) {
		return open
	}
	return b.Expires.Before(a.Expires)
}

// CaughtUp tells that everything the feed holds now has been applied. Until it is called for the first time the index is
// not fresh.
func (x *Index) CaughtUp() { x.HeardAt(time.Now()) }

// Heartbeat tells that the feed is alive and nothing is waiting. Before CaughtUp it does nothing.
func (x *Index) Heartbeat() {
	if x.heard.Load() != 0 {
		x.HeardAt(time.Now())
	}
}

// HeardAt is [Index.CaughtUp] for a feed that knows at which moment everything was applied. Time never goes back.
func (x *Index) HeardAt(t time.Time) {
	for at := t.UnixNano(); ; {
		if was := x.heard.Load(); at <= was || x.heard.CompareAndSwap(was, at) {
			return
		}
	}
}

// Fresh tells whether the index has caught up and has heard from its feed within MaxStaleness. age is how long ago that
// was; it is negative when the index has never caught up.
func (x *Index) Fresh() (age time.Duration, fresh bool) {
	heard := x.heard.Load()
	if heard == 0 {
		return -1, false
	}
	age = max(time.Since(time.Unix(0, heard)), 0)
	return age, age <= x.cfg.MaxStaleness
}

// MaxStaleness is how long the feed may be silent before Fresh says no. A feed whose signs of life are further apart refuses
// to start.
func (x *Index) MaxStaleness() time.Duration { return x.cfg.MaxStaleness }

// Stats are numbers for an application's metrics.
type Stats struct {
	// Open requirements, and satisfied or ended ones that are remembered until they expire.
	Open, Closed int
	// Evicted counts requirements that were forgotten before their end, or not taken in, because MaxOpen was reached, or
	// 64 of one user. It should stay 0.
	Evicted uint64
}

// Stats returns the numbers of now.
func (x *Index) Stats() Stats {
	x.writing.Lock()
	defer x.writing.Unlock()
	return Stats{Open: x.open.len(), Closed: x.closed.len(), Evicted: x.evicted}
}

// expiryHeap orders records by the time they end, soonest first.
type expiryHeap []*record

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].expires < h[j].expires }
func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push adds a record; only container/heap calls it.
func (h *expiryHeap) Push(v any) {
	rec := v.(*record)
	rec.at = len(*h)
	*h = append(*h, rec)
}

// Pop removes the last record; only container/heap calls it.
func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	rec := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return rec
}
