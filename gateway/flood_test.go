package gateway

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestFloods: what CVEs of HTTP/2 servers are made of, against a listener. Others are served while it lasts, the next hop gets
// no more requests than may be under way, and the flood costs bounded memory (THREATS TH-D2).
func TestFloods(t *testing.T) {
	const streams = 50
	block := func(fields ...string) []byte {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for i := 0; i < len(fields); i += 2 {
			_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return b.Bytes()
	}
	get := block(":method", "GET", ":scheme", "http", ":authority", "api", ":path", "/slow")
	for _, c := range []struct {
		name  string
		flood func(f *http2.Framer, n int) error // one step
		steps int
		ends  bool // the connection is closed on the attacker
	}{
		{"rapid reset (CVE-2023-44487)", func(f *http2.Framer, n int) error {
			id := uint32(2*n + 1)
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: get, EndHeaders: true, EndStream: true}); err != nil {
				return err
			}
			return f.WriteRSTStream(id, http2.ErrCodeCancel)
		}, 500_000, true},
		{"CONTINUATION without end (CVE-2023-45288)", func(f *http2.Framer, n int) error {
			if n == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: get})
			}
			return f.WriteContinuation(1, false, block("x-more", strings.Repeat("x", 1000)))
		}, 20_000, true},
		{"PING, and no answer is read (CVE-2019-9512)", func(f *http2.Framer, n int) error {
			return f.WritePing(false, [8]byte{byte(n)})
		}, 500_000, true},
		{"SETTINGS (CVE-2019-9515)", func(f *http2.Framer, n int) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 15})
		}, 100_000, false},
		{"DATA without data (CVE-2019-9518)", func(f *http2.Framer, n int) error {
			if n == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(":method", "POST", ":scheme", "http", ":authority", "api", ":path", "/slow"), EndHeaders: true})
			}
			return f.WriteData(1, false, nil)
		}, 100_000, false},
		{"a header that is named again and again (HPACK bomb)", func(f *http2.Framer, n int) error {
			// One large field enters the table; each byte 0xbe names it.
			var b bytes.Buffer
			b.Write(get)
			e := hpack.NewEncoder(&b)
			_ = e.WriteField(hpack.HeaderField{Name: "x-bomb", Value: strings.Repeat("b", 3500)})
			b.Write(bytes.Repeat([]byte{0xbe}, 8000))
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*n + 1), BlockFragment: b.Bytes(), EndHeaders: true, EndStream: true})
		}, 500, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var running, most atomic.Int64
			l := startListening(t, ported(80), func(r *http.Request) (*http.Response, error) {
				if r.URL.Path != "/slow" {
					return response(200, "ok"), nil
				}
				now := running.Add(1)
				defer running.Add(-1)
				for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			}, map[int]int{80: 0}, func(e *Edges) { e.ConnectionStreams, e.HeaderBytes = streams, 64<<10 })
			before := memory()
			attacker := dial(t, l.Addresses()[80].String())
			flooded := make(chan error, 1)
			go func() { flooded <- flood(attacker, c.flood, c.steps) }()
			http1, client2 := clients(t)
			probe := func() {
				for _, client := range []*http.Client{http1, client2} {
					if res, err := l.get(t, client, l.Addresses()[80]); err != nil || res.StatusCode != http.StatusOK {
						t.Fatalf("a probe beside the flood: %v", err)
					}
				}
			}
			for over := false; !over; {
				probe()
				select {
				case err := <-flooded:
					over = true
					if c.ends && err == nil {
						t.Error("the attacker could go on to the end")
					}
				default:
				}
			}
			probe()
			if grown := memory() - before; grown > 64<<20 {
				t.Errorf("the flood costs %d MiB", grown>>20)
			}
			if n := most.Load(); n > streams {
				t.Errorf("%d requests at the next hop at one time, want at most %d", n, streams)
			}
			_ = attacker.Close()
		})
	}
}

// flood sends the preface and then step after step, until one fails; nil: all were taken.
func flood(c net.Conn, step func(*http2.Framer, int) error, steps int) error {
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return err
	}
	_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second)) // a server that takes no more ends the flood too
	_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)              // what is not read soon fills it
	f := http2.NewFramer(c, nil)
	if err := f.WriteSettings(); err != nil {
		return err
	}
	for n := range steps {
		if err := step(f, n); err != nil {
			return err
		}
	}
	return nil
}

// memory is what is in use, garbage not counted.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
