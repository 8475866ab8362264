package endpoint_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/internal/testkit/origin"
)

func TestARequestArrivesOnceUnderTheBackendsName(t *testing.T) {
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		b.Authority = "outside.example.com"
		e := start(t, endpoint.Config{}, o)
		req := request(t, http.MethodGet, "/a%2Fb?x=1;y", nil)
		req.Host = "workload.example"
		res, body := do(t, e, b, req)
		if res.StatusCode != 200 || body != "ok" {
			t.Errorf("%d %q", res.StatusCode, body)
		}
		a := o.Arrivals()[0]
		if a.Host != "outside.example.com" || a.RawQuery != "x=1;y" || a.Path != "/a/b" {
			t.Errorf("arrived as host %q, path %q, query %q", a.Host, a.Path, a.RawQuery)
		}
		for _, name := range []string{"User-Agent", "Accept-Encoding", "Content-Length", "Transfer-Encoding"} {
			if v, ok := a.Header[name]; ok {
				t.Errorf("%s was added: %q", name, v)
			}
		}
		if o.Total() != 1 || e.Sent() != 1 {
			t.Errorf("%d arrivals, %d sent; want 1, 1", o.Total(), e.Sent())
		}
	})
}

func TestBodylessRequestsStayBodyless(t *testing.T) {
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS", "PUT", "POST", "PATCH"} {
			for _, tc := range []struct {
				name   string
				body   io.Reader
				length int64
			}{
				{"no body", nil, 0},
				{"http.NoBody", http.NoBody, 0},
				{"an empty body of length 0", strings.NewReader(""), 0},
				{"an empty body of unknown length", io.MultiReader(), -1},
			} {
				if tc.length < 0 && (method == "PUT" || method == "POST" || method == "PATCH") {
					continue // these announce a body, empty or not
				}
				req := request(t, method, "/"+method, tc.body)
				req.ContentLength = tc.length
				do(t, e, b, req)
				all := o.Arrivals()
				a := all[len(all)-1]
				if a.ContentLength > 0 || len(a.TransferEncoding) > 0 {
					t.Errorf("%s with %s: length %d, transfer-encoding %v", method, tc.name, a.ContentLength, a.TransferEncoding)
				}
				if a.ContentLength < 0 {
					t.Errorf("%s with %s announces a body of unknown length", method, tc.name)
				}
			}
		}
		if int(e.Sent()) != o.Total() {
			t.Errorf("%d sent, %d arrived", e.Sent(), o.Total())
		}
	})
}

func TestBodiesGoBothWays(t *testing.T) {
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		for _, tc := range []struct {
			name   string
			method string
			length int64
		}{
			{"with a length", "POST", 5}, {"of unknown length", "POST", -1}, {"of a GET, of unknown length", "GET", -1},
		} {
			w := &watched{Reader: strings.NewReader("hello")}
			req := request(t, tc.method, "/echo", w)
			req.ContentLength = tc.length
			if _, body := do(t, e, b, req); body != "hello" {
				t.Errorf("a body %s came back as %q", tc.name, body)
			}
			if !w.closed {
				t.Errorf("a body %s was not closed", tc.name)
			}
		}
	})
}

func TestConnectionFieldsStayBehind(t *testing.T) {
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		req := request(t, http.MethodGet, "/", nil)
		for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "Te", "Http2-Settings"} {
			req.Header.Set(name, "h2c")
		}
		req.Header.Set("Transfer-Encoding", "chunked")
		before := req.Header.Clone()
		do(t, e, b, req)
		for name := range o.Arrivals()[0].Header {
			if name != "X-Request-Id" {
				t.Errorf("%s arrived", name)
			}
		}
		if len(before) != len(req.Header) {
			t.Error("the inbound request was changed")
		}
	})
}

func TestTrailersGoBothWays(t *testing.T) {
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		res, body := do(t, e, b, request(t, http.MethodGet, "/trailers", nil))
		if body != "body" || res.Trailer.Get("X-Sum") != "4" || res.Trailer.Get("X-Late") != "yes" {
			t.Errorf("response: %q, trailers %v", body, res.Trailer)
		}

		for _, length := range []int64{-1, 4} {
			req := request(t, http.MethodPost, "/echo", nil)
			req.Trailer = http.Header{"X-End": nil}
			req.Body = io.NopCloser(io.MultiReader(strings.NewReader("data"), endReader(func() { req.Trailer.Set("X-End", "bye") })))
			req.ContentLength = length
			if res, _ := do(t, e, b, req); res.Trailer.Get("X-End") != "bye" {
				t.Errorf("request trailers with length %d came back as %v", length, res.Trailer)
			}
		}
	})
}

// endReader ends at once and says so.
type endReader func()

func (f endReader) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

func TestInformationalResponsesAreHandedOn(t *testing.T) {
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		var codes []int
		var link string
		req := request(t, http.MethodGet, "/early", nil)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				codes, link = append(codes, code), h.Get("Link")
				return nil
			},
		}))
		res, _ := do(t, e, b, req)
		if res.StatusCode != 200 || !slices.Equal(codes, []int{103}) || link == "" {
			t.Errorf("status %d, informational %v, link %q", res.StatusCode, codes, link)
		}
	})
}

func TestABodyThatExpectsContinueIsReadOnlyAfterIt(t *testing.T) {
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)

		// The origin reads the body, so it sends 100.
		o.On("/read", func(w http.ResponseWriter, r *http.Request) {
			data, _ := io.ReadAll(r.Body)
			_, _ = w.Write(data)
		})
		req := request(t, http.MethodPost, "/read", strings.NewReader("data"))
		req.Header.Set("Expect", "100-continue")
		if _, body := do(t, e, b, req); body != "data" {
			t.Errorf("came back as %q", body)
		}

		// It answers without reading, so there is no 100. It closes, or the stream ends: no body is owed.
		o.On("/refuse", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusExpectationFailed)
		})
		w := &watched{Reader: strings.NewReader("data")}
		req = request(t, http.MethodPost, "/refuse", w)
		req.ContentLength = 4
		req.Header.Set("Expect", "100-continue")
		if res, _ := do(t, e, b, req); res.StatusCode != http.StatusExpectationFailed {
			t.Errorf("status %d, want 417", res.StatusCode)
		}
		if w.read {
			t.Error("the body was read without 100")
		}
	})
}

func TestTheFirstEventComesBeforeTheLast(t *testing.T) {
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		res, err := e.RoundTrip(request(t, http.MethodGet, "/sse?n=2", nil), b)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		br := bufio.NewReader(res.Body)
		if line, err := br.ReadString('\n'); line != "data: 0\n" {
			t.Fatalf("first line %q, %v", line, err)
		}
		o.Release() // only now may the second event come
		if rest, err := io.ReadAll(br); !strings.Contains(string(rest), "data: 1") || err != nil {
			t.Errorf("rest %q, %v", rest, err)
		}
	})
}

func TestRedirectsPassThrough(t *testing.T) {
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		res, _ := do(t, e, b, request(t, http.MethodGet, "/redirect?to=/elsewhere", nil))
		if res.StatusCode != http.StatusFound || o.Total() != 1 {
			t.Errorf("status %d after %d requests, want 302 after 1", res.StatusCode, o.Total())
		}
	})
}

func TestCancelEndsTheRequestAtTheUpstream(t *testing.T) { // F-31
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		t.Run("before response headers", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() {
				_, err := e.RoundTrip(request(t, http.MethodGet, "/slow", nil).WithContext(ctx), b)
				failed <- err
			}()
			a := o.Wait(t, "/slow", 1)
			cancel()
			err := <-failed
			var got *endpoint.Error
			if !errors.Is(err, context.Canceled) || !errors.As(err, &got) || got.Class != retry.NoRepeat || !got.Sent {
				t.Errorf("error %v", err)
			}
			<-a.Gone
			if !a.Cancelled() {
				t.Error("the upstream did not see the cancel")
			}
		})
		t.Run("in mid body", func(t *testing.T) {
			res, err := e.RoundTrip(request(t, http.MethodGet, "/sse?n=2", nil), b)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			a := o.Wait(t, "/sse", 1)
			<-a.Gone
			if !a.Cancelled() {
				t.Error("the upstream did not see the cancel")
			}
		})
		t.Run("while the workload's body stalls", func(t *testing.T) {
			pr, pw := io.Pipe()
			defer func() { _ = pw.Close() }()
			ctx, cancel := context.WithCancel(t.Context())
			req := request(t, http.MethodPost, "/upload", pr).WithContext(ctx)
			failed := make(chan error, 1)
			go func() {
				_, err := e.RoundTrip(req, b)
				failed <- err
			}()
			o.Wait(t, "/upload", 1)
			cancel()
			if err := <-failed; !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
	})
}

func TestAResetWhileTheWorkloadsBodyStallsIsSeenAtOnce(t *testing.T) {
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		o.On("/cut", func(w http.ResponseWriter, r *http.Request) {
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = c.Close()
				return
			}
			panic(http.ErrAbortHandler)
		})
		pr, pw := io.Pipe()
		defer func() { _ = pw.Close() }()
		got := fails(t, e, b, request(t, http.MethodPost, "/cut", pr))
		if !got.Sent || got.Unprocessed() {
			t.Errorf("sent %t, unprocessed %t", got.Sent, got.Unprocessed())
		}
	})
}

func TestADeadlineIsAPerTryTimeout(t *testing.T) {
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		ctx, cancel := context.WithCancelCause(t.Context())
		req := request(t, http.MethodGet, "/slow", nil).WithContext(ctx)
		go func() {
			o.Wait(t, "/slow", 1)
			cancel(errOwnTimer)
		}()
		got := fails(t, e, b, req)
		want(t, got, endpoint.ResponseTimeout, true, false, false, 22)
		if got.Class != retry.PerTryTimeout {
			t.Errorf("class %s", got.Class)
		}
	})
}

// errOwnTimer is the cause with which a caller's own timer ends an attempt.
var errOwnTimer = errors.New("the attempt took too long")

func TestATimerThatFiresWhileDialingIsAConnectTimeout(t *testing.T) { // row 17
	ctx, cancel := context.WithCancelCause(t.Context())
	o := origin.Start(t)
	e := start(t, endpoint.Config{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		cancel(errOwnTimer)
		<-ctx.Done()
		return nil, ctx.Err()
	}}, o)
	b := backend(o)
	b.Protocol = "HTTP11"
	got := fails(t, e, b, request(t, http.MethodPost, "/", strings.NewReader("x")).WithContext(ctx))
	want(t, got, endpoint.ConnectionTimeout, false, false, false, 17)
	if got.Class != retry.ConnectFailure || !errors.Is(got, errOwnTimer) || errors.Is(got, context.Canceled) {
		t.Errorf("class %s: %v", got.Class, got)
	}
}

func TestAResetInMidBodyIsNoCleanEnd(t *testing.T) {
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		e := start(t, endpoint.Config{}, o)
		res, err := e.RoundTrip(request(t, http.MethodGet, "/reset-body?n=1000", nil), b)
		if err == nil {
			_, err = io.ReadAll(res.Body)
			_ = res.Body.Close()
		}
		var got *endpoint.Error
		if !errors.As(err, &got) || !got.Sent {
			t.Errorf("error %v, want an *Error that was sent", err)
		}
	})
}

func TestALargeBodyTakesConstantMemory(t *testing.T) {
	const size = 256 << 20
	for _, tc := range []struct {
		name string
		opts []origin.Option
	}{
		{"over http/1.1", []origin.Option{origin.HTTP1()}}, {"over h2", []origin.Option{origin.HTTP2()}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := origin.Start(t, tc.opts...)
			b := backend(o)
			e := start(t, endpoint.Config{}, o)
			var arrived atomic.Int64
			o.On("/both", func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).EnableFullDuplex()
				_, _ = io.Copy(w, io.TeeReader(r.Body, counter{&arrived}))
			})
			var before, now runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)

			replay := retry.NewBody(&patternReader{n: size}, 0, nil)
			defer func() { _ = replay.Close() }()
			reader, err := replay.Rewind()
			if err != nil {
				t.Fatal(err)
			}
			req := request(t, http.MethodPost, "/both", nil)
			req.Body, req.ContentLength = reader, size
			res, err := e.RoundTrip(req, b)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, &checkpoints{Reader: res.Body, each: size / 8, f: func() {
				runtime.GC()
				runtime.ReadMemStats(&now)
				if grown := int64(now.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
					t.Errorf("the heap grew by %d MiB", grown>>20)
				}
			}})
			if n != size || arrived.Load() != size || err != nil {
				t.Errorf("%d bytes went, %d came back, %v", arrived.Load(), n, err)
			}
			_ = res.Body.Close()
		})
	}
}

// counter counts what is written to it.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// checkpoints calls f after each so many bytes.
type checkpoints struct {
	io.Reader
	each, seen int64
	f          func()
}

func (c *checkpoints) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.seen/c.each != (c.seen+int64(n))/c.each {
		c.f()
	}
	c.seen += int64(n)
	return n, err
}
