package e2e

import (
	"net/http"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/testkit/origin"
)

// X1 of HOPS B.3: an origin that resets a connection may have done what it was asked. A POST is not sent again and its
// caller is told that nobody knows; a GET is repeated, by the hub alone.
func TestAResetBeforeHeaders(t *testing.T) {
	for _, c := range []struct {
		name string
		opts []origin.Option
	}{
		{"over HTTP/1.1", []origin.Option{origin.HTTP1()}},
		{"over HTTP/2", []origin.Option{origin.HTTP2()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := origin.Start(t, c.opts...)
			o.On("/once/then/ok", origin.Reset(), origin.Status(http.StatusOK))
			w := newWorld(t)
			w.write(t, "catalog/origin.yaml", originCA(o)+"---"+backend("api", o.Name(), o.Port(), ""))
			s := w.spoke(t, w.hub(t, "hub-a", ""), "east", "")

			w.send(t, s, call{host: "api", path: "/warm"}) // so that connections are reused, where libraries like to repeat
			for _, row := range []struct {
				name     string
				c        call
				status   int
				executed string // end of Proxy-Status; empty: no gateway answered
				arrivals int
			}{
				{"a GET is tried three times", call{path: "/reset/get"}, 502, "executed=maybe", 3},
				{"a PUT is repeated with its body", call{method: "PUT", path: "/once/then/ok", body: strings.NewReader("whole")}, 200, "", 2},
				{"a POST arrives once", call{method: "POST", path: "/reset/post", body: strings.NewReader("pay")}, 502, "executed=maybe", 1},
				{"a POST with a key that nobody honours arrives once", call{
					method: "POST", path: "/reset/key", body: strings.NewReader("pay"), header: map[string]string{"Idempotency-Key": "k"},
				}, 502, "executed=maybe", 1},
				{"a POST without a body arrives once", call{method: "POST", path: "/reset/empty"}, 502, "executed=maybe", 1},
				{"a PATCH arrives once", call{method: "PATCH", path: "/reset/patch", body: strings.NewReader("x")}, 502, "executed=maybe", 1},
			} { // those that are repeated come first: failures spend the throttle of B.2
				t.Run(row.name, func(t *testing.T) {
					path := row.c.path
					row.c.host = "api"
					a := w.send(t, s, row.c)
					if ps := a.header.Get("Proxy-Status"); a.status != row.status || !strings.HasSuffix(ps, row.executed) || (row.executed == "") != (ps == "") {
						t.Errorf("answer %d, Proxy-Status %q; want %d and %q", a.status, ps, row.status, row.executed)
					}
					if n := o.Count(path); n != row.arrivals {
						t.Errorf("%d arrivals, want %d", n, row.arrivals)
					}
				})
			}
			for _, arrival := range o.Arrivals() {
				if arrival.Path == "/once/then/ok" && arrival.ContentLength != int64(len("whole")) {
					t.Errorf("a PUT arrived with %d bytes", arrival.ContentLength)
				}
			}
		})
	}
}
