package ssf

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// ErrOverloaded is what take returns, wrapped or not, when too much is waiting already and nothing was written.
var ErrOverloaded = errors.New("too much is waiting for the log")

// Take puts values on the log for their transmitter: they are decoded by its Decoder. It returns nil when all are
// acknowledged. Values that repeat earlier ones are no error.
type Take = func(ctx context.Context, transmitter string, values [][]byte) error

// Bounds of pushing.
const (
	maxPushes   = 64 // at once
	bodyTimeout = 15 * time.Second
	takeTimeout = 30 * time.Second
	minToken    = 20 // characters
)

// push is the endpoint of RFC 8935: it answers POST /v1/ssf/{name} for every transmitter that pushes. A token is answered
// after it, or the reason why it is refused, is on the log. A repeat is answered like the first copy. It keeps nothing.
type push struct {
	transmitters map[string]*Transmitter
	take         Take
	slots        chan struct{}
	complained   atomic.Int64 // when an unacknowledged token was last logged, in Unix nanoseconds
}

// NewPush returns the endpoint. Transmitters that do not push have no address there.
func NewPush(transmitters []*Transmitter, take Take) http.Handler {
	p := &push{transmitters: map[string]*Transmitter{}, take: take, slots: make(chan struct{}, maxPushes)}
	for _, t := range transmitters {
		if t.cfg.Pushes() {
			p.transmitters[t.cfg.Name] = t
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/ssf/{name}", p.serve)
	return mux
}

// failure is an answer other than 202.
type failure struct {
	status int
	Refusal
	wait time.Duration
}

func fail(status int, r *Refusal) *failure { return &failure{status: status, Refusal: *r} }

// later is no refusal: the same token may be taken after a while. It has no code, since some transmitters take every code
// for the last word.
func later(status int, wait time.Duration, why string) *failure {
	return &failure{status, Refusal{Description: why + ", send it again later"}, wait}
}

func (p *push) serve(w http.ResponseWriter, r *http.Request) {
	t, failed := p.authenticate(r)
	if failed == nil {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
			failed = p.receive(w, r, t)
		default:
			failed = later(http.StatusTooManyRequests, time.Second, "too many tokens are coming in")
		}
	}
	answer(w, failed)
}

// authenticate finds the transmitter by the address and its token. Nothing tells an unknown transmitter from a wrong
// token, and the time it takes depends on neither.
func (p *push) authenticate(r *http.Request) (*Transmitter, *failure) {
	const scheme = "bearer "
	header := r.Header.Get("Authorization")
	if len(header) <= len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return nil, fail(http.StatusUnauthorized, refuse(AuthenticationFailed, "the Authorization header holds no bearer token"))
	}
	digest := sha256.Sum256([]byte(strings.TrimSpace(header[len(scheme):])))
	t := p.transmitters[r.PathValue("name")]
	var want [sha256.Size]byte
	if t != nil {
		want = t.push
	}
	if subtle.ConstantTimeCompare(digest[:], want[:]) != 1 || t == nil {
		// The example of RFC 8935, section 2.4, is answered 400, and so is this.
		return nil, fail(http.StatusBadRequest, refuse(AuthenticationFailed, "the bearer token is not that of this transmitter"))
	}
	return t, nil
}

// receive takes one token in.
func (p *push) receive(w http.ResponseWriter, r *http.Request, t *Transmitter) *failure {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/secevent+jwt" {
		return fail(http.StatusUnsupportedMediaType, refuse(InvalidRequest, "Content-Type: must be application/secevent+jwt"))
	}
	set, failed := readBody(w, r)
	if failed != nil {
		return failed
	}
	// A transmitter that is gone sends again; what came whole is taken all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), takeTimeout)
	defer cancel()
	got, err := t.receive(ctx, set)
	if err != nil {
		t.metrics.sets.WithLabelValues(resultPostponed).Inc()
		wait := time.Second
		if u, ok := errors.AsType[*unavailable](err); ok {
			wait = max(wait, u.wait)
		}
		p.complain(t, "token cannot be verified yet", err)
		return later(http.StatusServiceUnavailable, wait, "the keys cannot be looked up at present")
	}
	switch err := p.take(ctx, t.cfg.Name, [][]byte{got.value}); {
	case errors.Is(err, ErrOverloaded):
		t.metrics.sets.WithLabelValues(resultPostponed).Inc()
		return later(http.StatusTooManyRequests, time.Second, "too many tokens are waiting")
	case err != nil:
		t.metrics.sets.WithLabelValues(resultPostponed).Inc()
		p.complain(t, "token not acknowledged", err)
		return later(http.StatusServiceUnavailable, time.Second, "the token could not be kept")
	}
	t.noted(got)
	if got.refusal != nil {
		return fail(http.StatusBadRequest, got.refusal)
	}
	return nil
}

// readBody reads a token, which must arrive whole and in time.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *failure) {
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(bodyTimeout))
	set, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxSET))
	if err == nil {
		control.SetReadDeadline(time.Time{}) // so that it does not end the request's work
		return set, nil
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, fail(http.StatusRequestEntityTooLarge, refuse(InvalidRequest, "the token is larger than %d bytes", MaxSET))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.Header().Set("Connection", "close")
		return nil, fail(http.StatusRequestTimeout, refuse(InvalidRequest, "the token did not arrive within %v", bodyTimeout))
	}
	return nil, fail(http.StatusBadRequest, refuse(InvalidRequest, "the token could not be read to its end"))
}

// answer writes 202 with an empty body, or the error.
func answer(w http.ResponseWriter, f *failure) {
	if f == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Language", "en")
	h.Set("Cache-Control", "no-store")
	if f.wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.wait.Seconds()))))
	}
	if f.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(f.Refusal) // the transmitter may be gone
}

// complain logs now and then: while something is away, every token fails.
func (p *push) complain(t *Transmitter, message string, err error) {
	const every = 10 * time.Second
	now, last := time.Now().UnixNano(), p.complained.Load()
	if now-last > int64(every) && p.complained.CompareAndSwap(last, now) {
		t.log.Warn(message, zap.Error(err))
	}
}

// readDigest reads a token's file and keeps its digest.
func readDigest(path string) (digest [sha256.Size]byte, err error) {
	token, err := upstream.ReadSecret(path)
	if err != nil {
		return digest, err
	}
	if sum, hashed := strings.CutPrefix(token, "sha256:"); hashed {
		if n, err := hex.Decode(digest[:], []byte(sum[:min(len(sum), 2*len(digest))])); err != nil || n != len(digest) || len(sum) != 2*len(digest) {
			return digest, fmt.Errorf("%s holds no digest, want sha256: and %d hexadecimal digits", path, 2*len(digest))
		}
		return digest, nil
	}
	if len(token) < minToken {
		return digest, fmt.Errorf("%s holds %d characters, a token needs at least %d", path, len(token), minToken)
	}
	return sha256.Sum256([]byte(token)), nil
}
