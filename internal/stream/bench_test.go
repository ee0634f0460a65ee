package stream

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// profileBytes is about what the detector remembers of a user.
const profileBytes = 700

// tally counts the events of a key in the first bytes of a profile-sized state.
type tally struct {
	committed, copies map[string][]byte
	state             []KeyValue
	seen              *atomic.Int64
}

func (p *tally) Restore(key, payload []byte) error {
	p.committed[string(key)] = append([]byte(nil), payload...)
	return nil
}

func (p *tally) Process(_ context.Context, batch []Record) (Result, error) {
	p.state = p.state[:0]
	for i := range batch {
		key := batch[i].Key
		c, ok := p.copies[string(key)]
		if !ok {
			c = make([]byte, profileBytes)
			if old, ok := p.committed[string(key)]; ok {
				copy(c, old)
			} else {
				// Half noise, half zeros: compresses about as an encoded profile does.
				for j := 8; j < profileBytes/2; j += 8 {
					binary.LittleEndian.PutUint64(c[j:], rand.Uint64())
				}
			}
			p.copies[string(key)] = c
			p.state = append(p.state, KeyValue{Key: key, Value: c})
		}
		binary.LittleEndian.PutUint64(c, binary.LittleEndian.Uint64(c)+1)
	}
	return Result{State: p.state}, nil
}

func (p *tally) Commit() {
	n := 0
	for k, v := range p.copies {
		n += int(binary.LittleEndian.Uint64(v))
		p.committed[k] = v
	}
	clear(p.copies)
	p.seen.Add(int64(n))
}

func (p *tally) Encode(key []byte) []byte { return p.committed[string(key)] }

// BenchmarkOwn measures records per second through Own with one profile-sized state record per input record, the broker
// included when it is the in-process one.
func BenchmarkOwn(b *testing.B) {
	brokers := kafkatest.Brokers(b)
	c, _ := connect(b, brokers)
	const partitions, keys = 4, 200_000
	input := kafkatest.Topic(b, brokers, "input", partitions, nil)
	state := kafkatest.Topic(b, brokers, "state", partitions, stateConfig)
	value := make([]byte, 300)
	for i := range value {
		value[i] = "abcdefghijklmnopqrstuvwxyz0123456789{}:,"[rand.IntN(40)]
	}
	p := c.Producer()
	batches := make([][]Record, partitions)
	for i := range b.N {
		key := []byte("tenant/user-" + strconv.Itoa(i%keys))
		part := PartitionFor(key, partitions)
		batches[part] = append(batches[part], Record{Key: key, Value: value})
		if len(batches[part]) == 2000 {
			if _, err := p.Produce(b.Context(), input, part, batches[part]); err != nil {
				b.Fatal(err)
			}
			batches[part] = batches[part][:0]
		}
	}
	for part, batch := range batches {
		if len(batch) > 0 {
			if _, err := p.Produce(b.Context(), input, part, batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	var batchCount atomic.Int64
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	_, end, err := c.Ends(ctx, input)
	if err != nil {
		b.Fatal(err)
	}
	want := int64(0)
	for _, e := range end {
		want += e
	}
	b.ResetTimer()
	b.ReportAllocs()
	go func() {
		defer close(done)
		err := c.Own(ctx, OwnerConfig{Group: kafkatest.Name("g"), Input: input, State: state, Report: func(p int, err error) { b.Log(p, err) }}, func(int) Processor {
			return &tally{committed: make(map[string][]byte), copies: make(map[string][]byte), seen: &batchCount}
		})
		if err != nil {
			b.Error(err)
		}
	}()
	start := time.Now()
	kafkatest.Eventually(b, 10*time.Minute, func() error {
		if _, ckpts := lags(b, c, state, partitions); ckpts < want {
			return fmt.Errorf("at %d of %d", ckpts, want)
		}
		return nil
	})
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "records/s")
	b.StopTimer()
	cancel()
	<-done
}

// lags sums the input positions of the newest checkpoints.
func lags(b *testing.B, c *Cluster, state string, partitions int) (int, int64) {
	b.Helper()
	_, end, err := c.Ends(b.Context(), state)
	if err != nil {
		b.Fatal(err)
	}
	sum := int64(0)
	for p := range partitions {
		var next int64
		err := c.scan(state, p, max(0, end[p]-1)).until(b.Context(), end[p], nil, func(r *Record) error {
			if ck, err := parseCheckpoint(r.Value); err == nil {
				next = ck.NextOffset
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		sum += next
	}
	return 0, sum
}
