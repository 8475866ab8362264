package endpoint

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// wire is a connection whose traffic is watched: net/http neither says how many requests it truly wrote nor passes on
// what a GOAWAY proved. It counts bytes, and hands them to a watcher of the protocol on it.
//
// Safe for concurrent use as any net.Conn is: one reader and one writer at a time.
type wire struct {
	net.Conn
	written, read atomic.Int64
	sent          *atomic.Int64 // of the Endpoint: request heads that left
	h1            *h1Watch      // one of the two
	h2            *h2Watch

	mu     sync.Mutex
	closed bool
	body   *upload // of the exchange under way, HTTP/1.1 only
}

func newWire(c net.Conn, h2 bool, sent *atomic.Int64) *wire {
	w := &wire{Conn: c, sent: sent}
	if h2 {
		w.h2 = &h2Watch{}
	} else {
		w.h1 = &h1Watch{}
	}
	return w
}

// Write counts what was handed over. A write that fails before its first byte counts nothing: that is proof P4.
func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if n > 0 {
		w.written.Add(int64(n))
		heads := 0
		if w.h1 != nil {
			heads = w.h1.wrote()
		} else {
			heads = w.h2.wrote(p[:n])
		}
		w.sent.Add(int64(heads))
	}
	return n, err
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.read.Add(int64(n))
		if w.h1 != nil {
			if bad := w.h1.got(p[:n]); bad != nil {
				return 0, bad
			}
		} else {
			w.h2.got(p[:n])
		}
	}
	return n, err
}

// ending is the connection below TLS. It remembers that its peer has ended it: crypto/tls tells an end that the peer announced
// (close_notify) and one that it did not apart only inside of a record, but only for the second has it read this one.
type ending struct {
	net.Conn
	ended atomic.Bool
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	if err == io.EOF {
		e.ended.Store(true)
	}
	return n, err
}

// CloseWrite ends our direction.
func (e *ending) CloseWrite() error {
	if c, ok := e.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// unannounced reports whether the connection has ended without close_notify; false without TLS, which alone can tell.
func (w *wire) unannounced() bool {
	secured, ok := w.Conn.(*tls.Conn)
	if !ok {
		return false
	}
	below, ok := secured.NetConn().(*ending)
	return ok && below.ended.Load()
}

// Close closes the connection, and ends a read of the workload's body that the exchange on it may be blocked in.
func (w *wire) Close() error {
	err := w.Conn.Close()
	w.mu.Lock()
	body := w.body
	w.closed, w.body = true, nil
	w.mu.Unlock()
	if body != nil {
		_ = body.Close()
	}
	return err
}

// CloseWrite ends our direction of a stream that is no HTTP any more.
func (w *wire) CloseWrite() error {
	if c, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// carry says whose body is sent on this connection now; nil: none.
func (w *wire) carry(body *upload) {
	w.mu.Lock()
	closed := w.closed
	if !closed {
		w.body = body
	}
	w.mu.Unlock()
	if closed && body != nil {
		_ = body.Close()
	}
}

// uncarry takes back what carry said, unless another exchange has begun.
func (w *wire) uncarry(body *upload) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.body == body {
		w.body = nil
	}
}
