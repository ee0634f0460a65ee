package courier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// decision is one record of the revocations topic. It is shared and must not be changed.
type decision struct {
	partition int
	offset    int64
	at        time.Time // of the record
	subject   string    // tenant/user, whose decisions keep their order
	claims    revocation.Claims
	size      int
}

// revocations is the log of decisions.
type revocations interface {
	Ends(ctx context.Context, topic string) (first, end []int64, err error)
	ReadRange(ctx context.Context, topic string, partition int, from, to int64, fn func(stream.Record) error) (next int64, err error)
}

// hub reads the decisions once for all streams of the process: it follows the end of the log and keeps a window of what
// came last, for the streams that are up to date, and reads pages further back for those that are not. It keeps no more
// than its bounds, however many streams there are and wherever they stand.
type hub struct {
	source  revocations
	log     *zap.Logger
	metrics *metrics
	// windowBytes bounds the window of a partition, pageBytes all pages together.
	windowBytes, pageBytes int

	reads chan struct{} // slots of page reads

	mu      sync.RWMutex
	windows []*window
	pages   []*page // least recently used first
	paged   int     // bytes of pages
	loading map[place]*load
}

type place struct {
	partition int
	offset    int64
}

// load is a page that is being read.
type load struct {
	done chan struct{}
	err  error
}

// window is the newest part of a partition: offsets from to next, as far as they hold decisions.
type window struct {
	from, next int64
	list       []*decision
	bytes      int
	newest     newest
}

// page is an older part.
type page struct {
	partition  int
	from, next int64
	list       []*decision
	bytes      int
}

// newest remembers the last record of each key, to leave out what a former owner of the key wrote late. A repeat is not left
// out: compaction may leave nothing else of a decision that waits.
type newest map[string]struct {
	offset int64
	rank   []byte
}

// stale reports whether a record is older than one before it, and remembers it when not.
func (n newest) stale(r *stream.Record) bool {
	rank := r.Header(stream.HeaderRank)
	held, known := n[string(r.Key)]
	if known && len(rank) == 16 && len(held.rank) == 16 && bytes.Compare(rank, held.rank) < 0 {
		return true
	}
	held.offset, held.rank = r.Offset, bytes.Clone(rank)
	n[string(r.Key)] = held
	return false
}

// Sizes of reads further back.
const (
	maxPageRecords = 1000
	maxPageRead    = 2 << 20
	pageReads      = 4
)

func newHub(source revocations, windowBytes, pageBytes int, log *zap.Logger, m *metrics) *hub {
	return &hub{
		source: source, log: log, metrics: m, windowBytes: windowBytes, pageBytes: pageBytes,
		reads: make(chan struct{}, pageReads), loading: map[place]*load{},
	}
}

// begin opens the windows at the ends of the log.
func (h *hub) begin(ends []int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.windows = make([]*window, len(ends))
	for p, end := range ends {
		h.windows[p] = &window{from: end, next: end, newest: newest{}}
	}
}

// ends are the offsets behind what was seen of each partition.
func (h *hub) ends() []int64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := make([]int64, len(h.windows))
	for p, w := range h.windows {
		out[p] = w.next
	}
	return out
}

// count is how many partitions the log has.
func (h *hub) count() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.windows)
}

// decode reads a record; nil when it holds no decision.
func (h *hub) decode(r *stream.Record) *decision {
	if r.Value == nil {
		return nil
	}
	c, err := revocation.ParseClaims(r.Value)
	if err != nil {
		h.metrics.unreadable.Inc()
		h.log.Error("decision cannot be read", zap.Int("partition", r.Partition), zap.Int64("offset", r.Offset), zap.Error(err))
		return nil
	}
	return &decision{
		partition: r.Partition, offset: r.Offset, at: r.Time, subject: c.Tenant + "/" + c.User, claims: c, size: 2*len(r.Value) + 512,
	}
}

// take takes in the next record of the end of the log.
func (h *hub) take(r *stream.Record) {
	d := h.decode(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.windows[r.Partition]
	w.next = r.Offset + 1
	if d == nil || w.newest.stale(r) {
		return
	}
	w.list, w.bytes = append(w.list, d), w.bytes+d.size
	for w.bytes > h.windowBytes && len(w.list) > 1 {
		first := w.list[0]
		w.list[0] = nil
		w.list, w.bytes, w.from = w.list[1:], w.bytes-first.size, first.offset+1
		key := revocation.Key(first.claims.Tenant, first.claims.User, first.claims.ID)
		if w.newest[key].offset == first.offset {
			delete(w.newest, key)
		}
	}
}

// look returns up to limit decisions of a partition at or past an offset, and the offset behind them. known is false when
// they have to be read from the log first (read); no decisions and next == from means that there is nothing yet.
func (h *hub) look(partition int, from int64, limit int) (list []*decision, next int64, known bool) {
	h.mu.RLock()
	w := h.windows[partition]
	switch {
	case from >= w.next:
		h.mu.RUnlock()
		return nil, from, true
	case from >= w.from:
		defer h.mu.RUnlock()
		list, next = cut(w.list, w.next, from, limit)
		return list, next, true
	}
	h.mu.RUnlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, p := range h.pages {
		if p.partition == partition && p.from <= from && from < p.next {
			h.pages = append(append(h.pages[:i:i], h.pages[i+1:]...), p)
			list, next = cut(p.list, p.next, from, limit)
			return list, next, true
		}
	}
	return nil, from, false
}

// cut copies a part of a list whose end is known.
func cut(list []*decision, end, from int64, limit int) ([]*decision, int64) {
	i := sort.Search(len(list), func(i int) bool { return list[i].offset >= from })
	list = list[i:]
	if len(list) > limit {
		list = list[:limit]
		end = list[limit-1].offset + 1
	}
	return slices.Clone(list), end
}

// read brings the page that begins at an offset into memory. Trouble is retried until ctx ends.
func (h *hub) read(ctx context.Context, partition int, from int64) error {
	at := place{partition, from}
	for attempt := 0; ; attempt++ {
		if _, _, known := h.look(partition, from, 1); known {
			return nil
		}
		h.mu.Lock()
		l := h.loading[at]
		first := l == nil
		if first {
			l = &load{done: make(chan struct{})}
			h.loading[at] = l
		}
		h.mu.Unlock()
		if first {
			l.err = h.readPage(ctx, at)
			h.mu.Lock()
			delete(h.loading, at)
			h.mu.Unlock()
			close(l.done)
		}
		select {
		case <-l.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if l.err == nil {
			return nil // it may be gone again when many streams are far apart: then it is read again
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if first {
			h.metrics.trouble.Inc()
			h.log.Warn("reading decisions, trying again", zap.Int("partition", partition), zap.Int64("offset", from), zap.Error(l.err))
		}
		if !pause(ctx, min(50*time.Millisecond<<min(attempt, 6), 2*time.Second)) {
			return ctx.Err()
		}
	}
}

// errPageFull ends the read of a page.
var errPageFull = errors.New("page is full")

func (h *hub) readPage(ctx context.Context, at place) error {
	select {
	case h.reads <- struct{}{}:
		defer func() { <-h.reads }()
	case <-ctx.Done():
		return ctx.Err()
	}
	h.mu.RLock()
	to := h.windows[at.partition].from
	h.mu.RUnlock()
	p := &page{partition: at.partition, from: at.offset}
	seen := newest{}
	records, size, first := 0, 0, int64(-1)
	next, err := h.source.ReadRange(ctx, events.TopicRevocations, at.partition, at.offset, to, func(r stream.Record) error {
		if first < 0 {
			first = r.Offset
		}
		if d := h.decode(&r); d != nil && !seen.stale(&r) {
			p.list, p.bytes = append(p.list, d), p.bytes+d.size
		}
		if records, size = records+1, size+len(r.Value); records >= maxPageRecords || size >= maxPageRead {
			return errPageFull
		}
		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return err
	}
	if first > at.offset || first < 0 && next > at.offset {
		if err := h.overtaken(ctx, at); err != nil {
			return err
		}
	}
	if next <= at.offset {
		return fmt.Errorf("nothing between offsets %d and %d", at.offset, to)
	}
	p.next = next
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pages, h.paged = append(h.pages, p), h.paged+p.bytes
	for len(h.pages) > 1 && (h.paged > h.pageBytes || len(h.pages) > maxPages) {
		h.paged -= h.pages[0].bytes
		h.pages[0] = nil
		h.pages = h.pages[1:]
	}
	return nil
}

// overtaken counts what retention took before it was read. Compaction leaves holes too, but never before the first offset
// that is kept.
func (h *hub) overtaken(ctx context.Context, at place) error {
	kept, _, err := h.source.Ends(ctx, events.TopicRevocations)
	if err != nil {
		return err
	}
	if lost := kept[at.partition] - at.offset; lost > 0 {
		h.metrics.overtaken.Add(float64(lost))
		h.log.Error("decisions were deleted before every stream had them: the topic is kept for too short a time, or a stream was paused for too long",
			zap.Int("partition", at.partition), zap.Int64("from", at.offset), zap.Int64("to", kept[at.partition]))
	}
	return nil
}

// maxPages bounds the pages that hold little.
const maxPages = 256

// get returns the decision at an offset; nil when there is none any more, because a later one took its place.
func (h *hub) get(ctx context.Context, partition int, offset int64) (*decision, error) {
	for {
		list, _, known := h.look(partition, offset, 1)
		if known {
			if len(list) == 1 && list[0].offset == offset {
				return list[0], nil
			}
			return nil, nil //nolint:nilnil // there is none
		}
		if err := h.read(ctx, partition, offset); err != nil {
			return nil, err
		}
	}
}

// raw returns the untouched bytes of a decision's record; nil when the log does not hold it any more.
func (h *hub) raw(ctx context.Context, partition int, offset int64) ([]byte, error) {
	var value []byte
	_, err := h.source.ReadRange(ctx, events.TopicRevocations, partition, offset, offset+1, func(r stream.Record) error {
		value = bytes.Clone(r.Value)
		return nil
	})
	return value, err
}

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
