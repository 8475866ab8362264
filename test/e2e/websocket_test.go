package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/websocket"

	"penstock.dev/penstock/internal/testkit/origin"
)

// echoing is a WebSocket server; what it is told to do stands in the path.
func echoing(o *origin.Origin) {
	o.On("/ws", websocket.Handler(func(ws *websocket.Conn) {
		defer ws.Close()
		ws.MaxPayloadBytes = 1 << 20
		_, _ = io.Copy(ws, ws)
	}).ServeHTTP)
	o.On("/ws/refused", origin.Status(http.StatusForbidden))
	o.On("/ws/cut", websocket.Handler(func(ws *websocket.Conn) {
		_, _ = ws.Write([]byte("half"))
		_ = ws.Close()
	}).ServeHTTP)
}

// TestWebSocketsThroughTheChain: an upgrade is HTTP/1.1 at both edges and a raw stream in the tunnel.
func TestWebSocketsThroughTheChain(t *testing.T) {
	o := origin.Start(t) // it would speak HTTP/2: an upgrade goes out on HTTP/1.1 all the same
	echoing(o)
	w := newWorld(t)
	w.write(t, "catalog/origin.yaml", originCA(o)+"---"+backend("api", o.Name(), o.Port(), with("key"))+credential("key", "Bearer", ""))
	h := w.hub(t, "hub-a", "")
	if _, err := h.admin.SetCredential(t.Context(), "ai", "key", []byte("canary-of-the-socket")); err != nil {
		t.Fatal(err)
	}
	s := w.spoke(t, h, "east", "")

	t.Run("messages go both ways, the credential was there", func(t *testing.T) {
		ws := socket(t, s, "/ws", teamA)
		for n := range 50 {
			sent := strings.Repeat(fmt.Sprint(n%10), 1+n*997)
			if err := websocket.Message.Send(ws, sent); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(ws, got); err != nil || string(got) != sent {
				t.Fatalf("message %d of %d bytes: %v", n, len(sent), err)
			}
		}
		if err := ws.Close(); err != nil {
			t.Error(err)
		}
		if got := o.Wait(t, "/ws", 1); got.Header.Get("Authorization") != "Bearer canary-of-the-socket" || got.Host != fmt.Sprintf("%s:%d", o.Name(), o.Port()) {
			t.Errorf("the origin was asked by %q for host %q", got.Header.Get("Authorization"), got.Host)
		}
	})
	t.Run("what the origin says instead is passed on", func(t *testing.T) {
		if _, err := trySocket(t, s, "/ws/refused", teamA); !errors.Is(err, websocket.ErrBadStatus) {
			t.Errorf("%v", err)
		}
	})
	t.Run("who has no grant gets no socket", func(t *testing.T) {
		before := o.Total()
		if _, err := trySocket(t, s, "/ws", teamB); !errors.Is(err, websocket.ErrBadStatus) || o.Total() != before {
			t.Errorf("%v, %d requests at the origin", err, o.Total()-before)
		}
	})
	t.Run("the end of the origin reaches the client", func(t *testing.T) {
		ws := socket(t, s, "/ws/cut", teamA)
		if got, err := io.ReadAll(ws); string(got) != "half" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func socket(t *testing.T, s *spokeProc, path, caller string) *websocket.Conn {
	t.Helper()
	ws, err := trySocket(t, s, path, caller)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return ws
}

// trySocket opens a WebSocket to the host "api" of a spoke.
func trySocket(t *testing.T, s *spokeProc, path, caller string) (*websocket.Conn, error) {
	t.Helper()
	return trySocketTo(t, s, "api", path, caller)
}

func trySocketTo(t *testing.T, s *spokeProc, host, path, caller string) (*websocket.Conn, error) {
	t.Helper()
	cfg, err := websocket.NewConfig("ws://"+host+path, "http://page.example.com")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Header = http.Header{"Authorization": {caller}}
	c, err := dialSpoke(t, s)
	if err != nil {
		t.Fatal(err)
	}
	ws, err := websocket.NewClient(cfg, c)
	if err != nil {
		c.Close()
	}
	return ws, err
}

func dialSpoke(t *testing.T, s *spokeProc) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
}
