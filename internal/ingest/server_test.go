package ingest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/countersign-io/countersign/internal/stream"
)

// deaf is a Publisher that takes nothing while shut, and waits as a real one does while the log is away.
type deaf struct {
	log
	asked chan struct{} // gets one element when somebody waits
	open  chan struct{}
}

func (d *deaf) Publish(ctx context.Context, topic string, records []stream.Record) error {
	select {
	case d.asked <- struct{}{}:
	default:
	}
	select {
	case <-d.open:
		return d.log.Publish(ctx, topic, records)
	case <-ctx.Done():
		return ctx.Err()
	}
}

type running struct {
	*Server
	base string
	stop func() error // asks it to stop and waits
	end  context.CancelFunc
	done chan error
}

// run starts a server as a process does, on a free port.
func run(t *testing.T, to Publisher, change func(*Config, *Deps)) *running {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	cfg.Tokens = []TokenConfig{{File: token, Source: "test", Tenants: []string{"acme"}}}
	deps := Deps{Pipeline: newPipeline(t, to), Decoders: decoders()}
	if change != nil {
		change(&cfg, &deps)
	}
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	r := &running{Server: s, end: end, done: make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	r.base = s.Addr(ctx).String()
	r.stop = func() error { end(); return <-r.done }
	t.Cleanup(end)
	return r
}

func (r *running) get(t *testing.T, path string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.base+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// post sends a body over a connection of its own, and returns the answer.
func (r *running) post(t *testing.T, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.base+"/v1/events", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestSlowClientIsCutOffAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	to := &log{}
	server := run(t, to, func(c *Config, _ *Deps) { c.ReadTimeout = 500 * time.Millisecond })
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.base)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// One whole record, then half of one, then nothing.
	fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100000\r\n\r\n%s\n{\"kind\":", secret, line("slow", ""))
	if status, answer := server.post(t, line("fast", "")); status != 200 {
		t.Errorf("another client: %d %s", status, answer)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(answer), `"accepted":1`) {
		t.Errorf("answered %d %s, want 408, and the one record that was whole", res.StatusCode, answer)
	}
	if len(to.dead) != 0 {
		t.Errorf("half a record became a dead letter: %+v", to.dead)
	}
}

func TestLogThatIsAwayIsToldInTime(t *testing.T) {
	t.Parallel()
	core, logged := observer.New(zapcore.WarnLevel)
	to := &deaf{open: make(chan struct{})}
	server := run(t, to, func(c *Config, d *Deps) { c.PublishTimeout, d.Logger = 50*time.Millisecond, zap.New(core) })
	for range 3 {
		if status, answer := server.post(t, line("a", "")); status != http.StatusServiceUnavailable || !strings.Contains(answer, `"accepted":0`) {
			t.Errorf("answered %d %s", status, answer)
		}
	}
	if n := logged.Len(); n != 1 {
		t.Errorf("%d lines were logged for 3 requests, want 1", n)
	}
	close(to.open)
	if status, answer := server.post(t, line("a", "")); status != 200 || !strings.Contains(answer, `"accepted":1`) {
		t.Errorf("when it is back: %d %s", status, answer)
	}
}

// overloaded refuses the first tries of every chunk but the first.
type overloaded struct {
	log
	calls int
}

func (o *overloaded) Publish(ctx context.Context, topic string, records []stream.Record) error {
	if o.calls++; o.calls%3 != 1 {
		return stream.ErrOverloaded
	}
	return o.log.Publish(ctx, topic, records)
}

func TestLargeRequestWaitsForAnOverloadedLog(t *testing.T) {
	t.Parallel()
	to := &overloaded{}
	var body strings.Builder
	const n = 3*chunkEvents + 1
	for i := range n {
		body.WriteString(line(fmt.Sprint(i), "") + "\n")
	}
	status, answer := run(t, to, nil).post(t, body.String())
	if status != 200 || !strings.Contains(answer, fmt.Sprintf(`"accepted":%d`, n)) || len(to.events) != n {
		t.Errorf("answered %d %s, %d on the log", status, answer, len(to.events))
	}
	for i, e := range to.events {
		if e.Source.ID != fmt.Sprint(i) {
			t.Fatalf("event %d on the log is %s: the order was lost", i, e.Source.ID)
		}
	}
}

func TestStoppingFinishesWhatIsAtHand(t *testing.T) {
	t.Parallel()
	to := &deaf{asked: make(chan struct{}, 1), open: make(chan struct{})}
	server := run(t, to, nil)
	type reply struct {
		status int
		answer string
	}
	done := make(chan reply, 1)
	go func() {
		status, answer := server.post(t, line("a", ""))
		done <- reply{status, answer}
	}()
	<-to.asked // the record waits for the log
	server.end()
	select {
	case err := <-server.done:
		t.Fatalf("it stopped with a request at hand: %v", err)
	case <-done:
		t.Fatal("it answered before the log did")
	case <-time.After(50 * time.Millisecond):
	}
	close(to.open)
	if r := <-done; r.status != 200 || !strings.Contains(r.answer, `"accepted":1`) {
		t.Errorf("answered %d %s", r.status, r.answer)
	}
	if err := <-server.done; err != nil {
		t.Error(err)
	}
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	asked := 0
	server := run(t, &log{}, func(_ *Config, d *Deps) {
		d.Ready = func(context.Context) error { asked++; return errors.New("away") }
	})
	for range 5 {
		if status, text := server.get(t, "/readyz"); status != http.StatusServiceUnavailable || strings.Contains(text, "away") {
			t.Errorf("/readyz: %d %q", status, text)
		}
	}
	if asked > 2 {
		t.Errorf("the log was asked %d times for 5 requests within a moment", asked)
	}
	if status, _ := server.get(t, "/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
	ready := run(t, &log{}, nil)
	if status, _ := ready.get(t, "/readyz"); status != 200 {
		t.Errorf("/readyz without a question: %d", status)
	}
	if status, _ := ready.get(t, "/v1/events", "Authorization", "Bearer "+secret); status != http.StatusMethodNotAllowed {
		t.Errorf("GET /v1/events: %d", status)
	}
	ready.draining.Store(true)
	if status, _ := ready.get(t, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz while draining: %d", status)
	}
	if err := ready.stop(); err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
	server := run(t, &log{}, func(c *Config, _ *Deps) { c.TLS = TLSConfig{CertFile: cert, KeyFile: key} })
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+server.base+"/v1/events", strings.NewReader(line("a", "")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("answered %d", res.StatusCode)
	}
}

// certificate writes a certificate for this machine and its key.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool = x509.NewCertPool()
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if !pool.AppendCertsFromPEM(public) {
		t.Fatal("the certificate is none")
	}
	for path, content := range map[string][]byte{certFile: public, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, pool
}

func TestTokensFromFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) TokenConfig {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return TokenConfig{File: path, Source: name, Tenants: []string{"acme"}}
	}
	// The digest of "another-secret-of-some-length".
	const digest = "sha256:c19976d4ed1c55daa357d78b59ab8b1b174318f4597d0fb716d72d4e91e43a26"
	tokens, err := loadTokens([]TokenConfig{write("plain", secret+"\n"), write("hashed", digest+"\n")})
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		"Bearer " + secret: "plain", "Bearer another-secret-of-some-length": "hashed", "bearer " + secret: "plain", "Bearer  " + secret + " ": "plain",
		"": "", "Bearer": "", "Bearer ": "", "Basic " + secret: "", secret: "", "Bearer " + secret + "x": "", "Bearer " + digest: "",
		"Bearer " + strings.Repeat("x", 10_000): "",
	} {
		got := ""
		if found, ok := authenticate(tokens, header); ok {
			got = found.cfg.Source
		}
		if got != want {
			t.Errorf("%.40q: %q, want %q", header, got, want)
		}
	}
	for name, content := range map[string]string{
		"short": "secret", "empty": "", "digest": "sha256:12", "letters": "sha256:" + strings.Repeat("z", 64), "again": secret,
	} {
		if _, err := loadTokens([]TokenConfig{write("first", secret), write(name, content)}); err == nil ||
			!strings.HasPrefix(err.Error(), "tokens[1].file: ") || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := loadTokens([]TokenConfig{{File: filepath.Join(dir, "missing")}}); err == nil {
		t.Error("a missing file is no error")
	}
}
