package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/internal/testkit/origin"
)

// real is a gateway with real sockets on both sides: net/http clients in front, an origin behind a real endpoint.
type real struct {
	*rig
	origin *origin.Origin
	addr   netip.AddrPort
	http1  *http.Client
	http2  *http.Client // prior knowledge
}

func newReal(t *testing.T, change func(*route.Backend, *route.Rule), opts ...origin.Option) *real {
	t.Helper()
	o := origin.Start(t, opts...)
	e, err := endpoint.New(endpoint.Config{Hosts: map[string][]netip.Addr{o.Name(): {o.Addr().Addr()}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	s := snapshot(route.ViaEndpoint, func(b *route.Backend, r *route.Rule) {
		b.Hostname, b.Port, b.Authority, b.AllowedCIDRs = o.Name(), o.Port(), o.Name(), []string{"127.0.0.0/8"}
		if o.CA != nil {
			b.TLS = &route.TLS{ServerName: o.Name(), CAs: []string{o.CA.PEM()}}
		}
		if change != nil {
			change(b, r)
		}
	})
	w := &real{rig: newRig(t, s, func(c *Config) { c.Endpoint = e }), origin: o}
	w.addr = listen(t, w.Gateway)[80]
	w.http1, w.http2 = clients(t)
	return w
}

// listen runs the listeners of a gateway on free ports until the test ends.
func listen(t *testing.T, g *Gateway) map[int]netip.AddrPort {
	t.Helper()
	changed := make(chan struct{}, 9)
	l, err := NewListeners(ListenersConfig{Gateway: g, Ports: map[int]int{80: 0}, DrainTime: time.Second, Log: g.cfg.Log, OnChange: func() { changed <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-changed
	return l.Addresses()
}

// clients of the workload: HTTP/1.1, and HTTP/2 without TLS.
func clients(t *testing.T) (http1, http2 *http.Client) {
	t.Helper()
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	one := &http.Transport{DisableCompression: true, ExpectContinueTimeout: time.Minute}
	two := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
	two.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(one.CloseIdleConnections)
	t.Cleanup(two.CloseIdleConnections)
	return &http.Client{Transport: one, CheckRedirect: noRedirect}, &http.Client{Transport: two, CheckRedirect: noRedirect}
}

func (w *real) request(method, path string, content io.Reader) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.addr.String()+path, content)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// each runs a test over both protocols of the workload and both of the destination.
func each(t *testing.T, f func(t *testing.T, w *real, c *http.Client)) {
	for behind, opts := range map[string][]origin.Option{
		"HTTP/1.1 outside": {origin.HTTP1()}, "HTTP/2 outside": {origin.HTTP2()}, "plain HTTP outside": {origin.Plain(), origin.HTTP1()},
	} {
		for _, front := range []string{"HTTP/1.1", "HTTP/2"} {
			t.Run(front+" from the workload, "+behind, func(t *testing.T) {
				w := newReal(t, nil, opts...)
				c := w.http1
				if front == "HTTP/2" {
					c = w.http2
				}
				f(t, w, c)
			})
		}
	}
}

func get(t *testing.T, c *http.Client, r *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func TestARequestThroughTheGateway(t *testing.T) {
	each(t, func(t *testing.T, w *real, c *http.Client) {
		r := w.request("POST", "/echo?q=%2F", strings.NewReader("hello"))
		r.Header.Set("Proxy-Authorization", "Bearer pod")
		r.Header.Set("Penstock-Path", "x")
		res, content := get(t, c, r)
		if res.StatusCode != 200 || content != "hello" || res.Header.Get("X-Echo-Uri") != "/echo?q=%2F" || res.Header.Get("X-Echo-Host") != w.origin.Name() {
			t.Errorf("%d %q %v", res.StatusCode, content, res.Header)
		}
		if res.Header.Get("X-Request-Id") == "" {
			t.Error("no request id")
		}
		arrivals := w.origin.Arrivals()
		if len(arrivals) != 1 {
			t.Fatalf("%d requests arrived", len(arrivals))
		}
		for name := range arrivals[0].Header {
			if hop.Reserved(name) && name != "Cdn-Loop" || name == "Proxy-Authorization" || name == "Via" || strings.HasPrefix(name, "X-Forwarded") {
				t.Errorf("%s arrives outside", name)
			}
		}
		if arrivals[0].Header.Get("Cdn-Loop") == "" {
			t.Error("no CDN-Loop outside")
		}
	})
}

func TestTheFirstEventComesBeforeTheLast(t *testing.T) {
	each(t, func(t *testing.T, w *real, c *http.Client) {
		res, err := c.Do(w.request("GET", "/sse?n=3", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		for n := range 3 {
			if n == 2 {
				w.origin.Release() // the last event is sent only once the others were read here
			}
			for lines.Scan() && lines.Text() == "" {
			}
			if want := fmt.Sprint("data: ", n); lines.Text() != want {
				t.Fatalf("event %d is %q (%v), want %q", n, lines.Text(), lines.Err(), want)
			}
		}
	})
}

// The head of a response comes before its first byte, and the request's body may still be on its way.
func TestBothDirectionsStream(t *testing.T) {
	each(t, func(t *testing.T, w *real, c *http.Client) {
		pr, pw := io.Pipe()
		res, err := c.Do(w.request("POST", "/echo", pr)) // returns with the head
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		buf := make([]byte, 4)
		for _, word := range []string{"ping", "pong"} {
			if _, err := io.WriteString(pw, word); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != word {
				t.Fatalf("%q, %v; want %q", buf, err, word)
			}
		}
		pw.Close()
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
			t.Errorf("%q, %v", rest, err)
		}
	})
}

func TestTrailersBothWays(t *testing.T) {
	each(t, func(t *testing.T, w *real, c *http.Client) {
		r := w.request("POST", "/echo", struct{ io.Reader }{strings.NewReader("x")})
		r.ContentLength = -1
		r.Trailer = http.Header{"X-Check": {"up"}, "Penstock-Path": {"forged"}, "Cdn-Loop": {"forged"}}
		res, _ := get(t, c, r)
		if res.Trailer.Get("X-Check") != "up" || res.Trailer.Get("Penstock-Path") != "" || res.Trailer.Get("Cdn-Loop") != "" {
			t.Errorf("trailers echoed: %v", res.Trailer)
		}
		res, content := get(t, c, w.request("GET", "/trailers", nil))
		if content != "body" || res.Trailer.Get("X-Sum") != "4" || res.Trailer.Get("X-Late") != "yes" {
			t.Errorf("trailers of the destination: %q, %v", content, res.Trailer)
		}
	})
}

func TestEarlyHints(t *testing.T) {
	each(t, func(t *testing.T, w *real, c *http.Client) {
		var hints []string
		r := w.request("GET", "/early", nil)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, h.Get("Link")))
				return nil
			},
		}))
		res, content := get(t, c, r)
		if len(hints) != 1 || !strings.Contains(hints[0], "103") || !strings.Contains(hints[0], "style.css") {
			t.Errorf("hints %q", hints)
		}
		if res.StatusCode != 200 || content != "ok" || res.Header.Get("Link") != "" {
			t.Errorf("%d %q, Link %q", res.StatusCode, content, res.Header.Get("Link"))
		}
	})
}

// watched tells when it was first read.
type watched struct {
	io.Reader
	read func()
}

func (w watched) Read(p []byte) (int, error) { w.read(); return w.Reader.Read(p) }

// Expect: 100-continue: the body is asked for only when the destination wants it, and not at all when it refuses.
func TestContinue(t *testing.T) {
	for _, outside := range []origin.Option{origin.HTTP1(), origin.HTTP2()} {
		w := newReal(t, nil, outside)
		for path, wanted := range map[string]bool{"/wants": true, "/refuses": false} {
			w.origin.On("/wants", func(rw http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				_, _ = rw.Write(b)
			})
			w.origin.On("/refuses", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusExpectationFailed) })
			read := false
			r := w.request("POST", path, watched{strings.NewReader("content"), func() { read = true }})
			r.ContentLength = 7
			r.Header.Set("Expect", "100-continue")
			res, content := get(t, w.http1, r)
			if wanted && (content != "content" || !read) || !wanted && (res.StatusCode != 417 || read) {
				t.Errorf("%s: status %d, content %q, body asked for: %v", path, res.StatusCode, content, read)
			}
		}
	}
}

func TestAResponseThatBreaksOffNeverEndsWell(t *testing.T) {
	each(t, func(t *testing.T, w *real, c *http.Client) {
		w.origin.On("/chunked", func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(rw, "part")
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		})
		for _, path := range []string{"/reset-body?n=100000", "/reset-body?n=0", "/chunked"} {
			res, err := c.Do(w.request("GET", path, nil))
			if err != nil {
				continue // the head had not been sent on yet: a failure too
			}
			b, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil && res.StatusCode == 200 {
				t.Errorf("%s: %d bytes and a clean end", path, len(b))
			}
		}
		if n := len(w.lines()); n != 3 {
			t.Errorf("%d lines in the access log", n)
		}
	})
}

func TestAClientThatLeavesIsFeltOutside(t *testing.T) {
	each(t, func(t *testing.T, w *real, c *http.Client) {
		for n, path := range []string{"/slow", "/sse?n=2"} {
			ctx, leave := context.WithCancel(t.Context())
			r := w.request("GET", path, nil).WithContext(ctx)
			done := make(chan error)
			go func() {
				res, err := c.Do(r)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				done <- err
			}()
			a := w.origin.Wait(t, r.URL.Path, 1)
			leave()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Fatalf("request %d ended with %v", n, err)
			}
			<-a.Gone
			if !a.Cancelled() {
				t.Errorf("%s ended by itself", path)
			}
		}
		if n := w.origin.Total(); n != 2 {
			t.Errorf("%d requests arrived, want 2", n)
		}
	})
}

// X1 with real sockets: the destination has read the request and is gone. Nobody knows, so nobody repeats.
func TestAPostIsExecutedAtMostOnce(t *testing.T) {
	each(t, func(t *testing.T, w *real, c *http.Client) {
		get(t, c, w.request("GET", "/", nil)) // a pooled connection, on which net/http would repeat by itself
		for n := range 5 {
			r := w.request("POST", "/reset", strings.NewReader("pay"))
			r.Header.Set("Idempotency-Key", "1") // net/http takes it as leave to repeat; the backend honours no keys
			res, _ := get(t, c, r)
			if ps := res.Header.Get("Proxy-Status"); res.StatusCode != 502 || !strings.HasSuffix(ps, "executed=maybe") {
				t.Errorf("status %d, %s", res.StatusCode, ps)
			}
			if got := w.origin.Count("/reset"); got != n+1 {
				t.Fatalf("%d POSTs arrived %d times", n+1, got)
			}
		}
	})
}

func TestAGetIsRepeatedByTheTerminalGatewayOnly(t *testing.T) {
	each(t, func(t *testing.T, w *real, c *http.Client) {
		w.origin.On("/flaky", origin.Status(503), origin.Status(503), origin.Status(200))
		res, _ := get(t, c, w.request("GET", "/flaky", nil))
		if got := w.origin.Count("/flaky"); res.StatusCode != 200 || got != 3 {
			t.Errorf("status %d after %d arrivals", res.StatusCode, got)
		}
		w.origin.On("/redirect-once", func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://elsewhere.example.com/", http.StatusFound)
		})
		res, _ = get(t, c, w.request("GET", "/redirect-once", nil))
		if res.StatusCode != 302 || res.Header.Get("Location") != "https://elsewhere.example.com/" {
			t.Errorf("a redirect became %d %v", res.StatusCode, res.Header)
		}
	})
}

func TestBodylessAnswers(t *testing.T) {
	each(t, func(t *testing.T, w *real, c *http.Client) {
		for path, want := range map[string]int{"/status/204": 204, "/status/304": 304} {
			if res, content := get(t, c, w.request("GET", path, nil)); res.StatusCode != want || content != "" {
				t.Errorf("%s: %d %q", path, res.StatusCode, content)
			}
		}
		if res, content := get(t, c, w.request("HEAD", "/bytes?n=1000&length=1", nil)); res.StatusCode != 200 || content != "" || res.ContentLength != 1000 {
			t.Errorf("HEAD: %d, %q, length %d", res.StatusCode, content, res.ContentLength)
		}
		if res, content := get(t, c, w.request("GET", "/bytes?n=1000&length=1", nil)); len(content) != 1000 || res.ContentLength != 1000 {
			t.Errorf("%d bytes, length %d", len(content), res.ContentLength)
		}
	})
}

// An answer that comes before the request has ended ends the connection: what is left of the body must never be read as
// the next request.
func TestAnEarlyAnswerLeavesNoBodyBehind(t *testing.T) {
	w := newReal(t, nil, origin.HTTP1())
	w.origin.On("/early-answer", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Connection", "close")
		rw.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: api\r\n\r\n"
	fmt.Fprintf(conn, "POST /early-answer HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n\r\n", 10+len(smuggled))
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 413 || !res.Close {
		t.Errorf("status %d, connection to be closed: %v", res.StatusCode, res.Close)
	}
	_, _ = io.WriteString(conn, "0123456789"+smuggled) // the gateway may have closed already
	if rest, err := io.ReadAll(br); err == nil && strings.Contains(string(rest), "HTTP/1.1") {
		t.Errorf("a second answer: %q", rest)
	}
	if n := w.origin.Count("/smuggled"); n != 0 {
		t.Error("the body was taken for a request")
	}
}

// pattern is a body whose bytes tell their place: they repeat every 251 bytes, which no buffer size divides.
type pattern struct{ at, size int64 }

const period = 251

var periods = func() []byte {
	b := make([]byte, period*257)
	for i := range b {
		b[i] = byte(i % period)
	}
	return b
}()

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.size {
		return 0, io.EOF
	}
	n := copy(b[:min(int64(len(b)), p.size-p.at)], periods[p.at%period:])
	p.at += int64(n)
	return n, nil
}

// A body of 256 MiB goes up and comes back in constant memory, unchanged.
func TestALargeBodyIsNotHeld(t *testing.T) {
	const size = 256 << 20
	large := func(t *testing.T, w *real, c *http.Client) {
		runtime.GC()
		var before, during runtime.MemStats
		runtime.ReadMemStats(&before)
		r := w.request("POST", "/echo", &pattern{size: size})
		r.ContentLength = size
		res, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		want, got := sha256.New(), sha256.New()
		if _, err := io.CopyBuffer(want, &pattern{size: size}, make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
		var most uint64
		buf := make([]byte, 64<<10)
		for next, n := int64(0), int64(0); ; {
			k, err := res.Body.Read(buf)
			got.Write(buf[:k])
			if n += int64(k); n >= next {
				runtime.ReadMemStats(&during)
				most = max(most, during.HeapAlloc)
				next += size / 16
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("after %d bytes: %v", n, err)
			}
		}
		if !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
			t.Error("the bytes that came back are not those that were sent")
		}
		if grown := int64(most) - int64(before.HeapAlloc); grown > 48<<20 {
			t.Errorf("the heap grew by %d MiB while %d MiB passed", grown>>20, size>>20)
		}
		if line := w.lines()[0]; line["bytesIn"] != float64(size) || line["bytesOut"] != float64(size) {
			t.Errorf("access log counts %v in, %v out", line["bytesIn"], line["bytesOut"])
		}
	}
	t.Run("over HTTP/1.1", func(t *testing.T) { w := newReal(t, nil, origin.HTTP1()); large(t, w, w.http1) })
	t.Run("over HTTP/2", func(t *testing.T) { w := newReal(t, nil, origin.HTTP2()); large(t, w, w.http2) })
}

// Row 17 and 15 with a real endpoint, as a workload sees them: no address, no name of the destination.
func TestADestinationThatIsNotThere(t *testing.T) {
	gone, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := gone.Addr().(*net.TCPAddr).Port
	gone.Close()
	w := newReal(t, func(b *route.Backend, _ *route.Rule) { b.Port = port })
	res, content := get(t, w.http1, w.request("GET", "/", nil))
	if ps := res.Header.Get("Proxy-Status"); res.StatusCode != 502 || !strings.Contains(ps, "connection_refused") || !strings.HasSuffix(ps, "executed=no") {
		t.Errorf("status %d, %s", res.StatusCode, ps)
	}
	for _, secret := range []string{"127.0.0.1", strconv.Itoa(port), w.origin.Name()} {
		if strings.Contains(content+fmt.Sprint(res.Header), secret) {
			t.Errorf("the workload learns %s: %v %s", secret, res.Header, content)
		}
	}
	if kept := w.refusals.Find(res.Header.Get("X-Request-Id")); len(kept) != 1 || !strings.Contains(kept[0].Detail, strconv.Itoa(port)) {
		t.Errorf("the operator learns %+v", kept)
	}
}
