package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/stream"
)

// An operator tests a target, sees what could not be delivered, and sends it again.
func TestAlertsVerbs(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	prefix := kafkatest.Name("alerts") + "."
	taken, status := make(chan string, 10), http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		taken <- r.Header.Get("Webhook-Id") + " " + string(b)
		w.WriteHeader(status)
	}))
	defer server.Close()
	secret := file(t, "secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
	conf := file(t, "alerts.yaml", fmt.Sprintf(`kafka: {brokers: [%q], prefix: %q}
notify:
  outbound: {plain_http: true, allow_networks: [127.0.0.0/8]}
  targets: [{name: hook, type: webhook, url: %q, secret_file: %q}]
  routes: [{name: all, to: [hook]}]
`, brokers[0], prefix, server.URL, secret))

	if out, _, err := execute(t, alertsCommand(), "test", "hook", "--config", conf); err != nil || !strings.Contains(out, "has taken") {
		t.Fatalf("%q, %v", out, err)
	}
	if got := <-taken; !strings.Contains(got, "This is a test") {
		t.Error(got)
	}
	if _, _, err := execute(t, alertsCommand(), "test", "nobody", "--config", conf); err == nil || !strings.Contains(err.Error(), `"nobody", there are hook`) || strings.Contains(err.Error(), "did not take") {
		t.Error(err)
	}
	if _, _, err := execute(t, alertsCommand(), "test", "hook"); err == nil || !strings.Contains(err.Error(), "--config FILE?") {
		t.Error(err)
	}
	if out, _, err := execute(t, alertsCommand(), "replay", "--help"); err != nil || !strings.Contains(out, "--id ID ") {
		t.Errorf("%q, %v", out, err)
	}
	for setting, outbound := range map[string]string{
		"(notify.outbound.plain_http allows it)": "{allow_networks: [127.0.0.0/8]}", "(notify.outbound.allow_networks)": "{plain_http: true}",
	} {
		refused := file(t, "refused.yaml", fmt.Sprintf("notify:\n  outbound: %s\n  targets: [{name: hook, type: webhook, url: %q, secret_file: %q}]\n  routes: [{name: all, to: [hook]}]\n", outbound, server.URL, secret))
		if _, _, err := execute(t, alertsCommand(), "test", "hook", "--config", refused); err == nil || !strings.Contains(err.Error(), "targets[0].url: ") || !strings.Contains(err.Error(), setting) {
			t.Error(err)
		}
	}

	kafkatest.CreateTopic(t, brokers, prefix+events.TopicDeadLetter, 2, nil)
	kafkatest.CreateTopic(t, brokers, prefix+events.TopicAlerts, 1, nil)
	if out, _, err := execute(t, alertsCommand(), "list", "--config", conf); err != nil || !strings.HasPrefix(out, "SINCE") || strings.Count(out, "\n") != 1 {
		t.Errorf("%q, %v", out, err)
	}
	cluster, err := connect(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	letter := &events.DeadLetter{
		ID: "letter", Time: 1767571200000, Source: "alert:hook", Stage: "courier", Reason: "answered 400",
		Bytes: []byte(`{"message_id":"m1","phase":"firing","id":"i1","kind":"user","tenant":"acme","user":"\u001b[31mada","title_text":"travel","text":"far"}`),
	}
	for _, d := range []*events.DeadLetter{letter, letter, {ID: "other", Source: "stream:x", Stage: "courier"}} {
		record := stream.Record{Key: []byte(d.Source), Value: events.Encode(d)}
		if err := cluster.Publisher(stream.PublisherConfig{}).Publish(t.Context(), events.TopicDeadLetter, []stream.Record{record}); err != nil {
			t.Fatal(err)
		}
	}
	out, _, err := execute(t, alertsCommand(), "list", "--dead", "--config", conf)
	if err != nil || strings.Count(out, "\n") != 2 || !strings.Contains(out, "answered 400") || strings.Contains(out, "\x1b") {
		t.Errorf("%q, %v", out, err)
	}
	if out, _, err = execute(t, alertsCommand(), "replay", "--target", "hook", "--config", conf); err != nil || !strings.Contains(out, "0 of 0") {
		t.Errorf("an old one is sent: %q, %v", out, err)
	}
	if out, _, err = execute(t, alertsCommand(), "replay", "--id", "letter", "--since", "1000000h", "--config", conf); err != nil || !strings.Contains(out, "1 of 1") {
		t.Fatalf("%q, %v", out, err)
	}
	if got := <-taken; !strings.HasPrefix(got, "m1 ") || !strings.Contains(got, `"text":"far"`) {
		t.Error(got)
	}
	status = http.StatusForbidden
	if out, _, err = execute(t, alertsCommand(), "replay", "--target", "hook", "--since", "1000000h", "--config", conf); err == nil || !strings.Contains(out, "0 of 1") {
		t.Errorf("%q, %v", out, err)
	}
	if _, _, err = execute(t, alertsCommand(), "replay", "--config", conf); err == nil {
		t.Error("accepted")
	}
}

func TestActCheckWithoutActions(t *testing.T) {
	if out, _, err := execute(t, actCommand(), "check"); err == nil || out != "" || !strings.Contains(err.Error(), "--config FILE?") {
		t.Errorf("%q, %v", out, err)
	}
}
