package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
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
	// stay valid until Commit returns, or until the next Process after a Deferred result. An error stops the partition, so bad input must become a dead letter among
	// the outputs. ctx ends when the partition is taken away; returning its error is fine.
	Process(ctx context.Context, batch []Record) (Result, error)
	// Commit makes the copies of the last Process current: its Result is durable. A processor whose Result did not
	// become durable is dropped, so Process is never called twice without Commit between, unless the first Result was
	// Deferred.
	Commit()
	// Encode returns the committed state of key, nil when it has none, valid until the next call of any method. The
	// owner asks for it in the rare case that a former owner's late write has to be overwritten.
	Encode(key []byte) []byte
}

// Deferrer is an optional capability of a Processor whose state changes too much to be written with every batch: its
// Process returns results that are Deferred, and the owner asks for the state before it writes the next checkpoint, about
// once a second. After a crash the batches since are processed again, so their outputs are repeated.
type Deferrer interface {
	// Changed returns all state that changed since the last Commit, as Result.State. Commit follows when it is durable.
	// It must fit one record batch (MaxStateRecords, MaxStateBytes), or a crash may leave a part of it newer than the rest.
	Changed() []KeyValue
}

// Result is what one batch leads to. Its slices must stay valid and unchanged until Commit; of a Deferred one, until the next
// call of Process.
type Result struct {
	// Taken is how many records of the batch were decided on, when that is not all of them (0 means all): the others are
	// handed to Process again after Commit. So a processor can keep its State within one record batch.
	Taken int
	// Deferred, of a Deferrer, leaves State and Commit for later.
	Deferred bool
	// Outputs are produced in this order, each acknowledged before the next, all before State is written.
	Outputs []Output
	// State holds the changed keys, each at most once. With a value the owner stores the offset of the last record
	// of the batch: a replayed record of that key at or below it is not handed to Process again. So a key under
	// which state is kept should be the key of the records that change it; state under other keys must bear a replay.
	State []KeyValue
	// Together is how many of the last State are to be in one record batch with the checkpoint, for state that several
	// keys of the input change: a crash leaves both or neither. What exceeds a record batch is split all the same.
	Together int
}

// Output is a sequence of records for one topic. They go to the partition of the same number as the input's
// (modulo the topic's partition count). Each carries a HeaderRank.
type Output struct {
	Topic   string
	Records []Record
	// Rekeyed sends each record to the partition of its own key instead, without a HeaderRank: ranks of several input
	// partitions do not compare. What one input partition writes to one output partition keeps its order; after a crash,
	// and late by a former owner, a part of it may come again. Not for guarded topics.
	Rekeyed bool
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
	// MaxBatch is the most records one Process call gets. Default 16000. A batch is cut as soon as the input has
	// no more, so it also bounds latency under load.
	MaxBatch int
	// FetchBytes bounds one fetch of input. Default 8 MB.
	FetchBytes int
	// ContinueAfterLoss lets the owner go on behind input that retention deleted unprocessed, instead of stopping
	// with StopInputLost. The lost records are counted.
	ContinueAfterLoss bool
	// IdleCheckpoint is the longest time between two checkpoints, so that foreign writes are noticed. Default 60 s.
	IdleCheckpoint time.Duration
	// DrainTimeout bounds finishing the batch in hand when the partition is taken away. Default 5 s.
	DrainTimeout time.Duration
	// SessionTimeout is how long the group waits for a silent member. Default 30 s.
	SessionTimeout time.Duration
	// HeartbeatInterval must be well below SessionTimeout. Default 3 s.
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long the group waits for its members to come together. Default 30 s.
	RebalanceTimeout time.Duration
	// Live, if set, is told when a partition is restored and claimed and starts reading at nextOffset.
	Live func(partition int, nextOffset int64)
	// Report, if set, is told about stopped partitions (*StopError) and about trouble the owner retries. It is
	// called from many goroutines and must not block.
	Report func(partition int, err error)
}

func (cfg OwnerConfig) withDefaults() OwnerConfig {
	def(&cfg.MaxBatch, 16000)
	def(&cfg.FetchBytes, 8<<20)
	def(&cfg.IdleCheckpoint, 60*time.Second)
	def(&cfg.DrainTimeout, 5*time.Second)
	def(&cfg.SessionTimeout, 30*time.Second)
	def(&cfg.HeartbeatInterval, 3*time.Second)
	def(&cfg.RebalanceTimeout, 30*time.Second)
	return cfg
}

func def[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (cfg OwnerConfig) validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if cfg.Group == "" {
		add("group: empty, name the consumer group")
	}
	if cfg.Input == "" || cfg.State == "" || cfg.Input == cfg.State {
		add("input %q, state %q: name two different topics", cfg.Input, cfg.State)
	}
	if slices.Contains(cfg.Guarded, cfg.Input) || slices.Contains(cfg.Guarded, cfg.State) {
		add("guarded: holds the input or the state topic, name output topics only")
	}
	if cfg.MaxBatch < 1 || cfg.FetchBytes < 1 {
		add("max_batch %d, fetch_bytes %d: must be positive", cfg.MaxBatch, cfg.FetchBytes)
	}
	if cfg.IdleCheckpoint <= 0 || cfg.DrainTimeout <= 0 {
		add("idle_checkpoint %v, drain_timeout %v: must be positive", cfg.IdleCheckpoint, cfg.DrainTimeout)
	}
	if cfg.RebalanceTimeout < cfg.DrainTimeout {
		add("rebalance_timeout %v: must be at least drain_timeout %v", cfg.RebalanceTimeout, cfg.DrainTimeout)
	}
	return errors.Join(append(errs, validateSession(cfg.SessionTimeout, cfg.HeartbeatInterval))...)
}

func validateSession(session, heartbeat time.Duration) error {
	if session <= 0 || heartbeat <= 0 || heartbeat > session/2 {
		return fmt.Errorf("session_timeout %v, heartbeat_interval %v: both must be positive and the second at most half of the first", session, heartbeat)
	}
	return nil
}

// Own joins the group and owns the partitions it is assigned until ctx ends; then it drains, leaves the group and
// returns nil. newProcessor is called for every assignment that has to be restored, from several goroutines.
//
// Per partition it restores the state, claims it with a higher epoch, and then, batch after batch: Process, outputs
// acknowledged, changed keys and checkpoint appended as one record batch, Commit. It resumes from the checkpoint, never
// from the group's offset. A partition that cannot go on without guessing stops with a *StopError given to Report;
// the others go on. Network trouble is retried for as long as the partition is owned.
//
// An error is returned only for an invalid configuration, which includes topics of different partition counts.
func (c *Cluster) Own(ctx context.Context, cfg OwnerConfig, newProcessor func(partition int) Processor) error {
	return newOwner(c, cfg, newProcessor).run(ctx)
}

// owner is this process's membership in the group.
type owner struct {
	c            *Cluster
	cfg          OwnerConfig
	newProcessor func(partition int) Processor
	// step, if set, is called at the numbered steps of the protocol; tests pause and fail owners there.
	step func(step, partition int)

	// publisher writes re-keyed outputs; partitions that write at the same time share record batches.
	publisher *Publisher

	mu   sync.Mutex
	kept map[int]*partition // cleanly drained, in case the next generation assigns them again
}

func newOwner(c *Cluster, cfg OwnerConfig, newProcessor func(partition int) Processor) *owner {
	return &owner{c: c, cfg: cfg.withDefaults(), newProcessor: newProcessor, publisher: c.Publisher(PublisherConfig{}), kept: make(map[int]*partition)}
}

func (o *owner) report(partition int, err error) {
	if o.cfg.Report != nil {
		o.cfg.Report(partition, err)
	}
}

func (o *owner) run(ctx context.Context) error {
	if err := o.cfg.validate(); err != nil {
		return err
	}
	if err := o.checkTopics(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	m := &membership{c: o.c, group: o.cfg.Group, topic: o.cfg.Input, session: o.cfg.SessionTimeout, heartbeat: o.cfg.HeartbeatInterval, rebalance: o.cfg.RebalanceTimeout}
	return m.run(ctx, func(err error) { o.report(-1, err) }, o.generation)
}

// checkTopics waits for the topics to exist and compares their partition counts.
func (o *owner) checkTopics(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		input, err := o.c.Partitions(ctx, o.cfg.Input)
		var state int
		if err == nil {
			state, err = o.c.Partitions(ctx, o.cfg.State)
		}
		if err == nil && input != state {
			return fmt.Errorf("%s has %d partitions and %s has %d, they must be equal: %w", o.cfg.Input, input, o.cfg.State, state, ErrTopicMismatch)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is no error
		}
		o.report(-1, err)
		if !sleep(ctx, backoff(attempt)) {
			return nil
		}
	}
}

// generation starts a worker for every assigned partition.
func (o *owner) generation(gen *kafka.Generation, commits *committer) {
	kept := o.takeKept()
	for _, a := range gen.Assignments[o.c.physical(o.cfg.Input)] {
		w := &worker{
			o: o, c: o.c, cfg: &o.cfg, id: a.ID, member: gen.MemberID, generation: gen.ID,
			groupOffset: a.Offset, kept: kept[a.ID], commits: commits,
		}
		commits.start(w.run)
	}
}

func (o *owner) takeKept() map[int]*partition {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := o.kept
	o.kept = make(map[int]*partition)
	return kept
}

func (o *owner) keep(id int, p *partition) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept[id] = p
}
