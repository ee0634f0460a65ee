package api

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/backtest"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/explain"
	"github.com/countersign-io/countersign/internal/jobs"
	"github.com/countersign-io/countersign/internal/peer"
	"github.com/countersign-io/countersign/internal/report"
)

// describeActions registers what does something, and what shows the state of the parts.
func (a *API) describeActions(api huma.API) {
	a.describeBacktests(api)
	a.describePolicies(api)
	a.describeExport(api)
	a.describeStreams(api)
	a.describeLetters(api)
	a.describePipeline(api)
	a.describeErasures(api)
}

// actionHistory is what the operations of this part ask.
type actionHistory interface {
	// PolicyRecords tells what policies have done, by their names.
	PolicyRecords(ctx context.Context, scope report.Scope, span report.Span, now events.Millis) (map[string]report.PolicyRecord, error)
	DeadLetters(ctx context.Context, q report.LetterQuery) (report.LetterPage, error)
	DeadLetter(ctx context.Context, id string) (*events.DeadLetter, error)
	// Newest is the time of the newest event, 0 when there is none.
	Newest(ctx context.Context, scope report.Scope) (events.Millis, error)
}

// Bulk is a way to the history of its own for what takes long, so that it takes no connection from the questions.
type Bulk interface {
	backtest.Store
	// ExportSize tells how many records an export would have; a repeat may count twice.
	ExportSize(ctx context.Context, q report.ExportQuery) (uint64, error)
	// Export gives take every record, oldest first: JSON of an events.Event, events.Finding, report.Requirement or
	// events.AuditEntry. The bytes are valid during the call.
	Export(ctx context.Context, q report.ExportQuery, take func(record []byte) error) error
}

// ExportConfig bounds exports.
type ExportConfig struct {
	// MaxRows is how many records one may have, Time how long it may take, AtOnce how many may run.
	MaxRows int           `yaml:"max_rows"`
	Time    time.Duration `yaml:"time"`
	AtOnce  int           `yaml:"at_once"`
}

// validateActions reports the problems of what the operations of this part are configured with.
func (c Config) validateActions() error {
	var errs []error
	below := func(path string, err error) {
		if err == nil {
			return
		}
		for line := range strings.Lines(err.Error()) {
			errs = append(errs, fmt.Errorf("%s.%s", path, strings.TrimSuffix(line, "\n")))
		}
	}
	below("backtests", c.Backtests.Validate())
	below("export", c.Export.validate())
	below("courier", c.Courier.Validate())
	below("ingest", c.Ingest.Validate())
	return errors.Join(errs...)
}

func (c ExportConfig) validate() error {
	var errs []error
	if c.MaxRows < 1 || c.MaxRows > 100_000_000 {
		errs = append(errs, fmt.Errorf("max_rows: is %d, must be between 1 and 100000000", c.MaxRows))
	}
	if c.Time < time.Second || c.Time > 24*time.Hour {
		errs = append(errs, fmt.Errorf("time: is %v, must be between 1s and 24h", c.Time))
	}
	if c.AtOnce < 1 || c.AtOnce > 100 {
		errs = append(errs, fmt.Errorf("at_once: is %d, must be between 1 and 100", c.AtOnce))
	}
	return errors.Join(errs...)
}

// actions is the state of the operations of this part.
type actions struct {
	inForce   *inForce
	parsing   chan struct{} // a place for the policies that are read
	exporting chan struct{} // a place for each export at a time
	backtests *jobs.Queue[backtestOf]
	courier   *peer.Client // nil when not configured
	ingest    *peer.Client
	looked    lookout
}

// openActions reads what the configuration names.
func openActions(cfg Config, deps *Deps) (*actions, error) {
	force, err := openInForce(cfg.PolicyFile, time.Now())
	if err != nil {
		return nil, err
	}
	s := &actions{inForce: force, parsing: make(chan struct{}, 1), exporting: make(chan struct{}, cfg.Export.AtOnce)}
	s.backtests = jobs.New[backtestOf](cfg.Backtests, func(id string, cause any, stack []byte) {
		deps.Logger.Error("backtest broke", zap.String("id", id), zap.Any("cause", cause), zap.ByteString("stack", stack))
	})
	if cfg.Courier.Configured() {
		if s.courier, err = peer.Open(cfg.Courier, nil); err != nil {
			return nil, fmt.Errorf("courier.%w", err)
		}
	}
	if cfg.Ingest.Configured() {
		if s.ingest, err = peer.Open(cfg.Ingest, deps.IngestAddr); err != nil {
			return nil, fmt.Errorf("ingest.%w", err)
		}
	}
	return s, nil
}

// saying adds sentences before the description's own.
func saying(text string) option {
	return func(o *operation) { o.Description = text + " " + o.Description }
}

// ownWords are packages that have words of their own for what others mean otherwise, with what their types' names begin with.
var ownWords = map[string]string{
	reflect.TypeFor[backtest.Report]().PkgPath():     "Backtest",
	reflect.TypeFor[explain.Explanation]().PkgPath(): "Explained",
}

// schemaName names a type in OpenAPI.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return ownWords[t.PkgPath()] + name
}

// notConfigured answers for a part that this installation does not have.
func notConfigured(detail string) error { return huma.Error404NotFound(detail) }
