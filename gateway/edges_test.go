package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// dial opens a connection that ends with the test.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// whole reads a request to its end, and counts it then: what breaks off was none.
func whole(n *atomic.Int64) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
		n.Add(1)
		return response(200, "ok"), nil
	}
}

// Each limit of what a request may be: it is answered so, in both versions of HTTP, and the next hop never gets a whole one.
func TestWhatIsTooMuchIsRefused(t *testing.T) {
	var reached atomic.Int64
	l := startListening(t, ported(80), whole(&reached), map[int]int{80: 0}, func(e *Edges) {
		e.URIBytes, e.HeaderFields, e.RequestBytes, e.BodyIdle = 512, 20, 1000, 200*time.Millisecond
	})
	http1, http2 := clients(t)
	for version, client := range map[string]*http.Client{"HTTP/1.1": http1, "HTTP/2": http2} {
		for _, c := range []struct {
			name   string
			path   string
			fields int
			body   io.Reader
			length int64 // of the body; -1: not said
			status int
			reason string
		}{
			{"a target at the limit", "/" + strings.Repeat("x", 500), 0, nil, 0, 200, ""},
			{"a target beyond it", "/" + strings.Repeat("x", 512), 0, nil, 0, 414, reasonURITooLong},
			{"some fields", "/", 10, nil, 0, 200, ""},
			{"too many", "/", 30, nil, 0, 431, reasonHeaderTooLarge},
			{"content at the limit", "/", 0, strings.NewReader(strings.Repeat("b", 1000)), 1000, 200, ""},
			{"content beyond it, announced", "/", 0, strings.NewReader(strings.Repeat("b", 1001)), 1001, 413, reasonBodyTooLarge},
			{"content beyond it, of unknown length", "/", 0, strings.NewReader(strings.Repeat("b", 4000)), -1, 413, reasonBodyTooLarge},
			{"content that stops coming", "/", 0, nil, -1, 408, reasonSlowRequest},
		} {
			t.Run(version+": "+c.name, func(t *testing.T) {
				before := reached.Load()
				if c.length < 0 && c.body == nil {
					stuck, free := io.Pipe() // a body of which no byte comes
					defer free.Close()
					c.body = stuck
				}
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addresses()[80].String()+c.path, c.body)
				if err != nil {
					t.Fatal(err)
				}
				if seeker, ok := c.body.(io.Seeker); ok {
					_, _ = seeker.Seek(0, io.SeekStart)
				}
				r.ContentLength = c.length
				for range c.fields {
					r.Header.Add("X-Field", "1")
				}
				res, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				answer, _ := io.ReadAll(res.Body)
				if res.StatusCode != c.status || !strings.Contains(string(answer), c.reason) {
					t.Errorf("%d %s, want %d %s", res.StatusCode, answer, c.status, c.reason)
				}
				if c.status != 200 && !strings.Contains(res.Header.Get("Proxy-Status"), "http_request_error") {
					t.Errorf("Proxy-Status %q", res.Header.Get("Proxy-Status"))
				}
				if n := reached.Load() - before; n != map[bool]int64{true: 1}[c.status == 200] {
					t.Errorf("%d whole requests reached the next hop", n)
				}
			})
		}
	}
}

// A request that is answered may send the rest of its body as slowly as it likes: the impatience is over.
func TestWhoWasAnsweredMayStaySilent(t *testing.T) {
	idle := 100 * time.Millisecond
	var rest atomic.Pointer[string]
	l := startListening(t, ported(80), func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: readerFunc(func(p []byte) (int, error) {
			if rest.Load() != nil {
				return 0, io.EOF
			}
			b, err := io.ReadAll(r.Body)
			if err != nil {
				return 0, err
			}
			s := string(b)
			rest.Store(&s)
			return copy(p, "whole"), nil
		})}, nil
	}, map[int]int{80: 0}, func(e *Edges) { e.BodyIdle = idle })
	_, http2 := clients(t)
	body, sender := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addresses()[80].String()+"/", body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http2.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	<-time.After(5 * idle) // silence, with the answer begun
	_, _ = io.WriteString(sender, "late")
	_ = sender.Close()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != "whole" || *rest.Load() != "late" {
		t.Errorf("%q, %v", got, err)
	}
}

// readerFunc is a body that is a function.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
func (f readerFunc) Close() error               { return nil }

// ceaseless is an answer that never ends, and says when nobody wants more of it.
type ceaseless struct{ closed chan struct{} }

func (e ceaseless) Read(p []byte) (int, error) { clear(p); return len(p), nil }
func (e ceaseless) Close() error               { close(e.closed); return nil }

// begin sends a GET and returns the head of its answer. The body is closed with the test.
func (l *listening) begin(t *testing.T, client *http.Client) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addresses()[80].String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// A reader that takes nothing is cut off, and cannot take what it got for whole.
func TestASlowReaderIsCutOff(t *testing.T) {
	for _, version := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(version, func(t *testing.T) {
			closed := make(chan struct{})
			l := startListening(t, ported(80), func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: 1 << 40, Body: ceaseless{closed}}, nil
			}, map[int]int{80: 0}, func(e *Edges) { e.WriteIdle = 100 * time.Millisecond })
			http1, http2 := clients(t)
			client := map[string]*http.Client{"HTTP/1.1": http1, "HTTP/2": http2}[version]
			res := l.begin(t, client)
			select {
			case <-closed:
			case <-time.After(patience):
				t.Fatal("the next hop still sends")
			}
			if n, err := io.Copy(io.Discard, res.Body); err == nil {
				t.Errorf("the answer ended as if it were whole, after %d bytes", n)
			}
		})
	}
}

// An answer that says nothing for long is no slow reader: it is cut by nobody.
func TestASilentAnswerIsNotCut(t *testing.T) {
	idle := 100 * time.Millisecond
	go1 := make(chan struct{})
	l := startListening(t, ported(80), func(*http.Request) (*http.Response, error) {
		words := make(chan string, 2)
		words <- "first "
		go func() { <-go1; words <- "second"; close(words) }()
		return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: readerFunc(func(p []byte) (int, error) {
			word, ok := <-words
			if !ok {
				return 0, io.EOF
			}
			return copy(p, word), nil
		})}, nil
	}, map[int]int{80: 0}, func(e *Edges) { e.WriteIdle = idle })
	_, http2 := clients(t)
	res := l.begin(t, http2)
	<-time.After(5 * idle)
	close(go1)
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != "first second" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNoMoreConnectionsThanFit(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*Edges)
	}{
		{"at the listener", func(e *Edges) { e.Connections = 2 }},
		{"of one client", func(e *Edges) { e.ClientConnections = 2 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := startListening(t, ported(80), answers200, map[int]int{80: 0}, c.set)
			address := l.Addresses()[80].String()
			served := func(conn net.Conn) bool {
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: api\r\n\r\n")
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				return err == nil && res.StatusCode == http.StatusOK
			}
			first, second := dial(t, address), dial(t, address)
			if !served(first) || !served(second) {
				t.Fatal("what fits is not served")
			}
			if served(dial(t, address)) {
				t.Error("a third is served")
			}
			_ = first.Close()
			for end := time.Now().Add(patience); !served(dial(t, address)); {
				if time.Now().After(end) {
					t.Fatal("the place is not given back")
				}
			}
			if !served(second) {
				t.Error("who was there before is not served any more")
			}
		})
	}
}

// Hundreds of clients that take their time, in four ways, while everybody else is served (G30; 2,000 in make interop).
func TestSlowClientsDisturbNobody(t *testing.T) {
	l := startListening(t, ported(80), func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/large" {
			return response(200, strings.Repeat("x", 8<<20)), nil
		}
		return answers200(r)
	}, map[int]int{80: 0})
	address := l.Addresses()[80].String()
	for _, begin := range []string{
		"",                                   // nothing
		"GET / HTTP/1.1\r\nHost: api\r\nX: ", // a head that never ends
		"POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 100\r\n\r\nx", // a body that never ends
		"GET /large HTTP/1.1\r\nHost: api\r\n\r\n",                     // an answer that is not read
	} {
		for range 50 {
			if _, err := io.WriteString(dial(t, address), begin); err != nil {
				t.Fatal(err)
			}
		}
	}
	http1, http2 := clients(t)
	for n := range 100 {
		for _, client := range []*http.Client{http1, http2} {
			if res, err := l.get(t, client, l.Addresses()[80]); err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("probe %d: %v", n, errors.Join(err))
			}
		}
	}
}
