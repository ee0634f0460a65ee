package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// errFenced means that another member owns the partition now: drop everything and leave the generation.
var errFenced = errors.New("partition is owned by another member")

// claim appends a checkpoint with the next epoch, reads on to its own place in the log, and returns the owned
// partition. Records of the former owner that lie before the claim count; those after it are late.
func (w *worker) claim(ctx context.Context, r *restorer, end, next int64) (*partition, error) {
	had := r.hasCkpt
	for losses := 0; ; {
		ck := w.checkpoint(r.top.Epoch+1, 0, next, r.ckpt.Guarded)
		ck.Claim = true
		base, err := w.appendClaim(ctx, &ck, end)
		if err != nil {
			return nil, err
		}
		rival := false
		var failed error
		err = w.c.scan(w.cfg.State, w.id, end).until(ctx, base, w.trouble, func(rec *Record) error {
			if w.isClaim(rec, &ck) {
				return nil // an attempt of this claim that was thought lost
			}
			failed = r.add(rec)
			rival = rival || r.top.Epoch >= ck.Epoch
			return failed
		})
		if failed != nil {
			return nil, w.stop(StopFormat, failed)
		}
		if err != nil {
			return nil, w.readError(err)
		}
		if !r.settled() {
			return nil, errRestoreAgain
		}
		if r.hasCkpt && (r.ckpt.NextOffset > next || !had) {
			next = r.ckpt.NextOffset // the former owner got further before the claim
		}
		if !rival {
			w.c.metrics.claims.WithLabelValues(w.cfg.Input, claimWon).Inc()
			return w.won(ctx, r, &ck, base+1, next)
		}
		w.c.metrics.claims.WithLabelValues(w.cfg.Input, claimLost).Inc()
		if losses++; losses == 2 {
			return nil, fmt.Errorf("lost %d claims: %w", losses, errFenced)
		}
		if err := w.commits.alive(w.id, next); err != nil {
			return nil, fmt.Errorf("generation is over (%w): %w", err, errFenced)
		}
		end = base + 1
	}
}

// won builds the owned partition from a restore and its claim.
func (w *worker) won(ctx context.Context, r *restorer, ck *checkpoint, end, next int64) (*partition, error) {
	dirty, err := r.finish()
	if err != nil {
		return nil, w.stop(StopFormat, err)
	}
	p := &partition{proc: r.proc, epoch: ck.Epoch, seq: ck.Seq, end: end, next: next, guards: r.guards, dirty: dirty, shadowed: make(map[string]map[string]struct{})}
	if len(dirty) > 0 {
		w.c.metrics.zombies.WithLabelValues(w.cfg.State).Add(float64(len(dirty)))
	}
	for k, last := range p.guards {
		if last < next {
			delete(p.guards, k)
		}
		p.guardEnd = max(p.guardEnd, last+1)
	}
	if err := w.openGuarded(ctx, p, r.ckpt.Guarded); err != nil {
		return nil, err
	}
	return p, nil
}

// reclaim takes a partition up again that the last generation drained cleanly. Its memory is right exactly if nobody
// wrote to the state partition since, which the claim's own offset tells.
func (w *worker) reclaim(ctx context.Context, p *partition) bool {
	ck := w.checkpoint(p.epoch+1, 0, p.next, p.guarded)
	ck.Claim = true
	base, err := w.appendClaim(ctx, &ck, p.end)
	if err != nil || base != p.end {
		return false
	}
	p.epoch, p.seq, p.end = ck.Epoch, ck.Seq, base+1
	w.c.metrics.claims.WithLabelValues(w.cfg.Input, claimReused).Inc()
	return true
}

func (w *worker) appendClaim(ctx context.Context, ck *checkpoint, from int64) (int64, error) {
	w.at(stepClaim)
	w.enc.reset()
	if err := w.encodeCheckpoint(ck); err != nil {
		return 0, err
	}
	raw, err := w.enc.finish()
	if err != nil {
		return 0, err
	}
	return w.append(ctx, raw, from, func(rec *Record) bool { return w.isClaim(rec, ck) })
}

// isClaim reports whether rec is ck, whichever attempt wrote it.
func (w *worker) isClaim(rec *Record, ck *checkpoint) bool {
	if !bytes.Equal(rec.Key, checkpointKey) {
		return false
	}
	got, err := parseCheckpoint(rec.Value)
	return err == nil && got.Epoch == ck.Epoch && got.Seq == ck.Seq && got.Member == ck.Member && got.Generation == ck.Generation
}
