package stepupssf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// Bounds of polling.
const (
	// longestPoll is how long a poll is waited for. Then another one is sent: something on the way may have forgotten it.
	longestPoll  = 2 * time.Minute
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// maxBatch is how many bytes of SETs are accepted together, about; a store's line has room for more.
	maxBatch = 2 << 20
	// lastWords is how long the last acknowledgements may take after the end.
	lastWords = 2 * time.Second
)

// pollRequest is the body of a poll (RFC 8936 §2.4). Both of the first two are always sent: without returnImmediately even
// maxEvents 0 may be held.
type pollRequest struct {
	MaxEvents         int                 `json:"maxEvents"`
	ReturnImmediately bool                `json:"returnImmediately"`
	Ack               []string            `json:"ack,omitempty"`
	SetErrs           map[string]*Refusal `json:"setErrs,omitempty"`
}

type pollAnswer struct {
	Sets          map[string]json.RawMessage `json:"sets"`
	MoreAvailable bool                       `json:"moreAvailable"`
}

// poller is the state of one poll loop.
type poller struct {
	*Receiver
	address string
	ack     []string            // owed to the transmitter
	errs    map[string]*Refusal // so are these
	last    map[string]bool     // what the last answer brought
	dead    bool                // the stream was reported dead because nobody answers
}

// poll asks for SETs until ctx ends or the stream is gone.
func (r *Receiver) poll(ctx context.Context, address string) error {
	p := &poller{Receiver: r, address: address, errs: map[string]*Refusal{}}
	defer p.farewell(context.WithoutCancel(ctx))
	backoff := firstBackoff
	var failing time.Time // since when; zero while all is well
	for ctx.Err() == nil {
		began := time.Now()
		got, err := p.ask(ctx)
		if got == nil || ctx.Err() != nil {
			p.lost()
		}
		if ctx.Err() != nil {
			break
		}
		if got != nil {
			r.alive.Store(time.Now().UnixNano())
			if p.dead {
				p.dead = false
				r.revive()
			}
			failing = time.Time{}
			err = p.take(ctx, got, began)
		} else if err != nil && failing.IsZero() {
			failing = time.Now()
		}
		var wait time.Duration
		switch {
		case isGone(err):
			return fmt.Errorf("polling: %w", err)
		case err != nil:
			if !failing.IsZero() && time.Since(failing) >= r.cfg.VerifyWithin {
				p.dead = true
				r.died(err)
			}
			wait = backoff/2 + rand.N(backoff/2)
			backoff = min(2*backoff, maxBackoff)
			if e, ok := errors.AsType[*AnswerError](err); ok {
				wait = max(wait, e.RetryAfter)
			}
			p.trouble("polling, trying again", err)
		case !p.news(got):
			wait = r.cfg.PollInterval - time.Since(began) // no pause after one that was held
			backoff = firstBackoff
		default:
			backoff = firstBackoff
		}
		pause(ctx, wait)
	}
	return nil
}

// ask sends one poll. What was owed is settled when it is answered. One that is held for too long is given up, and nil
// returned: nothing came of it, which is no trouble.
func (p *poller) ask(ctx context.Context) (*pollAnswer, error) {
	body := pollRequest{MaxEvents: p.cfg.MaxEvents, ReturnImmediately: p.cfg.ShortPoll, Ack: p.ack, SetErrs: p.errs}
	ctx, cancel := context.WithTimeout(ctx, longestPoll)
	defer cancel()
	got, err := p.send(ctx, &body)
	if status(err) == http.StatusBadRequest && len(p.errs) > 0 {
		// Some know no setErrs. What was refused would come for ever, and it is in the log here.
		p.trouble("the transmitter takes no errors, they are acknowledged", err)
		body.Ack, body.SetErrs = slices.Concat(p.ack, slices.Sorted(maps.Keys(p.errs))), nil
		got, err = p.send(ctx, &body)
	}
	if status(err) == http.StatusBadRequest && len(body.Ack) > 0 {
		// It will send again what it has not heard of.
		p.trouble("the transmitter takes no acknowledgements", err)
		body.Ack = nil
		got, err = p.send(ctx, &body)
	}
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, nil //nolint:nilnil // as said above
	}
	if err == nil {
		p.ack, p.errs = nil, map[string]*Refusal{}
	}
	return got, err
}

func (p *poller) send(ctx context.Context, body *pollRequest) (*pollAnswer, error) {
	header := http.Header{}
	if len(body.SetErrs) > 0 {
		header.Set("Content-Language", "en")
	}
	limit := int64(p.cfg.MaxEvents)*(MaxSET+4<<10) + 64<<10
	text, err := p.client.send(ctx, http.MethodPost, p.address, body, header, limit)
	if err != nil {
		return nil, err
	}
	var got pollAnswer
	if len(text) == 0 {
		return &got, nil // as good as {}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return &got, nil
}

// lost notes that SETs may have been handed out that are not here: they are on hold at the transmitter, whose answers say
// nothing of them.
func (p *poller) lost() { p.doubt = time.Now().Add(p.cfg.RedeliverAfter) }

// take judges the SETs of an answer, and accepts them together. Those that cannot be accepted at present are not
// acknowledged, so that they come again; the others need not wait for them.
func (p *poller) take(ctx context.Context, got *pollAnswer, began time.Time) error {
	var postponed error
	settle := func(jti string, err error) {
		p.note(err, jti)
		switch refusal, refused := errors.AsType[*Refusal](err); {
		case refused:
			p.errs[jti] = refusal
		case err != nil:
			postponed = fmt.Errorf("accepting a SET: %w", err)
		default:
			p.ack = append(p.ack, jti)
		}
	}
	var batch []Record // of different SETs, for they have different jti
	size := 0
	flush := func() {
		for i, err := range p.accept(batch) {
			settle(batch[i].JTI, err)
		}
		batch, size = nil, 0
	}
	for _, jti := range slices.Sorted(maps.Keys(got.Sets)) {
		if jti == "" || len(jti) > maxName {
			p.trouble("a SET cannot be acknowledged", fmt.Errorf("its jti has %d bytes, must have 1 to %d", len(jti), maxName))
			continue
		}
		var compact string
		if json.Unmarshal(got.Sets[jti], &compact) != nil {
			settle(jti, refuse(InvalidRequest, "sets: the SET is no text"))
			continue
		}
		rec, err := p.judge(ctx, compact, jti)
		if rec == nil {
			settle(jti, err)
			continue
		}
		batch, size = append(batch, *rec), size+len(compact)
		if size >= maxBatch {
			flush()
		}
	}
	flush()
	if postponed != nil {
		p.lost()
	} else if began.After(p.doubt) && !got.MoreAvailable && len(got.Sets) < p.cfg.MaxEvents {
		// All there was is here. It was held for a while if it was a long poll: what it says of the time before it was
		// answered holds up to then.
		heard := time.Now()
		if len(got.Sets) > 0 || p.cfg.ShortPoll {
			heard = began
		}
		p.heard(heard)
	}
	return postponed
}

// news tells whether an answer has anything that the one before had not. A transmitter may send again and again what it
// should know to have arrived.
func (p *poller) news(got *pollAnswer) bool {
	if got == nil {
		return false
	}
	now := make(map[string]bool, len(got.Sets))
	fresh := false
	for jti := range got.Sets {
		now[jti] = true
		fresh = fresh || !p.last[jti]
	}
	p.last = now
	return fresh
}

// farewell settles what is still owed.
func (p *poller) farewell(ctx context.Context) {
	if len(p.ack)+len(p.errs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	if _, err := p.send(ctx, &pollRequest{ReturnImmediately: true, Ack: p.ack, SetErrs: p.errs}); err != nil {
		p.trouble("the transmitter was not told of the last SETs", err)
	}
}
