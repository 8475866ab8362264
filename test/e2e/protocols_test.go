package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/testkit/origin"
)

// speaking is a client for one version of HTTP alone, in the clear.
func speaking(t *testing.T, h2 bool) *http.Client {
	t.Helper()
	p := new(http.Protocols)
	p.SetHTTP1(!h2)
	p.SetUnencryptedHTTP2(h2)
	transport := &http.Transport{Protocols: p, MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// outside is one kind of origin, with the Backend that leads to it.
type outside struct {
	name   string
	origin *origin.Origin
}

// everyProtocol starts an origin of each kind behind one spoke and one hub, and runs a test for each pair of client and
// origin.
func everyProtocol(t *testing.T, test func(t *testing.T, w *world, s *spokeProc, o *origin.Origin, host string, h2 bool)) {
	ca := origin.NewCA(t)
	outsides := []outside{
		{"https-h1", origin.Start(t, origin.Signed(ca), origin.HTTP1())},
		{"https-h2", origin.Start(t, origin.Signed(ca), origin.HTTP2())},
		{"plain-h1", origin.Start(t, origin.Plain(), origin.HTTP1())},
		{"h2c", origin.Start(t, origin.Plain(), origin.HTTP2())},
	}
	w := newWorld(t)
	text := originCA(outsides[0].origin) + "---"
	for _, o := range outsides {
		b := backend(o.name, o.origin.Name(), o.origin.Port(), "")
		if o.origin.CA == nil {
			from := strings.Index(b, "  tls:")
			to := from + strings.Index(b[from:], "\n")
			b = b[:from] + "  protocol: " + map[string]string{"plain-h1": "HTTP11", "h2c": "H2C"}[o.name] + "\n  tls: {mode: None}" + b[to:]
		}
		text += b
	}
	w.write(t, "catalog/origin.yaml", text)
	s := w.spoke(t, w.hub(t, "hub-a", ""), "east", "")
	for _, h2 := range []bool{false, true} {
		w.client = speaking(t, h2)
		for _, o := range outsides {
			t.Run(fmt.Sprintf("client %s, origin %s", map[bool]string{false: "h1", true: "h2c"}[h2], o.name), func(t *testing.T) {
				test(t, w, s, o.origin, o.name, h2)
			})
		}
	}
}

func TestEveryProtocolOnBothSides(t *testing.T) {
	everyProtocol(t, func(t *testing.T, w *world, s *spokeProc, o *origin.Origin, host string, h2 bool) {
		o.On("/head", func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Content-Length", "12345") })
		o.On("/huge", func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("X-Huge", strings.Repeat("v", 40<<10))
			_, _ = io.WriteString(rw, strconv.Itoa(len(r.Header.Get("X-Huge"))))
		})
		o.On("/cookies", func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, r.Header.Get("Cookie")) })

		t.Run("a body there and back", func(t *testing.T) {
			sent := newNoise(3 << 20)
			res := w.open(t, s, call{method: http.MethodPost, host: host, path: "/echo", body: sent})
			got := sha256.New()
			if n, err := io.Copy(got, res.Body); err != nil || n != 3<<20 || !bytes.Equal(got.Sum(nil), sent.sum.Sum(nil)) {
				t.Errorf("%d bytes came back, %v", n, err)
			}
		})
		t.Run("HEAD tells the length and has no body", func(t *testing.T) {
			a := w.send(t, s, call{method: http.MethodHead, host: host, path: "/head"})
			if a.status != http.StatusOK || a.body != "" || a.header.Get("Content-Length") != "12345" || a.err != nil {
				t.Errorf("%d %q, Content-Length %q, %v", a.status, a.body, a.header.Get("Content-Length"), a.err)
			}
		})
		for _, status := range []int{http.StatusNoContent, http.StatusNotModified, http.StatusPartialContent, http.StatusTeapot} {
			t.Run(fmt.Sprint("status ", status), func(t *testing.T) {
				if a := w.send(t, s, call{host: host, path: fmt.Sprint("/status/", status)}); a.status != status || a.err != nil {
					t.Errorf("%d, %v", a.status, a.err)
				}
			})
		}
		t.Run("trailers", func(t *testing.T) {
			if a := w.send(t, s, call{host: host, path: "/trailers"}); a.body != "body" || a.trailer.Get("X-Sum") != "4" || a.trailer.Get("X-Late") != "yes" {
				t.Errorf("%q with trailers %v, %v", a.body, a.trailer, a.err)
			}
		})
		t.Run("an early hint", func(t *testing.T) {
			hints := 0
			trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code == http.StatusEarlyHints && h.Get("Link") != "" {
					hints++
				}
				return nil
			}}
			res, err := w.try(httptrace.WithClientTrace(t.Context(), trace), s, call{host: host, path: "/early"})
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != "ok" || hints != 1 {
				t.Errorf("%d hints, then %q, %v", hints, body, err)
			}
		})
		t.Run("headers up to the limit", func(t *testing.T) {
			a := w.send(t, s, call{host: host, path: "/huge", header: map[string]string{"X-Huge": strings.Repeat("v", 40<<10)}})
			if a.status != http.StatusOK || a.body != "40960" || len(a.header.Get("X-Huge")) != 40<<10 {
				t.Errorf("%d %q, header of %d bytes", a.status, a.body, len(a.header.Get("X-Huge")))
			}
		})
		t.Run("headers beyond the limit", func(t *testing.T) {
			res, err := w.try(t.Context(), s, call{host: host, path: "/huge", header: map[string]string{"X-Huge": strings.Repeat("v", 80<<10)}})
			if err != nil {
				return // a server may close or reset instead of answering what it will not read
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%d, want 431", res.StatusCode)
			}
		})
		t.Run("cookies in several fields", func(t *testing.T) {
			if a := w.send(t, s, call{host: host, path: "/cookies", header: map[string]string{"Cookie": "a=1; b=2; c=3"}}); a.body != "a=1; b=2; c=3" {
				t.Errorf("the origin saw %q", a.body)
			}
		})
	})
}

// TestNoTruncatedBodyLooksWhole: 200 cut points, three framings, two clients (I3, F-42; other makers' clients are in
// make interop).
func TestNoTruncatedBodyLooksWhole(t *testing.T) {
	const size, cuts = 20_000, 200
	cut := func(announce bool) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			at, err := strconv.Atoi(r.URL.Query().Get("at"))
			if err != nil {
				panic(err)
			}
			if announce {
				rw.Header().Set("Content-Length", strconv.Itoa(size))
			}
			_, _ = rw.Write(make([]byte, at))
			_ = http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		}
	}
	// The end of the connection ends the body, and over TLS only one that is said (RFC 9112 §9.8).
	untilClosed := func(rw http.ResponseWriter, r *http.Request) {
		at, err := strconv.Atoi(r.URL.Query().Get("at"))
		if err != nil {
			panic(err)
		}
		c, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
		_, _ = c.Write(make([]byte, at))
		_ = c.(*tls.Conn).NetConn().Close() // without a word
	}
	everyProtocol(t, func(t *testing.T, w *world, s *spokeProc, o *origin.Origin, host string, _ bool) {
		framings := map[string]http.HandlerFunc{"length": cut(true), "no length": cut(false)}
		if host == "https-h1" {
			framings["the end of the connection"] = untilClosed
		}
		for framing, handler := range framings {
			path := "/cut-" + strings.ReplaceAll(framing, " ", "-")
			o.On(path, handler)
			t.Run(framing, func(t *testing.T) {
				for n := range cuts {
					at := n * size / cuts
					res, err := w.try(t.Context(), s, call{host: host, path: fmt.Sprintf("%s?at=%d", path, at)})
					if err != nil {
						continue // seen as failed
					}
					body, err := io.ReadAll(res.Body)
					res.Body.Close()
					if err == nil && res.StatusCode == http.StatusOK {
						t.Fatalf("a body cut after %d bytes came as a whole one of %d", at, len(body))
					}
					if errors.Is(err, context.Canceled) {
						t.Fatal(err)
					}
				}
			})
		}
	})
}
