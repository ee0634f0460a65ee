package ssf

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/set"
)

// registryTime bounds what the registry may take for one call that does not wait for events.
const registryTime = 15 * time.Second

// call is one request that is allowed.
type call struct {
	r        *http.Request
	tenant   Tenant
	receiver Receiver
	body     []byte
}

// operation is what one method of an endpoint does. It answers with a status and a body, nil for none.
type operation struct {
	// scopes: one of them is needed.
	scopes []string
	serve  func(ctx context.Context, c *call) (status int, answer any, err error)
}

var (
	toManage = []string{ScopeManage}
	toRead   = []string{ScopeRead, ScopeManage}
)

func (h *Handler) routes() {
	h.route(epToken, PathToken, h.serveToken)
	for _, t := range h.cfg.Tenants {
		at := tenantPath(t.Name)
		h.route(epMetadata, PathWellKnown+"ssf-configuration/"+t.Name, readOnly(h.serveMetadata(t)))
		h.route(epKeys, at+"jwks.json", readOnly(h.serveKeys(t)))
		h.route(epConfiguration, at+"streams", h.allowed(t, registryTime, map[string]operation{
			http.MethodPost:   {toManage, h.create},
			http.MethodGet:    {toRead, h.read},
			http.MethodPatch:  {toManage, h.update},
			http.MethodPut:    {toManage, h.replace},
			http.MethodDelete: {toManage, h.remove},
		}))
		h.route(epStatus, at+"status", h.allowed(t, registryTime, map[string]operation{
			http.MethodGet:  {toRead, h.readStatus},
			http.MethodPost: {toManage, h.updateStatus},
		}))
		h.route(epAddSubject, at+"subjects/add", h.allowed(t, registryTime, map[string]operation{http.MethodPost: {toManage, h.addSubject}}))
		h.route(epRemoveSubject, at+"subjects/remove", h.allowed(t, registryTime, map[string]operation{http.MethodPost: {toManage, h.removeSubject}}))
		h.route(epVerify, at+"verify", h.allowed(t, registryTime, map[string]operation{http.MethodPost: {toManage, h.verify}}))
		h.route(epPoll, at+"poll/{id}", h.allowed(t, h.cfg.PollWait, map[string]operation{http.MethodPost: {toRead, h.poll}}))
	}
	h.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem{Status: http.StatusNotFound, Detail: "There is nothing here."}.write(w)
	})
}

func refuseMethod(w http.ResponseWriter, methods string) {
	w.Header().Set("Allow", methods)
	problem{Status: http.StatusMethodNotAllowed, Detail: "Use " + methods + "."}.write(w)
}

// readOnly is what is public, and can be read only.
func readOnly(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			refuseMethod(w, http.MethodGet+", "+http.MethodHead)
			return
		}
		serve(w, r)
	}
}

// allowed authenticates, looks at the scopes and at how much the receiver sends, and only then reads the body: who may not
// learns nothing of streams, and costs little.
func (h *Handler) allowed(t Tenant, most time.Duration, operations map[string]operation) http.HandlerFunc {
	methods := strings.Join(slices.Sorted(maps.Keys(operations)), ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		op, ok := operations[r.Method]
		if !ok {
			refuseMethod(w, methods)
			return
		}
		client, receiver, err := h.guard.authenticate(r, t.Name)
		if err == nil {
			err = authorize(receiver, op.scopes)
		}
		if err == nil {
			err = client.take(h.deps.Now())
		}
		c := &call{r: r, tenant: t, receiver: receiver}
		if err == nil {
			c.body, err = readBody(w, r, h.cfg.Limits.Body)
		}
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(most + writeTime)) // a recorder has none
		ctx, cancel := context.WithTimeout(r.Context(), most)
		defer cancel()
		status, answer, err := op.serve(ctx, c)
		if elsewhere, ok := errors.AsType[*ElsewhereError](err); ok {
			h.deps.Forward(w, r, c.body, elsewhere.URL)
			return
		}
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		reply(w, status, answer)
	}
}

// writeTime is what a receiver has to read its answer.
const writeTime = 30 * time.Second

func reply(w http.ResponseWriter, status int, answer any) {
	if answer == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the reader has gone
}

func (h *Handler) terms(s Stream) terms {
	return terms{
		pollURL: h.cfg.pollURL(s), supported: h.deps.Supported(s), delivered: h.deps.Delivered(s), checkURL: h.deps.CheckURL,
		minVerification: int64(h.cfg.MinVerificationInterval / time.Second), inactivity: int64(h.cfg.InactivityTimeout / time.Second),
	}
}

func (h *Handler) show(s Stream) configuration { return s.show(h.terms(s)) }

// stream decides which stream a request means. Only a receiver of apple-sse may leave the id out, and means its only one.
func (h *Handler) stream(ctx context.Context, c *call, id string) (string, error) {
	switch {
	case id != "" && (len(id) > maxID || strings.Trim(id, unreserved) != ""):
		return "", ErrNotFound // no stream is called so
	case id != "":
		return id, nil
	case c.receiver.Dialect != DialectAppleSSE:
		return "", invalid("stream_id: is missing")
	}
	streams, err := h.deps.Registry.Streams(ctx, c.receiver)
	switch {
	case err != nil:
		return "", err
	case len(streams) == 0:
		return "", ErrNotFound
	case len(streams) > 1:
		return "", invalid("stream_id: is missing, and there are %d streams", len(streams))
	}
	return streams[0].ID, nil
}

// maxID bounds the id of a stream, in bytes.
const maxID = 256

// queryID is the stream_id in the query.
func (c *call) queryID() string { return c.r.URL.Query().Get("stream_id") }

func (h *Handler) create(ctx context.Context, c *call) (int, any, error) {
	q, err := parseConfiguration(c.body, h.cfg.Limits)
	if err != nil {
		return 0, nil, err
	}
	s, err := newStream(c.receiver, h.cfg.Issuer(c.tenant.Name), c.tenant.defaultSubjects(), q, terms{checkURL: h.deps.CheckURL})
	if err != nil {
		return 0, nil, err
	}
	if s, err = h.deps.Registry.Create(ctx, s); err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, h.show(s), nil
}

// read reads one stream, or lists all of the receiver's when none is named.
func (h *Handler) read(ctx context.Context, c *call) (int, any, error) {
	if !c.r.URL.Query().Has("stream_id") {
		streams, err := h.deps.Registry.Streams(ctx, c.receiver)
		if err != nil {
			return 0, nil, err
		}
		list := make([]configuration, 0, len(streams))
		for _, s := range streams {
			list = append(list, h.show(s))
		}
		return http.StatusOK, list, nil
	}
	id, err := h.stream(ctx, c, c.queryID())
	if err != nil {
		return 0, nil, err
	}
	s, err := h.deps.Registry.Stream(ctx, c.receiver, id)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, h.show(s), nil
}

func (h *Handler) update(ctx context.Context, c *call) (int, any, error) {
	return h.configure(ctx, c, (*Stream).update)
}

func (h *Handler) replace(ctx context.Context, c *call) (int, any, error) {
	return h.configure(ctx, c, (*Stream).replace)
}

func (h *Handler) configure(ctx context.Context, c *call, change func(*Stream, configurationRequest, terms) error) (int, any, error) {
	q, err := parseConfiguration(c.body, h.cfg.Limits)
	if err != nil {
		return 0, nil, err
	}
	s, err := h.change(ctx, c, q.id, func(s *Stream) error { return change(s, q, h.terms(*s)) })
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, h.show(s), nil
}

// change applies a change to the stream that a request means.
func (h *Handler) change(ctx context.Context, c *call, id string, change func(*Stream) error) (Stream, error) {
	id, err := h.stream(ctx, c, id)
	if err != nil {
		return Stream{}, err
	}
	return h.deps.Registry.Update(ctx, c.receiver, id, change)
}

// remove deletes a stream. A receiver of apple-sse may name it in a body.
func (h *Handler) remove(ctx context.Context, c *call) (int, any, error) {
	id := c.queryID()
	if id == "" && c.receiver.Dialect == DialectAppleSSE && len(c.body) > 0 {
		m, err := parseObject(c.body)
		if err == nil {
			id, err = m.id()
		}
		if err != nil {
			return 0, nil, err
		}
	}
	id, err := h.stream(ctx, c, id)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, h.deps.Registry.Delete(ctx, c.receiver, id)
}

func (h *Handler) readStatus(ctx context.Context, c *call) (int, any, error) {
	id, err := h.stream(ctx, c, c.queryID())
	if err != nil {
		return 0, nil, err
	}
	s, err := h.deps.Registry.Stream(ctx, c.receiver, id)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.showStatus(), nil
}

func (h *Handler) updateStatus(ctx context.Context, c *call) (int, any, error) {
	q, err := parseStatus(c.body, h.cfg.Limits)
	if err != nil {
		return 0, nil, err
	}
	s, err := h.change(ctx, c, q.id, func(s *Stream) error { return s.setStatus(q) })
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.showStatus(), nil
}

// addSubject answers the same whether the subject is known here or not: it is no oracle.
func (h *Handler) addSubject(ctx context.Context, c *call) (int, any, error) {
	return http.StatusOK, nil, h.changeSubject(ctx, c, func(s *Stream, q subjectRequest) error {
		return s.addSubject(q.subject, h.cfg.Limits.Subjects)
	})
}

func (h *Handler) removeSubject(ctx context.Context, c *call) (int, any, error) {
	now := h.deps.Now().Unix()
	return http.StatusNoContent, nil, h.changeSubject(ctx, c, func(s *Stream, q subjectRequest) error {
		return s.removeSubject(q.subject, now, h.cfg.Limits.Subjects)
	})
}

func (h *Handler) changeSubject(ctx context.Context, c *call, change func(*Stream, subjectRequest) error) error {
	q, err := parseSubjectRequest(c.body)
	if err != nil {
		return err
	}
	if q.subject, err = set.ParseSubject(q.subject); err != nil {
		return invalid("%s", err.Error())
	}
	_, err = h.change(ctx, c, q.id, func(s *Stream) error { return change(s, q) })
	return err
}

func (h *Handler) verify(ctx context.Context, c *call) (int, any, error) {
	q, err := parseVerify(c.body)
	if err != nil {
		return 0, nil, err
	}
	id, err := h.stream(ctx, c, q.id)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, h.deps.Registry.Verify(ctx, c.receiver, id, q.state)
}

func (h *Handler) poll(ctx context.Context, c *call) (int, any, error) {
	q, err := parsePoll(c.body, h.cfg.Limits)
	if err != nil {
		return 0, nil, err
	}
	id, err := h.stream(ctx, c, c.r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	found, err := h.deps.Registry.Poll(ctx, c.receiver, id, q)
	if err != nil {
		return 0, nil, err
	}
	if found.Sets == nil {
		found.Sets = map[string]string{}
	}
	return http.StatusOK, found, nil
}
