package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/stream"
)

// pipes is a listener whose connections are pipes of this process, so that time is that of a synctest bubble.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.accepted <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.closed); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// On HTTP/2 a write deadline that passes ends the answer, whether anything is written or not: a feed that is quieter than that
// must go on all the same.
func TestAQuietFeedGoesOnOverHTTP2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.LiveHeartbeat = 4 * liveWriteTimeout
		cfg.Tokens = []Token{token("whole", wholeSecret, []string{"*"}, Scopes)}
		a, err := New(cfg, Deps{History: &questions{}, Log: tail{}, Publisher: &ledger{}, Web: fstest.MapFS{"index.html": {}}})
		if err != nil {
			t.Fatal(err)
		}
		var plain http.Protocols
		plain.SetUnencryptedHTTP2(true)
		conns := newPipes()
		server := &http.Server{Handler: a.Handler(), Protocols: &plain, ReadHeaderTimeout: time.Second}
		served := make(chan error, 1)
		go func() { served <- server.Serve(conns) }()
		transport := &http.Transport{DialContext: conns.dial, Protocols: &plain}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://feed.example/v1/live", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+wholeSecret)
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
			t.Fatalf("%s %d, want HTTP/2 and 200", res.Proto, res.StatusCode)
		}
		lines := bufio.NewScanner(res.Body)
		if !lines.Scan() {
			t.Fatalf("no first line: %v", lines.Err())
		}
		<-time.After(3 * liveWriteTimeout) // of the bubble's time
		f := events.Finding{ID: "late", Tenant: "acme"}
		a.hub.take(&stream.Record{Topic: events.TopicFindings, Value: events.Encode(&f)})
		for lines.Scan() && !strings.Contains(lines.Text(), `"late"`) {
		}
		if !strings.Contains(lines.Text(), `"late"`) {
			t.Errorf("the feed ended in its quiet time: %v", lines.Err())
		}
		a.stop()
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}
