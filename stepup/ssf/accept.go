package stepupssf

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-io/countersign/stepup"
)

// id names a SET in memory.
type id [16]byte

func idOf(issuer, jti string) (key id) {
	sum := sha256.Sum256([]byte(issuer + "\x00" + jti))
	copy(key[:], sum[:])
	return key
}

const (
	// maxKnown bounds the SETs that are known as repeats; past it the oldest is forgotten, whose repeat could only tell the
	// application of an event again: the index takes no harm.
	maxKnown = 1 << 16
	// maxWaiting bounds the SETs that the application has not been told of.
	maxWaiting = 4096
)

// accepting knows what was accepted, and what is being accepted right now. Receiver.mu guards it.
type accepting struct {
	known map[id]struct{}
	order []id // of known, a ring once it is full
	at    int
	going map[id]chan struct{}
}

func newAccepting() accepting {
	return accepting{known: map[id]struct{}{}, going: map[id]chan struct{}{}}
}

func (a *accepting) add(key id) {
	if _, ok := a.known[key]; ok {
		return
	}
	a.known[key] = struct{}{}
	if len(a.order) < maxKnown {
		a.order = append(a.order, key)
		return
	}
	delete(a.known, a.order[a.at])
	a.order[a.at] = key
	a.at = (a.at + 1) % maxKnown
}

// task is something that the application is to be told.
type task struct {
	issuer, jti string
	claims      *stepup.Claims
	event       *Event
}

// errBusy is returned when the application does not keep up.
var errBusy = errors.New("the application has too many events to be told of")

// accept keeps records of different SETs, and then lets them have their effect; the errors are theirs, in the same order.
// Only then are they known as repeats: what could not be kept is sent again, and that must not count as one.
func (r *Receiver) accept(records []Record) []error {
	errs := make([]error, len(records))
	done := make([]func(accepted bool), len(records)) // nil for what is not to be accepted now
	var keep []Record
	var kept []int // where these are in records
	for i := range records {
		rec := &records[i]
		var repeat bool
		repeat, done[i], errs[i] = r.claim(idOf(rec.Issuer, rec.JTI))
		if errs[i] != nil || repeat {
			continue
		}
		hook := rec.Claims != nil && r.cfg.Applied != nil || rec.Event != nil && r.cfg.OnEvent != nil
		if !hook {
			rec.Event, rec.Done = nil, true
		}
		if rec.Claims != nil || rec.Event != nil { // else there is nothing that could be lost
			keep, kept = append(keep, *rec), append(kept, i)
		}
	}
	for n, err := range r.keep(keep) {
		errs[kept[n]] = err
	}
	for i, rec := range records {
		if done[i] == nil {
			continue
		}
		if errs[i] == nil {
			r.stats.accepted.Add(1)
			r.apply(rec)
		}
		done[i](errs[i] == nil)
	}
	return errs
}

// keep has the store accept records, all at once if it can, which is one sync. Where they do not fit together, each is tried.
func (r *Receiver) keep(records []Record) []error {
	errs := make([]error, len(records))
	if len(records) > 1 && r.cfg.Store.Accept(records...) == nil {
		return errs
	}
	for i, rec := range records {
		if err := r.cfg.Store.Accept(rec); err != nil {
			errs[i] = fmt.Errorf("keeping the SET: %w", err)
		}
	}
	return errs
}

// claim makes the caller the one who accepts a SET, until it calls done. A second copy that comes meanwhile waits, for it
// may be the one to be kept if the first is not.
func (r *Receiver) claim(key id) (repeat bool, done func(accepted bool), err error) {
	r.mu.Lock()
	for r.going[key] != nil {
		other := r.going[key]
		r.mu.Unlock()
		<-other
		r.mu.Lock()
	}
	defer r.mu.Unlock()
	if _, known := r.known[key]; known {
		r.stats.repeated.Add(1)
		return true, nil, nil
	}
	if len(r.waiting)+len(r.going) >= maxWaiting {
		return false, nil, errBusy
	}
	over := make(chan struct{})
	r.going[key] = over
	return false, func(accepted bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.going, key)
		if accepted {
			r.add(key)
		}
		close(over)
	}, nil
}

// apply lets an accepted record have its effect, and leaves to Run what the application is to be told.
func (r *Receiver) apply(rec Record) {
	t := task{issuer: rec.Issuer, jti: rec.JTI, event: rec.Event}
	if rec.Claims != nil && r.index.Apply(*rec.Claims) {
		t.claims = rec.Claims
	}
	if rec.Done {
		return
	}
	r.mu.Lock()
	r.waiting = append(r.waiting, t)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// load takes in what was accepted before the application ended: the effect that it had, or did not come to have.
func (r *Receiver) load() error {
	return r.cfg.Store.Load(func(rec Record) error {
		r.mu.Lock()
		r.add(idOf(rec.Issuer, rec.JTI))
		r.mu.Unlock()
		r.apply(rec)
		return nil
	})
}

// tell tells the application of what was accepted, until ctx ends. What it was not told of by then, it is told after the
// next start.
func (r *Receiver) tell(ctx context.Context) {
	for ctx.Err() == nil {
		r.mu.Lock()
		var t task
		some := len(r.waiting) > 0
		if some {
			t = r.waiting[0]
		}
		r.mu.Unlock()
		if !some {
			select {
			case <-ctx.Done():
			case <-r.wake:
			}
			continue
		}
		switch {
		case t.claims != nil && r.cfg.Applied != nil:
			r.cfg.Applied(*t.claims)
		case t.event != nil && r.cfg.OnEvent != nil:
			r.cfg.OnEvent(*t.event)
		}
		if err := r.cfg.Store.Done(t.issuer, t.jti); err != nil {
			r.log.Warn("the application may be told again of a SET", "jti", t.jti, "error", err)
		}
		r.mu.Lock()
		r.waiting[0] = task{}
		r.waiting = r.waiting[1:]
		r.mu.Unlock()
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
