package archiver

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/stream"
)

// sweepEvery is the pause between looks for rows of erased persons. Rows of before their erasure may still be on their way, on
// other topics, or come again when a group's offsets are set back.
const sweepEvery = time.Minute

// note keeps the erasures of a batch of events, and starts a sweep.
func (a *Archiver) note(ctx context.Context, s *sink, batch []stream.Record, erasures []int) error {
	if len(erasures) == 0 {
		return nil
	}
	block, now := history.NewErasures(), time.Now()
	dead := letters{a: a, sink: s}
	for _, i := range erasures {
		r := &batch[i]
		e, err := events.Decode(r.Value)
		if err == nil {
			err = block.Append(e, loggedAt(r, now))
		}
		if err != nil {
			dead.add(r, reasonUnreadable, err)
		}
	}
	if err := dead.send(ctx); err != nil {
		return err
	}
	if err := a.insert(ctx, history.TableErasures, now, &block.Block); err != nil {
		return err
	}
	select {
	case a.erased <- struct{}{}:
	default:
	}
	return nil
}

// sweep has the rows of erased persons deleted, until ctx ends.
func (a *Archiver) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	failing := false
	for {
		remaining, err := a.deps.Store.Erase(ctx)
		a.metrics.toErase.Set(float64(remaining))
		if err != nil && ctx.Err() == nil && !failing {
			a.log.Warn("erasing from the history, trying again every minute", zap.Error(err))
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-a.erased:
		case <-ctx.Done():
			return
		}
	}
}
