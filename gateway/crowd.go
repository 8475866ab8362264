package gateway

import (
	"net"
	"net/netip"
	"sync"

	"penstock.dev/penstock/gateway/telemetry"
)

// crowd is a listener that takes in no more connections than fit, and of one client no more than its share. Who comes on
// top of that is closed at once: an answer would cost what the limit is to save.
type crowd struct {
	net.Listener
	all, each int
	metrics   *telemetry.Metrics

	mu   sync.Mutex
	n    int
	from map[netip.Addr]int
}

func newCrowd(l net.Listener, edges Edges, metrics *telemetry.Metrics) *crowd {
	return &crowd{Listener: l, all: edges.Connections, each: edges.ClientConnections, metrics: metrics, from: map[netip.Addr]int{}}
}

// Accept returns the next connection that fits.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			return conn, nil
		}
		client := tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if why := c.enter(client); why != "" {
			c.metrics.Cut(why)
			_ = tcp.Close()
			continue
		}
		return &member{TCPConn: tcp, leave: sync.OnceFunc(func() { c.leave(client) })}, nil
	}
}

// enter counts a connection, or says why not.
func (c *crowd) enter(client netip.Addr) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.n >= c.all:
		return cutConnections
	case c.from[client] >= c.each:
		return cutClientConnections
	}
	c.n++
	c.from[client]++
	return ""
}

func (c *crowd) leave(client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.from[client]--; c.from[client] == 0 {
		delete(c.from, client)
	}
}

// member is a connection that is counted until it is closed.
type member struct {
	*net.TCPConn
	leave func()
}

// Close ends the connection and gives its place back.
func (m *member) Close() error {
	defer m.leave()
	return m.TCPConn.Close()
}
