// Package stepupkafka feeds a [stepup.Index] from countersign's revocations topic, and writes the receipts of a
// [stepup.Guard] back to Kafka.
//
// A [Subscriber] reads the whole compacted topic first, so that an application that starts today knows what is still
// open, and then follows it: a new requirement is in the index within milliseconds of its record. It belongs to no consumer
// group and commits nothing; every instance of an application reads every record. It reconnects by itself, for ever.
//
// Every Config.Heartbeat it asks the brokers where the topic ends. Only when everything up to there has been applied does
// the index hear that it is complete, so a connection that hangs, a partition without a leader and a reader that lags all
// make the index stale, and the guard's StalePolicy decides.
//
// With Config.SnapshotFile what the index holds is written to a file now and then, and an application that starts takes it
// in first: it knows what was required when it stopped before any broker has answered. That replaces nothing: the topic is
// read whole all the same, and until that is done the index is not fresh. What the topic says overrules the snapshot, with
// one exception: a requirement that was deleted from the topic while the application was away, and whose deletion has been
// compacted away as well, holds until it expires.
package stepupkafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/stepup"
)

// Config configures a [Subscriber]. The zero value of a field means its default.
type Config struct {
	// Brokers are the bootstrap addresses, each host:port. There is no default.
	Brokers []string
	// ClientID names the process in the brokers' logs. Default "stepup".
	ClientID string
	// TLS towards the brokers; nil is plain text.
	TLS *TLS
	// SASL authentication; nil is none.
	SASL *SASL

	// Topic and ReceiptsTopic default to countersign's own.
	Topic, ReceiptsTopic string
	// App names the application in the receipts for delivered requirements; without it none are written.
	App string
	// Heartbeat is how often the end of the topic is asked for. Default 2 seconds. It should be well below the index's
	// MaxStaleness.
	Heartbeat time.Duration
	// SnapshotFile is where the index is written every SnapshotEvery (default 1 minute) if anything has changed, and when
	// Run ends, and whence it is filled when Run begins. Empty is nowhere. A file that cannot be read is logged, and what
	// it held comes from Kafka.
	SnapshotFile  string
	SnapshotEvery time.Duration
	// Applied, if set, is called after claims have changed the index, one call at a time: not for repeats, nor for what the
	// index knows from a snapshot or by another feed. It must not block.
	Applied func(stepup.Claims)
	// Logger is told about what is wrong; nil is fine. Trouble with the brokers is one line when it begins, one every minute
	// and one when it is over, however many partitions have it; Stats.Trouble counts each time.
	Logger *slog.Logger
}

// TLS is how to speak TLS. Files are PEM and are read by New.
type TLS struct {
	// CAFile holds the authorities to trust; empty means those of the system.
	CAFile string
	// CertFile and KeyFile are the client certificate; both or neither.
	CertFile, KeyFile string
	// ServerName overrides the name the brokers' certificates are checked against.
	ServerName string
}

// SASL is how to authenticate.
type SASL struct {
	// Mechanism is plain, scram-sha-256 or scram-sha-512.
	Mechanism, Username string
	// PasswordFile holds the password; one trailing line break is ignored.
	PasswordFile string
}

// Stats are numbers for an application's metrics.
type Stats struct {
	// Lag is how many records were not applied yet at the last heartbeat; -1 before the first.
	Lag int64
	// Restored is how many requirements came from the snapshot.
	Restored int64
	// Applied counts claims and deletions that were applied, Foreign records about other event types, Refused records
	// that could not be read (each is logged), Trouble errors of the network that were retried.
	Applied, Foreign, Refused, Trouble uint64
	// Receipts counts receipts that were written, ReceiptsLost those dropped because Kafka took none for too long.
	Receipts, ReceiptsLost uint64
}

// Subscriber feeds an index. It is safe for concurrent use.
type Subscriber struct {
	cfg      Config
	index    *stepup.Index
	cluster  *stream.Cluster
	log      *slog.Logger
	reading  outage
	ready    chan struct{}
	once     sync.Once
	receipts *Receipts

	lag, restored                      atomic.Int64
	applied, foreign, refused, trouble atomic.Uint64
}

// New checks cfg and reads its certificate and password files. It opens no connection; Run does.
func New(cfg Config, index *stepup.Index) (*Subscriber, error) {
	if index == nil {
		return nil, errors.New("stepupkafka: an index is needed, make one with stepup.NewIndex")
	}
	if cfg.Heartbeat < 0 || cfg.SnapshotEvery < 0 {
		return nil, errors.New("stepupkafka: Heartbeat and SnapshotEvery must not be negative")
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 2 * time.Second
	}
	if cfg.SnapshotEvery == 0 {
		cfg.SnapshotEvery = time.Minute
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "stepup"
	}
	if cfg.Topic == "" {
		cfg.Topic = events.TopicRevocations
	}
	if cfg.ReceiptsTopic == "" {
		cfg.ReceiptsTopic = events.TopicReceipts
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	way := stream.DefaultConfig()
	way.Brokers, way.ClientID = cfg.Brokers, cfg.ClientID
	if t := cfg.TLS; t != nil {
		way.TLS = stream.TLSConfig{
			Enabled: true, CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName,
		}
	}
	if s := cfg.SASL; s != nil {
		way.SASL = stream.SASLConfig{Mechanism: s.Mechanism, Username: s.Username, PasswordFile: s.PasswordFile}
	}
	cluster, err := stream.Connect(way, nil)
	if err != nil {
		return nil, fmt.Errorf("stepupkafka: %w", err)
	}
	s := &Subscriber{cfg: cfg, index: index, cluster: cluster, log: cfg.Logger, ready: make(chan struct{})}
	s.receipts = newReceipts(cfg.ReceiptsTopic, cluster.Publisher(stream.PublisherConfig{}), cfg.Logger)
	s.reading = outage{log: cfg.Logger, doing: "reading requirements, trying again", done: "requirements are read again", calm: calm}
	s.lag.Store(-1)
	return s, nil
}

// Ready is closed when everything the topic held at the start is in the index.
func (s *Subscriber) Ready() <-chan struct{} { return s.ready }

// Receipts is where a guard's receipts go; see [stepup.Config]. They are written while Run runs.
func (s *Subscriber) Receipts() *Receipts { return s.receipts }

// Stats returns the numbers of now.
func (s *Subscriber) Stats() Stats {
	return Stats{
		Lag: s.lag.Load(), Restored: s.restored.Load(), Applied: s.applied.Load(), Foreign: s.foreign.Load(), Refused: s.refused.Load(),
		Trouble: s.trouble.Load(), Receipts: s.receipts.written.Load(), ReceiptsLost: s.receipts.lost.Load(),
	}
}

// Run feeds the index until ctx ends, writes the snapshot and the receipts that are left, and returns nil. Trouble is retried for ever,
// and the index gets stale meanwhile. It must be called once.
func (s *Subscriber) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error {
		s.receipts.run(ctx)
		return nil
	})
	if s.cfg.SnapshotFile != "" {
		s.restore()
		group.Go(func() error {
			s.snapshots(ctx)
			return nil
		})
	}
	for ctx.Err() == nil {
		if err := s.follow(ctx); err != nil && ctx.Err() == nil {
			s.report(-1, err)
			pause(ctx, time.Second)
		}
	}
	_ = group.Wait() // returns no error
	if err := s.cluster.Close(); err != nil {
		return fmt.Errorf("closing connections: %w", err)
	}
	return nil
}

// follow reads the topic once from its start and on, until ctx ends or it has to be read anew.
func (s *Subscriber) follow(ctx context.Context) error {
	_, end, err := s.cluster.Ends(ctx, s.cfg.Topic)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pos := &progress{next: make([]int64, len(end))}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return s.cluster.Table(s.report).Follow(ctx, s.cfg.Topic, func(r stream.Record) error {
			s.record(&r, pos.live())
			pos.passed(r.Partition, r.Offset+1)
			return nil
		}, func() {
			// Everything up to end has been read, also where compaction left no record to show it.
			pos.caughtUp(end)
			s.index.CaughtUp()
			s.once.Do(func() { close(s.ready) })
		})
	})
	group.Go(func() error { return s.watch(ctx, pos) })
	return group.Wait()
}

// errStuck makes the subscriber read the topic anew.
var errStuck = errors.New("the reader does not reach the end of the topic, reading it anew")

// stuckAfter is how long a reader may make no progress towards a known end. Only records that vanished while it was
// disconnected can cause that, and reading anew heals it.
const stuckAfter = 20 * time.Second

// watch tells the index that it is complete, as often as that can be known.
func (s *Subscriber) watch(ctx context.Context, pos *progress) error {
	tick := time.NewTicker(s.cfg.Heartbeat)
	defer tick.Stop()
	var asked time.Time // when the end was asked for that has not been reached yet; zero for none
	var target []int64
	var moved time.Time
	lastSum := int64(-1)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		if asked.IsZero() {
			_, end, err := s.cluster.Ends(ctx, s.cfg.Topic)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				s.report(-1, err)
				continue
			case len(end) != len(pos.next):
				return fmt.Errorf("topic %s has %d partitions now, had %d", s.cfg.Topic, len(end), len(pos.next))
			}
			asked, target = now, end
		}
		lag, sum := pos.behind(target)
		s.lag.Store(lag)
		switch {
		case lag == 0 && pos.live():
			s.index.HeardAt(asked)
			s.reading.well(now, "topic", s.cfg.Topic)
			asked, lastSum = time.Time{}, -1
		case sum != lastSum:
			lastSum, moved = sum, now
		case now.Sub(moved) > stuckAfter && pos.live():
			return errStuck
		}
	}
}

// report tells of trouble that is retried; partition is -1 when it is about none.
func (s *Subscriber) report(partition int, err error) {
	s.trouble.Add(1)
	about := []any{"topic", s.cfg.Topic}
	if partition >= 0 {
		about = append(about, "partition", partition)
	}
	s.reading.trouble(time.Now(), err, about...)
}

// record applies one record. What cannot be read is logged with its place and passed over: stopping would leave the
// application without all later requirements.
func (s *Subscriber) record(r *stream.Record, live bool) {
	if r.Value == nil {
		s.index.Remove(string(r.Key))
		s.applied.Add(1)
		return
	}
	claims, err := stepup.ParseClaims(r.Value)
	if errors.Is(err, stepup.ErrEventType) {
		s.foreign.Add(1)
		return
	}
	req := &claims.Requirement
	if key := req.Tenant + "/" + req.User + "/" + req.ID; err == nil && string(r.Key) != key {
		err = fmt.Errorf("key %.300q is not that of the claims", r.Key)
	}
	if err != nil {
		s.refused.Add(1)
		s.log.Error("requirement refused", "topic", s.cfg.Topic, "partition", r.Partition, "offset", r.Offset, "error", err)
		return
	}
	changed := s.index.Apply(claims)
	s.applied.Add(1)
	if live && s.cfg.App != "" && claims.Status == stepup.StatusOpen {
		s.receipts.Record(stepup.Receipt{
			Time: time.Now(), Subject: req.Subject, Requirement: req.ID, JTI: req.JTI, App: s.cfg.App, Status: stepup.Delivered,
		})
	}
	if changed && s.cfg.Applied != nil {
		s.cfg.Applied(claims)
	}
}

// restore fills the index from the snapshot. A bad one costs nothing but warmth: the topic has everything.
func (s *Subscriber) restore() {
	n, err := s.index.RestoreFile(s.cfg.SnapshotFile)
	s.restored.Store(int64(n))
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		s.trouble.Add(1)
		s.log.Error("starting without a snapshot", "file", s.cfg.SnapshotFile, "error", err)
	}
}

// snapshots writes the index now and then, and once more at the end. A topic that has not been read whole is not worth
// replacing a snapshot that was.
func (s *Subscriber) snapshots(ctx context.Context) {
	tick := time.NewTicker(s.cfg.SnapshotEvery)
	defer tick.Stop()
	var written uint64
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		select {
		case <-s.ready:
		default:
			continue
		}
		now := s.applied.Load()
		if now == written {
			continue
		}
		if err := s.index.SnapshotFile(s.cfg.SnapshotFile); err != nil {
			s.trouble.Add(1)
			s.log.Error("keeping the former snapshot", "file", s.cfg.SnapshotFile, "error", err)
			continue
		}
		written = now
	}
}

// progress is how far the partitions have been read.
type progress struct {
	mu     sync.Mutex
	next   []int64 // per partition, the offset after the last record applied
	isLive bool
}

func (p *progress) passed(partition int, next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if partition < len(p.next) {
		p.next[partition] = max(p.next[partition], next)
	}
}

func (p *progress) caughtUp(end []int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isLive = true
	for i := range p.next {
		p.next[i] = max(p.next[i], end[i])
	}
}

func (p *progress) live() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isLive
}

// behind returns how many offsets are missing up to end, and the sum of all positions.
func (p *progress) behind(end []int64) (lag, sum int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, next := range p.next {
		lag += max(end[i]-next, 0)
		sum += next
	}
	return lag, sum
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
