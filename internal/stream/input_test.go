package stream

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// TestStalledConnectionIsReplaced has a broker that knows of records and sends only older ones, until the client connects
// anew.
func TestStalledConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	kafkatest.NeedFake(t)
	fake := kafkatest.Fake(t)
	w := newWorld(t, fake.Addrs(), 1)
	w.send(10, 2)
	var enc batchEncoder
	enc.reset()
	enc.add(&Record{Key: []byte("user-0"), Value: []byte("offset 0")}, nil, nil)
	raw, err := enc.finish()
	if err != nil {
		t.Fatal(err)
	}
	var recovered atomic.Bool
	fake.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		req, ok := kreq.(*kmsg.FetchRequest)
		if !ok || recovered.Load() {
			return nil, nil, false //nolint:nilnil // the fake serves it
		}
		res, ok := req.ResponseKind().(*kmsg.FetchResponse)
		if !ok {
			return nil, nil, false //nolint:nilnil // the fake serves it
		}
		part := kmsg.NewFetchResponseTopicPartition()
		part.HighWatermark, part.RecordBatches = 10, raw[batchPrefix:]
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
		topic.Partitions = append(topic.Partitions, part)
		res.Topics = append(res.Topics, topic)
		return res, nil, true
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in := &input{c: w.c, topic: w.input, minBytes: 1, maxBytes: 1 << 20, wait: 10 * time.Millisecond, stall: 50 * time.Millisecond}
	in.report = func(err error) {
		if errors.Is(err, errStalled) {
			recovered.Store(true)
		}
	}
	in.start(ctx, 5)
	select {
	case ch := <-in.out:
		if len(ch.records) != 5 || ch.err != nil {
			t.Errorf("got %d records, error %v", len(ch.records), ch.err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the input stays stalled")
	}
	if n := w.metric("redials_total", map[string]string{"topic": w.input, "reason": redialStalled}); n < 1 {
		t.Errorf("%v stalls counted, want 1", n)
	}
}
