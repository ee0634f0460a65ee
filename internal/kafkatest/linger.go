package kafkatest

import (
	"net"
	"sync"
	"time"
)

// lingering is how long a fake broker does not notice that a client is gone. As long as that it answers a member that
// died while it waited in a join, and from its answer on it expects heartbeats, as Kafka does. When kfake sees the
// closed connection before it answers, it keeps the member without any timeout: the group is stable, and the dead
// member's partitions are nobody's until the next rebalance.
const lingering = 30 * time.Second

// lingerer accepts connections whose end shows late.
type lingerer struct{ net.Listener }

func (l lingerer) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lingeringConn{Conn: conn, closed: make(chan struct{})}, nil
}

// lingeringConn reports the end of its client only after lingering, or when the broker itself closes it.
type lingeringConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *lingeringConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 || err == nil {
		return n, err
	}
	timer := time.NewTimer(lingering)
	defer timer.Stop()
	select {
	case <-c.closed:
	case <-timer.C:
	}
	return n, err
}

func (c *lingeringConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// listen is net.Listen with connections that linger.
func listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	return lingerer{l}, nil
}
