package stream

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go/protocol"
	"pgregory.net/rapid"
)

// TestPartitionForIsThatOfJavaClients has the vectors of Kafka's own tests of its murmur2.
func TestPartitionForIsThatOfJavaClients(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
		if got, want := PartitionFor([]byte(key), 12), int(want&0x7fffffff)%12; got != want {
			t.Errorf("PartitionFor(%q, 12) = %d, want %d", key, got, want)
		}
	}
}

// TestBatchDecodesAsKafkaGoReadsIt encodes batches of every shape and decodes them with kafka-go.
func TestBatchDecodesAsKafkaGoReadsIt(t *testing.T) {
	t.Parallel()
	var enc batchEncoder // reused, as in production
	rapid.Check(t, func(t *rapid.T) {
		optional := func(label string) []byte {
			if rapid.Bool().Draw(t, label+" is null") {
				return nil
			}
			b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, label)
			return append([]byte{}, b...)
		}
		n := rapid.IntRange(1, 20).Draw(t, "records")
		want := make([]Record, n)
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "prefix")
		ranked := rapid.Bool().Draw(t, "ranked")
		enc.reset()
		for i := range want {
			r := Record{Key: optional("key"), Value: optional("value"), Time: time.UnixMilli(rapid.Int64Range(1, 1<<41).Draw(t, "time"))}
			for range rapid.IntRange(0, 2).Draw(t, "headers") {
				r.Headers = append(r.Headers, Header{Key: rapid.StringN(0, 5, 10).Draw(t, "header"), Value: optional("header value")})
			}
			var rankBytes []byte
			if ranked {
				rankBytes = []byte("0123456789abcdef")
			}
			enc.add(&r, rankBytes, prefix)
			if r.Value != nil {
				r.Value = append(append([]byte{}, prefix...), r.Value...)
			}
			if ranked {
				r.Headers = append(r.Headers, Header{Key: HeaderRank, Value: rankBytes})
			}
			r.Offset = int64(i)
			want[i] = r
		}
		raw, err := enc.finish()
		if err != nil {
			t.Fatal(err)
		}
		got := decodeBatch(t, raw)
		for i := range want {
			if got[i].Time.UnixMilli() != want[i].Time.UnixMilli() {
				t.Errorf("record %d: time %v, want %v", i, got[i].Time, want[i].Time)
			}
			got[i].Time, want[i].Time = time.Time{}, time.Time{}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("records (-want, +got):\n%s", d)
		}
	})
}

func decodeBatch(t interface{ Fatal(...any) }, raw []byte) []Record {
	var set protocol.RecordSet
	if _, err := set.ReadFrom(bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	s := &scanner{}
	var out []Record
	for {
		rec, err := set.Records.ReadRecord()
		if err != nil {
			return out
		}
		if err := s.take(rec); err != nil {
			t.Fatal(err)
		}
		r := s.rec
		r.Key, r.Value = clone(r.Key), clone(r.Value)
		out = append(out, r)
	}
}

// TestRecordSizeIsAnUpperBound is what keeps batches below the brokers' limit.
func TestRecordSizeIsAnUpperBound(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	var enc batchEncoder
	enc.reset()
	size := 0
	for range 2000 {
		r := Record{
			Key: make([]byte, rng.IntN(40)), Value: make([]byte, rng.IntN(400)), Time: time.UnixMilli(rng.Int64N(1 << 42)),
			Headers: []Header{{Key: strings.Repeat("k", rng.IntN(20)), Value: make([]byte, rng.IntN(20))}},
		}
		size += r.size()
		enc.add(&r, nil, nil)
	}
	if len(enc.raw) > size {
		t.Errorf("%d bytes encoded, size promised %d", len(enc.raw), size)
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		e := envelope{Epoch: rapid.Int64Range(0, 1<<50).Draw(t, "epoch"), Seq: rapid.Int64Range(0, 1<<50).Draw(t, "seq"), Last: rapid.Int64Range(-1, 1<<50).Draw(t, "last")}
		payload := append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "payload")...)
		if n := len(e.append(nil)); n > maxEnvelope-headerOverhead-len(headerEnvelope) {
			t.Fatalf("envelope has %d bytes", n)
		}
		got, body, err := parseEnvelope(&Record{Value: append(e.append(nil), payload...)})
		if err != nil || got != e || !bytes.Equal(body, payload) || body == nil {
			t.Fatalf("read %+v %x %v, want %+v %x", got, body, err, e, payload)
		}
		got, body, err = parseEnvelope(&Record{Headers: []Header{{Key: headerEnvelope, Value: e.append(nil)}}})
		if err != nil || got != e || body != nil {
			t.Fatalf("tombstone read as %+v %x %v, want %+v", got, body, err, e)
		}
	})
}

// FuzzState feeds the decoders of the state topic: no input may crash them or be taken for more than it is.
func FuzzState(f *testing.F) {
	f.Add([]byte("user"), envelope{Epoch: 1, Seq: 2, Last: 3}.append(nil))
	f.Add([]byte(checkpointKey), []byte(`{"format":1,"next_offset":3}`))
	f.Add([]byte("user"), []byte{stateMagic, stateFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		rec := Record{Key: key, Value: value}
		if env, _, err := parseEnvelope(&rec); err == nil && (env.Epoch < 0 || env.Seq < 0 || env.Last < -1) {
			t.Errorf("envelope %+v", env)
		}
		if ck, err := parseCheckpoint(value); err == nil && (ck.NextOffset < 0 || ck.Epoch < 0 || ck.Format != stateFormat) {
			t.Errorf("checkpoint %+v", ck)
		}
		l := &ledger{committed: make(map[string]string), copies: make(map[string]string)}
		r := newRestorer(l, 0, nil)
		if r.add(&rec) == nil && r.settled() {
			if _, err := r.finish(); err != nil {
				t.Errorf("finishing: %v", err)
			}
		}
	})
}

// FuzzOwnership feeds the balancer what other members may send.
func FuzzOwnership(f *testing.F) {
	f.Add([]byte(`{"g":3,"p":{"t":[0,1]}}`), []byte(`{"g":3,"p":{"t":[1,1,-5]}}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		checkAssignment(t, a, b)
	})
}
