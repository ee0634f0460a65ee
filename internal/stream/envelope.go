package stream

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// State records. A value is an envelope around the processor's payload; a tombstone has no value, so its envelope
// travels in a header. The envelope names the batch that wrote the record, which spares every record a header.
const (
	stateMagic     = 0xc5 // tells our records from what strayed into the topic
	stateFormat    = 1
	headerEnvelope = "e" // on tombstones
	maxEnvelope    = 48  // bytes it adds to a record, as prefix or header
)

// checkpointKey is reserved; no state key may start with its zero byte.
var checkpointKey = []byte("\x00ckpt")

// envelope is what the owner knows about one state record.
type envelope struct {
	Epoch int64
	Seq   int64 // number of the owner's state batch within the epoch
	Last  int64 // offset of the last input record that the value includes; -1 for none
}

// outranks reports whether a record of e is to be preferred to one of f.
func (e envelope) outranks(f envelope) bool {
	if e.Epoch != f.Epoch {
		return e.Epoch > f.Epoch
	}
	if e.Last != f.Last {
		return e.Last > f.Last
	}
	return e.Seq > f.Seq
}

// follows reports whether a record of e may lie after one of f in a log without late writes.
func (e envelope) follows(f envelope) bool {
	if e.Epoch != f.Epoch {
		return e.Epoch > f.Epoch
	}
	return e.Seq >= f.Seq
}

var (
	errNewerFormat = errors.New("written by a newer version of countersign, update this one")
	errBadEnvelope = errors.New("not a state record of countersign")
)

func (e envelope) append(b []byte) []byte {
	b = append(b, stateMagic, stateFormat)
	b = binary.AppendUvarint(b, uint64(e.Epoch))
	b = binary.AppendUvarint(b, uint64(e.Seq))
	return binary.AppendUvarint(b, uint64(e.Last+1))
}

// parseEnvelope splits a state record into envelope and payload; the payload of a tombstone is nil.
func parseEnvelope(r *Record) (envelope, []byte, error) {
	b := r.Value
	if b == nil {
		b = r.Header(headerEnvelope)
	}
	if len(b) < 2 || b[0] != stateMagic || b[1] == 0 {
		return envelope{}, nil, errBadEnvelope
	}
	if b[1] > stateFormat {
		return envelope{}, nil, fmt.Errorf("state format %d: %w", b[1], errNewerFormat)
	}
	b = b[2:]
	var fields [3]uint64
	for i := range fields {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > 1<<62 {
			return envelope{}, nil, errBadEnvelope
		}
		fields[i], b = v, b[n:]
	}
	e := envelope{Epoch: int64(fields[0]), Seq: int64(fields[1]), Last: int64(fields[2]) - 1}
	if r.Value == nil {
		return e, nil, nil
	}
	return e, slices.Clip(b), nil
}

// StatePayload takes a record of a state topic apart, for a reader that owns none of it: the payload as the processor wrote it, nil
// when the key was deleted. ok is false for a checkpoint and for what no owner wrote. The last record of a key counts, except
// that a late write of a former owner may be the last until the owner has seen it.
func StatePayload(rec *Record) (payload []byte, ok bool, err error) {
	if bytes.Equal(rec.Key, checkpointKey) {
		return nil, false, nil
	}
	_, payload, err = parseEnvelope(rec)
	if errors.Is(err, errBadEnvelope) {
		return nil, false, nil
	}
	return payload, err == nil, err
}

// checkpoint is the value under checkpointKey, JSON so that people can read it. A claim is a checkpoint too.
type checkpoint struct {
	Format     int    `json:"format"`
	Cluster    string `json:"cluster"`
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	NextOffset int64  `json:"next_offset"`
	Epoch      int64  `json:"epoch"`
	Seq        int64  `json:"batch_seq"`
	Member     string `json:"member"`
	Generation int32  `json:"generation"`
	Version    string `json:"rule_version"`
	Claim      bool   `json:"claim,omitempty"`
	// Guarded is the end of every guarded output partition up to which its records are known.
	Guarded map[string]int64 `json:"guarded,omitempty"`
}

func (c *checkpoint) envelope() envelope {
	return envelope{Epoch: c.Epoch, Seq: c.Seq, Last: c.NextOffset - 1}
}

func parseCheckpoint(b []byte) (checkpoint, error) {
	var c checkpoint
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("reading checkpoint: %w: %w", errBadEnvelope, err)
	}
	if c.Format > stateFormat {
		return c, fmt.Errorf("checkpoint format %d: %w", c.Format, errNewerFormat)
	}
	if c.Format < 1 || c.NextOffset < 0 || c.Epoch < 0 || c.Seq < 0 {
		return c, fmt.Errorf("reading checkpoint: %w", errBadEnvelope)
	}
	return c, nil
}
