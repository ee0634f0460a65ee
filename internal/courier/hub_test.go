package courier

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// shelf is a log of one partition in memory that counts its reads.
type shelf struct {
	mu      sync.Mutex
	records []stream.Record
	reads   int
	fail    int // so many reads
	kept    int64
}

func (s *shelf) Ends(context.Context, string) (first, end []int64, err error) {
	return []int64{s.kept}, []int64{int64(len(s.records))}, nil
}

func (s *shelf) ReadRange(_ context.Context, _ string, _ int, from, to int64, fn func(stream.Record) error) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reads++; s.reads <= s.fail {
		return from, errors.New("not now")
	}
	for from = max(from, s.kept); from < min(to, int64(len(s.records))); from++ {
		if r := s.records[from]; r.Topic != "gone" {
			if err := fn(r); err != nil {
				return from + 1, err
			}
		}
	}
	return from, nil
}

// put appends a decision; rank 0 has no header.
func (s *shelf) put(user, id, jti string, epoch uint64) *stream.Record {
	c := claimsOf(user, id)
	c.JTI = jti
	r := stream.Record{Key: []byte(revocation.Key("acme", user, id)), Value: c.Encode(), Offset: int64(len(s.records))}
	if epoch > 0 {
		r.Headers = []stream.Header{{Key: stream.HeaderRank, Value: rank{epoch: epoch}.bytes()}}
	}
	s.records = append(s.records, r)
	return &s.records[len(s.records)-1]
}

func testHub(t *testing.T, s *shelf, window, pages int) *hub {
	t.Helper()
	m, err := newMetrics(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(s, window, pages, zap.NewNop(), m)
	h.begin([]int64{0})
	return h
}

// offsetsFrom are the offsets of the decisions that a stream at an offset gets.
func offsetsFrom(t *testing.T, h *hub, from int64) []int64 {
	t.Helper()
	var out []int64
	for {
		list, next, known := h.look(0, from, 3)
		if !known {
			if err := h.read(t.Context(), 0, from); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if next == from {
			return out
		}
		for _, d := range list {
			out = append(out, d.offset)
		}
		from = next
	}
}

// What a former owner of a key wrote late is left out, repeats are not; what cannot be read and deletions are passed over.
func TestOnlyTheNewestOfAKeyCounts(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	s.put("alice", "r1", "j1", 5)
	s.put("alice", "r1", "j1", 5) // a repeat
	s.put("alice", "r1", "j0", 4) // late
	s.put("alice", "r2", "j2", 4) // another key
	s.put("alice", "r1", "j3", 5)
	s.put("bob", "r1", "j4", 0)
	s.put("bob", "r1", "j5", 0)
	s.records = append(s.records, stream.Record{Key: []byte("x"), Offset: 7}, stream.Record{Key: []byte("x"), Value: []byte("{"), Offset: 8})
	want := []int64{0, 1, 3, 4, 5, 6}
	live := testHub(t, s, 1<<20, 1<<20)
	for i := range s.records {
		live.take(&s.records[i])
	}
	if d := cmp.Diff(want, offsetsFrom(t, live, 0)); d != "" {
		t.Errorf("live (-want, +got):\n%s", d)
	}
	behind := testHub(t, s, 1<<20, 1<<20)
	behind.begin([]int64{9})
	if d := cmp.Diff(want, offsetsFrom(t, behind, 0)); d != "" {
		t.Errorf("read again (-want, +got):\n%s", d)
	}
}

// A stream anywhere in the log gets what is there, from a small window and small pages, and memory keeps its bounds.
func TestEveryPositionIsServedWithinTheBounds(t *testing.T) {
	t.Parallel()
	s := &shelf{fail: 1}
	for i := range 500 {
		s.put(fmt.Sprint("user-", i), "r", fmt.Sprint("j", i), 0)
	}
	s.records[77].Topic = "gone"
	h := testHub(t, s, 20_000, 50_000)
	for i := range s.records {
		h.take(&s.records[i])
	}
	w := h.windows[0]
	if w.bytes > 20_000 || len(w.list) == 0 || len(w.newest) != len(w.list) {
		t.Errorf("window of %d bytes, %d decisions, %d keys", w.bytes, len(w.list), len(w.newest))
	}
	var wg sync.WaitGroup
	for _, from := range []int64{0, 0, 0, 76, 77, 300, w.from - 1, w.from, 499, 500} {
		wg.Go(func() {
			var want []int64
			for o := from; o < 500; o++ {
				if o != 77 {
					want = append(want, o)
				}
			}
			if d := cmp.Diff(want, offsetsFrom(t, h, from)); d != "" {
				t.Errorf("from %d (-want, +got):\n%s", from, d)
			}
		})
	}
	wg.Wait()
	if len(h.pages) > 1 && h.paged > 50_000 {
		t.Errorf("%d pages of %d bytes", len(h.pages), h.paged)
	}
	for offset, there := range map[int64]bool{3: true, 77: false, 499: true} {
		d, err := h.get(t.Context(), 0, offset)
		if err != nil || (d != nil) != there || there && d.offset != offset {
			t.Errorf("at %d: %+v, %v", offset, d, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := testHub(t, &shelf{fail: 1000}, 1, 1).read(ctx, 0, -1); err == nil {
		t.Error("a read went on after its context")
	}
}

// A decision that waits may be left on the log as a repeat only.
func TestARepeatStandsForWhatCompactionTook(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	s.put("alice", "r1", "j1", 5)
	s.put("alice", "r1", "j1", 5)
	live := testHub(t, s, 1<<20, 1<<20)
	live.take(&s.records[0])
	live.take(&s.records[1])
	if d := cmp.Diff([]int64{1}, offsetsFrom(t, live, 1)); d != "" {
		t.Errorf("after the first (-want, +got):\n%s", d)
	}
}

// What retention took before it was read is counted; holes that compaction left are not.
func TestRetentionThatOvertakesIsCounted(t *testing.T) {
	t.Parallel()
	for kept, want := range map[int64]float64{0: 0, 3: 3, 10: 10} {
		s := &shelf{kept: kept}
		for i := range 10 {
			s.put(fmt.Sprint("user-", i), "r", fmt.Sprint("j", i), 0)
		}
		s.records[0].Topic = "gone"
		h := testHub(t, s, 1<<20, 1<<20)
		h.begin([]int64{10})
		if err := h.read(t.Context(), 0, 0); err != nil {
			t.Fatal(err)
		}
		if got := testutil.ToFloat64(h.metrics.overtaken); got != want {
			t.Errorf("%v of %v are counted", got, want)
		}
	}
}
