package stream

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// membership takes part in a consumer group for one topic.
type membership struct {
	c                             *Cluster
	group, topic                  string
	session, heartbeat, rebalance time.Duration
}

// leaveGrace is how long leaving the group may take once its work has drained.
const leaveGrace = time.Second

// run calls start for every generation, which starts workers through the committer, until ctx ends. Then it lets them
// drain and leaves the group.
func (m *membership) run(ctx context.Context, report func(error), start func(*kafka.Generation, *committer)) error {
	sticky := &stickyBalancer{}
	conns := &groupConns{dial: m.c.dialer.DialFunc}
	if conns.dial == nil {
		conns.dial = (&net.Dialer{Timeout: m.c.dialer.Timeout, KeepAlive: m.c.dialer.KeepAlive}).DialContext
	}
	dialer := *m.c.dialer
	dialer.DialFunc = conns.open
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: m.c.physical(m.group), Brokers: m.c.cfg.Brokers, Dialer: &dialer, Topics: []string{m.c.physical(m.topic)},
		GroupBalancers:        balancers(sticky),
		SessionTimeout:        m.session,
		RebalanceTimeout:      m.rebalance,
		HeartbeatInterval:     m.heartbeat,
		JoinGroupBackoff:      500 * time.Millisecond,
		StartOffset:           kafka.FirstOffset,
		WatchPartitionChanges: true,
		Timeout:               m.c.cfg.RequestTimeout,
	})
	if err != nil {
		return fmt.Errorf("joining group %s: %w", m.group, err)
	}
	var current *committer
	for {
		gen, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			leave(group, current, conns)
			return nil //nolint:nilerr // the end of ctx is no error
		case err != nil:
			report(fmt.Errorf("joining group %s: %w", m.group, err))
			sleep(ctx, 100*time.Millisecond)
		default:
			sticky.own(gen)
			current = newCommitter(gen, m.c.physical(m.topic))
			start(gen, current)
			gen.Start(current.run)
		}
	}
}

// leave ends the generation, waits until its workers have drained, and leaves the group. kafka-go does not interrupt a
// join that waits for other members, which may take the whole rebalance timeout; so its connections are closed then.
func leave(group *kafka.ConsumerGroup, current *committer, conns *groupConns) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = group.Close() // always nil
	}()
	if current != nil {
		<-current.done
	}
	timer := time.NewTimer(leaveGrace)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
		conns.cut()
		<-closed
	}
}

// groupConns are the open connections of a membership.
type groupConns struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	mu   sync.Mutex
	live map[*groupConn]struct{}
}

type groupConn struct {
	net.Conn
	conns *groupConns
}

func (g *groupConns) open(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := g.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &groupConn{Conn: conn, conns: g}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.live == nil {
		g.live = make(map[*groupConn]struct{})
	}
	g.live[c] = struct{}{}
	return c, nil
}

func (c *groupConn) Close() error {
	c.conns.mu.Lock()
	delete(c.conns.live, c)
	c.conns.mu.Unlock()
	return c.Conn.Close()
}

// cut closes every connection, under the feet of whoever waits on it.
func (g *groupConns) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.live {
		_ = c.Conn.Close()
	}
}
