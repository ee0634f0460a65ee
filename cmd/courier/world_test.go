package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/set"
)

// The binary under test is this test program: told so by the environment, it is main.
const childEnv = "COUNTERSIGN_TEST_COURIER"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// world is a courier as a process of its own, over TLS, with a broker.
type world struct {
	dir, base string
	brokers   []string
	prefix    string
	inbox     *inbox
	client    *http.Client
	operator  string // its token
	config    string // file
	process   *exec.Cmd
	exited    chan struct{}
}

const (
	tenant = "acme"
	secret = "a-secret-of-the-suite-that-is-long-enough"
)

// receivers are OAuth clients: one for each party, so that the suite's clean-up meets nobody else's streams.
const maxParties = 200

// newWorld starts a courier. change may alter its configuration, which is YAML.
func newWorld(t *testing.T, change ...func(config string) string) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), brokers: kafkatest.Brokers(t), prefix: kafkatest.Name("courier") + ".", operator: rand.Text() + rand.Text()}
	w.inbox = newInbox(t)
	address := freeAddress(t)
	w.base = "https://" + address
	w.client = w.certify(t)
	w.write(t, "operator.token", w.operator)
	w.write(t, "secrets.key", rand.Text()+rand.Text())
	w.write(t, "client.secret", secret)
	if err := os.Mkdir(filepath.Join(w.dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := set.NewKeyFile(filepath.Join(w.dir, "keys"), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	var clients strings.Builder
	for n := range maxParties {
		fmt.Fprintf(&clients, "    - {id: party-%d, secret_file: %s, tenant: %s, audience: [\"https://party-%d.example.com\"], interop: %v, revoke_for_step_up: true}\n",
			n, filepath.Join(w.dir, "client.secret"), tenant, n, n%2 == 0)
	}
	quoted, err := json.Marshal(w.brokers)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("DIR", w.dir, "ADDRESS", address, "BASE", w.base, "BROKERS", string(quoted), "PREFIX", w.prefix, "INBOX", w.inbox.ca).Replace(`
kafka: {brokers: BROKERS, prefix: "PREFIX"}
topics: {partitions: 4, replication: 1, min_insync: 1}
telemetry: {listen: "", log_level: error}
signing_keys: {directory: DIR/keys}
courier:
  listen: ADDRESS
  tls_cert_file: DIR/tls.crt
  tls_key_file: DIR/tls.key
  secrets_key_file: DIR/secrets.key
  session_timeout: 6s
  heartbeat_interval: 500ms
  retry_min: 50ms
  retry_max: 500ms
  operator_tokens: [{name: suite, file: DIR/operator.token}]
  outbound: {allow_networks: ["127.0.0.0/8"], ca_file: INBOX}
ssf:
  base_url: BASE
  min_verification_interval: 1s
  requests_per_second: 1000
  burst: 1000
  tenants: [{name: acme}]
  clients:
`) + clients.String()
	for _, c := range change {
		config = c(config)
	}
	w.config = w.write(t, "courier.yaml", config)
	w.start(t)
	t.Cleanup(func() { w.kill() })
	return w
}

func (w *world) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// freeAddress is one on loopback that is free now: the courier has to know its own before it listens. It is below the ports
// that systems give to connections, so that none of the many here takes it while the courier is being started again.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+mathrand.N(20_000))
		if l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// certify makes the courier's certificate, and returns a client that trusts it.
func (w *world) certify(t *testing.T) *http.Client {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "courier"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	w.write(t, "tls.crt", string(certPEM))
	w.write(t, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: true,
	}}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// start starts the process and waits until it serves.
func (w *world) start(t *testing.T) {
	t.Helper()
	w.process, w.exited = launch(t, w.config)
	w.serving(t, w.base, w.exited)
}

// serving waits until a courier answers.
func (w *world) serving(t *testing.T, base string, exited <-chan struct{}) {
	t.Helper()
	kafkatest.Eventually(t, 30*time.Second, func() error {
		select {
		case <-exited:
			t.Fatal("the courier ended")
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/.well-known/ssf-configuration/"+tenant, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := w.client.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}

// launch starts a courier with a configuration. exited is closed when it has ended.
func launch(t *testing.T, config string) (process *exec.Cmd, exited chan struct{}) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "--config", config)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited = make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // that it was killed is no news
	}()
	return cmd, exited
}

// kill ends the process as kill -9 does.
func (w *world) kill() {
	_ = w.process.Process.Kill()
	<-w.exited
}

func (w *world) discovery() string { return w.base + "/.well-known/ssf-configuration/" + tenant }

// numbers hands out receivers.
var numbers = make(chan int, maxParties)

func init() {
	for n := range maxParties {
		numbers <- n
	}
}

// party is a receiver with a token. An interop one never gets countersign's own event type.
func (w *world) party(t *testing.T, method string) *party {
	t.Helper()
	n := <-numbers
	for n%2 != 0 {
		numbers <- n
		n = <-numbers
	}
	return w.receiver(t, method, n)
}

func (w *world) receiver(t *testing.T, method string, n int) *party {
	t.Helper()
	p := w.login(t, fmt.Sprintf("party-%d", n), "ssf.manage ssf.read")
	p.method = method
	return p
}

// login is a client with a token for some scopes.
func (w *world) login(t *testing.T, id, scope string) *party {
	t.Helper()
	p := &party{client: w.client, discovery: w.discovery(), issuer: w.base + "/" + tenant, inbox: w.inbox, id: id}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(id, secret)
	resp, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("token: %d %v", resp.StatusCode, err)
	}
	if token.ExpiresIn <= 0 || token.ExpiresIn > 3600 || !strings.EqualFold(token.TokenType, "Bearer") {
		t.Errorf("token is %+v", token)
	}
	p.token = token.AccessToken
	p.emit = func(t *testing.T, stream, eventType string) {
		t.Helper()
		w.operate(t, "streams/"+stream+"/emit", object{"type": eventType})
	}
	return p
}

// operate calls an operator endpoint.
func (w *world) operate(t *testing.T, path string, body object) {
	t.Helper()
	p := &party{client: w.client, token: w.operator}
	status, _, answer := p.call(t, http.MethodPost, w.base+"/operator/v1/"+path, body)
	if status/100 != 2 {
		t.Fatalf("%s: %d %s", path, status, answer)
	}
}

func eventually(t *testing.T, within time.Duration, ok func() bool) {
	t.Helper()
	kafkatest.Eventually(t, within, func() error {
		if !ok() {
			return fmt.Errorf("not yet")
		}
		return nil
	})
}

func idOf(t *testing.T, body []byte) string {
	t.Helper()
	var o object
	if err := json.Unmarshal(body, &o); err != nil {
		t.Fatal(err)
	}
	return text(o, "stream_id")
}

// verifyAgain asks for a verification as soon as the published interval allows it.
func (p *party) verifyAgain(t *testing.T, id, state string) {
	t.Helper()
	eventually(t, 10*time.Second, func() bool {
		status, header, body := p.call(t, http.MethodPost, p.endpoint(t, "verification_endpoint"), object{"stream_id": id, "state": state})
		switch {
		case status == http.StatusNoContent:
			return true
		case status == http.StatusTooManyRequests && header.Get("Retry-After") != "":
			return false
		}
		t.Fatalf("verify: %d %s", status, body)
		return false
	})
}
