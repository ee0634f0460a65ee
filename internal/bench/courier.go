package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.yaml.in/yaml/v3"

	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/courier"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/outbound"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/set"
	"github.com/countersign-io/countersign/internal/ssf"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/internal/wiring"
)

// CourierVerb is the hidden command with which a bench starts a courier as a process of its own.
const CourierVerb = "courier-child"

// CourierChild is that command: it runs a courier by a configuration file, prints its address when it serves, and ends when
// standard input does.
func CourierChild(file string, in io.Reader, out io.Writer) error {
	cfg, err := config.Load(wiring.DefaultConfig(), file, nil, "kafka", "topics", "courier", "ssf", "signing_keys")
	if err != nil {
		return err
	}
	p, err := wiring.Open(cfg, zap.NewNop())
	if err != nil {
		return err
	}
	p.AddTopics()
	c, err := p.AddCourier(nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	return p.Run(ctx, func() {
		if addr, err := c.Addr(ctx); err == nil {
			fmt.Fprintln(out, addr)
		}
	})
}

// What the courier is measured with.
const (
	courierRate     = 200
	courierStreams  = 1000
	courierPerEach  = 100
	courierTenant   = "bench"
	courierReceiver = "app"
)

// Courier measures deliveries: the time from a decision's acknowledgement by Kafka to the acceptance of its SET by a push
// receiver over TLS, at a steady rate, beside a bare POST of SETs that were signed before; the memory of a courier with
// 1,000 streams and 100,000 SETs that wait, beside that of one without streams; and the time from its restart after
// kill -9, in that state, to the first delivery, beside the start of one without streams.
func Courier(ctx context.Context, o Options, seconds int) (figures []Figure, err error) {
	_, address, stop, err := startBroker(ctx, filepath.Join(o.Dir, "broker"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	b, err := newCourierBench(o, address)
	if err != nil {
		return nil, err
	}
	bare, err := b.barePosts(ctx, seconds)
	if err != nil {
		return nil, err
	}
	got, err := b.latency(ctx, seconds)
	if err != nil {
		return nil, err
	}
	state, err := b.backlog(ctx)
	if err != nil {
		return nil, err
	}
	return append([]Figure{
		figure("courier.push_p50_ms", quantile(got, .5), "ms", quantile(bare, .5)),
		figure("courier.push_p99_ms", quantile(got, .99), "ms", quantile(bare, .99)),
	}, state...), nil
}

// courierBench is a place with keys, certificates and configurations.
type courierBench struct {
	o       Options
	broker  string
	key     *set.Key
	cert    tls.Certificate
	caFile  string
	token   string
	keysDir string
	secrets string
	tokens  string
}

func newCourierBench(o Options, broker string) (*courierBench, error) {
	b := &courierBench{
		o: o, broker: broker, token: rand.Text(), keysDir: filepath.Join(o.Dir, "keys"), secrets: filepath.Join(o.Dir, "secrets"),
		tokens: filepath.Join(o.Dir, "operator"), caFile: filepath.Join(o.Dir, "ca.pem"),
	}
	if err := os.MkdirAll(b.keysDir, 0o700); err != nil {
		return nil, fmt.Errorf("making keys: %w", err)
	}
	var err error
	if _, b.key, err = set.NewKeyFile(b.keysDir, time.Now()); err != nil {
		return nil, err
	}
	var ca []byte
	if b.cert, ca, err = loopbackCertificate(); err != nil {
		return nil, err
	}
	for file, content := range map[string]string{b.secrets: rand.Text() + rand.Text(), b.tokens: b.token, b.caFile: string(ca)} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return nil, fmt.Errorf("writing secrets: %w", err)
		}
	}
	return b, nil
}

// loopbackCertificate is for 127.0.0.1, signed by itself.
func loopbackCertificate() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("making a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// outbound is the way of pushes, to loopback alone.
func (b *courierBench) outbound() outbound.Config {
	cfg := outbound.DefaultConfig()
	cfg.AllowNetworks, cfg.CAFile = []string{"127.0.0.0/8"}, b.caFile
	return cfg
}

// installation is a configuration with topics of its own, at a free address that it keeps.
func (b *courierBench) installation(prefix string) (wiring.Config, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return wiring.Config{}, "", fmt.Errorf("looking for a free port: %w", err)
	}
	listen := l.Addr().String()
	if err := l.Close(); err != nil {
		return wiring.Config{}, "", err
	}
	cfg := wiring.DefaultConfig()
	cfg.Kafka.Brokers, cfg.Kafka.Prefix = []string{b.broker}, prefix
	cfg.Telemetry.Listen = ""
	cfg.SigningKeys.Directory = b.keysDir
	cfg.Courier.Listen, cfg.Courier.InsecurePlain, cfg.Courier.SecretsKeyFile = listen, true, b.secrets
	cfg.Courier.OperatorTokens = []courier.OperatorToken{{Name: "bench", File: b.tokens}}
	cfg.Courier.Outbound = b.outbound()
	cfg.SSF.BaseURL = "http://" + listen
	cfg.SSF.Tenants = []ssf.Tenant{{Name: courierTenant}}
	cfg.SSF.Clients = []ssf.Client{{ID: courierReceiver, Tenant: courierTenant, Audience: []string{"https://app.example.com"}, MaxStreams: courierStreams, SecretFile: b.secrets}}
	text, err := yaml.Marshal(cfg)
	if err != nil {
		return cfg, "", fmt.Errorf("writing a configuration: %w", err)
	}
	file := filepath.Join(b.o.Dir, prefix+"yaml")
	return cfg, file, os.WriteFile(file, text, 0o600)
}

// child is a courier in a process of its own.
type child struct {
	*exec.Cmd
	in io.Closer
}

func startCourier(ctx context.Context, file string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, CourierVerb, file)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the courier: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the courier: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the courier: %w", err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for the courier: %w", err), in.Close(), cmd.Wait())
	}
	return &child{cmd, in}, nil
}

func (c *child) stop() error { return errors.Join(c.in.Close(), c.Wait()) }

// kill ends it as kill -9 does.
func (c *child) kill() error {
	if err := c.Process.Kill(); err != nil {
		return err
	}
	_ = c.Wait() // it says that it was killed
	return nil
}

// resident is the memory of a process, in MB.
func resident(pid int) (float64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("reading the memory of the courier: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kb, err := strconv.ParseFloat(fields[1], 64)
			return kb / 1024, err
		}
	}
	return 0, errors.New("reading the memory of the courier: there is no VmRSS")
}

// receiver takes pushes over TLS, and tells which.
func (b *courierBench) receiver(listen string, took func(jti string, at time.Time)) (url string, stop func() error, err error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return "", nil, fmt.Errorf("starting a receiver: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, ErrorLog: zap.NewStdLog(zap.NewNop()), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, set.MaxToken))
		if err != nil {
			return
		}
		w.WriteHeader(http.StatusAccepted)
		took(jtiOf(body), time.Now())
	})}
	server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{b.cert}, NextProtos: []string{"h2", "http/1.1"}}
	go func() { _ = server.ServeTLS(l, "", "") }() // it ends with Close
	return "https://" + l.Addr().String() + "/events", server.Close, nil
}

func jtiOf(compact []byte) string {
	_, rest, _ := bytes.Cut(compact, []byte("."))
	payload, _, _ := bytes.Cut(rest, []byte("."))
	raw, err := base64.RawURLEncoding.AppendDecode(nil, payload)
	if err != nil {
		return ""
	}
	var claims struct {
		JTI string `json:"jti"`
	}
	_ = json.Unmarshal(raw, &claims) // then there is none
	return claims.JTI
}

// barePosts sends SETs that were signed before, at the same rate to the same receiver.
func (b *courierBench) barePosts(ctx context.Context, seconds int) ([]time.Duration, error) {
	b.o.Progress("measuring bare POSTs of signed SETs at %d/s for %d s", courierRate, seconds)
	n := courierRate * seconds
	sets := make([]string, n)
	for i := range sets {
		c := courierClaims(i)
		compact, err := set.Sign(ctx, b.key, &set.Token{
			Issuer: "https://tr.example.com/bench", IssuedAt: c.IssuedAt, JTI: c.JTI, Audience: []string{"https://app.example.com"},
			Subject: set.Subject(`{"format":"opaque","id":"` + c.User + `"}`), Txn: c.ID, EventType: revocation.EventSessionRevoked, Event: json.RawMessage(`{}`),
		})
		if err != nil {
			return nil, err
		}
		sets[i] = compact
	}
	w := &stopwatch{due: map[string]time.Time{}}
	url, stop, err := b.receiver("127.0.0.1:0", w.stop)
	if err != nil {
		return nil, err
	}
	client, err := outbound.New(b.outbound())
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	err = steadily(ctx, n, courierRate, func(ctx context.Context, i int, _ time.Time) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(sets[i]))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/secevent+jwt")
		w.start(courierClaims(i).JTI, time.Now())
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	})
	if err == nil {
		err = settle(ctx, w)
	}
	client.CloseIdleConnections()
	return w.took, errors.Join(err, stop())
}

// courierClaims is the i-th decision, each about another user.
func courierClaims(i int) revocation.Claims {
	id := fmt.Sprintf("requirement-%08d", i)
	now := time.Now().Unix()
	c := revocation.Claims{
		Issuer: revocation.DefaultIssuer, IssuedAt: now - 1, JTI: "jti-" + id, Tenant: courierTenant, User: fmt.Sprintf("user-%08d", i), Status: revocation.Open,
	}
	c.ID, c.Action, c.Session, c.Severity = id, events.RevokeSession, fmt.Sprintf("session-%08d", i), events.High
	c.NotBefore, c.Expires, c.EventTime, c.EventID = now-1, now+3600, now-1, "event-"+id
	c.ReasonAdmin, c.Policy, c.PolicyVersion = "impossible travel, and a device that was never seen before", "stolen-session", "12"
	c.Findings = []revocation.Cause{{ID: "finding-" + id, Detection: "impossible_travel", Severity: events.High, Summary: "Utrecht to Sydney in 20 minutes"}}
	return c
}

func courierRecord(c *revocation.Claims) (partition int, r stream.Record) {
	n := wiring.DefaultTopics().Partitions
	return stream.PartitionFor([]byte(events.Key(c.Tenant, c.User)), n),
		stream.Record{Key: []byte(revocation.Key(c.Tenant, c.User, c.ID)), Value: c.Encode()}
}

// operate asks the operator endpoints of a courier.
func (b *courierBench) operate(ctx context.Context, method, base, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, base+"/operator/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+b.token)
	res, err := (&http.Client{Timeout: 30 * time.Second}).Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, got)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(got, answer)
}

// addStream makes one that is pushed to url.
func (b *courierBench) addStream(ctx context.Context, base, url string) error {
	return b.operate(ctx, http.MethodPost, base, "streams", map[string]any{
		"receiver": courierReceiver,
		"delivery": ssf.Delivery{Method: ssf.MethodPush, URL: url, Authorization: "Bearer " + rand.Text()},
	}, nil)
}

// latency takes the time from the log's acknowledgement of a decision to the acceptance of its SET.
func (b *courierBench) latency(ctx context.Context, seconds int) (took []time.Duration, err error) {
	cfg, file, err := b.installation("latency.")
	if err != nil {
		return nil, err
	}
	accepted := make([]atomic.Int64, courierRate*(seconds+2))
	url, stop, err := b.receiver("127.0.0.1:0", func(jti string, at time.Time) {
		if i, err := strconv.Atoi(strings.TrimPrefix(jti, "jti-requirement-")); err == nil && i < len(accepted) {
			accepted[i].CompareAndSwap(0, at.UnixNano())
		}
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	c, err := startCourier(ctx, file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := b.addStream(ctx, cfg.SSF.BaseURL, url); err != nil {
		return nil, err
	}
	b.o.Progress("measuring pushes at %d/s for %d s", courierRate, seconds)
	cluster, err := stream.Connect(cfg.Kafka, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	producer := cluster.Producer()
	acknowledged := make([]int64, len(accepted))
	warm := courierRate * int(warmUp/time.Second)
	err = steadily(ctx, len(accepted), courierRate, func(ctx context.Context, i int, _ time.Time) error {
		claims := courierClaims(i)
		partition, record := courierRecord(&claims)
		if _, err := producer.Produce(ctx, events.TopicRevocations, partition, []stream.Record{record}); err != nil {
			return err
		}
		acknowledged[i] = time.Now().UnixNano()
		return nil
	})
	if err != nil {
		return nil, err
	}
	limit := time.Now().Add(20 * time.Second)
	for i := warm; i < len(accepted); i++ {
		for accepted[i].Load() == 0 {
			if time.Now().After(limit) {
				return nil, fmt.Errorf("decision %d was never delivered", i)
			}
			if err := sleepUntil(ctx, time.Now().Add(10*time.Millisecond)); err != nil {
				return nil, err
			}
		}
		// A SET may be accepted before its producer has heard that the decision is on the log.
		took = append(took, time.Duration(max(accepted[i].Load()-acknowledged[i], 0)))
	}
	return took, nil
}

// backlog measures the courier with much that waits.
func (b *courierBench) backlog(ctx context.Context) (figures []Figure, err error) {
	_, idleFile, err := b.installation("idle.")
	if err != nil {
		return nil, err
	}
	idle, err := startCourier(ctx, idleFile)
	if err != nil {
		return nil, err
	}
	bareMemory, err := resident(idle.Process.Pid)
	if err := errors.Join(err, idle.kill()); err != nil {
		return nil, err
	}
	began := time.Now()
	if idle, err = startCourier(ctx, idleFile); err != nil {
		return nil, err
	}
	bareStart := time.Since(began)
	if err := idle.stop(); err != nil {
		return nil, err
	}

	cfg, file, err := b.installation("backlog.")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // an address where nobody listens until later
	if err != nil {
		return nil, err
	}
	receiver := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	c, err := startCourier(ctx, file)
	if err != nil {
		return nil, err
	}
	b.o.Progress("making %d streams, with %d SETs that wait for each", courierStreams, courierPerEach)
	for range courierStreams {
		if err := b.addStream(ctx, cfg.SSF.BaseURL, "https://"+receiver+"/events"); err != nil {
			return nil, errors.Join(err, c.kill())
		}
	}
	if err := b.fill(ctx, &cfg); err != nil {
		return nil, errors.Join(err, c.kill())
	}
	memory, err := resident(c.Process.Pid)
	if err := errors.Join(err, c.kill()); err != nil {
		return nil, err
	}
	b.o.Progress("starting the courier again after kill -9")
	first := make(chan time.Time, 1)
	_, stop, err := b.receiver(receiver, func(_ string, at time.Time) {
		select {
		case first <- at:
		default:
		}
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	began = time.Now()
	if c, err = startCourier(ctx, file); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.kill()) }()
	select {
	case at := <-first:
		return []Figure{
			figure("courier.rss_mb", memory, "MB", bareMemory),
			figure("courier.resume_ms", float64(at.Sub(began).Milliseconds()), "ms", float64(bareStart.Milliseconds())),
		}, nil
	case <-time.After(time.Minute):
		return nil, errors.New("nothing was delivered within a minute of the restart")
	}
}

// fill writes decisions, and waits until each waits for each stream.
func (b *courierBench) fill(ctx context.Context, cfg *wiring.Config) (err error) {
	cluster, err := stream.Connect(cfg.Kafka, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	producer := cluster.Producer()
	for i := range courierPerEach {
		claims := courierClaims(i)
		partition, record := courierRecord(&claims)
		if _, err := producer.Produce(ctx, events.TopicRevocations, partition, []stream.Record{record}); err != nil {
			return err
		}
	}
	limit := time.Now().Add(time.Minute)
	for {
		var list struct {
			Streams []courier.StreamView `json:"streams"`
		}
		if err := b.operate(ctx, http.MethodGet, cfg.SSF.BaseURL, "streams", nil, &list); err != nil {
			return err
		}
		waiting := 0
		for _, s := range list.Streams {
			waiting += s.Pending
		}
		if waiting == courierStreams*courierPerEach {
			return nil
		}
		if time.Now().After(limit) {
			return fmt.Errorf("%d SETs wait for %d streams, want %d", waiting, len(list.Streams), courierStreams*courierPerEach)
		}
		if err := sleepUntil(ctx, time.Now().Add(500*time.Millisecond)); err != nil {
			return err
		}
	}
}
