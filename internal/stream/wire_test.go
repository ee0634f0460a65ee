package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"
)

// wire is a process's network. Cut, it is what kill -9 leaves of the process to the others; frozen, what SIGSTOP does.
type wire struct {
	// verdict, if set, decides the fate of produce request number n.
	verdict func(n int) wireVerdict

	mu       sync.Mutex
	cut      bool
	frozen   chan struct{} // closed to thaw; nil when it flows
	conns    map[*wireConn]struct{}
	produced int
}

// wireVerdict is what happens to a request.
type wireVerdict int

const (
	pass       wireVerdict = iota
	dropped                // the broker never sees it
	answerLost             // the broker has answered, and nobody hears it
)

type wireConn struct {
	net.Conn
	wire *wire
	left int // bytes that are still to come of the request being written
	lose bool
}

var errWire = errors.New("connection lost")

// judge looks at what is written and decides about a request that begins in it.
func (c *wireConn) judge(b []byte) wireVerdict {
	if c.wire.verdict == nil {
		return pass
	}
	if c.left > 0 {
		c.left -= min(c.left, len(b))
		return pass
	}
	if len(b) < 6 {
		return pass
	}
	c.left = max(0, 4+int(binary.BigEndian.Uint32(b))-len(b))
	if binary.BigEndian.Uint16(b[4:]) != 0 { // the key of produce
		return pass
	}
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	c.wire.produced++
	return c.wire.verdict(c.wire.produced)
}

func (c *wireConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.lose && n > 0 {
		_ = c.Conn.Close()
		return 0, errWire
	}
	return n, err
}

func (n *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	cut := n.cut
	n.mu.Unlock()
	if cut {
		return nil, errors.New("wire is cut")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &wireConn{Conn: conn, wire: n}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		n.conns = make(map[*wireConn]struct{})
	}
	n.conns[c] = struct{}{}
	return c, nil
}

func (c *wireConn) Write(b []byte) (int, error) {
	c.wire.mu.Lock()
	frozen := c.wire.frozen
	c.wire.mu.Unlock()
	if frozen != nil {
		<-frozen
		// A stopped process's clock goes on, but its deadlines are not what these tests are about.
		_ = c.Conn.SetDeadline(time.Now().Add(5 * time.Second))
	}
	switch c.judge(b) {
	case dropped:
		_ = c.Conn.Close()
		return 0, errWire
	case answerLost:
		c.lose = true
	case pass:
	}
	return c.Conn.Write(b)
}

func (n *wire) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = true
	for c := range n.conns {
		_ = c.Conn.Close()
	}
}

func (n *wire) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen = make(chan struct{})
}

func (n *wire) thaw() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frozen != nil {
		close(n.frozen)
		n.frozen = nil
	}
}
