package stream

import (
	"time"

	"github.com/segmentio/kafka-go"
)

// Header is one record header: Key string, Value []byte.
type Header = kafka.Header

// Record is one record of a topic, as bytes. Whoever hands out a Record says how long its slices stay valid.
type Record struct {
	// Topic is set on records that were read; on records to be written the call names the topic.
	Topic     string
	Partition int
	// Offset is the record's own offset when read. On an Output it is the offset of the input record that caused
	// it and travels in the rank header.
	Offset int64
	// Time is the record's timestamp (millisecond resolution); zero on writing means now.
	Time time.Time
	// Key may be nil. Value nil is a tombstone.
	Key, Value []byte
	Headers    []Header
	// Misplaced marks a record that Own read from a partition which is not PartitionFor(Key): its producer uses
	// another balancer. Deciding on it would split one key over two owners, so it belongs into the dead letters.
	Misplaced bool
}

// Header returns the value of the first header named key, nil when there is none.
func (r *Record) Header(key string) []byte {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value
		}
	}
	return nil
}

// size is an upper bound of the record's bytes inside a record batch.
func (r *Record) size() int {
	n := recordOverhead + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += headerOverhead + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

const (
	recordOverhead = 36 // five varints, attributes
	headerOverhead = 10 // two varints
)

// PartitionFor is the balancer of every countersign topic: murmur2 with the seed and the masking of Kafka's Java
// clients, so that producers in any language put a key where the owner of that partition expects it. The same key
// and partition count give the same partition for ever. It panics when partitions < 1.
func PartitionFor(key []byte, partitions int) int {
	if partitions < 1 {
		panic("stream: PartitionFor without partitions")
	}
	return int(murmur2(key)&0x7fffffff) % partitions
}

// murmur2 is Austin Appleby's MurmurHash2 with Kafka's seed.
func murmur2(b []byte) uint32 {
	const m = 0x5bd1e995
	h := uint32(0x9747b28c) ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> 24
		k *= m
		h *= m
		h ^= k
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(b[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
