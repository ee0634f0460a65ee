package stepupssf

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Run sets the stream up, polls it if it is to be polled, has it verified again and again, and tells the application of
// what was accepted, until ctx ends; then it returns nil. Trouble is retried for ever, and the index gets stale meanwhile.
// It must be called once. The stream stays at the transmitter, which keeps what comes meanwhile.
func (r *Receiver) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return errors.New("stepupssf: Run was called before")
	}
	var group errgroup.Group
	group.Go(func() error {
		r.tell(ctx)
		return nil
	})
	good := time.Now()
	for backoff := firstBackoff; ctx.Err() == nil; backoff = min(2*backoff, maxBackoff) {
		err := r.setUp(ctx)
		if err == nil {
			err = r.follow(ctx)
		}
		if ctx.Err() != nil || err == nil {
			break
		}
		// That it could be set up says nothing: the transmitter may not deliver for all that.
		if alive := time.Unix(0, r.alive.Load()); alive.After(good) {
			good, backoff = alive, firstBackoff
		}
		r.trouble("the stream is not in order, trying again", err)
		if time.Since(good) > r.cfg.VerifyWithin {
			r.died(err)
		}
		wait := backoff
		if e, ok := errors.AsType[*AnswerError](err); ok {
			wait = max(wait, e.RetryAfter)
		}
		pause(ctx, wait)
	}
	return group.Wait()
}

// follow keeps a stream going that has been set up. It returns when ctx ends, or the stream is gone.
func (r *Receiver) follow(ctx context.Context) error {
	r.mu.Lock()
	s := *r.stream
	r.mu.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	if r.cfg.Delivery == Poll {
		group.Go(func() error { return r.poll(ctx, s.Delivery.EndpointURL) })
	}
	group.Go(func() error { return r.watch(ctx, &s) })
	return group.Wait()
}

// setUp finds the stream or makes it, and makes it what it has to be.
func (r *Receiver) setUp(ctx context.Context) error {
	m, err := r.client.Metadata(ctx)
	if err != nil {
		return err
	}
	var s Stream
	switch {
	case m.ConfigurationEndpoint == "":
		s = Stream{ID: r.cfg.StreamID, Issuer: r.cfg.Issuer, Delivery: StreamDelivery{Method: r.method(), EndpointURL: r.cfg.PollURL}}
	case r.cfg.StreamID != "":
		if s, err = r.client.Read(ctx, r.cfg.StreamID); err == nil {
			s, err = r.adopt(ctx, s)
		}
	default:
		s, err = r.find(ctx)
	}
	if err != nil {
		return err
	}
	if len(s.Audience)+len(r.cfg.Audience) == 0 {
		return errors.New("the stream's configuration has no audience, or cannot be read: Config.Audience must be set")
	}
	if r.cfg.PollURL != "" {
		s.Delivery.EndpointURL = r.cfg.PollURL
	}
	if r.cfg.Delivery == Poll {
		if problem := r.cfg.addressProblem(s.Delivery.EndpointURL); problem != "" {
			return fmt.Errorf("the stream's endpoint_url is %.200q, must be %s", s.Delivery.EndpointURL, problem)
		}
	}
	r.mu.Lock()
	was := r.stream
	r.stream = &s
	r.mu.Unlock()
	if was == nil {
		close(r.found)
	} else if was.ID != s.ID {
		r.doubt = time.Time{} // it was about the other
		r.log.Error("the stream was gone, and is another one now: what was sent in between is lost", "was", was.ID, "is", s.ID)
	}
	r.revive()
	if m.VerificationEndpoint == "" || s.ID == "" {
		r.log.Warn("the transmitter cannot be asked for verification: nothing tells a quiet stream from a broken one")
	}
	if missing := missing(r.cfg.Events, s.EventsDelivered); len(s.EventsDelivered) > 0 && len(missing) > 0 {
		r.log.Info("the transmitter does not deliver some events", "events", missing)
	}
	return r.refresh(ctx)
}

func missing(want, have []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(e string) bool { return slices.Contains(have, e) })
}

// find returns the stream of this receiver, or makes one.
func (r *Receiver) find(ctx context.Context) (Stream, error) {
	streams, err := r.client.List(ctx)
	if err != nil && status(err) != http.StatusNotFound {
		return Stream{}, err
	}
	for _, s := range streams {
		mine := s.Delivery.Method == r.method() && s.Description == r.cfg.Description
		if r.cfg.Delivery == Push {
			mine = s.Delivery.EndpointURL == r.cfg.PushURL
		}
		if mine {
			return r.adopt(ctx, s)
		}
	}
	s, err := r.client.Create(ctx, r.request(""))
	if status(err) != http.StatusConflict {
		return s, err
	}
	if len(streams) != 1 {
		return Stream{}, fmt.Errorf("none of the %d streams that there are is this receiver's: %w", len(streams), err)
	}
	return r.adopt(ctx, streams[0])
}

// adopt makes a stream what this receiver needs. With a secret there is no telling whether it is that already.
func (r *Receiver) adopt(ctx context.Context, s Stream) (Stream, error) {
	want := r.request(s.ID)
	same := s.Delivery.Method == want.Delivery.Method && (r.cfg.Delivery == Poll || s.Delivery.EndpointURL == r.cfg.PushURL) &&
		s.Description == want.Description && len(missing(want.EventsRequested, s.EventsRequested)) == 0 &&
		len(missing(s.EventsRequested, want.EventsRequested)) == 0
	if same && r.authorization == "" {
		return s, nil
	}
	changed, err := r.client.Update(ctx, want)
	switch status(err) {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented: // some know no PATCH
		changed, err = r.client.Replace(ctx, want)
	}
	return changed, err
}

func (r *Receiver) method() string {
	if r.cfg.Delivery == Push {
		return MethodPush
	}
	return MethodPoll
}

// request is what this receiver says of its stream.
func (r *Receiver) request(id string) StreamRequest {
	return StreamRequest{
		StreamID: id, EventsRequested: r.cfg.Events, Description: r.cfg.Description,
		Delivery: &StreamDelivery{Method: r.method(), EndpointURL: r.cfg.PushURL, Authorization: r.authorization},
	}
}

// refresh reads the stream's status, where it can be read.
func (r *Receiver) refresh(ctx context.Context) error {
	r.mu.Lock()
	s := r.stream
	r.mu.Unlock()
	if s.ID == "" {
		return nil
	}
	got, err := r.client.Status(ctx, s.ID)
	switch {
	case errors.Is(err, ErrNoEndpoint):
		return nil
	case err != nil:
		return err
	}
	r.status(got.Status, got.Reason)
	return nil
}

// status takes in what the transmitter says of the stream's status.
func (r *Receiver) status(status, reason string) {
	r.become(reason, func(is State) State {
		switch {
		case status == StatusPaused:
			return StatePaused
		case status == StatusDisabled:
			return StateDisabled
		case !is.sends():
			return StateStarting // until it proves to be alive
		}
		return is
	})
}

// sends tells that the transmitter is not known to send nothing.
func (s State) sends() bool { return s != StatePaused && s != StateDisabled }

// become makes the state what next says of the one that it is, and tells of it, of one change at a time, in their order.
func (r *Receiver) become(reason string, next func(is State) State) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.mu.Lock()
	s := next(r.state)
	same := s == r.state || s == r.told
	if r.state != s {
		r.state, r.told = s, s
	}
	r.mu.Unlock()
	if same {
		return
	}
	if s == StateDead || !s.sends() {
		r.log.Error("the stream does not deliver", "state", string(s), "reason", reason)
	} else {
		r.log.Info("the stream's state has changed", "state", string(s), "reason", reason)
	}
	if r.cfg.StateChanged != nil {
		r.cfg.StateChanged(s, reason)
	}
}

// heard takes a sign of life in: all that was sent until then is here.
func (r *Receiver) heard(at time.Time) {
	r.become("", func(is State) State {
		if !is.sends() || is == StateDead {
			return is // what a paused stream holds is not here, and a transmitter that verifies nothing may answer anything
		}
		if at.After(r.heardAt) {
			r.heardAt = at
		}
		if !r.cfg.ThirdParty {
			r.index.HeardAt(at)
		}
		return StateLive
	})
}

// watch has the stream verified again and again.
func (r *Receiver) watch(ctx context.Context, s *Stream) error {
	every := max(r.cfg.VerifyEvery, time.Duration(s.MinVerificationInterval)*time.Second)
	good := time.Now()
	for ctx.Err() == nil {
		asked := time.Now()
		wait := every
		switch err := r.prove(ctx, s.ID); {
		case ctx.Err() != nil:
		case err == nil, errors.Is(err, ErrNoEndpoint):
			good = time.Now()
		case isGone(err):
			return err
		default:
			if e, ok := errors.AsType[*AnswerError](err); ok {
				wait = max(wait, e.RetryAfter)
			}
			r.trouble("verifying the stream", err)
			if status(err) != http.StatusTooManyRequests && time.Since(good) >= r.cfg.VerifyWithin || time.Since(good) > 4*(every+r.cfg.VerifyWithin) {
				r.died(err)
			}
		}
		pause(ctx, wait-time.Since(asked))
	}
	return nil
}

// died changes the state to dead, unless it is known why nothing comes.
func (r *Receiver) died(err error) {
	r.become(err.Error(), func(is State) State {
		if is.sends() {
			return StateDead
		}
		return is
	})
}

// errSilent is the error of a stream that was to be verified.
var errSilent = errors.New("the verification SET did not come")

// prove asks for a verification SET and waits for it. A stream that is paused or disabled is asked for its status instead.
func (r *Receiver) prove(ctx context.Context, stream string) error {
	if stream == "" {
		return ErrNoEndpoint
	}
	r.mu.Lock()
	sends := r.state.sends()
	r.mu.Unlock()
	if !sends {
		if err := r.refresh(ctx); err != nil {
			return err
		}
	}
	r.mu.Lock()
	sends = r.state.sends()
	r.mu.Unlock()
	if !sends {
		return nil
	}
	select {
	case <-r.life: // one from before
	default:
	}
	if err := r.client.Verify(ctx, stream, r.newState(time.Now())); err != nil {
		return err
	}
	timer := time.NewTimer(r.cfg.VerifyWithin)
	defer timer.Stop()
	select {
	case <-r.life:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	err := fmt.Errorf("%w within %v", errSilent, r.cfg.VerifyWithin)
	return errors.Join(err, r.refresh(ctx)) // it may have been paused without a word
}

// A verification's state is the time, 8 random bytes, and a MAC by which its receiver knows it as its own, also after it
// has been started anew.
const (
	stateBody = 16
	stateSize = 2 * stateBody
)

func (r *Receiver) newState(at time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano()))
	b = append(b, make([]byte, 8)...)
	_, _ = rand.Read(b[8:]) // never fails
	return base64.RawURLEncoding.EncodeToString(append(b, r.mac(b)...))
}

// asked returns when a verification with this state was asked for.
func (r *Receiver) asked(state string) (time.Time, bool) {
	b, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil || len(b) != stateSize || !hmac.Equal(b[stateBody:], r.mac(b[:stateBody])) {
		return time.Time{}, false
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(b))), true
}

func (r *Receiver) mac(b []byte) []byte {
	h := hmac.New(sha256.New, []byte("stepup-ssf-state\x00"+r.cfg.Issuer+"\x00"+r.cfg.PushURL+"\x00"+r.cfg.Description+"\x00"+r.authorization))
	h.Write(b)
	return h.Sum(nil)[:stateSize-stateBody]
}

// control takes in an event about the stream itself.
func (r *Receiver) control(s *set) error {
	r.mu.Lock()
	stream := r.stream
	r.mu.Unlock()
	if stream != nil && stream.ID != "" && s.subject != nil && s.subject.ID != stream.ID {
		return refuse(InvalidRequest, "sub_id: is %.100q, must be the stream", s.subject.ID)
	}
	var event struct {
		State  *string `json:"state"`
		Status string  `json:"status"`
		Reason string  `json:"reason"`
	}
	if err := json.Unmarshal(s.members, &event); err != nil {
		return refuse(InvalidRequest, "events: %v", err)
	}
	if s.kind == eventStreamUpdated {
		if !slices.Contains([]string{StatusEnabled, StatusPaused, StatusDisabled}, event.Status) {
			return refuse(InvalidRequest, "status: is %.40q, must be enabled, paused or disabled", event.Status)
		}
		// SETs come in any order. One from before the last start is put right by the next look at the status.
		r.mu.Lock()
		late := s.issued.Before(r.statusAt)
		if !late {
			r.statusAt = s.issued
		}
		r.mu.Unlock()
		if !late {
			r.status(event.Status, event.Reason[:min(len(event.Reason), maxDescription)])
		}
		return nil
	}
	at := s.issued // nobody asked
	if now := time.Now(); at.After(now) {
		at = now
	}
	if event.State != nil {
		var ours bool
		if at, ours = r.asked(*event.State); !ours {
			return refuse(InvalidState, "state: is none that was asked for")
		}
	}
	r.stats.verifications.Add(1)
	r.proved(at)
	return nil
}

// proved takes in that a verification SET came, which was asked for or issued at the time.
func (r *Receiver) proved(at time.Time) {
	if time.Since(at) > r.cfg.VerifyWithin {
		return // it says nothing about now
	}
	r.alive.Store(time.Now().UnixNano())
	select {
	case r.life <- struct{}{}:
	default:
	}
	r.revive()
	if r.cfg.Delivery == Push {
		r.heard(at) // an answer to a poll says more
	}
}

// revive ends the state dead, silently: what it becomes shows soon.
func (r *Receiver) revive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == StateDead {
		r.state = StateStarting
	}
}

// isGone tells whether the transmitter does not know the stream any more.
func isGone(err error) bool {
	return status(err) == http.StatusNotFound || status(err) == http.StatusGone
}

// trouble counts and logs what will be tried again.
func (r *Receiver) trouble(doing string, err error) {
	r.stats.trouble.Add(1)
	r.log.Warn(doing, "error", err)
}
