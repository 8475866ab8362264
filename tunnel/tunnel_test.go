package tunnel_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/tunnel"
	"penstock.dev/penstock/tunnel/tunneltest"
)

// get is a GET of a path at some backend.
func get(t *testing.T, path string) *http.Request {
	t.Helper()
	return request(t.Context(), t, http.MethodGet, path, nil)
}

// post is a POST; a *strings.Reader gives it a length.
func post(t *testing.T, path string, body io.Reader) *http.Request {
	t.Helper()
	return request(t.Context(), t, http.MethodPost, path, body)
}

func request(ctx context.Context, t *testing.T, method, path string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://api.payments.svc.clusterset.local"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// do makes the exchange and reads the whole answer.
func do(t *testing.T, c http.RoundTripper, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := c.RoundTrip(req)
	if err != nil {
		t.Fatalf("RoundTrip error = %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read the response: %v", err)
	}
	return res, string(body)
}

func TestExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Latency(20*time.Millisecond))
		c := w.Dial(t, "spoke-a")
		if res, body := do(t, c, get(t, "/v1")); res.StatusCode != 200 || body != "/v1" {
			t.Errorf("GET = %s %q, want 200 and the path", res.Status, body)
		}
		if _, body := do(t, c, post(t, "/v1", strings.NewReader("hello"))); body != "hello" {
			t.Errorf("POST answered %q, want the content echoed", body)
		}
		if got := c.Status(); len(got) != 1 || got[0].State != "ready" || got[0].Outstanding != 0 {
			t.Errorf("status = %+v, want one ready hub with nothing outstanding", got)
		}
		if peers := w.Hubs[0].Peers(); len(peers) != 1 || peers[0].Cluster != "spoke-a" {
			t.Errorf("peers = %v, want spoke-a", peers)
		}
		var _ *tunnel.Client = c.Client
	})
}
