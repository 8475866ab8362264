package gateway

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/gateway/h1"
	_ "penstock.dev/penstock/internal/xconnect" // our servers offer extended CONNECT
)

// protocolField is where net/http puts the pseudo-field :protocol. No field of HTTP/1.1 or of a tunnel can have the name.
const protocolField = ":protocol"

// extendedConnect makes a stream that a client opens by extended CONNECT (RFC 8441) an upgrade of HTTP/1.1, the form that all
// that follows knows: routes, filters, tunnels and the endpoint treat both alike.
func (x *exchange) extendedConnect() *failure {
	protocols, ok := x.r.Header[protocolField]
	if !ok {
		return nil
	}
	delete(x.r.Header, protocolField)
	h := x.r.Header
	_, length := h["Content-Length"]
	switch {
	case x.r.ProtoMajor < 2 || x.r.Method != http.MethodConnect || len(protocols) != 1:
		return fail(reasonMalformed, ":protocol outside of an extended CONNECT", "send :protocol with CONNECT alone")
	case !strings.HasPrefix(x.r.URL.Path, "/"):
		return fail(reasonMalformed, "an extended CONNECT without :path", "send :scheme and :path (RFC 8441 §4)")
	case length:
		return fail(reasonMalformed, "an extended CONNECT that announces content", "leave Content-Length out")
	}
	stream := &h2Stream{body: x.r.Body, control: http.NewResponseController(x.w)}
	x.r = x.r.WithContext(x.r.Context())
	x.r.Method, x.r.Body, x.r.ContentLength, x.r.Trailer = http.MethodGet, http.NoBody, 0, nil
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, protocols
	if upgradeOf(x.r) == "" {
		return fail(reasonMalformed, fmt.Sprintf("an extended CONNECT to %q", protocols[0]), "ask for one protocol other than h2c")
	}
	delete(h, "Sec-Websocket-Accept")
	delete(h, "Sec-Websocket-Key") // RFC 8441 §5: not used here; the destination's own would not be known to it
	if strings.EqualFold(protocols[0], "websocket") {
		var nonce [16]byte
		_, _ = rand.Read(nonce[:]) // never fails
		stream.key = base64.StdEncoding.EncodeToString(nonce[:])
		h["Sec-Websocket-Key"] = []string{stream.key}
	}
	x.stream = stream
	return nil
}

// h2Stream is a stream of HTTP/2 that a client has opened by extended CONNECT.
//
// net/http ends our direction only together with the handler. So the end of the destination's direction ends both: the client
// is sent END_STREAM and, if it has not ended its own, asked to stop (RST_STREAM, NO_ERROR). For a WebSocket, whose server
// closes first and after the last word of both (RFC 6455 §7.1.1), that is the same.
type h2Stream struct {
	key     string // that we asked the destination with; empty: the protocol has none
	body    io.ReadCloser
	w       io.Writer
	control *http.ResponseController
	ended   atomic.Bool // our direction
}

// accepts reports whether a destination has answered the handshake, and takes the answer out: it means nothing in HTTP/2.
func (s *h2Stream) accepts(h http.Header) bool {
	got := h["Sec-Websocket-Accept"]
	delete(h, "Sec-Websocket-Accept")
	return s.key == "" || len(got) == 1 && got[0] == h1.WebSocketAccept(s.key)
}

// open sends the 200 that opens the stream, with the header in w.
func (s *h2Stream) open(w http.ResponseWriter) error {
	h := w.Header()
	for _, name := range []string{"Content-Length", "Transfer-Encoding"} { // RFC 9110 §9.3.6
		delete(h, name)
	}
	s.w = w
	w.WriteHeader(http.StatusOK)
	if err := s.control.Flush(); err != nil {
		return fmt.Errorf("open the stream: %w", err)
	}
	return nil
}

func (s *h2Stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if err != nil && s.ended.Load() {
		err = io.EOF
	}
	return n, err
}

func (s *h2Stream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil {
		err = s.control.Flush()
	}
	return n, err
}

// CloseWrite ends both directions, see above.
func (s *h2Stream) CloseWrite() error {
	s.ended.Store(true)
	return s.control.SetReadDeadline(time.Now())
}

// Close does nothing: the stream ends with its handler.
func (s *h2Stream) Close() error { return nil }

// cut ends reads and writes; the handler's panic resets the stream.
func (s *h2Stream) cut() {
	_ = s.control.SetReadDeadline(time.Now())
	_ = s.control.SetWriteDeadline(time.Now())
}
