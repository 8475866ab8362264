package endpoint_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/internal/testkit/origin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback opens what the guard otherwise refuses: tests dial 127.0.0.x.
var loopback = []string{"127.0.0.0/8", "::1/128"}

// start makes an Endpoint that knows the origins' names.
func start(t *testing.T, cfg endpoint.Config, origins ...*origin.Origin) *endpoint.Endpoint {
	t.Helper()
	if cfg.Hosts == nil {
		cfg.Hosts = map[string][]netip.Addr{}
	}
	for _, o := range origins {
		cfg.Hosts[o.Name()] = []netip.Addr{o.Addr().Addr()}
	}
	e, err := endpoint.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(e.Close)
	return e
}

// backend for an origin.
func backend(o *origin.Origin) *route.Backend {
	b := &route.Backend{
		Key: "team/origin", Via: route.ViaEndpoint,
		Hostname: o.Name(), Port: o.Port(), Authority: o.Name(),
		AllowedCIDRs: loopback,
	}
	if o.CA != nil {
		b.TLS = &route.TLS{ServerName: o.Name(), CAs: []string{o.CA.PEM()}}
	}
	return b
}

// request as a gateway would hand it on: a parsed server request, its host the workload's.
func request(t *testing.T, method, path string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://workload.example"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if _, piped := body.(*io.PipeReader); piped {
		req.ContentLength = -1 // as a server says it; 0 would be no body
	}
	req.Header.Set("X-Request-Id", "r1")
	return req
}

// do sends a request and reads the whole answer.
func do(t *testing.T, e *endpoint.Endpoint, b *route.Backend, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := e.RoundTrip(req, b)
	if err != nil {
		t.Fatalf("RoundTrip %s %s: %v", req.Method, req.URL.Path, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("body of %s: %v", req.URL.Path, err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatalf("close body of %s: %v", req.URL.Path, err)
	}
	return res, string(body)
}

// fails sends a request that must fail, and returns its error.
func fails(t *testing.T, e *endpoint.Endpoint, b *route.Backend, req *http.Request) *endpoint.Error {
	t.Helper()
	res, err := e.RoundTrip(req, b)
	if err == nil {
		_ = res.Body.Close()
		t.Fatalf("RoundTrip %s: status %d, want an error", req.URL.Path, res.StatusCode)
	}
	var failed *endpoint.Error
	if !errors.As(err, &failed) {
		t.Fatalf("RoundTrip error %T is no *endpoint.Error: %v", err, err)
	}
	return failed
}

// want compares what an error says.
func want(t *testing.T, got *endpoint.Error, cause endpoint.Cause, sent, proven, reused bool, row int) {
	t.Helper()
	if got.Cause != cause || got.Sent != sent || got.Proven != proven || got.Reused != reused || got.Row() != row {
		t.Errorf("cause %s, sent %t, proven %t, reused %t, row %d; want %s, %t, %t, %t, %d\n%v",
			got.Cause, got.Sent, got.Proven, got.Reused, got.Row(), cause, sent, proven, reused, row, got)
	}
}

// watched is a body that says whether it was touched.
type watched struct {
	io.Reader
	mu           sync.Mutex
	read, closed bool
}

func (w *watched) Read(p []byte) (int, error) {
	w.mu.Lock()
	w.read = true
	w.mu.Unlock()
	return w.Reader.Read(p)
}

func (w *watched) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	return nil
}

func (w *watched) touched() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.read || w.closed
}

// protocols runs a test against HTTP/1.1 and HTTP/2 origins, with and without TLS.
func protocols(t *testing.T, f func(t *testing.T, o *origin.Origin, b *route.Backend)) {
	for _, tc := range []struct {
		name     string
		opts     []origin.Option
		protocol string
	}{
		{"https over http/1.1", []origin.Option{origin.HTTP1()}, ""},
		{"https over h2", []origin.Option{origin.HTTP2()}, ""},
		{"cleartext http/1.1", []origin.Option{origin.Plain()}, "HTTP11"},
		{"cleartext h2", []origin.Option{origin.Plain()}, "H2C"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := origin.Start(t, tc.opts...)
			b := backend(o)
			b.Protocol = tc.protocol
			f(t, o, b)
		})
	}
}

var pattern = bytes.Repeat([]byte("pattern "), 4096)

// patternReader gives n bytes without holding them.
type patternReader struct{ n int64 }

func (p *patternReader) Read(b []byte) (int, error) {
	if p.n == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.n, int64(len(pattern))))
	copy(b[:n], pattern)
	p.n -= int64(n)
	return n, nil
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
