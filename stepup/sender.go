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
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// wireTime is RFC 3339 in milliseconds.
const wireTime = "2006-01-02T15:04:05.000Z07:00"

const (
	defaultQueue = 8192
	defaultBatch = 500
	defaultFlush = time.Second

	attemptTimeout = 10 * time.Second
	// lastWords is how long items are still sent after the end.
	lastWords = 2 * time.Second

	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// maxRetryAfter bounds for how long a server may ask to be left alone.
	maxRetryAfter = 5 * time.Minute

	maxAnswer = 64 << 10
	maxToken  = 16 << 10
)

// sending configures a sender; the fields are those of ObserverConfig and ReceiptConfig.
type sending struct {
	what         string // is sent, for errors
	url          string
	plain        bool
	token        func() (string, error)
	tokenFile    string
	queue, batch int
	flushEvery   time.Duration
	http         *http.Client
	now          func() time.Time
	onError      func(error)
}

// sender sends items to an endpoint of countersign ingest: batched, in order, each until it is acknowledged, from a queue
// that is bounded.
type sender[T any] struct {
	sending
	encode  func([]T) []byte
	wake    chan struct{}
	running atomic.Bool

	mu      sync.Mutex
	waiting ring[T]

	sent, dropped, refused, trouble atomic.Uint64
}

// newSender checks s and fills in its defaults. It returns every problem.
func newSender[T any](s sending, encode func([]T) []byte) (*sender[T], error) {
	var problems []error
	if err := checkURL(s.url, s.plain); err != nil {
		problems = append(problems, err)
	}
	if (s.token == nil) == (s.tokenFile == "") {
		problems = append(problems, errors.New("Token, TokenFile: set one of them"))
	}
	if s.flushEvery < 0 || s.queue < 0 || s.batch < 0 {
		problems = append(problems, errors.New("FlushEvery, Queue, Batch: must not be negative"))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if s.queue == 0 {
		s.queue = defaultQueue
	}
	if s.batch == 0 {
		s.batch = defaultBatch
	}
	if s.flushEvery == 0 {
		s.flushEvery = defaultFlush
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.onError == nil {
		s.onError = func(error) {}
	}
	client := http.Client{}
	if s.http != nil {
		client = *s.http
	}
	// A redirect would take the token and the items elsewhere.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.http = &client
	return &sender[T]{sending: s, encode: encode, wake: make(chan struct{}, 1), waiting: ring[T]{items: make([]T, s.queue)}}, nil
}

func checkURL(raw string, plain bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("URL: must be one such as https://countersign.example.com/v1/sessions")
	case u.User != nil:
		return errors.New("URL: must hold no password, the token goes into TokenFile")
	case u.Scheme == "http" && !plain && !loopback(u.Hostname()):
		return errors.New("URL: must be https, or PlainHTTP be set where the network keeps sessions and tokens secret")
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// add queues an item without blocking; a full queue drops its oldest. Urgent ones do not wait for others.
func (s *sender[T]) add(item T, urgent bool) {
	s.mu.Lock()
	lost := s.waiting.push(item)
	urgent = urgent || s.waiting.n >= s.batch
	s.mu.Unlock()
	if lost {
		s.dropped.Add(1)
	}
	if urgent {
		select {
		case s.wake <- struct{}{}:
		default: // run will look anyway
		}
	}
}

// run sends until ctx ends, and then what is left, for at most lastWords.
func (s *sender[T]) run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("stepup: Run was called before")
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		sleep(work, lastWords)
		cancel()
	})()
	tick := time.NewTicker(s.flushEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-tick.C:
		}
		s.flush(ctx, work)
	}
	s.flush(ctx, work)
	s.mu.Lock()
	left := s.waiting.n
	s.mu.Unlock()
	s.dropped.Add(uint64(left))
	return nil
}

// flush sends what waits now, until work ends.
func (s *sender[T]) flush(ctx, work context.Context) {
	limit := s.batch
	for work.Err() == nil {
		s.mu.Lock()
		batch := s.waiting.take(limit)
		s.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		s.deliver(ctx, work, batch)
	}
}

// deliver sends a batch until it is acknowledged, refused, or work ends.
func (s *sender[T]) deliver(ctx, work context.Context, batch []T) {
	body := s.encode(batch)
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		refused, err := s.post(work, body)
		if err == nil {
			s.sent.Add(uint64(len(batch)) - min(refused, uint64(len(batch))))
			s.refused.Add(refused)
			return
		}
		answer, _ := errors.AsType[*answerError](err)
		switch {
		case answer != nil && answer.status == http.StatusRequestEntityTooLarge && len(batch) > 1:
			s.deliver(ctx, work, batch[:len(batch)/2])
			s.deliver(ctx, work, batch[len(batch)/2:])
			return
		case answer != nil && answer.final():
			s.refused.Add(uint64(len(batch)))
			s.onError(err)
			return
		case work.Err() != nil:
			s.dropped.Add(uint64(len(batch)))
			return
		}
		s.trouble.Add(1)
		s.onError(err)
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

// post sends one request. refused is how many of its items countersign did not take.
func (s *sender[T]) post(ctx context.Context, body []byte) (refused uint64, err error) {
	token, err := s.bearer()
	if err != nil {
		return 0, fmt.Errorf("reading the token: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("sending %s: %w", s.what, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("sending %s: %w", s.what, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 != 2 {
		return 0, s.answerError(resp, text)
	}
	if err != nil {
		return 0, fmt.Errorf("reading the answer to %s: %w", s.what, err)
	}
	return s.rejections(text), nil
}

// rejections counts the items that were not taken, and tells of the first.
func (s *sender[T]) rejections(text []byte) uint64 {
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
	s.onError(fmt.Errorf("%d %s were refused, the first: %.200q", n, s.what, answer.Rejected[0].Error))
	return n
}

// bearer is the token. An error names the file, never what is in it.
func (s *sender[T]) bearer() (string, error) {
	if s.token != nil {
		return s.token()
	}
	file, err := os.Open(s.tokenFile)
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
		return "", fmt.Errorf("%s must hold one token", s.tokenFile)
	}
	return token, nil
}

// answerError is an answer that is no success.
type answerError struct {
	what       string
	status     int
	retryAfter time.Duration
	detail     string
}

func (s *sender[T]) answerError(resp *http.Response, text []byte) *answerError {
	e := &answerError{what: s.what, status: resp.StatusCode}
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
			e.retryAfter = at.Sub(s.now())
		}
		e.retryAfter = min(e.retryAfter, maxRetryAfter)
	}
	return e
}

func (e *answerError) Error() string {
	if e.detail == "" {
		return fmt.Sprintf("sending %s: the answer was %d", e.what, e.status)
	}
	return fmt.Sprintf("sending %s: the answer was %d: %.200q", e.what, e.status, e.detail)
}

// final tells that the same request will not do better later: it is the items' fault, not that of the token, the
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

// ring holds the items that wait, the oldest first. A full one drops its oldest.
type ring[T any] struct {
	items    []T
	begin, n int
}

// push adds an item, and tells whether another was dropped for it.
func (q *ring[T]) push(item T) (dropped bool) {
	if q.n == len(q.items) {
		q.items[q.begin] = item
		q.begin = (q.begin + 1) % len(q.items)
		return true
	}
	q.items[(q.begin+q.n)%len(q.items)] = item
	q.n++
	return false
}

// take removes and returns the oldest items, at most limit.
func (q *ring[T]) take(limit int) []T {
	out := make([]T, 0, min(q.n, limit))
	for len(out) < cap(out) {
		out = append(out, q.items[q.begin])
		var none T
		q.items[q.begin] = none // its texts are the request's
		q.begin = (q.begin + 1) % len(q.items)
		q.n--
	}
	return out
}
