package courier

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A decision is pushed with exactly the headers that RFC 8935 asks for, and the receiver's own secret.
func TestPushHasTheHeadersOfTheRFC(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	r := newReceiver(t, nil)
	c.pushTo(r.URL)
	jti := w.decide("alice")
	r.await(t, 1)
	g := r.accepted()[0]
	if g.JTI != jti || g.User != "alice" {
		t.Errorf("received %s of %s", g.JTI, g.User)
	}
	want := map[string][]string{
		"Content-Type": {"application/secevent+jwt"}, "Accept": {"application/json"}, "Authorization": {"Bearer of the receiver"},
	}
	for name, values := range want {
		if d := cmp.Diff(values, g.Header[name]); d != "" {
			t.Errorf("%s (-want, +got):\n%s", name, d)
		}
	}
}

// Decisions about many subjects arrive, each subject's in their order.
func TestPushKeepsTheOrderOfASubject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	r := newReceiver(t, nil)
	c.pushTo(r.URL)
	want := map[string][]string{}
	for range 10 {
		for u := range 7 {
			user := fmt.Sprintf("user-%d", u)
			want[user] = append(want[user], w.decide(user))
		}
	}
	r.await(t, 70)
	if d := cmp.Diff(want, bySubject(r.accepted())); d != "" {
		t.Errorf("order (-want, +got):\n%s", d)
	}
}

// bySubject are the ids by user, each at its first acceptance.
func bySubject(list []got) map[string][]string {
	out := map[string][]string{}
	for _, g := range list {
		if !slices.Contains(out[g.User], g.JTI) {
			out[g.User] = append(out[g.User], g.JTI)
		}
	}
	return out
}
