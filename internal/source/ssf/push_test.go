package ssf_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/countersign-io/countersign/internal/source/ssf"
)

// Whoever does not authenticate learns nothing: neither which transmitters there are, nor anything of a token.
func TestPushAuthentication(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	second := "hand-written-token-of-another-transmitter"
	digest := "sha256:c05a1a0f0d6d7ad0f3d1e2a0b5a0f0f3b4b7b9c1d2e3f405162738495a6b7c8d"
	d := newDesk(
		p.transmitter(t, ssf.Deps{}, nil),
		p.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.Name, c.Push.TokenFile = "second", file(t, second) }),
		p.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.Name, c.Push.TokenFile = "hashed", file(t, digest) }),
		p.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.Name, c.Push = "polled", ssf.PushConfig{} }),
	)
	var bodies []string
	for _, c := range []struct {
		path, authorization string
		status              int
	}{
		{"/v1/ssf/idp", "", http.StatusUnauthorized},
		{"/v1/ssf/idp", "Bearer", http.StatusUnauthorized},
		{"/v1/ssf/idp", "Bearer ", http.StatusUnauthorized},
		{"/v1/ssf/idp", "Basic " + pushToken, http.StatusUnauthorized},
		{"/v1/ssf/unknown", "", http.StatusUnauthorized},
		{"/v1/ssf/idp", "Bearer " + second, http.StatusBadRequest},
		{"/v1/ssf/idp", "Bearer " + pushToken + "x", http.StatusBadRequest},
		{"/v1/ssf/second", "Bearer " + pushToken, http.StatusBadRequest},
		{"/v1/ssf/hashed", "Bearer " + digest, http.StatusBadRequest},
		{"/v1/ssf/polled", "Bearer ", http.StatusUnauthorized},
		{"/v1/ssf/polled", "Bearer " + pushToken, http.StatusBadRequest},
		{"/v1/ssf/unknown", "Bearer " + pushToken, http.StatusBadRequest},
	} {
		w := d.push("hello", func(r *http.Request) {
			r.URL.Path = c.path
			if r.Header.Del("Authorization"); c.authorization != "" {
				r.Header.Set("Authorization", c.authorization)
			}
		})
		if r := refusal(t, w); w.Code != c.status || r.Code != ssf.AuthenticationFailed {
			t.Errorf("%s %q: %d %s", c.path, c.authorization, w.Code, w.Body)
		}
		if (w.Code == http.StatusUnauthorized) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %v", c.path, w.Header())
		}
		if w.Code == http.StatusBadRequest {
			bodies = append(bodies, w.Body.String())
		}
	}
	for _, body := range bodies {
		if body != bodies[0] {
			t.Errorf("the answers differ: %q and %q", body, bodies[0])
		}
	}
	if len(d.taken()) != 0 || len(p.Requests()) != 0 {
		t.Errorf("took %q, asked %q", d.taken(), p.Requests())
	}
	w := d.push(rs256().sign(t, p.claims("j", nil), nil), func(r *http.Request) { r.Header.Set("Authorization", "bearer "+pushToken) })
	if w.Code != http.StatusAccepted {
		t.Errorf("the right token: %d %s", w.Code, w.Body)
	}
	if diff := cmp.Diff([]string{"idp"}, d.from); diff != "" {
		t.Error(diff)
	}
}

func TestPushRequests(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	d := newDesk(p.transmitter(t, ssf.Deps{}, nil))
	token := rs256().sign(t, p.claims("j", nil), nil)
	for name, c := range map[string]struct {
		body   string
		change func(r *http.Request)
		status int
	}{
		"parameters of the type": {token, func(r *http.Request) { r.Header.Set("Content-Type", "Application/SecEvent+JWT; charset=utf-8") }, http.StatusAccepted},
		"another type":           {token, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, http.StatusUnsupportedMediaType},
		"no type":                {token, func(r *http.Request) { r.Header.Del("Content-Type") }, http.StatusUnsupportedMediaType},
		"huge":                   {strings.Repeat("a", ssf.MaxSET+1), nil, http.StatusRequestEntityTooLarge},
		"broken off":             {"", func(r *http.Request) { r.Body = io.NopCloser(io.MultiReader(strings.NewReader("ey"), broken{})) }, http.StatusBadRequest},
		"GET":                    {"", func(r *http.Request) { r.Method = http.MethodGet }, http.StatusMethodNotAllowed},
		"below":                  {token, func(r *http.Request) { r.URL.Path = "/v1/ssf/idp/x" }, http.StatusNotFound},
	} {
		if w := d.push(c.body, c.change); w.Code != c.status {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if got := d.taken(); len(got) != 1 {
		t.Errorf("took %d values", len(got))
	}
	// The largest token is judged as every other.
	if w := d.push(strings.Repeat("a", ssf.MaxSET), nil); w.Code != http.StatusBadRequest {
		t.Errorf("the largest: %d", w.Code)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Nothing is answered 202 before it is on the log; a repeat is answered as the first copy.
func TestPushAnswersAfterTheLog(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	d := newDesk(p.transmitter(t, ssf.Deps{}, nil))
	good, bad := rs256().sign(t, p.claims("j", nil), nil), rs256().sign(t, p.claims("j", func(c object) { delete(c, "aud") }), nil)
	for _, c := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf("publishing: %w", ssf.ErrOverloaded), http.StatusTooManyRequests},
		{errors.New("the broker at 192.0.2.1 is away"), http.StatusServiceUnavailable},
	} {
		d.fail(c.err)
		for _, token := range []string{good, bad} {
			w := d.push(token, nil)
			if r := refusal(t, w); w.Code != c.status || w.Header().Get("Retry-After") == "" || r.Code != "" || strings.Contains(w.Body.String(), "192.0.2.1") {
				t.Errorf("%v: answered %d %v %s", c.err, w.Code, w.Header(), w.Body)
			}
		}
	}
	d.fail(nil)
	for range 2 {
		if w := d.push(good, nil); w.Code != http.StatusAccepted || w.Body.Len() != 0 {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
		if w := d.push(bad, nil); w.Code != http.StatusBadRequest {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
	}
	values := d.taken()
	if len(values) != 4 || values[0] != values[2] || values[1] != values[3] {
		t.Errorf("took %q", values)
	}
}

// A client that hangs up does not undo what it sent.
func TestPushOutlivesItsClient(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	tr := p.transmitter(t, ssf.Deps{}, nil)
	ended, gone := context.WithCancel(t.Context())
	handler := ssf.NewPush([]*ssf.Transmitter{tr}, func(ctx context.Context, _ string, _ [][]byte) error {
		gone()
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("taking may take for ever")
		}
		return ctx.Err()
	})
	d := &desk{handler: handler}
	w := d.push(rs256().sign(t, p.claims("j", nil), nil), func(r *http.Request) { *r = *r.WithContext(ended) })
	if w.Code != http.StatusAccepted {
		t.Errorf("answered %d", w.Code)
	}
}

// More than so many at once are told to come back.
func TestPushIsBounded(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	tr := p.transmitter(t, ssf.Deps{}, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	d := &desk{handler: ssf.NewPush([]*ssf.Transmitter{tr}, func(context.Context, string, [][]byte) error {
		entered <- struct{}{}
		<-release
		return nil
	})}
	token := rs256().sign(t, p.claims("j", nil), nil)
	answers := make(chan int)
	const most = 64
	for range most {
		go func() { answers <- d.push(token, nil).Code }()
	}
	for range most {
		<-entered
	}
	if w := d.push(token, nil); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("one more: %d %v", w.Code, w.Header())
	}
	close(release)
	for range most {
		if got := <-answers; got != http.StatusAccepted {
			t.Errorf("answered %d", got)
		}
	}
}

// listener hands out the server's ends of pipes, so that a server runs on a synthetic clock.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { close(l.done); return nil }
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// A body that trickles in is given up; one that comes in time is not cut short by that, however long the log takes.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	set := fmt.Sprintf(`{"keys":[%s]}`, encode(t, rs256().public()))
	keys := file(t, set)
	tr := p.transmitter(t, ssf.Deps{}, func(c *ssf.Config) { c.JWKSFile, c.MaxAge = keys, 1000000*time.Hour })
	// The synthetic clock begins in the year 2000.
	token := rs256().sign(t, p.claims("j", func(c object) { c["iat"] = time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC).Unix() }), nil)
	synctest.Test(t, func(t *testing.T) {
		handler := ssf.NewPush([]*ssf.Transmitter{tr}, func(ctx context.Context, _ string, _ [][]byte) error {
			<-time.After(20 * time.Second)
			return ctx.Err()
		})
		server := &http.Server{Handler: handler}
		l := &listener{make(chan net.Conn), make(chan struct{})}
		var sending sync.WaitGroup
		go func() { _ = server.Serve(l) }()
		send := func(length int, parts ...string) *http.Response {
			client, accepted := net.Pipe()
			l.conns <- accepted
			defer client.Close()
			sending.Go(func() {
				fmt.Fprintf(client, "POST /v1/ssf/idp HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/secevent+jwt\r\nContent-Length: %d\r\n\r\n", pushToken, length)
				for _, part := range parts {
					_, _ = io.WriteString(client, part)
					<-time.After(10 * time.Second)
				}
			})
			res, err := http.ReadResponse(bufio.NewReader(client), nil)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			return res
		}
		if res := send(len(token), token[:10], token[10:]); res.StatusCode != http.StatusAccepted {
			t.Errorf("ten seconds: answered %d", res.StatusCode)
		}
		if res := send(len(token), token[:10], token[10:20], token[20:]); res.StatusCode != http.StatusRequestTimeout || !res.Close {
			t.Errorf("twenty seconds: answered %d", res.StatusCode)
		}
		sending.Wait()
		_ = server.Close()
	})
}

// What a transmitter says of its stream is for the operator: it is counted and logged, and no event.
func TestStreamEventsAreTold(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	core, logs := observer.New(zap.InfoLevel)
	reg := prometheus.NewRegistry()
	d := newDesk(
		p.transmitter(t, ssf.Deps{Logger: zap.New(core), Registerer: reg}, nil),
		p.transmitter(t, ssf.Deps{Registerer: reg}, func(c *ssf.Config) { c.Name = "second" }), // on the same registry
	)
	send := func(events object) {
		t.Helper()
		token := rs256().sign(t, p.claims("j", func(c object) {
			c["sub_id"], c["events"] = object{"format": "opaque", "id": "stream-1"}, events
		}), nil)
		if w := d.push(token, nil); w.Code != http.StatusAccepted {
			t.Fatalf("answered %d %s", w.Code, w.Body)
		}
	}
	enabled := func(want float64) {
		t.Helper()
		text := fmt.Sprintf("# HELP countersign_ssf_stream_enabled 1 unless the transmitter announced that the stream is paused or disabled.\n# TYPE countersign_ssf_stream_enabled gauge\ncountersign_ssf_stream_enabled{transmitter=\"idp\"} %v\ncountersign_ssf_stream_enabled{transmitter=\"second\"} 1\n", want)
		if err := testutil.GatherAndCompare(reg, bytes.NewBufferString(text), "countersign_ssf_stream_enabled"); err != nil {
			t.Error(err)
		}
	}
	send(object{own + "verification": object{"state": "VGhpcyBpcyBhbiBleGFtcGxl"}})
	enabled(1)
	send(object{own + "stream-updated": object{"status": "paused", "reason": "License is not valid"}})
	enabled(0)
	send(object{own + "stream-updated": object{"status": "enabled"}})
	enabled(1)
	var got []string
	for _, e := range logs.All() {
		got = append(got, fmt.Sprint(e.Level, ": ", e.Message, " ", e.ContextMap()))
	}
	want := []string{
		"info: stream verified map[jti:j state:VGhpcyBpcyBhbiBleGFtcGxl transmitter:idp]",
		"warn: stream stopped by its transmitter, nothing comes until it is enabled there map[reason:License is not valid status:paused transmitter:idp]",
		"info: stream enabled by its transmitter map[reason: status:enabled transmitter:idp]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTokensAreCounted(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	const sets = `# HELP countersign_ssf_sets_total Security Event Tokens that came, by what became of them: taken, discarded, postponed, or the error code of RFC 8935.
# TYPE countersign_ssf_sets_total counter
countersign_ssf_sets_total{result="access_denied",transmitter="idp"} 0
countersign_ssf_sets_total{result="authentication_failed",transmitter="idp"} 0
countersign_ssf_sets_total{result="discarded",transmitter="idp"} 0
countersign_ssf_sets_total{result="invalid_audience",transmitter="idp"} 0
countersign_ssf_sets_total{result="invalid_issuer",transmitter="idp"} 0
countersign_ssf_sets_total{result="invalid_key",transmitter="idp"} 0
countersign_ssf_sets_total{result="invalid_request",transmitter="idp"} 1
countersign_ssf_sets_total{result="postponed",transmitter="idp"} 1
countersign_ssf_sets_total{result="taken",transmitter="idp"} 4
`
	one := prometheus.NewRegistry()
	lone := newDesk(p.transmitter(t, ssf.Deps{Registerer: one}, nil))
	for range 4 {
		lone.push(rs256().sign(t, p.claims("j", nil), nil), nil)
	}
	lone.push("hello", nil)
	lone.fail(ssf.ErrOverloaded)
	lone.push("hello", nil)
	if err := testutil.GatherAndCompare(one, strings.NewReader(sets), "countersign_ssf_sets_total"); err != nil {
		t.Error(err)
	}
}

func TestPushIsMountedBelowItsPath(t *testing.T) {
	t.Parallel()
	p := newParty(t, rs256())
	d := newDesk(p.transmitter(t, ssf.Deps{}, nil))
	mux := http.NewServeMux()
	mux.Handle("/v1/ssf/", d.handler)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	req, err := http.NewRequest(http.MethodPost, server.URL+"/v1/ssf/idp", strings.NewReader(rs256().sign(t, p.claims("j", nil), nil)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/secevent+jwt")
	req.Header.Set("Authorization", "Bearer "+pushToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusAccepted || len(body) != 0 {
		t.Errorf("answered %d %q", res.StatusCode, body)
	}
}
