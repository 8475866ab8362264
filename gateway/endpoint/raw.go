package endpoint

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
)

// upgradeOf is the protocol that a request asks to switch to (RFC 9110 §7.8); empty: none. The gateway hands on a single
// one, and never h2c.
func upgradeOf(req *http.Request) string {
	if len(req.Header["Upgrade"]) != 1 || !strings.EqualFold(req.Header.Get("Connection"), "Upgrade") {
		return ""
	}
	return req.Header["Upgrade"][0]
}

// errNeedsHTTP1 is what a Backend gets that speaks HTTP/2 alone.
var errNeedsHTTP1 = errors.New("an upgrade needs HTTP/1.1, but the Backend's protocol is HTTP/2 alone; set spec.protocol to HTTP11")

// forUpgrade is the Backend as an upgrade reaches it: on HTTP/1.1, whatever else the destination would speak.
func forUpgrade(b *route.Backend) (*route.Backend, error) {
	switch b.Protocol {
	case "HTTP2", "GRPC", "H2C":
		return nil, &Error{Cause: ProtocolError, Class: retry.NoRepeat, Err: fmt.Errorf("Backend %s: %w", b.Key, errNeedsHTTP1)}
	case "HTTP11":
		return b, nil
	}
	h1 := *b
	h1.Protocol = "HTTP11"
	return &h1, nil
}

// switched checks a 101 against what was asked for, and makes its body the raw bytes of the connection.
func (x *exchange) switched(asked string, res *http.Response) error {
	stream, ok := res.Body.(io.ReadWriteCloser)
	if !ok || asked == "" || !strings.EqualFold(res.Header.Get("Upgrade"), asked) {
		_ = res.Body.Close()
		return errSwitched
	}
	res.Body = &rawStream{download: download{x: x, src: stream}, w: stream}
	return nil
}

// rawStream is the body of a 101: the bytes of the connection, both ways. Reads and writes may run beside each other.
type rawStream struct {
	download
	w io.Writer
}

// Write implements io.Writer. A byte that moves in either direction keeps the exchange alive.
func (r *rawStream) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	r.x.idle.touch()
	return n, err
}

// CloseWrite ends our direction and leaves the other one open.
func (r *rawStream) CloseWrite() error {
	if c, ok := r.w.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
