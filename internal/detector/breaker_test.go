package detector

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/kafkatest"
	"github.com/countersign-io/countersign/internal/stream"
)

// What an operator is shown of the breakers is what the detectors have written: a tenant that has tripped, until it is reset.
func TestBreakersAreRead(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, 40, 3)
	d, cluster, err := open(in.brokers, in.prefix, nil)
	must(t, err)
	stopped := make(chan error, 1)
	go func() { stopped <- d.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		cluster.Close()
	})
	publish := func(list []*events.Event) {
		t.Helper()
		var records []stream.Record
		for _, e := range list {
			records = append(records, stream.Record{Key: []byte(e.Key()), Value: events.Encode(e)})
		}
		in.publish(records)
	}
	var list []*events.Event
	for i := range 200 {
		for k, e := range stolen() {
			e.User.ID, e.Source.ID = fmt.Sprint("user-", i), fmt.Sprint(i, "-", k)
			list = append(list, e)
		}
	}
	quiet := use(1, 1, "s", 64500, "laptop", "Windows")
	quiet.Tenant = "globex"
	publish(append(list, quiet))

	await := func(check func(acme, globex BreakerState) bool) {
		t.Helper()
		kafkatest.Eventually(t, time.Minute, func() error {
			states, err := ReadBreakers(t.Context(), in.cluster.Table(nil))
			if err == nil && (len(states) != 2 || states[0].Tenant != "acme" || states[1].Tenant != "globex" || !check(states[0], states[1])) {
				err = fmt.Errorf("%+v", states)
			}
			return err
		})
	}
	await(func(acme, globex BreakerState) bool {
		return acme.Partitions == partitions && acme.Tripped == partitions && strings.Contains(acme.Reason, "tripped") && acme.Since != 0 &&
			globex == BreakerState{Tenant: "globex", Partitions: 1}
	})
	publish(ResetBreaker("acme", "checked by Bo", partitions, events.MillisOf(time.Now())))
	await(func(acme, _ BreakerState) bool { return acme == BreakerState{Tenant: "acme", Partitions: partitions} })
}
