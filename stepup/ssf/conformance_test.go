package stepupssf_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/stepup"
	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

// The tests in this file are the receiver modules of the OpenID conformance suite, by their names, for push and for poll.

// openid-ssf-receiver-happypath: create, read, PATCH, PUT, delete the same stream.
func TestReceiverHappypath(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, delivery stepupssf.Delivery) {
		p := newTransmitter(t)
		a := p.live(p.app(delivery, nil))
		id := a.Stats().StreamID
		c := a.Client()
		if s, err := c.Read(t.Context(), id); err != nil || s.ID != id || s.Delivery.Authorization != "" {
			t.Errorf("read: %+v, %v", s, err)
		}
		requested := []string{stepup.EventSessionRevoked}
		if s, err := c.Update(t.Context(), stepupssf.StreamRequest{StreamID: id, EventsRequested: requested}); err != nil || !slices.Equal(s.EventsRequested, requested) {
			t.Errorf("updated: %+v, %v", s, err)
		}
		whole := stepupssf.StreamRequest{StreamID: id, EventsRequested: requested, Description: "other", Delivery: &stepupssf.StreamDelivery{Method: methodPoll}}
		if delivery == stepupssf.Push {
			whole.Delivery = &stepupssf.StreamDelivery{Method: methodPush, EndpointURL: a.URL, Authorization: secretHeader}
		}
		if s, err := c.Replace(t.Context(), whole); err != nil || s.Description != "other" {
			t.Errorf("replaced: %+v, %v", s, err)
		}
		if all, err := c.List(t.Context()); err != nil || len(all) != 1 || all[0].ID != id {
			t.Errorf("listed: %+v, %v", all, err)
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), id); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(t.Context(), id); err == nil {
			t.Error("a deleted stream can be read")
		}
	})
}

// openid-ssf-receiver-stream-create-delete.
func TestReceiverStreamCreateDelete(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, delivery stepupssf.Delivery) {
		p := newTransmitter(t)
		a := p.live(p.app(delivery, nil))
		p.with(func() {
			i := slices.IndexFunc(p.calls, func(c call) bool { return c.method == http.MethodPost && c.path == "/streams" })
			body := maps.Clone(p.calls[i].body)
			want := object{"method": methodPoll}
			if delivery == stepupssf.Push {
				want = object{"method": methodPush, "endpoint_url": a.URL, "authorization_header": secretHeader}
			}
			if diff := cmp.Diff(body, object{
				"delivery": want, "description": "stepup",
				"events_requested": []any{
					stepup.EventStepUpRequired, caep + "session-revoked", caep + "assurance-level-change", caep + "risk-level-change",
					caep + "credential-change", caep + "device-compliance-change",
				},
			}); diff != "" {
				t.Errorf("create (-got, +want):\n%s", diff)
			}
		})
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
		if err := a.Client().Delete(t.Context(), a.Stats().StreamID); err != nil || p.called("DELETE /streams") != 1 {
			t.Error(err)
		}
	})
}

// openid-ssf-receiver-stream-status-update: create, update status, delete.
func TestReceiverStreamStatusUpdate(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, delivery stepupssf.Delivery) {
		p := newTransmitter(t)
		a := p.live(p.app(delivery, nil))
		c, id := a.Client(), a.Stats().StreamID
		for _, status := range []string{stepupssf.StatusPaused, stepupssf.StatusDisabled, stepupssf.StatusEnabled} {
			if s, err := c.SetStatus(t.Context(), stepupssf.StreamStatus{StreamID: id, Status: status, Reason: "test"}); err != nil || s.Status != status {
				t.Errorf("set: %+v, %v", s, err)
			}
			if s, err := c.Status(t.Context(), id); err != nil || s.Status != status || s.StreamID != id || s.Reason != "test" {
				t.Errorf("read: %+v, %v", s, err)
			}
		}
		if err := c.Delete(t.Context(), id); err != nil {
			t.Error(err)
		}
	})
}

// openid-ssf-receiver-stream-verification: create, verify, answer 202 or acknowledge.
func TestReceiverStreamVerification(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, delivery stepupssf.Delivery) {
		p := newTransmitter(t)
		a := p.live(p.app(delivery, nil))
		p.until("a verification came back", func() bool { return a.Stats().Verifications > 0 })
		if _, fresh := a.index.Fresh(); !fresh {
			t.Error("the stream is live, and the index is not fresh")
		}
		// One with a state that nobody asked for.
		jti, set := p.control(a.Stats().StreamID, own+"verification", object{"state": "another"})
		got := p.send(a, delivery, jti, set)
		if want := map[stepupssf.Delivery]string{
			stepupssf.Poll: "invalid_state",
			stepupssf.Push: "400 " + `{"err":"invalid_state","description":"state: is none that was asked for"}` + "\n",
		}[delivery]; got != want {
			t.Errorf("a wrong state: %q, want %q", got, want)
		}
	})
}

// openid-ssf-receiver-unsolicited-stream-verification: acknowledge one without a state, sent right after the creation.
func TestReceiverUnsolicitedStreamVerification(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, delivery stepupssf.Delivery) {
		p := newTransmitter(t)
		p.unsolicited, p.quiet = true, true
		a := p.live(p.app(delivery, nil))
		p.until("it came", func() bool { return a.Stats().Verifications == 1 })
		for _, members := range []object{{}, {"state": nil}} {
			jti, set := p.control(a.Stats().StreamID, own+"verification", members)
			if got := p.send(a, delivery, jti, set); got != "ok" {
				t.Errorf("%v: %s", members, got)
			}
		}
		if s := a.Stats(); s.Refused != 0 || s.Postponed != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// openid-ssf-receiver-stream-supported-events: create, verify, accept every type in events_delivered.
func TestReceiverStreamSupportedEvents(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, delivery stepupssf.Delivery) {
		p := newTransmitter(t)
		a := p.live(p.app(delivery, nil))
		subjects := []object{
			subject("u1", "s1"), opaque("u1"), {"format": "email", "email": "u1@example.com"}, {"format": "iss_sub", "iss": "https://idp.example.com", "sub": "u1"},
		}
		for i, s := range subjects {
			for kind, members := range everyType() {
				jti := p.jti()
				set := key1().sign(p.claims(jti, kind, members, func(c object) { c["sub_id"] = s }), nil)
				if got := p.send(a, delivery, jti, set); got != "ok" {
					t.Errorf("%s, subject %d: %s", kind, i, got)
				}
			}
		}
		want := len(everyType()) * len(subjects)
		p.until("all was told", func() bool {
			_, events := a.told()
			return len(events) == want-1 // one session was revoked, of the subject that is known here
		})
		if applied, _ := a.told(); len(applied) != 1 || !a.open("u1") {
			t.Errorf("applied %v, open %v", applied, a.open("u1"))
		}
	})
}

// openid-ssf-receiver-stream-caep-interop: create, read, read status, verify, accept the three interop types, whose
// event_timestamp is in milliseconds.
func TestReceiverStreamCAEPInterop(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, delivery stepupssf.Delivery) {
		p := newTransmitter(t)
		events := []string{caep + "session-revoked", caep + "credential-change", caep + "device-compliance-change"}
		a := p.live(p.app(delivery, func(c *stepupssf.Config) { c.Events = events }))
		if s, err := a.Client().Read(t.Context(), a.Stats().StreamID); err != nil || !slices.Equal(s.EventsRequested, events) {
			t.Errorf("%+v, %v", s, err)
		}
		if s, err := a.Client().Status(t.Context(), a.Stats().StreamID); err != nil || s.Status != stepupssf.StatusEnabled {
			t.Errorf("%+v, %v", s, err)
		}
		for _, kind := range events {
			jti := p.jti()
			members := everyType()[kind]
			if got := p.send(a, delivery, jti, key1().sign(p.claims(jti, kind, members, nil), nil)); got != "ok" {
				t.Errorf("%s: %s", kind, got)
			}
		}
		p.until("all was told", func() bool {
			applied, events := a.told()
			return len(applied) == 1 && len(events) == 2
		})
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, e := range a.events {
			if age := e.IssuedAt.Sub(e.Time); age.Abs().Minutes() > 1 || e.Subject != (stepup.Subject{Tenant: "acme", User: "u1", Session: "s1"}) {
				t.Errorf("%+v", e)
			}
		}
		if r, ok := a.index.Check(stepup.Subject{Tenant: "acme", User: "u1", Session: "s1"}); !ok || r.Action != stepup.ActionRevokeSession {
			t.Errorf("%+v", r)
		}
		if _, ok := a.index.Check(stepup.Subject{Tenant: "acme", User: "u1", Session: "s2"}); ok {
			t.Error("another session is revoked too")
		}
	})
}
