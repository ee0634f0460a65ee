package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign-io/countersign/internal/enforce"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/geo"
	"github.com/countersign-io/countersign/internal/ingest"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/source/native"
	"github.com/countersign-io/countersign/internal/stream"
	"github.com/countersign-io/countersign/stepup"
)

// enforcing is a running `countersign enforce`.
type enforcing struct {
	server, health string
	stop           func() error
}

func startEnforce(t *testing.T, change func(*enforce.Config)) *enforcing {
	t.Helper()
	cfg := enforce.DefaultConfig()
	cfg.Listen, cfg.Telemetry.Listen, cfg.Telemetry.LogLevel = "127.0.0.1:0", "127.0.0.1:0", "error"
	cfg.App, cfg.Header = "payroll", enforce.HeaderConfig{User: "X-Auth-User", Session: "X-Auth-Session", AuthTime: "X-Auth-Time", ACR: "X-Auth-Acr", Tenant: "acme"}
	change(&cfg)
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	e, up, done := &enforcing{}, make(chan struct{}), make(chan error, 1)
	go func() {
		done <- runEnforce(ctx, cfg, func(server, health string) {
			e.server, e.health = server, health
			close(up)
		})
	}()
	select {
	case <-up:
	case err := <-done:
		t.Fatalf("it ended: %v", err)
	}
	stopped := false
	e.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := e.stop(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// ask asks as nginx does.
func (e *enforcing) ask(t *testing.T, user string, signedIn time.Time, acr string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.server+"/v1/nginx", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"X-Original-Method": "GET", "X-Original-URI": "/pay", "X-Auth-User": user, "X-Auth-Session": "s1", "X-Auth-Acr": acr,
		"X-Auth-Time": signedIn.Format(time.RFC3339),
	} {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (e *enforcing) ready(t *testing.T) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.health+"/readyz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("readiness is %d", resp.StatusCode)
	}
	return nil
}

func (e *enforcing) metrics(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.health+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A decision in Kafka reaches an app behind a proxy, and what was done with it is on the log again, over ingest.
func TestEnforceFromDecisionToReceipt(t *testing.T) {
	kafkatest.NeedFake(t) // the topics have their own names
	brokers := kafkatest.Brokers(t)
	for _, topic := range []string{events.TopicRevocations, events.TopicReceipts, events.TopicDeadLetter} {
		kafkatest.CreateTopic(t, brokers, topic, 2, nil)
	}
	conf := stream.DefaultConfig()
	conf.Brokers = brokers
	cluster, err := stream.Connect(conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cluster.Close() })
	publisher := cluster.Publisher(stream.PublisherConfig{})

	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(strings.Repeat("t", 40)), 0o600); err != nil {
		t.Fatal(err)
	}
	places, err := geo.Open(geo.DefaultConfig(), geo.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	pipeline, err := ingest.NewPipeline(ingest.DefaultPipelineConfig(), ingest.PipelineDeps{Publisher: publisher, Geo: places})
	if err != nil {
		t.Fatal(err)
	}
	inConf := ingest.DefaultConfig()
	inConf.Listen = "127.0.0.1:0"
	inConf.Tokens = []ingest.TokenConfig{{File: token, Source: "payroll", Tenants: []string{"acme"}, Format: ingest.FormatReceipt}}
	in, err := ingest.New(inConf, ingest.Deps{Pipeline: pipeline, Decoders: map[string]ingest.Decoder{ingest.FormatEvent: native.Decoder{}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- in.Run(ctx) }()

	snapshot := filepath.Join(t.TempDir(), "snapshot")
	e := startEnforce(t, func(c *enforce.Config) {
		c.Kafka.Brokers, c.Kafka.SnapshotFile = brokers, snapshot
		c.Receipts = enforce.ReportConfig{URL: "http://" + in.Addr(ctx).String() + "/v1/receipts", TokenFile: token}
	})
	kafkatest.Eventually(t, 20*time.Second, func() error { return e.ready(t) })
	signedIn := time.Now().Add(-time.Hour)
	if resp := e.ask(t, "u1", signedIn, "pwd"); resp.StatusCode != http.StatusOK || resp.Header.Get("X-Countersign-User") != "u1" {
		t.Fatalf("before: %d %v", resp.StatusCode, resp.Header)
	}

	now := time.Now().Unix()
	decision := revocation.Claims{
		Issuer: revocation.DefaultIssuer, IssuedAt: now, JTI: "j1", Tenant: "acme", User: "u1", Status: revocation.Open,
		Requirement: revocation.Requirement{
			ID: "r1", Action: events.StepUp, ACRValues: []string{"phr"}, NotBefore: now, Expires: now + 3600, Severity: events.High,
			Policy: "impossible-travel", PolicyVersion: "1", ReasonAdmin: "LOC-01", EventID: "e1", EventTime: now,
			ReasonUser: map[string]string{"en": "Please confirm it is you."},
		},
	}
	if err := publisher.Publish(ctx, events.TopicRevocations, []stream.Record{{Key: []byte(revocation.Key("acme", "u1", "r1")), Value: decision.Encode()}}); err != nil {
		t.Fatal(err)
	}
	kafkatest.Eventually(t, 20*time.Second, func() error {
		if resp := e.ask(t, "u1", signedIn, "pwd"); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(resp.Header.Get("WWW-Authenticate"), `acr_values="phr"`) {
			return fmt.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		return nil
	})
	if resp := e.ask(t, "u2", signedIn, "pwd"); resp.StatusCode != http.StatusOK {
		t.Errorf("somebody else: %d", resp.StatusCode)
	}
	if resp := e.ask(t, "u1", time.Now().Add(time.Second), "phr"); resp.StatusCode != http.StatusOK {
		t.Errorf("stepped up: %d", resp.StatusCode)
	}
	kafkatest.Eventually(t, 20*time.Second, func() error {
		text := e.metrics(t)
		for _, want := range []string{
			`countersign_enforce_feed_total{feed="kafka",outcome="applied"} 1`, `countersign_enforce_reports_total{outcome="sent",report="receipts"} 2`,
		} {
			if !strings.Contains(text, want+"\n") {
				return fmt.Errorf("no metric %s", want)
			}
		}
		return nil
	})
	if err := e.stop(); err != nil { // what waits is still sent
		t.Fatal(err)
	}
	warm, err := stepup.NewIndex(stepup.IndexConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := warm.RestoreFile(snapshot); n != 1 || err != nil {
		t.Errorf("the next start knows %d requirements: %v", n, err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}

	var got []events.Receipt
	if err := cluster.Table(nil).Load(t.Context(), events.TopicReceipts, func(r stream.Record) error {
		receipt, err := events.DecodeReceipt(r.Value)
		if err != nil {
			return err
		}
		if int64(receipt.Time) < now*events.Second || string(r.Key) != "acme/u1" {
			return errors.New("a receipt with an odd time or key")
		}
		receipt.Time = 0
		got = append(got, *receipt)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var want []events.Receipt
	for _, status := range []events.ReceiptStatus{events.Challenged, events.Satisfied} {
		want = append(want, events.Receipt{
			ID: events.ID("receipt", "payroll", "r1", "j1", "s1", string(status)), Tenant: "acme", User: "u1", Session: "s1", Requirement: "r1",
			JTI: "j1", App: "payroll", Status: status,
		})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want, +got):\n%s", diff)
	}
}

// With Shared Signals and no transmitter to be heard it says so, and fails closed.
func TestEnforceWithASilentTransmitter(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := startEnforce(t, func(c *enforce.Config) {
		c.SSF = enforce.SSFConfig{
			Issuer: "http://127.0.0.1:1/acme", TokenURL: "http://127.0.0.1:1/acme/token", ClientID: "payroll", ClientSecretFile: secret,
			Description: "payroll-1", Store: filepath.Join(t.TempDir(), "store"), PlainHTTP: true,
		}
	})
	if err := e.ready(t); err == nil {
		t.Error("it is ready")
	}
	if resp := e.ask(t, "u1", time.Now(), "phr"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d", resp.StatusCode)
	}
}

func TestEnforceChecksItsConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "enforce.yaml")
	if err := os.WriteFile(file, []byte("app: payroll\nunknown: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := execute(t, enforceCommand(), "--config", file, "--check")
	for _, want := range []string{"unknown", "issuers: is empty", "kafka.brokers: is empty"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
