package stream

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/pierrec/lz4/v4"
)

// The v2 record batch of Kafka's protocol, encoded here and sent with RawProduce: it is the unit that a broker appends
// whole or not at all, and encoding it into one reused buffer is several times cheaper than kafka-go's encoder.
const (
	batchPrefix      = 4 // RawRecordSet wants the size in front
	batchHeader      = 61
	batchLengthAt    = batchPrefix + 8
	batchMagicAt     = batchPrefix + 16
	batchCRCAt       = batchPrefix + 17
	batchAttributes  = batchPrefix + 21
	attributeLZ4     = 3
	compressionFloor = 512 // smaller batches are sent as they are
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batchEncoder builds one record batch at a time in buffers that it keeps. Not safe for concurrent use.
type batchEncoder struct {
	raw   []byte // the records, not compressed
	rec   []byte // one record
	out   []byte // prefix, header, records
	count int
	first int64 // timestamps, ms
	max   int64
	now   int64
	lz    *lz4.Writer
}

func (e *batchEncoder) reset() {
	e.raw, e.count, e.first, e.max = e.raw[:0], 0, 0, 0
	e.now = time.Now().UnixMilli()
}

// add appends a record. A rank, when not nil, becomes its HeaderRank; a prefix goes in front of its value, if it has one.
func (e *batchEncoder) add(r *Record, rank, prefix []byte) {
	ts := e.now
	if !r.Time.IsZero() {
		ts = r.Time.UnixMilli()
	}
	if e.count == 0 {
		e.first = ts
	}
	e.max = max(e.max, ts)
	headers := len(r.Headers)
	if rank != nil {
		headers++
	}
	b := append(e.rec[:0], 0) //nolint:gocritic // the buffer is kept below
	b = binary.AppendVarint(b, ts-e.first)
	b = binary.AppendVarint(b, int64(e.count))
	b = appendBytes(b, r.Key)
	if r.Value == nil {
		b = binary.AppendVarint(b, -1)
	} else {
		b = binary.AppendVarint(b, int64(len(prefix)+len(r.Value)))
		b = append(append(b, prefix...), r.Value...)
	}
	b = binary.AppendVarint(b, int64(headers))
	for i := range r.Headers {
		b = binary.AppendVarint(b, int64(len(r.Headers[i].Key)))
		b = append(b, r.Headers[i].Key...)
		b = appendBytes(b, r.Headers[i].Value)
	}
	if rank != nil {
		b = binary.AppendVarint(b, int64(len(HeaderRank)))
		b = append(b, HeaderRank...)
		b = appendBytes(b, rank)
	}
	e.rec = b
	e.raw = binary.AppendVarint(e.raw, int64(len(b)))
	e.raw = append(e.raw, b...)
	e.count++
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(b, -1)
	}
	b = binary.AppendVarint(b, int64(len(v)))
	return append(b, v...)
}

// Write lets the compressor append to the batch.
func (e *batchEncoder) Write(p []byte) (int, error) {
	e.out = append(e.out, p...)
	return len(p), nil
}

// finish returns the batch, size prefix included, valid until the next reset or finish.
func (e *batchEncoder) finish() ([]byte, error) {
	if cap(e.out) < batchPrefix+batchHeader {
		e.out = make([]byte, 0, 64<<10)
	}
	e.out = e.out[:batchPrefix+batchHeader]
	attributes := 0
	if len(e.raw) >= compressionFloor {
		if e.lz == nil {
			e.lz = lz4.NewWriter(e)
			if err := e.lz.Apply(lz4.BlockSizeOption(lz4.Block256Kb)); err != nil {
				return nil, fmt.Errorf("setting up lz4: %w", err)
			}
		} else {
			e.lz.Reset(e)
		}
		if _, err := e.lz.Write(e.raw); err != nil {
			return nil, fmt.Errorf("compressing a record batch: %w", err)
		}
		if err := e.lz.Close(); err != nil {
			return nil, fmt.Errorf("compressing a record batch: %w", err)
		}
		attributes = attributeLZ4
	} else {
		e.out = append(e.out, e.raw...)
	}
	b := e.out
	be := binary.BigEndian
	be.PutUint32(b, uint32(len(b)-batchPrefix))
	be.PutUint64(b[batchPrefix:], 0)                                              // base offset: the broker's to set
	be.PutUint32(b[batchLengthAt:], uint32(len(b)-batchPrefix-12))                // what follows this field
	be.PutUint32(b[batchPrefix+12:], ^uint32(0))                                  // leader epoch: unknown
	b[batchMagicAt] = 2                                                           // format
	be.PutUint16(b[batchAttributes:], uint16(attributes))                         //
	be.PutUint32(b[batchAttributes+2:], uint32(e.count-1))                        // last offset delta
	be.PutUint64(b[batchAttributes+6:], uint64(e.first))                          //
	be.PutUint64(b[batchAttributes+14:], uint64(e.max))                           //
	be.PutUint64(b[batchAttributes+22:], ^uint64(0))                              // producer id: none
	be.PutUint16(b[batchAttributes+30:], ^uint16(0))                              // producer epoch
	be.PutUint32(b[batchAttributes+32:], ^uint32(0))                              // base sequence
	be.PutUint32(b[batchAttributes+36:], uint32(e.count))                         //
	be.PutUint32(b[batchCRCAt:], crc32.Checksum(b[batchAttributes:], castagnoli)) // of all that follows it
	return b, nil
}
