package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/gateway/h1"
)

// judgedConn is a connection of HTTP/1.1 whose requests are judged as they come, before net/http has settled what is in
// doubt about them (THREATS TH-T1).
type judgedConn struct {
	net.Conn
	requests h1.Requests
	state    *tls.ConnectionState // nil: cleartext
	// writeIdle is how long one write may wait for its reader.
	writeIdle time.Duration
}

func judge(c net.Conn, edges Edges, state *tls.ConnectionState) *judgedConn {
	return &judgedConn{Conn: c, requests: h1.Requests{MaxHead: edges.HeaderBytes, MaxFields: edges.HeaderFields}, state: state, writeIdle: edges.WriteIdle}
}

// Write gives up a reader that takes nothing.
func (c *judgedConn) Write(p []byte) (int, error) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(c.writeIdle))
	return c.Conn.Write(p)
}

// Read withholds what is malformed in the middle of a request's content: its reader must not take the rest for whole.
func (c *judgedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		if bad := c.requests.Read(p[:n]); bad != nil {
			return 0, fmt.Errorf("gateway: request content: %w", bad)
		}
	}
	return n, err
}

// NetConn is the connection below.
func (c *judgedConn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends our direction.
func (c *judgedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

type connectedKey struct{}

// connected is what a request knows of its connection.
type connected struct {
	conn   net.Conn
	judged *judgedConn // nil: HTTP/2 over TLS
	// begun counts requests, hurried those among them that their client took back before they were answered.
	begun, hurried atomic.Int64
}

// connectedOf finds the connection of a request; nil: it came otherwise.
func connectedOf(r *http.Request) *connected {
	c, _ := r.Context().Value(connectedKey{}).(*connected)
	return c
}

// judging is a listener whose connections are judged.
type judging struct {
	net.Listener
	edges Edges
}

func (j judging) Accept() (net.Conn, error) {
	c, err := j.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if _, h2 := c.(*tls.Conn); h2 {
		return c, nil
	}
	if _, done := c.(*judgedConn); done {
		return c, nil
	}
	return judge(c, j.edges, nil), nil
}

// withConnected lets the handler find its connection.
func withConnected(ctx context.Context, c net.Conn) context.Context {
	judged, _ := c.(*judgedConn)
	return context.WithValue(ctx, connectedKey{}, &connected{conn: c, judged: judged})
}

// judged refuses a request whose head is in doubt.
func (x *exchange) judged() *failure {
	c := connectedOf(x.r)
	if c == nil || c.judged == nil {
		return nil
	}
	doubt := c.judged.requests.Doubt()
	if doubt == nil {
		return nil
	}
	x.w.Header().Set("Connection", "close")
	if errors.Is(doubt, h1.ErrTooManyFields) || errors.Is(doubt, h1.ErrTooLarge) {
		return fail(reasonHeaderTooLarge, doubt.Error(), remedies[reasonHeaderTooLarge])
	}
	return fail(reasonMalformed, doubt.Error(), "send the request in one form of RFC 9112 that has one meaning")
}

// tlsState gives the handler what it must know of a connection that was judged above TLS.
func tlsState(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := connectedOf(r); c != nil && c.judged != nil && c.judged.state != nil {
			r.TLS = c.judged.state
		}
		next.ServeHTTP(w, r)
	})
}
