package tunnel_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/tunnel"
	"penstock.dev/penstock/tunnel/tunneltest"
)

// served runs test with a spoke and a hub that has this handler.
func served(t *testing.T, h http.HandlerFunc, test func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Handler(h))
		test(t, w, w.Dial(t, "east"))
	})
}

func TestRequestArrivesAsItWasSent(t *testing.T) {
	type seen struct {
		Method, Host, URI, Path, Query, Proto string
		Length                                int64
		Header                                http.Header
		Body                                  string
	}
	var got seen
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read the body: %v", err)
		}
		got = seen{r.Method, r.Host, r.RequestURI, r.URL.Path, r.URL.RawQuery, r.Proto, r.ContentLength, r.Header, string(body)}
	}
	served(t, handler, func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
		for _, tc := range []struct {
			name   string
			req    func() *http.Request
			want   seen
			header http.Header
		}{
			{
				"GET", func() *http.Request { return get(t, "/a%2Fb?q=1&q=2") },
				seen{Method: "GET", URI: "/a%2Fb?q=1&q=2", Path: "/a/b", Query: "q=1&q=2"},
				http.Header{},
			},
			{
				"POST of known length", func() *http.Request { return post(t, "/p", strings.NewReader("hello")) },
				seen{Method: "POST", URI: "/p", Path: "/p", Length: 5, Body: "hello"},
				http.Header{"Content-Length": {"5"}},
			},
			{
				"POST of unknown length", func() *http.Request { return post(t, "/p", io.MultiReader(strings.NewReader("hello"))) },
				seen{Method: "POST", URI: "/p", Path: "/p", Length: -1, Body: "hello"},
				http.Header{},
			},
			{
				"POST without content", func() *http.Request { return post(t, "/p", http.NoBody) },
				seen{Method: "POST", URI: "/p", Path: "/p"},
				http.Header{},
			},
			{
				"POST too large to go with its head", func() *http.Request { return post(t, "/p", strings.NewReader(strings.Repeat("x", 100_000))) },
				seen{Method: "POST", URI: "/p", Path: "/p", Length: 100_000, Body: strings.Repeat("x", 100_000)},
				http.Header{"Content-Length": {"100000"}},
			},
			{"OPTIONS *", func() *http.Request {
				req := request(t.Context(), t, "OPTIONS", "/", nil)
				req.URL.Path = "*"
				return req
			}, seen{Method: "OPTIONS", URI: "*", Path: "*"}, http.Header{}},
			{
				"fields of the connection stay behind, the others travel", func() *http.Request {
					req := get(t, "/")
					req.Header = http.Header{
						"Accept": {"a", "b"}, "Keep-Alive": {"5"}, "Connection": {"keep-alive"}, "Te": {"trailers, gzip"},
						"Transfer-Encoding": {"chunked"}, "Cookie": {"a=1; b=2"}, "Content-Length": {"7"},
					}
					return req
				},
				seen{Method: "GET", URI: "/", Path: "/"},
				http.Header{"Accept": {"a", "b"}, "Te": {"trailers"}, "Cookie": {"a=1; b=2"}},
			},
		} {
			got = seen{}
			res, _ := do(t, c, tc.req())
			tc.want.Host, tc.want.Proto, tc.want.Header = "api.payments.svc.clusterset.local", "HTTP/1.1", tc.header
			if diff := cmp.Diff(tc.want, got); diff != "" || res.StatusCode != 200 {
				t.Errorf("%s: %s, the hub saw (-want +got):\n%s", tc.name, res.Status, diff)
			}
		}
	})
}

func TestResponseArrivesAsItWasWritten(t *testing.T) {
	type want struct {
		status int
		length int64
		body   string
		header http.Header
	}
	for _, tc := range []struct {
		name   string
		method string
		h      http.HandlerFunc
		want   want
	}{
		{
			"nothing written", "GET", func(http.ResponseWriter, *http.Request) {},
			want{200, 0, "", http.Header{"Content-Length": {"0"}}},
		},
		{"small content gets a length", "GET", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "hel")
			io.WriteString(w, "lo")
		}, want{200, 5, "hello", http.Header{"Content-Length": {"5"}}}},
		{"flushed content has none", "GET", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "hel")
			w.(http.Flusher).Flush()
			io.WriteString(w, "lo")
		}, want{200, -1, "hello", http.Header{}}},
		{"large content", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(bytes.Repeat([]byte("x"), 300_000))
		}, want{200, -1, strings.Repeat("x", 300_000), http.Header{}}},
		{"many small writes", "GET", func(w http.ResponseWriter, _ *http.Request) {
			for range 100_000 {
				w.Write([]byte("x"))
			}
		}, want{200, -1, strings.Repeat("x", 100_000), http.Header{}}},
		{"HEAD keeps the declared length", "HEAD", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "not sent")
		}, want{200, 1000, "", http.Header{"Content-Length": {"1000"}}}},
		{"204", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(204)
			if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("Write after 204: %v, want ErrBodyNotAllowed", err)
			}
		}, want{204, 0, "", http.Header{}}},
		{"304", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(304)
		}, want{304, 0, "", http.Header{"Content-Length": {"1000"}}}},
		{"fields of the connection stay behind", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Connection"] = []string{"close"}
			w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
			w.WriteHeader(500)
			w.Header().Set("Late", "1")
			w.WriteHeader(200)
		}, want{500, 0, "", http.Header{"Set-Cookie": {"a=1", "b=2"}, "Content-Length": {"0"}}}},
		{"a status that cannot travel", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(799)
		}, want{502, 0, "", http.Header{"Content-Length": {"0"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			served(t, tc.h, func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
				res, body := do(t, c, request(t.Context(), t, tc.method, "/", nil))
				if res.StatusCode != tc.want.status || res.ContentLength != tc.want.length || body != tc.want.body {
					t.Errorf("%s, length %d, %d bytes, want %d, %d, %d bytes", res.Status, res.ContentLength, len(body),
						tc.want.status, tc.want.length, len(tc.want.body))
				}
				if diff := cmp.Diff(tc.want.header, res.Header); diff != "" {
					t.Errorf("header (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestTrailers(t *testing.T) {
	served(t, func(w http.ResponseWriter, r *http.Request) {
		if _, ok := r.Trailer["Sum"]; !ok {
			t.Errorf("trailer before the content = %v, want Sum announced", r.Trailer)
		}
		w.Header().Set("Trailer", "Declared, Never-Set")
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Trailer.Get("Sum") != "42" {
			t.Errorf("read %q, %v, trailer %v, want Sum 42", body, err, r.Trailer)
		}
		w.Write(body)
		w.Header().Set("Declared", "1")
		w.Header().Set(http.TrailerPrefix+"Undeclared", "2")
	}, func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
		req := post(t, "/", io.MultiReader(strings.NewReader("hello")))
		req.Trailer = http.Header{"Sum": {"42"}}
		res, err := c.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := res.Trailer["Declared"]; !ok {
			t.Errorf("trailer before the content = %v, want Declared announced", res.Trailer)
		}
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "hello" {
			t.Errorf("read %q, %v", body, err)
		}
		want := http.Header{"Declared": {"1"}, "Undeclared": {"2"}, "Never-Set": nil}
		if diff := cmp.Diff(want, res.Trailer); diff != "" {
			t.Errorf("trailer (-want +got):\n%s", diff)
		}
	})
}

func TestInformational(t *testing.T) {
	served(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(103)
		w.WriteHeader(103)
		w.Header().Del("Link")
		io.WriteString(w, "done")
	}, func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
		var got []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				got = append(got, fmt.Sprint(code, h.Get("Link")))
				return nil
			},
			WroteHeaders:         func() { got = append(got, "head") },
			WroteRequest:         func(i httptrace.WroteRequestInfo) { got = append(got, fmt.Sprint("request ", i.Err)) },
			GotFirstResponseByte: func() { got = append(got, "byte") },
		})
		res, body := do(t, c, request(ctx, t, "GET", "/", nil))
		want := []string{"head", "request <nil>", "byte", "103</a.css>", "103</a.css>"}
		if !slices.Equal(got, want) || body != "done" || res.Header.Get("Link") != "" {
			t.Errorf("events %q, body %q, header %v, want %q", got, body, res.Header, want)
		}
	})
}

func TestExpectContinue(t *testing.T) {
	for _, tc := range []struct {
		name string
		h    http.HandlerFunc
		// what the spoke sees, in order
		want []string
		sent bool
	}{
		{
			"the handler reads", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) },
			[]string{"wait", "continue", "read", "200 hello"},
			true,
		},
		{
			"the handler refuses", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(413) },
			[]string{"wait", "413 "},
			false,
		},
		{"the handler is slow", func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(5 * time.Second)
			io.Copy(w, r.Body)
		}, []string{"wait", "read", "continue", "200 hello"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			served(t, tc.h, func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
				events := make(chan string, 10)
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
					Wait100Continue: func() { events <- "wait" },
					Got100Continue:  func() { events <- "continue" },
				})
				body := readerFunc(func(p []byte) (int, error) {
					events <- "read"
					return copy(p, "hello"), io.EOF
				})
				req := request(ctx, t, "POST", "/", body)
				req.ContentLength = 5
				req.Header.Set("Expect", "100-continue")
				start := time.Now()
				res, got := do(t, c, req)
				if took := time.Since(start); !tc.sent && took > 100*time.Millisecond {
					t.Errorf("a refusal took %v: somebody waited for content that never comes", took)
				}
				events <- strconv.Itoa(res.StatusCode) + " " + got
				synctest.Wait()
				var all []string
				for len(events) > 0 {
					all = append(all, <-events)
				}
				if !slices.Equal(all, tc.want) {
					t.Errorf("events = %q, want %q", all, tc.want)
				}
			})
		})
	}
}

// readerFunc is a body that is not of a type whose length net/http knows.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestStreamingArrivesAtOnce: server-sent events are not kept back, in either direction.
func TestStreamingArrivesAtOnce(t *testing.T) {
	const latency = 20 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Latency(latency), tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			buf := make([]byte, 100)
			for {
				n, err := r.Body.Read(buf)
				w.Write(buf[:n]) // no Flush: it has been called
				if err != nil {
					return
				}
			}
		})))
		c := w.Dial(t, "east")
		pr, pw := io.Pipe()
		res, err := c.RoundTrip(post(t, "/", pr))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		for i := range 5 {
			start := time.Now()
			event := fmt.Sprintf("data: %d\n\n", i)
			if _, err := io.WriteString(pw, event); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 100)
			n, err := res.Body.Read(buf)
			if err != nil || string(buf[:n]) != event {
				t.Fatalf("read %q, %v, want %q", buf[:n], err, event)
			}
			if took := time.Since(start); took > 2*latency+5*time.Millisecond {
				t.Errorf("event %d took %v, want one round trip of %v", i, took, 2*latency)
			}
		}
		pw.Close()
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
			t.Errorf("read %q, %v after the last event, want the end", rest, err)
		}
	})
}

// TestSmallExchangeIsOnePacketEachWay: head, content and end go out in one Write.
func TestSmallExchangeIsOnePacketEachWay(t *testing.T) {
	const latency = 50 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Latency(latency))
		c := w.Dial(t, "east")
		do(t, c, post(t, "/", strings.NewReader("warm")))
		start := time.Now()
		if _, body := do(t, c, post(t, "/", strings.NewReader("hello"))); body != "hello" {
			t.Errorf("answer %q", body)
		}
		if took := time.Since(start); took > 2*latency+time.Millisecond {
			t.Errorf("took %v, want one round trip of %v", took, 2*latency)
		}
	})
}

// TestLargeBodies: 64 MiB each way at once, in memory that does not grow with them.
func TestLargeBodies(t *testing.T) {
	const size = 64 << 20
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(w, r.Body); err != nil {
				t.Errorf("echo: %v", err)
			}
		})))
		c := w.Dial(t, "east")
		sent, got := sha256.New(), sha256.New()
		before := heap()
		res, err := c.RoundTrip(post(t, "/", io.TeeReader(io.LimitReader(&pattern{}, size), sent)))
		if err != nil {
			t.Fatal(err)
		}
		var most uint64
		buf := make([]byte, 1<<20)
		total := 0
		for {
			n, err := io.ReadFull(res.Body, buf)
			got.Write(buf[:n])
			if total += n; total%(16<<20) == 0 {
				most = max(most, heap())
			}
			if err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF {
					t.Fatal(err)
				}
				break
			}
		}
		if total != size || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
			t.Errorf("%d bytes, sha256 %s, want %d, %s", total, hex.EncodeToString(got.Sum(nil)), size, hex.EncodeToString(sent.Sum(nil)))
		}
		const allowed = 40 << 20 // stream and connection windows of both ends
		if grew := int64(most) - int64(before); grew > allowed {
			t.Errorf("heap grew by %d MiB, want at most %d", grew>>20, allowed>>20)
		}
	})
}

// pattern is content that is not all alike.
type pattern struct{ n uint32 }

func (r *pattern) Read(p []byte) (int, error) {
	for i := range p {
		r.n = r.n*1664525 + 1013904223
		p[i] = byte(r.n >> 24)
	}
	return len(p), nil
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestEarlyAnswer: the hub answers before it has read the request. The answer arrives whole, within one round trip, and
// the upload stops.
func TestEarlyAnswer(t *testing.T) {
	served(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(403)
		io.WriteString(w, "no")
	}, func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
		body := &endless{closed: make(chan struct{})}
		res, got := do(t, c, post(t, "/", body))
		if res.StatusCode != 403 || got != "no" {
			t.Errorf("answer %s %q, want 403 no", res.Status, got)
		}
		select {
		case <-body.closed:
		case <-time.After(3 * time.Second):
			t.Error("the body was not closed")
		}
		time.Sleep(time.Second)
		if n := body.n; n > 4<<20 {
			t.Errorf("%d bytes were read of a body that nobody wanted", n)
		}
		if _, got := do(t, c, get(t, "/")); got != "no" {
			t.Errorf("the next exchange answered %q", got)
		}
	})
}

// TestEarlyAnswerToAStalledUpload: the workload does not go on sending; the answer must not wait for it.
func TestEarlyAnswerToAStalledUpload(t *testing.T) {
	served(t, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusTooManyRequests) },
		func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
			pr, pw := io.Pipe()
			defer pw.Close()
			start := time.Now()
			res, err := c.RoundTrip(post(t, "/", pr))
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); res.StatusCode != http.StatusTooManyRequests || took > 100*time.Millisecond {
				t.Errorf("%s after %v, want 429 in one round trip", res.Status, took)
			}
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != "no\n" {
				t.Errorf("read %q, %v", body, err)
			}
			if took := time.Since(start); took > 1100*time.Millisecond {
				t.Errorf("the end came after %v, want at most the 1 s that the hub drains", took)
			}
			synctest.Wait()
			if _, err := pw.Write([]byte("late")); err == nil {
				t.Error("the body is still read after the end of its exchange")
			}
		})
}

type endless struct {
	n      int
	closed chan struct{}
}

func (e *endless) Read(p []byte) (int, error) {
	select {
	case <-e.closed:
		return 0, errors.New("read after close")
	default:
	}
	e.n += len(p)
	return len(p), nil
}

func (e *endless) Close() error {
	close(e.closed)
	return nil
}

// TestCancelReachesTheHandler is F-31 and G27: by the context, by Close of the body, and by the death of the spoke.
func TestCancelReachesTheHandler(t *testing.T) {
	const latency = 10 * time.Millisecond
	for _, tc := range []struct {
		name   string
		cancel func(c *tunneltest.Spoke, res *http.Response, cancel context.CancelFunc)
	}{
		{"the context ends", func(_ *tunneltest.Spoke, _ *http.Response, cancel context.CancelFunc) { cancel() }},
		{"the body is closed", func(_ *tunneltest.Spoke, res *http.Response, _ context.CancelFunc) { res.Body.Close() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gone := make(chan error, 1)
				w := tunneltest.New(t, tunneltest.Latency(latency), tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, "first")
					w.(http.Flusher).Flush()
					<-r.Context().Done()
					_, err := w.Write([]byte("more"))
					gone <- err
				})))
				c := w.Dial(t, "east")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				res, err := c.RoundTrip(request(ctx, t, "GET", "/", nil))
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				tc.cancel(c, res, cancel)
				if err := <-gone; err == nil {
					t.Error("the handler could still write")
				}
				if took := time.Since(start); took > 2*latency {
					t.Errorf("the handler learned it after %v, want one way of %v", took, latency)
				}
				n, err := res.Body.Read(make([]byte, 100))
				for err == nil {
					n, err = res.Body.Read(make([]byte, 100))
				}
				if err == io.EOF {
					t.Errorf("Read = %d, %v: a truncated response looks whole", n, err)
				}
				if s := c.Status()[0]; s.Outstanding != 0 {
					t.Errorf("outstanding = %d, want 0", s.Outstanding)
				}
			})
		})
	}
}

func TestContextEndsBeforeTheAnswer(t *testing.T) {
	served(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			body := &countingBody{Reader: strings.NewReader("hello")}
			req := request(ctx, t, "POST", "/", body)
			_, err := c.RoundTrip(req)
			var e *tunnel.Error
			if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &e) || e.Unprocessed() {
				t.Errorf("RoundTrip error = %v, want the deadline, without proof", err)
			}
			if body.closes != 1 {
				t.Errorf("body closed %d times, want once", body.closes)
			}
		})
}

type countingBody struct {
	io.Reader
	closes int
	eof    bool
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.eof = b.eof || err == io.EOF
	return n, err
}

func (b *countingBody) Close() error {
	b.closes++
	return nil
}

// TestBodyFails: a request whose content breaks off must not look whole to the handler.
func TestBodyFails(t *testing.T) {
	broken := errors.New("workload is gone")
	served(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil {
			t.Errorf("the handler read %d bytes to a clean end", n)
		}
		panic(http.ErrAbortHandler)
	}, func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
		for _, tc := range []struct {
			name   string
			length int64
			body   io.Reader
			want   error
		}{
			{"streamed", -1, io.MultiReader(strings.NewReader("hello"), errReader{broken}), broken},
			{"small", 10, io.MultiReader(strings.NewReader("hello"), errReader{broken}), broken},
			{"small and short", 10, strings.NewReader("hello"), io.ErrUnexpectedEOF},
			{"large and short", 100_000, io.LimitReader(&pattern{}, 50_000), nil},
		} {
			req := post(t, "/", io.MultiReader(tc.body))
			req.ContentLength = tc.length
			_, err := c.RoundTrip(req)
			var e *tunnel.Error
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !errors.As(err, &e) || e.Unprocessed() {
				t.Errorf("%s: RoundTrip error = %v, want %v without proof", tc.name, err, tc.want)
			}
		}
	})
}

type errReader struct{ error }

func (r errReader) Read([]byte) (int, error) { return 0, r.error }

// TestHandlerFails is row 32, and truncation by the handler. // I3
func TestHandlerFails(t *testing.T) {
	for _, tc := range []struct {
		name   string
		h      http.HandlerFunc
		status int // 0: no response
		panics uint64
		err    error
	}{
		{"panic before a byte", func(http.ResponseWriter, *http.Request) { panic("bug") }, 502, 1, nil},
		{"panic with content kept back", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "kept")
			panic("bug")
		}, 502, 1, nil},
		{"panic after a flush", func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			time.Sleep(time.Second) // a reset overtakes what was not read yet
			panic("bug")
		}, 200, 1, tunnel.ErrCancelled},
		{"abort before a byte", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0, 0, tunnel.ErrCancelled},
		{"less than declared", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			time.Sleep(time.Second)
		}, 200, 0, tunnel.ErrCancelled},
		{"more than declared", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "3")
			if _, err := io.WriteString(w, "hello"); !errors.Is(err, http.ErrContentLength) {
				t.Errorf("Write = %v, want ErrContentLength", err)
			}
			io.WriteString(w, "hel")
		}, 200, 0, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			served(t, tc.h, func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
				res, err := c.RoundTrip(get(t, "/"))
				if res != nil {
					if res.StatusCode != tc.status {
						t.Errorf("status = %s, want %d", res.Status, tc.status)
					}
					_, err = io.ReadAll(res.Body)
				} else if tc.status != 0 {
					t.Fatalf("RoundTrip error = %v, want a response", err)
				}
				if !errors.Is(err, tc.err) {
					t.Errorf("error = %v, want %v", err, tc.err)
				}
				var e *tunnel.Error
				if errors.As(err, &e) && e.Unprocessed() {
					t.Errorf("error %v claims a proof for a started handler", err)
				}
				if n := w.Hubs[0].Stats().Panics; n != tc.panics {
					t.Errorf("%d panics counted, want %d", n, tc.panics)
				}
				res, err = c.RoundTrip(get(t, "/"))
				if res != nil {
					res.Body.Close()
				}
				if (err == nil) != (tc.status != 0) {
					t.Errorf("the tunnel did not live on: %v", err)
				}
			})
		})
	}
}

// TestUpgrade: a 101 turns the stream into raw bytes both ways, as WebSocket needs, and so does a 2xx to CONNECT.
func TestUpgrade(t *testing.T) {
	for _, tc := range []struct {
		name   string
		req    func(t *testing.T) *http.Request
		status int
	}{
		{"WebSocket", func(t *testing.T) *http.Request {
			req := get(t, "/chat")
			req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"k"}}
			return req
		}, 101},
		{"CONNECT", func(t *testing.T) *http.Request {
			req := request(t.Context(), t, "CONNECT", "", nil)
			req.Host = "api.example.com:443"
			return req
		}, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			handler := func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && (r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-Websocket-Key") != "k") {
					t.Errorf("header at the hub = %v", r.Header)
				}
				if r.Method == http.MethodConnect && r.Host != "api.example.com:443" {
					t.Errorf("host at the hub = %q", r.Host)
				}
				w.WriteHeader(tc.status)
				io.WriteString(w, "hi ")
				io.Copy(w, r.Body)
				io.WriteString(w, " bye")
			}
			served(t, handler, func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
				res, err := c.RoundTrip(tc.req(t))
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != tc.status || tc.status == 101 && res.Header.Get("Upgrade") != "websocket" {
					t.Errorf("answer %s %v", res.Status, res.Header)
				}
				conn := res.Body.(interface {
					io.ReadWriteCloser
					CloseWrite() error
				})
				large := strings.Repeat("raw", 100_000)
				go func() {
					io.WriteString(conn, large)
					conn.CloseWrite()
				}()
				got, err := io.ReadAll(conn)
				if err != nil || string(got) != "hi "+large+" bye" {
					t.Errorf("read %d bytes, %v, want %d", len(got), err, len(large)+7)
				}
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
				if s := c.Status()[0]; s.Outstanding != 0 {
					t.Errorf("outstanding = %d, want 0", s.Outstanding)
				}
			})
		})
	}
}

// TestTheHubEndsItsDirectionFirst: the other one goes on, and so does the handler.
func TestTheHubEndsItsDirectionFirst(t *testing.T) {
	var said chan string // made in the bubble
	served(t, func(w http.ResponseWriter, r *http.Request) {
		half := w.(interface{ CloseWrite() error })
		if err := half.CloseWrite(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("CloseWrite before the 101: %v", err)
		}
		w.WriteHeader(http.StatusSwitchingProtocols)
		io.WriteString(w, "last word")
		if err := half.CloseWrite(); err != nil {
			t.Error(err)
		}
		if _, err := io.WriteString(w, "more"); err == nil {
			t.Error("written behind the end")
		}
		got, err := io.ReadAll(r.Body)
		if err != nil || r.Context().Err() != nil {
			t.Errorf("read: %v, context: %v", err, r.Context().Err())
		}
		said <- string(got)
	}, func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
		said = make(chan string, 1)
		req := get(t, "/chat")
		req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
		res, err := c.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		conn := res.Body.(interface {
			io.ReadWriteCloser
			CloseWrite() error
		})
		if got, err := io.ReadAll(conn); err != nil || string(got) != "last word" {
			t.Errorf("%q, %v", got, err)
		}
		io.WriteString(conn, "and mine")
		conn.CloseWrite()
		if got := <-said; got != "and mine" {
			t.Errorf("the hub read %q", got)
		}
		conn.Close()
	})
}

func TestRequestThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t)
		c := w.Dial(t, "east")
		body := &countingBody{Reader: strings.NewReader("hello")}
		req := post(t, "/", body)
		req.Header["Bad"] = []string{"a\nb"}
		_, err := c.RoundTrip(req)
		var e *tunnel.Error
		if !errors.As(err, &e) || e.Unprocessed() || body.closes != 1 {
			t.Errorf("error %v, body closed %d times, want an error that repeating does not cure and one close", err, body.closes)
		}
		if strings.Contains(err.Error(), "a\nb") {
			t.Errorf("error %q quotes the value", err)
		}
	})
}

// TestDeadlinesOfTheHandler end with their exchange.
func TestDeadlinesOfTheHandler(t *testing.T) {
	served(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/timed" {
			rc := http.NewResponseController(w)
			if err := errors.Join(rc.SetReadDeadline(time.Now().Add(time.Second)), rc.SetWriteDeadline(time.Now().Add(time.Second)),
				rc.EnableFullDuplex()); err != nil {
				t.Errorf("ResponseController: %v", err)
			}
			if n, err := r.Body.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read = %d, %v, want the deadline", n, err)
			}
			if err := rc.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Error(err)
			}
		}
		io.Copy(w, io.MultiReader(strings.NewReader("done")))
	}, func(t *testing.T, w *tunneltest.World, c *tunneltest.Spoke) {
		pr, pw := io.Pipe()
		go func() {
			time.Sleep(1500 * time.Millisecond)
			pw.Close()
		}()
		if _, body := do(t, c, post(t, "/timed", pr)); body != "done" {
			t.Errorf("answer %q", body)
		}
		before := c.Stats().Streams
		time.Sleep(10 * time.Second)
		if _, body := do(t, c, post(t, "/", strings.NewReader("x"))); body != "done" || c.Stats().Streams != before {
			t.Errorf("answer %q on %d new streams, want done on the same", body, c.Stats().Streams-before)
		}
	})
}
