package endpoint

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"penstock.dev/penstock/gateway/retry"
)

// conn is one connection to a verified peer, with net/http's codec on it.
type conn struct {
	cc   *http.ClientConn
	one  *xhttp2.ClientConn // instead of cc: for one extended CONNECT and nothing else
	wire *wire
	h2   bool
	// host is the name the peer has proven; "" without TLS, where nothing is proven.
	host  string
	state *tls.ConnectionState // nil: cleartext
	used  atomic.Bool          // it has served before
	// answering: net/http has a response that RoundTrip has not returned yet. HTTP/1.1 only: the connection of one without
	// body is idle by then, and closing it would lose the response.
	answering atomic.Bool
	// settled tells the pool to look at the connection again.
	settled func()

	// The pool's; guarded by its mu.
	listed bool        // in idle or shared
	timer  *time.Timer // closes it when idle for too long
}

// codec are net/http Transports that are only ever asked for ClientConns on connections made here: they dial nothing,
// pool nothing and repeat nothing.
type codec struct {
	h1, h2 *http.Transport
	one    *xhttp2.Transport // see openOne
}

type connKey struct{}

func newCodec() codec {
	give := func(ctx context.Context, _, _ string) (net.Conn, error) { return ctx.Value(connKey{}).(net.Conn), nil }
	newTransport := func() *http.Transport {
		return &http.Transport{
			DialContext:            give,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeaderBytes,
			// RFC 9110 §10.1.1: a client must not wait for 100 without end.
			ExpectContinueTimeout: time.Second,
			Protocols:             new(http.Protocols),
		}
	}
	c := codec{h1: newTransport(), h2: newTransport()}
	c.h1.Protocols.SetHTTP1(true)
	// Cleartext to net/http: TLS is done here, so that the wire lies between.
	c.h2.Protocols.SetUnencryptedHTTP2(true)
	c.h2.HTTP2 = &http.HTTP2Config{
		// One peer that reads nothing must not hold up all its streams for ever.
		WriteByteTimeout: 30 * time.Second,
		// What one upstream can make us hold of a response that the workload does not read (FAULTS G31).
		MaxReceiveBufferPerStream:     256 << 10,
		MaxReceiveBufferPerConnection: 4 << 20,
	}
	c.one = &xhttp2.Transport{
		DisableCompression: true, AllowHTTP: true, MaxHeaderListSize: maxHeaderBytes, WriteByteTimeout: c.h2.HTTP2.WriteByteTimeout,
	}
	return c
}

// open makes a connection to a verified peer. The error is an *Error with nothing sent.
func (e *Endpoint) open(ctx context.Context, p *plan) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.connect)
	defer cancel()
	c, err := e.peer(ctx, p)
	if err != nil {
		return nil, err
	}
	t := e.codec.h1
	if c.h2 {
		t = e.codec.h2
	}
	// The address is only a form to be filled in: the connection is the one in the context.
	c.cc, err = t.NewClientConn(context.WithValue(ctx, connKey{}, net.Conn(c.wire)), "http", "peer:80")
	if err != nil {
		_ = c.wire.Close()
		return nil, &Error{Cause: ConnectionTerminated, Class: retry.ConnectFailure, Err: err}
	}
	return c, nil
}

// openOne makes a connection for one extended CONNECT, as an upgrade of HTTP/1.1 has one of its own. It is no ClientConn of
// net/http: that one takes no :protocol. The error is an *Error with nothing sent.
func (e *Endpoint) openOne(ctx context.Context, p *plan) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.connect)
	defer cancel()
	c, err := e.peer(ctx, p)
	if err != nil {
		return nil, err
	}
	if c.h2 {
		c.one, err = e.codec.one.NewClientConn(c.wire)
	} else {
		err = errNoConnect // it agreed to nothing in the handshake
	}
	if err != nil {
		_ = c.wire.Close()
		return nil, &Error{Cause: UpgradeFailed, Class: retry.NoRepeat, Err: err}
	}
	return c, nil
}

// peer connects and verifies; the connection has no codec yet.
func (e *Endpoint) peer(ctx context.Context, p *plan) (*conn, error) {
	nc, err := e.connect(ctx, p)
	if err != nil {
		return nil, err
	}
	c := &conn{h2: p.wantsH2Only()}
	if p.tls != nil {
		tc, host, err := handshake(ctx, nc, p)
		if err != nil {
			return nil, err
		}
		state := tc.ConnectionState()
		nc, c.host, c.state, c.h2 = tc, host, &state, state.NegotiatedProtocol == "h2"
	}
	c.wire = newWire(nc, c.h2, &e.sent)
	return c, nil
}

// roundTrip sends on the place that is reserved.
func (c *conn) roundTrip(out *http.Request) (*http.Response, error) {
	if c.one != nil {
		return c.one.RoundTrip(out)
	}
	return c.cc.RoundTrip(out)
}

// release gives the place back.
func (c *conn) release() {
	if c.one != nil {
		_ = c.one.Close()
		return
	}
	c.cc.Release()
}

// sound reports whether the connection may take another request.
func (c *conn) sound() bool {
	if c.cc.Err() != nil {
		return false
	}
	if c.h2 {
		return !c.wire.h2.leaving()
	}
	return !c.wire.h1.doubted()
}
