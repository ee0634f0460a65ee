package stepupkafka

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/stepup"
)

// lab is a Kafka with the topics, and a way to write to them.
type lab struct {
	*testing.T
	brokers         []string
	topic, receipts string
	publisher       *stream.Publisher
	cluster         *stream.Cluster
}

func newLab(t *testing.T, brokers []string) *lab {
	t.Helper()
	cfg := stream.DefaultConfig()
	cfg.Brokers = brokers
	cluster, err := stream.Connect(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Close() })
	return &lab{
		T: t, brokers: brokers, cluster: cluster, publisher: cluster.Publisher(stream.PublisherConfig{}),
		topic:    kafkatest.Topic(t, brokers, "revocations", 3, map[string]string{"cleanup.policy": "compact"}),
		receipts: kafkatest.Topic(t, brokers, "receipts", 2, nil),
	}
}

func (l *lab) publish(records ...stream.Record) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), 20*time.Second)
	defer cancel()
	if err := l.publisher.Publish(ctx, l.topic, records); err != nil {
		l.Fatal(err)
	}
}

// claims are what the detector writes, for user u<n>.
func claims(n int, status revocation.Status) revocation.Claims {
	now := time.Now().Unix()
	c := revocation.Claims{
		Issuer: revocation.DefaultIssuer, IssuedAt: now, JTI: fmt.Sprintf("jti-%d-%s", n, status), Tenant: "acme", User: fmt.Sprint("u", n),
		Status: status, Requirement: revocation.Requirement{
			ID: fmt.Sprint("r", n), Action: events.StepUp, ACRValues: []string{"phr", "mfa"}, NotBefore: now, Expires: now + 3600,
			Severity: events.High, Policy: "impossible-travel", PolicyVersion: "1", ReasonAdmin: "LOC-01", EventID: "e1", EventTime: now,
			ReasonUser: map[string]string{"en": "Please confirm it is you."},
		},
	}
	if status != revocation.Open {
		c.ClosedAt = now
	}
	return c
}

func record(c revocation.Claims) stream.Record {
	return stream.Record{Key: []byte(revocation.Key(c.Tenant, c.User, c.ID)), Value: c.Encode()}
}

type running struct {
	*Subscriber
	index *stepup.Index
	stop  func() error
}

func (l *lab) subscribe(edit func(*Config)) *running {
	l.Helper()
	index, err := stepup.NewIndex(stepup.IndexConfig{MaxStaleness: 5 * time.Second})
	if err != nil {
		l.Fatal(err)
	}
	cfg := Config{Brokers: l.brokers, Topic: l.topic, ReceiptsTopic: l.receipts, Heartbeat: 20 * time.Millisecond}
	if edit != nil {
		edit(&cfg)
	}
	s, err := New(cfg, index)
	if err != nil {
		l.Fatal(err)
	}
	ctx, cancel := context.WithCancel(l.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	l.Cleanup(func() {
		if err := stop(); err != nil {
			l.Error(err)
		}
	})
	return &running{s, index, stop}
}

func (r *running) await(t testing.TB) {
	t.Helper()
	select {
	case <-r.Ready():
	case <-time.After(20 * time.Second):
		t.Fatal("not ready")
	}
}

func (r *running) open(n int) bool {
	_, ok := r.index.Check(stepup.Subject{Tenant: "acme", User: fmt.Sprint("u", n)})
	return ok
}

var update = flag.Bool("update", false, "write the golden files anew; never for a version that was released")

// TestWireFormStaysAsItIs holds a message of version 1 byte for byte: the detector writes it so, and the SDK reads it so,
// for ever.
func TestWireFormStaysAsItIs(t *testing.T) {
	t.Parallel()
	const at, golden = 1767225600, "testdata/revocation.v1.golden.json"
	c := claims(7, revocation.Satisfied)
	c.IssuedAt, c.NotBefore, c.Expires, c.EventTime, c.ClosedAt = at+60, at, at+3600, at-1, at+60
	c.Action, c.Session, c.SatisfiedBy = events.RevokeSession, "s9", "e2"
	c.Findings = []revocation.Cause{{ID: "f1", Detection: "SES-01", Severity: events.High, Summary: "used from a second network"}}
	written := append(c.Encode(), '\n')
	if *update {
		if err := os.WriteFile(golden, written, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	frozen, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(written), string(frozen)); diff != "" {
		t.Errorf("written (-got, +want):\n%s", diff)
	}
	got, err := stepup.ParseClaims(frozen)
	if err != nil {
		t.Fatal(err)
	}
	moment := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	want := stepup.Claims{
		Issuer: c.Issuer, IssuedAt: moment(at + 60), JTI: c.JTI, Status: stepup.StatusSatisfied, ClosedAt: moment(at + 60),
		Requirement: stepup.Requirement{
			ID: "r7", JTI: c.JTI, Subject: stepup.Subject{Tenant: "acme", User: "u7", Session: "s9"}, Action: stepup.ActionRevokeSession,
			ACRValues: []string{"phr", "mfa"}, NotBefore: moment(at), Expires: moment(at + 3600), Severity: "high",
			Policy: "impossible-travel", Reason: "Please confirm it is you.",
		},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("read (-got, +want):\n%s", diff)
	}
}

func TestSubscriberKnowsWhatIsOpenBeforeItIsReady(t *testing.T) {
	t.Parallel()
	l := newLab(t, kafkatest.Brokers(t))
	for n := range 50 {
		l.publish(record(claims(n, revocation.Open)))
	}
	var closing []stream.Record
	for n := 0; n < 50; n += 5 {
		closing = append(closing, record(claims(n, revocation.Satisfied)))
	}
	gone := record(claims(1, revocation.Open))
	gone.Value = nil
	l.publish(append(closing, gone)...)
	s := l.subscribe(nil)
	s.await(t)
	for n := range 50 {
		if want := n%5 != 0 && n != 1; s.open(n) != want {
			t.Errorf("u%d: open %v, want %v", n, !want, want)
		}
	}
	if _, fresh := s.index.Fresh(); !fresh {
		t.Error("ready, but not fresh")
	}
}

func TestSubscriberFollows(t *testing.T) {
	t.Parallel()
	l := newLab(t, kafkatest.Brokers(t))
	seen := make(chan stepup.Claims, 10)
	s := l.subscribe(func(c *Config) { c.Applied = func(c stepup.Claims) { seen <- c } })
	s.await(t) // on an empty topic
	next := func() stepup.Claims {
		select {
		case c := <-seen:
			return c
		case <-time.After(20 * time.Second):
			t.Fatal("nothing came")
			return stepup.Claims{}
		}
	}
	l.publish(record(claims(1, revocation.Open)))
	if c := next(); c.Requirement.ID != "r1" || !s.open(1) {
		t.Errorf("%+v, open %v", c, s.open(1))
	}
	l.publish(record(claims(1, revocation.Satisfied)))
	if c := next(); c.Status != stepup.StatusSatisfied || s.open(1) {
		t.Errorf("%+v, open %v", c, s.open(1))
	}
	kafkatest.Eventually(t, 20*time.Second, func() error {
		if got := s.Stats(); got.Lag != 0 || got.Applied != 2 {
			return fmt.Errorf("stats %+v", got)
		}
		return nil
	})
	if err := s.stop(); err != nil {
		t.Errorf("a clean stop returns %v", err)
	}
}

// TestSubscriberStartsWarm: what was known holds before a broker answers, the index is not fresh by it, nothing that was
// applied is told again, and what happened meanwhile overrules it.
func TestSubscriberStartsWarm(t *testing.T) {
	t.Parallel()
	l := newLab(t, kafkatest.Brokers(t))
	file := t.TempDir() + "/index"
	l.publish(record(claims(1, revocation.Open)), record(claims(2, revocation.Open)))
	first := l.subscribe(func(c *Config) { c.SnapshotFile = file })
	first.await(t)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}

	topic := l.topic
	l.topic = kafkatest.Name("away")
	cold := l.subscribe(func(c *Config) { c.SnapshotFile = file })
	kafkatest.Eventually(t, 20*time.Second, func() error {
		if got := cold.Stats(); got.Restored != 2 || !cold.open(1) || !cold.open(2) {
			return fmt.Errorf("stats %+v", got)
		}
		return nil
	})
	if _, fresh := cold.index.Fresh(); fresh {
		t.Error("fresh by its snapshot")
	}
	if err := cold.stop(); err != nil {
		t.Fatal(err)
	}

	l.topic = topic
	l.publish(record(claims(2, revocation.Satisfied)), record(claims(3, revocation.Open)))
	var told []string
	warm := l.subscribe(func(c *Config) {
		c.SnapshotFile, c.SnapshotEvery = file, 10*time.Millisecond
		c.Applied = func(c stepup.Claims) { told = append(told, c.JTI) }
	})
	warm.await(t)
	if !warm.open(1) || warm.open(2) || !warm.open(3) {
		t.Errorf("open: %v %v %v, want true false true", warm.open(1), warm.open(2), warm.open(3))
	}
	kafkatest.Eventually(t, 20*time.Second, func() error {
		x, err := stepup.NewIndex(stepup.IndexConfig{})
		if err != nil {
			return err
		}
		if n, err := x.RestoreFile(file); n != 3 || err != nil {
			return fmt.Errorf("the snapshot holds %d, %w", n, err)
		}
		return nil
	})
	if err := warm.stop(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(told)
	if diff := cmp.Diff(told, []string{"jti-2-satisfied", "jti-3-open"}); diff != "" {
		t.Errorf("told (-got, +want):\n%s", diff)
	}
}

func TestSubscriberStartsWithoutABadSnapshot(t *testing.T) {
	t.Parallel()
	l := newLab(t, kafkatest.Brokers(t))
	file := t.TempDir() + "/index"
	if err := os.WriteFile(file, []byte("countersign-index 1\nend 7 00\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.publish(record(claims(1, revocation.Open)))
	s := l.subscribe(func(c *Config) { c.SnapshotFile = file })
	s.await(t)
	if got := s.Stats(); !s.open(1) || got.Restored != 0 || got.Trouble == 0 {
		t.Errorf("open %v, stats %+v", s.open(1), got)
	}
}

func TestSubscriberPassesOverWhatItCannotRead(t *testing.T) {
	t.Parallel()
	l := newLab(t, kafkatest.Brokers(t))
	swapped := record(claims(3, revocation.Open))
	swapped.Key = []byte("acme/u4/r4")
	l.publish(
		stream.Record{Key: []byte("acme/u1/r1"), Value: []byte(`{"iss":`)},
		stream.Record{Key: []byte("acme/u1/r2"), Value: make([]byte, stepup.MaxClaims+1)},
		stream.Record{Key: []byte("acme/u1/r3"), Value: []byte(`{"iss":"x","iat":1,"jti":"j","sub_id":{"format":"complex",` +
			`"tenant":{"format":"opaque","id":"a"},"user":{"format":"opaque","id":"b"}},"events":{"urn:other":{}}}`)},
		swapped,
		record(claims(2, revocation.Open)),
	)
	refused := uint64(3)
	if !kafkatest.Real() { // which takes no record without a key into a compacted topic
		l.publish(stream.Record{Value: []byte{}}, record(claims(2, revocation.Open)))
		refused++
	}
	s := l.subscribe(nil)
	s.await(t)
	if !s.open(2) || s.open(3) || s.open(4) {
		t.Errorf("u2 open %v, want true; u3 %v, u4 %v, want false", s.open(2), s.open(3), s.open(4))
	}
	if got := s.Stats(); got.Refused != refused || got.Foreign != 1 {
		t.Errorf("stats %+v, want %d refused, 1 foreign", got, refused)
	}
}

func TestSubscriberIsStaleWithoutBrokersAndRecovers(t *testing.T) {
	kafkatest.NeedFake(t)
	t.Parallel()
	fake := kafkatest.Fake(t)
	l := newLab(t, fake.Addrs())
	index, err := stepup.NewIndex(stepup.IndexConfig{MaxStaleness: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Brokers: l.brokers, Topic: l.topic, ReceiptsTopic: l.receipts, Heartbeat: 20 * time.Millisecond}, index)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r := &running{Subscriber: s, index: index}
	r.await(t)
	fresh := func(want bool) {
		t.Helper()
		kafkatest.Eventually(t, 30*time.Second, func() error {
			if age, got := index.Fresh(); got != want {
				return fmt.Errorf("fresh %v at age %v, want %v; %+v", got, age, want, s.Stats())
			}
			return nil
		})
	}
	fresh(true)
	// Every broker answers, but none leads: records that were written could not be read.
	leaderless := []*kafkatest.FaultHandle{
		fake.DenyLeader(kafkatest.KeyListOffsets, l.topic, 1<<20), fake.DenyLeader(kafkatest.KeyFetch, l.topic, 1<<20),
	}
	fresh(false)
	for _, f := range leaderless {
		f.Remove()
	}
	fresh(true)
	l.publish(record(claims(1, revocation.Open)))
	kafkatest.Eventually(t, 20*time.Second, func() error {
		if !r.open(1) {
			return errors.New("u1 is not restrained")
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSubscriberWaitsForItsTopic(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	l := newLab(t, brokers)
	l.topic = kafkatest.Name("late")
	s := l.subscribe(nil)
	kafkatest.Eventually(t, 20*time.Second, func() error {
		if s.Stats().Trouble == 0 {
			return errors.New("no trouble yet")
		}
		return nil
	})
	if _, fresh := s.index.Fresh(); fresh {
		t.Error("fresh without a topic")
	}
	kafkatest.CreateTopic(t, brokers, l.topic, 2, nil)
	s.await(t)
}

func TestReceiptsReachKafka(t *testing.T) {
	t.Parallel()
	l := newLab(t, kafkatest.Brokers(t))
	s := l.subscribe(func(c *Config) { c.App = "bank" })
	s.await(t)
	l.publish(record(claims(1, revocation.Open)))
	kafkatest.Eventually(t, 20*time.Second, func() error {
		if !s.open(1) {
			return errors.New("not applied")
		}
		return nil
	})
	at := time.UnixMilli(1767225600123).UTC()
	subject := stepup.Subject{Tenant: "acme", User: "u1", Session: "s1"}
	for _, status := range []stepup.ReceiptStatus{stepup.Challenged, stepup.Satisfied} {
		s.Receipts().Record(stepup.Receipt{Time: at, Subject: subject, Requirement: "r1", JTI: "j", App: "bank", Status: status})
	}
	if err := s.stop(); err != nil { // and what is queued is still written
		t.Fatal(err)
	}
	var got []events.Receipt
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := l.cluster.Table(nil).Load(ctx, l.receipts, func(r stream.Record) error {
		receipt, err := events.DecodeReceipt(r.Value)
		if err != nil {
			return err
		}
		if string(r.Key) != "acme/u1" {
			t.Errorf("key %q", r.Key)
		}
		if receipt.Status == events.Delivered {
			receipt.Time = events.MillisOf(at)
		}
		got = append(got, *receipt)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	receipt := func(session, jti string, status events.ReceiptStatus) events.Receipt {
		return events.Receipt{
			ID: events.ID("receipt", "bank", "r1", jti, session, string(status)), Time: events.MillisOf(at), Tenant: "acme", User: "u1",
			Session: session, Requirement: "r1", JTI: jti, App: "bank", Status: status,
		}
	}
	want := []events.Receipt{
		receipt("", claims(1, revocation.Open).JTI, events.Delivered), receipt("s1", "j", events.Challenged), receipt("s1", "j", events.Satisfied),
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got, +want):\n%s", diff)
	}
	if s := s.Stats(); s.Receipts != 3 || s.ReceiptsLost != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestReceiptsNeverBlock(t *testing.T) {
	t.Parallel()
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Brokers: []string{"127.0.0.1:1"}}, index) // never run
	if err != nil {
		t.Fatal(err)
	}
	for range queueLength + 10 {
		s.Receipts().Record(stepup.Receipt{App: "bank"})
	}
	if got := s.Stats().ReceiptsLost; got != 10 {
		t.Errorf("lost %d, want 10", got)
	}
}

func TestNewRefusesBadConfigurations(t *testing.T) {
	t.Parallel()
	index, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		t.Fatal(err)
	}
	brokers := []string{"127.0.0.1:9092"}
	empty := t.TempDir() + "/password"
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"no brokers":         {},
		"no port":            {Brokers: []string{"kafka"}},
		"negative heartbeat": {Brokers: brokers, Heartbeat: -1},
		"missing ca":         {Brokers: brokers, TLS: &TLS{CAFile: "/nowhere.pem"}},
		"half a certificate": {Brokers: brokers, TLS: &TLS{CertFile: "x.pem"}},
		"odd mechanism":      {Brokers: brokers, SASL: &SASL{Mechanism: "gssapi", Username: "u", PasswordFile: empty}},
		"empty password":     {Brokers: brokers, SASL: &SASL{Mechanism: "plain", Username: "u", PasswordFile: empty}},
	} {
		if _, err := New(cfg, index); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(Config{Brokers: brokers}, nil); err == nil {
		t.Error("no index: no error")
	}
}
