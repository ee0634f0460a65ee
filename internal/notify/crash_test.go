package notify

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
)

// A process that dies between the answer of a target and the note of it sends the message again, with the same id; all others
// once. Every incident is told of, however often it dies.
func TestDyingWhileSendingLosesNothing(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t), newInbox(t)
	cfg := w.toHook(b)
	const incidents, deaths = 60, 6
	var stop func()
	dying := make(chan func(), 1)
	b.answer = func(n int, _ http.ResponseWriter) int {
		if n%7 == 0 {
			select {
			case kill := <-dying:
				kill() // while the request is under way
			default:
			}
		}
		return http.StatusOK
	}
	for n := range incidents {
		w.find(finding(fmt.Sprint("user", n), 1, events.High, fmt.Sprint("txn-", n)))
	}
	for range deaths {
		ctx, cancel := context.WithCancel(t.Context())
		n, err := New(cfg, Deps{Cluster: w.connect()})
		if err != nil {
			t.Fatal(err)
		}
		n.drain = 0 // it dies, it does not stop
		dying <- cancel
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(within):
			t.Error("it did not die in time")
		}
		cancel()
	}
	stop = w.start(cfg)
	w.eventually(func() error {
		ids := map[string]map[string]bool{}
		for _, m := range b.messages() {
			if ids[m.User] == nil {
				ids[m.User] = map[string]bool{}
			}
			ids[m.User][m.ID] = true
		}
		if len(ids) != incidents {
			return fmt.Errorf("%d of %d are told of", len(ids), incidents)
		}
		for user, of := range ids {
			if len(of) != 1 {
				t.Fatalf("%s: %d ids of one message", user, len(of))
			}
		}
		return nil
	})
	stop()
	if n := len(b.messages()); n > incidents+deaths {
		t.Errorf("%d messages for %d incidents and %d deaths", n, incidents, deaths)
	}
}

// The log refuses writes, and loses acknowledgements: nothing is sent that is not durable, and nothing is lost.
func TestLogThatRefuses(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorldOn(t, fake.Addrs())
	b := newInbox(t)
	cfg := w.toHook(b)
	refused := fake.RejectProduce(w.prefix+events.TopicAlerts, 5)
	w.start(cfg)
	w.find(finding("ada", 1, events.High, ""))
	w.eventually(wantMessages(b, 1))
	if refused.Hits() < 5 {
		t.Errorf("%d writes were refused before the message went out, want 5", refused.Hits())
	}
	fake.LoseAck(w.prefix+events.TopicAlerts, 3)
	for n := range 5 {
		w.find(finding(fmt.Sprint("user", n), 1, events.High, ""))
	}
	w.eventually(wantMessages(b, 6))
}

// A target that hangs does not hold up the others.
func TestOneSlowTargetHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w, slow, quick := newWorld(t), newInbox(t), newInbox(t)
	release := make(chan struct{})
	slow.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	cfg := w.toHook(quick)
	other := cfg.Targets[0]
	other.Name, other.URL = "slow", slow.URL
	cfg.Targets = append(cfg.Targets, other)
	cfg.Routes[0].To = []string{"slow", "hook"}
	stop := w.start(cfg)
	for n := range 10 {
		w.find(finding(fmt.Sprint("user", n), 1, events.High, ""))
	}
	w.eventually(wantMessages(quick, 10))
	stop()
}

func TestConfigNamesEveryProblem(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	cfg := Config{
		Severity: "loud", DashboardURL: "javascript:alert(1)", TitleTemplate: "{{", Targets: []Target{
			{Name: "a b", Type: "pigeon"},
			{Name: "m", Type: TypeAlertmanager, URL: "https://169.254.169.254/", SecretFile: "x"},
			{Name: "m", Type: TypeSyslog, URL: "https://x", Rate: -1},
			{Name: "w", Type: TypeWebhook, URL: "http://x.example/"},
		},
		Outbound: DefaultConfig().Outbound,
	}
	cfg.Routes = append(cfg.Routes, DefaultConfig().Routes...)
	err := cfg.Validate()
	for _, path := range []string{
		"severity: ", "window: ", "retry_min: ", "max_age: ", "session_timeout: ", "max_incidents: ", "group: ", "dashboard_url: ", "title_template: ",
		"targets[0].name: ", "targets[0].type: ", "targets[1].url: ", "targets[1].secret_file: ", "targets[2].name: ", "targets[2].url: ", "targets[2].rate: ",
		"targets[3].url: ", "targets[3].secret_file: ", "routes: ",
	} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+path) {
			t.Errorf("nothing about %q in\n%v", path, err)
		}
	}
}
