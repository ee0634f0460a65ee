package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// operation is a registered operation and what this package adds to it.
type operation struct {
	huma.Operation
	// aside means that it asks the history nothing, or little, and so needs no place among the questions.
	aside bool
}

// option changes an operation from what register makes of it.
type option func(*operation)

// answering sets the status of success where it is not 200, or 204 without a body.
func answering(status int) option { return func(o *operation) { o.DefaultStatus = status } }

// taking sets how many bytes a body may have, where 64 KB are not enough. maxBody bounds it.
func taking(bytes int64) option { return func(o *operation) { o.MaxBodyBytes = bytes } }

// refusing adds statuses of refusals to those that every operation may have.
func refusing(statuses ...int) option {
	return func(o *operation) { o.Errors = append(o.Errors, statuses...) }
}

// aside lets an operation run besides the bounded number of questions: it asks the history nothing.
func aside(o *operation) { o.aside = true }

// anyone is the scope of operations for everybody who is known.
const anyone = ""

// bodyLimit is what a body may have by default.
const bodyLimit = 64 << 10

// register adds an operation for callers with a scope. pattern is "METHOD /path", or "/path" for GET. What changes something
// or reads one person's data says so itself, by [API.audit]. Few questions run at a time, because each costs the database.
func register[I, O any](a *API, api huma.API, id, pattern, summary, scope string, answer func(context.Context, *principal, *I) (*O, error), options ...option) {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = http.MethodGet, pattern
	}
	o := operation{Operation: huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary, Description: "For everybody who is signed in.", MaxBodyBytes: bodyLimit,
		Errors: []int{
			http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable,
		},
		Security: []map[string][]string{{"token": {}}, {"session": {}}},
	}}
	if scope != anyone {
		o.Description = "Needs the scope `" + scope + "`."
		// OpenAPI 3.1: the roles that are needed, for schemes that are not OAuth.
		o.Security = []map[string][]string{{"token": {scope}}, {"session": {scope}}}
	}
	if strings.Contains(path, "{") {
		o.Errors = append(o.Errors, http.StatusNotFound)
	}
	if _, ok := reflect.TypeFor[I]().FieldByName("Body"); ok {
		o.Errors = append(o.Errors, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	for _, change := range options {
		change(&o)
	}
	slices.Sort(o.Errors)
	o.Errors = slices.Compact(o.Errors)
	huma.Register(api, o.Operation, func(ctx context.Context, q *I) (*O, error) {
		who := caller(ctx).under(scope)
		if who == nil {
			return nil, a.forbidden(ctx, method+" "+path, "the scope "+scope)
		}
		if o.aside {
			return answer(ctx, who, q)
		}
		wait := time.NewTimer(a.cfg.QuestionWait)
		defer wait.Stop()
		select {
		case a.questions <- struct{}{}:
			defer func() { <-a.questions }()
		case <-wait.C:
			return nil, unavailable(busy, "Too many questions are being worked on; ask again soon.")
		case <-ctx.Done():
			return nil, a.refusal(ctx.Err())
		}
		return answer(ctx, who, q)
	})
}
