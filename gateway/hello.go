package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// errPeeked ends the look at a hello.
var errPeeked = errors.New("seen enough")

// peekHello reads the first message of a TLS connection, which must come whole before the time is over, and returns the
// server name in it and a connection that still has it to be read. crypto/tls does the reading, so that there is one parser
// of hellos; what it would answer goes nowhere.
func peekHello(c net.Conn, within time.Duration) (net.Conn, string, error) {
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, "", err
	}
	r := &recorder{Conn: c}
	var name string
	seen := false
	err := tls.Server(r, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		name, seen = hello.ServerName, true
		return nil, errPeeked
	}}).HandshakeContext(context.Background())
	if !seen {
		return nil, "", err
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return nil, "", err
	}
	return &replay{Conn: c, r: io.MultiReader(&r.seen, c)}, name, nil
}

// recorder keeps what is read and drops what is written.
type recorder struct {
	net.Conn
	seen bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.seen.Write(p[:n])
	return n, err
}

func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

// replay is a connection whose first bytes were read already.
type replay struct {
	net.Conn
	r io.Reader
}

func (r *replay) Read(p []byte) (int, error) { return r.r.Read(p) }

// CloseWrite ends our direction.
func (r *replay) CloseWrite() error {
	if c, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
