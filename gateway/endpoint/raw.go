package endpoint

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"penstock.dev/penstock/gateway/h1"
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

// forUpgrade is the Backend as an upgrade reaches it: on HTTP/1.1, whatever else the destination would speak, unless HTTP/2 is
// all that it speaks.
func forUpgrade(b *route.Backend) *route.Backend {
	switch b.Protocol {
	case "HTTP2", "GRPC", "H2C", "HTTP11":
		return b
	}
	older := *b
	older.Protocol = "HTTP11"
	return &older
}

// switched checks a 101 against what was asked for, and makes its body the raw bytes of the connection.
func (x *exchange) switched(res *http.Response) error {
	stream, ok := res.Body.(io.ReadWriteCloser)
	if !ok || x.upgrade == "" || !strings.EqualFold(res.Header.Get("Upgrade"), x.upgrade) {
		_ = res.Body.Close()
		return errSwitched
	}
	if x.key != "" && strings.EqualFold(x.upgrade, "websocket") && res.Header.Get("Sec-Websocket-Accept") != h1.WebSocketAccept(x.key) {
		_ = res.Body.Close()
		return errAccept
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
