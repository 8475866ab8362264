package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"penstock.dev/penstock/gateway/route"
)

func TestWhichUpgradesAreAskedFor(t *testing.T) {
	for _, c := range []struct {
		name   string
		header http.Header
		length int64
		want   string
	}{
		{"a WebSocket", http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}}, 0, "websocket"},
		{"a protocol with a version", http.Header{"Connection": {"upgrade"}, "Upgrade": {"IRC/6.9"}}, 0, "IRC/6.9"},
		{"no Connection names it", http.Header{"Upgrade": {"websocket"}}, 0, ""},
		{"h2c is passed over", http.Header{"Connection": {"Upgrade, HTTP2-Settings"}, "Upgrade": {"h2c"}}, 0, ""},
		{"several protocols are passed over", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket, h2c"}}, 0, ""},
		{"in two fields too", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket", "h2c"}}, 0, ""},
		{"with a body too", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, 1, ""},
		{"with a body of unknown length too", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, -1, ""},
		{"what is no protocol", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"web socket"}}, 0, ""},
		{"nothing", http.Header{"Connection": {"Upgrade"}}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := upgradeOf(&http.Request{Header: c.header, ContentLength: c.length}); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// pipeEnd is one end of a stream in memory whose directions end one by one.
type pipeEnd struct {
	*io.PipeReader
	w *io.PipeWriter
}

func (p pipeEnd) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p pipeEnd) CloseWrite() error           { return p.w.Close() }
func (p pipeEnd) Close() error {
	_ = p.PipeReader.Close()
	return p.w.Close()
}

func pipes() (a, b pipeEnd) {
	ar, bw := io.Pipe()
	br, aw := io.Pipe()
	return pipeEnd{ar, aw}, pipeEnd{br, bw}
}

// switches is a next hop that switches to what it is asked for, and then hands its end to serve.
func switches(t *testing.T, serve func(pipeEnd)) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Connection") != "Upgrade" || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-Websocket-Key") != "k" {
			t.Errorf("the next hop was asked with %v", r.Header)
		}
		near, far := pipes()
		go serve(far)
		return &http.Response{StatusCode: 101, Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Accept": {"a"}}, Body: near}, nil
	}
}

// open sends the head of an upgrade to a listener and reads the answer's.
func openUpgrade(t *testing.T, address string) (*net.TCPConn, *bufio.Reader, *http.Response) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	// The first bytes of the new protocol come with the head: none may be lost.
	if _, err := io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\nearly "); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), r, res
}

func TestUpgrades(t *testing.T) {
	t.Run("bytes go both ways, and the ends of both", func(t *testing.T) {
		l := startListening(t, ported(80), switches(t, capitals), map[int]int{80: 0})
		c, r, res := openUpgrade(t, l.Addresses()[80].String())
		if h := res.Header; res.StatusCode != 101 || h.Get("Upgrade") != "websocket" || h.Get("Sec-Websocket-Accept") != "a" || h.Get("X-Port") != "80" || h.Get("X-Request-Id") == "" {
			t.Fatalf("%d %v", res.StatusCode, h)
		}
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("EARLY HELLO"))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != "EARLY HELLO" {
			t.Errorf("%q, %v", got, err)
		}
		if err := c.CloseWrite(); err != nil { // our end reaches the other side, whose end comes back
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
			t.Errorf("then %q, %v", rest, err)
		}
		l.stop()
		<-l.done
		if lines := l.lines(); len(lines) != 1 || lines[0]["status"] != 101.0 || fmt.Sprint(lines[0]["bytesIn"], lines[0]["bytesOut"]) != "11 11" {
			t.Errorf("access log %v", lines)
		}
	})
	t.Run("who has ended its direction still hears the other", func(t *testing.T) {
		l := startListening(t, ported(80), switches(t, func(far pipeEnd) {
			defer far.Close()
			_, _ = io.Copy(io.Discard, far)
			for range 100 {
				runtime.Gosched() // what wrongly ends the other direction has the time to do so
				if _, err := io.WriteString(far, "0123456789"); err != nil {
					return
				}
			}
		}), map[int]int{80: 0})
		c, r, _ := openUpgrade(t, l.Addresses()[80].String())
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || len(got) != 1000 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("a gateway that drains cuts it in the end", func(t *testing.T) {
		l := startListening(t, ported(80), switches(t, capitals), map[int]int{80: 0})
		_, r, res := openUpgrade(t, l.Addresses()[80].String())
		if res.StatusCode != 101 {
			t.Fatal(res.StatusCode)
		}
		l.Listeners.cfg.DrainTime = 1
		l.stop()
		if _, err := io.ReadAll(r); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Error(err)
		}
		if err := <-l.done; err != nil {
			t.Error(err)
		}
	})
	t.Run("any other answer is an answer", func(t *testing.T) {
		l := startListening(t, ported(80), status(403), map[int]int{80: 0})
		_, _, res := openUpgrade(t, l.Addresses()[80].String())
		if res.StatusCode != 403 {
			t.Errorf("%d", res.StatusCode)
		}
	})
	t.Run("a 101 that nobody asked for is refused", func(t *testing.T) {
		next := scripted(t, func(*http.Request) (*http.Response, error) {
			near, far := pipes()
			far.Close()
			return &http.Response{StatusCode: 101, Header: http.Header{}, Body: near}, nil
		})
		r := newRig(t, snapshot(route.ViaEndpoint, nil), func(c *Config) { c.Endpoint = roundTrip(next.RoundTrip).endpoint() })
		if w := r.do("GET", "http://api/", nil); w.Code != 502 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func TestAStreamThatBreaksOffNeverEndsWell(t *testing.T) {
	t.Run("the destination breaks off", func(t *testing.T) {
		l := startListening(t, ported(80), switches(t, func(far pipeEnd) {
			_, _ = io.ReadFull(far, make([]byte, len("early ")))
			_, _ = io.WriteString(far, "half")
			_ = far.w.CloseWithError(io.ErrUnexpectedEOF)
		}), map[int]int{80: 0})
		_, r, _ := openUpgrade(t, l.Addresses()[80].String())
		if got, err := io.ReadAll(r); err == nil {
			t.Errorf("%q, and then a clean end", got)
		}
		if lines := l.lines(); len(lines) != 1 || lines[0]["truncated"] != true {
			t.Errorf("access log %v", lines)
		}
	})
	t.Run("the client breaks off, while the destination has nothing to say", func(t *testing.T) {
		gone := make(chan struct{})
		l := startListening(t, ported(80), switches(t, func(far pipeEnd) {
			defer close(gone)
			_, _ = io.Copy(io.Discard, far)
		}), map[int]int{80: 0})
		c, _, _ := openUpgrade(t, l.Addresses()[80].String())
		if err := c.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		c.Close()
		<-gone // at once, not after an idle time
	})
}
