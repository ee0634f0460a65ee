package act

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

const (
	// fresh is how old a record may be to be acted on without a look at what follows it on the log.
	fresh = 10 * time.Second
	// lookEvery bounds how often one batch is compared with the end of the log.
	lookEvery = 10 * time.Second
)

// outlook knows which requirements of a batch have ended since: what waits for a source that is down, or is read late, must
// not be done to a user who has proved who they are in the meantime.
type outlook struct {
	log       Log
	partition int

	mu     sync.Mutex
	wanted map[string]bool  // keys of the batch
	ended  map[string]int64 // the offset at which each has ended
	next   int64            // where the next look begins
	looked time.Time
}

func newOutlook(log Log, partition int, batch []stream.Record) *outlook {
	o := &outlook{
		log: log, partition: partition, wanted: make(map[string]bool, len(batch)), ended: map[string]int64{},
		next: batch[len(batch)-1].Offset + 1,
	}
	for i := range batch {
		o.wanted[string(batch[i].Key)] = true
		o.see(&batch[i])
	}
	return o
}

// see takes in one record.
func (o *outlook) see(r *stream.Record) {
	key := string(r.Key)
	if !o.wanted[key] {
		return
	}
	if r.Value != nil {
		if c, err := revocation.ParseClaims(r.Value); err != nil || c.Status == revocation.Open {
			return // what cannot be read says nothing
		}
	}
	o.ended[key] = r.Offset
}

// closed reports whether the requirement of an open record has ended, as far as the log tells.
func (o *outlook) closed(ctx context.Context, r *stream.Record, now time.Time) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(r.Time) > fresh && now.Sub(o.looked) > lookEvery {
		if err := o.look(ctx); err != nil {
			return false, err
		}
		o.looked = now
	}
	at, ended := o.ended[string(r.Key)]
	return ended && at > r.Offset, nil
}

// look reads on to the end of the log.
func (o *outlook) look(ctx context.Context) error {
	_, ends, err := o.log.Ends(ctx, events.TopicRevocations)
	if err != nil {
		return fmt.Errorf("finding the end of %s: %w", events.TopicRevocations, err)
	}
	if o.partition >= len(ends) {
		return fmt.Errorf("%s has %d partitions, and no number %d", events.TopicRevocations, len(ends), o.partition)
	}
	if ends[o.partition] <= o.next {
		return nil
	}
	o.next, err = o.log.ReadRange(ctx, events.TopicRevocations, o.partition, o.next, ends[o.partition], func(r stream.Record) error {
		o.see(&r)
		return nil
	})
	if err != nil {
		return fmt.Errorf("looking whether requirements have ended: %w", err)
	}
	return nil
}
