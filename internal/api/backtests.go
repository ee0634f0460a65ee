package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/backtest"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/jobs"
	"github.com/countersign-io/countersign/internal/policy"
	"github.com/countersign-io/countersign/internal/report"
)

// reportJSON is a backtest's report as it was encoded when it ended; OpenAPI describes it as a backtest.Report.
type reportJSON json.RawMessage

// MarshalJSON writes the report.
func (r reportJSON) MarshalJSON() ([]byte, error) { return r, nil }

// Schema implements huma.SchemaProvider.
func (reportJSON) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[backtest.Report](), true, "Report")
}

// Backtest is a backtest that was asked for.
type Backtest struct {
	ID       string    `json:"id"`
	State    string    `json:"state" enum:"queued,running,done,failed,cancelled"`
	Progress float64   `json:"progress" minimum:"0" maximum:"1"`
	Created  time.Time `json:"created"`
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	By       string    `json:"by" doc:"Who asked for it"`
	// What was asked for.
	Tenant   string     `json:"tenant,omitempty"`
	From     time.Time  `json:"from"`
	To       time.Time  `json:"to"`
	WarmUp   int        `json:"warm_up_days"`
	Baseline string     `json:"baseline" enum:"recorded,current"`
	Version  string     `json:"version" doc:"Identity of the policies that are tried"`
	Error    string     `json:"error,omitempty" doc:"Why it failed"`
	Result   reportJSON `json:"result,omitempty" doc:"Of one that is done; left out in lists"`
}

// BacktestRequest says what to try, and on what.
type BacktestRequest struct {
	Policy   string    `json:"policy,omitempty" maxLength:"262144" doc:"Policies to try, YAML; those in force when left out"`
	Tenant   string    `json:"tenant,omitempty" maxLength:"64" doc:"One of the tenants that you may see; all of them when left out"`
	From     time.Time `json:"from" doc:"Start of the time that is reported on"`
	To       time.Time `json:"to" doc:"End of it, not part of it"`
	WarmUp   *int      `json:"warm_up_days,omitempty" minimum:"0" maximum:"400" doc:"How many days before are replayed without being reported on, so that users are known; 30 when left out"`
	Baseline string    `json:"baseline,omitempty" enum:"recorded,current" default:"recorded" doc:"What to compare with: what was decided, or what the policies in force decide on the same events"`
}

type backtestQuestion struct {
	ID string `path:"id" pattern:"^[0-9a-z]{26}$"`
}

type readBacktest struct {
	ID          string `path:"id" pattern:"^[0-9a-z]{26}$"`
	IfNoneMatch string `header:"If-None-Match" maxLength:"256" doc:"The ETag of what you have: nothing is sent when there is no other"`
}

type startBacktest struct{ Body BacktestRequest }

type startedBacktest struct {
	Location string `header:"Location"`
	Body     Backtest
}

type backtestAnswer struct {
	ETag string `header:"ETag" doc:"Of one that is over, for If-None-Match"`
	Body Backtest
}

type cancelledAnswer struct{ Body Backtest }

type backtestsAnswer struct {
	Body struct {
		Backtests []Backtest `json:"backtests" nullable:"false" doc:"Newest first"`
	}
}

func (a *API) describeBacktests(api huma.API) {
	register(a, api, "start-backtest", "POST /v1/backtests", "Try policies on what has happened", ScopeBacktest, a.startBacktest,
		saying("One runs at a time, others wait. Results are kept in memory: some of the newest, and none outlives the process."),
		answering(http.StatusAccepted), taking(maxPolicyBody), refusing(http.StatusNotFound), aside)
	register(a, api, "backtests", "/v1/backtests", "Backtests that are known, newest first", ScopeBacktest, a.listBacktests,
		saying("Those on tenants that you may see."), aside)
	register(a, api, "backtest", "/v1/backtests/{id}", "One backtest, with its result", ScopeBacktest, a.backtest, refusing(http.StatusNotFound), aside)
	register(a, api, "cancel-backtest", "DELETE /v1/backtests/{id}", "Cancel a backtest, or forget one that has ended", ScopeBacktest, a.cancelBacktest,
		answering(http.StatusOK), refusing(http.StatusNotFound), aside)
}

// backtestOf is what is remembered of a backtest.
type backtestOf struct {
	scope    report.Scope // whose events it sees
	by       string
	tenant   string
	from, to events.Millis
	warmUp   int
	baseline string
	version  string
	readers  *readers
}

// readers are who has read a result, by paceKey.
type readers struct {
	mu   sync.Mutex
	have map[hash]bool
}

// first calls write unless somebody has read the result before, and remembers them when it succeeds.
func (r *readers) first(key hash, write func() error) error {
	r.mu.Lock()
	have := r.have[key]
	r.mu.Unlock()
	if have {
		return nil
	}
	if err := write(); err != nil { // without the lock: two who are one may be written down twice
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.have[key] = true
	return nil
}

// defaultWarmUp is in days.
const defaultWarmUp = 30

// The baselines.
const (
	recorded = "recorded"
	current  = "current"
)

func (a *API) startBacktest(ctx context.Context, who *principal, q *startBacktest) (*startedBacktest, error) {
	if a.deps.Bulk == nil || a.deps.Rules == nil {
		return nil, noBacktests()
	}
	o, about, err := a.backtestOptions(ctx, who, &q.Body)
	if err != nil {
		return nil, err
	}
	id := jobs.NewID()
	if err := a.audit(ctx, who, events.AuditEntry{
		Tenant: about.tenant, Action: "backtest.start", Target: id, Detail: fmt.Sprintf("%v to %v, policies %s", about.from, about.to, about.version),
	}); err != nil {
		return nil, err
	}
	source := backtest.History{Store: a.deps.Bulk, Scope: about.scope}
	job, err := a.backtests.Submit(id, about, func(ctx context.Context, progress func(float64)) ([]byte, error) {
		r, err := backtest.Run(ctx, source, o, progress)
		if err != nil {
			return nil, a.backtestFailed(id, err)
		}
		return json.Marshal(r)
	})
	if errors.Is(err, jobs.ErrFull) {
		err = huma.ErrorWithHeaders(huma.Error429TooManyRequests("Too many backtests wait: cancel one, or ask again later."), http.Header{"Retry-After": {"60"}})
	} else if err != nil {
		err = unavailable(stopping, "The server is stopping; ask again soon.")
	}
	if err != nil {
		a.note(ctx, events.AuditEntry{Tenant: about.tenant, Action: "backtest.start", Target: id, Outcome: events.AuditFailed})
		return nil, err
	}
	return &startedBacktest{Location: "/v1/backtests/" + id, Body: a.backtestView(&job)}, nil
}

func noBacktests() error { return notConfigured("This installation has no backtests.") }

// backtestOptions reads a request.
func (a *API) backtestOptions(ctx context.Context, who *principal, q *BacktestRequest) (o backtest.Options, about backtestOf, err error) {
	bad := func(field, message string, value any) error {
		return huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "body." + field, Message: message, Value: value})
	}
	about = backtestOf{scope: who.tenants, by: who.name, tenant: q.Tenant, warmUp: defaultWarmUp, baseline: q.Baseline, readers: &readers{have: map[hash]bool{}}}
	if q.WarmUp != nil {
		about.warmUp = *q.WarmUp
	}
	switch span, err := (&Window{From: q.From, To: q.To}).span(a.cfg.MaxSpan); {
	case q.From.IsZero() || q.To.IsZero():
		return o, about, bad("from", "must be given, and to as well", q.From)
	case err != nil:
		return o, about, err
	case q.Tenant != "" && !who.tenants.Allows(q.Tenant):
		return o, about, huma.Error404NotFound("There is no such tenant, or you may not see it.")
	default:
		about.from, about.to = span.From, span.To
	}
	if q.Tenant != "" {
		about.scope = who.tenants.Narrow(q.Tenant)
	}
	force := a.inForce.now(time.Now())
	side := func(name string, set *policy.Set) (s backtest.Side, err error) {
		s.Name = name
		if s.Rules, err = a.deps.Rules(set); err != nil {
			a.log.Error("making the rules of a backtest", zap.Error(err))
			return s, huma.Error500InternalServerError("Something is wrong here; the log says what.")
		}
		return s, nil
	}
	tried, name := force.set, force.source
	if q.Policy != "" {
		set, problems, err := a.parsePolicies(ctx, q.Policy)
		if err != nil {
			return o, about, err
		}
		if set == nil {
			var details []error
			for _, p := range problems {
				details = append(details, &huma.ErrorDetail{Location: "body.policy", Message: p.Message, Value: p})
			}
			return o, about, huma.Error422UnprocessableEntity("the policies have problems", details...)
		}
		tried, name = set, "tried"
	} else if q.Baseline == current {
		return o, about, bad("baseline", "is current, and so is what would be compared with it: give policies to try", q.Baseline)
	}
	about.version = tried.Version()
	o = backtest.Options{Tenant: q.Tenant, From: about.from, To: about.to, WarmUp: events.Millis(about.warmUp) * events.Day}
	if o.New, err = side(name, tried); err != nil {
		return o, about, err
	}
	if q.Baseline == current {
		baseline, err := side(force.source, force.set)
		if err != nil {
			return o, about, err
		}
		o.Baseline = &baseline
	}
	return o, about, nil
}

// backtestFailed is what people are told of an error.
func (a *API) backtestFailed(id string, err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err // the queue knows better why
	case errors.Is(err, backtest.ErrNoEvents):
		return errors.New("nothing happened in the span that was asked for")
	case errors.Is(err, report.ErrUnavailable):
		return errors.New("the history was away")
	case errors.Is(err, report.ErrTooExpensive):
		return errors.New("it takes too much of the history, ask for a shorter span")
	case errors.Is(err, backtest.ErrTooMany):
		return err
	}
	a.log.Error("backtest failed", zap.String("id", id), zap.Error(err))
	return errors.New("it failed, the log says how")
}

// backtestView is what people see of a backtest; its result is added by who wants it.
func (a *API) backtestView(j *jobs.Job[backtestOf]) Backtest {
	return Backtest{
		ID: j.ID, State: string(j.State), Progress: j.Progress, Created: j.Created.UTC(), Started: j.Started.UTC(), Ended: j.Ended.UTC(), By: j.About.by,
		Tenant: j.About.tenant, From: j.About.from.Time(), To: j.About.to.Time(), WarmUp: j.About.warmUp, Baseline: j.About.baseline,
		Version: j.About.version, Error: j.Error,
	}
}

// sees reports whether a caller may see all that a backtest saw.
func sees(who *principal, j *jobs.Job[backtestOf]) bool {
	if who.tenants.All || j.About.scope.All {
		return who.tenants.All
	}
	return !slices.ContainsFunc(j.About.scope.Tenants, func(t string) bool { return !who.tenants.Allows(t) })
}

func (a *API) listBacktests(_ context.Context, who *principal, _ *struct{}) (*backtestsAnswer, error) {
	answer := &backtestsAnswer{}
	answer.Body.Backtests = []Backtest{}
	for _, j := range a.backtests.List() {
		if sees(who, &j) {
			answer.Body.Backtests = append(answer.Body.Backtests, a.backtestView(&j))
		}
	}
	return answer, nil
}

// known finds a backtest that the caller may see.
func (a *API) known(who *principal, id string) (jobs.Job[backtestOf], error) {
	j, ok := a.backtests.Get(id)
	if !ok || !sees(who, &j) {
		return j, a.refusal(report.ErrNotFound)
	}
	return j, nil
}

func (a *API) backtest(ctx context.Context, who *principal, q *readBacktest) (*backtestAnswer, error) {
	j, err := a.known(who, q.ID)
	if err != nil {
		return nil, err
	}
	answer := &backtestAnswer{Body: a.backtestView(&j)}
	if !j.Over() {
		return answer, nil
	}
	// What is over does not change any more.
	answer.ETag = `"` + j.ID + "-" + string(j.State) + `"`
	if q.IfNoneMatch == answer.ETag {
		return nil, huma.ErrorWithHeaders(huma.Status304NotModified(), http.Header{"ETag": {answer.ETag}})
	}
	if j.State == jobs.Done {
		// It names people and what they did. Who has read it and asks again learns nothing more.
		if err := j.About.readers.first(paceKey(who), func() error {
			return a.audit(ctx, who, events.AuditEntry{Tenant: j.About.tenant, Action: "backtest.read", Target: j.ID})
		}); err != nil {
			return nil, err
		}
		answer.Body.Result = reportJSON(j.Result)
	}
	return answer, nil
}

func (a *API) cancelBacktest(ctx context.Context, who *principal, q *backtestQuestion) (*cancelledAnswer, error) {
	j, err := a.known(who, q.ID)
	if err != nil {
		return nil, err
	}
	if err := a.audit(ctx, who, events.AuditEntry{Tenant: j.About.tenant, Action: "backtest.cancel", Target: j.ID}); err != nil {
		return nil, err
	}
	j, ok := a.backtests.Cancel(j.ID)
	if !ok {
		return nil, a.refusal(report.ErrNotFound)
	}
	return &cancelledAnswer{a.backtestView(&j)}, nil
}
