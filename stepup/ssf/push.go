package stepupssf

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"os"
	"strconv"
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
	if r.authorization != "" {
		digest := sha256.Sum256([]byte(req.Header.Get("Authorization")))
		if subtle.ConstantTimeCompare(digest[:], r.digest[:]) != 1 {
			return &answer{http.StatusBadRequest, 0, refuse(AuthenticationFailed, "the Authorization header is not the one that was agreed")}
		}
	}
	if kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || kind != "application/secevent+jwt" {
		return &answer{http.StatusUnsupportedMediaType, 0, refuse(InvalidRequest, "Content-Type: must be application/secevent+jwt")}
	}
	compact, a := body(w, req)
	if a != nil {
		return a
	}
	// Only now: whoever sends slowly must not keep others out.
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		return later(http.StatusServiceUnavailable, time.Second, "too many SETs are coming in")
	}
	// A transmitter that is gone would send it again; what came whole is taken all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), takeTimeout)
	defer cancel()
	err := r.receive(ctx, compact, "")
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return &answer{http.StatusBadRequest, 0, refusal}
	}
	r.complain("SET not accepted, it will come again", err)
	if e, ok := errors.AsType[*notYet](err); ok {
		return later(http.StatusServiceUnavailable, e.wait, "the SET cannot be judged at present")
	}
	return later(http.StatusServiceUnavailable, time.Second, "the SET could not be kept")
}

// complain logs now and then: while something is away, every push fails.
func (r *Receiver) complain(what string, err error) {
	const every = 10 * time.Second
	now, last := time.Now().UnixNano(), r.complained.Load()
	if now-last > int64(every) && r.complained.CompareAndSwap(last, now) {
		r.trouble(what, err)
	}
}

// body reads a SET, which must come whole and in time.
func body(w http.ResponseWriter, req *http.Request) (string, *answer) {
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
