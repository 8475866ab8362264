package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"penstock.dev/penstock/gateway/h1"
	"penstock.dev/penstock/gateway/route"
)

// h2Wire is an HTTP/2 connection of a workload, frame by frame.
type h2Wire struct {
	t *testing.T
	net.Conn
	*http2.Framer
	settings map[http2.SettingID]uint32
	stream   uint32
}

func dialH2(t *testing.T, address string) *h2Wire {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	w := &h2Wire{t: t, Conn: c, Framer: http2.NewFramer(c, c), settings: map[http2.SettingID]uint32{}, stream: 1}
	w.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	f, err := w.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	_ = f.(*http2.SettingsFrame).ForeachSetting(func(s http2.Setting) error { w.settings[s.ID] = s.Val; return nil })
	return w
}

// open sends a head, given as names and values, on the next stream.
func (w *h2Wire) open(fields ...string) {
	w.t.Helper()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	if err := w.WriteHeaders(http2.HeadersFrameParam{StreamID: w.stream, BlockFragment: block.Bytes(), EndHeaders: true}); err != nil {
		w.t.Fatal(err)
	}
}

// connect opens a stream by extended CONNECT; more fields may follow.
func (w *h2Wire) connect(protocol string, more ...string) {
	w.open(append([]string{":method", "CONNECT", ":protocol", protocol, ":scheme", "http", ":authority", "api", ":path", "/ws", "sec-websocket-version", "13"}, more...)...)
}

// answer reads up to the head of the answer.
func (w *h2Wire) answer() map[string][]string {
	w.t.Helper()
	for {
		f, err := w.ReadFrame()
		if err != nil {
			w.t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			h := map[string][]string{}
			for _, field := range f.Fields {
				h[field.Name] = append(h[field.Name], field.Value)
			}
			return h
		case *http2.RSTStreamFrame:
			return map[string][]string{":status": {"reset " + f.ErrCode.String()}}
		}
	}
}

// rest reads the content, and how it ended: "end", with "stop" if we are asked to send no more, or the code of a reset.
func (w *h2Wire) rest(n int) (content, ended string) {
	w.t.Helper()
	var b strings.Builder
	for n < 0 || b.Len() < n {
		f, err := w.ReadFrame()
		if err != nil {
			w.t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			b.Write(f.Data())
			if f.StreamEnded() {
				return b.String(), "end"
			}
		case *http2.RSTStreamFrame:
			return b.String(), f.ErrCode.String()
		}
	}
	return b.String(), ""
}

func (w *h2Wire) send(text string, end bool) {
	w.t.Helper()
	if err := w.WriteData(w.stream, end, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

// websocketHop is a next hop that answers the handshake of a WebSocket, with another Accept where accept is not empty.
func websocketHop(t *testing.T, accept string, serve func(pipeEnd)) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		k := r.Header.Get("Sec-Websocket-Key")
		_, pseudo := r.Header[":protocol"]
		if r.Method != http.MethodGet || len(k) != 24 || pseudo || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" || r.ContentLength != 0 || r.Header.Get("Sec-Websocket-Version") != "13" {
			t.Errorf("the next hop was asked %s with %v", r.Method, r.Header)
		}
		near, far := pipes()
		go serve(far)
		h := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Accept": {h1.WebSocketAccept(k)}}
		if accept != "" {
			h["Sec-Websocket-Accept"] = []string{accept}
		}
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Header: h, Body: near}, nil
	}
}

func capitals(far pipeEnd) {
	defer far.Close()
	buf := make([]byte, 64)
	for {
		n, err := far.Read(buf)
		if n > 0 {
			_, _ = far.Write([]byte(strings.ToUpper(string(buf[:n]))))
		}
		if err != nil {
			return
		}
	}
}

func TestListenersOfferExtendedConnect(t *testing.T) {
	l := startListening(t, ported(80), answers200, map[int]int{80: 0})
	w := dialH2(t, l.Addresses()[80].String())
	if w.settings[http2.SettingEnableConnectProtocol] != 1 {
		t.Errorf("SETTINGS are %v: package xconnect was initialised too late, or GODEBUG has http2xconnect=0", w.settings)
	}
}

func TestWebSocketsOverHTTP2(t *testing.T) {
	t.Run("bytes go both ways, and the end of the client", func(t *testing.T) {
		l := startListening(t, ported(80), websocketHop(t, "", capitals), map[int]int{80: 0})
		w := dialH2(t, l.Addresses()[80].String())
		w.connect("websocket")
		h := w.answer()
		if h[":status"][0] != "200" || h["x-port"] == nil || h["x-request-id"] == nil {
			t.Fatalf("%v", h)
		}
		for _, name := range []string{"sec-websocket-accept", "connection", "upgrade", "content-length"} {
			if _, there := h[name]; there {
				t.Errorf("%s: %v on HTTP/2", name, h[name])
			}
		}
		w.send("hello", false)
		if got, _ := w.rest(5); got != "HELLO" {
			t.Errorf("%q", got)
		}
		w.send(" world", true)
		if got, ended := w.rest(-1); got != " WORLD" || ended != "end" {
			t.Errorf("%q, %s", got, ended)
		}
		l.stop()
		<-l.done
		if lines := l.lines(); len(lines) != 1 || lines[0]["status"] != 200.0 || fmt.Sprint(lines[0]["bytesIn"], lines[0]["bytesOut"]) != "11 11" || lines[0]["truncated"] == true {
			t.Errorf("access log %v", lines)
		}
	})
	t.Run("the end of the destination ends the stream", func(t *testing.T) {
		l := startListening(t, ported(80), websocketHop(t, "", func(far pipeEnd) {
			_, _ = io.WriteString(far, "bye")
			_ = far.CloseWrite()
			_, _ = io.Copy(io.Discard, far)
		}), map[int]int{80: 0})
		w := dialH2(t, l.Addresses()[80].String())
		w.connect("websocket")
		if h := w.answer(); h[":status"][0] != "200" {
			t.Fatal(h)
		}
		if got, ended := w.rest(-1); got != "bye" || ended != "end" {
			t.Errorf("%q, %s", got, ended)
		}
	})
	t.Run("a destination that breaks off resets the stream", func(t *testing.T) {
		l := startListening(t, ported(80), websocketHop(t, "", func(far pipeEnd) {
			_, _ = io.WriteString(far, "half")
			_ = far.w.CloseWithError(io.ErrUnexpectedEOF)
		}), map[int]int{80: 0})
		w := dialH2(t, l.Addresses()[80].String())
		w.connect("websocket")
		if h := w.answer(); h[":status"][0] != "200" {
			t.Fatal(h)
		}
		if got, ended := w.rest(-1); ended == "end" || ended == http2.ErrCodeNo.String() {
			t.Errorf("%q, and then %s", got, ended)
		}
		l.stop()
		<-l.done
		if lines := l.lines(); len(lines) != 1 || lines[0]["truncated"] != true {
			t.Errorf("access log %v", lines)
		}
	})
	t.Run("a client that resets ends the destination at once", func(t *testing.T) {
		gone := make(chan struct{})
		l := startListening(t, ported(80), websocketHop(t, "", func(far pipeEnd) {
			defer close(gone)
			_, _ = io.Copy(io.Discard, far)
		}), map[int]int{80: 0})
		w := dialH2(t, l.Addresses()[80].String())
		w.connect("websocket")
		_ = w.answer()
		if err := w.WriteRSTStream(w.stream, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
		<-gone
	})
	t.Run("a gateway that drains cuts it in the end", func(t *testing.T) {
		l := startListening(t, ported(80), websocketHop(t, "", capitals), map[int]int{80: 0})
		w := dialH2(t, l.Addresses()[80].String())
		w.connect("websocket")
		_ = w.answer()
		l.Listeners.cfg.DrainTime = 1
		l.stop()
		if err := <-l.done; err != nil {
			t.Error(err)
		}
	})
	t.Run("several on one connection", func(t *testing.T) {
		l := startListening(t, ported(80), websocketHop(t, "", capitals), map[int]int{80: 0})
		w := dialH2(t, l.Addresses()[80].String())
		for range 3 {
			w.connect("websocket")
			if h := w.answer(); h[":status"][0] != "200" {
				t.Fatal(h)
			}
			w.send("x", false)
			if got, _ := w.rest(1); got != "X" {
				t.Errorf("%q", got)
			}
			w.stream += 2
		}
	})
}

func TestWhatOpensNoStream(t *testing.T) {
	for _, c := range []struct {
		name   string
		next   roundTrip // nil: it must not be asked
		open   func(w *h2Wire)
		status string
		reason string
	}{
		{"any other answer is an answer", status(403), func(w *h2Wire) { w.connect("websocket") }, "403", ""},
		{"a 200 that switches nothing must not look like an opened stream", answers200, func(w *h2Wire) { w.connect("websocket") }, "502", "upgrade-failed"},
		{"a 204 neither", status(204), func(w *h2Wire) { w.connect("websocket") }, "502", "upgrade-failed"},
		{"a wrong Sec-WebSocket-Accept", websocketHop(t, "bm90IHlvdXJzIGF0IGFsbCE=", func(far pipeEnd) { _, _ = io.Copy(io.Discard, far) }), func(w *h2Wire) { w.connect("websocket") }, "502", "protocol-error"},
		{"h2c", nil, func(w *h2Wire) { w.connect("h2c") }, "400", "malformed"},
		{"what is no protocol", nil, func(w *h2Wire) { w.connect("web socket") }, "400", "malformed"},
		{"one that announces content", nil, func(w *h2Wire) { w.connect("websocket", "content-length", "5") }, "400", "malformed"},
		{"a field of the connection", nil, func(w *h2Wire) { w.connect("websocket", "upgrade", "websocket") }, "400", ""},
		{"no path", nil, func(w *h2Wire) {
			w.open(":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "api", ":path", "*")
		}, "400", "malformed"},
		{":protocol of another method", nil, func(w *h2Wire) {
			w.open(":method", "GET", ":protocol", "websocket", ":scheme", "http", ":authority", "api", ":path", "/")
		}, "400", "malformed"},
		{"TRACE", nil, func(w *h2Wire) { w.open(":method", "TRACE", ":scheme", "http", ":authority", "api", ":path", "/") }, "405", "method-refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := c.next
			if next == nil {
				next = func(*http.Request) (*http.Response, error) {
					t.Error("it was sent on")
					return nil, io.ErrUnexpectedEOF
				}
			}
			l := startListening(t, ported(80), next, map[int]int{80: 0})
			w := dialH2(t, l.Addresses()[80].String())
			c.open(w)
			h := w.answer()
			if h[":status"][0] != c.status || !strings.Contains(strings.Join(h["proxy-status"], ""), c.reason) {
				t.Errorf("%v", h)
			}
		})
	}
	t.Run("in a header that no server has read", func(t *testing.T) {
		r := newRig(t, snapshot(route.ViaEndpoint, nil), func(c *Config) { c.Endpoint = roundTrip(answers200).endpoint() })
		if w := r.do("CONNECT", "http://api/", nil); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%d", w.Code)
		}
	})
}
