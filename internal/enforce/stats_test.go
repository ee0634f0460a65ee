package enforce

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/countersign-io/countersign/stepup"
	stepupkafka "github.com/countersign-io/countersign/stepup/kafka"
	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

func TestStatsAreMetrics(t *testing.T) {
	t.Parallel()
	kafka := Stats{Kafka: func() stepupkafka.Stats {
		return stepupkafka.Stats{Lag: 7, Applied: 1, Foreign: 2, Refused: 3, Trouble: 4, Receipts: 5, ReceiptsLost: 6}
	}}
	ssf := Stats{
		SSF: func() stepupssf.Stats {
			return stepupssf.Stats{State: stepupssf.StatePaused, Heard: time.Unix(1767225600, 0), Refused: 8, Waiting: 9}
		},
		Receipts: func() stepup.ReceiptStats { return stepup.ReceiptStats{Sent: 10, Dropped: 11} },
		Sessions: func() stepup.ObserverStats { return stepup.ObserverStats{Limited: 12} },
	}
	for name, c := range map[string]struct {
		stats Stats
		want  []string
	}{
		"kafka": {kafka, []string{
			`feed_behind{feed="kafka"} 7`, `feed_total{feed="kafka",outcome="refused"} 3`, `reports_total{outcome="dropped",report="receipts"} 6`,
		}},
		"ssf": {ssf, []string{
			`feed_behind{feed="ssf"} 9`, `feed_state{state="paused"} 1`, `feed_heard_timestamp_seconds 1.7672256e+09`,
			`feed_total{feed="ssf",outcome="refused"} 8`, `reports_total{outcome="dropped",report="receipts"} 11`,
			`reports_total{outcome="limited",report="sessions"} 12`,
		}},
	} {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(c.stats)
		if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
			t.Errorf("%s: %v, %v", name, problems, err)
		}
		w := httptest.NewRecorder()
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
		text := w.Body.String()
		for _, want := range c.want {
			if !strings.Contains(text, "countersign_enforce_"+want+"\n") {
				t.Errorf("%s: no %s in\n%s", name, want, text)
			}
		}
	}
}
