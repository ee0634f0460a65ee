// Package simulate plays a simulated company (internal/eval/company) to countersign: as fast as it goes, in real time, or
// faster than real time, to a writer, to the HTTP ingest or straight to Kafka.
package simulate

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

// Sink takes events in, in order. It returns when it has them for good.
type Sink func(ctx context.Context, batch []events.Event) error

// Pace says how the simulated time runs.
type Pace struct {
	// Speed is simulated seconds a second; 0 is as fast as the sink takes them.
	Speed float64
	// Skip is the simulated time until which events go out as fast as the sink takes them; Speed holds from there.
	Skip events.Millis
	// Live keeps the simulated time from running ahead of the clock: once it has caught up, it runs in real time.
	Live bool
}

const (
	// usualBatch fits the body that an ingest takes.
	usualBatch = 500
	// maxPause is how long a due event may wait for its batch.
	maxPause = 250 * time.Millisecond
)

// Player plays a company to a sink.
type Player struct {
	Company *company.Company
	Sink    Sink
	Pace    Pace
	// Batch is how many events go to the sink at a time; 0 means 500.
	Batch int
	// Labels, when set, is told of every event with its label, before the event goes out.
	Labels func(e *events.Event, label company.Label)
	// Progress, when set, is told the number of events that went out.
	Progress func(sent int)
}

// Run plays until the company's stream ends or ctx does. Events that fell due are sent before it returns nil.
func (p *Player) Run(ctx context.Context) error {
	clock := simClock{pace: p.Pace, last: p.Pace.Skip}
	var batch []events.Event
	sent, full := 0, cmp.Or(p.Batch, usualBatch)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := p.Sink(ctx, batch); err != nil {
			return fmt.Errorf("sending %d simulated events: %w", len(batch), err)
		}
		sent += len(batch)
		batch = batch[:0]
		if p.Progress != nil {
			p.Progress(sent)
		}
		return nil
	}
	for {
		var e events.Event
		label, ok := p.Company.Next(&e)
		if !ok {
			return flush()
		}
		if wait := clock.until(e.Time, time.Now()); wait > 0 {
			if err := flush(); err != nil {
				return err
			}
			if !pause(ctx, &clock, e.Time) {
				return nil
			}
		}
		if p.Labels != nil {
			p.Labels(&e, label)
		}
		if batch = append(batch, e); len(batch) >= full {
			if err := flush(); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is no error
		}
	}
}

// pause waits until the event's time has come.
func pause(ctx context.Context, clock *simClock, at events.Millis) bool {
	for {
		wait := clock.until(at, time.Now())
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(min(wait, maxPause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

// simClock tells the simulated time of a moment.
type simClock struct {
	pace  Pace
	began time.Time
	last  events.Millis
}

// until is how long to wait for a simulated time.
func (c *simClock) until(at events.Millis, now time.Time) time.Duration {
	if c.pace.Speed == 0 || at <= c.pace.Skip {
		return 0
	}
	if c.began.IsZero() {
		c.began = now
		if c.last == 0 {
			c.last = at // without a skip the first event is due at once
		}
	}
	due := c.began.Add(time.Duration(float64(at-c.last) * float64(time.Millisecond) / c.pace.Speed))
	if c.pace.Live {
		if clock := at.Time(); clock.After(due) {
			due = clock
		}
	}
	return due.Sub(now)
}

// Lines writes events as NDJSON.
func Lines(w io.Writer) Sink {
	return func(_ context.Context, batch []events.Event) error {
		for i := range batch {
			if _, err := w.Write(append(events.Encode(&batch[i]), '\n')); err != nil {
				return err
			}
		}
		return nil
	}
}

// Kafka publishes events straight to the event topic. They must carry the time of acceptance, or be of a past of which
// nobody knows it: countersign then takes the time of the event.
func Kafka(p *stream.Publisher) Sink {
	return func(ctx context.Context, batch []events.Event) error {
		records := make([]stream.Record, len(batch))
		for i := range batch {
			records[i] = stream.Record{Key: []byte(batch[i].Key()), Value: events.Encode(&batch[i])}
		}
		return p.Publish(ctx, events.TopicEvents, records)
	}
}

// HTTP posts events to an ingest. An ingest that is busy or away is asked again, for as long as ctx lives: its answer
// decides when. Events it refuses are an error.
func HTTP(client *http.Client, url, token string) Sink {
	return func(ctx context.Context, batch []events.Event) error {
		var body bytes.Buffer
		if err := Lines(&body)(ctx, batch); err != nil {
			return err
		}
		for tries := 1; ; tries++ {
			again, err := post(ctx, client, url, token, body.Bytes())
			if err == nil {
				return nil
			}
			if again == 0 || ctx.Err() != nil {
				return err
			}
			timer := time.NewTimer(again)
			select {
			case <-ctx.Done():
				timer.Stop()
				return err
			case <-timer.C:
			}
		}
	}
}

// post sends one body. again is how long to wait before another try, 0 when there is no point in one.
func post(ctx context.Context, client *http.Client, url, token string, body []byte) (again time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := client.Do(req)
	if err != nil {
		return time.Second, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return time.Second, err
	}
	switch {
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable:
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil || seconds < 1 || seconds > 60 {
			seconds = 1
		}
		return time.Duration(seconds) * time.Second, fmt.Errorf("ingest is busy: %s", res.Status)
	case res.StatusCode/100 != 2:
		return 0, fmt.Errorf("ingest answered %s: %.300s", res.Status, answer)
	}
	var result struct {
		Rejected []struct {
			Line  int    `json:"line"`
			Error string `json:"error"`
		} `json:"rejected"`
	}
	if err := json.Unmarshal(answer, &result); err != nil {
		return 0, fmt.Errorf("reading ingest's answer: %w", err)
	}
	if len(result.Rejected) > 0 {
		return 0, errors.New("ingest refused line " + strconv.Itoa(result.Rejected[0].Line) + ": " + result.Rejected[0].Error)
	}
	return 0, nil
}
