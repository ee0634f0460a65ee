package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-io/countersign/internal/backtest"
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
	WarmUp   int       `json:"warm_up_days,omitempty" minimum:"0" maximum:"400" default:"30" doc:"How many days before are replayed without being reported on, so that users are known"`
	Baseline string    `json:"baseline,omitempty" enum:"recorded,current" default:"recorded" doc:"What to compare with: what was decided, or what the policies in force decide on the same events"`
}

type backtestQuestion struct {
	ID string `path:"id" pattern:"^[0-9a-z]{26}$"`
}

type startBacktest struct{ Body BacktestRequest }

type startedBacktest struct {
	Location string `header:"Location"`
	Body     Backtest
}

type backtestAnswer struct{ Body Backtest }

type backtestsAnswer struct {
	Body struct {
		Backtests []Backtest `json:"backtests" nullable:"false" doc:"Newest first"`
	}
}

func (a *API) describeBacktests(api huma.API) {
	register(a, api, "start-backtest", "POST /v1/backtests", "Try policies on what has happened", ScopeBacktest, a.startBacktest,
		saying("One runs at a time, others wait. Results are kept in memory: some of the newest, and none outlives the process."),
		answering(http.StatusAccepted), taking(maxPolicyBody), refusing(http.StatusNotFound), aside)
	register(a, api, "backtests", "/v1/backtests", "Backtests that are known, newest first", ScopeBacktest, a.backtests,
		saying("Those on tenants that you may see."), aside)
	register(a, api, "backtest", "/v1/backtests/{id}", "One backtest, with its result", ScopeBacktest, a.backtest, refusing(http.StatusNotFound), aside)
	register(a, api, "cancel-backtest", "DELETE /v1/backtests/{id}", "Cancel a backtest, or forget one that has ended", ScopeBacktest, a.cancelBacktest,
		answering(http.StatusOK), refusing(http.StatusNotFound), aside)
}

func (a *API) startBacktest(context.Context, *principal, *startBacktest) (*startedBacktest, error) {
	return nil, notConfigured("Backtests are not available here.")
}

func (a *API) backtests(context.Context, *principal, *struct{}) (*backtestsAnswer, error) {
	return nil, notConfigured("Backtests are not available here.")
}

func (a *API) backtest(context.Context, *principal, *backtestQuestion) (*backtestAnswer, error) {
	return nil, notConfigured("Backtests are not available here.")
}

func (a *API) cancelBacktest(context.Context, *principal, *backtestQuestion) (*backtestAnswer, error) {
	return nil, notConfigured("Backtests are not available here.")
}
