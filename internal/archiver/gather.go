package archiver

import (
	"context"
	"errors"
	"time"

	"github.com/countersign-io/countersign/internal/history"
)

// portion is the rows of one partition's batch on their way into an insert.
type portion struct {
	ctx    context.Context //nolint:containedctx // it ends when the partition is taken away, and the rows with it
	block  *history.Block
	newest time.Time
	done   chan error
}

// gatherer joins the portions of a table's partitions into inserts. One goroutine gathers, and up to Config.Inserters
// insert; while all are busy it gathers on, so that inserts grow with the load.
type gatherer struct {
	a     *Archiver
	table history.Table
	in    chan *portion
	slots chan struct{}
}

func newGatherer(a *Archiver, table history.Table) *gatherer {
	return &gatherer{a: a, table: table, in: make(chan *portion), slots: make(chan struct{}, a.cfg.Inserters)}
}

// insert hands a portion in and waits until it is durable. It returns a [history.RejectedError] when some row of the
// insert, of this portion or another, was at fault. When the portion's context has ended the rows may or may not be
// written, and the block must not be touched again.
func (g *gatherer) insert(ctx context.Context, p *portion) error {
	buffered := g.a.metrics.buffered.WithLabelValues(string(g.table))
	rows := float64(p.block.Len())
	buffered.Add(rows)
	defer buffered.Sub(rows)
	select {
	case g.in <- p:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run gathers until ctx ends.
func (g *gatherer) run(ctx context.Context) {
	var carry *portion
	for {
		if carry == nil {
			select {
			case carry = <-g.in:
			case <-ctx.Done():
				return
			}
		}
		var list []*portion
		list, carry = g.gather(ctx, carry)
		if ctx.Err() != nil {
			return
		}
		list = remaining(list)
		go func() {
			defer func() { <-g.slots }()
			g.write(ctx, list)
		}()
	}
}

// gather joins portions to the first one: until the flush interval is over, or there are rows enough, and then on until
// an inserter is free, which it takes. The portion that would have been too much is carried into the next insert.
func (g *gatherer) gather(ctx context.Context, first *portion) (list []*portion, carry *portion) {
	list = append(list, first)
	rows := first.block.Len()
	timer := time.NewTimer(g.a.cfg.FlushInterval)
	defer timer.Stop()
	due := rows >= g.a.cfg.FlushRows
	for {
		in, slots := g.in, g.slots
		if !due {
			slots = nil
		}
		if carry != nil {
			in = nil
		}
		select {
		case p := <-in:
			if rows+p.block.Len() > g.a.cfg.MaxRows {
				carry, due = p, true
				continue
			}
			list = append(list, p)
			rows += p.block.Len()
			due = due || rows >= g.a.cfg.FlushRows
		case <-timer.C:
			due = true
		case slots <- struct{}{}:
			return list, carry
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// remaining leaves out the portions of partitions that were taken away meanwhile.
func remaining(list []*portion) []*portion {
	kept := list[:0]
	for _, p := range list {
		if p.ctx.Err() == nil {
			kept = append(kept, p)
		}
	}
	return kept
}

// write inserts portions as one, for as long as it takes, and tells each.
func (g *gatherer) write(ctx context.Context, list []*portion) {
	if len(list) == 0 {
		return
	}
	var (
		blocks []*history.Block
		newest time.Time
	)
	for _, p := range list {
		blocks = append(blocks, p.block)
		if p.newest.After(newest) {
			newest = p.newest
		}
	}
	err := g.a.insert(ctx, g.table, newest, blocks...)
	for _, p := range list {
		p.done <- err
	}
}

// insert makes rows durable, for as long as it takes. It gives up only when ctx ends or the rows are at fault.
func (a *Archiver) insert(ctx context.Context, table history.Table, newest time.Time, blocks ...*history.Block) error {
	err := a.untilDone(ctx, func() error {
		start := time.Now()
		err := a.deps.Store.Insert(ctx, blocks...)
		if err == nil {
			rows := 0
			for _, b := range blocks {
				rows += b.Len()
			}
			a.metrics.inserted(table, rows, time.Since(start), time.Since(newest))
		} else if !isRejected(err) {
			a.metrics.retries.WithLabelValues(string(table)).Inc()
		}
		return err
	}, isRejected)
	if err == nil {
		err = ctx.Err()
	}
	return err
}

func isRejected(err error) bool {
	var rejected *history.RejectedError
	return errors.As(err, &rejected)
}
