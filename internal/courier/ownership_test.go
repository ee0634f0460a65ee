package courier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/stream"
)

// Two couriers share the streams, any of them answers for all, and when one leaves the other takes up its streams where
// they were.
func TestStreamsMoveBetweenCouriers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.start(nil)
	r := newReceiver(t, nil)
	var ids []string
	for range 6 {
		ids = append(ids, a.pushTo(r.URL).ID)
	}
	b := w.start(nil)
	eventually(t, "each holds one partition", func() bool { return len(a.held()) == 1 && len(b.held()) == 1 })
	made := b.pushTo(r.URL)
	ids = append(ids, made.ID)
	eventually(t, "both list all", func() bool { return len(a.all()) == 7 && len(b.all()) == 7 })
	// A request for any stream may go to any courier.
	for _, id := range ids {
		for _, c := range []*running{a, b} {
			addr, _ := c.Addr(t.Context())
			answer, err := http.Post("http://"+addr+"/"+id, "text/plain", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if want := id + " body"; answer.StatusCode != http.StatusOK || string(text) != want {
				t.Errorf("%d %q, want %q", answer.StatusCode, text, want)
			}
		}
	}
	want := map[string]int{}
	for i := range 5 {
		want[w.decide(fmt.Sprint("user-", i))] = 7
	}
	count := func() map[string]int {
		got := map[string]int{}
		for _, g := range r.accepted() {
			got[g.JTI]++
		}
		return got
	}
	eventually(t, "all are delivered", func() bool { return cmp.Diff(want, count()) == "" })
	a.stop()
	eventually(t, "one holds all", func() bool { return len(b.held()) == 2 })
	want[w.decide("later")] = 7
	eventually(t, "that too", func() bool { return len(count()) == 6 && count()[w.last()] == 7 })
	if d := cmp.Diff(want, count()); d != "" {
		t.Errorf("deliveries (-want, +got):\n%s", d)
	}
}

func (w *world) last() string { return fmt.Sprintf("jti-later-%d", w.made) }

// Whoever is claimed away from writes nothing that counts, and what it wrote late is replaced.
func TestAFormerHolderIsFenced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	s := c.pollStream()
	p := stream.PartitionFor([]byte(s.ID), 2)
	o, err := c.find(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	old := o.holding
	produce := func(r stream.Record) {
		t.Helper()
		if _, err := w.cluster.Producer().Produce(t.Context(), events.TopicStreams, p, []stream.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	// Another claims, and is gone at once: the courier claims it back, for its assignment still stands.
	produce(stream.Record{
		Key: []byte(claimKey(p)), Value: encodeClaim(claim{Nonce: "another", URL: "http://127.0.0.1:1"}),
		Headers: []stream.Header{{Key: stream.HeaderRank, Value: rank{epoch: old.epoch + 5}.bytes()}},
	})
	eventually(t, "the partition is claimed back", func() bool {
		h := c.holdingOf(p)
		return h != nil && h != old && h.epoch == old.epoch+6
	})
	if err := old.save(t.Context(), o); err == nil {
		t.Error("a former holder's write counted")
	}
	// A record of the old epoch, late.
	late := s
	late.Description = "written late"
	value, err := encodeConfig(late, nil, c.secrets)
	if err != nil {
		t.Fatal(err)
	}
	produce(old.record(prefixStream+s.ID, value, rank{old.epoch, 1 << 40}))
	produce(old.record(prefixStream+"nobody", value, rank{old.epoch, 1 << 40}))
	eventually(t, "it is written again", func() bool {
		var last stream.Record
		if err := w.cluster.Table(nil).Load(t.Context(), events.TopicStreams, func(r stream.Record) error {
			if string(r.Key) == prefixStream+s.ID {
				last = r
				last.Headers, last.Value = append([]stream.Header(nil), r.Headers...), bytes.Clone(r.Value)
			}
			return nil
		}); err != nil {
			return false
		}
		at, err := parseRank(last.Header(stream.HeaderRank))
		return err == nil && at.epoch == old.epoch+6 && !bytes.Contains(last.Value, []byte("written late"))
	})
	now, err := c.Stream(t.Context(), app, s.ID)
	if err != nil || now.Description != "" {
		t.Errorf("%+v, %v", now, err)
	}
}

func (c *Courier) holdingOf(partition int) *holding {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holdings[partition]
}

// crash ends a courier as kill -9 does: nothing is finished or written, and its member of the group stays behind.
func (r *running) crash() {
	for _, h := range r.held() {
		h.cancel(errFenced)
	}
	r.stop()
}

// Crashes under load lose nothing, change no id and no order.
func TestCrashesLoseNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	r := newReceiver(t, func(n int, _ got, w http.ResponseWriter) {
		if n%5 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	c.pushTo(r.URL)
	want := map[string][]string{}
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			user := fmt.Sprint("user-", i%9)
			id := fmt.Sprintf("%s-%d", user, i)
			mu.Lock()
			want[user] = append(want[user], "jti-"+id)
			mu.Unlock()
			w.append(claimsOf(user, id))
			pause(ctx, time.Millisecond)
		}
	})
	for round := range 6 {
		r.await(t, 20*(round+1))
		c.crash()
		c = w.start(nil)
	}
	cancel()
	load.Wait()
	total := 0
	for _, list := range want {
		total += len(list)
	}
	r.await(t, total)
	if d := cmp.Diff(want, firsts(r.accepted())); d != "" {
		t.Errorf("order (-want, +got):\n%s", d)
	}
}

// firsts is bySubject for long lists.
func firsts(list []got) map[string][]string {
	out, known := map[string][]string{}, map[string]bool{}
	for _, g := range list {
		if !known[g.JTI] {
			out[g.User] = append(out[g.User], g.JTI)
		}
		known[g.JTI] = true
	}
	return out
}

// A courier that comes back under its address takes its streams up without waiting for the group, which has not missed it
// yet.
func TestARestartTakesItsStreamsUpAtOnce(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorldOn(t, fake.Addrs())
	fixed := func(cfg *Config) { cfg.Advertise = "http://127.0.0.1:9" }
	c := w.start(fixed)
	r := newReceiver(t, nil)
	c.pushTo(r.URL)
	eventually(t, "it holds all", func() bool { return len(c.held()) == 2 })
	c.stop()
	jti := w.decide("alice")
	fake.HangUp(kafkatest.KeyJoinGroup, 1_000_000, nil)
	w.start(fixed)
	r.await(t, 1)
	if got := r.jtis(); got[0] != jti {
		t.Errorf("delivered %q", got)
	}
}

// Of two claims of one process at a time only one is held: the other is fenced, whichever of them is taken up last.
func TestTwoClaimsOfOneProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.start(nil)
	eventually(t, "both are held", func() bool { return len(c.held()) == 2 })
	for range 10 {
		var got [2]*holding
		var claiming sync.WaitGroup
		for i := range got {
			claiming.Go(func() { got[i], _ = c.claim(t.Context(), 0) })
		}
		claiming.Wait()
		if got[0] == nil || got[1] == nil || got[0].epoch == got[1].epoch {
			t.Fatalf("%+v and %+v both think they hold it", got[0], got[1])
		}
		eventually(t, "one lives at most", func() bool { return got[0].ctx.Err() != nil || got[1].ctx.Err() != nil })
		for _, h := range got { // nobody else does
			h.cancel(errFenced)
			h.release(t.Context())
		}
	}
}

// Nothing is passed on to an address that was put on the log by somebody without the key.
func TestOnlyGenuineClaimsArePeers(t *testing.T) {
	t.Parallel()
	secrets := testSecrets(t, testConfig(&world{t: t}).SecretsKeyFile)
	otherFile := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(otherFile, []byte(strings.Repeat("x", minSecretsKey)), 0o600); err != nil {
		t.Fatal(err)
	}
	const self, peer = "https://courier-1.example.com", "https://courier-2.example.com"
	m, err := newMetrics(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	signedBy := func(s *Secrets, partition int, epoch uint64, url string) claim {
		c := claim{Nonce: "n", URL: peer}
		c.MAC = s.sign(partition, epoch, &c)
		c.URL = url
		return c
	}
	for name, test := range map[string]struct {
		claim   claim
		secrets *Secrets
		want    string
	}{
		"genuine":           {signedBy(secrets, 0, 7, peer), secrets, peer},
		"not signed":        {claim{Nonce: "n", URL: peer}, secrets, ""},
		"another key":       {signedBy(testSecrets(t, otherFile), 0, 7, peer), secrets, ""},
		"another address":   {signedBy(secrets, 0, 7, "https://thief.example.com"), secrets, ""},
		"another partition": {signedBy(secrets, 1, 7, peer), secrets, ""},
		"another epoch":     {signedBy(secrets, 0, 6, peer), secrets, ""},
		"no key":            {signedBy(nil, 0, 7, peer), nil, ""},
		"our own":           {claim{Nonce: "n", URL: self}, nil, ""},
	} {
		table := newTable(2, self, test.secrets, zap.NewNop(), m)
		table.fold(&stream.Record{
			Key: []byte(claimKey(0)), Value: encodeClaim(test.claim), Headers: []stream.Header{{Key: stream.HeaderRank, Value: rank{epoch: 7}.bytes()}},
		})
		epoch, held, _ := table.holder(0)
		if got := held.peer(self); got != test.want || epoch != 7 {
			t.Errorf("%s: %q, epoch %d", name, got, epoch)
		}
	}
}

// A courier that is given no partition has streams made elsewhere.
func TestACourierWithoutPartitionsPassesCreationOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.idle = true
	couriers := []*running{w.start(nil), w.start(nil), w.start(nil)}
	eventually(t, "the one without sends on", func() bool {
		i := slices.IndexFunc(couriers, func(c *running) bool { return len(c.held()) == 0 })
		if i < 0 {
			return false
		}
		_, err := couriers[i].Create(t.Context(), ssf.Stream{
			Tenant: "acme", Receiver: app.ID, Issuer: "https://tr.example.com/acme", Audience: app.Audience, Delivery: ssf.Delivery{Method: ssf.MethodPoll},
		})
		_, elsewhere := errors.AsType[*ssf.ElsewhereError](err)
		return elsewhere // else it was given one meanwhile
	})
}
