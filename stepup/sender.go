package stepup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	attemptTimeout = 10 * time.Second
	// lastWords is how long reports are still sent after the end.
	lastWords = 2 * time.Second

	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// maxRetryAfter bounds for how long a server may ask to be left alone.
	maxRetryAfter = 5 * time.Minute

	maxAnswer = 64 << 10
	maxToken  = 16 << 10
)

// Run sends reports until ctx ends, and then what is left, for at most two seconds; what could not be sent by then counts
// as dropped. Countersign that is away costs nothing but reports: they are sent again, later and later, and past
// ObserverConfig.Queue the oldest are dropped. It returns nil, or at once an error when it runs already.
func (o *Observer) Run(ctx context.Context) error {
	if !o.running.CompareAndSwap(false, true) {
		return errors.New("stepup: Run was called before")
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		sleep(work, lastWords)
		cancel()
	})()
	tick := time.NewTicker(o.cfg.FlushEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-o.wake:
		case <-tick.C:
		}
		o.flush(ctx, work)
	}
	o.flush(ctx, work)
	o.mu.Lock()
	left := o.queue.n
	o.mu.Unlock()
	o.stats.dropped.Add(uint64(left))
	return nil
}

// flush sends what waits now, until work ends.
func (o *Observer) flush(ctx, work context.Context) {
	limit := o.cfg.Batch
	for work.Err() == nil {
		o.mu.Lock()
		batch := o.queue.take(limit)
		o.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		o.deliver(ctx, work, batch)
	}
}

// deliver sends a batch until it is acknowledged, refused, or work ends.
func (o *Observer) deliver(ctx, work context.Context, batch []report) {
	body := o.encode(batch)
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		refused, err := o.post(work, body)
		if err == nil {
			o.stats.sent.Add(uint64(len(batch)) - min(refused, uint64(len(batch))))
			o.stats.refused.Add(refused)
			return
		}
		answer, _ := errors.AsType[*answerError](err)
		switch {
		case answer != nil && answer.status == http.StatusRequestEntityTooLarge && len(batch) > 1:
			o.deliver(ctx, work, batch[:len(batch)/2])
			o.deliver(ctx, work, batch[len(batch)/2:])
			return
		case answer != nil && answer.final():
			o.stats.refused.Add(uint64(len(batch)))
			o.cfg.OnError(err)
			return
		case work.Err() != nil:
			o.stats.dropped.Add(uint64(len(batch)))
			return
		}
		o.stats.trouble.Add(1)
		o.cfg.OnError(err)
		wait := backoff/2 + rand.N(backoff/2)
		if answer != nil && answer.retryAfter > 0 {
			wait = answer.retryAfter
		}
		if ctx.Err() == nil {
			sleep(ctx, wait) // the end cuts this short: then it is now or never
		} else {
			sleep(work, wait)
		}
	}
}

func (o *Observer) encode(batch []report) []byte {
	wire := make([]wireReport, len(batch))
	for i := range batch {
		wire[i] = batch[i].wire(o.cfg.Interval)
	}
	body, _ := json.Marshal(wire) // texts cannot fail
	return body
}

// post sends one request. refused is how many of its reports countersign did not take.
func (o *Observer) post(ctx context.Context, body []byte) (refused uint64, err error) {
	token, err := o.token()
	if err != nil {
		return 0, fmt.Errorf("reading the token: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("sending session reports: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := o.cfg.HTTP.Do(req)
	if err != nil {
		return 0, fmt.Errorf("sending session reports: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 != 2 {
		return 0, newAnswerError(resp, text, o.cfg.Now())
	}
	if err != nil {
		return 0, fmt.Errorf("reading the answer to session reports: %w", err)
	}
	return o.rejections(text), nil
}

// rejections counts the reports that were not taken, and tells of the first.
func (o *Observer) rejections(text []byte) uint64 {
	var answer struct {
		Rejected []struct {
			Error string `json:"error"`
		} `json:"rejected"`
		Total uint64 `json:"rejected_total"`
	}
	if json.Unmarshal(text, &answer) != nil || len(answer.Rejected) == 0 {
		return 0
	}
	n := max(answer.Total, uint64(len(answer.Rejected)))
	o.cfg.OnError(fmt.Errorf("%d session reports were refused, the first: %.200q", n, answer.Rejected[0].Error))
	return n
}

// token is the bearer token. An error names the file, never what is in it.
func (o *Observer) token() (string, error) {
	if o.cfg.Token != nil {
		return o.cfg.Token()
	}
	file, err := os.Open(o.cfg.TokenFile)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxToken))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("%s must hold one token", o.cfg.TokenFile)
	}
	return token, nil
}

// answerError is an answer that is no success.
type answerError struct {
	status     int
	retryAfter time.Duration
	detail     string
}

func newAnswerError(resp *http.Response, text []byte, now time.Time) *answerError {
	e := &answerError{status: resp.StatusCode}
	var problem struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(text, &problem) == nil {
		e.detail = problem.Detail
	}
	if after := resp.Header.Get("Retry-After"); after != "" {
		if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
			e.retryAfter = time.Duration(seconds) * time.Second
		} else if at, err := http.ParseTime(after); err == nil {
			e.retryAfter = at.Sub(now)
		}
		e.retryAfter = min(e.retryAfter, maxRetryAfter)
	}
	return e
}

func (e *answerError) Error() string {
	if e.detail == "" {
		return fmt.Sprintf("sending session reports: the answer was %d", e.status)
	}
	return fmt.Sprintf("sending session reports: the answer was %d: %.200q", e.status, e.detail)
}

// final tells that the same request will not do better later: it is the reports' fault, not that of the token, the
// address or the load.
func (e *answerError) final() bool {
	switch e.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
