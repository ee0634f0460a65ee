package pull_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/pull"
	"github.com/countersign-io/countersign/internal/source/entra"
	"github.com/countersign-io/countersign/internal/source/native"
	"github.com/countersign-io/countersign/internal/stream"
)

const tenant = "6f0f7b4e-0c8e-4c67-9a52-3a1f2f0b7c11"

// hubs is a fake Event Hubs namespace: Kafka with TLS, and SASL by a connection string.
type hubs struct {
	fake *kafkatest.FakeCluster
	// connection is the file of the connection string, ca that of the authority.
	connection, ca string
	key            string
	cluster        *stream.Cluster
}

func newHubs(t *testing.T, hub string) *hubs {
	t.Helper()
	kafkatest.NeedFake(t)
	web := httptest.NewTLSServer(nil) // it has a certificate for loopback
	web.Close()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0") // the connection string names it
	if err != nil {
		t.Fatal(err)
	}
	h := &hubs{key: "bm90IGEgcmVhbCBrZXk="}
	text := fmt.Sprintf("Endpoint=sb://%s/;SharedAccessKeyName=countersign;SharedAccessKey=%s;EntityPath=%s", listener.Addr(), h.key, hub)
	h.connection = write(t, "connection", text+"\n")
	h.ca = write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})))
	options := append(kafkatest.WithUser("PLAIN", "$ConnectionString", text),
		kafkatest.WithTLS(&tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}))
	options = append(options, kafkatest.WithListener(listener)...)
	h.fake = kafkatest.Fake(t, options...)
	cfg := stream.DefaultConfig()
	cfg.Brokers = h.fake.Addrs()
	cfg.TLS = stream.TLSConfig{Enabled: true, CAFile: h.ca}
	cfg.SASL = stream.SASLConfig{Mechanism: stream.SASLPlain, Username: "$ConnectionString", PasswordFile: h.connection}
	if h.cluster, err = stream.Connect(cfg, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.cluster.Close() })
	if err := h.cluster.EnsureTopics(t.Context(), []stream.TopicSpec{{Name: hub, Partitions: 4, Replication: 1}}); err != nil {
		t.Fatal(err)
	}
	return h
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// send appends values to a partition and returns the offset of the first.
func (h *hubs) send(t *testing.T, hub string, partition int, values ...[]byte) int64 {
	t.Helper()
	var records []stream.Record
	for _, v := range values {
		records = append(records, stream.Record{Value: v})
	}
	base, err := h.cluster.Producer().Produce(t.Context(), hub, partition, records)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

// message is what a tenant's diagnostic settings send: several records in one.
func message(ids ...string) []byte {
	var records []string
	for n, id := range ids {
		at := time.Now().UTC().Add(-time.Minute).Format(time.RFC3339)
		records = append(records, fmt.Sprintf(`{"time":%q,"category":"SignInLogs","operationName":"Sign-in activity","tenantId":%q,"resultType":"0","properties":{`+
			`"id":%q,"createdDateTime":%q,"userId":"0b1c2d3e-4f50-6172-8394-a5b6c7d8e9%02d","userPrincipalName":"u%d@example.com","ipAddress":"192.0.2.%d","isInteractive":true,"status":{"errorCode":0}}}`,
			at, tenant, id, at, n%90+10, n, n%250+1))
	}
	return []byte(`{"records":[` + strings.Join(records, ",") + `]}`)
}

// limit is a decoder that takes smaller values only.
type limit struct {
	ingest.Decoder
	most int
}

func (l limit) MaxValue() int { return l.most }

// installation is the log's side.
type installation struct{ cluster *stream.Cluster }

func install(t *testing.T) *installation {
	t.Helper()
	cfg := stream.DefaultConfig()
	cfg.Brokers, cfg.Prefix = kafkatest.Brokers(t), kafkatest.Name("log")+"."
	cluster, err := stream.Connect(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	if err := cluster.EnsureTopics(t.Context(), []stream.TopicSpec{
		{Name: events.TopicEvents, Partitions: 3, Replication: 1},
		{Name: events.TopicDeadLetter, Partitions: 1, Replication: 1},
		{Name: events.TopicCursors, Partitions: 1, Replication: 1, Compact: true},
	}); err != nil {
		t.Fatal(err)
	}
	return &installation{cluster}
}

// start runs a source in a pipeline of its own, as a process would, and returns what stops it.
func (i *installation) start(t *testing.T, cfg pull.KafkaConfig, d ingest.Decoder, log *zap.Logger) (stop func()) {
	t.Helper()
	places, err := geo.Open(geo.DefaultConfig(), geo.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	pipeline, err := ingest.NewPipeline(ingest.DefaultPipelineConfig(), ingest.PipelineDeps{Publisher: i.cluster.Publisher(stream.PublisherConfig{}), Geo: places})
	if err != nil {
		t.Fatal(err)
	}
	cursors, err := pull.OpenCursors(t.Context(), i.cluster, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, err := pull.NewKafka(cfg, pull.KafkaDeps{Pipeline: pipeline, Cluster: i.cluster, Decoder: d, Reporter: cursors, Logger: log, WarmUp: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- k.Run(ctx) }()
	go func() { ended <- cursors.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func (i *installation) onLog(t *testing.T) map[string]int {
	t.Helper()
	got := map[string]int{}
	err := i.cluster.Table(nil).Load(t.Context(), events.TopicEvents, func(r stream.Record) error {
		e, err := events.Decode(r.Value)
		if err == nil {
			got[e.Source.ID]++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (i *installation) await(t *testing.T, want map[string]int) {
	t.Helper()
	kafkatest.Eventually(t, 60*time.Second, func() error {
		if got := i.onLog(t); len(got) < len(want) {
			return fmt.Errorf("%d events, want %d", len(got), len(want))
		}
		return nil
	})
	if d := cmp.Diff(want, i.onLog(t)); d != "" {
		t.Errorf("events on the log (-want, +got):\n%.2000s", d)
	}
}

type coordinates struct {
	Source, Topic string
	Partition     int
	Offset        int64
}

func (i *installation) letters(t *testing.T) map[coordinates]string {
	t.Helper()
	got := map[coordinates]string{}
	err := i.cluster.Table(nil).Load(t.Context(), events.TopicDeadLetter, func(r stream.Record) error {
		l, err := events.DecodeDeadLetter(r.Value)
		if err == nil {
			got[coordinates{l.Source, l.Topic, l.Partition, l.Offset}] = l.Reason
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Two processes read a hub by its connection string; one goes. Messages of several records come apart, broken and large
// ones become dead letters that say where they were, and nothing is lost, doubled or held up.
func TestEventHubIsReadByItsConnectionString(t *testing.T) {
	t.Parallel()
	h, i := newHubs(t, "insights-logs-signinlogs"), install(t)
	const hub = "insights-logs-signinlogs"
	cfg := pull.KafkaConfig{Name: "entra-hub", Format: "entra-eventhub", Tenants: []string{tenant}, ConnectionStringFile: h.connection}
	cfg.Kafka.TLS.CAFile = h.ca
	want := map[string]int{}
	fill := func(from, to int) {
		for n := from; n < to; n += 5 {
			var ids []string
			for k := range 5 {
				ids = append(ids, fmt.Sprintf("id-%d", n+k))
				want[ids[k]] = 1
			}
			h.send(t, hub, n%4, message(ids...))
		}
	}
	core, logs := observer.New(zap.InfoLevel)
	fill(0, 200)
	large := []byte(`{"records":["` + strings.Repeat("x", 20_000) + `"]}`)
	broken := []byte(`{"records":[{"time":`)
	foreign := []byte("\x00\x01 no JSON")
	at := h.send(t, hub, 2, broken, large, nil, foreign, message("after-the-poison"))
	want["after-the-poison"] = 1
	decoder := limit{entra.EventHub(), 10_000}
	stopA := i.start(t, cfg, decoder, zap.New(core))
	defer stopA()
	i.await(t, want)
	stopB := i.start(t, cfg, decoder, zap.New(core))
	defer stopB()
	fill(200, 300)
	i.await(t, want)
	stopA()
	fill(300, 400)
	i.await(t, want)
	stopB()
	wantLetters := map[coordinates]bool{
		{"entra-hub", hub, 2, at}: true, {"entra-hub", hub, 2, at + 1}: true, {"entra-hub", hub, 2, at + 3}: true,
	}
	got := map[coordinates]bool{}
	for c, reason := range i.letters(t) {
		got[c] = reason != ""
	}
	if d := cmp.Diff(wantLetters, got); d != "" {
		t.Errorf("dead letters (-want, +got):\n%s", d)
	}
	list, err := pull.ReadStatus(t.Context(), i.cluster.Table(nil))
	if err != nil || len(list) != 1 || list[0].Accepted != int64(len(want)) || list[0].Rejected != 3 || list[0].LastEvent == 0 {
		t.Errorf("status %+v, %v; want %d accepted and 3 rejected", list, err, len(want))
	}
	for _, l := range logs.All() {
		if strings.Contains(fmt.Sprint(l.Message, l.ContextMap()), h.key) {
			t.Errorf("the log shows the key: %v", l)
		}
	}
}

// Offsets that could not be committed are read again; the records are on the log already, and not put there once more.
func TestUncommittedRecordsAreNotDoubled(t *testing.T) {
	t.Parallel()
	const hub = "hub"
	h, i := newHubs(t, hub), install(t)
	cfg := pull.KafkaConfig{Name: "entra-hub", Format: "entra-eventhub", Tenants: []string{tenant}, ConnectionStringFile: h.connection, Group: "g"}
	cfg.Kafka.TLS.CAFile = h.ca
	want := map[string]int{}
	for n := range 40 {
		id := fmt.Sprintf("id-%d", n)
		want[id] = 1
		h.send(t, hub, n%4, message(id))
	}
	fault := h.fake.Fault(kafkatest.Fault{Keys: []kafkatest.Key{kafkatest.KeyOffsetCommit}, Group: "g." + hub, Err: kerr.UnknownServerError, Count: -1})
	stop := i.start(t, cfg, entra.EventHub(), nil)
	i.await(t, want)
	stop()
	fault.Remove()
	h.send(t, hub, 0, message("last"))
	want["last"] = 1
	stop = i.start(t, cfg, entra.EventHub(), nil)
	defer stop()
	i.await(t, want)
	stop()
	i.await(t, want)
	list, err := pull.ReadStatus(t.Context(), i.cluster.Table(nil))
	if err != nil || len(list) != 1 || list[0].Duplicates == 0 {
		t.Errorf("status %+v, %v: nothing was read again, so that nothing is proved", list, err)
	}
}

// An identity broker writes our own events into topics of its own. One that is not there stops none of the others.
func TestOwnEventsOutOfSeveralTopics(t *testing.T) {
	t.Parallel()
	i := install(t)
	brokers := kafkatest.Brokers(t)
	one, two := kafkatest.Topic(t, brokers, "broker", 2, nil), kafkatest.Topic(t, brokers, "broker", 1, nil)
	kcfg := stream.Config{Brokers: brokers}
	full := stream.DefaultConfig()
	full.Brokers = brokers
	cluster, err := stream.Connect(full, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	want := map[string]int{}
	for n, topic := range []string{one, one, two} {
		id := fmt.Sprintf("own-%d", n)
		want[id] = 1
		value := fmt.Sprintf(`{"kind":"sign_in","user":{"id":"u"},"time":%q,"source":{"id":%q}}`, events.MillisOf(time.Now()), id)
		if _, err := cluster.Producer().Produce(t.Context(), topic, 0, []stream.Record{{Value: []byte(value)}}); err != nil {
			t.Fatal(err)
		}
	}
	kafkatest.Transact(t, brokers, two, 0, true, fmt.Sprintf(`{"kind":"sign_in","user":{"id":"u"},"time":%q,"source":{"id":"in-a-transaction"}}`, events.MillisOf(time.Now())))
	want["in-a-transaction"] = 1
	stop := i.start(t, pull.KafkaConfig{Name: "broker", Format: ingest.FormatEvent, Tenants: []string{"acme"}, Topics: []string{one, two, kafkatest.Name("nowhere")}, Group: kafkatest.Name("group"), Kafka: kcfg}, native.Decoder{}, nil)
	defer stop()
	i.await(t, want)
	stop()
	if letters := i.letters(t); len(letters) != 0 {
		t.Errorf("dead letters %v", letters)
	}
}

func TestKafkaConfigIsValidated(t *testing.T) {
	t.Parallel()
	good := pull.KafkaConfig{Name: "n", Format: "event", Tenants: []string{"acme"}, Topics: []string{"t"}, Kafka: stream.Config{Brokers: []string{"kafka.example.com:9092"}}}
	for want, change := range map[string]func(*pull.KafkaConfig){
		"":               func(*pull.KafkaConfig) {},
		"name: ":         func(c *pull.KafkaConfig) { c.Name = "" },
		"format: ":       func(c *pull.KafkaConfig) { c.Format = "" },
		"tenants: ":      func(c *pull.KafkaConfig) { c.Tenants = nil },
		"tenants[0]: ":   func(c *pull.KafkaConfig) { c.Tenants = []string{"*", "acme"} },
		"tenants[1]: ":   func(c *pull.KafkaConfig) { c.Tenants = []string{"acme", "a b"} },
		"topics: ":       func(c *pull.KafkaConfig) { c.Topics = nil },
		"topics[1]: ":    func(c *pull.KafkaConfig) { c.Topics = []string{"t", "t"} },
		"kafka.brokers:": func(c *pull.KafkaConfig) { c.Kafka.Brokers = nil },
		"kafka.brokers: and kafka.sasl come from": func(c *pull.KafkaConfig) { c.ConnectionStringFile = "f" },
	} {
		c := good
		change(&c)
		err := c.Validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}
