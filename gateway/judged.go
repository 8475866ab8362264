package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"penstock.dev/penstock/gateway/h1"
)

// judgedConn is a connection of HTTP/1.1 whose requests are judged as they come, before net/http has settled what is in
// doubt about them (THREATS TH-T1).
type judgedConn struct {
	net.Conn
	requests h1.Requests
	state    *tls.ConnectionState // nil: cleartext
}

func judge(c net.Conn, maxHead int, state *tls.ConnectionState) *judgedConn {
	return &judgedConn{Conn: c, requests: h1.Requests{MaxHead: maxHead}, state: state}
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

type judgedKey struct{}

// judging is a listener whose connections are judged.
type judging struct {
	net.Listener
	maxHead int
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
	return judge(c, j.maxHead, nil), nil
}

// withJudged lets the handler find its connection.
func withJudged(ctx context.Context, c net.Conn) context.Context {
	if j, ok := c.(*judgedConn); ok {
		return context.WithValue(ctx, judgedKey{}, j)
	}
	return ctx
}

// judged refuses a request whose head is in doubt.
func (x *exchange) judged() *failure {
	c, ok := x.r.Context().Value(judgedKey{}).(*judgedConn)
	if !ok {
		return nil
	}
	doubt := c.requests.Doubt()
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
		if c, ok := r.Context().Value(judgedKey{}).(*judgedConn); ok && c.state != nil {
			r.TLS = c.state
		}
		next.ServeHTTP(w, r)
	})
}
