package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"penstock.dev/penstock/internal/testkit/origin"
)

// connect asks the host of a spoke for a WebSocket by extended CONNECT, in the clear.
func connect(t *testing.T, s *spokeProc, host, path, caller string) (*http.Response, *io.PipeWriter) {
	t.Helper()
	c, err := dialSpoke(t, s)
	if err != nil {
		t.Fatal(err)
	}
	cc, err := (&http2.Transport{AllowHTTP: true}).NewClientConn(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	content, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, "http://"+host+path, content)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = -1
	req.Header = http.Header{":protocol": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Origin": {"http://page.example.com"}, "Authorization": {caller}}
	res, err := cc.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res, w
}

// echoed sends words and reads each back.
func echoed(t *testing.T, w io.Writer, r io.Reader) {
	t.Helper()
	for _, word := range []string{"text", strings.Repeat("large frame ", 30_000)} {
		go func() { _, _ = io.WriteString(w, word) }()
		got := make([]byte, len(word))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != word {
			t.Fatalf("%d bytes came back as others, %v", len(word), err)
		}
	}
}

// TestWebSocketsOverEveryProtocol: HTTP/1.1 and HTTP/2 on both sides of the chain, with the credential in the middle.
func TestWebSocketsOverEveryProtocol(t *testing.T) {
	ca := origin.NewCA(t)
	one, two := origin.Start(t, origin.Signed(ca), origin.HTTP1()), origin.Start(t, origin.Signed(ca), origin.HTTP2())
	echoing(one)
	two.On("/ws", origin.Echo())
	two.On("/ws/refused", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	w := newWorld(t)
	second := strings.Replace(backend("two", two.Name(), two.Port(), with("key")), "  tls:", "  protocol: HTTP2\n  tls:", 1)
	w.write(t, "catalog/origin.yaml", originCA(one)+"---"+backend("one", one.Name(), one.Port(), with("key"))+second+credential("key", "Bearer", ""))
	h := w.hub(t, "hub-a", "")
	if _, err := h.admin.SetCredential(t.Context(), "ai", "key", []byte("canary-of-the-socket")); err != nil {
		t.Fatal(err)
	}
	s := w.spoke(t, h, "east", "")
	for host, o := range map[string]*origin.Origin{"one": one, "two": two} {
		t.Run("h2c to "+host, func(t *testing.T) {
			res, up := connect(t, s, host, "/ws", teamA)
			if res.StatusCode != http.StatusOK || res.Header.Get("Sec-Websocket-Accept") != "" {
				t.Fatalf("%d %v", res.StatusCode, res.Header)
			}
			if o == two { // the other origin wants frames; its raw bytes are in the test of package gateway
				echoed(t, up, res.Body)
				up.Close()
				if rest, err := io.ReadAll(res.Body); err != nil || len(rest) != 0 {
					t.Errorf("then %q, %v", rest, err)
				}
			}
			if got := o.Wait(t, "/ws", 1).Header.Get("Authorization"); got != "Bearer canary-of-the-socket" {
				t.Errorf("the origin was asked by %q", got)
			}
			if res, _ := connect(t, s, host, "/ws/refused", teamA); res.StatusCode != http.StatusForbidden {
				t.Errorf("refused with %d", res.StatusCode)
			}
			before := o.Total()
			if res, _ := connect(t, s, host, "/ws", teamB); res.StatusCode != http.StatusForbidden || o.Total() != before {
				t.Errorf("without a grant: %d, %d requests at the origin", res.StatusCode, o.Total()-before)
			}
		})
		t.Run("HTTP/1.1 to "+host, func(t *testing.T) {
			ws, err := trySocketTo(t, s, host, "/ws", teamA)
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close()
			if o == one {
				echoed(t, ws, ws)
			}
		})
	}
}
