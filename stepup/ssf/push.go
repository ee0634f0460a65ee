package stepupssf

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"mime"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// Bounds of pushing.
const (
	maxPushes   = 64 // that are judged and kept at once
	bodyTimeout = 15 * time.Second
	takeTimeout = 30 * time.Second
)

// answer is one to a push that is not 202.
type answer struct {
	status int
	wait   time.Duration
	*Refusal
}

// later says that the same SET may be accepted after a while. It has no code, since some transmitters take every code for
// the last word.
func later(status int, wait time.Duration, why string) *answer {
	return &answer{status, max(wait, time.Second), &Refusal{Description: why + ", send it again later"}}
}

// ServeHTTP takes a push (RFC 8935): the body is one SET. It answers 202 when the SET has been kept by the store, or was
// before; 400 when it is refused, also for a wrong Authorization header, as the RFC has it; 503 with Retry-After when it
// cannot be judged or kept at present. It may be called before Run is, and after it has ended.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	a := r.serve(w, req)
	if a == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Language", "en")
	h.Set("Cache-Control", "no-store")
	if a.status == http.StatusMethodNotAllowed {
		h.Set("Allow", http.MethodPost)
	}
	if a.wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.wait.Seconds()))))
	}
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.Refusal) // the transmitter may be gone
}

func (r *Receiver) serve(w http.ResponseWriter, req *http.Request) *answer {
	if req.Method != http.MethodPost {
		return &answer{http.StatusMethodNotAllowed, 0, refuse(InvalidRequest, "method: is %.20q, must be POST", req.Method)}
	}
	if r.cfg.Delivery != Push {
		return &answer{http.StatusNotFound, 0, refuse(AccessDenied, "nothing is pushed here")}
	}
	if !r.authorized(req) {
		a := &answer{http.StatusBadRequest, 0, refuse(AuthenticationFailed, "the Authorization header is not the one that was agreed")}
		r.stats.refused.Add(1)
		r.logged.secret.warn(r.log, "push refused, perhaps the transmitter has another secret than AuthorizationFile", "from", req.RemoteAddr)
		return a
	}
	compact, a := body(w, req)
	if a != nil {
		r.stats.refused.Add(1)
		r.logged.stranger.warn(r.log, "push refused", "from", req.RemoteAddr, "reason", a.Description)
		return a
	}
	// Only now: whoever sends slowly must not keep others out.
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		r.stats.postponed.Add(1)
		r.logged.busy.warn(r.log, "push sent away, it will come again: too many are being judged", "at_once", maxPushes)
		return later(http.StatusServiceUnavailable, time.Second, "too many SETs are coming in")
	}
	// A transmitter that is gone would send it again; what came whole is taken all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), takeTimeout)
	defer cancel()
	err := r.receive(ctx, compact)
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return &answer{http.StatusBadRequest, 0, refusal}
	}
	r.logged.postponed.warn(r.log, "SET not accepted, it will come again", "error", err)
	if e, ok := errors.AsType[*notYet](err); ok {
		return later(http.StatusServiceUnavailable, e.wait, "the SET cannot be judged at present")
	}
	return later(http.StatusServiceUnavailable, time.Second, "the SET could not be kept")
}

// authorized tells whether a push has the header that was agreed, if one was.
func (r *Receiver) authorized(req *http.Request) bool {
	digest := sha256.Sum256([]byte(req.Header.Get("Authorization")))
	return r.authorization == "" || subtle.ConstantTimeCompare(digest[:], r.digest[:]) == 1
}

// seldom lets a warning through now and then: strangers must not fill the log, and while something is away every SET
// fails.
type seldom struct{ last atomic.Int64 } // Unix nanoseconds

func (s *seldom) warn(log *slog.Logger, what string, args ...any) {
	const every = 10 * time.Second
	now, last := time.Now().UnixNano(), s.last.Load()
	if now-last > int64(every) && s.last.CompareAndSwap(last, now) {
		log.Warn(what, args...)
	}
}

// body reads a SET, which must come whole and in time.
func body(w http.ResponseWriter, req *http.Request) (string, *answer) {
	if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || kind != "application/secevent+jwt" {
		return "", &answer{http.StatusUnsupportedMediaType, 0, refuse(InvalidRequest, "Content-Type: must be application/secevent+jwt")}
	}
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(bodyTimeout))
	compact, err := io.ReadAll(http.MaxBytesReader(w, req.Body, MaxSET))
	if err == nil {
		control.SetReadDeadline(time.Time{})
		return string(compact), nil
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return "", &answer{http.StatusRequestEntityTooLarge, 0, refuse(InvalidRequest, "the SET is larger than %d bytes", MaxSET)}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.Header().Set("Connection", "close")
		return "", &answer{http.StatusRequestTimeout, 0, refuse(InvalidRequest, "the SET did not come within %v", bodyTimeout)}
	}
	return "", &answer{http.StatusBadRequest, 0, refuse(InvalidRequest, "the SET could not be read to its end")}
}
