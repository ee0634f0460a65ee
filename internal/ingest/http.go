package ingest

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	kgzip "github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/stream"
)

// answer is the body of every answer of POST /v1/events, /v1/sessions and /v1/receipts: what became of the records, and for an error also the members
// of RFC 9457.
type answer struct {
	Title  string `json:"title,omitempty"`
	Status int    `json:"status,omitempty"`
	Detail string `json:"detail,omitempty"`

	Accepted   int `json:"accepted"`
	Duplicates int `json:"duplicates"`
	Skipped    int `json:"skipped,omitempty"`
	// Rejected are the first refused records, RejectedTotal counts all.
	Rejected      []rejected `json:"rejected"`
	RejectedTotal int        `json:"rejected_total,omitempty"`
}

type rejected struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// problem is an error that concerns a whole request.
type problem struct {
	status int
	detail string
}

func (p *problem) Error() string { return p.detail }

func refuse(status int, format string, args ...any) error {
	return &problem{status, fmt.Sprintf(format, args...)}
}

// errBodyTooLarge ends a body that is larger than allowed, as sent or after decompression.
var errBodyTooLarge = errors.New("body too large")

var errNoToken = refuse(http.StatusUnauthorized, "the Authorization header holds no bearer token that is known here")

// Handler serves the API; Run serves it too. Tests and embedders may serve it themselves.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/events", s.serving(func(w http.ResponseWriter, r *http.Request, t *token) (Result, error) { return s.take(w, r, t, "") }))
	if s.decoders[FormatSession] != nil {
		mux.HandleFunc("POST /v1/sessions", s.serving(func(w http.ResponseWriter, r *http.Request, t *token) (Result, error) {
			return s.take(w, r, t, FormatSession)
		}))
	}
	mux.HandleFunc("POST /v1/receipts", s.serving(s.takeReceipts))
	mux.HandleFunc("GET /v1/events", s.serveChallenge)
	if s.deps.Receivers != nil {
		mux.Handle("/v1/ssf/", s.deps.Receivers)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.serveReady)
	return mux
}

func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		writeText(w, http.StatusServiceUnavailable, "draining")
		return
	}
	if s.ready != nil && s.reachable.ask(r.Context(), s.ready) != nil {
		writeText(w, http.StatusServiceUnavailable, "the log cannot be reached")
		return
	}
	writeText(w, http.StatusOK, "ready")
}

// reachability remembers for a second whether the log answers: anybody may ask, and each question costs a connection.
type reachability struct {
	mu    sync.Mutex
	asked time.Time
	err   error
}

func (r *reachability) ask(ctx context.Context, ready func(context.Context) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked.IsZero() || time.Since(r.asked) > time.Second {
		// The answer is for others too, and must not end with the one who asked first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		r.err, r.asked = ready(ctx), time.Now()
	}
	return r.err
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the client may be gone
}

// serveChallenge answers a provider that checks the address of its hook. Like a hook's deliveries it needs a token.
func (s *Server) serveChallenge(w http.ResponseWriter, r *http.Request) {
	if _, ok := authenticate(s.tokens, r.Header.Get("Authorization")); !ok {
		s.respond(w, Result{}, errNoToken)
		return
	}
	if s.deps.Challenge != nil {
		if answer, ok := s.deps.Challenge(r); ok {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer) // the client may be gone
			return
		}
	}
	w.Header().Set("Allow", http.MethodPost)
	s.respond(w, Result{}, refuse(http.StatusMethodNotAllowed, "records are sent with POST"))
}

// serving is the handler of an endpoint that takes something in from the bearers of tokens.
func (s *Server) serving(take func(http.ResponseWriter, *http.Request, *token) (Result, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		s.metrics.inFlight.Inc()
		defer s.metrics.inFlight.Dec()
		result, err := s.admit(w, r, take)
		status := s.respond(w, result, err)
		s.metrics.requests.WithLabelValues(strconv.Itoa(status)).Inc()
		s.metrics.duration.Observe(time.Since(began).Seconds())
	}
}

// admit lets a request in that has a token, when there is room.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, take func(http.ResponseWriter, *http.Request, *token) (Result, error)) (Result, error) {
	token, ok := authenticate(s.tokens, r.Header.Get("Authorization"))
	if !ok {
		return Result{}, errNoToken
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return Result{}, refuse(http.StatusTooManyRequests, "%d requests are being served, come back later", s.cfg.MaxRequests)
	}
	return take(w, r, token)
}

// take takes a request's records in; they are of the given format, or of the request's own when it is "". The result
// counts what is on the log, also when there is an error.
func (s *Server) take(w http.ResponseWriter, r *http.Request, token *token, format string) (Result, error) {
	src, err := s.source(token, r, format)
	if err != nil {
		return Result{}, err
	}
	layout, enveloped, err := layoutOf(r.Header.Get("Content-Type"))
	if err != nil {
		return Result{}, err
	}
	version := r.Header.Get(cloudEventPrefix + "specversion")
	if version != "" && version != "1.0" && !enveloped {
		return Result{}, refuse(http.StatusBadRequest, "ce-specversion is %.20q, send 1.0", version)
	}
	if binary := version != ""; binary || enveloped {
		if src.Decoder, err = s.cloudEvents(src.Decoder, r.Header, binary && !enveloped); err != nil {
			return Result{}, err
		}
	}
	body, done, err := s.body(w, r)
	if err != nil {
		return Result{}, err
	}
	defer done()
	// A client that is gone or too slow ends the reading, and with it the request's context; what came whole before is
	// published all the same, within the patience.
	ctx := context.WithoutCancel(r.Context())
	if err := s.settle(ctx); err != nil {
		return Result{}, s.publishError(err)
	}
	in := s.pipeline.Intake(src)
	in.patience = s.cfg.PublishTimeout
	result, err := s.intake(ctx, in, src.Decoder.MaxValue(), layout, body)
	if s.deps.Report != nil {
		s.deps.Report(src.Name, src.Format, result, err)
	}
	return result, err
}

// cloudEventPrefix begins the headers that carry the attributes of a CloudEvent in binary mode.
const cloudEventPrefix = "Ce-"

// cloudEvents is the decoder of a body of CloudEvents: in binary mode the body is the data and the headers are the
// attributes, else each value is an envelope.
func (s *Server) cloudEvents(inner Decoder, header http.Header, binary bool) (Decoder, error) {
	if s.deps.CloudEvents == nil {
		return nil, refuse(http.StatusUnsupportedMediaType, "CloudEvents are not taken here")
	}
	if !binary {
		return s.deps.CloudEvents(inner, nil), nil
	}
	return s.deps.CloudEvents(inner, func(name string) string { return header.Get(cloudEventPrefix + name) }), nil
}

// source is what the token's bearer may send, in the format of the endpoint, else of this request, else of the token.
func (s *Server) source(t *token, r *http.Request, format string) (Source, error) {
	if format == "" {
		format = r.URL.Query().Get("format")
	}
	if format == "" {
		format = t.cfg.format()
	}
	decoder := s.decoders[format]
	if format == FormatReceipt {
		return Source{}, refuse(http.StatusBadRequest, "receipts are sent to /v1/receipts")
	}
	if decoder == nil {
		return Source{}, refuse(http.StatusBadRequest, "format %.40q is unknown, use one of %s", format, strings.Join(sortedKeys(s.decoders), ", "))
	}
	if !t.cfg.allows(format) {
		return Source{}, refuse(http.StatusForbidden, "this token may not send format %.40q", format)
	}
	src := Source{Name: t.cfg.Source, Decoder: decoder, Format: format, TrustedPlaces: t.cfg.TrustedPlaces}
	if t.cfg.Tenants[0] != anyTenant {
		src.Tenants = t.cfg.Tenants
	}
	return src, nil
}

// layoutOf tells what a content type says of the body's layout, and whether its values are CloudEvents. JSON may be any
// layout; it is told by its first value.
func layoutOf(contentType string) (as layout, cloudEvents bool, err error) {
	if contentType == "" {
		return undecided, false, nil
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err == nil {
		switch {
		case kind == "application/x-ndjson", kind == "application/ndjson", kind == "application/jsonl", kind == "application/x-jsonlines":
			return lines, false, nil
		case kind == "application/cloudevents+json", kind == "application/cloudevents-batch+json":
			return undecided, true, nil
		// Amazon SNS sends JSON as text.
		case kind == "application/json", kind == "text/plain", strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json"):
			return undecided, false, nil
		}
	}
	return "", false, refuse(http.StatusUnsupportedMediaType, "Content-Type %.80q is not taken, send application/json or application/x-ndjson", contentType)
}

var gzipReaders = sync.Pool{New: func() any { return new(kgzip.Reader) }}

// body is the request's body, decompressed and bounded. done must be called when it is no longer read.
func (s *Server) body(w http.ResponseWriter, r *http.Request) (body io.Reader, done func(), err error) {
	if r.ContentLength > s.cfg.MaxBody {
		return nil, nil, s.tooLarge()
	}
	raw := &countingReader{in: http.MaxBytesReader(w, r.Body, s.cfg.MaxBody), counter: s.metrics.bytes}
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		return raw, func() {}, nil
	case "gzip", "x-gzip":
		unzip := gzipReaders.Get().(*kgzip.Reader)
		if err := unzip.Reset(raw); err != nil {
			gzipReaders.Put(unzip)
			return nil, nil, s.bodyError(err)
		}
		return &limitedReader{in: unzip, left: s.cfg.MaxBody}, func() { gzipReaders.Put(unzip) }, nil
	default:
		w.Header().Set("Accept-Encoding", "gzip, identity")
		return nil, nil, refuse(http.StatusUnsupportedMediaType, "Content-Encoding %.40q is not taken, send gzip or none", encoding)
	}
}

func (s *Server) tooMany() error {
	return refuse(http.StatusRequestEntityTooLarge, "the body holds more than %d records; send it in parts", s.cfg.MaxRecords)
}

func (s *Server) tooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes; send it in parts", s.cfg.MaxBody)
}

// taker takes the values of a body in. See [Intake].
type taker interface { //nolint:interfacebloat // what is left of Intake when its records are others
	Add(value []byte, line int)
	Refuse(head []byte, size, line int, err error)
	Records() int
	Full() bool
	Flush(ctx context.Context) error
	Close(ctx context.Context) (Result, error)
	Abandon() Result
}

// intake takes the values of a body in, each of at most maxValue bytes.
func (s *Server) intake(ctx context.Context, in taker, maxValue int, as layout, body io.Reader) (Result, error) {
	split := newSplitter(body, maxValue, as, 0)
	defer split.release()
	values := 0
	var broken error
	for broken == nil {
		v, err := split.next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch values++; {
		case err != nil:
			broken = s.bodyError(err)
		case values > s.cfg.MaxRecords:
			broken = s.tooMany()
		case v.err != nil:
			in.Refuse(v.bytes, v.size, v.number, v.err)
		default:
			in.Add(v.bytes, v.number)
		}
		if in.Records() > s.cfg.MaxRecords {
			broken = s.tooMany() // in few values
		}
		if in.Full() {
			if err := in.Flush(ctx); err != nil {
				return in.Abandon(), s.publishError(err)
			}
		}
	}
	// What was taken before the body broke off is right, and is told in the answer.
	result, err := in.Close(ctx)
	switch {
	case err != nil:
		return result, s.publishError(err)
	case broken != nil:
		return result, broken
	case values == 0:
		return result, refuse(http.StatusBadRequest, "the body holds no record")
	case result.Rejected > 0 && result.Accepted+result.Duplicates+result.Skipped == 0:
		return result, refuse(http.StatusBadRequest, "every record was rejected")
	}
	return result, nil
}

// settle reads what is on the log, when that is not known.
func (s *Server) settle(ctx context.Context) error {
	if s.deps.Recall == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.PublishTimeout)
	defer cancel()
	return s.pipeline.Settle(ctx, s.deps.Recall)
}

// bodyError words what went wrong with reading a body.
func (s *Server) bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), errors.Is(err, errBodyTooLarge):
		return s.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, "the body did not arrive within %v", s.cfg.ReadTimeout)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, kgzip.ErrHeader), errors.Is(err, kgzip.ErrChecksum):
		return refuse(http.StatusBadRequest, "the body is no valid gzip: %v", err)
	}
	return refuse(http.StatusBadRequest, "the body could not be read to its end: %v", err)
}

// publishError words why records did not get to the log. The cause is for the operator, now and then: while the log is
// away, every request fails.
func (s *Server) publishError(err error) error {
	if errors.Is(err, stream.ErrOverloaded) {
		return refuse(http.StatusTooManyRequests, "too many records are waiting for the log, come back later")
	}
	const every = 10 * time.Second
	now, last := time.Now().UnixNano(), s.complained.Load()
	if !errors.Is(err, context.Canceled) && now-last > int64(every) && s.complained.CompareAndSwap(last, now) {
		s.log.Warn("records not acknowledged", zap.Error(err))
	}
	return refuse(http.StatusServiceUnavailable, "the log did not acknowledge the records; send them again")
}

// respond writes the answer and returns its status.
func (s *Server) respond(w http.ResponseWriter, result Result, err error) int {
	a := answer{Accepted: result.Accepted, Duplicates: result.Duplicates, Skipped: result.Skipped, Rejected: []rejected{}}
	for _, r := range result.Rejections {
		a.Rejected = append(a.Rejected, rejected(r))
	}
	if result.Rejected > len(result.Rejections) {
		a.RejectedTotal = result.Rejected
	}
	status, kind := http.StatusOK, "application/json"
	if p, ok := errors.AsType[*problem](err); ok {
		status, kind = p.status, "application/problem+json"
		a.Title, a.Status, a.Detail = http.StatusText(status), status, p.detail
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case http.StatusRequestTimeout:
		h.Set("Connection", "close")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a) // the client may be gone
	return status
}

// countingReader counts what is read.
type countingReader struct {
	in      io.Reader
	counter prometheus.Counter
}

func (r *countingReader) Read(b []byte) (int, error) {
	n, err := r.in.Read(b)
	r.counter.Add(float64(n))
	return n, err
}

// limitedReader fails when more than left bytes come.
type limitedReader struct {
	in   io.Reader
	left int64
}

func (r *limitedReader) Read(b []byte) (int, error) {
	if int64(len(b)) > r.left+1 {
		b = b[:r.left+1]
	}
	n, err := r.in.Read(b)
	if int64(n) > r.left {
		return int(r.left), errBodyTooLarge
	}
	r.left -= int64(n)
	return n, err
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
