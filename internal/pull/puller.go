package pull

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/stream"
)

// puller runs one source.
type puller struct {
	cfg      Config
	src      Source
	pipeline *ingest.Pipeline
	put      func(context.Context, Status) error
	recall   func(context.Context) error
	metrics  *metrics
	notice   *notice

	unsure bool // a page may be on the log in part, and its ids are not remembered

	mu      sync.Mutex // held while the status is written, so that the newest is written last
	status  Status
	written time.Time
}

// run asks the source again and again until ctx ends, and returns nil then.
func (p *puller) run(ctx context.Context) error {
	defer p.metrics.forget(p.src.Name)
	var beating sync.WaitGroup
	beating.Go(func() { p.beat(ctx) })
	defer beating.Wait()
	for failures := 0; ; {
		before := p.position()
		wait, err := p.fetch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			failures = 0
			p.succeeded(ctx)
			wait = max(wait, p.cfg.MinPause)
		} else {
			if !bytes.Equal(before, p.position()) {
				failures = 0 // it got on
			}
			p.failed(ctx, err)
			wait = p.cfg.pause(failures, err)
			failures++
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

func (p *puller) fetch(ctx context.Context) (time.Duration, error) {
	if err := p.settle(ctx); err != nil {
		return 0, err
	}
	outlive, stop := p.cfg.outlive(ctx)
	defer stop()
	return p.src.Fetcher.Fetch(ctx, p.position(), func(values [][]byte, next []byte) error {
		if err := ctx.Err(); err != nil {
			return err // no new page is begun
		}
		if err := p.acceptable(next); err != nil {
			return err
		}
		return p.take(outlive, values, next)
	})
}

// acceptable checks a position that a source gave; nil leaves it where it is.
func (p *puller) acceptable(next []byte) error {
	if len(next) > MaxPosition || next != nil && !json.Valid(next) {
		return fmt.Errorf("source %q gave a position of %d bytes, it must be JSON of at most %d", p.src.Name, len(next), MaxPosition)
	}
	return nil
}

// settle makes sure that what may be on the log of a page that failed is remembered before it is fetched again.
func (p *puller) settle(ctx context.Context) error {
	if !p.unsure {
		return nil
	}
	err := p.recall(ctx)
	p.unsure = err != nil
	return err
}

// take puts a page on the log and then keeps the position after it.
func (p *puller) take(ctx context.Context, values [][]byte, next []byte) error {
	result, err := p.ingest(ctx, values)
	p.metrics.count(p.src.Name, result)
	p.metrics.arrived(p.src.Name, result.LastEvent, time.Now())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.add(result)
	if err != nil {
		p.unsure = true
		return err
	}
	if next == nil {
		return nil
	}
	moved := !bytes.Equal(p.status.Position, next)
	p.status.Position = bytes.Clone(next)
	if err := p.write(ctx); err != nil {
		return err
	}
	if moved {
		p.metrics.position.WithLabelValues(p.src.Name).Set(seconds(time.Now()))
	}
	return nil
}

// ingest waits while the log is busy: unlike someone who sends, a source can.
func (p *puller) ingest(ctx context.Context, values [][]byte) (ingest.Result, error) {
	for {
		result, err := p.pipeline.Take(ctx, p.src.ingest(), values)
		if !errors.Is(err, stream.ErrOverloaded) || !sleep(ctx, 100*time.Millisecond) {
			return result, err
		}
	}
}

// add counts the records of a page.
func (s *Status) add(r ingest.Result) {
	s.Accepted += int64(r.Accepted)
	s.Duplicates += int64(r.Duplicates)
	s.Skipped += int64(r.Skipped)
	s.Rejected += int64(r.Rejected)
	s.LastEvent = max(s.LastEvent, r.LastEvent)
}

func (p *puller) position() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status.Position
}

// write puts the status; p.mu is held.
func (p *puller) write(ctx context.Context) error {
	now := time.Now()
	p.status.Updated = events.MillisOf(now)
	if err := p.put(ctx, p.status); err != nil {
		return err
	}
	p.written = now
	return nil
}

// succeeded notes that the source was asked to the end. That is written at once when it was not so before.
func (p *puller) succeeded(ctx context.Context) {
	now := time.Now()
	p.metrics.lastSuccess.WithLabelValues(p.src.Name).Set(seconds(now))
	p.notice.worked()
	p.mu.Lock()
	defer p.mu.Unlock()
	news := p.status.Error != "" || p.status.LastSuccess == 0
	p.status.LastSuccess, p.status.Error, p.status.ErrorSince = events.MillisOf(now), "", 0
	if news {
		p.tell(ctx)
	}
}

// failed notes what is wrong. That is written at once when it was not so before.
func (p *puller) failed(ctx context.Context, err error) {
	p.metrics.errors.WithLabelValues(p.src.Name).Inc()
	p.notice.failed(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	news := p.status.Error == ""
	if news {
		p.status.ErrorSince = events.MillisOf(time.Now())
	}
	p.status.Error = oneLine(err)
	if news {
		p.tell(ctx)
	}
}

// tell writes the status for people to see; p.mu is held. When that fails they see that it is not renewed, and taking
// the next page will fail as well and say so.
func (p *puller) tell(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DrainTimeout)
	defer cancel()
	_ = p.write(ctx)
}

// beat writes the status every now and then, as a sign of life.
func (p *puller) beat(ctx context.Context) {
	for sleep(ctx, p.cfg.Heartbeat) {
		p.mu.Lock()
		if time.Since(p.written) >= p.cfg.Heartbeat {
			p.tell(ctx)
		}
		p.mu.Unlock()
	}
}

// pause is how long to wait after an error: what the upstream asked for, else from MinPause up to MaxPause, doubled with
// every failure in a row, of which at random up to a half is left out so that many sources do not come back as one.
func (c *Config) pause(failures int, err error) time.Duration {
	var asked interface{ RetryAfter() time.Duration }
	if errors.As(err, &asked) && asked.RetryAfter() > 0 {
		return asked.RetryAfter()
	}
	longest := c.MaxPause
	if failures < 30 {
		longest = min(longest, c.MinPause<<failures)
	}
	return longest - rand.N(longest/2+1)
}

// outlive returns a context that ends DrainTimeout after ctx, for what should not be left half done.
func (c *Config) outlive(ctx context.Context) (context.Context, func()) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		sleep(out, c.DrainTimeout)
		cancel()
	})
	return out, func() { stop(); cancel() }
}

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
