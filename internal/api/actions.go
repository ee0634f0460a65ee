package api

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-io/countersign/internal/backtest"
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

// saying adds sentences before the description's own.
func saying(text string) option {
	return func(o *operation) { o.Description = text + " " + o.Description }
}

// schemaName names a type in OpenAPI. A backtest's report has words of its own for what others mean otherwise.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.PkgPath() == reflect.TypeFor[backtest.Report]().PkgPath() {
		return "Backtest" + name
	}
	return name
}

// notConfigured answers for a part that this installation does not have.
func notConfigured(detail string) error { return huma.Error404NotFound(detail) }
