package stream

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// The lag is what the group has not committed, also of partitions that it never committed; a group without commits is not known.
func TestLagCountsWhatIsNotCommitted(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	c, _ := connect(t, brokers)
	topic, group := kafkatest.Topic(t, brokers, "lag", 2, nil), kafkatest.Name("lag")
	produce := func(partition, n int) {
		for i := range n {
			if _, err := c.Producer().Produce(t.Context(), topic, partition, []Record{{Key: []byte(fmt.Sprint(i)), Value: []byte("v")}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(lag int64, known bool) error {
		got, is, err := c.Lag(t.Context(), group, topic)
		if err == nil && (got != lag || is != known) {
			err = fmt.Errorf("lag %d, known %t; want %d, %t", got, is, lag, known)
		}
		return err
	}
	produce(0, 4)
	if err := want(4, false); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Consume(ctx, ConsumerConfig{Group: group, Topic: topic, MaxWait: -1, MinFetchBytes: 1}, func(context.Context, int, []Record) error { return nil })
	}()
	kafkatest.Eventually(t, 30*time.Second, func() error { return want(0, true) })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	produce(0, 2)
	produce(1, 3) // where the group has committed nothing
	if err := want(5, true); err != nil {
		t.Error(err)
	}
	if _, _, err := c.Lag(t.Context(), group, kafkatest.Name("missing")); err == nil {
		t.Error("a topic that is not there")
	}
}
