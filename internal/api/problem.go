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

// retryAfter is when to ask again while something is away, in seconds.
const retryAfter = "5"

// outage is why something is not available now: the type of a problem, for programs, and its title, for people.
type outage struct{ name, title string }

// The outages.
var (
	historyAway = outage{"history-away", "The history is away"}
	logAway     = outage{"log-away", "The log is away"}
	courierAway = outage{"courier-away", "The courier is away"}
	ingestAway  = outage{"ingest-away", "Ingest is away"}
	busy        = outage{"busy", "Others are being served"}
	tooLong     = outage{"slow", "It takes too long now"}
	stopping    = outage{"stopping", "The server is stopping"}
)

// problemTypes is what the types of this API's problems begin with (RFC 9457, section 3.1.1).
const problemTypes = "urn:countersign:problem:"

func (o outage) model(detail string) *huma.ErrorModel {
	return &huma.ErrorModel{Type: problemTypes + o.name, Title: o.title, Status: http.StatusServiceUnavailable, Detail: detail}
}

// unavailable is the error of an operation that cannot be answered now, and says when to ask again.
func unavailable(why outage, detail string) error {
	return huma.ErrorWithHeaders(why.model(detail), http.Header{"Retry-After": {retryAfter}})
}

// problem answers with problem details (RFC 9457), as huma does for its operations.
func problem(w http.ResponseWriter, status int, detail string) {
	writeProblem(w, &huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: detail})
}

// away answers as unavailable does.
func away(w http.ResponseWriter, why outage, detail string) {
	w.Header().Set("Retry-After", retryAfter)
	writeProblem(w, why.model(detail))
}

func writeProblem(w http.ResponseWriter, p *huma.ErrorModel) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the reader may have gone
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
		return unavailable(historyAway, "The history is not available now. The live feed goes on; ask again soon.")
	default:
		a.log.Error("answering a question", zap.Error(err))
		return huma.Error500InternalServerError("Something is wrong here; the log says what.")
	}
}

// refusalOfOne is refusal for a question about one thing: nobody can ask for less of it, and that the history takes too long
// passes.
func (a *API) refusalOfOne(err error) error {
	if !errors.Is(err, report.ErrTooExpensive) {
		return a.refusal(err)
	}
	a.log.Debug("history takes too long", zap.Error(err))
	return unavailable(historyAway, "The history takes too long to answer now. Ask again soon.")
}
