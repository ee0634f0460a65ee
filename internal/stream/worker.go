package stream

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The numbered steps of the protocol that owner.step is called before.
const (
	stepClaim   = 0 // append the claim
	stepProcess = 1 // decide on copies
	stepOutputs = 2 // produce outputs
	stepState   = 3 // append state and checkpoint
	stepCommit  = 4 // swap the copies in
	stepDone    = 5 // the batch is behind us
)

// partition is an owned partition in memory. Between batches it equals the log up to end.
type partition struct {
	proc  Processor
	epoch int64
	seq   int64 // of the newest state batch
	end   int64 // of the state partition: the offset that our next batch must get
	next  int64 // input offset

	guards   map[string]int64    // replayed records at or below are in the state already
	guardEnd int64               // no guard at or past
	dirty    map[string]struct{} // keys to write again from memory

	guarded  map[string]int64               // by guarded topic: the offset our next record must get
	shadowed map[string]map[string]struct{} // by guarded topic: keys to write again
}

// worker runs one partition of one generation, on one goroutine.
type worker struct {
	o           *owner
	c           *Cluster
	cfg         *OwnerConfig
	id          int
	member      string
	generation  int32
	groupOffset int64 // committed by the group; negative for none
	kept        *partition
	commits     *committer

	cluster    string
	partitions int
	enc        batchEncoder
	batch      []Record
	scratch    []byte
}

func (w *worker) at(step int) {
	if w.o.step != nil {
		w.o.step(step, w.id)
	}
}

// trouble reports what is going to be retried.
func (w *worker) trouble(err error) { w.o.report(w.id, err) }

func (w *worker) stop(reason Reason, err error) error {
	return &StopError{Topic: w.cfg.Input, Partition: w.id, Reason: reason, Err: err}
}

// run owns the partition until the generation ends. It returns earlier only to leave the generation, because that ends
// it for all partitions of this process.
func (w *worker) run(ctx context.Context) {
	work, cancel := drainContext(ctx, w.cfg.DrainTimeout)
	defer cancel()
	m := w.c.metrics
	for attempt := 0; ctx.Err() == nil; attempt++ {
		began := time.Now()
		err := w.own(ctx, work)
		if ctx.Err() != nil {
			break
		}
		var stop *StopError
		switch {
		case errors.As(err, &stop):
			m.stopped.WithLabelValues(w.cfg.Input, label(w.id), string(stop.Reason)).Set(1)
			w.trouble(err)
			<-ctx.Done()
			m.stopped.DeleteLabelValues(w.cfg.Input, label(w.id), string(stop.Reason))
		case errors.Is(err, errFenced):
			w.trouble(err)
			sleep(ctx, time.Second) // two groups on one state topic must not spin
			return
		default:
			w.trouble(err)
			if time.Since(began) > time.Minute {
				attempt = 0
			}
			sleep(ctx, backoff(attempt))
		}
	}
	m.epoch.DeleteLabelValues(w.cfg.Input, label(w.id))
	m.lag.DeleteLabelValues(w.cfg.Input, label(w.id))
	m.durable.DeleteLabelValues(w.cfg.Input, label(w.id))
}

// drainContext outlives ctx by at most d.
func drainContext(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(d, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	return work, func() { stop(); cancel() }
}

func (w *worker) own(ctx, work context.Context) error {
	p, err := w.acquire(ctx)
	if err != nil {
		return err
	}
	w.c.metrics.epoch.WithLabelValues(w.cfg.Input, label(w.id)).Set(float64(p.epoch))
	if err := w.loop(ctx, work, p); err != nil {
		return err
	}
	w.o.keep(w.id, p)
	return nil
}

func (w *worker) acquire(ctx context.Context) (*partition, error) {
	if p := w.kept; p != nil {
		w.kept = nil
		var err error
		if w.cluster, err = w.c.clusterID(ctx); err != nil {
			return nil, err
		}
		if w.partitions, err = w.c.askPartitions(ctx, w.cfg.Input); err != nil {
			return nil, err
		}
		if w.reclaim(ctx, p) {
			return p, nil
		}
	}
	return w.restore(ctx)
}

// loop processes batches until ctx ends, which it survives long enough to finish the batch in hand within work. A nil
// error means that p is exactly what the log says.
func (w *worker) loop(ctx, work context.Context, p *partition) error {
	inputCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := &input{
		c: w.c, topic: w.cfg.Input, partition: w.id, report: w.trouble,
		minBytes: 1, maxBytes: w.cfg.FetchBytes, wait: 250 * time.Millisecond,
	}
	in.start(inputCtx, p.next)
	if err := w.repair(work, p); err != nil {
		return err
	}
	if w.cfg.Live != nil {
		w.cfg.Live(w.id, p.next)
	}
	var written time.Time
	unwritten := false // the checkpoint in the log is behind p.next
	durable := func() {
		written, unwritten = time.Now(), false
		w.c.metrics.durable.WithLabelValues(w.cfg.Input, label(w.id)).Set(float64(written.UnixMilli()) / 1000)
	}
	durable()
	timer := time.NewTimer(w.cfg.IdleCheckpoint)
	defer timer.Stop()
	var rest chunk // the part of a chunk that did not fit the last batch
	var taken []Record
	for {
		if len(rest.records) == 0 && rest.err == nil {
			due := w.cfg.IdleCheckpoint
			if unwritten {
				due = min(due, time.Second)
			}
			timer.Reset(max(0, due-time.Since(written)))
			select {
			case <-ctx.Done():
				if unwritten {
					return w.checkpointNow(work, p)
				}
				return nil
			case <-timer.C:
				if err := w.checkpointNow(work, p); err != nil {
					return err
				}
				durable()
				continue
			case rest = <-in.out:
				taken = rest.records
			}
		} else if ctx.Err() != nil {
			if unwritten {
				return w.checkpointNow(work, p)
			}
			return nil
		}
		if rest.err != nil {
			return rest.err // the restore that follows decides whether that may be passed over
		}
		began := time.Now()
		batch, next := w.batch[:0], p.next
		for len(batch) < w.cfg.MaxBatch {
			n := min(len(rest.records), w.cfg.MaxBatch-len(batch))
			batch = w.gather(p, batch, rest.records[:n])
			if n < len(rest.records) {
				next = rest.records[n-1].Offset + 1
				rest.records = rest.records[n:]
				break
			}
			next, rest.records = rest.next, nil
			in.recycle(taken)
			taken = nil
			if !more(in, &rest) {
				break
			}
			taken = rest.records
			if rest.err != nil {
				break // dealt with in the next round
			}
		}
		w.batch = batch
		changed, err := w.process(work, p, batch, next)
		if err != nil {
			return err
		}
		clear(batch)
		if changed || time.Since(written) > time.Second {
			if !changed {
				if err := w.checkpointNow(work, p); err != nil {
					return err
				}
			}
			durable()
		} else {
			unwritten = true
		}
		w.c.metrics.lag.WithLabelValues(w.cfg.Input, label(w.id)).Set(float64(max(0, in.high.Load()-p.next)))
		if changed {
			w.c.metrics.batch.WithLabelValues(w.cfg.Input).Observe(time.Since(began).Seconds())
		}
	}
}

// more takes a further chunk if one is ready.
func more(in *input, into *chunk) bool {
	select {
	case *into = <-in.out:
		return true
	default:
		*into = chunk{}
		return false
	}
}

// gather appends records to batch, without those that the restored state includes already.
func (w *worker) gather(p *partition, batch, records []Record) []Record {
	guarded := len(p.guards) > 0
	for i := range records {
		r := &records[i]
		if guarded && r.Offset < p.guardEnd {
			if last, ok := p.guards[string(r.Key)]; ok && r.Offset <= last {
				w.c.metrics.replayed.WithLabelValues(w.cfg.Input).Inc()
				continue
			}
		}
		if PartitionFor(r.Key, w.partitions) != w.id {
			r.Misplaced = true
			w.c.metrics.misplaced.WithLabelValues(w.cfg.Input).Inc()
		}
		batch = append(batch, *r)
	}
	if guarded && len(records) > 0 && records[len(records)-1].Offset >= p.guardEnd-1 {
		p.guards = nil
	}
	return batch
}

// process takes one batch through the steps of the protocol, in as many parts as the processor wants. changed says
// whether the checkpoint in the log is at next.
func (w *worker) process(ctx context.Context, p *partition, batch []Record, next int64) (changed bool, err error) {
	if len(batch) == 0 {
		p.next = next
		return false, nil
	}
	for len(batch) > 0 {
		var taken int
		if taken, changed, err = w.processPart(ctx, p, batch, next); err != nil {
			return false, err
		}
		batch = batch[taken:]
	}
	return changed, w.repair(ctx, p)
}

// processPart takes what the processor takes of a batch, at least one record, through the steps of the protocol.
func (w *worker) processPart(ctx context.Context, p *partition, batch []Record, next int64) (taken int, changed bool, err error) {
	w.at(stepProcess)
	res, err := p.proc.Process(ctx, batch)
	if err != nil {
		if ctx.Err() != nil {
			return 0, false, ctx.Err()
		}
		return 0, false, w.stop(StopProcessor, fmt.Errorf("offsets %d to %d: %w", batch[0].Offset, next-1, err))
	}
	taken = len(batch)
	if res.Taken > 0 && res.Taken < len(batch) {
		taken, next = res.Taken, batch[res.Taken].Offset
	}
	w.at(stepOutputs)
	for i := range res.Outputs {
		if err := w.produce(ctx, p, &res.Outputs[i]); err != nil {
			return 0, false, err
		}
	}
	changed = !res.Deferred && (len(res.State) > 0 || len(res.Outputs) > 0)
	if changed {
		w.at(stepState)
		if err := w.write(ctx, p, res.State, res.Together, next); err != nil {
			return 0, false, err
		}
	}
	w.at(stepCommit)
	if !res.Deferred {
		p.proc.Commit()
	}
	p.next = next
	if changed {
		w.commits.mark(w.id, next)
	}
	w.c.metrics.records.WithLabelValues(w.cfg.Input).Add(float64(taken))
	w.c.metrics.batches.WithLabelValues(w.cfg.Input).Inc()
	w.at(stepDone)
	return taken, changed, nil
}

// checkpointNow writes a checkpoint of where p is, with the state that a Deferrer has not written yet.
func (w *worker) checkpointNow(ctx context.Context, p *partition) error {
	if err := w.checkGuarded(ctx, p); err != nil {
		return err
	}
	if err := w.writeHere(ctx, p); err != nil {
		return err
	}
	w.commits.mark(w.id, p.next)
	return w.repair(ctx, p)
}

// writeHere makes p durable as it is.
func (w *worker) writeHere(ctx context.Context, p *partition) error {
	d, deferred := p.proc.(Deferrer)
	if !deferred {
		return w.write(ctx, p, nil, 0, p.next)
	}
	if err := w.write(ctx, p, d.Changed(), 0, p.next); err != nil {
		return err
	}
	p.proc.Commit()
	return nil
}

// repair writes again what late writes shadow, until nothing is shadowed. The checkpoint at the end of it knows the
// records just written to guarded outputs, or the next owner would take them for late ones.
func (w *worker) repair(ctx context.Context, p *partition) error {
	for len(p.dirty) > 0 || len(p.shadowed) > 0 {
		if err := w.rewriteGuarded(ctx, p); err != nil {
			return err
		}
		if err := w.writeHere(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
