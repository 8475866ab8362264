package endpoint_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/h1"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/internal/testkit/origin"
	_ "penstock.dev/penstock/internal/xconnect" // the origins take extended CONNECT
)

const key = "dGhlIHNhbXBsZSBub25jZQ=="

// socket asks for a WebSocket.
func socket(t *testing.T, path string) *http.Request {
	t.Helper()
	req := request(t, http.MethodGet, path, nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	req.Header.Set("Sec-WebSocket-Key", key)
	req.Header.Set("Sec-WebSocket-Protocol", "chat")
	return req
}

// opened asks for a WebSocket, which must be granted.
func opened(t *testing.T, e *endpoint.Endpoint, b *route.Backend, path string) (*http.Response, io.ReadWriteCloser) {
	t.Helper()
	res, err := e.RoundTrip(socket(t, path), b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	stream, ok := res.Body.(io.ReadWriteCloser)
	if !ok || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	return res, stream
}

// endHere ends our direction.
func endHere(t *testing.T, stream io.Writer) {
	t.Helper()
	if err := stream.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
}

// extended runs a test against origins that are reached by extended CONNECT.
func extended(t *testing.T, f func(t *testing.T, o *origin.Origin, b *route.Backend)) {
	for name, opts := range map[string][]origin.Option{"HTTP2": {origin.HTTP2()}, "GRPC": {origin.HTTP2()}, "H2C": {origin.Plain(), origin.HTTP2()}} {
		t.Run(name, func(t *testing.T) {
			o := origin.Start(t, opts...)
			b := backend(o)
			b.Protocol = name
			f(t, o, b)
		})
	}
}

func TestAnUpgradeIsAnExtendedConnectOnHTTP2(t *testing.T) {
	extended(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		o.On("/ws", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Sec-WebSocket-Protocol", "chat")
			origin.Echo()(w, r)
		})
		res, stream := opened(t, e, b, "/ws?room=1")
		if got := res.Header; got.Get("Sec-Websocket-Accept") != h1.WebSocketAccept(key) || got.Get("Sec-Websocket-Protocol") != "chat" || got.Get("Content-Length") != "" {
			t.Errorf("the answer says %v", got)
		}
		at := o.Wait(t, "/ws", 1)
		if at.Method != http.MethodConnect || at.Header[":protocol"][0] != "websocket" || at.RawQuery != "room=1" || at.Host != o.Name() || at.Header.Get("Sec-Websocket-Protocol") != "chat" {
			t.Errorf("the origin saw %+v", at)
		}
		for _, name := range []string{"Sec-Websocket-Key", "Connection", "Upgrade"} {
			if _, there := at.Header[name]; there {
				t.Errorf("%s arrived", name)
			}
		}
		for _, word := range []string{"one", strings.Repeat("large", 60_000)} {
			go func() { _, _ = io.WriteString(stream, word) }()
			got := make([]byte, len(word))
			if _, err := io.ReadFull(stream, got); err != nil || string(got) != word {
				t.Fatalf("%d bytes came back as others, %v", len(word), err)
			}
		}
		endHere(t, stream)
		if rest, err := io.ReadAll(stream); err != nil || len(rest) != 0 {
			t.Errorf("then %q, %v", rest, err)
		}
		if got := e.Sent(); got != 1 {
			t.Errorf("%d requests were sent", got)
		}
	})
}

func TestTheLastWordIsNotOvertakenByTheEnd(t *testing.T) {
	extended(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		heard := make(chan string, 1)
		o.On("/ws", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			all, err := io.ReadAll(r.Body)
			if err != nil {
				all = []byte(err.Error())
			}
			heard <- string(all)
		})
		_, stream := opened(t, e, b, "/ws")
		if _, err := io.WriteString(stream, "good bye"); err != nil {
			t.Fatal(err)
		}
		endHere(t, stream)
		stream.Close()
		if got := <-heard; got != "good bye" {
			t.Errorf("the origin heard %q", got)
		}
	})
}

func TestAStreamThatIsCutIsNoEnd(t *testing.T) {
	extended(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		o.On("/theirs", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		_, stream := opened(t, e, b, "/theirs")
		if got, err := io.ReadAll(stream); err == nil {
			t.Errorf("%q, and then a clean end", got)
		}
		ended := make(chan error, 1)
		o.On("/ours", func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, err := io.Copy(io.Discard, r.Body)
			ended <- err
		})
		_, stream = opened(t, e, b, "/ours")
		stream.Close()
		if err := <-ended; err == nil {
			t.Error("the origin saw a clean end")
		}
	})
}

func TestAnotherAnswerThanASwitchIsAnAnswer(t *testing.T) {
	extended(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		o.On("/ws", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Forbidden", http.StatusForbidden) })
		res, body := do(t, e, b, socket(t, "/ws"))
		if res.StatusCode != http.StatusForbidden || body != "Forbidden\n" {
			t.Errorf("%d %q", res.StatusCode, body)
		}
	})
}

// TestNothingIsSentToWhoDoesNotAllowIt: an HTTP/2 server whose SETTINGS are empty.
func TestNothingIsSentToWhoDoesNotAllowIt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var heads atomic.Int64
	served := make(chan struct{})
	go func() {
		defer close(served)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if frame.Header().Type == http2.FrameHeaders {
				heads.Add(1)
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-served })
	o := origin.Start(t, origin.Plain()) // for its name
	e := start(t, endpoint.Config{}, o)
	b := backend(o)
	b.Protocol, b.Port = "H2C", l.Addr().(*net.TCPAddr).Port
	got := fails(t, e, b, socket(t, "/ws"))
	want(t, got, endpoint.UpgradeFailed, false, false, false, 0)
	if got.Class != retry.NoRepeat || !got.Unprocessed() {
		t.Errorf("class %s, unprocessed %t", got.Class, got.Unprocessed())
	}
	<-served
	if heads.Load() != 0 || e.Sent() != 0 {
		t.Errorf("%d heads arrived, %d sent", heads.Load(), e.Sent())
	}
}

func TestAWrongAcceptIsRefused(t *testing.T) {
	o := origin.Start(t, origin.Plain(), origin.HTTP1())
	e := start(t, endpoint.Config{}, o)
	b := backend(o)
	for accept, good := range map[string]bool{h1.WebSocketAccept(key): true, h1.WebSocketAccept("another"): false, "": false} {
		o.On("/ws", func(w http.ResponseWriter, _ *http.Request) {
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+accept+"\r\n\r\n")
			_ = rw.Flush()
		})
		res, err := e.RoundTrip(socket(t, "/ws"), b)
		if err == nil {
			res.Body.Close()
		}
		var failed *endpoint.Error
		if good != (err == nil) || !good && (!errors.As(err, &failed) || failed.Cause != endpoint.ProtocolError || failed.Class != retry.NoRepeat) {
			t.Errorf("accept %q: %v", accept, err)
		}
	}
}
