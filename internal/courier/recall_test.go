package courier

import (
	"testing"

	"github.com/countersign-io/countersign/internal/ssf"
)

// A SET that was handed out in a former life may be acknowledged before it has been read again from the log.
func TestAcknowledgementOfWhatIsNotReadAgainYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	s := c.create(ssf.Delivery{Method: ssf.MethodPoll})
	first, second := w.decide("alice"), w.decide("alice")
	poll := func(q ssf.PollRequest) map[string]string {
		t.Helper()
		answer, err := c.Poll(t.Context(), app, s.ID, q)
		if err != nil {
			t.Fatal(err)
		}
		return answer.Sets
	}
	if sets := poll(ssf.PollRequest{}); sets[first] == "" || len(sets) != 1 {
		t.Fatalf("handed out %v", sets)
	}
	o, err := c.find(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both wait", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.waiting == 2
	})
	o.mu.Lock()
	again := o.progress().Partitions // as a new life finds it
	o.drop()
	for p := range o.cursors {
		o.cursors[p].again = again[p].Pending
	}
	o.mu.Unlock()
	if sets := poll(ssf.PollRequest{Ack: []string{first}}); sets[second] == "" || len(sets) != 1 {
		t.Errorf("handed out after the acknowledgement: %v", sets)
	}
}
