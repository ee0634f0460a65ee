package stepupssf

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/countersign-io/countersign/stepup"
)

// State is what is known of the stream.
type State string

// The states.
const (
	// StateStarting: it has not been set up yet.
	StateStarting State = "starting"
	// StateLive: the transmitter delivers.
	StateLive State = "live"
	// StateDead: a verification SET that was asked for did not come in time, or nobody could be asked.
	StateDead State = "dead"
	// StatePaused and StateDisabled: the transmitter says that it sends nothing.
	StatePaused   State = "paused"
	StateDisabled State = "disabled"
)

// Stats are numbers for an application's metrics, since the start.
type Stats struct {
	State State
	// StreamID is the stream's; empty while there is none.
	StreamID string
	// Heard is up to when all that was sent is known to be here; zero for never.
	Heard time.Time
	// Accepted counts SETs that were accepted the first time, Repeated those that had been before, Refused those that
	// were refused, Postponed those that could not be judged or kept at the time.
	Accepted, Repeated, Refused, Postponed uint64
	// Verifications counts verification SETs, UnknownSubjects accepted events about nobody known here, Trouble failed
	// requests to the transmitter.
	Verifications, UnknownSubjects, Trouble uint64
	// Waiting is how many SETs the application has not been told of yet.
	Waiting int
}

// Receiver receives one stream and feeds an index from it. It is safe for concurrent use.
type Receiver struct {
	cfg           Config
	index         *stepup.Index
	log           *slog.Logger
	client        *Client
	algorithms    []jose.SignatureAlgorithm
	authorization string
	digest        [sha256.Size]byte // of authorization
	slots         chan struct{}     // of pushes
	running       atomic.Bool
	alive         atomic.Int64 // when there was a sign of life last, in Unix nanoseconds
	doubt         time.Time    // until when SETs may be held at the transmitter as handed out; the poll loop's own
	logged        struct{ secret, stranger, busy, postponed, unknown seldom }

	telling  sync.Mutex // of the state; taken before mu
	mu       sync.Mutex
	stream   *Stream       // nil before it is set up
	found    chan struct{} // closed when it is
	state    State
	told     State     // the last that was told of
	statusAt time.Time // when the last stream-updated was issued
	heardAt  time.Time
	life     chan struct{} // gets one for every verification
	accepting
	waiting []task
	wake    chan struct{}

	stats struct{ accepted, repeated, refused, postponed, verifications, unknown, trouble atomic.Uint64 }
}

// New checks cfg, reads the files it names, and fills the index with what the store holds, so that an application starts
// warm. The index is not fresh by that. It asks nobody; Run does.
func New(cfg Config, index *stepup.Index) (*Receiver, error) {
	if index == nil {
		return nil, errors.New("stepupssf: an index is needed, make one with stepup.NewIndex")
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if apart := cfg.apart(); !cfg.ThirdParty && index.MaxStaleness() <= apart {
		return nil, fmt.Errorf("stepupssf: IndexConfig.MaxStaleness: is %v, must be more than %v, which signs of life are apart while all is well, better twice that",
			index.MaxStaleness(), apart)
	}
	r := &Receiver{
		cfg: cfg, index: index, log: cfg.Logger.With("transmitter", cfg.Issuer), state: StateStarting, told: StateStarting, found: make(chan struct{}), slots: make(chan struct{}, maxPushes),
		life: make(chan struct{}, 1), wake: make(chan struct{}, 1), accepting: newAccepting(),
	}
	for _, alg := range cfg.Algorithms {
		r.algorithms = append(r.algorithms, jose.SignatureAlgorithm(alg))
	}
	if cfg.AuthorizationFile != "" {
		r.authorization, err = readSecret(cfg.AuthorizationFile)
		if err != nil {
			return nil, fmt.Errorf("stepupssf: AuthorizationFile: %w", err)
		}
		if len(r.authorization) < minAuthorization {
			return nil, fmt.Errorf("stepupssf: AuthorizationFile: holds %d characters, must be at least %d", len(r.authorization), minAuthorization)
		}
		r.digest = sha256.Sum256([]byte(r.authorization))
	}
	r.client = &Client{cfg: &r.cfg, party: newParty(&r.cfg)}
	if r.client.bearer, err = newBearer(&r.cfg); err != nil {
		return nil, err
	}
	if err := r.load(); err != nil {
		return nil, fmt.Errorf("stepupssf: Store: %w", err)
	}
	return r, nil
}

// Client is for operating the stream.
func (r *Receiver) Client() *Client { return r.client }

// Stats returns the numbers of now.
func (r *Receiver) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{
		State: r.told, Heard: r.heardAt, Accepted: r.stats.accepted.Load(), Repeated: r.stats.repeated.Load(),
		Refused: r.stats.refused.Load(), Postponed: r.stats.postponed.Load(), Verifications: r.stats.verifications.Load(),
		UnknownSubjects: r.stats.unknown.Load(), Trouble: r.stats.trouble.Load(), Waiting: len(r.waiting),
	}
	if r.stream != nil {
		s.StreamID = r.stream.ID
	}
	return s
}

// foundWithin is how long a SET may wait for the stream that it came by to be known: transmitters push as soon as they
// have created it.
const foundWithin = 5 * time.Second

// audience are the `aud` values that are meant for this receiver; none while that is not known.
func (r *Receiver) audience(ctx context.Context) []string {
	if len(r.cfg.Audience) > 0 {
		return r.cfg.Audience
	}
	ctx, cancel := context.WithTimeout(ctx, foundWithin)
	defer cancel()
	select {
	case <-r.found:
	case <-ctx.Done():
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stream.Audience
}

// receive judges one SET and takes it in. It returns nil when the transmitter need not send it again, a *Refusal when that
// would be in vain, or another error. A SET that was accepted before is judged and answered as if it were new, and has no
// effect.
func (r *Receiver) receive(ctx context.Context, compact string) error {
	rec, err := r.judge(ctx, compact, "")
	if rec != nil {
		err = r.accept([]Record{*rec})[0]
	}
	r.note(err, "")
	return err
}

// note counts and logs what was not accepted.
func (r *Receiver) note(err error, jti string) {
	refusal, refused := errors.AsType[*Refusal](err)
	if !refused {
		if err != nil {
			r.stats.postponed.Add(1)
		}
		return
	}
	r.stats.refused.Add(1)
	args := []any{"jti", jti, "code", string(refusal.Code), "reason", refusal.Description}
	if _, stranger := errors.AsType[*unproved](err); stranger && jti == "" { // anybody may have pushed it
		r.logged.stranger.warn(r.log, "SET refused", args...)
		return
	}
	r.log.Warn("SET refused", args...)
}

// judge returns what is to be accepted of a SET; nil for one about the stream itself, which has had its effect. jti, if not
// empty, is what the transmitter calls it.
func (r *Receiver) judge(ctx context.Context, compact, jti string) (*Record, error) {
	s, err := r.verify(ctx, compact)
	switch {
	case err != nil:
		return nil, err
	case jti != "" && s.jti != jti:
		return nil, refuse(InvalidRequest, "jti: is %.100q in the SET that is sent as %.100q", s.jti, jti)
	case s.control():
		return nil, r.control(s)
	}
	claims, event, err := r.effect(ctx, s)
	if err != nil {
		return nil, err
	}
	return &Record{
		Issuer: s.issuer, JTI: s.jti, Claims: claims, Event: event, Until: until(claims), Forget: s.issued.Add(r.cfg.MaxAge),
	}, nil
}

// until is when claims have no effect any more.
func until(c *stepup.Claims) time.Time {
	if c == nil {
		return time.Time{}
	}
	return c.Requirement.Expires
}
