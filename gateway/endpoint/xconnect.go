package endpoint

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"penstock.dev/penstock/gateway/h1"
)

// errNoConnect is what an upgrade gets that a destination on HTTP/2 does not take.
var errNoConnect = errors.New("the destination's SETTINGS do not allow extended CONNECT (RFC 8441); nothing was sent")

// h2Upgrade is an upgrade as it travels on HTTP/2: what we send is the content of an extended CONNECT.
type h2Upgrade struct {
	content *io.PipeReader
	*io.PipeWriter
	sent  chan struct{} // closed: the codec writes no more of it
	once  sync.Once
	ended <-chan struct{} // the exchange's end
}

// extend makes out, which asks for an upgrade, an extended CONNECT.
func (x *exchange) extend(out *http.Request) {
	x.connect = &h2Upgrade{sent: make(chan struct{}), ended: x.ctx.Done()}
	x.connect.content, x.connect.PipeWriter = io.Pipe()
	out.Method, out.Body, out.ContentLength = http.MethodConnect, x.connect.content, -1
	if strings.EqualFold(x.upgrade, "websocket") {
		// RFC 8441 §5: what the key proves, the SETTINGS have.
		x.key = out.Header.Get("Sec-Websocket-Key")
		out.Header.Del("Sec-Websocket-Key")
	}
	out.Header[":protocol"] = []string{x.upgrade}
}

// connected makes the answer to an extended CONNECT that of an upgrade, and reports whether the stream is open.
func (x *exchange) connected(res *http.Response) bool {
	if res == nil {
		return false
	}
	if res.StatusCode/100 != 2 {
		_ = x.connect.Close() // nothing more comes from us
		return false
	}
	res.StatusCode, res.Status, res.ContentLength = http.StatusSwitchingProtocols, "101 "+http.StatusText(http.StatusSwitchingProtocols), -1
	delete(res.Header, "Content-Length")
	delete(res.Header, "Sec-Websocket-Accept")
	if x.key != "" {
		res.Header["Sec-Websocket-Accept"] = []string{h1.WebSocketAccept(x.key)}
	}
	res.Header["Connection"], res.Header["Upgrade"] = []string{"Upgrade"}, []string{x.upgrade}
	res.Body = &rawStream{download: download{x: x, src: res.Body}, w: x.connect}
	return true
}

// wrote is told that the codec is done with what we send.
func (u *h2Upgrade) wrote() { u.once.Do(func() { close(u.sent) }) }

// CloseWrite ends our direction, and waits until that has left: whoever closes the stream next must not overtake it.
func (u *h2Upgrade) CloseWrite() error {
	_ = u.Close()
	select {
	case <-u.sent:
	case <-u.ended:
	}
	return nil
}
