package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/simulate"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/wiring"
	"github.com/countersign-io/countersign/stepup"
	stepupkafka "github.com/countersign-io/countersign/stepup/kafka"
)

// Every tenth event of the load is the second use of a session, from elsewhere and with another device: it calls for a
// requirement. Senders are many, so that a slow answer delays no other event.
const (
	attackShare = 10
	senders     = 32
	warmUp      = 2 * time.Second
)

// Latency measures the way from an event's sending to the requirement in an app's index, through HTTP ingest, log,
// detector and the SDK's subscriber, at a steady rate of single-event requests. The clock of an event starts when it is
// due, not when a sender is free. Beside it a bare round trip at the same rate: one record written to a topic of the
// same broker and seen by a reader.
func Latency(ctx context.Context, o Options, perSecond, seconds int) (figures []Figure, err error) {
	cluster, address, stop, err := startBroker(ctx, filepath.Join(o.Dir, "broker"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	bare, err := bareRoundTrip(ctx, cluster, o, perSecond, min(seconds, 10))
	if err != nil {
		return nil, err
	}
	got, err := wholeWay(ctx, o, address, perSecond, seconds)
	if err != nil {
		return nil, err
	}
	return []Figure{
		figure("latency.p50_ms", quantile(got, .5), "ms", quantile(bare, .5)),
		figure("latency.p99_ms", quantile(got, .99), "ms", quantile(bare, .99)),
	}, nil
}

func quantile(list []time.Duration, q float64) float64 {
	slices.Sort(list)
	return float64(list[min(len(list)-1, int(q*float64(len(list))))].Microseconds()) / 1000
}

// stopwatch takes the time from when something was due to when it was seen.
type stopwatch struct {
	mu   sync.Mutex
	due  map[string]time.Time
	took []time.Duration
}

func (w *stopwatch) start(what string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due[what] = at
}

func (w *stopwatch) stop(what string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at, ok := w.due[what]; ok {
		w.took = append(w.took, now.Sub(at))
		delete(w.due, what)
	}
}

func (w *stopwatch) open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.due)
}

// steadily calls do for each tick of a steady rate, from enough goroutines, with the time at which it was due.
func steadily(ctx context.Context, n, perSecond int, do func(ctx context.Context, i int, due time.Time) error) error {
	began := time.Now()
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range senders {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				due := began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
				if err := sleepUntil(ctx, due); err != nil {
					return err
				}
				if err := do(ctx, i, due); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

func sleepUntil(ctx context.Context, t time.Time) error {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// settle waits until every stopwatch has stopped.
func settle(ctx context.Context, w *stopwatch) error {
	limit := time.Now().Add(20 * time.Second)
	for w.open() > 0 {
		if time.Now().After(limit) {
			return fmt.Errorf("%d of %d were never seen", w.open(), w.open()+len(w.took))
		}
		if err := sleepUntil(ctx, time.Now().Add(20*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

func bareRoundTrip(ctx context.Context, cluster *stream.Cluster, o Options, perSecond, seconds int) ([]time.Duration, error) {
	o.Progress("measuring a bare round trip at %d/s for %d s", perSecond, seconds)
	const topic = "bare-round-trip"
	spec := stream.TopicSpec{Name: topic, Partitions: wiring.DefaultTopics().Partitions, Replication: 1}
	if err := cluster.EnsureTopics(ctx, []stream.TopicSpec{spec}); err != nil {
		return nil, err
	}
	w := &stopwatch{due: map[string]time.Time{}}
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- cluster.Table(nil).Follow(reading, topic, func(r stream.Record) error {
			w.stop(string(r.Key), time.Now())
			return nil
		}, func() { close(ready) })
	}()
	select {
	case <-ready:
	case err := <-done:
		return nil, err
	}
	publisher := cluster.Publisher(stream.PublisherConfig{})
	value := make([]byte, 600)
	err := steadily(ctx, perSecond*seconds, perSecond, func(ctx context.Context, i int, due time.Time) error {
		key := strconv.Itoa(i)
		w.start(key, due)
		return publisher.Publish(ctx, topic, []stream.Record{{Key: []byte(key), Value: value}})
	})
	if err == nil {
		err = settle(ctx, w)
	}
	cancel()
	return w.took, errors.Join(err, <-done)
}

func wholeWay(ctx context.Context, o Options, address string, perSecond, seconds int) ([]time.Duration, error) {
	token := filepath.Join(o.Dir, "token")
	secret := rand.Text()
	var err error
	if err = os.WriteFile(token, []byte(secret), 0o600); err != nil {
		return nil, fmt.Errorf("writing a token: %w", err)
	}
	cfg := wiring.DefaultConfig()
	cfg.Kafka.Brokers = []string{address}
	cfg.Telemetry.Listen = ""
	cfg.Ingest.Listen = "127.0.0.1:0"
	cfg.Ingest.Tokens = []ingest.TokenConfig{{File: token, Source: "bench", Tenants: []string{"*"}, TrustedPlaces: true}}
	// Each user signs in once and is robbed, which the gate of learning would excuse and the breaker hold.
	cfg.Detector.Anomaly.Learning.Period = 0
	if cfg.Detector.PolicyFile, err = withoutBreaker(o.Dir); err != nil {
		return nil, err
	}
	p, err := wiring.Open(cfg, zap.NewNop())
	if err != nil {
		return nil, err
	}
	p.AddTopics()
	if err := p.AddDetector(); err != nil {
		return nil, err
	}
	server, err := p.AddIngest(nil)
	if err != nil {
		return nil, err
	}
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		return nil, err
	}
	w := &stopwatch{due: map[string]time.Time{}}
	feed, err := stepupkafka.New(stepupkafka.Config{Brokers: []string{address}, Applied: func(c stepup.Claims) {
		w.stop(c.Requirement.Subject.User, time.Now())
	}}, index)
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	up := make(chan struct{})
	ends := make(chan error, 2)
	go func() { ends <- p.Run(running, func() { close(up) }) }()
	go func() { ends <- feed.Run(running) }()
	for _, ready := range []<-chan struct{}{up, feed.Ready()} {
		select {
		case <-ready:
		case err := <-ends:
			return nil, fmt.Errorf("a part stopped early: %w", err)
		}
	}
	o.Progress("measuring the whole way at %d events/s for %d s, one in %d calls for a requirement", perSecond, seconds, attackShare)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}, Timeout: 30 * time.Second}
	send := simulate.HTTP(client, "http://"+server.Addr(ctx).String()+"/v1/events", secret)
	warm := perSecond * int(warmUp/time.Second)
	err = steadily(ctx, warm+perSecond*seconds, perSecond, func(ctx context.Context, i int, due time.Time) error {
		e := loadEvent(i, events.MillisOf(due))
		if i%attackShare == 0 && i >= warm {
			w.start(e.User.ID, due)
		}
		return send(ctx, []events.Event{e})
	})
	if err == nil {
		err = settle(ctx, w)
	}
	cancel()
	return w.took, errors.Join(err, <-ends, <-ends)
}

// breakerSection is the default policies' own.
var breakerSection = regexp.MustCompile(`(?m)^breaker:\n(?:[ \t].*\n)+`)

// withoutBreaker writes the default policies with a breaker that a bench does not trip.
func withoutBreaker(dir string) (file string, err error) {
	file = filepath.Join(dir, "policy.yaml")
	text := breakerSection.ReplaceAll(policy.DefaultYAML(), []byte("breaker: {per_minute: 100000, user_share: 1}\n"))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", fmt.Errorf("writing the policies: %w", err)
	}
	return file, nil
}

// loadEvent is the i-th event of the load: sign-ins of ever new users, and one in attackShare the use of the session of
// a user who signed in a second ago, from another network and device.
func loadEvent(i int, at events.Millis) events.Event {
	thief := i%attackShare == 0
	person := i
	if thief {
		person = i + 1 - 20*attackShare // the sign-in after the theft of some time ago
	}
	e := events.Event{
		Kind: events.SignIn, Tenant: "bench", User: events.User{ID: fmt.Sprintf("user-%08d", person+1000)}, Time: at,
		Source: events.Source{Family: "bench", ID: strconv.Itoa(i)}, Outcome: events.Success, Interactive: events.Yes,
		App: events.Ref{ID: "portal"}, Session: events.Session{ID: fmt.Sprintf("session-%d", person)},
		IP: "100.64.3.7", Network: events.Network{Prefix: "100.64.3.0/24", ASN: 64500, Org: "Example"},
		Place:  events.Place{Lat: 52.09, Lon: 5.12, RadiusKm: 20, City: "Utrecht", Country: "NL"},
		Device: events.Device{ID: "laptop", OS: "Windows", Browser: "Edge", Managed: events.Yes},
		Auth:   events.Auth{MFA: events.MFAPerformed, Strength: events.MultiFactor},
	}
	if thief {
		e.Kind, e.Interactive = events.SessionUse, events.Unknown
		e.IP, e.Network = "198.18.9.9", events.Network{Prefix: "198.18.9.0/24", ASN: 64510, Org: "Elsewhere"}
		e.Place = events.Place{Lat: 48.85, Lon: 2.35, RadiusKm: 20, City: "Paris", Country: "FR"}
		e.Device, e.Auth = events.Device{ID: "other", OS: "Linux", Browser: "Firefox"}, events.Auth{}
	}
	return e
}
