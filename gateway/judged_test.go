package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"penstock.dev/penstock/internal/testkit/smuggling"
)

// TestSmuggling: each payload on a connection of its own, to a listener. Behind it stands a next hop that counts what it
// gets: exactly the requests of a good payload, and of one in doubt none with doubt about it (THREATS T-D3).
func TestSmuggling(t *testing.T) {
	var got atomic.Int64
	l := startListening(t, ported(80), func(r *http.Request) (*http.Response, error) {
		_, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return nil, err // what breaks off was no request
		}
		got.Add(1)
		return response(200, "ok"), nil
	}, map[int]int{80: 0})
	address := l.Addresses()[80].String()
	for _, p := range smuggling.Corpus() {
		t.Run(p.String(), func(t *testing.T) {
			before := got.Load()
			c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, p.Raw); err != nil {
				t.Fatal(err)
			}
			_ = c.(*net.TCPConn).CloseWrite()
			answers := 0
			for r := bufio.NewReader(c); ; answers++ {
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, res.Body)
				if !p.Good && res.StatusCode == http.StatusOK {
					t.Errorf("answered %d", res.StatusCode)
				}
				if !p.Good && res.StatusCode == http.StatusBadRequest && !res.Close {
					t.Error("a connection in doubt goes on")
				}
			}
			if n := got.Load() - before; n != int64(p.Requests) {
				t.Errorf("%d requests reached the next hop, want %d", n, p.Requests)
			}
			if p.Good && answers != p.Requests {
				t.Errorf("%d answers, want %d", answers, p.Requests)
			}
		})
	}
}

func TestTooManyFieldsAreAnswered(t *testing.T) {
	l := startListening(t, ported(80), answers200, map[int]int{80: 0})
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addresses()[80].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: api\r\n"+strings.Repeat("X: 1\r\n", 300)+"\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge || !res.Close {
		t.Errorf("%v, %v", res, err)
	}
}
