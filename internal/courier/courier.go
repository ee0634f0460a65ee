// Package courier delivers decisions to the receivers of Shared Signals streams. The revocations topic is its outbox: a
// stream is a cursor into it, and nothing is copied.
//
// What it guarantees:
//
//   - Every decision that is for a stream is delivered at least once, always with the same jti, in the order of its subject,
//     through pauses, retries, restarts and crashes. A SET that is refused for good goes to the dead letters.
//   - A stream is held by one courier. Who takes it over claims it first; what its former holder writes after that counts
//     nowhere.
//   - A receiver that is slow, down or wrong holds up no other, and a SET that it does not take holds up its subject only.
//   - What waits in memory is bounded, however many streams there are and however far they are behind.
package courier

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/stream"
)

const topicRevocations = events.TopicRevocations

// Deps are what the courier works with. Logger and Registerer may be nil.
type Deps struct {
	Cluster *stream.Cluster
	// Listener, if set, is served instead of Config.Listen.
	Listener net.Listener
	// Sign signs a SET.
	Sign func(ctx context.Context, t *set.Token) (string, error)
	// Client calls receivers. It must not follow redirects.
	Client *http.Client
	// Receiver is the client of an id, with what it may have.
	Receiver func(id string) (ssf.Receiver, bool)
	// NewStream is the stream that an operator's request asks for (ssf.Config.NewStream).
	NewStream func(body []byte) (ssf.Stream, error)
	// Handler makes what answers receivers, over the courier as its registry.
	Handler    func(r ssf.Registry, forward Forward) (http.Handler, error)
	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// Forward passes a request on to the courier at base (ssf.Deps.Forward).
type Forward = func(w http.ResponseWriter, r *http.Request, body []byte, base string)

// Courier is one process among those that share the streams. It is a registry of streams.
type Courier struct {
	cfg      Config
	deps     Deps
	log      *zap.Logger
	metrics  *metrics
	secrets  *Secrets
	hub      *hub
	table    *table
	lanes    *lanes
	producer *stream.Producer
	letters  *stream.Publisher
	server   *server
	peers    *http.Client
	member   string // this process
	url      string // where peers reach it; set by Run

	partitions int           // of the topic of streams; set by Run
	ready      chan struct{} // closed when it serves

	creating sync.Mutex

	mu       sync.Mutex
	holdings map[int]*holding
	disputes map[int]*dispute
	changed  chan struct{} // closed when holdings change, then made anew
}

// New validates cfg, reads its files and builds the routes. It connects nothing.
func New(cfg Config, deps Deps) (*Courier, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Cluster == nil || deps.Sign == nil || deps.Client == nil || deps.Receiver == nil || deps.NewStream == nil || deps.Handler == nil {
		return nil, errors.New("courier: needs a cluster, a signer, a client, receivers, a way to make streams and a handler")
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	c := &Courier{
		cfg: cfg, deps: deps, log: deps.Logger, lanes: newLanes(cfg.MaxInFlight), producer: deps.Cluster.Producer(),
		letters: deps.Cluster.Publisher(stream.PublisherConfig{}), member: strings.ToLower(rand.Text()),
		ready: make(chan struct{}), holdings: map[int]*holding{}, disputes: map[int]*dispute{}, changed: make(chan struct{}),
	}
	var err error
	if c.metrics, err = newMetrics(deps.Registerer, c.gauges); err != nil {
		return nil, fmt.Errorf("registering the courier's metrics: %w", err)
	}
	if c.secrets, err = LoadSecrets(cfg.SecretsKeyFile); err != nil {
		return nil, err
	}
	if c.peers, err = newPeers(cfg); err != nil {
		return nil, err
	}
	handler, err := deps.Handler(c, c.forward)
	if err != nil {
		return nil, err
	}
	if c.server, err = newServer(c, handler); err != nil {
		return nil, err
	}
	return c, nil
}

// Addr waits until the courier serves and returns its address.
func (c *Courier) Addr(ctx context.Context) (string, error) {
	select {
	case <-c.ready:
		return c.server.addr().String(), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Handler is all routes, for tests and for servers of the caller's own.
func (c *Courier) Handler() http.Handler { return c.server.handler }

func (c *Courier) receiver(id string) (ssf.Receiver, bool) { return c.deps.Receiver(id) }

// Run delivers and serves until ctx ends, then finishes what is under way, writes positions and leaves.
func (c *Courier) Run(ctx context.Context) error {
	listener, err := c.server.listen(ctx)
	if err != nil {
		return err
	}
	if c.url, err = c.address(listener.Addr()); err != nil {
		return errors.Join(err, listener.Close())
	}
	closeListener := true
	defer func() {
		if closeListener {
			_ = listener.Close()
		}
	}()
	if c.partitions, err = c.deps.Cluster.Partitions(ctx, events.TopicStreams); err != nil {
		return err
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	c.table = newTable(c.partitions, c.url, c.secrets, c.log, c.metrics)

	// The log is read until the last holding is released, the rest ends with ctx.
	reading, stopReading := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReading()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.tail(reading) })
	caughtUp := make(chan struct{})
	group.Go(func() error {
		err := c.deps.Cluster.Table(c.trouble).Follow(reading, events.TopicStreams, func(r stream.Record) error {
			c.table.fold(&r)
			return nil
		}, func() { close(caughtUp) })
		if err != nil {
			return fmt.Errorf("following %s: %w", events.TopicStreams, err)
		}
		return nil
	})
	select {
	case <-caughtUp:
	case <-ctx.Done():
		stopReading()
		return group.Wait()
	}
	closeListener = false
	close(c.ready)
	group.Go(func() error { return c.server.serve(ctx, listener) })
	group.Go(func() error {
		defer stopReading()
		return c.share(ctx)
	})
	return group.Wait()
}

// address is where peers reach this courier.
func (c *Courier) address(bound net.Addr) (string, error) {
	if c.cfg.Advertise != "" {
		return c.cfg.Advertise, nil
	}
	host, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return "", fmt.Errorf("finding the address of this courier (courier.advertise): %w", err)
	}
	return c.server.scheme() + "://" + net.JoinHostPort(host, port), nil
}

// begin finds the end of the log, from which it is followed.
func (c *Courier) begin(ctx context.Context) error {
	bytes := c.cfg.CacheBytes
	for attempt := 0; ; attempt++ {
		_, ends, err := c.deps.Cluster.Ends(ctx, topicRevocations)
		if err == nil {
			c.hub = newHub(c.deps.Cluster, bytes*2/3/len(ends), bytes/3, c.log, c.metrics)
			c.hub.begin(ends)
			return nil
		}
		if errors.Is(err, stream.ErrTopicMissing) {
			return err
		}
		c.trouble(-1, err)
		if !pause(ctx, min(100*time.Millisecond<<min(attempt, 5), 2*time.Second)) {
			return ctx.Err()
		}
	}
}

// tail follows the decisions, and lets every stream have a look at each.
func (c *Courier) tail(ctx context.Context) error {
	err := c.deps.Cluster.Table(c.trouble).FollowFrom(ctx, topicRevocations, c.hub.ends(), func(r stream.Record) error {
		c.hub.take(&r)
		for _, h := range c.held() {
			for _, o := range h.list() {
				o.pull()
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("following %s: %w", topicRevocations, err)
	}
	return nil
}

func (c *Courier) trouble(partition int, err error) {
	c.metrics.trouble.Inc()
	c.log.Warn("reading the log, trying again", zap.Int("partition", partition), zap.Error(err))
}

// share takes part in spreading the streams over the couriers. What this courier held before it was restarted it takes up
// at once, without waiting until the group has missed its former self: whoever else is given it claims it from us.
func (c *Courier) share(ctx context.Context) error {
	var claiming, work sync.WaitGroup
	for p := range c.partitions {
		if _, held, _ := c.table.holder(p); !held.genuine || held.URL != c.url {
			continue
		}
		claiming.Go(func() {
			h, err := c.claim(ctx, p)
			if err != nil {
				if ctx.Err() == nil {
					c.trouble(p, err) // it comes to us, or to another, when the group has spread its partitions
				}
				return
			}
			work.Go(func() { c.keep(ctx, h) })
		})
	}
	claiming.Wait()
	for p := range c.partitions { // who joins the group and claims nothing would keep the partition from those who can
		if !c.mayClaim(ctx, p) {
			work.Wait()
			return nil
		}
	}
	err := c.deps.Cluster.Share(ctx, stream.ShareConfig{
		Group: c.cfg.Group, Topic: events.TopicStreams, SessionTimeout: c.cfg.SessionTimeout, HeartbeatInterval: c.cfg.HeartbeatInterval,
		// Who dies while the group comes together holds the others up for so long; to release streams takes no longer.
		RebalanceTimeout: 2 * c.cfg.DrainTimeout,
		Report: func(partition int, err error) {
			c.metrics.trouble.Inc()
			c.log.Warn("sharing streams with other couriers, trying again", zap.Int("partition", partition), zap.Error(err))
		},
	}, c.assigned)
	work.Wait()
	return err
}

// keep holds a partition of a former life until it is assigned to us properly, or claimed by another.
func (c *Courier) keep(ctx context.Context, h *holding) {
	c.notify()
	select {
	case <-ctx.Done():
	case <-h.ctx.Done():
	case <-h.adopted:
		return // its assignment releases it
	}
	h.release(ctx)
	c.notify()
}

// assigned holds a partition while it is assigned to this courier.
func (c *Courier) assigned(ctx context.Context, partition int) error {
	h := c.adopt(partition)
	if h == nil {
		if !c.mayClaim(ctx, partition) {
			return nil
		}
		var err error
		if h, err = c.claim(ctx, partition); err != nil {
			return err
		}
	}
	c.notify()
	defer c.notify()
	select {
	case <-ctx.Done():
		h.release(ctx)
		return nil
	case <-h.ctx.Done():
	}
	h.release(ctx)
	if ctx.Err() == nil {
		c.notify()
		c.yieldTo(ctx, partition)
		return h.gone() // it is still ours to hold: claim it anew
	}
	return nil
}

// adopt returns the holding of a partition that is kept from a former life.
func (c *Courier) adopt(partition int) *holding {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.holdings[partition]
	if h == nil || h.ctx.Err() != nil {
		return nil
	}
	h.adopt.Do(func() { close(h.adopted) })
	return h
}

// notify tells who waits for a partition to look again.
func (c *Courier) notify() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

// held lists the partitions that this courier holds.
func (c *Courier) held() []*holding {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*holding, 0, len(c.holdings))
	for _, h := range c.holdings {
		if h.ctx.Err() == nil {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b *holding) int { return a.partition - b.partition })
	return out
}

func (c *Courier) gauges() gauges {
	g := gauges{streams: map[ssf.Status]int{}}
	select {
	case <-c.ready:
	default:
		return g
	}
	ends := c.hub.ends()
	for _, h := range c.held() {
		g.held++
		for _, o := range h.list() {
			o.mu.Lock()
			g.streams[o.stream.Status]++
			if o.stream.Status != ssf.Disabled && (o.problem != nil || !o.failingSince.IsZero()) {
				g.failing++
			}
			g.pending += o.waiting
			g.control += len(o.controls.items)
			g.lag = max(g.lag, o.lag(ends))
			o.mu.Unlock()
		}
	}
	return g
}

// lag is how many records of the log the stream has not looked at. It is called with o.mu held.
func (o *outlet) lag(ends []int64) int64 {
	var sum int64
	if o.stream.Status == ssf.Disabled {
		return 0
	}
	for p, c := range o.cursors {
		sum += max(ends[p]-c.next, 0)
	}
	return sum
}
