package courier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/ssf/dialect"
)

// result is what came of one attempt.
type result struct {
	outcome string
	// after is what the receiver asked us to wait; 0 for nothing.
	after  time.Duration
	reason string
}

// maxAnswer is what is read of a receiver's answer, in bytes.
const maxAnswer = 64 << 10

// push sends one SET (RFC 8935 §2.1) and judges the answer.
func (c *Courier) push(ctx context.Context, d *ssf.Delivery, compact string) result {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Outbound.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, strings.NewReader(compact))
	if err != nil {
		return result{outcome: outcomeDenied, reason: "the address of the receiver cannot be called"}
	}
	r.Header.Set("Content-Type", "application/secevent+jwt")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "countersign")
	if d.Authorization != "" {
		r.Header["Authorization"] = []string{d.Authorization}
	}
	answer, err := c.deps.Client.Do(r) //nolint:gosec // the client looks at each address that it dials
	if err != nil {
		return result{outcome: outcomeFailed, reason: networkReason(err)}
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	_ = answer.Body.Close()
	switch status := answer.StatusCode; {
	case status >= 200 && status < 300:
		return result{outcome: outcomeDelivered} // whatever the body may say
	case err != nil:
		return result{outcome: outcomeFailed, reason: networkReason(err)}
	case status == http.StatusBadRequest:
		return refusal(answer.Header, body)
	case status == http.StatusRequestEntityTooLarge:
		return result{outcome: outcomeRejected, reason: "413: the receiver takes no SET of this size"}
	case status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500 || status == http.StatusTooEarly:
		return result{outcome: outcomeFailed, reason: "the receiver answered " + strconv.Itoa(status), after: retryAfter(answer.Header, time.Now())}
	default:
		// 401, 403, 404 and what else a wrong address or secret leads to, redirects among them: a person has to mend it.
		return result{outcome: outcomeDenied, reason: "the receiver answered " + strconv.Itoa(status), after: retryAfter(answer.Header, time.Now())}
	}
}

// networkReason is an error of a request without the address, which may hold a secret.
func networkReason(err error) string {
	type unwrapper interface{ Unwrap() error }
	if u, ok := err.(unwrapper); ok && u.Unwrap() != nil { // only the outermost, *url.Error, has the address
		err = u.Unwrap()
	}
	return clip(err.Error())
}

// refusal reads the body of a 400 (RFC 8935 §2.3). Two errors may go away, all others end the delivery.
func refusal(h http.Header, body []byte) result {
	var e ssf.SetError
	if kind, _, err := mime.ParseMediaType(h.Get("Content-Type")); err != nil || kind != "application/json" || json.Unmarshal(body, &e) != nil || e.Err == "" {
		return result{outcome: outcomeRejected, reason: "400: the receiver did not say why"}
	}
	out := result{outcome: outcomeRejected, reason: setErrReason(e)}
	if e.Err == "access_denied" || e.Err == "authentication_failed" {
		out.outcome = outcomeRefused
	}
	return out
}

// setErrReason is a receiver's words, cut to size.
func setErrReason(e ssf.SetError) string {
	return clip(fmt.Sprintf("%.60s: %s", e.Err, e.Description))
}

// retryAfter reads the header of the name (RFC 9110 §10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(v, 10, 32); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

// backoff is the pause before the next attempt: least doubled with each failure, up to most, three quarters to five quarters
// of it.
func backoff(failures int, least, most time.Duration) time.Duration {
	d := min(least<<min(max(failures-1, 0), 20), most)
	if d <= 0 {
		d = most
	}
	return d*3/4 + rand.N(d/2+1)
}

// lanes bound the pushes of a process. Who takes long gives its place to others, so that slow receivers hold up nobody, as
// long as those that took long are not too many themselves.
type lanes struct {
	places, long chan struct{}
	after        time.Duration
}

func newLanes(n int) *lanes {
	return &lanes{places: make(chan struct{}, n), long: make(chan struct{}, 4*n), after: 500 * time.Millisecond}
}

// enter waits for a place. leave gives it back.
func (l *lanes) enter(ctx context.Context) (leave func(), err error) {
	select {
	case l.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	moved := make(chan bool, 1)
	timer := time.AfterFunc(l.after, func() {
		select {
		case l.long <- struct{}{}:
			<-l.places
			moved <- true
		default:
			moved <- false
		}
	})
	return func() {
		if timer.Stop() || !<-moved {
			<-l.places
		} else {
			<-l.long
		}
	}, nil
}

// pump starts pushes, as many as may be under way. It is called with o.mu held.
func (o *outlet) pump() {
	if o.stopped || o.problem != nil || o.stream.Delivery.Method != ssf.MethodPush {
		return
	}
	now := time.Now()
	if o.until.After(now) {
		o.arm(o.until.Sub(now))
		return
	}
	for o.inFlight < o.limit {
		it, at := o.ready(now)
		if it == nil {
			if !at.IsZero() {
				o.arm(at.Sub(now))
			}
			return
		}
		it.subject.current = it
		o.inFlight++
		s := o.stream
		o.holding.background(func(ctx context.Context) { o.deliver(ctx, it, &s) })
	}
}

// arm has the outlet look again later. It is called with o.mu held.
func (o *outlet) arm(d time.Duration) {
	if o.timer == nil {
		o.timer = time.AfterFunc(d, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.wake()
		})
		return
	}
	o.timer.Reset(d)
}

// deliver makes one attempt.
func (o *outlet) deliver(ctx context.Context, it *item, s *ssf.Stream) {
	r := o.attempt(ctx, it, s)
	if ctx.Err() != nil && r.outcome != outcomeDelivered {
		r = result{outcome: outcomeAborted} // it is not the receiver's fault
	}
	if r.outcome == outcomeFailed || r.outcome == outcomeRefused {
		if o.expired(it) {
			r.outcome = outcomeExpired
		}
	}
	if r.outcome == outcomeRejected || r.outcome == outcomeExpired {
		if err := o.c.bury(ctx, s, it, r); err != nil {
			r.outcome = outcomeAborted
		}
	}
	o.done(it, r)
}

// attempt writes, signs and sends the SET of an item.
func (o *outlet) attempt(ctx context.Context, it *item, s *ssf.Stream) result {
	leave, err := o.c.lanes.enter(ctx)
	if err != nil {
		return result{outcome: outcomeAborted}
	}
	defer leave()
	o.c.metrics.inFlight.Inc()
	defer o.c.metrics.inFlight.Dec()
	_, compact, r := o.write(ctx, it, s)
	if r.outcome != "" {
		return r
	}
	return o.c.push(ctx, &s.Delivery, compact)
}

// write writes and signs the SET of an item. The result has an outcome when there is nothing to send.
func (o *outlet) write(ctx context.Context, it *item, s *ssf.Stream) (*set.Token, string, result) {
	t, ok, err := o.token(ctx, it, s)
	if form, never := errors.AsType[*formError](err); never {
		return nil, "", result{outcome: outcomeRejected, reason: clip("it cannot be written for this stream: " + form.Error())}
	}
	if err != nil {
		if ctx.Err() == nil {
			o.c.log.Error("SET cannot be written", zap.String("stream", o.id), zap.Int("partition", it.partition), zap.Int64("offset", it.offset), zap.Error(err))
		}
		return nil, "", result{outcome: outcomeAborted, reason: "the SET cannot be written"}
	}
	if !ok {
		return nil, "", result{outcome: outcomeDropped}
	}
	compact, err := o.c.deps.Sign(ctx, &t)
	if err != nil {
		if ctx.Err() == nil {
			o.c.log.Error("SET cannot be signed", zap.String("stream", o.id), zap.Error(err))
		}
		return nil, "", result{outcome: outcomeAborted, reason: "the SET cannot be signed"}
	}
	return &t, compact, result{}
}

// token is the SET of an item, as the stream wants it now.
func (o *outlet) token(ctx context.Context, it *item, s *ssf.Stream) (set.Token, bool, error) {
	if it.control != nil {
		t, err := it.control.token(s)
		return t, true, err
	}
	d, err := o.c.hub.get(ctx, it.partition, it.offset)
	if err != nil || d == nil {
		return set.Token{}, false, err
	}
	t, ok, err := dialect.Encode(*s, &d.claims, time.Now())
	if err != nil {
		return t, false, &formError{err}
	}
	return t, ok, nil
}

// token is the SET of a control event.
func (c *control) token(s *ssf.Stream) (set.Token, error) {
	at := time.Unix(c.At, 0)
	switch c.Kind {
	case verification:
		return dialect.Verification(*s, c.JTI, c.State, at), nil
	case streamUpdated:
		return dialect.StreamUpdated(*s, c.JTI, c.Status, c.Reason, at), nil
	case synthetic:
	}
	t, err := dialect.Example(*s, c.Type, c.JTI, at)
	if err != nil {
		err = &formError{err}
	}
	return t, err
}

// formError means that a SET cannot be written for its stream, and never will.
type formError struct{ err error }

func (e *formError) Error() string { return e.err.Error() }
func (e *formError) Unwrap() error { return e.err }

// expired reports whether an item has failed for so long, while others of its stream did not, that it is given up.
func (o *outlet) expired(it *item) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !it.failing.IsZero() && time.Since(it.failing) > o.c.cfg.DeadAfter && o.lastSuccess.After(it.failing)
}

// done takes in what came of an attempt.
func (o *outlet) done(it *item, r result) {
	o.mu.Lock()
	now := time.Now()
	o.inFlight--
	if it.attempts++; it.attempts > 1 {
		o.c.metrics.redeliveries.WithLabelValues(methodPush).Inc()
	}
	o.c.metrics.sets.WithLabelValues(methodPush, r.outcome).Inc()
	switch r.outcome {
	case outcomeDelivered:
		if it.control == nil {
			o.c.metrics.accepted.WithLabelValues(methodPush).Observe(now.Sub(it.at).Seconds())
		}
		if o.failures > 0 {
			o.recovered()
		}
		o.succeeded(now)
		o.limit = min(2*o.limit, o.c.cfg.PerStream)
		o.remove(it)
	case outcomeRejected, outcomeExpired:
		// The receiver lives, and took a decision of its own.
		o.lastError = r.reason
		o.remove(it)
	case outcomeDropped:
		o.remove(it)
	case outcomeRefused:
		o.failed(it, now, r.reason)
		it.due = now.Add(backoff(it.attempts, o.c.cfg.SlowRetryMin, o.c.cfg.SlowRetryMax))
	case outcomeDenied:
		o.retry(it, now, r, o.c.cfg.SlowRetryMin, o.c.cfg.SlowRetryMax)
	case outcomeFailed:
		o.retry(it, now, r, o.c.cfg.RetryMin, o.c.cfg.RetryMax)
	case outcomeAborted:
		it.due = now.Add(backoff(it.attempts, o.c.cfg.RetryMin, o.c.cfg.RetryMax))
		if r.reason != "" {
			o.lastError = r.reason
		}
	}
	o.turn++
	it.turn = o.turn // others first
	o.free(it.subject)
	if !o.stopped {
		o.wake()
	}
	o.mu.Unlock()
	o.pull() // there may be room
	o.holding.changed(o)
}

// retry has the stream wait after a failure, and then try another subject. A SET that fails while others do not waits by itself
// as well, longer each time. It is called with o.mu held.
func (o *outlet) retry(it *item, now time.Time, r result, least, most time.Duration) {
	o.failed(it, now, r.reason)
	if o.failures == 0 {
		it.alone++
		it.due = now.Add(backoff(it.alone, least, most))
	}
	o.failures++
	o.limit = 1
	o.until = later(o.until, now.Add(o.wait(backoff(o.failures, least, most), r.after)))
}

// recovered lets those go that the trouble of the whole stream has held up, but not who may be at fault itself. It is called
// with o.mu held.
func (o *outlet) recovered() {
	for _, s := range o.subjects {
		if len(s.items) > 0 && s.items[0].alone == 1 {
			s.items[0].due = time.Time{}
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// wait is the longer of our own pause and the one asked for, which has a limit.
func (o *outlet) wait(own, asked time.Duration) time.Duration {
	return max(own, min(asked, o.c.cfg.RetryAfterMax))
}

// succeeded is called with o.mu held. A pause that another attempt has led to meanwhile stays.
func (o *outlet) succeeded(now time.Time) {
	o.lastSuccess, o.failures, o.failingSince, o.lastError = now, 0, time.Time{}, ""
	o.dirty = true
}

// failed is called with o.mu held.
func (o *outlet) failed(it *item, now time.Time, reason string) {
	if o.failingSince.IsZero() {
		o.failingSince = now
	}
	if it.failing.IsZero() {
		it.failing = now
	}
	o.lastError, o.dirty = reason, true
}
