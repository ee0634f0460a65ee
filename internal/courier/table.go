package courier

import (
	"context"
	"errors"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/stream"
)

// table is the topic of streams as every courier sees it: which streams there are and who holds them. All couriers fold the
// same records by the same rule, so they agree on which count: a claim counts when its epoch is higher than those before
// it, a record of a stream when its epoch is not lower than that of the last claim before it and its rank not lower than
// that of the one it replaces.
type table struct {
	self    string // the address of this courier
	secrets *Secrets
	log     *zap.Logger
	metrics *metrics

	mu    sync.Mutex
	parts []tablePart
}

type tablePart struct {
	next  int64 // everything below it is folded
	epoch uint64
	claim claim
	rows  map[string]*row
	moved chan struct{} // closed when the partition changes, then made anew
}

// row is what is known of one stream.
type row struct {
	stream   *ssf.Stream // nil while only its position is known
	problem  error       // why it cannot be served
	sealed   []byte      // its secret, when it cannot be opened
	position []byte
	config   rank
	at       rank // of position
	// shadowed: a record that does not count lies behind the one that does, and compaction would leave only that one.
	shadowed bool
}

func newTable(partitions int, self string, secrets *Secrets, log *zap.Logger, m *metrics) *table {
	t := &table{self: self, secrets: secrets, log: log, metrics: m, parts: make([]tablePart, partitions)}
	for i := range t.parts {
		t.parts[i] = tablePart{rows: map[string]*row{}, moved: make(chan struct{})}
	}
	return t
}

// fold takes in one record.
func (t *table) fold(r *stream.Record) {
	if r.Partition >= len(t.parts) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.parts[r.Partition]
	defer func() {
		p.next = r.Offset + 1
		close(p.moved)
		p.moved = make(chan struct{})
	}()
	at, err := parseRank(r.Header(stream.HeaderRank))
	if err != nil {
		t.unreadable(r, err)
		return
	}
	key := string(r.Key)
	if key == claimKey(r.Partition) {
		c, err := decodeClaim(r.Value)
		switch {
		case err != nil:
			t.unreadable(r, err)
		case at.epoch > p.epoch: // also of one that is not genuine, or couriers with different keys would not agree
			if c.genuine = c.URL == t.self || t.secrets.signed(r.Partition, at.epoch, &c); !c.genuine {
				t.log.Warn("a claim is not signed with our key: nothing is passed on to that courier (courier.secrets_key_file)",
					zap.Int("partition", r.Partition), zap.String("courier", clip(c.URL)))
			}
			p.epoch, p.claim = at.epoch, c
		}
		return
	}
	kind, id, _ := strings.Cut(key, "/")
	if kind+"/" != prefixStream && kind+"/" != prefixPosition || !validID(id) || stream.PartitionFor([]byte(id), len(t.parts)) != r.Partition {
		t.metrics.unreadable.Inc()
		t.log.Error("record on the topic of streams is not ours", zap.Int("partition", r.Partition), zap.Int64("offset", r.Offset))
		return
	}
	w := p.rows[id]
	if w == nil {
		w = &row{}
	}
	held := &w.config
	if kind+"/" == prefixPosition {
		held = &w.at
	}
	if at.epoch < p.epoch || at.below(*held) {
		t.metrics.fenced.Inc()
		w.shadowed, p.rows[id] = true, w // also of a stream that is deleted: compaction may not bring it back
		return
	}
	*held = at
	if kind+"/" == prefixPosition {
		w.position = append([]byte(nil), r.Value...)
	} else if w.stream, w.sealed, w.problem = nil, nil, nil; r.Value != nil {
		w.stream, w.sealed, w.problem = decodeConfig(id, r.Value, t.secrets)
		if w.problem != nil {
			t.unreadable(r, w.problem)
		}
	}
	if p.rows[id] = w; w.stream == nil && w.problem == nil && len(w.position) == 0 {
		delete(p.rows, id)
	}
}

func (t *table) unreadable(r *stream.Record, err error) {
	t.metrics.unreadable.Inc()
	t.log.Error("record on the topic of streams cannot be used", zap.Int("partition", r.Partition), zap.Int64("offset", r.Offset),
		zap.ByteString("key", r.Key[:min(len(r.Key), 100)]), zap.Error(err))
}

// await waits until everything up to offset is folded, and returns the epoch and claim that count then.
func (t *table) await(ctx context.Context, partition int, offset int64) (uint64, claim, error) {
	for {
		t.mu.Lock()
		p := &t.parts[partition]
		next, epoch, c, moved := p.next, p.epoch, p.claim, p.moved
		t.mu.Unlock()
		if next > offset {
			return epoch, c, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return 0, claim{}, ctx.Err()
		}
	}
}

// holder returns the claim that counts. changed is closed with the next record of the partition.
func (t *table) holder(partition int) (epoch uint64, c claim, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.parts[partition]
	return p.epoch, p.claim, p.moved
}

// streams returns the configurations that keep holds for.
func (t *table) streams(keep func(*ssf.Stream) bool) []ssf.Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []ssf.Stream
	for i := range t.parts {
		for _, w := range t.parts[i].rows {
			if w.stream != nil && keep(w.stream) {
				out = append(out, *w.stream)
			}
		}
	}
	return out
}

// foreign reports whether a partition must be left to who holds it: a courier with another key, under which secrets of its
// streams are sealed. Streams of a key that was replaced are not: a courier takes up under its address what it held.
func (t *table) foreign(partition int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.parts[partition]
	if p.epoch == 0 || p.claim.genuine {
		return false
	}
	for _, w := range p.rows {
		if errors.Is(w.problem, errSecret) {
			return true
		}
	}
	return false
}

// rows returns a copy of a partition's rows.
func (t *table) rows(partition int) map[string]row {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string]row, len(t.parts[partition].rows))
	for id, w := range t.parts[partition].rows {
		out[id] = *w
	}
	return out
}

// revision is the highest of a stream's records.
func (t *table) revision(partition int, id string) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.parts[partition].rows[id]; w != nil {
		return max(w.config.revision, w.at.revision)
	}
	return 0
}

// settled forgets that a row is shadowed: its owner has written it again.
func (t *table) settled(partition int, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.parts[partition].rows[id]; w != nil {
		if w.shadowed = false; w.stream == nil && w.problem == nil && len(w.position) == 0 {
			delete(t.parts[partition].rows, id)
		}
	}
}

// shadowed lists the streams of a partition that have to be written again.
func (t *table) shadowed(partition int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for id, w := range t.parts[partition].rows {
		if w.shadowed {
			out = append(out, id)
		}
	}
	return out
}
