package ssf

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"
)

// problem is the body of an error (RFC 9457).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// retryAfter is when to come again when something that is needed does not answer.
const retryAfter = 5 * time.Second

// movingAfter is when to come again to a stream that changes hands.
const movingAfter = 2 * time.Second

// refuse answers with an error. What went wrong inside is for the log only.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problem{Detail: err.Error()}
	var after time.Duration
	switch cause := err.(type) { //nolint:errorlint // the wrapped ones come below
	case *denied:
		p.Status = cause.status
		w.Header().Set("WWW-Authenticate", cause.challenge())
	case *InvalidError:
		p.Status = http.StatusBadRequest
	case *tooLargeError:
		p.Status = http.StatusRequestEntityTooLarge
	default:
		switch tooMany, unavailable := (*TooManyError)(nil), (*unavailableError)(nil); {
		case errors.As(err, &tooMany):
			p.Status, after = http.StatusTooManyRequests, tooMany.After
		case errors.Is(err, ErrNotFound):
			p.Status, p.Detail = http.StatusNotFound, ErrNotFound.Error()
		case errors.Is(err, errHeld):
			p.Status, p.Detail = http.StatusForbidden, errHeld.Error()
		case errors.Is(err, ErrTooManyStreams):
			p.Status, p.Detail = http.StatusConflict, ErrTooManyStreams.Error()
		case errors.Is(err, ErrDisabled):
			p.Status, p.Detail = http.StatusBadRequest, ErrDisabled.Error()
		case errors.Is(err, ErrNotPoll):
			p.Status, p.Detail = http.StatusBadRequest, ErrNotPoll.Error()
		case errors.Is(err, ErrMoving): // nothing is wrong
			p.Status, p.Detail, after = http.StatusServiceUnavailable, ErrMoving.Error(), movingAfter
		case errors.As(err, &unavailable):
			p.Status, p.Detail, after = http.StatusServiceUnavailable, "The token cannot be checked now; try again.", retryAfter
			h.seldom.Do(func() { h.log.Error("checking a token", zap.Error(err)) })
		case r.Context().Err() != nil:
			p.Status, p.Detail = statusGone, "The caller has gone."
		default:
			p.Status, p.Detail, after = http.StatusServiceUnavailable, "The streams are not available now; try again.", retryAfter
			if !errors.Is(err, context.DeadlineExceeded) {
				h.seldom.Do(func() { h.log.Error("answering a receiver", zap.Error(err)) })
			}
		}
	}
	if after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(after)))
	}
	p.write(w)
}

// statusGone is what nobody reads any more; it is there to be counted.
const statusGone = 499

func (p problem) write(w http.ResponseWriter) {
	p.Title = http.StatusText(p.Status)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Language", "en") // RFC 8935 §2.4 wants it where an error is described
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the reader has gone
}
