//go:build interop

package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"penstock.dev/penstock/internal/testkit/origin"
)

// TestInteropCutBodies: 200 cut points in three framings, seen by curl with two versions of HTTP and by nghttp: each must say
// that the answer is not whole (I3, F-42).
func TestInteropCutBodies(t *testing.T) {
	const size, cuts = 20_000, 200
	o, _, s, _ := httpsOrigin(t, origin.HTTP1())
	o.On("/cut", func(rw http.ResponseWriter, r *http.Request) {
		var at int
		if _, err := fmt.Sscan(r.URL.Query().Get("at"), &at); err != nil {
			panic(err)
		}
		c, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		head := map[string]string{
			"length": fmt.Sprintf("Content-Length: %d\r\n\r\n", size),
			"chunks": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", size),
			"end":    "Connection: close\r\n\r\n",
		}[r.URL.Query().Get("framing")]
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head+strings.Repeat("x", at))
		_ = c.(*tls.Conn).NetConn().Close() // without close_notify
	})
	curl, nghttp := program(t, "curl"), program(t, "nghttp")
	for _, framing := range []string{"length", "chunks", "end"} {
		for _, client := range []struct {
			name string
			args []string
			// whole reports whether the client took what came for a whole 200.
			whole func(out string, err error) bool
		}{
			{"curl, HTTP/1.1", []string{curl, "-sS", "--fail", "--http1.1", "-o", "/dev/null"}, func(_ string, err error) bool { return err == nil }},
			{"curl, HTTP/2", []string{curl, "-sS", "--fail", "--http2-prior-knowledge", "-o", "/dev/null"}, func(_ string, err error) bool { return err == nil }},
			{"nghttp", []string{nghttp, "-nv"}, func(out string, _ error) bool {
				return strings.Contains(out, ":status: 200") && !strings.Contains(out, "recv RST_STREAM")
			}},
		} {
			t.Run(framing+", "+client.name, func(t *testing.T) {
				for n := range cuts {
					url := fmt.Sprintf("%s/cut?framing=%s&at=%d", s.url, framing, n*size/cuts)
					if out, err := attempt(t, client.args[0], append(client.args[1:], url)...); client.whole(out, err) {
						t.Fatalf("a body cut after %d bytes came as a whole one:\n%s", n*size/cuts, out)
					}
				}
			})
		}
	}
}

// TestInteropOneGiB: 1 GiB there and back through both hops, byte for byte, while the memory of all that runs in this process,
// hub, spoke and origin, stays what it was.
func TestInteropOneGiB(t *testing.T) {
	const size = 1 << 30
	o, w, s, _ := httpsOrigin(t)
	w.send(t, s, call{method: http.MethodPost, host: "api", path: "/echo", body: strings.NewReader("warm")})
	_ = o
	var most atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most.Store(max(most.Load(), m.HeapInuse))
			case <-stop:
				tick.Stop()
				return
			}
		}
	}()
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	sent := newNoise(size)
	res := w.open(t, s, call{method: http.MethodPost, host: "api", path: "/echo", body: sent})
	got := sha256.New()
	n, err := io.Copy(got, res.Body)
	took := time.Since(began)
	close(stop)
	<-stopped
	if err != nil || n != size || hex.EncodeToString(got.Sum(nil)) != hex.EncodeToString(sent.sum.Sum(nil)) {
		t.Errorf("%d bytes came back, %v; equal: %v", n, err, string(got.Sum(nil)) == string(sent.sum.Sum(nil)))
	}
	if grown := int64(most.Load()) - int64(before.HeapInuse); grown > 64<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	t.Logf("1 GiB each way in %v; heap in use %d MiB before, at most %d MiB meanwhile", took.Round(time.Millisecond), before.HeapInuse>>20, most.Load()>>20)

	// And as a file, by curl.
	file := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	if out := output(t, program(t, "curl"), "-sS", "-T", file, "-o", "/dev/null", "-w", "%{size_upload} %{size_download} %{http_code}", s.url+"/echo"); out != fmt.Sprint(size, " ", size, " 200") {
		t.Errorf("curl: %s", out)
	}
}
