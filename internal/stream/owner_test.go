package stream

import (
	"testing"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

func TestOwnerProcessesEverythingOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, kafkatest.Brokers(t), 4)
	w.send(5000, 300)
	o := w.own()
	w.settle()
	w.send(500, 300)
	w.settle()
	o.stop()
	w.check()
}
