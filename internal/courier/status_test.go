package courier

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/stream"
)

func (r *running) setStatus(id string, status ssf.Status) {
	r.t.Helper()
	s, err := r.Update(r.t.Context(), app, id, func(s *ssf.Stream) error {
		s.Status = status
		return nil
	})
	if err != nil || s.Status != status {
		r.t.Fatalf("%s: %+v, %v", status, s, err)
	}
}

// seenAll waits until the stream has looked at everything on the log.
func (r *running) seenAll(w *world) {
	r.t.Helper()
	_, ends, err := w.cluster.Ends(r.t.Context(), topicRevocations)
	if err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "everything is seen", func() bool { return slices.Equal(r.hub.ends(), ends) && r.gauges().lag == 0 })
}

// A paused stream holds, over a restart too, and then delivers in order; a disabled one drops.
func TestPausedHoldsAndDisabledDrops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	r := newReceiver(t, nil)
	s := c.pushTo(r.URL)
	want := []string{w.decide("alice")}
	r.await(t, 1)
	c.setStatus(s.ID, ssf.Paused)
	want = append(want, w.decide("alice"), w.decide("alice"))
	c.seenAll(w)
	c.stop()
	want = append(want, w.decide("alice"))
	c = w.start(nil)
	c.seenAll(w)
	if err := c.Verify(t.Context(), app, s.ID, nil); err != nil { // it is held
		t.Fatal(err)
	}
	if n := len(r.accepted()); n != 1 {
		t.Fatalf("a paused stream sent %d", n)
	}
	c.setStatus(s.ID, ssf.Enabled)
	r.await(t, 5)
	if d := cmp.Diff(want, bySubject(r.accepted())["alice"]); d != "" {
		t.Errorf("order (-want, +got):\n%s", d)
	}

	c.setStatus(s.ID, ssf.Disabled)
	w.decide("alice")
	w.decide("bob")
	if err := c.Verify(t.Context(), app, s.ID, nil); !errors.Is(err, ssf.ErrDisabled) {
		t.Errorf("verification of a disabled stream: %v", err)
	}
	c.seenAll(w)
	c.setStatus(s.ID, ssf.Enabled)
	last := w.decide("alice")
	r.await(t, 6)
	if got := bySubject(r.accepted()); !slices.Equal(got["alice"], append(want, last)) || len(got["bob"]) != 0 {
		t.Errorf("after disabling: %v", got)
	}
}

// A stream that its receiver does not name is paused, with an announcement; naming it starts the time anew.
func TestAnUnusedStreamIsPaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(func(cfg *Config) { cfg.InactivityTimeout = time.Second })
	r := newReceiver(t, nil)
	s := c.pushTo(r.URL)
	r.await(t, 1)
	g := r.accepted()[0]
	if !strings.HasSuffix(g.Type, "/stream-updated") || g.Event["status"] != "paused" {
		t.Errorf("announced %+v", g)
	}
	now, err := c.Stream(t.Context(), app, s.ID)
	if err != nil || now.Status != ssf.Paused || !strings.Contains(now.Reason, "has not named") {
		t.Errorf("%+v, %v", now, err)
	}
	if n := testutil.ToFloat64(c.Courier.metrics.paused.WithLabelValues(pausedInactive)); n != 1 {
		t.Errorf("%v paused", n)
	}
}

// Create, read, list, update and delete are durable, and another receiver's stream is not there.
func TestStreamsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	first, second := c.pollStream(), c.pushTo("https://receiver.example.com/events")
	if _, err := c.Update(t.Context(), app, second.ID, func(s *ssf.Stream) error {
		s.Description = "mine"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	if _, err := c.Update(t.Context(), app, second.ID, func(s *ssf.Stream) error {
		s.Description = "not this"
		return refused
	}); !errors.Is(err, refused) {
		t.Errorf("update: %v", err)
	}
	if err := c.Delete(t.Context(), app, first.ID); err != nil {
		t.Fatal(err)
	}
	look := func(c *running) {
		t.Helper()
		list, err := c.Streams(t.Context(), app)
		if err != nil || len(list) != 1 || list[0].ID != second.ID {
			t.Fatalf("%+v, %v", list, err)
		}
		if s := list[0]; s.Description != "mine" || s.Delivery.Authorization != "Bearer of the receiver" {
			t.Errorf("%+v", s)
		}
		if _, err := c.Stream(t.Context(), app, first.ID); !errors.Is(err, ssf.ErrNotFound) {
			t.Errorf("the deleted one: %v", err)
		}
		other := app
		other.ID = "other"
		if _, err := c.Stream(t.Context(), other, second.ID); !errors.Is(err, ssf.ErrNotFound) {
			t.Errorf("another receiver's: %v", err)
		}
	}
	look(c)
	c.stop()
	// Nothing on the log shows the secret.
	if err := w.cluster.Table(nil).Load(t.Context(), "countersign.streams.v1", func(r stream.Record) error {
		if strings.Contains(string(r.Value), "of the receiver") {
			t.Errorf("the log holds the secret: %s", r.Value)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	look(w.start(nil))
}

// Only what is about a stream's subjects is sent; who was removed is so after the grace.
func TestSubjectsAreChosen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(func(cfg *Config) { cfg.RemovalGrace = time.Hour })
	r := newReceiver(t, nil)
	s := c.pushTo(r.URL)
	named := func(user string) set.Subject { return set.Subject(`{"format":"opaque","id":"` + user + `"}`) }
	change := func(f func(s *ssf.Stream)) {
		t.Helper()
		if _, err := c.Update(t.Context(), app, s.ID, func(s *ssf.Stream) error { f(s); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * time.Hour).Unix()
	change(func(s *ssf.Stream) {
		s.DefaultSubjects = ssf.SubjectsNone
		s.Subjects = []ssf.SubjectEntry{
			{Subject: named("alice")},
			{Subject: named("bob"), Removed: time.Now().Unix()},
			{Subject: named("carol"), Removed: long},
			{Subject: set.Subject(`{"format":"complex","session":{"format":"opaque","id":"session-1"},"user":{"format":"opaque","id":"dave"}}`)},
		}
	})
	for _, user := range []string{"alice", "bob", "carol", "dave", "erin"} {
		w.decide(user)
	}
	r.await(t, 3)
	c.seenAll(w)
	change(func(s *ssf.Stream) { s.DefaultSubjects = ssf.SubjectsAll })
	for _, user := range []string{"carol", "erin"} {
		w.decide(user)
	}
	r.await(t, 4)
	c.seenAll(w)
	got := map[string]int{}
	for user, list := range bySubject(r.accepted()) {
		got[user] = len(list)
	}
	if d := cmp.Diff(map[string]int{"alice": 1, "bob": 1, "dave": 1, "erin": 1}, got); d != "" {
		t.Errorf("SETs by user (-want, +got):\n%s", d)
	}
}

// Who asks too often for a verification, or for too many, is told to wait.
func TestVerificationsAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(func(cfg *Config) { cfg.MinVerificationInterval = time.Hour })
	s := c.pollStream()
	if err := c.Verify(t.Context(), app, s.ID, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(t.Context(), app, s.ID, nil); !isTooMany(err) {
		t.Errorf("the second at once: %v", err)
	}
}

func isTooMany(err error) bool {
	_, ok := errors.AsType[*ssf.TooManyError](err)
	return ok
}

// A stream whose client is taken out of the configuration transmits nothing more, one whose client is changed goes by that.
func TestStreamsFollowTheConfigurationOfClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	r := newReceiver(t, nil)
	s := c.pushTo(r.URL)
	c.stop()

	clients := slices.Clone(w.receivers.Clients)
	changed := clients[0]
	changed.Audience, changed.Interop, changed.RevokeForStepUp = []string{"https://other.example.com"}, true, true
	changed.SubjectFormat = ssf.FormatEmail
	w.receivers.Clients = append([]ssf.Client{changed}, clients[1:]...)
	c = w.start(nil)
	got, err := c.Stream(t.Context(), app, s.ID)
	if err != nil || !got.Interop || !got.RevokeForStepUp || got.SubjectFormat != ssf.FormatEmail || !slices.Equal(got.Audience, changed.Audience) {
		t.Errorf("after a change of the client: %+v, %v", got, err)
	}
	c.stop()

	for _, moved := range []bool{false, true} {
		w.receivers.Clients = clients
		c = w.start(nil)
		if status, text := c.operate("POST", "streams/"+s.ID+"/enable", "", operatorToken); status != 200 {
			t.Fatalf("enable: %d %s", status, text)
		}
		n := len(r.jtis())
		w.decide("alice")
		r.await(t, n+1)
		c.stop()
		n = len(r.jtis())
		if moved {
			changed.Tenant = "quiet"
			w.receivers.Clients = append([]ssf.Client{changed}, clients[1:]...)
		} else {
			w.receivers.Clients = clients[1:]
		}
		c = w.start(nil)
		w.decide("alice")
		r.await(t, n+1)
		c.seenAll(w)
		list := r.accepted()
		if last := list[len(list)-1]; len(r.jtis()) != n+1 || last.Event["status"] != "disabled" {
			t.Errorf("moved %t: the receiver got %d more, %+v", moved, len(r.jtis())-n, last)
		}
		if status, _ := c.operate("POST", "streams/"+s.ID+"/enable", "", operatorToken); status != 400 {
			t.Errorf("moved %t: an operator could enable it: %d", moved, status)
		}
		c.stop()
	}
}

// A change that says nothing of the status leaves it as the transmitter has set it meanwhile.
func TestAChangeOfTheReceiverDoesNotUndoTheTransmitters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	s := c.pollStream()
	o, err := c.find(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Update(t.Context(), app, s.ID, func(s *ssf.Stream) error {
		s.Description = "only the description"
		o.mu.Lock()
		defer o.mu.Unlock()
		o.announce(ssf.Paused, "meanwhile", ssf.ByCourier, time.Now())
		return nil
	})
	if err != nil || got.Status != ssf.Paused || got.StatusBy != ssf.ByCourier || got.Description == "" {
		t.Errorf("%+v, %v", got, err)
	}
	// Who has set it is kept.
	if status, text := c.operate("POST", "streams/"+s.ID+"/pause", `{"reason":"meanwhile"}`, operatorToken); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	c.stop()
	c = w.start(nil)
	if got, err = c.Stream(t.Context(), app, s.ID); err != nil || got.StatusBy != ssf.ByOperator {
		t.Errorf("%+v, %v", got, err)
	}
}

// A stream whose position is lost shows as failing, and takes no control events that would go nowhere.
func TestALostPositionShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	s := c.pollStream()
	p := stream.PartitionFor([]byte(s.ID), 2)
	c.stop()
	if _, err := w.cluster.Producer().Produce(t.Context(), events.TopicStreams, p, []stream.Record{{
		Key: []byte(prefixPosition + s.ID), Value: []byte("{"), Headers: []stream.Header{{Key: stream.HeaderRank, Value: rank{1 << 40, 1}.bytes()}},
	}}); err != nil {
		t.Fatal(err)
	}
	c = w.start(nil)
	eventually(t, "it shows as failing", func() bool { return c.gauges().failing == 1 })
	if err := c.Verify(t.Context(), app, s.ID, nil); !errors.Is(err, errLost) {
		t.Errorf("verification: %v", err)
	}
	if status, text := c.operate("POST", "streams/"+s.ID+"/verify", "", operatorToken); status != 409 || !strings.Contains(text, "replay") {
		t.Errorf("verification by an operator: %d %s", status, text)
	}
}
