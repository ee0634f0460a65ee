package api

import (
	"context"
	"net/http"
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
}

// act adds an operation for callers with a scope. It takes no place among the questions: it asks the history little or has
// limits of its own.
func act[I, O any](a *API, api huma.API, op huma.Operation, scope string, answer func(context.Context, *principal, *I) (*O, error)) {
	op.Description = joinSentences(op.Description, "Needs the scope `"+scope+"`.")
	op.Errors = append([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusServiceUnavailable}, op.Errors...)
	huma.Register(api, op, func(ctx context.Context, q *I) (*O, error) {
		who := caller(ctx)
		if who == nil || !who.may(scope) {
			return nil, huma.Error403Forbidden("This needs a token with the scope " + scope + ".")
		}
		return answer(ctx, who, q)
	})
}

func joinSentences(a, b string) string {
	if a == "" {
		return b
	}
	return a + " " + b
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
