package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/report"
)

// retryAfter is when to ask again while the history is away, in seconds.
const retryAfter = "5"

// problem answers with problem details (RFC 9457), as huma does for its operations.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(huma.ErrorModel{ // the reader has gone
		Status: status, Title: http.StatusText(status), Detail: detail,
	})
}

// refusal turns an error of the history into what a caller may know of it.
func (a *API) refusal(err error) error {
	switch {
	case errors.Is(err, report.ErrNotFound):
		return huma.Error404NotFound("There is no such thing, or you may not see it.")
	case errors.Is(err, report.ErrTooExpensive):
		return huma.Error422UnprocessableEntity("The question takes too long: ask for a shorter time, or filter more.")
	case errors.Is(err, context.Canceled):
		return huma.NewError(499, "The caller has gone.")
	case errors.Is(err, report.ErrUnavailable):
		a.log.Debug("history is not available", zap.Error(err))
		return unavailable("The history is not available now. The live feed goes on; ask again soon.")
	default:
		a.log.Error("answering a question", zap.Error(err))
		return huma.Error500InternalServerError("Something is wrong here; the log says what.")
	}
}

func unavailable(detail string) error {
	return huma.ErrorWithHeaders(huma.Error503ServiceUnavailable(detail), http.Header{"Retry-After": {retryAfter}})
}
