package e2e

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/testkit/origin"
)

// noise is n bytes that do not compress and do not repeat, and the hash of what was read of them.
type noise struct {
	io.Reader
	sum hash.Hash
}

func newNoise(n int64) *noise {
	sum := sha256.New()
	return &noise{io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{}), n), sum), sum}
}

func TestBodiesThroughTheChain(t *testing.T) {
	o := origin.Start(t)
	w := newWorld(t)
	w.write(t, "catalog/origin.yaml", originCA(o)+"---"+backend("api", o.Name(), o.Port(), ""))
	s := w.spoke(t, w.hub(t, "hub-a", ""), "east", "")

	t.Run("64 MiB go there and come back whole", func(t *testing.T) {
		const size = 64 << 20
		sent := newNoise(size)
		res := w.open(t, s, call{method: http.MethodPost, host: "api", path: "/echo", body: sent})
		got := sha256.New()
		n, err := io.Copy(got, res.Body)
		if err != nil || n != size || res.StatusCode != http.StatusOK {
			t.Fatalf("answer %d with %d bytes of %d: %v", res.StatusCode, n, size, err)
		}
		if string(got.Sum(nil)) != string(sent.sum.Sum(nil)) {
			t.Error("other bytes came back")
		}
	})

	t.Run("a length that is known is announced on both ways", func(t *testing.T) {
		a := w.send(t, s, call{host: "api", path: "/bytes?n=70000&length=1"})
		if len(a.body) != 70000 || a.err != nil || a.header.Get("Content-Length") != "70000" {
			t.Errorf("%d bytes, Content-Length %q, %v", len(a.body), a.header.Get("Content-Length"), a.err)
		}
		w.send(t, s, call{method: http.MethodPut, host: "api", path: "/put", body: strings.NewReader("seven b")})
		if got := o.Wait(t, "/put", 1); got.ContentLength != 7 {
			t.Errorf("the origin was told of %d bytes", got.ContentLength)
		}
	})

	t.Run("trailers", func(t *testing.T) {
		a := w.send(t, s, call{host: "api", path: "/trailers"})
		if a.body != "body" || a.trailer.Get("X-Sum") != "4" || a.trailer.Get("X-Late") != "yes" {
			t.Errorf("%q with trailers %v, %v", a.body, a.trailer, a.err)
		}
		body := strings.NewReader("with a trailer")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/echo/trailer", io.NopCloser(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host, req.Trailer = "api", http.Header{"X-Check": {"after the body"}}
		req.Header.Set("Authorization", teamA)
		res, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if echoed, err := io.ReadAll(res.Body); err != nil || string(echoed) != "with a trailer" || res.Trailer.Get("X-Check") != "after the body" {
			t.Errorf("echo %q with trailers %v, %v", echoed, res.Trailer, err)
		}
	})

	t.Run("an early hint", func(t *testing.T) {
		var hints []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
			return nil
		}}
		res, err := w.try(httptrace.WithClientTrace(t.Context(), trace), s, call{host: "api", path: "/early"})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "ok" || res.StatusCode != http.StatusOK {
			t.Errorf("answer %d %q %v", res.StatusCode, body, err)
		}
		if len(hints) != 1 || hints[0] != "103 </style.css>; rel=preload" || res.Header.Get("Link") != "" {
			t.Errorf("hints %q, Link of the answer %q", hints, res.Header.Get("Link"))
		}
	})

	t.Run("a body that waits for 100 Continue", func(t *testing.T) {
		asked := make(chan struct{})
		trace := &httptrace.ClientTrace{Got100Continue: func() { close(asked) }}
		res, err := w.try(httptrace.WithClientTrace(t.Context(), trace), s, call{
			method: http.MethodPost, host: "api", path: "/continue", size: 3, header: map[string]string{"Expect": "100-continue"},
			body: &readAfter{asked, strings.NewReader("now")},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "ok" {
			t.Errorf("answer %d %q %v", res.StatusCode, body, err)
		}
		if got := o.Wait(t, "/continue", 1).ContentLength; got != int64(len("now")) {
			t.Errorf("the origin was told of %d bytes", got)
		}
	})

	t.Run("the first event comes before the last is made", func(t *testing.T) {
		res := w.open(t, s, call{host: "api", path: "/sse?n=2"}) // the origin holds the last event back until Release
		lines := bufio.NewScanner(res.Body)
		if !lines.Scan() || lines.Text() != "data: 0" {
			t.Fatalf("first line %q: %v", lines.Text(), lines.Err())
		}
		o.Release()
		var rest []string
		for lines.Scan() {
			rest = append(rest, lines.Text())
		}
		if strings.Join(rest, "|") != "|data: 1|" || lines.Err() != nil {
			t.Errorf("then %q, %v", rest, lines.Err())
		}
	})
}

// readAfter is a body that may be read only once before is closed.
type readAfter struct {
	before <-chan struct{}
	io.Reader
}

func (r *readAfter) Read(p []byte) (int, error) {
	select {
	case <-r.before:
		return r.Reader.Read(p)
	default:
		return 0, fmt.Errorf("the body is read although nobody asked for it")
	}
}
