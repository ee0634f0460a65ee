package kafkatest_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/countersign-io/countersign/internal/kafkatest"
)

// TestMemberThatDiesInAJoinIsExpelled: a member whose connection ends while it waits for the others to join is missed
// when its session times out, and its partitions go to those who live.
func TestMemberThatDiesInAJoinIsExpelled(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, "joining", 2, nil)
	name := kafkatest.Name("group")
	join := func(dialer *kafka.Dialer) *kafka.ConsumerGroup {
		group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
			ID: name, Brokers: brokers, Topics: []string{topic}, StartOffset: kafka.FirstOffset, Dialer: dialer, JoinGroupBackoff: 50 * time.Millisecond,
			SessionTimeout: 6 * time.Second, HeartbeatInterval: 100 * time.Millisecond, RebalanceTimeout: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = group.Close() })
		return group
	}
	live := join(nil)
	next := func() (generation *kafka.Generation) {
		t.Helper()
		kafkatest.Eventually(t, time.Minute, func() (err error) { // a broker's first group finds no coordinator for a moment
			generation, err = live.Next(t.Context())
			return err
		})
		return generation
	}
	first := next()
	together, rejoin := make(chan struct{}), make(chan struct{})
	first.Start(func(ctx context.Context) {
		<-ctx.Done()
		close(together)
		<-rejoin
	})
	dying := &cutter{}
	join(&kafka.Dialer{DialFunc: dying.dial})
	<-together
	dying.cut()
	close(rejoin)
	for len(next().Assignments[topic]) != 2 { // it waits for the next generation as long as the dead one has a partition
	}
}

// cutter dials connections that end all at once, as those of a process that is killed.
type cutter struct {
	mu    sync.Mutex
	conns []net.Conn
	dead  bool
}

func (c *cutter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil, errors.New("killed")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}
