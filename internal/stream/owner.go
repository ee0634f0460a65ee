package stream

import (
	"context"
	"errors"
	"time"
)

// Processor folds the records of one owned partition over its state. All its methods are called from one goroutine.
//
// Decisions must be a pure function of state and record: after a crash the owner replays records since the last
// checkpoint, and only equal outputs with equal ids make that harmless.
type Processor interface {
	// Restore loads one state record; payload nil means the key was deleted. A key may be restored several times,
	// the last call counts. key and payload are valid during the call only. An error stops the partition (StopFormat).
	Restore(key, payload []byte) error
	// Process decides on copies of the touched state and returns what follows. Records come in offset order and
	// stay valid until Commit returns. An error stops the partition, so bad input must become a dead letter among
	// the outputs. ctx ends when the partition is taken away; returning its error is fine.
	Process(ctx context.Context, batch []Record) (Result, error)
	// Commit makes the copies of the last Process current: its Result is durable. A processor whose Result did not
	// become durable is dropped, so Process is never called twice without Commit between.
	Commit()
	// Encode returns the committed state of key, nil when it has none, valid until the next call of any method. The
	// owner asks for it in the rare case that a former owner's late write has to be overwritten.
	Encode(key []byte) []byte
}

// Result is what one batch leads to. Its slices must stay valid and unchanged until Commit.
type Result struct {
	// Outputs are produced in this order, each acknowledged before the next, all before State is written.
	Outputs []Output
	// State holds the changed keys, each at most once. With a value the owner stores the offset of the last record
	// of the batch: a replayed record of that key at or below it is not handed to Process again. So a key under
	// which state is kept should be the key of the records that change it; state under other keys must bear a replay.
	State []KeyValue
}

// Output is a sequence of records for one topic. They go to the partition of the same number as the input's
// (modulo the topic's partition count). Each carries a HeaderRank.
type Output struct {
	Topic   string
	Records []Record
}

// KeyValue is the absolute state of one key, never a delta.
type KeyValue struct {
	// Key must not start with a zero byte.
	Key []byte
	// Value nil deletes the key.
	Value []byte
}

// Rewriter is an optional capability of a Processor with outputs to topics listed in OwnerConfig.Guarded: when a
// former owner's late write shadows a key there, the owner asks for the key's current record and appends it again.
type Rewriter interface {
	// Current returns the record of key in topic that follows from the committed state; a nil Value deletes it.
	// ok false means there is nothing to write.
	Current(topic string, key []byte) (rec Record, ok bool)
}

// HeaderRank is the header on every output: 16 bytes, the owner's epoch and the offset of the input record that
// caused it, both big-endian, so that ranks compare with bytes.Compare. A reader of a compacted output topic ignores
// a record ranked below the one it holds for the key.
const HeaderRank = "countersign-rank"

// OwnerConfig configures Own. Zero durations and counts mean the default.
type OwnerConfig struct {
	// Group is the consumer group that spreads the partitions. Its offsets are for lag displays only.
	Group string
	// Input is the topic to process: deleted by age, never compacted.
	Input string
	// State is the compacted topic of state and checkpoints, with the partition count of Input. Only owners write it.
	State string
	// Guarded are compacted output topics to watch for late writes of former owners; see Rewriter.
	Guarded []string
	// Version of the rules, recorded in the checkpoint.
	Version string
	// MaxBatch is the most records one Process call gets. Default 2000. A batch is cut as soon as the input has
	// no more, so it also bounds latency under load.
	MaxBatch int
	// FetchBytes bounds one fetch of input. Default 4 MB.
	FetchBytes int
	// ContinueAfterLoss lets the owner go on behind input that retention deleted unprocessed, instead of stopping
	// with StopInputLost. The lost records are counted either way.
	ContinueAfterLoss bool
	// IdleCheckpoint is the longest time between two checkpoints, so that foreign writes are noticed. Default 60 s.
	IdleCheckpoint time.Duration
	// DrainTimeout bounds finishing the batch in hand when the partition is taken away. Default 5 s.
	DrainTimeout time.Duration
	// SessionTimeout is how long the group waits for a silent member. Default 30 s.
	SessionTimeout time.Duration
	// HeartbeatInterval must be well below SessionTimeout. Default 3 s.
	HeartbeatInterval time.Duration
	// Live, if set, is told when a partition is restored and claimed and starts reading at nextOffset.
	Live func(partition int, nextOffset int64)
	// Report, if set, is told about stopped partitions (*StopError) and about trouble the owner retries. It is
	// called from many goroutines and must not block.
	Report func(partition int, err error)
}

// Own joins the group and owns the partitions it is assigned until ctx ends; then it drains, leaves the group and
// returns nil. newProcessor is called for every assignment that has to be restored, from several goroutines.
//
// Per partition it restores the state, claims it with a higher epoch, and then, batch after batch: Process, outputs
// acknowledged, changed keys and checkpoint appended as one record batch, Commit. It resumes from the checkpoint, never
// from the group's offset. A partition that cannot go on without guessing stops with a *StopError given to Report;
// the others go on. Network trouble is retried for as long as the partition is owned.
//
// An error is returned only for an invalid configuration.
func (c *Cluster) Own(ctx context.Context, cfg OwnerConfig, newProcessor func(partition int) Processor) error {
	return errors.ErrUnsupported
}
