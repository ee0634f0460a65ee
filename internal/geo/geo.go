// Package geo answers where an address is and what network it belongs to: city databases for the place, an ASN table
// for the operator, and lists of prefixes and ASNs for the network class.
//
// Everything is optional. With nothing configured every answer is "unknown", which is an honest answer: unknown is
// never (0, 0) and never "not a VPN".
//
// A [DB] is safe for concurrent use. Look-ups read one immutable snapshot; [DB.Reload] builds the next one and swaps it,
// so a look-up never sees half of an update. City databases are mapped into memory: replace a database file by renaming
// a new one over it, never by writing into it.
package geo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
)

// Answer says how much the city databases know of an address.
type Answer uint8

// The answers.
const (
	// NotFound: no database holds the address.
	NotFound Answer = iota
	// Empty: a database holds the address, and says nothing of where it is.
	Empty
	// CountryOnly: the country is known; coordinates would be its centroid and are left out.
	CountryOnly
	// Located: coordinates are known.
	Located
	// Broken: the database could not be read for this address.
	Broken
)

var answers = [...]string{"not_found", "empty", "country", "place", "broken"}

// String is the answer as it appears in metrics.
func (a Answer) String() string { return answers[a] }

// Info is what is known of an address. It is shared between look-ups: do not change what its slices hold.
type Info struct {
	Answer  Answer
	Place   events.Place
	Network events.Network
}

// Deps are what a DB needs from outside.
type Deps struct {
	// Logger is told about reloads that go wrong in Run; nil is silent.
	Logger *zap.Logger
	// Registerer takes the metrics; nil keeps them unregistered.
	Registerer prometheus.Registerer
	// Now is the clock for the ages in metrics; nil is time.Now.
	Now func() time.Time
}

// DB is the set of configured databases and lists.
type DB struct {
	cfg     Config
	log     *zap.Logger
	now     func() time.Time
	metrics *metrics

	reload  sync.Mutex // one reload at a time; readers never take it
	current atomic.Pointer[snapshot]
}

// snapshot is one consistent set of files, with the answers that were given from it.
type snapshot struct {
	files  []*file
	cities []*city
	asns   []asnSource
	lists  []*list
	cache  *lru.Cache[netip.Addr, Info]
}

// Open loads everything cfg names. Files that are missing or broken are an error, all of them at once: a configured
// database that is not there is a mistake, not a choice.
func Open(cfg Config, deps Deps) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	db := &DB{cfg: cfg, log: deps.Logger, now: deps.Now}
	if db.log == nil {
		db.log = zap.NewNop()
	}
	if db.now == nil {
		db.now = time.Now
	}
	next, err := db.load(nil)
	if err != nil {
		return nil, err
	}
	db.current.Store(next)
	if db.metrics, err = newMetrics(deps.Registerer, db); err != nil {
		return nil, err
	}
	return db, nil
}

// Reload reads again the files that changed. A file that is missing or broken leaves what was loaded from it before in
// use and is reported in the error; the others are taken all the same.
func (db *DB) Reload() error {
	db.reload.Lock()
	defer db.reload.Unlock()
	next, err := db.load(db.current.Load())
	db.current.Store(next)
	result := "ok"
	if err != nil {
		result = "error"
	}
	db.metrics.reloads.WithLabelValues(result).Inc()
	return err
}

// Run reloads changed files every Config.ReloadEvery until ctx ends, and returns nil.
func (db *DB) Run(ctx context.Context) error {
	if db.cfg.ReloadEvery == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(db.cfg.ReloadEvery)
	defer tick.Stop()
	complained := db.complain(nil)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := db.Reload(); err != nil {
				db.log.Warn("geo data not reloaded, the old stays in use", zap.Error(err))
			}
			complained = db.complain(complained)
		}
	}
}

// complain tells the log of what became stale since it was last called.
func (db *DB) complain(before map[string]bool) map[string]bool {
	now := map[string]bool{}
	for _, s := range db.Stale() {
		if now[s.Name] = true; !before[s.Name] {
			db.log.Warn("geo data is stale, replace it", zap.Stringer("data", s))
		}
	}
	return now
}

// Stale lists the databases and lists in use that are older than they may be.
func (db *DB) Stale() []Stale {
	var stale []Stale
	db.current.Load().ages(db.now(), db.cfg.MaxAge, func(name string, age, limit time.Duration) {
		if limit > 0 && age > limit {
			stale = append(stale, Stale{name, age, limit})
		}
	})
	return stale
}

// ages calls fn for everything that has an age, with its limit, 0 for none. Things of one name in different folders are
// one; the first is the preferred one.
func (s *snapshot) ages(now time.Time, limit time.Duration, fn func(name string, age, limit time.Duration)) {
	seen := map[string]bool{}
	age := func(name string, built time.Time, limit time.Duration) {
		if !seen[name] && !built.IsZero() {
			seen[name] = true
			fn(name, now.Sub(built), limit)
		}
	}
	for _, f := range s.files {
		if f.kind != listFile {
			age(f.name(), f.built, limit)
		}
	}
	for _, l := range s.lists {
		if l.built != 0 {
			age(l.name, l.built.Time(), l.maxAge)
		}
	}
}

// load builds a snapshot. Parts of old stand in for files that cannot be loaded, and for those that did not change;
// without old, an error means that there is no snapshot.
func (db *DB) load(old *snapshot) (*snapshot, error) {
	cache, err := lru.New[netip.Addr, Info](db.cfg.CacheSize)
	if err != nil {
		return nil, fmt.Errorf("creating the address cache: %w", err)
	}
	next := &snapshot{cache: cache}
	var problems []error
	take := func(path string, kind kind) *file {
		var before *file
		if old != nil {
			before = old.file(path, kind)
		}
		f, err := openFile(path, kind, before)
		if err != nil {
			problems = append(problems, err)
			f = before
		}
		if f != nil {
			next.files = append(next.files, f)
		}
		return f
	}
	for _, path := range db.cfg.City {
		if f := take(path, cityFile); f != nil {
			next.cities = append(next.cities, f.city)
		}
	}
	for _, path := range db.cfg.ASN {
		if f := take(path, asnFile); f != nil {
			next.asns = append(next.asns, f.asn)
		}
	}
	for _, l := range db.cfg.ordered() {
		part := &list{name: l.Name, class: l.Class, built: events.MillisOf(l.Built)}
		// Validate has read the entries once, so that nothing can be wrong here.
		part.sets = append(part.sets, mustParseEntries(l.Entries))
		for _, path := range l.Files {
			f := take(path, listFile)
			if f == nil {
				continue
			}
			part.sets = append(part.sets, f.entries)
			if part.maxAge = l.MaxAge; part.maxAge == 0 {
				part.maxAge = db.cfg.MaxAge
			}
			// A list is as old as the oldest of its files.
			if built := events.MillisOf(f.built); l.Built.IsZero() && (part.built == 0 || built < part.built) {
				part.built = built
			}
		}
		next.lists = append(next.lists, part)
	}
	switch {
	case old == nil && len(problems) > 0:
		return nil, errors.Join(problems...)
	case old != nil && slices.Equal(old.files, next.files):
		return old, errors.Join(problems...) // and what it remembers of addresses
	}
	return next, errors.Join(problems...)
}

func (s *snapshot) file(path string, kind kind) *file {
	for _, f := range s.files {
		if f.path == path && f.kind == kind {
			return f
		}
	}
	return nil
}

// Lookup tells what is known of an address. Addresses mapped into IPv6 count as the IPv4 addresses they are, and a zone
// is ignored. An invalid address has the zero Info.
func (db *DB) Lookup(ip netip.Addr) Info {
	if !ip.IsValid() {
		return Info{}
	}
	ip = ip.Unmap().WithZone("")
	s := db.current.Load()
	if info, ok := s.cache.Get(ip); ok {
		db.metrics.lookups[info.Answer].Inc()
		return info
	}
	info := s.lookup(ip)
	s.cache.Add(ip, info)
	db.metrics.lookups[info.Answer].Inc()
	return info
}

func (s *snapshot) lookup(ip netip.Addr) Info {
	var info Info
	for _, c := range s.cities {
		answer, place := c.lookup(ip)
		if answer.rank() > info.Answer.rank() {
			info.Answer, info.Place = answer, place
		}
		if info.Answer == Located {
			break
		}
	}
	info.Network.Prefix = Prefix(ip)
	for _, source := range s.asns {
		if asn, org, ok := source.lookup(ip); ok {
			info.Network.ASN, info.Network.Org = asn, org
			break
		}
	}
	classify(s.lists, ip, &info.Network)
	return info
}

// rank orders answers by how much they tell.
func (a Answer) rank() int {
	switch a {
	case Broken:
		return 1
	case Empty:
		return 2
	case CountryOnly:
		return 3
	case Located:
		return 4
	case NotFound:
	}
	return 0
}

// Prefix is the /24 or /48 around an address, as text; "" when the address is invalid.
func Prefix(ip netip.Addr) string {
	bits := 48
	if ip = ip.Unmap(); ip.Is4() {
		bits = 24
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}
