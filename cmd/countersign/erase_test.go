package main

import (
	"context"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/stream"
)

func TestEraseWritesTheErasureAndItsAuditEntry(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	prefix := kafkatest.Name("erase") + "."
	t.Setenv("COUNTERSIGN_KAFKA__BROKERS", strings.Join(brokers, ","))
	t.Setenv("COUNTERSIGN_KAFKA__PREFIX", prefix)
	for _, topic := range []string{events.TopicEvents, events.TopicAudit} {
		kafkatest.CreateTopic(t, brokers, prefix+topic, 4, nil)
	}
	for _, bad := range [][]string{
		{"--tenant", "acme", "--user", "ana", "--confirm", "ann", "--reason", "x"},
		{"--tenant", "acme", "--user", "ana", "--confirm", "ana"},
		{"--tenant", "a/b", "--user", "ana", "--confirm", "ana", "--reason", "x"},
		{"--tenant", "acme", "--reason", "x"},
	} {
		if out, _, err := execute(t, eraseCommand(), bad...); err == nil {
			t.Errorf("%v: %q", bad, out)
		}
	}
	out, _, err := execute(t, eraseCommand(), "--tenant", "acme", "--user", "ana", "--confirm", "ana", "--reason", "asked for it")
	if err != nil || !strings.HasPrefix(out, "ana of acme") {
		t.Fatalf("%q, %v", out, err)
	}
	cfg := stream.DefaultConfig()
	cfg.Brokers, cfg.Prefix = brokers, prefix
	cluster, err := stream.Connect(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	first := func(topic string) (record stream.Record) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if err := cluster.Tail(ctx, topic, stream.FromStart, func(r stream.Record) error {
			record = r
			cancel()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return record
	}
	r := first(events.TopicEvents)
	if e, err := events.Decode(r.Value); err != nil || e.Kind != events.Erasure || e.User.ID != "ana" || string(r.Key) != "acme/ana" || e.Validate() != nil {
		t.Errorf("on the log is %q %s: %v", r.Key, r.Value, err)
	}
	r = first(events.TopicAudit)
	if a, err := events.DecodeAudit(r.Value); err != nil || a.Validate() != nil || a.Action != "erase" || a.User != "ana" || a.Detail != "asked for it" || a.Actor == "" {
		t.Errorf("the audit has %q %s: %v", r.Key, r.Value, err)
	}
}
