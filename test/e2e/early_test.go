package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/testkit/origin"
)

// A destination that answers a head and does not want the body of it: the answer arrives, and the body, which its client holds
// back, is never asked for. It is held back by Expect, or, where the destination does not wait for it itself (HTTP/2) and
// its length is not known, for no reason.
func TestAnAnswerThatComesBeforeTheBody(t *testing.T) {
	everyProtocol(t, func(t *testing.T, w *world, s *spokeProc, o *origin.Origin, host string, h2 bool) {
		if h2 {
			return // the client here is a bare connection
		}
		o.On("/early", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "2")
			rw.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = io.WriteString(rw, "no")
		})
		o.On("/early-stream", func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusRequestEntityTooLarge)
			_ = http.NewResponseController(rw).Flush()
			_, _ = io.WriteString(rw, "no")
		})
		for _, path := range []string{"/early", "/early-stream"} {
			for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
				for _, framing := range []string{"Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"} {
					if expect == "" && (framing[0] == 'C' || strings.HasSuffix(host, "h1")) {
						continue
					}
					t.Run(path+", "+strings.TrimSpace(framing)+", "+strings.TrimSpace(expect), func(t *testing.T) {
						c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
						if err != nil {
							t.Fatal(err)
						}
						defer c.Close()
						if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
							t.Fatal(err)
						}
						fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n%s%s\r\n", path, host, teamA, framing, expect)
						in := bufio.NewReader(c)
						res, err := http.ReadResponse(in, nil)
						for err == nil && res.StatusCode == http.StatusContinue {
							res, err = http.ReadResponse(in, nil)
						}
						if err != nil {
							t.Fatalf("no answer: %v", err)
						}
						body, err := io.ReadAll(res.Body)
						if err != nil || string(body) != "no" || res.StatusCode != http.StatusRequestEntityTooLarge {
							t.Errorf("%d %q, %v", res.StatusCode, body, err)
						}
					})
				}
			}
		}
	})
}
