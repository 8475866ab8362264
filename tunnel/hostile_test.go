package tunnel_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"penstock.dev/penstock/tunnel"
	"penstock.dev/penstock/tunnel/bhttp"
	"penstock.dev/penstock/tunnel/tunneltest"
)

// head is a request head as bytes.
func head(t *testing.T, method, path string, header http.Header) []byte {
	t.Helper()
	out, err := bhttp.AppendRequestHead(nil, &bhttp.RequestHead{
		Method: method, Scheme: "https", Authority: "api.test", Path: path, Header: header,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// message is a whole request as bytes.
func message(t *testing.T, path, content string) []byte {
	t.Helper()
	out, err := bhttp.AppendEnd(bhttp.AppendContent(head(t, "POST", path, nil), []byte(content)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestHeadThatCannotBeServed is answered, ended and not read on; the connection lives. // G32
func TestHeadThatCannotBeServed(t *testing.T) {
	for _, tc := range []struct {
		name   string
		send   func(t *testing.T) []byte
		status int
	}{
		{"another protocol", func(*testing.T) []byte { return []byte("GET / HTTP/1.1\r\n\r\n") }, 400},
		{"a known-length message", func(*testing.T) []byte { return []byte{0, 3, 'G', 'E', 'T'} }, 400},
		{"a field with a line break", func(t *testing.T) []byte {
			return bytes.Replace(head(t, "GET", "/", http.Header{"A": {"b.c"}}), []byte("b.c"), []byte("b\nc"), 1)
		}, 400},
		{"a path that is no URL", func(t *testing.T) []byte {
			return bytes.Replace(message(t, "/100%25", ""), []byte("/100%25"), []byte("/100%zz"), 1)
		}, 400},
		{"a head that is too large", func(t *testing.T) []byte {
			return head(t, "GET", "/", http.Header{"A": {strings.Repeat("x", 300<<10)}})
		}, 431},
		{"a head that stops in the middle", func(t *testing.T) []byte { return head(t, "GET", "/", nil)[:4] }, 408},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				started := 0
				w := tunneltest.New(t, tunneltest.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { started++ })))
				conn := rawSpoke(t, w)
				str, err := conn.OpenStream()
				if err != nil {
					t.Fatal(err)
				}
				go str.Write(tc.send(t))
				start := time.Now()
				rd := bhttp.NewReader(str, bhttp.Limits{})
				res, err := rd.ReadResponseHead()
				if err != nil || res.Status != tc.status {
					t.Fatalf("answer %+v, %v, want %d", res, err, tc.status)
				}
				if _, err := rd.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("content: %v, want none", err)
				}
				if _, err := rd.ReadResponseHead(); err != io.EOF {
					t.Errorf("after the answer: %v, want FIN", err)
				}
				if took := time.Since(start); tc.status == 408 && took < 10*time.Second || took > 12*time.Second {
					t.Errorf("answered after %v", took)
				}
				time.Sleep(time.Second)
				var stop *quic.StreamError
				if _, err := str.Write([]byte("x")); !errors.As(err, &stop) || stop.ErrorCode != tunnel.CodeMalformed {
					t.Errorf("Write after the answer: %v, want the hub to have stopped reading with malformed", err)
				}
				if started != 0 {
					t.Error("a handler was started")
				}
				if n := w.Hubs[0].Stats().Malformed; n != 1 {
					t.Errorf("%d malformed heads counted, want 1", n)
				}
				if err := conn.Context().Err(); err != nil {
					t.Errorf("the connection died: %v", context.Cause(conn.Context()))
				}
			})
		})
	}
}

// TestExampleOfTheSpecification: the bytes in doc.go are what the codec reads and writes.
func TestExampleOfTheSpecification(t *testing.T) {
	request := "\x02\x03GET\x05https\x07api.eu1\x03/v1\x0econtent-length\x010\x00\x00\x00"
	response := "\x03\x40\xc8\x0econtent-length\x012\x00\x02ok\x00\x00"
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != "GET" || r.Host != "api.eu1" || r.RequestURI != "/v1" || r.ContentLength != 0 {
				t.Errorf("request = %s %s %s, length %d", r.Method, r.Host, r.RequestURI, r.ContentLength)
			}
			io.WriteString(w, "ok")
		})))
		str, err := rawSpoke(t, w).OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		str.Write([]byte(request))
		str.Close()
		if got, err := io.ReadAll(str); err != nil || string(got) != response {
			t.Errorf("answer %q, %v, want %q", got, err, response)
		}
	})
}

// TestIdleStreamIsNeverReset: only the spoke closes what is idle.
func TestIdleStreamIsNeverReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t)
		conn := rawSpoke(t, w)
		str, err := conn.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		rd := bhttp.NewReader(str, bhttp.Limits{})
		for _, content := range []string{"one", "two"} {
			if _, err := str.Write(message(t, "/", content)); err != nil {
				t.Fatal(err)
			}
			if _, err := rd.ReadResponseHead(); err != nil {
				t.Fatalf("%s: %v", content, err)
			}
			if got, err := io.ReadAll(rd); err != nil || string(got) != content {
				t.Errorf("read %q, %v, want %q", got, err, content)
			}
			time.Sleep(30 * time.Minute)
		}
	})
}

// TestPipelinedRequestWaits: a spoke that does not keep to the leases gets its answers in order, one handler at a time.
func TestPipelinedRequestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running := 0
		w := tunneltest.New(t, tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if running++; running > 1 {
				t.Error("two handlers on one stream")
			}
			time.Sleep(time.Second)
			io.Copy(w, r.Body)
			running--
		})))
		conn := rawSpoke(t, w)
		str, err := conn.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		str.Write(append(message(t, "/", "one"), message(t, "/", "two")...))
		rd := bhttp.NewReader(str, bhttp.Limits{})
		for _, want := range []string{"one", "two"} {
			if _, err := rd.ReadResponseHead(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(rd); err != nil || string(got) != want {
				t.Errorf("read %q, %v, want %q", got, err, want)
			}
		}
	})
}

// TestHandlerThatLeavesAReaderBehind: as http.Transport does on an early answer. The hub reads on for the end itself.
func TestHandlerThatLeavesAReaderBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := make(chan error, 1)
		w := tunneltest.New(t, tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			go func() {
				_, err := io.Copy(io.Discard, r.Body)
				left <- err
			}()
			time.Sleep(100 * time.Millisecond)
			io.WriteString(w, "early")
		})))
		c := w.Dial(t, "east")
		pr, pw := io.Pipe()
		defer pw.Close()
		go io.WriteString(pw, "hello")
		res, body := do(t, c, post(t, "/", pr))
		if res.StatusCode != 200 || body != "early" {
			t.Errorf("answer %s %q, want 200 early", res.Status, body)
		}
		if err := <-left; err == nil {
			t.Error("the reader that was left behind saw a clean end")
		}
	})
}

// TestStreamFlood: a connection full of streams whose heads do not come costs the others nothing. // G32
func TestStreamFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Server(func(cfg *tunnel.ServerConfig) { cfg.MaxStreams = 50 }))
		conn := rawSpoke(t, w)
		opened := 0
		for {
			str, err := conn.OpenStream()
			if err != nil {
				break
			}
			opened++
			str.Write([]byte{2})
		}
		if opened != 50 {
			t.Errorf("%d streams were allowed, want 50", opened)
		}
		c := w.Dial(t, "east")
		do(t, c, get(t, "/"))
		time.Sleep(11 * time.Second) // the heads never came
		if n := w.Hubs[0].Stats().Malformed; n != 50 {
			t.Errorf("%d heads were given up, want 50", n)
		}
	})
}
