package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"

	"penstock.dev/penstock/gateway/route"
)

// upgradeOf is the protocol that a request asks to switch to; empty: none that this gateway would ask the next hop for. An
// Upgrade may be passed over by any server (RFC 9110 §7.8), and is if it comes with a body, offers several protocols, or
// offers h2c, which Java's client does with every first request and which no next hop shall ever see (THREATS TH-T1).
func upgradeOf(r *http.Request) string {
	if len(r.Header["Upgrade"]) != 1 || r.ContentLength != 0 || !httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") {
		return ""
	}
	protocol := r.Header["Upgrade"][0]
	name, version, _ := strings.Cut(protocol, "/")
	if !httpguts.ValidHeaderFieldName(name) || version != "" && !httpguts.ValidHeaderFieldName(version) || strings.EqualFold(protocol, "h2c") {
		return ""
	}
	return protocol
}

// setUpgrade asks the next hop for what the client asked us for.
func (x *exchange) setUpgrade(h http.Header) {
	if x.upgrade != "" {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{x.upgrade}
	}
}

// duplex is a stream of raw bytes whose directions end one by one.
type duplex interface {
	io.ReadWriteCloser
	// CloseWrite ends our direction.
	CloseWrite() error
	// cut closes the stream so that its other side cannot take that for an end.
	cut()
}

// splice hands the 101 on and then copies raw bytes both ways until both directions have ended, or one is broken. Nothing
// is repeated, and a stream that breaks off never looks like one that ended.
func (x *exchange) splice(res *http.Response) *failure {
	there, ok := res.Body.(io.ReadWriteCloser)
	if !ok || x.upgrade == "" {
		return fail(reasonProtocol, "the destination switched protocols unasked", "")
	}
	if err := x.filters().Response(route.PhaseResponseHeaders, res.Header); err != nil {
		return filterFailure(err)
	}
	if x.stream != nil && !x.stream.accepts(res.Header) {
		return fail(reasonProtocol, "the answer to the WebSocket handshake does not belong to its key", remedies[reasonProtocol])
	}
	x.responseHeader(res)
	here, err := x.switchHere()
	if err != nil {
		return &failure{reason: reasonClientGone, executed: executedNo, cause: err}
	}
	defer here.Close()

	// The clock's context ends with the client, and with us when we drain. It and an error in either direction break off
	// both sides, which ends both copies.
	cut := sync.OnceFunc(func() {
		_ = there.Close()
		here.cut()
	})
	stopped := context.AfterFunc(x.clock.ctx, cut)
	up := make(chan error, 1)
	go func() {
		n, err := relay(there, here)
		x.bytesIn.Add(n)
		if err != nil {
			cut()
		}
		up <- err
	}()
	n, down := relay(here, there)
	x.bytesOut += n
	if down != nil {
		cut()
	}
	if err := <-up; down == nil {
		down = err
	}
	stopped()
	if x.truncated = down != nil; x.truncated {
		x.g.cfg.Log.Debug("a stream behind a 101 broke off", "requestId", x.tags.RequestID, "protocol", x.upgrade, "error", down)
	}
	if down != nil && (x.from.tunnel() || x.stream != nil) {
		panic(http.ErrAbortHandler) // the end of the handler alone would be a clean end of the stream
	}
	return nil
}

// relay copies until from ends, and then ends the direction of to.
func relay(to io.Writer, from io.Reader) (int64, error) {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	n, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, buf[:])
	if err != nil {
		return n, err
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // who is gone already needs not be told
	}
	return n, nil
}

// switchHere writes the 101, whose header stands in w, and takes over the stream to the client.
func (x *exchange) switchHere() (duplex, error) {
	control := http.NewResponseController(x.w)
	if x.stream != nil {
		x.status, x.answering = http.StatusOK, true
		return x.stream, x.stream.open(x.w)
	}
	x.setUpgrade(x.w.Header())
	x.status, x.answering = http.StatusSwitchingProtocols, true
	c, rw, err := control.Hijack()
	if errors.Is(err, http.ErrNotSupported) { // a tunnel: raw from here on, by itself
		x.w.WriteHeader(http.StatusSwitchingProtocols)
		return &tunnelStream{r: x.r.Body, w: x.w, flush: control.Flush}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	if j, ok := c.(*judgedConn); ok {
		j.requests.Stop()
	}
	h := x.w.Header()
	for _, name := range []string{"Content-Length", "Transfer-Encoding"} { // a 101 has no content (RFC 9110 §15.2.2)
		delete(h, name)
	}
	_, err = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	if err == nil {
		err = h.Write(rw)
	}
	if err == nil {
		_, err = rw.WriteString("\r\n")
	}
	if err == nil {
		err = rw.Flush()
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("write the 101: %w", err)
	}
	// What net/http has read already, and then the connection itself: its own reader would take the end of the client's
	// direction for the end of the request, and end the other direction too.
	seen, err := rw.Peek(rw.Reader.Buffered())
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	return &clientStream{Conn: c, r: io.MultiReader(bytes.NewReader(seen), c)}, nil
}

// clientStream is a connection that was HTTP/1.1; some of what comes may have been read already.
type clientStream struct {
	net.Conn
	r io.Reader
}

func (s *clientStream) Read(p []byte) (int, error) { return s.r.Read(p) }

func (s *clientStream) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// cut resets the connection: a FIN, or the close_notify of TLS, would look like an end.
func (s *clientStream) cut() {
	c := s.Conn
	for {
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = outer.NetConn()
	}
	if tcp, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // a connection that is gone already needs no reset
	}
	_ = c.Close()
}

// tunnelStream is a stream of a tunnel.
type tunnelStream struct {
	r     io.ReadCloser
	w     io.Writer
	flush func() error
}

func (s *tunnelStream) Read(p []byte) (int, error) { return s.r.Read(p) }

func (s *tunnelStream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil {
		err = s.flush()
	}
	return n, err
}

func (s *tunnelStream) CloseWrite() error {
	if c, ok := s.w.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (s *tunnelStream) Close() error { return s.r.Close() }

// cut ends our reads; the handler's panic resets the stream.
func (s *tunnelStream) cut() { _ = s.Close() }
