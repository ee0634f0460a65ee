package ssf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/source/foreign"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// Bounds of polling.
const (
	// maxReceipts bounds what is kept until the next poll, in bytes of JSON; maxJTI one id in it.
	maxReceipts = 32 << 10
	maxJTI      = 1 << 10
	maxAnswer   = 32 << 20
	pollTimeout = 30 * time.Second // beyond the time for which the transmitter may hold a poll
)

// receipts are what the transmitter is to be told with the next poll. They are the position of a poll.
type receipts struct {
	Ack  []string            `json:"ack,omitempty"`
	Errs map[string]*Refusal `json:"set_errs,omitempty"`
}

func (r receipts) empty() bool { return len(r.Ack) == 0 && len(r.Errs) == 0 }

func (r receipts) has(jti string) bool {
	return r.Errs[jti] != nil || slices.Contains(r.Ack, jti)
}

// encode is the position.
func (r receipts) encode() ([]byte, error) { return json.Marshal(r) }

// receiptSize is what a receipt takes in the position, in bytes.
func receiptSize(jti string, refusal *Refusal) int {
	var one receipts
	one.add(jti, refusal)
	encoded, err := one.encode()
	if err != nil {
		return maxReceipts
	}
	return len(encoded)
}

// request is the body of a poll (RFC 8936, section 2.2).
type request struct {
	MaxEvents         int                 `json:"maxEvents"`
	ReturnImmediately bool                `json:"returnImmediately"`
	Ack               []string            `json:"ack,omitempty"`
	SetErrs           map[string]*Refusal `json:"setErrs,omitempty"`
}

// polled is one token of an answer.
type polled struct {
	jti string
	set []byte
}

// poller asks a transmitter.
type poller struct {
	cfg    PollConfig
	client *upstream.Client
	bearer bearer
}

func newPoller(cfg PollConfig, deps Deps) (*poller, error) {
	client := upstream.NewHTTP(cfg.Wait + pollTimeout)
	client.Transport = deps.Transport
	p := &poller{cfg: cfg, client: upstream.New(upstream.Config{HTTP: client, MaxBody: maxAnswer, Base: cfg.URL})}
	var err error
	p.bearer, err = newBearer(cfg, deps)
	return p, err
}

// Fetch asks for tokens (RFC 8936) until there are none; with a wait, the transmitter holds the last poll until there is
// one or its time is up. moreAvailable needs no attention: after tokens it asks at once, to acknowledge them. The position holds the acknowledgements and errors that the
// transmitter is to be told with the next poll: they go out only after what they are about is on the log, and come again
// until the transmitter has heard them. What is not acknowledged, it sends again.
func (t *Transmitter) Fetch(ctx context.Context, position []byte, take func(values [][]byte, next []byte) error) (wait time.Duration, err error) {
	if t.poll == nil {
		return 0, errors.New("the transmitter is not polled: poll.url is not set")
	}
	var owed receipts
	if len(position) > 0 {
		if err := json.Unmarshal(position, &owed); err != nil {
			return 0, fmt.Errorf("reading the position: %w", err)
		}
	}
	for {
		began := t.now()
		sets, err := t.poll.ask(ctx, owed)
		if err != nil {
			return 0, fmt.Errorf("polling: %w", err)
		}
		rest := max(t.cfg.Poll.Interval-t.now().Sub(began), 0)
		if len(sets) == 0 {
			return rest, settle(owed, take)
		}
		next, err := t.page(ctx, sets, take)
		if err != nil {
			return 0, err
		}
		news := false
		for _, s := range sets {
			news = news || !owed.has(s.jti)
		}
		owed = next
		if !news {
			return rest, nil // it sends again what it knows to have arrived
		}
	}
}

// settle forgets receipts that the transmitter has heard.
func settle(owed receipts, take func([][]byte, []byte) error) error {
	if owed.empty() {
		return nil
	}
	none, err := receipts{}.encode()
	if err != nil {
		return err
	}
	return take(nil, none)
}

// page hands the tokens of one answer on, and returns their receipts.
func (t *Transmitter) page(ctx context.Context, sets []polled, take func([][]byte, []byte) error) (receipts, error) {
	var (
		owed      receipts
		values    [][]byte
		took      []received
		postponed error
		size      int
	)
	for _, s := range sets {
		got, err := t.polled(ctx, s)
		if err != nil {
			t.metrics.sets.WithLabelValues(resultPostponed).Inc()
			postponed = err
			continue // the others need not wait for it
		}
		if size += receiptSize(s.jti, got.refusal); size > maxReceipts && len(took) > 0 {
			break // the rest comes again
		}
		owed.add(s.jti, got.refusal)
		values, took = append(values, got.value), append(took, got)
	}
	if len(took) > 0 {
		next, err := owed.encode()
		if err != nil {
			return owed, fmt.Errorf("writing the position: %w", err)
		}
		if err := take(values, next); err != nil {
			return owed, err
		}
		for _, got := range took {
			t.noted(got)
		}
	}
	return owed, postponed
}

func (r *receipts) add(jti string, refusal *Refusal) {
	if refusal == nil {
		r.Ack = append(r.Ack, jti)
		return
	}
	if r.Errs == nil {
		r.Errs = map[string]*Refusal{}
	}
	r.Errs[jti] = refusal
}

// polled verifies a token of an answer, which must be the one that it is called there.
func (t *Transmitter) polled(ctx context.Context, s polled) (received, error) {
	if len(s.jti) > maxJTI {
		return received{}, fmt.Errorf("the transmitter calls a token %.60q…, of %d bytes; it cannot be acknowledged", s.jti, len(s.jti))
	}
	got, err := t.receive(ctx, s.set)
	if err == nil && got.claims != nil && got.claims.jti != s.jti {
		wrong := refuse(InvalidRequest, "jti: is %.100q in the token that is sent as %.100q", got.claims.jti, s.jti)
		return received{value: joinRefused(wrong.Error(), s.set), refusal: wrong}, nil
	}
	return got, err
}

// ask polls once, and returns the tokens. Where the transmitter does not understand the receipts, it gets simpler ones:
// errors as acknowledgements, since the refused tokens are kept here, and then none at all.
func (p *poller) ask(ctx context.Context, owed receipts) ([]polled, error) {
	for {
		sets, err := p.send(ctx, owed)
		e, refused := errors.AsType[*upstream.Error](err)
		if !refused || e.Status != http.StatusBadRequest || owed.empty() {
			return sets, err
		}
		simpler := receipts{}
		if len(owed.Errs) > 0 {
			simpler.Ack = slices.Concat(owed.Ack, slices.Sorted(maps.Keys(owed.Errs)))
		}
		owed = simpler
	}
}

// send polls once. A token that is no longer good is replaced once.
func (p *poller) send(ctx context.Context, owed receipts) ([]polled, error) {
	body, err := json.Marshal(request{MaxEvents: p.cfg.MaxEvents, ReturnImmediately: p.cfg.Wait == 0, Ack: owed.Ack, SetErrs: owed.Errs})
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}}
	if len(owed.Errs) > 0 {
		header.Set("Content-Language", "en")
	}
	for renew := false; ; renew = true {
		token, err := p.bearer.token(ctx, renew)
		if err != nil {
			return nil, err
		}
		header.Set("Authorization", "Bearer "+token)
		answer, err := p.client.Post(ctx, p.cfg.URL, header, body)
		if err == nil {
			return readAnswer(answer.Body)
		}
		if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Status != http.StatusUnauthorized || renew {
			return nil, err
		}
	}
}

// readAnswer reads the answer to a poll (RFC 8936, section 2.3): its tokens in the order in which they stand. One that is
// cut, or something else, is an error.
func readAnswer(body []byte) (sets []polled, err error) {
	if !json.Valid(body) {
		return nil, errors.New("the answer is no complete JSON")
	}
	named, other := false, false
	l := &jlexer.Lexer{Data: body}
	object := members(l, func(key string) {
		switch key {
		case "sets":
			empty := l.IsNull()
			named = members(l, func(jti string) { sets = append(sets, readPolled(l, jti)) }) || empty
		default:
			other = other || key != "moreAvailable"
			l.SkipRecursive()
		}
	})
	switch {
	case l.Error() != nil:
		return nil, fmt.Errorf("the answer %w", foreign.Broken(l))
	case !object, !named && other: // {} is what some send for nothing
		return nil, errors.New("the answer holds no sets: is this the endpoint_url of the stream?")
	}
	return sets, nil
}

func readPolled(l *jlexer.Lexer, jti string) polled {
	p := polled{jti: string([]byte(jti))}
	if l.CurrentToken() == jlexer.TokenString {
		p.set = []byte(l.String())
		return p
	}
	p.set = append(p.set, l.Raw()...) // to be refused, as it is
	return p
}
