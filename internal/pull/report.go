package pull

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ingest"
)

// Reporter is told what became of the records of a source that sends on its own.
type Reporter interface {
	// Report takes what became of one delivery, or the error that ended it. It does not block.
	Report(source, format string, result ingest.Result, err error)
}

var _ Reporter = (*Cursors)(nil)

// reportEvery is how often reports are written.
const reportEvery = 10 * time.Second

// tally adds up the reports of a source since the last one that was written.
type tally struct {
	format    string
	delta     Status // the counters and LastEvent only
	worked    events.Millis
	err       string
	errorFrom events.Millis // of the first error after the last success
}

// Report adds a report to those that Run writes.
func (c *Cursors) Report(source, format string, result ingest.Result, err error) {
	now := events.MillisOf(time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallies[source]
	if t == nil {
		t = &tally{}
		if limited(c.tallies, source, t) != nil {
			return // so many sources cannot be configured
		}
	}
	t.format = format
	t.delta.add(result)
	if err == nil {
		t.worked, t.err, t.errorFrom = now, "", 0
		return
	}
	if t.err == "" {
		t.errorFrom = now
	}
	t.err = oneLine(err)
}

// Run writes the reports every 10 s until ctx ends, once more then, and returns nil. Several processes may report of one
// source: each adds what it saw to the newest status, so that counters are exact unless two write at the same moment.
func (c *Cursors) Run(ctx context.Context) error {
	n := newNotice(c.log, "writing the sources' status", "the sources' status is written again")
	for sleep(ctx, reportEvery) {
		bounded, cancel := context.WithTimeout(ctx, reportEvery)
		if err := c.flush(bounded); err != nil && ctx.Err() == nil {
			n.failed(err)
		} else {
			n.worked()
		}
		cancel()
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := c.flush(last); err != nil {
		n.failed(err)
	}
	return nil
}

// flush writes what was reported. What cannot be written is kept for the next time.
func (c *Cursors) flush(ctx context.Context) error {
	c.mu.Lock()
	tallies := c.tallies
	c.tallies = make(map[string]*tally)
	c.mu.Unlock()
	if len(tallies) == 0 {
		return nil
	}
	err := c.Refresh(ctx)
	var problems []error
	for _, source := range slices.Sorted(maps.Keys(tallies)) {
		failed := err
		if failed == nil {
			failed = c.addTo(ctx, source, tallies[source])
			problems = append(problems, failed)
		}
		if failed != nil {
			c.putBack(source, tallies[source])
		}
	}
	return errors.Join(append(problems, err)...)
}

// addTo writes a tally onto the newest status of its source.
func (c *Cursors) addTo(ctx context.Context, source string, t *tally) error {
	status, err := c.Get(source)
	if err != nil {
		return err
	}
	return c.Put(ctx, t.onto(source, status))
}

// onto returns status with what was reported since.
func (t *tally) onto(source string, s Status) Status {
	s.Source, s.Format, s.Updated = source, t.format, events.MillisOf(time.Now())
	s.merge(&t.delta)
	if t.worked != 0 {
		s.LastSuccess, s.Error, s.ErrorSince = t.worked, "", 0
	}
	if t.err != "" {
		if s.Error == "" {
			s.ErrorSince = t.errorFrom
		}
		s.Error = t.err
	}
	return s
}

func (s *Status) merge(d *Status) {
	s.Accepted += d.Accepted
	s.Duplicates += d.Duplicates
	s.Skipped += d.Skipped
	s.Rejected += d.Rejected
	s.LastEvent = max(s.LastEvent, d.LastEvent)
}

// putBack adds a tally that could not be written to what came since.
func (c *Cursors) putBack(source string, old *tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallies[source]
	if t == nil {
		c.tallies[source] = old
		return
	}
	t.delta.merge(&old.delta)
	if t.worked == 0 {
		t.worked = old.worked
		if old.err != "" {
			t.errorFrom = old.errorFrom
			if t.err == "" {
				t.err = old.err
			}
		}
	}
}
