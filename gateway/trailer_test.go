package gateway

import (
	"io"
	"net/http"
	"testing"
)

// What frames a message, or routes it, comes in no trailer, whatever the next hop has put there (RFC 9110 §6.5.1): a client that
// merges trailers would believe it.
func TestTrailersFrameNothing(t *testing.T) {
	l := startListening(t, ported(80), func(*http.Request) (*http.Response, error) {
		res := response(200, "ok")
		res.ContentLength = -1
		res.Trailer = http.Header{
			"X-Sum": {"1"}, "Content-Length": {"9"}, "Transfer-Encoding": {"chunked"}, "Host": {"evil"}, "Connection": {"close"}, "Upgrade": {"h2c"}, "Content_length": {"9"},
		}
		return res, nil
	}, map[int]int{80: 0})
	http1, http2 := clients(t)
	for _, client := range []*http.Client{http1, http2} {
		res := l.begin(t, client)
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		if len(res.Trailer) != 1 || res.Trailer.Get("X-Sum") != "1" {
			t.Errorf("%s: trailers %v", res.Proto, res.Trailer)
		}
	}
}
