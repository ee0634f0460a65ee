// Package demo brings a standalone countersign to life: a simulated company whose people sign in, travel, lose sessions
// and answer challenges, and the sample bank to click through.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/countersign-io/countersign/examples/bank/bank"
	"github.com/countersign-io/countersign/internal/eval/company"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/lifecycle"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/simulate"
	"github.com/countersign-io/countersign/internal/standalone"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/stepup"
	stepupkafka "github.com/countersign-io/countersign/stepup/kafka"
)

// Tenant is where the simulated people work, BankTenant where the bank's customers are.
const (
	Tenant     = "contoso-sim"
	BankTenant = "acme"
)

const (
	// catchUp is how much of the company's past is not sent at once but played.
	catchUp = 6 * events.Hour
	// pastBatch is how many events of the past go out at a time: a broker that writes every batch to the disk takes large
	// ones faster.
	pastBatch = 4000
	// source is the name by which ingest knows the sender of what is simulated (see standalone).
	source = "demo"
)

// Config of the demo.
type Config struct {
	DataDir string
	// Users is the size of the company, History how many days of its life are sent at the start, Speed how fast the last
	// hours of them pass, until the simulated time has caught up with the clock.
	Users   int
	History int
	Speed   float64
	// AttackEvery is the pause between injected attacks.
	AttackEvery time.Duration
	// BankListen is the bank's address, VaultListen that of the second app.
	BankListen, VaultListen string
	// Sent, when set, is told how many simulated events went out.
	Sent func(n int)
}

// Demo is the living part.
type Demo struct {
	cfg               Config
	s                 *standalone.Standalone
	feed              *stepupkafka.Subscriber
	bankUp            chan struct{}
	bankURL, vaultURL string

	people *company.Company
	state  state
	now    atomic.Int64 // the newest simulated time that went out

	already events.Millis // what a run before has sent

	// present is closed when the past is on the log; lastDay is then how many of its events are of the last day.
	present  chan struct{}
	caughtUp sync.Once
	lastDay  uint64
}

// state is what makes a second start go on with the same company.
type state struct {
	Seed  uint64        `json:"seed"`
	Start events.Millis `json:"start"`
	Sent  events.Millis `json:"sent"`
	file  string
}

// Add adds the company and the bank to a standalone countersign that does not run yet.
func Add(s *standalone.Standalone, cfg Config) (*Demo, error) {
	d := &Demo{cfg: cfg, s: s, bankUp: make(chan struct{}), present: make(chan struct{})}
	if err := d.loadState(); err != nil {
		return nil, err
	}
	d.already = d.state.Sent
	conf := company.DefaultConfig()
	conf.Seed, conf.Users, conf.Tenants = d.state.Seed, cfg.Users, []string{Tenant}
	conf.Start, conf.Days = d.state.Start, 0
	conf.QuietDays, conf.AttacksPerDay = max(0, cfg.History-1), float64(cfg.Users)/50
	if err := conf.Validate(); err != nil {
		return nil, fmt.Errorf("the simulated company: %w", err)
	}
	d.people = company.New(conf)
	if err := d.addBank(); err != nil {
		return nil, err
	}
	if err := d.addVault(); err != nil {
		return nil, err
	}
	s.Process.Add(lifecycle.Service{Name: "simulated company", Run: d.play})
	s.Process.Add(lifecycle.Service{Name: "simulated answers", Run: d.answer})
	s.Process.Add(lifecycle.Service{Name: "simulated attacks", Run: d.attack})
	return d, nil
}

// BankURL is where the bank is.
func (d *Demo) BankURL() string { return d.bankURL }

func (d *Demo) loadState() error {
	d.state = state{Seed: rand.Uint64() >> 16, Start: events.MillisOf(time.Now().Add(-time.Duration(d.cfg.History) * 24 * time.Hour))}
	d.state.file = filepath.Join(d.cfg.DataDir, "demo.json")
	text, err := os.ReadFile(d.state.file)
	if errors.Is(err, os.ErrNotExist) {
		return d.saveState()
	}
	if err != nil {
		return fmt.Errorf("reading the demo's state: %w", err)
	}
	if err := json.Unmarshal(text, &d.state); err != nil {
		return fmt.Errorf("reading the demo's state %s (delete the data directory to start anew): %w", d.state.file, err)
	}
	return nil
}

func (d *Demo) saveState() error {
	text, err := json.Marshal(d.state)
	if err != nil {
		return fmt.Errorf("writing the demo's state: %w", err)
	}
	if err := os.WriteFile(d.state.file, text, 0o600); err != nil {
		return fmt.Errorf("writing the demo's state: %w", err)
	}
	return nil
}

func (d *Demo) ingest(ctx context.Context) (url, token string, err error) {
	addr := d.s.Ingest.Addr(ctx)
	if addr == nil {
		return "", "", ctx.Err()
	}
	secret, err := os.ReadFile(d.s.DemoToken)
	if err != nil {
		return "", "", fmt.Errorf("reading the demo's token: %w", err)
	}
	return "http://" + addr.String() + "/v1/events", strings.TrimSpace(string(secret)), nil
}

// play sends the company's life. What a run before has sent is lived through again, but not sent again.
func (d *Demo) play(ctx context.Context) error {
	url, token, err := d.ingest(ctx)
	if err != nil {
		return err
	}
	send := simulate.HTTP(&http.Client{Timeout: time.Minute}, url, token)
	if err := send(ctx, d.customers()); err != nil {
		return d.unlessStopped(ctx, fmt.Errorf("sending the bank customers' past: %w", err))
	}
	log := simulate.Kafka(d.s.Process.Cluster.Publisher(stream.PublisherConfig{}))
	sent := 0
	p := simulate.Player{
		Company: d.people,
		Pace:    simulate.Pace{Speed: d.cfg.Speed, Live: true, Skip: max(d.already, d.past())},
		Batch:   pastBatch,
		Sink: func(ctx context.Context, batch []events.Event) error {
			fresh := after(batch, d.already)
			if len(fresh) == 0 {
				return nil
			}
			present := after(fresh, d.past())
			past := fresh[:len(fresh)-len(present)]
			if err := d.remember(ctx, d.s.Ingest.Pipeline(), log, past); err != nil {
				return err
			}
			if len(present) > 0 {
				if err := send(ctx, present); err != nil {
					return err
				}
			}
			sent += len(fresh)
			if d.cfg.Sent != nil {
				d.cfg.Sent(sent)
			}
			d.state.Sent = fresh[len(fresh)-1].Time
			d.now.Store(int64(d.state.Sent))
			if len(present) > 0 {
				d.caughtUp.Do(func() { close(d.present) })
			}
			return nil
		},
	}
	err = d.unlessStopped(ctx, p.Run(ctx))
	return errors.Join(err, d.saveState())
}

// past is the time until which the company's life is sent at once.
func (d *Demo) past() events.Millis { return d.today() + events.Day - catchUp }

// today is when the last of the days of history begins.
func (d *Demo) today() events.Millis {
	return d.state.Start + events.Millis(d.cfg.History-1)*events.Day
}

// after is what of a batch, which is in the order of time, is later than a time.
func after(batch []events.Event, t events.Millis) []events.Event {
	i, _ := slices.BinarySearchFunc(batch, t, func(e events.Event, t events.Millis) int {
		if e.Time <= t {
			return -1
		}
		return 1
	})
	return batch[i:]
}

// remember puts a past on the log as if countersign had been there: as ingest would make it, but without a time of acceptance,
// so that what is decided is of its own time. Accepted now, two weeks of step-ups within seconds would trip the breaker.
func (d *Demo) remember(ctx context.Context, pipeline *ingest.Pipeline, log simulate.Sink, past []events.Event) error {
	from := ingest.Source{Name: source, Format: ingest.FormatEvent, TrustedPlaces: true}
	for i := range past {
		if err := pipeline.Prepare(from, &past[i]); err != nil {
			return fmt.Errorf("preparing a simulated event: %w", err)
		}
		past[i].Ingested = 0
		if past[i].Time >= d.today() {
			d.lastDay++
		}
	}
	return log(ctx, past)
}

// unlessStopped is err, unless the demo stops: what was cut off is sent again by the next start, and its ids make the
// repeat harmless.
func (d *Demo) unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end of ctx is no error
	}
	return err
}

// customers is the past of the bank's customers: a sign-in a day from home, so that what is normal for them is known.
func (d *Demo) customers() []events.Event {
	const days = 12
	var list []events.Event
	places := bank.DemoPlaces()
	for _, u := range bank.DemoUsers() {
		home := places[u.Home]
		for day := range days {
			list = append(list, events.Event{
				Kind: events.SignIn, Tenant: BankTenant, User: events.User{ID: u.ID, Name: u.Name},
				Time:    d.state.Start + events.Millis(d.cfg.History-days+day)*events.Day,
				Source:  events.Source{Family: "bank-idp", ID: fmt.Sprintf("past-%s-%d-%s", u.ID, day, d.state.Start)},
				Outcome: events.Success, Interactive: events.Yes, App: events.Ref{ID: "bank", Name: "Sample bank"},
				Session: events.Session{ID: fmt.Sprintf("past-%s-%d", u.ID, day)}, IP: home.IP.String(),
				ProviderPlace: events.Place{Lat: home.Lat, Lon: home.Lon, RadiusKm: 20, City: home.City, Country: home.Country},
				Auth:          events.Auth{Strength: events.SingleFactor, Methods: []string{"pwd"}},
			})
		}
	}
	return list
}

// answer makes the simulated people meet their challenges: those of the past in the hours that are played, the others some
// seconds later.
func (d *Demo) answer(ctx context.Context) error {
	table := d.s.Process.Cluster.Table(nil)
	open := d.today() // what was asked before that, nobody answers any more
	if d.already > 0 {
		open = events.MillisOf(time.Now().Truncate(time.Second)) // a run before has dealt with the others
	}
	return table.Follow(ctx, events.TopicRevocations, func(rec stream.Record) error {
		if rec.Value == nil {
			return nil
		}
		c, err := revocation.ParseClaims(rec.Value)
		if err != nil || c.Tenant != Tenant || c.Status != revocation.Open || c.Action != events.StepUp {
			return nil //nolint:nilerr // not ours
		}
		issued := events.Millis(c.IssuedAt * events.Second)
		if issued < open {
			return nil
		}
		// The proof must be later than the requirement, which is stamped with the time of acceptance.
		at := max(events.Millis(d.now.Load()), events.Millis(c.NotBefore*events.Second)) + (10+events.Millis(rand.IntN(50)))*events.Second
		if issued < d.past() {
			at = d.past() + events.Millis(rand.Int64N(int64(catchUp)))
		}
		if _, err := d.people.Respond(c.Tenant, c.User, c.Session, at); err != nil {
			return fmt.Errorf("answering a challenge: %w", err)
		}
		return nil
	}, nil)
}

// attack injects attacks, each kind in turn.
func (d *Demo) attack(ctx context.Context) error {
	ticker := time.NewTicker(d.cfg.AttackEvery)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		kind := company.Visible[n%len(company.Visible)]
		at := events.Millis(d.now.Load())
		if at == 0 {
			continue
		}
		if _, _, _, err := d.people.Inject(kind, at); err != nil && !errors.Is(err, company.ErrNoVictim) {
			return fmt.Errorf("injecting an attack: %w", err)
		}
	}
}

func (d *Demo) addBank() error {
	listener, err := net.Listen("tcp", d.cfg.BankListen)
	if err != nil {
		return fmt.Errorf("listening for the bank: %w", err)
	}
	d.bankURL = "http://" + listener.Addr().String()
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if d.feed, err = stepupkafka.New(stepupkafka.Config{Brokers: []string{d.s.Broker.Addr()}, ClientID: "bank", App: "bank"}, index); err != nil {
		return errors.Join(err, listener.Close())
	}
	d.s.Process.Add(lifecycle.Service{Name: "bank's feed", Run: d.feed.Run, Ready: func(ctx context.Context) error {
		select {
		case <-d.feed.Ready():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	d.s.Process.Add(lifecycle.Service{
		Name: "bank",
		Run: func(ctx context.Context) error {
			// Where ingest listens is known only once it does.
			url, token, err := d.ingest(ctx)
			if err != nil {
				return errors.Join(err, listener.Close())
			}
			b, err := bank.New(bank.Config{
				Listener: listener, BaseURL: d.bankURL, Index: index, Receipts: d.feed.Receipts(), Demo: true,
				Events: bank.Events{URL: url, Token: token},
			})
			if err != nil {
				return errors.Join(err, listener.Close())
			}
			close(d.bankUp)
			return b.Run(ctx)
		},
		Ready: func(ctx context.Context) error {
			select {
			case <-d.bankUp:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	})
	return nil
}
