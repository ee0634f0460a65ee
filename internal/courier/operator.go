package courier

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/ssf/dialect"
	"github.com/countersign-io/countersign/internal/stream"
)

// operatorPrefix is where the operator endpoints are. ScopeOperate names what their tokens are for.
const (
	operatorPrefix = "/operator/v1/"
	ScopeOperate   = "ssf.operate"
)

// maxOperatorBody and minOperatorToken are in bytes.
const (
	maxOperatorBody  = 64 << 10
	minOperatorToken = 20
)

// StreamView is a stream as an operator sees it, without its secrets. Times are RFC 3339.
type StreamView struct {
	ID        string     `json:"stream_id"`
	Tenant    string     `json:"tenant"`
	Receiver  string     `json:"receiver"`
	Dialect   string     `json:"dialect"`
	Method    string     `json:"method"`
	Endpoint  string     `json:"endpoint_url,omitempty"`
	Requested []string   `json:"events_requested,omitempty"`
	Subjects  int        `json:"subjects"`
	Status    ssf.Status `json:"status"`
	Reason    string     `json:"reason,omitempty"`
	// Lag counts the records of the log that were not looked at, Pending the SETs that wait and those that are to be sent
	// again, Control those of them that come from no decision.
	Lag          int64      `json:"lag"`
	Pending      int        `json:"pending"`
	Control      int        `json:"control"`
	LastSuccess  *time.Time `json:"last_success,omitempty"`
	FailingSince *time.Time `json:"failing_since,omitempty"`
	LastError    string     `json:"last_error,omitempty"`
	Created      time.Time  `json:"created"`
	// HeldBy is the address of the courier that holds it; Unknown is set when that one did not answer, and the figures are
	// missing then.
	HeldBy  string `json:"held_by"`
	Unknown bool   `json:"unknown,omitempty"`
	// Result says, for people, what was done; only in the answer to a verb.
	Result string `json:"result,omitempty"`
}

func viewOf(s *ssf.Stream) StreamView {
	v := StreamView{
		ID: s.ID, Tenant: s.Tenant, Receiver: s.Receiver, Dialect: string(s.Dialect), Method: methodPush, Endpoint: s.Delivery.URL,
		Requested: s.Requested, Subjects: len(s.Subjects), Status: s.Status, Reason: s.Reason, Created: time.Unix(s.Created, 0).UTC(),
	}
	if v.Dialect == "" {
		v.Dialect = string(ssf.DialectSSF1)
	}
	if s.Delivery.Method == ssf.MethodPoll {
		v.Method, v.Endpoint = methodPoll, ""
	}
	return v
}

// view is the stream as it is now.
func (o *outlet) view() StreamView {
	ends := o.c.hub.ends()
	o.mu.Lock()
	defer o.mu.Unlock()
	v := viewOf(&o.stream)
	v.Lag, v.Control, v.LastError, v.HeldBy = o.lag(ends), len(o.controls.items), o.lastError, o.c.url
	v.Pending = o.behind() + v.Control
	v.LastSuccess, v.FailingSince = optional(o.lastSuccess), optional(o.failingSince)
	if o.problem != nil {
		v.LastError = clip(o.problem.Error())
	}
	return v
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// operator serves the endpoints for the people who run the installation.
type operator struct {
	c      *Courier
	tokens []credential
	mux    *http.ServeMux
}

// credential is whose token it is, and its digest.
type credential struct {
	name   string
	digest [sha256.Size]byte
}

// nameKey is where a request's context has the name of its operator's token.
type nameKey struct{}

// by is the name of the token of a request, for the log.
func by(ctx context.Context) zap.Field {
	name, _ := ctx.Value(nameKey{}).(string)
	return zap.String("operator", name)
}

func newOperator(c *Courier) (http.Handler, error) {
	o := &operator{c: c, mux: http.NewServeMux()}
	var errs []error
	for i, t := range c.cfg.OperatorTokens {
		raw, err := os.ReadFile(t.File)
		secret := strings.TrimSpace(string(raw))
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("operator_tokens[%d].file: %w", i, err))
		case len(secret) < minOperatorToken:
			errs = append(errs, fmt.Errorf("operator_tokens[%d].file: %s holds %d characters, a token needs at least %d", i, t.File, len(secret), minOperatorToken))
		default:
			o.tokens = append(o.tokens, credential{t.Name, sha256.Sum256([]byte(secret))})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	o.mux.HandleFunc("GET "+operatorPrefix+"streams", o.list)
	o.mux.HandleFunc("POST "+operatorPrefix+"streams", o.create)
	o.mux.HandleFunc("DELETE "+operatorPrefix+"streams/{id}", o.on(o.remove))
	o.mux.HandleFunc("GET "+operatorPrefix+"streams/{id}", o.on(func(context.Context, *outlet, []byte) (string, error) { return "", nil }))
	o.mux.HandleFunc("POST "+operatorPrefix+"streams/{id}/verify", o.on(o.verify))
	o.mux.HandleFunc("POST "+operatorPrefix+"streams/{id}/emit", o.on(o.emit))
	o.mux.HandleFunc("POST "+operatorPrefix+"streams/{id}/replay", o.on(o.replay))
	for action, status := range map[string]ssf.Status{"pause": ssf.Paused, "enable": ssf.Enabled, "disable": ssf.Disabled} {
		o.mux.HandleFunc("POST "+operatorPrefix+"streams/{id}/"+action, o.on(o.status(status)))
	}
	return http.HandlerFunc(o.serve), nil
}

// serve lets operators through.
func (o *operator) serve(w http.ResponseWriter, r *http.Request) {
	out := &ssf.StatusWriter{ResponseWriter: w, Status: http.StatusOK}
	defer func() { o.c.metrics.requests.WithLabelValues(strconv.Itoa(out.Status/100) + "xx").Inc() }()
	out.Header().Set("Cache-Control", "no-store")
	out.Header().Set("X-Content-Type-Options", "nosniff")
	name, known := o.who(r)
	if !known {
		out.Header().Set("WWW-Authenticate", `Bearer realm="countersign operator", scope="`+ScopeOperate+`"`)
		complain(out, http.StatusUnauthorized, "give the token of an operator (courier.operator_tokens) in the Authorization header")
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)) // not every writer has one
	o.mux.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), nameKey{}, name)))
}

// who returns the name of the operator's token of a request; false when it has none. It takes the same time for any.
func (o *operator) who(r *http.Request) (string, bool) {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	scheme, secret, _ := strings.Cut(values[0], " ")
	given := sha256.Sum256([]byte(secret))
	which := -1
	for i := range o.tokens {
		which = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(given[:], o.tokens[i].digest[:]), i, which)
	}
	if which < 0 || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return o.tokens[which].name, true
}

func complain(w http.ResponseWriter, status int, problem string) {
	answerJSON(w, status, map[string]string{"error": problem})
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked may be gone
}

// verb does something to a stream, and returns what it did, for people.
type verb func(ctx context.Context, s *outlet, body []byte) (result string, err error)

// on finds the stream of a request, wherever it is held, and answers with how it is after do.
func (o *operator) on(do verb) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOperatorBody))
		if err != nil {
			complain(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxOperatorBody))
			return
		}
		s, err := o.c.find(r.Context(), r.PathValue("id"))
		var result string
		if err == nil {
			result, err = do(r.Context(), s, body)
		}
		if elsewhere, ok := errors.AsType[*ssf.ElsewhereError](err); ok {
			o.c.forward(w, r, body, elsewhere.URL)
			return
		}
		if err != nil {
			o.fail(w, err)
			return
		}
		if r.Method != http.MethodGet {
			o.c.log.Info("operator changed a stream", by(r.Context()), zap.String("stream", s.id), zap.String("path", r.URL.Path))
		}
		v := s.view()
		v.Result = result
		answerJSON(w, http.StatusOK, v)
	}
}

func (o *operator) fail(w http.ResponseWriter, err error) {
	invalid, isInvalid := errors.AsType[*ssf.InvalidError](err)
	tooMany, isTooMany := errors.AsType[*ssf.TooManyError](err)
	switch {
	case errors.Is(err, ssf.ErrNotFound):
		complain(w, http.StatusNotFound, err.Error())
	case errors.Is(err, ssf.ErrDisabled), errors.Is(err, errLost):
		complain(w, http.StatusConflict, err.Error())
	case isInvalid:
		complain(w, http.StatusBadRequest, invalid.Problem)
	case isTooMany:
		w.Header().Set("Retry-After", strconv.Itoa(int(tooMany.After/time.Second)+1))
		complain(w, http.StatusTooManyRequests, err.Error())
	default:
		o.c.log.Warn("operator's request failed", zap.Error(err))
		w.Header().Set("Retry-After", "2")
		complain(w, http.StatusServiceUnavailable, "the log does not answer, what was asked may or may not be done")
	}
}

// decode reads a body, which may be empty.
func decode(body []byte, v any) error {
	if len(strings.TrimSpace(string(body))) == 0 {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &ssf.InvalidError{Problem: clip("the body cannot be read: " + err.Error())}
	}
	return nil
}

// create makes a stream for a receiver that cannot do it itself, as those of google and okta.
func (o *operator) create(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOperatorBody))
	if err != nil {
		complain(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxOperatorBody))
		return
	}
	s, err := o.c.deps.NewStream(body)
	if err == nil && len(dialect.Delivered(s)) == 0 {
		err = &ssf.InvalidError{Problem: "events_requested: has nothing that such a stream can get"}
	}
	if err != nil {
		o.fail(w, err)
		return
	}
	s, err = o.c.Create(r.Context(), s)
	elsewhere, ok := errors.AsType[*ssf.ElsewhereError](err)
	switch {
	case ok:
		o.c.forward(w, r, body, elsewhere.URL)
		return
	case errors.Is(err, ssf.ErrTooManyStreams):
		complain(w, http.StatusConflict, err.Error())
		return
	case err != nil:
		o.fail(w, err)
		return
	}
	o.c.log.Info("operator made a stream", by(r.Context()), zap.String("stream", s.ID), zap.String("receiver", s.Receiver))
	v := viewOf(&s)
	v.HeldBy = o.c.url
	answerJSON(w, http.StatusCreated, v)
}

func (o *operator) remove(ctx context.Context, s *outlet, _ []byte) (string, error) {
	config := s.config()
	return "deleted", o.c.Delete(ctx, ssf.Receiver{ID: config.Receiver, Tenant: config.Tenant}, s.id)
}

func (o *operator) verify(ctx context.Context, s *outlet, body []byte) (string, error) {
	var q struct {
		State *string `json:"state"`
	}
	if err := decode(body, &q); err != nil {
		return "", err
	}
	if q.State != nil && len(*q.State) > ssf.MaxState {
		return "", &ssf.InvalidError{Problem: fmt.Sprintf("state: is longer than %d bytes", ssf.MaxState)}
	}
	jti, err := o.c.control(ctx, s, control{Kind: verification, State: q.State})
	return "verification asked for, jti " + jti + s.held(), err
}

func (o *operator) emit(ctx context.Context, s *outlet, body []byte) (string, error) {
	var q struct {
		Type string `json:"type"`
	}
	if err := decode(body, &q); err != nil {
		return "", err
	}
	e := control{Kind: synthetic, Type: q.Type, JTI: newID(), At: time.Now().Unix()}
	config := s.config()
	if _, err := e.token(&config); err != nil {
		return "", &ssf.InvalidError{Problem: clip("type: " + err.Error())}
	}
	jti, err := o.c.control(ctx, s, e)
	return "emitted, jti " + jti + s.held(), err
}

// held is what to add to the result of a verb whose SETs do not go out now.
func (o *outlet) held() string {
	if o.config().Status == ssf.Paused {
		return "; held: the stream is paused"
	}
	return ""
}

func (o *operator) replay(ctx context.Context, s *outlet, body []byte) (string, error) {
	var q struct {
		Since     *time.Time `json:"since"`
		JTI       string     `json:"jti"`
		Partition *int       `json:"partition"`
		Offset    *int64     `json:"offset"`
	}
	if err := decode(body, &q); err != nil {
		return "", err
	}
	switch {
	case q.Since != nil && q.JTI == "" && q.Partition == nil && q.Offset == nil:
		n, err := o.c.replaySince(ctx, s, *q.Since)
		return fmt.Sprintf("%d decisions since %s will be looked at and sent again where they are for the stream", n, q.Since.UTC().Format(time.RFC3339)) + s.held(), err
	case q.Since == nil && q.JTI != "" && q.Partition != nil && q.Offset != nil:
		return "jti " + q.JTI + " will be sent again" + s.held(), o.c.replayOne(ctx, s, q.JTI, *q.Partition, *q.Offset)
	}
	return "", &ssf.InvalidError{Problem: "give since, a time, or jti with the partition and offset of its dead letter"}
}

// status changes it as the transmitter's own decision.
func (o *operator) status(to ssf.Status) verb {
	return func(ctx context.Context, s *outlet, body []byte) (string, error) {
		var q struct {
			Reason string `json:"reason"`
		}
		if err := decode(body, &q); err != nil {
			return "", err
		}
		select {
		case s.edit <- struct{}{}: // a receiver's change that is under way would be written over it
			defer func() { <-s.edit }()
		case <-ctx.Done():
			return "", ctx.Err()
		}
		s.mu.Lock()
		_, known := s.owner()
		result, waited := string(to), s.behind()
		for _, it := range s.controls.items {
			if it.control.Kind != streamUpdated {
				waited++
			}
		}
		switch {
		case !known && to != ssf.Disabled:
			s.mu.Unlock()
			return "", &ssf.InvalidError{Problem: "the receiver of the stream is not in ssf.clients any more"}
		case s.stream.Status != to || s.stream.Reason != clip(q.Reason):
			s.announce(to, clip(q.Reason), ssf.ByOperator, time.Now())
		case s.stream.StatusBy != ssf.ByOperator: // there is nothing to announce
			s.stream.StatusBy, s.configDirty = ssf.ByOperator, true
		}
		if to == ssf.Disabled {
			result += fmt.Sprintf(", SETs dropped that waited: %d", waited)
		}
		s.mu.Unlock()
		s.pull()
		return result, o.c.elsewhere(s.holding, s.holding.save(ctx, s))
	}
}

// list shows all streams: those held here, and what the other couriers say of theirs.
func (o *operator) list(w http.ResponseWriter, r *http.Request) {
	c := o.c
	var views []StreamView
	mine := map[int]bool{}
	for _, h := range c.held() {
		mine[h.partition] = true
		for _, s := range h.list() {
			views = append(views, s.view())
		}
	}
	if r.Header.Get(headerForwarded) == "" {
		byHolder := map[string][]StreamView{}
		for _, s := range c.table.streams(func(s *ssf.Stream) bool { return !mine[stream.PartitionFor([]byte(s.ID), c.partitions)] }) {
			v := viewOf(&s)
			_, held, _ := c.table.holder(stream.PartitionFor([]byte(s.ID), c.partitions))
			v.HeldBy, v.Unknown = held.peer(c.url), true
			byHolder[v.HeldBy] = append(byHolder[v.HeldBy], v)
		}
		var mu sync.Mutex
		var asking sync.WaitGroup
		for holder, known := range byHolder {
			asking.Go(func() {
				theirs, err := c.askPeer(r, holder)
				if err != nil {
					c.log.Warn("asking another courier for its streams", zap.String("courier", holder), zap.Error(err))
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					views = append(views, known...)
				} else {
					views = append(views, theirs...)
				}
			})
		}
		asking.Wait()
	}
	if tenant := r.URL.Query().Get("tenant"); tenant != "" {
		views = slices.DeleteFunc(views, func(v StreamView) bool { return v.Tenant != tenant })
	}
	slices.SortFunc(views, func(a, b StreamView) int { return strings.Compare(a.ID, b.ID) })
	answerJSON(w, http.StatusOK, map[string]any{"streams": append([]StreamView{}, views...)})
}

// maxPeerAnswer bounds what another courier may say, in bytes.
const maxPeerAnswer = 64 << 20

// askPeer asks another courier for the streams that it holds, on behalf of the operator who asks us.
func (c *Courier) askPeer(r *http.Request, base string) ([]StreamView, error) {
	if base == "" {
		return nil, errors.New("nobody holds them")
	}
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, base+operatorPrefix+"streams", nil)
	if err != nil {
		return nil, err
	}
	q.Header["Authorization"] = r.Header["Authorization"]
	q.Header.Set(headerForwarded, c.member)
	answer, err := c.peers.Do(q)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %d", answer.StatusCode)
	}
	var list struct {
		Streams []StreamView `json:"streams"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxPeerAnswer)).Decode(&list); err != nil {
		return nil, fmt.Errorf("reading its answer: %w", err)
	}
	return list.Streams, nil
}
