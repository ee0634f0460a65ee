package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
)

// patience bounds every wait of these tests: it says nothing about how long a thing may take.
const patience = 60 * time.Second

// outbox is the log of decisions as a detector writes it, and what was written.
type outbox struct {
	cluster  *stream.Cluster
	producer *stream.Producer
	parts    int

	mu      sync.Mutex
	written []decided
	offsets map[string]place  // by jti
	values  map[string][]byte // by jti
}

// decided is one record.
type decided struct{ tenant, user, txn, jti string }

// place is where it is.
type place struct {
	partition int
	offset    int64
}

func (w *world) outbox(t *testing.T) *outbox {
	t.Helper()
	cfg := stream.DefaultConfig()
	cfg.Brokers, cfg.Prefix, cfg.RequestTimeout = w.brokers, w.prefix, 5*time.Second
	c, err := stream.Connect(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	parts, err := c.Partitions(t.Context(), events.TopicRevocations)
	if err != nil {
		t.Fatal(err)
	}
	return &outbox{cluster: c, producer: c.Producer(), parts: parts, offsets: map[string]place{}, values: map[string][]byte{}}
}

// revoke writes the decision to end a session of a user, and returns its jti.
func (o *outbox) revoke(t *testing.T, tenant, user string) string {
	t.Helper()
	return o.write(t, claims(tenant, user, events.RevokeSession, revocation.Open, rand.Text()))
}

func claims(tenant, user string, action events.Action, status revocation.Status, id string) revocation.Claims {
	now := time.Now().Unix() - 1
	c := revocation.Claims{
		Issuer: revocation.DefaultIssuer, IssuedAt: now, JTI: id + "." + string(status), Tenant: tenant, User: user, Status: status,
		Requirement: revocation.Requirement{
			ID: id, Action: action, Session: "session of " + user, NotBefore: now, Expires: now + 3600, Severity: events.High,
			ReasonAdmin: "impossible travel", ReasonUser: map[string]string{"en": "Please sign in again."}, Policy: "travel", PolicyVersion: "12",
			Findings: []revocation.Cause{{ID: "f-" + id, Detection: "impossible_travel", Severity: events.High}}, EventID: "e-" + id, EventTime: now,
			UserName: user + "@example.com",
		},
	}
	if action == events.StepUp {
		c.ACRValues = []string{"phr", "mfa"}
	}
	if status != revocation.Open {
		c.SatisfiedBy, c.ClosedAt = "e2-"+id, now
	}
	return c
}

// write appends claims.
func (o *outbox) write(t *testing.T, c revocation.Claims) string {
	t.Helper()
	partition := stream.PartitionFor([]byte(events.Key(c.Tenant, c.User)), o.parts)
	record := stream.Record{Key: []byte(revocation.Key(c.Tenant, c.User, c.ID)), Value: c.Encode()}
	o.mu.Lock()
	defer o.mu.Unlock()
	offset, err := o.producer.Produce(t.Context(), events.TopicRevocations, partition, []stream.Record{record})
	if err != nil {
		t.Fatalf("writing a decision: %v", err)
	}
	o.written = append(o.written, decided{c.Tenant, c.User, c.ID, c.JTI})
	o.offsets[c.JTI], o.values[c.JTI] = place{partition, offset}, record.Value
	return c.JTI
}

func (o *outbox) at(jti string) place {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.offsets[jti]
}

// value is the decision as it was written.
func (o *outbox) value(jti string) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.values[jti]
}

// order are the jtis of a tenant's decisions by user, in the order of the log.
func (o *outbox) order(tenant string) map[string][]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[string][]string{}
	for _, d := range o.written {
		if d.tenant == tenant {
			out[d.user] = append(out[d.user], d.jti)
		}
	}
	return out
}

// letters are the dead letters so far.
func (o *outbox) letters(t *testing.T) []events.DeadLetter {
	t.Helper()
	var out []events.DeadLetter
	if err := o.cluster.Table(nil).Load(t.Context(), events.TopicDeadLetter, func(r stream.Record) error {
		d, err := events.DecodeDeadLetter(r.Value)
		if err == nil {
			out = append(out, *d)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// ledger is what receivers took, by stream, each in the order of taking; all of it was signed by a published key.
type ledger struct {
	keys *keys

	mu      sync.Mutex
	taken   map[string][]secevent
	total   int
	changed chan struct{} // closed with each SET, then made anew
	faults  []string
}

func newLedger(t *testing.T, k *keys) *ledger {
	t.Helper()
	l := &ledger{keys: k, taken: map[string][]secevent{}, changed: make(chan struct{})}
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, fault := range l.faults {
			t.Error(fault)
		}
	})
	return l
}

func (l *ledger) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.faults) < 20 {
		l.faults = append(l.faults, fmt.Sprintf(format, args...))
	}
}

// note takes a SET in.
func (l *ledger) note(name string, s secevent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken[name] = append(l.taken[name], s)
	l.total++
	close(l.changed)
	l.changed = make(chan struct{})
}

// first are the SETs of a stream, each once, in the order in which they were taken first.
func (l *ledger) first(name string) []secevent {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []secevent
	known := map[string]bool{}
	for _, s := range l.taken[name] {
		if !known[s.jti] {
			out = append(out, s)
		}
		known[s.jti] = true
	}
	return out
}

// times counts how often a stream got a SET.
func (l *ledger) times(name, jti string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.taken[name] {
		if s.jti == jti {
			n++
		}
	}
	return n
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// until waits for more SETs until ok, which sees none of the ledger's locks.
func (l *ledger) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// await waits until a stream has got all these SETs.
func (l *ledger) await(t *testing.T, name string, jtis ...string) {
	t.Helper()
	l.until(t, fmt.Sprintf("%s has got %d SETs", name, len(jtis)), func() bool {
		missing := map[string]bool{}
		for _, jti := range jtis {
			missing[jti] = true
		}
		for _, s := range l.first(name) {
			delete(missing, s.jti)
		}
		return len(missing) == 0
	})
}

// bySubject are the jtis of a stream's SETs by user, in the order in which they were taken first; control events are under
// their type.
func (l *ledger) bySubject(name string) map[string][]string {
	out := map[string][]string{}
	for _, s := range l.first(name) {
		who := userOf(s)
		if who == "" {
			who = s.eventType
		}
		out[who] = append(out[who], s.jti)
	}
	return out
}

func userOf(s secevent) string {
	sub, _ := s.claims["sub_id"].(object)
	user, _ := sub["user"].(object)
	return text(user, "id")
}

// complete demands that a stream got exactly these SETs, each at least once and each subject's in this order, that a repeat
// is the same SET, and that each is the one of its decision.
func (l *ledger) complete(t *testing.T, name string, want map[string][]string) {
	t.Helper()
	if d := cmp.Diff(want, l.bySubject(name)); d != "" {
		t.Errorf("%s: SETs by subject (-want, +got):\n%s", name, d)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known := map[string]secevent{}
	for _, s := range l.taken[name] {
		if before, repeat := known[s.jti]; repeat {
			if d := cmp.Diff(before.claims, s.claims); d != "" {
				t.Errorf("%s: a repeat of %s differs:\n%s", name, s.jti, d)
			}
		}
		known[s.jti] = s
		if txn, _, _ := strings.Cut(s.jti, "."); userOf(s) != "" && s.claims["txn"] != txn {
			t.Errorf("%s: %s is for txn %v", name, s.jti, s.claims["txn"])
		}
	}
}

// keys verify SETs as a receiver does.
type keys struct {
	mu    sync.Mutex
	known map[string]*rsa.PublicKey
}

// keys fetches what the transmitter publishes.
func (p *party) keys(t *testing.T) *keys {
	t.Helper()
	status, _, body := p.callAs(t, "", http.MethodGet, p.endpoint(t, "jwks_uri"), nil)
	known, err := parseJWKS(body)
	if err != nil || status != http.StatusOK {
		t.Fatalf("jwks: %d %v", status, err)
	}
	return &keys{known: known}
}

func parseJWKS(body []byte) (map[string]*rsa.PublicKey, error) {
	var doc struct {
		Keys []struct{ Kid, N, E string }
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, err
	}
	out := map[string]*rsa.PublicKey{}
	for _, k := range doc.Keys {
		n, err := base64.RawURLEncoding.DecodeString(k.N)
		e, err2 := base64.RawURLEncoding.DecodeString(k.E)
		if err := errors.Join(err, err2); err != nil {
			return nil, err
		}
		out[k.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	return out, nil
}

func (k *keys) key(kid string) *rsa.PublicKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.known[kid]
}

// readSET checks a SET's signature and takes it apart. find returns the key of an id, or nil.
func readSET(compact string, find func(kid string) *rsa.PublicKey) (secevent, error) {
	var s secevent
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return s, fmt.Errorf("%.80q is no compact token", compact)
	}
	var raw [3][]byte
	for i, part := range parts {
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			return s, fmt.Errorf("%.80q: %w", part, err)
		}
		raw[i] = b
	}
	var header struct{ Kid, Typ, Alg string }
	if err := errors.Join(json.Unmarshal(raw[0], &header), json.Unmarshal(raw[1], &s.claims)); err != nil {
		return s, err
	}
	key := find(header.Kid)
	if key == nil {
		return s, fmt.Errorf("no key %s", header.Kid)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], raw[2]); err != nil {
		return s, fmt.Errorf("signature: %w", err)
	}
	s.jti, s.kid = text(s.claims, "jti"), header.Kid
	all, _ := s.claims["events"].(object)
	for kind, event := range all {
		s.eventType = kind
		s.event, _ = event.(object)
	}
	if len(all) != 1 || s.jti == "" || s.event == nil || header.Typ != "secevent+jwt" || header.Alg != "RS256" {
		return s, fmt.Errorf("no SET: %+v %v", header, s.claims)
	}
	return s, nil
}

// sink is a push receiver with an address of its own.
type sink struct {
	*httptest.Server
	ledger *ledger
	name   string
	find   func(kid string) *rsa.PublicKey

	mu     sync.Mutex
	n      int
	answer answer
}

// answer says what to answer to the n-th push, from 1. What it answers with a success it has taken; true leaves it to the
// sink to take the SET and answer 202. It is called by many at once.
type answer func(n int, s secevent, w http.ResponseWriter) (take bool)

func newSink(t *testing.T, l *ledger, name string, a answer) *sink {
	t.Helper()
	k := &sink{ledger: l, name: name, answer: a, find: l.keys.key}
	k.Server = httptest.NewUnstartedServer(k)
	k.Config.ErrorLog = log.New(io.Discard, "", 0) // who is killed says no goodbye
	k.StartTLS()
	t.Cleanup(k.Close)
	t.Cleanup(k.CloseClientConnections)
	return k
}

func (k *sink) answers(a answer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answer = a
}

// calls is how many pushes came.
func (k *sink) calls() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.n
}

func (k *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the courier was killed
	}
	s, err := readSET(string(body), k.find)
	if err != nil {
		k.ledger.fault("%s: %v", k.name, err)
	}
	k.mu.Lock()
	k.n++
	n, a := k.n, k.answer
	k.mu.Unlock()
	out := &taken{ResponseWriter: w}
	if a == nil || a(n, s, out) {
		k.ledger.note(k.name, s)
		w.WriteHeader(http.StatusAccepted)
	} else if out.status/100 == 2 {
		k.ledger.note(k.name, s)
	}
}

// taken remembers the status of an answer.
type taken struct {
	http.ResponseWriter
	status int
}

func (w *taken) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap serves [http.ResponseController].
func (w *taken) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// open makes a stream for these types and returns it with its id.
func (p *party) open(t *testing.T, delivery object, types ...string) (stream object, id string) {
	t.Helper()
	stream = p.want(t, http.StatusCreated, http.MethodPost, p.endpoint(t, "configuration_endpoint"),
		object{"delivery": delivery, "events_requested": types, "description": t.Name()})
	return stream, text(stream, "stream_id")
}

func pushTo(address string) object { return object{"method": push, "endpoint_url": address} }

func pollURL(stream object) string {
	d, _ := stream["delivery"].(object)
	return text(d, "endpoint_url")
}

// poller polls one stream until its context ends, and acknowledges with each poll what it got with the one before. It bears
// a courier that is not there, and tries its bases by turns.
type poller struct {
	client *http.Client
	token  string
	path   string
	bases  []string
	ledger *ledger
	name   string
	max    int
	find   func(kid string) *rsa.PublicKey // nil is the ledger's
}

func (p *poller) run(ctx context.Context) {
	if p.find == nil {
		p.find = p.ledger.keys.key
	}
	var ack []string
	for turn := 0; ctx.Err() == nil; turn++ {
		sets, err := p.poll(ctx, p.bases[turn%len(p.bases)], ack)
		if err != nil {
			select { // not to spin while nobody is there
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		ack = nil
		users := map[string]bool{}
		for jti, compact := range sets {
			s, err := readSET(compact, p.find)
			switch {
			case err != nil:
				p.ledger.fault("%s: %v", p.name, err)
			case s.jti != jti:
				p.ledger.fault("%s: %s is called %s", p.name, s.jti, jti)
			case users[userOf(s)]:
				p.ledger.fault("%s: two SETs of %s in one answer, which has no order", p.name, userOf(s))
			}
			users[userOf(s)] = true
			p.ledger.note(p.name, s)
			ack = append(ack, jti)
		}
	}
}

func (p *poller) poll(ctx context.Context, base string, ack []string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request := object{"maxEvents": p.max}
	if len(ack) > 0 {
		request["ack"] = ack
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+p.path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+p.token)
	answer, err := p.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, 8<<20))
	if err != nil {
		return nil, err
	}
	switch {
	case answer.StatusCode == http.StatusServiceUnavailable || answer.StatusCode == http.StatusTooManyRequests:
		return nil, errors.New("not now")
	case answer.StatusCode != http.StatusOK:
		p.ledger.fault("%s: poll: %d %s", p.name, answer.StatusCode, raw)
		return nil, errors.New("refused")
	}
	var found struct{ Sets map[string]string }
	if err := json.Unmarshal(raw, &found); err != nil {
		p.ledger.fault("%s: poll: %v in %.200q", p.name, err, raw)
	}
	return found.Sets, nil
}

// another is a party that is no interop one, so that it may have countersign's own type, too.
func (w *world) another(t *testing.T, method string) *party {
	t.Helper()
	n := <-numbers
	for n%2 == 0 {
		numbers <- n
		n = <-numbers
	}
	return w.receiver(t, method, n)
}

// twoTenants adds a tenant, globex, with a client of its own, outsider.
func twoTenants(config string) string {
	config = strings.Replace(config, "tenants: [{name: acme}]", "tenants: [{name: acme}, {name: globex}]", 1)
	_, first, _ := strings.Cut(config, "    - {id: party-0,")
	first, _, _ = strings.Cut(first, "\n")
	return config + "    - {id: outsider," + strings.NewReplacer("party-0", "outsider", "tenant: acme", "tenant: globex").Replace(first) + "\n"
}

// outsider is the client of the other tenant.
func (w *world) outsider(t *testing.T) *party {
	t.Helper()
	p := w.login(t, "outsider", "ssf.manage ssf.read")
	p.issuer, p.discovery = w.base+"/globex", w.base+"/.well-known/ssf-configuration/globex"
	return p
}

func everything(want map[string][]string) []string {
	var out []string
	for _, jtis := range want {
		out = append(out, jtis...)
	}
	slices.Sort(out)
	return out
}
