package stepupssf_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	audience = "https://app.example.com/ssf"
	caep     = "https://schemas.openid.net/secevent/caep/event-type/"
	risc     = "https://schemas.openid.net/secevent/risc/event-type/"
	own      = "https://schemas.openid.net/secevent/ssf/event-type/"

	methodPush = "urn:ietf:rfc:8935"
	methodPoll = "urn:ietf:rfc:8936"
)

type object = map[string]any

// call is a management request that came.
type call struct {
	method, path, stream string
	body                 object
}

// transmitter is a scripted one: streams, verification, push and poll as SSF 1.0 has them, and faults on demand.
type transmitter struct {
	testing.TB
	URL      string
	client   *http.Client
	handler  http.Handler
	direct   http.Handler  // takes pushes without a network
	patience time.Duration // for how long polls are held

	going    sync.WaitGroup // deliveries
	mu       sync.Mutex
	keys     []signer
	metadata object // replaces members
	streams  map[string]object
	status   map[string]object
	made     int
	calls    []call
	polls    []object
	sets     []offered
	acked    map[string]int
	reported map[string]object
	wake     chan struct{}
	kept     chan struct{} // gets one when a poll is held
	tokens   int
	jwks     int // requests for the keys

	// Faults and quirks.
	fail        func(r *http.Request) int // answers with that status unless 0
	one         bool                      // allows one stream
	single      bool                      // lists it as an object
	noPatch     bool
	noHold      bool          // ignores long poll
	deaf        bool          // does not take acknowledgements in
	quiet       bool          // takes verification requests in and sends none
	unsolicited bool          // sends a verification right after the creation
	more        int           // page size
	interval    int           // min_verification_interval
	hold        time.Duration // for how long SETs that were handed out are not handed out again
	handed      map[string]time.Time
	minted      int
}

type offered struct{ jti, set string }

// newTransmitter serves one over TLS.
func newTransmitter(t testing.TB) *transmitter {
	t.Helper()
	p := bareTransmitter(t)
	server := httptest.NewTLSServer(p.handler)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	p.URL, p.client = server.URL, server.Client()
	return p
}

// bareTransmitter is one without a network, for tests by a clock of their own. Its pushes go to p.app.
func bareTransmitter(t testing.TB) *transmitter {
	t.Helper()
	p := &transmitter{
		TB: t, keys: []signer{key1()}, streams: map[string]object{}, status: map[string]object{}, acked: map[string]int{}, handed: map[string]time.Time{},
		reported: map[string]object{}, wake: make(chan struct{}), kept: make(chan struct{}, 1000), patience: 50 * time.Millisecond,
		URL: "https://transmitter.example",
	}
	t.Cleanup(p.going.Wait) // the last of all
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/ssf-configuration/acme", p.serveMetadata)
	mux.HandleFunc("GET /jwks", p.serveKeys)
	mux.HandleFunc("POST /token", p.serveToken)
	mux.HandleFunc("/streams", p.guarded(p.serveStreams))
	mux.HandleFunc("/status", p.guarded(p.serveStatus))
	mux.HandleFunc("POST /verify", p.guarded(p.serveVerify))
	mux.HandleFunc("POST /poll", p.guarded(p.servePoll))
	p.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		fail := p.fail
		p.mu.Unlock()
		if fail != nil {
			if status := fail(r); status != 0 {
				http.Error(w, `{"err":"scripted"}`, status)
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
	p.client = &http.Client{Transport: inProcess{p.handler}}
	return p
}

// inProcess carries requests to a handler.
type inProcess struct{ http.Handler }

func (h inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (p *transmitter) issuer() string { return p.URL + "/acme" }

func (p *transmitter) with(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text(v))
}

func (p *transmitter) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := object{
		"issuer": p.issuer(), "spec_version": "1_0", "jwks_uri": p.URL + "/jwks", "delivery_methods_supported": []string{methodPush, methodPoll},
		"configuration_endpoint": p.URL + "/streams", "status_endpoint": p.URL + "/status", "verification_endpoint": p.URL + "/verify",
		"authorization_schemes": []object{{"spec_urn": "urn:ietf:rfc:6749"}}, "default_subjects": "ALL",
	}
	maps.Copy(m, p.metadata)
	for name, value := range m {
		if value == nil {
			delete(m, name)
		}
	}
	write(w, http.StatusOK, m)
}

func (p *transmitter) serveKeys(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jwks++
	set := jose.JSONWebKeySet{}
	for _, k := range p.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.key.Public(), KeyID: k.kid, Algorithm: string(k.alg), Use: "sig"})
	}
	write(w, http.StatusOK, set)
}

func (p *transmitter) serveToken(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name, secret, _ := r.BasicAuth(); name != "app" || secret != "the-secret-of-the-app" {
		write(w, http.StatusUnauthorized, object{"error": "invalid_client", "error_description": "not " + secret})
		return
	}
	p.tokens++
	write(w, http.StatusOK, object{"access_token": fmt.Sprint("token-", p.tokens), "token_type": "Bearer", "expires_in": 3600, "scope": r.FormValue("scope")})
}

// guarded lets only the newest token in.
func (p *transmitter) guarded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		good := r.Header.Get("Authorization") == fmt.Sprint("Bearer token-", p.tokens)
		p.mu.Unlock()
		if !good {
			write(w, http.StatusUnauthorized, object{"error": "invalid_token"})
			return
		}
		next(w, r)
	}
}

// note keeps a call, and returns the stream it is about.
func (p *transmitter) note(r *http.Request) (call, bool) {
	c := call{method: r.Method, path: r.URL.Path, stream: r.URL.Query().Get("stream_id")}
	raw, err := io.ReadAll(r.Body)
	if err != nil || len(raw) > 0 && json.Unmarshal(raw, &c.body) != nil {
		return c, false
	}
	if id, ok := c.body["stream_id"].(string); ok {
		c.stream = id
	}
	p.calls = append(p.calls, c)
	return c, true
}

func (p *transmitter) serveStreams(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.note(r)
	s, known := p.streams[c.stream]
	switch {
	case !ok:
		write(w, http.StatusBadRequest, object{"err": "bad json"})
	case r.Method == http.MethodPost:
		p.create(w, c)
	case r.Method == http.MethodGet && c.stream == "":
		p.list(w)
	case !known:
		write(w, http.StatusNotFound, object{"err": "no such stream"})
	case r.Method == http.MethodGet:
		write(w, http.StatusOK, s)
	case r.Method == http.MethodDelete:
		delete(p.streams, c.stream)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPatch && p.noPatch:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case r.Method == http.MethodPatch, r.Method == http.MethodPut:
		maps.Copy(s, p.render(c.stream, c.body))
		write(w, http.StatusOK, s)
	}
}

func (p *transmitter) create(w http.ResponseWriter, c call) {
	for name := range c.body {
		if !slices.Contains([]string{"delivery", "events_requested", "description"}, name) {
			write(w, http.StatusBadRequest, object{"err": name + " is not the receiver's to say"})
			return
		}
	}
	if p.one && len(p.streams) > 0 {
		write(w, http.StatusConflict, object{"err": "one is enough"})
		return
	}
	p.made++
	id := fmt.Sprint("stream-", p.made)
	p.streams[id] = p.render(id, c.body)
	p.status[id] = object{"stream_id": id, "status": "enabled"}
	write(w, http.StatusCreated, p.streams[id])
	if p.unsolicited {
		p.going.Go(func() { p.deliver(id, own+"verification", object{}) })
	}
}

// render is a stream's configuration of what a receiver says. The poll URL has a query, as that of the conformance suite.
func (p *transmitter) render(id string, said object) object {
	delivery := object{"method": methodPoll}
	if d, ok := said["delivery"].(object); ok {
		delivery = maps.Clone(d)
	}
	if delivery["method"] == methodPoll {
		delivery["endpoint_url"] = p.URL + "/poll?stream=" + id + "&x=a%20b"
	}
	s := object{
		"stream_id": id, "iss": p.issuer(), "aud": audience, "delivery": delivery, "events_requested": said["events_requested"],
		"events_supported": slices.Sorted(maps.Keys(everyType())), "events_delivered": slices.Sorted(maps.Keys(everyType())),
		"description": said["description"],
	}
	if p.interval > 0 {
		s["min_verification_interval"] = p.interval
	}
	return s
}

func (p *transmitter) list(w http.ResponseWriter) {
	all := []object{}
	for _, id := range slices.Sorted(maps.Keys(p.streams)) {
		all = append(all, p.streams[id])
	}
	if p.single && len(all) == 1 {
		write(w, http.StatusOK, all[0])
		return
	}
	write(w, http.StatusOK, all)
}

func (p *transmitter) serveStatus(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.note(r)
	s, known := p.status[c.stream]
	switch {
	case !ok || !known:
		write(w, http.StatusNotFound, object{"err": "no such stream"})
	case r.Method == http.MethodPost:
		maps.Copy(s, c.body)
		fallthrough
	default:
		write(w, http.StatusOK, s)
	}
}

func (p *transmitter) serveVerify(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.note(r)
	if _, known := p.streams[c.stream]; !ok || !known {
		write(w, http.StatusNotFound, object{"err": "no such stream"})
		return
	}
	w.WriteHeader(http.StatusNoContent)
	if !p.quiet {
		p.going.Go(func() { p.deliver(c.stream, own+"verification", object{"state": c.body["state"]}) })
	}
}

// control is a SET about a stream.
func (p *transmitter) control(stream, kind string, members object) (jti, set string) {
	jti = p.jti()
	return jti, key1().sign(p.claims(jti, kind, members, func(c object) {
		c["sub_id"] = object{"format": "opaque", "id": stream}
	}), nil)
}

func (p *transmitter) jti() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.minted++
	return fmt.Sprint("jti-", p.minted)
}

// deliver sends a control SET by the way that the stream has.
func (p *transmitter) deliver(stream, kind string, members object) {
	jti, set := p.control(stream, kind, members)
	p.mu.Lock()
	s, ok := p.streams[stream]
	var to object
	if ok {
		to = s["delivery"].(object)
	}
	p.mu.Unlock()
	switch {
	case !ok:
	case to["method"] == methodPoll:
		p.offer(offered{jti, set})
	default:
		if status, body := p.push(to["endpoint_url"].(string), set, to["authorization_header"]); status != http.StatusAccepted {
			p.Logf("%s %v was answered %d %s", kind, members, status, body)
		}
	}
}

// push posts a SET with the two headers that the conformance suite sets, and no other.
func (p *transmitter) push(address, set string, authorization any) (int, string) {
	req, err := http.NewRequest(http.MethodPost, address, strings.NewReader(set))
	if err != nil {
		p.Error(err)
		return 0, ""
	}
	req.Header.Set("Content-Type", "application/secevent+jwt")
	if value, ok := authorization.(string); ok {
		req.Header.Set("Authorization", value)
	}
	client := pusher
	if p.direct != nil {
		client = &http.Client{Transport: inProcess{p.direct}}
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func (p *transmitter) servePoll(w http.ResponseWriter, r *http.Request) {
	var body struct {
		MaxEvents         *int              `json:"maxEvents"`
		ReturnImmediately *bool             `json:"returnImmediately"`
		Ack               []string          `json:"ack"`
		SetErrs           map[string]object `json:"setErrs"`
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(raw, &body) != nil || body.MaxEvents == nil || body.ReturnImmediately == nil ||
		r.URL.Query().Get("x") != "a b" || len(body.SetErrs) > 0 && r.Header.Get("Content-Language") == "" {
		p.Errorf("a bad poll: %s %s", r.URL, raw)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.streams[r.URL.Query().Get("stream")]; !known {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	var all object
	_ = json.Unmarshal(raw, &all)
	p.polls = append(p.polls, all)
	if !p.deaf {
		for _, jti := range body.Ack {
			p.acked[jti]++
		}
		maps.Copy(p.reported, body.SetErrs)
	}
	for !*body.ReturnImmediately && !p.noHold && *body.MaxEvents > 0 && len(p.open()) == 0 {
		wake := p.wake
		p.mu.Unlock()
		select {
		case p.kept <- struct{}{}:
		default:
		}
		select {
		case <-wake:
		case <-r.Context().Done():
		case <-time.After(p.patience):
			wake = nil
		}
		p.mu.Lock()
		if wake == nil || r.Context().Err() != nil {
			break
		}
	}
	open := p.open()
	page := min(len(open), *body.MaxEvents)
	if p.more > 0 {
		page = min(page, p.more)
	}
	answer := object{"sets": object{}}
	for _, o := range open[:page] {
		answer["sets"].(object)[o.jti] = o.set
		p.handed[o.jti] = time.Now()
	}
	if page < len(open) {
		answer["moreAvailable"] = true
	}
	write(w, http.StatusOK, answer)
}

// open are the SETs that are neither acknowledged nor reported.
func (p *transmitter) open() []offered {
	return slices.DeleteFunc(slices.Clone(p.sets), func(o offered) bool {
		_, reported := p.reported[o.jti]
		at, held := p.handed[o.jti]
		return p.acked[o.jti] > 0 || reported || held && time.Since(at) < p.hold
	})
}

// offer puts SETs out for polls.
func (p *transmitter) offer(sets ...offered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sets = append(p.sets, sets...)
	close(p.wake)
	p.wake = make(chan struct{})
}

// settled tells what became of a SET: "" while it is open.
func (p *transmitter) settled(jti string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if report, ok := p.reported[jti]; ok {
		return fmt.Sprint(report["err"])
	}
	if p.acked[jti] > 0 {
		return "ack"
	}
	return ""
}

// called counts management calls, such as "PATCH /streams".
func (p *transmitter) called(what string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.method+" "+c.path == what {
			n++
		}
	}
	return n
}
