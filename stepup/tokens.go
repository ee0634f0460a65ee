package stepup

import (
	"context"
	"errors"
	"sync"
	"time"
)

// maxHeld bounds the challenges that are remembered as not met.
const maxHeld = 128

// tokens holds the token of a Transport and gets others. Whatever goes on, its sources are asked by one flight at a time,
// and for one challenge by one flight for all who wait for it.
type tokens struct {
	source, interact TokenSource
	capabilities     string // claims
	hold             time.Duration
	turn             chan struct{}

	mu      sync.Mutex
	now     AccessToken
	met     string // the key of the challenge that now was got for
	flights map[string]*flight
	held    map[string]failure
}

// flight is a token on its way.
type flight struct {
	waiting int
	cancel  context.CancelFunc
	done    chan struct{} // token and err are set
	token   AccessToken
	err     error
}

// failure is a challenge that could not be met: with an error, or by a token that was challenged again.
type failure struct {
	until time.Time
	err   error
}

func newTokens(cfg TransportConfig) tokens {
	return tokens{
		source: cfg.Source, interact: cfg.Interact, capabilities: capabilityClaims(cfg.Capabilities), hold: cfg.Hold, turn: make(chan struct{}, 1),
		flights: map[string]*flight{}, held: map[string]failure{},
	}
}

// current returns the token at hand, or gets one.
func (t *tokens) current(ctx context.Context) (AccessToken, error) {
	t.mu.Lock()
	if t.usable() {
		defer t.mu.Unlock()
		return t.now, nil
	}
	return t.join(ctx, "", TokenRequest{MaxAge: NoMaxAge, Previous: t.now.Value})
}

// usable tells whether the token at hand still is. The caller holds mu.
func (t *tokens) usable() bool {
	return t.now.Value != "" && (t.now.Expires.IsZero() || time.Until(t.now.Expires) > renewBefore)
}

// better returns a token that may meet a challenge of used, or used itself when that is not worth a try.
func (t *tokens) better(ctx context.Context, c Challenge, used AccessToken) (AccessToken, error) {
	key := c.key()
	t.mu.Lock()
	if t.now.Value != used.Value && t.met == key && t.usable() {
		defer t.mu.Unlock()
		return t.now, nil // somebody was quicker
	}
	if f, ok := t.held[key]; ok {
		if time.Now().Before(f.until) {
			defer t.mu.Unlock()
			return used, f.err
		}
		delete(t.held, key)
	}
	return t.join(ctx, key, TokenRequest{ACRValues: c.ACRValues, MaxAge: c.MaxAge, Scope: c.Scope, Claims: c.Claims, Previous: used.Value})
}

// inVain remembers that the token that was got for a challenge did not meet it.
func (t *tokens) inVain(c Challenge) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep(c.key(), nil)
}

// keep remembers a failure. The caller holds mu.
func (t *tokens) keep(key string, err error) {
	if len(t.held) >= maxHeld {
		clear(t.held)
	}
	t.held[key] = failure{until: time.Now().Add(t.hold), err: err}
}

// join waits for the flight of a key, which it starts if there is none. The caller holds mu, which is released.
func (t *tokens) join(ctx context.Context, key string, req TokenRequest) (AccessToken, error) {
	f := t.flights[key]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		// The flight is everybody's: it ends when nobody waits for it any more.
		var flying context.Context
		flying, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
		t.flights[key] = f
		go t.fly(flying, f, key, req)
	}
	f.waiting++
	t.mu.Unlock()
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		t.land(key, f)
	}
	return AccessToken{}, ctx.Err()
}

// land ends a flight for those who come later. The caller holds mu.
func (t *tokens) land(key string, f *flight) {
	if t.flights[key] == f {
		delete(t.flights, key)
	}
}

// fly gets a token.
func (t *tokens) fly(ctx context.Context, f *flight, key string, req TokenRequest) {
	defer close(f.done)
	defer f.cancel()
	select {
	case t.turn <- struct{}{}:
		f.token, f.err = t.ask(ctx, req)
		<-t.turn
	case <-ctx.Done():
		f.err = ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.land(key, f)
	switch {
	case f.err == nil && f.token.Value == req.Previous && key != "":
		t.keep(key, nil)
	case f.err == nil:
		t.now, t.met = f.token, key
		delete(t.held, key)
	case key != "" && ctx.Err() == nil && settled(f.err):
		t.keep(key, f.err)
	}
}

// settled tells whether asking again at once would end the same way.
func settled(err error) bool {
	_, interaction := errors.AsType[*InteractionRequiredError](err)
	return interaction || errors.Is(err, ErrUnmetRequirements) || errors.Is(err, errInteraction)
}

// errInteraction marks an error of the interaction: whoever has just turned it down is not asked again for every request.
var errInteraction = errors.New("signing in anew")

// ask asks the source, and if that needs the user, the interaction, with all that was asked for and answered so far.
func (t *tokens) ask(ctx context.Context, req TokenRequest) (AccessToken, error) {
	var err error
	if req.Claims, err = MergeClaims(req.Claims, t.capabilities); err != nil {
		return AccessToken{}, err
	}
	token, err := t.source(ctx, req)
	if needed, ok := errors.AsType[*InteractionRequiredError](err); ok {
		if req.Claims, err = MergeClaims(req.Claims, needed.Claims); err != nil {
			return AccessToken{}, err
		}
		if len(needed.ACRValues) > 0 {
			req.ACRValues = needed.ACRValues
		}
		if t.interact == nil {
			whole := *needed
			whole.Claims, whole.ACRValues, whole.MaxAge = req.Claims, req.ACRValues, req.MaxAge
			return AccessToken{}, &whole
		}
		if token, err = t.interact(ctx, req); err != nil {
			return AccessToken{}, &interactionError{err}
		}
	}
	if err != nil {
		return AccessToken{}, err
	}
	return token, token.check()
}

// interactionError is an error of the interaction.
type interactionError struct{ err error }

func (e *interactionError) Error() string   { return errInteraction.Error() + ": " + e.err.Error() }
func (e *interactionError) Unwrap() []error { return []error{errInteraction, e.err} }
