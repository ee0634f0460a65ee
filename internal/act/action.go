package act

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// action is one action at work.
type action struct {
	cfg     ActionConfig
	limits  *Config
	source  source
	deps    Deps
	log     *zap.Logger
	metrics *metrics
	breaker *breaker
	done    *memory
	// quiet is until when the source wants to be left alone, in nanoseconds since 1970.
	quiet atomic.Int64
	// succeeded is when the source did something last, in nanoseconds since 1970; failing is set while it refuses us.
	succeeded atomic.Int64
	failing   atomic.Bool
}

func newAction(limits *Config, cfg ActionConfig, s source, deps Deps, m *metrics) *action {
	m.begin(cfg.Name)
	return &action{
		cfg: cfg, limits: limits, source: s, deps: deps, log: deps.Logger.With(zap.String("action", cfg.Name)), metrics: m,
		breaker: newBreaker(cfg.PerMinute), done: newMemory(maxRemembered),
	}
}

// job is one record that the action matches.
type job struct {
	record *stream.Record
	claims revocation.Claims
}

// take acts on the records of one partition. Users are independent of each other; those of one user keep their order.
func (a *action) take(ctx context.Context, partition int, batch []stream.Record) error {
	jobs, err := a.jobs(ctx, batch)
	if err != nil || len(jobs) == 0 {
		return err
	}
	o := newOutlook(a.deps.Log, partition, batch)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(a.limits.Concurrency)
	for _, list := range jobs {
		group.Go(func() error {
			for i := range list {
				if err := a.perform(ctx, &list[i], o); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// jobs are the records that match, by user, in the order of the log. What cannot be read is a dead letter.
func (a *action) jobs(ctx context.Context, batch []stream.Record) (map[string][]job, error) {
	jobs := map[string][]job{}
	for i := range batch {
		r := &batch[i]
		if r.Value == nil {
			continue
		}
		c, err := revocation.ParseClaims(r.Value)
		if err != nil {
			if err := a.letter(ctx, r, outcomeUnreadable, err); err != nil {
				return nil, err
			}
			continue
		}
		if a.cfg.Match.meets(&c) {
			user := events.Key(c.Tenant, c.User)
			jobs[user] = append(jobs[user], job{r, c})
		}
	}
	return jobs, nil
}

// Why an action was not done before it was too late.
var (
	errLate  = errors.New("it was read too late")
	errHeld  = errors.New("the breaker held it")
	errQuiet = errors.New("the source asked to be left alone")
)

// perform acts on one requirement, however long that takes. It returns an error only when the log is at fault or ctx ended;
// then the requirement comes again.
func (a *action) perform(ctx context.Context, j *job, o *outlook) error {
	cause := a.cause(&j.claims)
	if a.done.has(cause) {
		a.metrics.outcomes.WithLabelValues(a.cfg.Name, outcomeRepeated).Inc()
		return nil
	}
	req, err := a.source.request(&j.claims)
	if err != nil {
		return a.letter(ctx, j.record, outcomeRefused, err)
	}
	if over, err := a.over(ctx, j, o, errLate); over || err != nil {
		return err
	}
	if a.cfg.Mode == Observe {
		a.observe(&j.claims, &req, cause)
		return nil
	}
	if held, err := a.admit(ctx, j.claims.Tenant); err != nil {
		return err
	} else if held {
		if over, err := a.over(ctx, j, o, errHeld); over || err != nil {
			return err
		}
	}
	return a.insist(ctx, j, req, o, cause)
}

// cause is what an action is done for once. A requirement that takes the place of another has the same event and policy,
// and the source was asked for that one; receivers of requests are told of each.
func (a *action) cause(c *revocation.Claims) string {
	if a.cfg.Kind == HTTPRequest {
		return events.ID("act", c.Tenant, c.User, c.ID, string(c.Status))
	}
	return events.ID("act", c.Tenant, c.User, c.Policy, c.EventID, string(c.Status))
}

// observe writes down what would have been done: the request, and the receipt that would tell of it.
func (a *action) observe(c *revocation.Claims, req *request, cause string) {
	r := a.receipt(c, time.Now())
	a.log.Info("observed, not done", zap.String("request", req.method+" "+req.address), zap.String("tenant", r.Tenant),
		zap.String("user", r.User), zap.String("requirement", r.Requirement), zap.String("jti", r.JTI), zap.String("app", r.App),
		zap.String("status", string(r.Status)), zap.String("policy", c.Policy))
	a.finish(c, cause, outcomeObserved)
}

// admit waits until the breaker lets a tenant's next action pass, and reports whether it had to.
func (a *action) admit(ctx context.Context, tenant string) (held bool, err error) {
	wait := a.breaker.reserve(tenant, time.Now())
	if wait <= 0 {
		return false, nil
	}
	a.metrics.held.WithLabelValues(a.cfg.Name).Inc()
	return true, a.wait(ctx, wait, waitBreaker)
}

// wait waits, and shows that it does.
func (a *action) wait(ctx context.Context, d time.Duration, why string) error {
	gauge := a.metrics.waiting.WithLabelValues(a.cfg.Name, why)
	gauge.Inc()
	defer gauge.Dec()
	if !sleep(ctx, d) {
		return ctx.Err()
	}
	return nil
}

// A source that fails on one request, and not on others, will never do it: who waits behind it must not wait for a day.
const (
	// stubborn is how often it may fail while it does others.
	stubborn = 8
	// alone is how often it may fail when it did others just before, and there was none to show whether it still does: that
	// is three quarters of an hour.
	alone      = 16
	justBefore = time.Minute
)

// hopeless reports whether the request itself is at fault that was made so many times since began.
func (a *action) hopeless(err error, tries int, began time.Time) bool {
	last := time.Unix(0, a.succeeded.Load())
	return answered(err) && (tries >= stubborn && last.After(began) || tries >= alone && last.After(began.Add(-justBefore)))
}

// insist asks the source until it has done what is asked, or it is certain that it never will.
func (a *action) insist(ctx context.Context, j *job, req request, o *outlook, cause string) error {
	began := time.Now()
	for tries := 1; ; tries++ {
		if quiet := time.Until(time.Unix(0, a.quiet.Load())); quiet > 0 {
			if err := a.wait(ctx, quiet, waitRetry); err != nil {
				return err
			}
			if over, err := a.over(ctx, j, o, errQuiet); over || err != nil {
				return err
			}
		}
		err := a.source.send(ctx, req)
		if err == nil {
			return a.succeed(ctx, j, cause)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		kind := faultOf(err, a.missing())
		if kind == refused || a.hopeless(err, tries, began) {
			return a.letter(ctx, j.record, outcomeRefused, err)
		}
		a.trouble(kind, err)
		if after := retryAfter(err); after > 0 {
			a.quiet.Store(time.Now().Add(after).UnixNano())
		}
		if err := a.wait(ctx, a.pause(kind, tries), waitRetry); err != nil {
			return err
		}
		if over, err := a.over(ctx, j, o, err); over || err != nil {
			return err
		}
	}
}

// missing is what an address that is not there means: a user who is gone, or a receiver that has moved.
func (a *action) missing() fault {
	if a.cfg.Kind == HTTPRequest {
		return denied
	}
	return refused
}

// pause is the time before the next try, between the half and the whole of a growing interval.
func (a *action) pause(kind fault, tries int) time.Duration {
	whole := a.limits.RetryDenied
	if kind == down {
		whole = min(a.limits.RetryMin<<min(tries-1, 20), a.limits.RetryMax)
	}
	return whole/2 + rand.N(whole/2+1)
}

// trouble counts a try that did not succeed, and says once that a person is needed.
func (a *action) trouble(kind fault, err error) {
	a.metrics.retries.WithLabelValues(a.cfg.Name, string(kind)).Inc()
	if kind == denied {
		a.metrics.denied.WithLabelValues(a.cfg.Name).Set(1)
		if a.failing.CompareAndSwap(false, true) {
			a.log.Error("the source refuses us, nothing is done until that is mended", zap.Error(err))
		}
	}
}

// succeed writes the receipt, which tells when the source has enforced what was decided.
func (a *action) succeed(ctx context.Context, j *job, cause string) error {
	a.succeeded.Store(time.Now().UnixNano())
	a.metrics.denied.WithLabelValues(a.cfg.Name).Set(0)
	if a.failing.CompareAndSwap(true, false) {
		a.log.Info("the source takes requests again")
	}
	r := a.receipt(&j.claims, time.Now())
	record := stream.Record{Key: []byte(events.Key(r.Tenant, r.User)), Value: events.Encode(r)}
	if err := a.deps.Publisher.Publish(ctx, events.TopicReceipts, []stream.Record{record}); err != nil {
		return fmt.Errorf("publishing a receipt: %w", err)
	}
	a.finish(&j.claims, cause, outcomeDone)
	return nil
}

// finish remembers what was done, or would have been.
func (a *action) finish(c *revocation.Claims, cause, outcome string) {
	a.done.add(cause)
	a.metrics.outcomes.WithLabelValues(a.cfg.Name, outcome).Inc()
	a.metrics.delay.WithLabelValues(a.cfg.Name).Observe(max(0, time.Since(time.Unix(c.IssuedAt, 0)).Seconds()))
}

func (a *action) receipt(c *revocation.Claims, at time.Time) *events.Receipt {
	app, status := a.source.receipt()
	r := &events.Receipt{
		Time: events.MillisOf(at), Tenant: c.Tenant, User: c.User, Session: c.Session, Requirement: c.ID, JTI: c.JTI, App: app, Status: status,
	}
	r.ID = events.ReceiptID(r)
	return r
}

// over reports whether there is nothing left to do: the requirement ended by a proof or by itself, or the action comes too
// late, for which why is the reason. It counts, and writes the dead letter.
func (a *action) over(ctx context.Context, j *job, o *outlook, why error) (bool, error) {
	now := time.Now()
	if j.claims.Status == revocation.Open {
		closed, err := o.closed(ctx, j.record, now)
		switch {
		case err != nil:
			return false, err
		case closed:
			a.metrics.outcomes.WithLabelValues(a.cfg.Name, outcomeClosed).Inc()
			return true, nil
		case now.Unix() >= j.claims.Expires:
			a.metrics.outcomes.WithLabelValues(a.cfg.Name, outcomeExpired).Inc()
			return true, nil
		}
	}
	if now.Sub(j.record.Time) <= a.cfg.MaxAge {
		return false, nil
	}
	return true, a.letter(ctx, j.record, outcomeLate, fmt.Errorf("not done within %v of the decision: %w", a.cfg.MaxAge, why))
}
