package endpoint_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
)

// raw is a server below HTTP: it hands each connection, numbered from 1, to a function and closes it after that.
func raw(t *testing.T, protocol string, serve func(n int, c net.Conn)) (*endpoint.Endpoint, *route.Backend) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	running.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			running.Go(func() {
				serve(n, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	e := start(t, endpoint.Config{Hosts: map[string][]netip.Addr{"raw.example.com": {addr.Addr()}}})
	return e, &route.Backend{
		Key: "team/raw", Hostname: "raw.example.com", Port: int(addr.Port()), Authority: "raw.example.com",
		Protocol: protocol, AllowedCIDRs: loopback,
	}
}

// heads counts the HTTP/1.1 requests of a connection; answer says what to send for each, false to hang up.
func heads(c net.Conn, answer func(n int, r *http.Request) bool) {
	br := bufio.NewReader(c)
	for n := 1; ; n++ {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if !answer(n, r) {
			return
		}
	}
}

// methods are the cases in which net/http's Transport would repeat by itself, and one in which it would not.
var methods = []struct {
	name, method, key, body string
}{
	{"GET", "GET", "", ""},
	{"DELETE", "DELETE", "", ""},
	{"POST with an idempotency key", "POST", "k1", ""},
	{"PUT with a body", "PUT", "", "data"},
	{"POST with a body", "POST", "", "data"},
}

func TestAStaleConnectionIsNotRepeatedByItself(t *testing.T) { // row 19
	for _, tc := range methods {
		t.Run(tc.name, func(t *testing.T) {
			var mu sync.Mutex
			arrived := 0
			// The first request of a connection is answered; the second arrives, and the connection closes.
			e, b := raw(t, "HTTP11", func(_ int, c net.Conn) {
				heads(c, func(n int, r *http.Request) bool {
					mu.Lock()
					arrived++
					mu.Unlock()
					_, _ = io.Copy(io.Discard, r.Body)
					if n == 1 {
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
					}
					return n == 1
				})
			})
			do(t, e, b, request(t, http.MethodGet, "/first", nil))
			req := request(t, tc.method, "/second", strings.NewReader(tc.body))
			if tc.key != "" {
				req.Header.Set("Idempotency-Key", tc.key)
			}
			got := fails(t, e, b, req)
			want(t, got, endpoint.ConnectionTerminated, true, false, true, 19)
			if got.Class != retry.ResetBeforeHeaders {
				t.Errorf("class %s", got.Class)
			}
			mu.Lock()
			defer mu.Unlock()
			if arrived != 2 || e.Sent() != 2 {
				t.Errorf("%d arrived, %d sent; want 2, 2", arrived, e.Sent())
			}
		})
	}
}

// h2server speaks frames. For each request it calls answer with the number of the connection and of the request on it.
func h2server(t *testing.T, answer func(conn, n int, stream uint32, f *http2.Framer) bool) (*endpoint.Endpoint, *route.Backend, func() int) {
	var mu sync.Mutex
	arrived := 0
	e, b := raw(t, "H2C", func(conn int, c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		n := 0
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					_ = f.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				n++
				mu.Lock()
				arrived++
				mu.Unlock()
				if !answer(conn, n, frame.StreamID, f) {
					return
				}
			}
		}
	})
	return e, b, func() int {
		mu.Lock()
		defer mu.Unlock()
		return arrived
	}
}

// ok is a whole response: status 200 from the static table, no body.
func ok(f *http2.Framer, stream uint32) {
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte{0x88}, EndStream: true, EndHeaders: true})
}

func TestHTTP2SignalsAreProofsOrNotAndNeverRepeats(t *testing.T) {
	for _, tc := range []struct {
		name   string
		signal func(f *http2.Framer, stream uint32) bool
		cause  endpoint.Cause
		class  retry.Class
		proven bool
		row    int
	}{
		{"row 20: REFUSED_STREAM proves that nothing was processed", func(f *http2.Framer, s uint32) bool {
			return f.WriteRSTStream(s, http2.ErrCodeRefusedStream) == nil
		}, endpoint.ConnectionTerminated, retry.RefusedStream, true, 20},
		{"row 20: so does a GOAWAY below the stream", func(f *http2.Framer, s uint32) bool {
			return f.WriteGoAway(s-2, http2.ErrCodeNo, nil) == nil
		}, endpoint.ConnectionTerminated, retry.RefusedStream, true, 20},
		{"row 20: and one with an error code", func(f *http2.Framer, s uint32) bool {
			return f.WriteGoAway(s-2, http2.ErrCodeEnhanceYourCalm, nil) == nil
		}, endpoint.ConnectionTerminated, retry.RefusedStream, true, 20},
		{"row 21: PROTOCOL_ERROR proves nothing", func(f *http2.Framer, s uint32) bool {
			return f.WriteRSTStream(s, http2.ErrCodeProtocol) == nil
		}, endpoint.ProtocolError, retry.ResetBeforeHeaders, false, 21},
		{"row 21: nor does INTERNAL_ERROR", func(f *http2.Framer, s uint32) bool {
			return f.WriteRSTStream(s, http2.ErrCodeInternal) == nil
		}, endpoint.ProtocolError, retry.ResetBeforeHeaders, false, 21},
		{"row 21: nor CANCEL", func(f *http2.Framer, s uint32) bool {
			return f.WriteRSTStream(s, http2.ErrCodeCancel) == nil
		}, endpoint.ProtocolError, retry.ResetBeforeHeaders, false, 21},
		{"row 19: a GOAWAY that names the stream, then the end, proves nothing", func(f *http2.Framer, s uint32) bool {
			_ = f.WriteGoAway(s, http2.ErrCodeNo, nil)
			return false
		}, endpoint.ConnectionTerminated, retry.ResetBeforeHeaders, false, 19},
		{"row 19: the end of the connection proves nothing", func(*http2.Framer, uint32) bool {
			return false
		}, endpoint.ConnectionTerminated, retry.ResetBeforeHeaders, false, 19},
	} {
		for _, m := range methods {
			t.Run(tc.name+", "+m.name, func(t *testing.T) {
				e, b, arrived := h2server(t, func(_, n int, stream uint32, f *http2.Framer) bool {
					if n == 1 {
						ok(f, stream)
						return true
					}
					return tc.signal(f, stream)
				})
				do(t, e, b, request(t, http.MethodGet, "/first", nil))
				req := request(t, m.method, "/second", strings.NewReader(m.body))
				if m.key != "" {
					req.Header.Set("Idempotency-Key", m.key)
				}
				got := fails(t, e, b, req)
				row := tc.row
				if row == 21 && got.Reused {
					row = 19 // the table does not tell a reset stream of a reused connection from its end
				}
				want(t, got, tc.cause, true, tc.proven, true, row)
				if got.Class != tc.class {
					t.Errorf("class %s, want %s", got.Class, tc.class)
				}
				if arrived() != 2 || e.Sent() != 2 {
					t.Errorf("%d arrived, %d sent; want 2, 2", arrived(), e.Sent())
				}
			})
		}
	}
}

func TestTheFirstStreamRefusedByGoAwayIsProven(t *testing.T) { // row 20, where net/http gives another error
	e, b, arrived := h2server(t, func(_, _ int, _ uint32, f *http2.Framer) bool {
		return f.WriteGoAway(0, http2.ErrCodeInadequateSecurity, nil) == nil
	})
	got := fails(t, e, b, request(t, http.MethodPost, "/", strings.NewReader("data")))
	want(t, got, endpoint.ConnectionTerminated, true, true, false, 20)
	if arrived() != 1 {
		t.Errorf("%d arrived, want 1", arrived())
	}
}

func TestEachStreamIsJudgedByItsOwnNumber(t *testing.T) {
	// Two requests wait on one connection; GOAWAY names the first. Only the second is proven unprocessed.
	e, b, _ := h2server(t, func(_, n int, stream uint32, f *http2.Framer) bool {
		switch n {
		case 1:
			ok(f, stream)
		case 3:
			_ = f.WriteGoAway(stream-2, http2.ErrCodeNo, nil)
			return false
		}
		return true
	})
	do(t, e, b, request(t, http.MethodGet, "/warm", nil)) // so that both share its connection
	results := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := e.RoundTrip(request(t, http.MethodGet, "/", nil), b)
			results <- err
		}()
	}
	proven := 0
	for range 2 {
		if err, ok := (<-results).(*endpoint.Error); !ok {
			t.Fatal("no *Error")
		} else if err.Proven {
			proven++
		}
	}
	if proven != 1 {
		t.Errorf("%d of 2 are proven, want 1", proven)
	}
}

func TestAConnectionThatIsLeavingIsNotUsedAgain(t *testing.T) {
	conns := map[int]int{}
	var mu sync.Mutex
	e, b, _ := h2server(t, func(conn, n int, stream uint32, f *http2.Framer) bool {
		mu.Lock()
		conns[conn]++
		mu.Unlock()
		_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
		ok(f, stream)
		return true
	})
	for range 3 {
		do(t, e, b, request(t, http.MethodGet, "/", nil))
	}
	mu.Lock()
	defer mu.Unlock()
	if len(conns) != 3 {
		t.Errorf("requests per connection: %v, want one on each of 3", conns)
	}
}

func TestADoubtfulAnswerIsRefused(t *testing.T) { // TH-T1: answers are distrusted like requests
	const head, body = "HTTP/1.1 200 OK\r\n", "\r\nok"
	for _, tc := range []struct {
		name    string
		answer  string
		refused bool
		conns   int // of two requests
	}{
		{"a plain one is not", head + "Content-Length: 2\r\n" + body, false, 1},
		{"nor one after an informational one", "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + head + "Content-Length: 2\r\n" + body, false, 1},
		{"nor chunks in capitals", head + "Transfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false, 1},
		{"bytes after the body are not part of it", head + "Content-Length: 2\r\n" + body + head, false, 2},
		{"Content-Length beside Transfer-Encoding", head + "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true, 2},
		{"two lengths", head + "Content-Length: 2\r\nContent-Length: 2\r\n" + body, true, 2},
		{"a list of lengths", head + "Content-Length: 2, 2\r\n" + body, true, 2},
		{"a length with a sign", head + "Content-Length: +2\r\n" + body, true, 2},
		{"two encodings", head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true, 2},
		{"an encoding that is not chunked", head + "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true, 2},
		{"lines that end in LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", true, 2},
		{"one line that ends in LF", "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok", true, 2},
		{"a folded line", head + "X-A: 1\r\n 2\r\nContent-Length: 2\r\n" + body, true, 2},
		{"a space before the colon", head + "X-A : 1\r\nContent-Length: 2\r\n" + body, true, 2},
		{"a null byte", head + "X-A: 1\x00\r\nContent-Length: 2\r\n" + body, true, 2},
		{"a version that is none", "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n" + body, true, 2},
		{"a status that is none", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n" + body, true, 2},
		{"chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true, 2},
		{"an informational answer with a length", "HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\n" + head + "Content-Length: 2\r\n" + body, true, 2},
		{"an answer without content that has chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", true, 2},
		{"an answer without content that has a length", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", true, 2},
		{"a chunk with an extension", head + "Transfer-Encoding: chunked\r\n\r\n2;x=1\r\nok\r\n0\r\n\r\n", true, 2},
		{"a space behind a size", head + "Transfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n", true, 2},
		{"a line feed behind a size", head + "Transfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n", true, 2},
		{"a trailer that frames", head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 9\r\n\r\n", true, 2},
		{"its twin", head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ncontent_length: 9\r\n\r\n", true, 2},
		{"a folded trailer", head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: 1\r\n 2\r\n\r\n", true, 2},
		{"nor one with a trailer that does not", head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", false, 1},
		{"an answer behind the chunks", head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + head, true, 2},
		{"a bare carriage return", head + "X-A: 1\r2\r\nContent-Length: 2\r\n" + body, true, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var mu sync.Mutex
			conns := 0
			e, b := raw(t, "HTTP11", func(n int, c net.Conn) {
				mu.Lock()
				conns = n
				mu.Unlock()
				heads(c, func(int, *http.Request) bool {
					_, _ = io.WriteString(c, tc.answer)
					return true
				})
			})
			for range 2 {
				if !tc.refused {
					if _, body := do(t, e, b, request(t, http.MethodGet, "/", nil)); body != "ok" {
						t.Errorf("body %q", body)
					}
					continue
				}
				res, err := e.RoundTrip(request(t, http.MethodGet, "/", nil), b)
				var got *endpoint.Error
				if !errors.As(err, &got) || got.Cause != endpoint.ProtocolError || !got.Sent || got.Class != retry.NoRepeat {
					t.Errorf("response %v, error %v; want %s, sent, not to be repeated", res, err, endpoint.ProtocolError)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if conns != tc.conns {
				t.Errorf("%d connections for 2 requests, want %d", conns, tc.conns)
			}
		})
	}
}

// Doubt that comes late, when the answer has begun, breaks it off.
func TestADoubtfulChunkBreaksTheAnswerOff(t *testing.T) {
	first := strings.Repeat("a", 256<<10)
	for _, rest := range []string{"2;x=1\r\nok\r\n0\r\n\r\n", "+2\r\nok\r\n0\r\n\r\n", "0\r\nHost: a\r\n\r\n"} {
		e, b := raw(t, "HTTP11", func(_ int, c net.Conn) {
			heads(c, func(int, *http.Request) bool {
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%s", len(first), first, rest)
				return true
			})
		})
		res, err := e.RoundTrip(request(t, http.MethodGet, "/", nil), b)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, res.Body); err == nil {
			t.Errorf("%q: %d bytes came as a whole answer", rest, n)
		}
		_ = res.Body.Close()
	}
}

func TestAnswersThatAreNotHTTPOrTooMuch(t *testing.T) {
	large := strings.Repeat("a", 300<<10)
	for _, tc := range []struct {
		name   string
		answer string
		cause  endpoint.Cause
		row    int
	}{
		{"row 28: a head of 300 KiB", "HTTP/1.1 200 OK\r\nX-Large: " + large + "\r\n\r\n", endpoint.ResponseHeaderSize, 28},
		{"row 28: informational ones without end", strings.Repeat("HTTP/1.1 103 Early Hints\r\nX-A: "+large[:1000]+"\r\n\r\n", 400), endpoint.ResponseHeaderSize, 28},
		{"row 28: not HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", endpoint.ProtocolError, 28},
		{"row 28: two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", endpoint.ProtocolError, 28},
		{"row 28: another protocol that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", endpoint.ProtocolError, 28},
		{"row 21: a status line and the end", "HTTP/1.1 200 OK\r\n", endpoint.ConnectionTerminated, 21},
		{"row 21: nothing", "", endpoint.ConnectionTerminated, 21},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, b := raw(t, "HTTP11", func(_ int, c net.Conn) {
				heads(c, func(int, *http.Request) bool {
					_, _ = io.WriteString(c, tc.answer)
					return false
				})
			})
			got := fails(t, e, b, request(t, http.MethodGet, "/", nil))
			want(t, got, tc.cause, true, false, false, tc.row)
		})
	}
}

func TestAnHTTP2HeadThatIsTooLargeIsRefused(t *testing.T) { // row 28
	e, b, _ := h2server(t, func(_, _ int, stream uint32, f *http2.Framer) bool {
		// One literal field of 4,000 bytes that enters the dynamic table, then 100 references to it: an HPACK bomb.
		block := []byte{0x88, 0x40, 0x03, 'x', '-', 'a', 0x7f, 0xa1, 0x1e}
		block = append(block, strings.Repeat("a", 4000)...)
		for range 100 {
			block = append(block, 0x80|62)
		}
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndStream: true, EndHeaders: true}) == nil
	})
	got := fails(t, e, b, request(t, http.MethodGet, "/", nil))
	want(t, got, endpoint.ProtocolError, true, false, false, 28)
	if got.Class != retry.NoRepeat {
		t.Errorf("class %s", got.Class)
	}
}

func TestAnAttemptThatSentNothingLeavesTheBodyAlone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	_ = l.Close() // a port that refuses
	for _, protocol := range []string{"HTTP11", "H2C"} {
		e := start(t, endpoint.Config{Hosts: map[string][]netip.Addr{"dead.example.com": {addr.Addr()}}})
		b := &route.Backend{Key: "team/dead", Hostname: "dead.example.com", Port: int(addr.Port()), Protocol: protocol, AllowedCIDRs: loopback}
		body := &watched{Reader: strings.NewReader("data")}
		req := request(t, http.MethodPost, "/", body)
		req.ContentLength = 4
		got := fails(t, e, b, req)
		want(t, got, endpoint.ConnectionRefused, false, false, false, 17)
		if got.Class != retry.ConnectFailure || !got.Unprocessed() {
			t.Errorf("%s: class %s, unprocessed %t", protocol, got.Class, got.Unprocessed())
		}
		if body.touched() {
			t.Errorf("%s: the body was read or closed", protocol)
		}
		if e.Sent() != 0 {
			t.Errorf("%s: %d sent", protocol, e.Sent())
		}
	}
}

func TestTheDecisionTableFitsWhatIsReported(t *testing.T) {
	// The errors of this package, put through retry.Endpoint, give the verdicts of the table.
	for _, tc := range []struct {
		name   string
		err    *endpoint.Error
		method string
		again  bool
	}{
		{"row 17: refused, POST", &endpoint.Error{Cause: endpoint.ConnectionRefused, Class: retry.ConnectFailure}, "POST", true},
		{"row 18: bad certificate, GET", &endpoint.Error{Cause: endpoint.TLSCertificateError, Class: retry.NoRepeat}, "GET", false},
		{"row 19: stale, GET", &endpoint.Error{Cause: endpoint.ConnectionTerminated, Class: retry.ResetBeforeHeaders, Sent: true, Reused: true}, "GET", true},
		{"row 19: stale, POST", &endpoint.Error{Cause: endpoint.ConnectionTerminated, Class: retry.ResetBeforeHeaders, Sent: true, Reused: true}, "POST", false},
		{"row 19: stale with nothing written, POST", &endpoint.Error{Cause: endpoint.ConnectionTerminated, Class: retry.ResetBeforeHeaders, Reused: true}, "POST", true},
		{"row 20: refused stream, POST", &endpoint.Error{Cause: endpoint.ConnectionTerminated, Class: retry.RefusedStream, Sent: true, Proven: true}, "POST", true},
		{"row 21: reset, POST", &endpoint.Error{Cause: endpoint.ProtocolError, Class: retry.ResetBeforeHeaders, Sent: true}, "POST", false},
	} {
		v := retry.Endpoint(retry.EndpointFailure{
			Class: tc.err.Class, Row: tc.err.Row(), Unprocessed: tc.err.Unprocessed(), Reused: tc.err.Reused,
			Method: tc.method, AttemptsLeft: 2, Left: 1e9, Attempt: 1,
		}, retry.Policy{}, 0)
		if v.Again != tc.again || !strings.HasPrefix(tc.name, fmt.Sprintf("row %d:", v.Row)) {
			t.Errorf("%s: again %t, row %d", tc.name, v.Again, v.Row)
		}
	}
}
