// Package origin is the outside world of tests: an HTTP server on a loopback address that counts what arrives and
// misbehaves on command. Only tests import it.
//
//	o := origin.Start(t)                     // https, h2 and http/1.1, own CA, 127.0.0.1, any port
//	o.On("/v1/chat", origin.Status(503), origin.Status(200))
//	… send something to o.Host() at o.Addr(), trusting o.CA.PEM() …
//	if n := o.Count("/v1/chat"); n != 2 { … }
//
// A path without On has the behaviour of its first segment:
//
//	/echo              the request's body, trailers and content type come back; head in X-Echo-* headers
//	/status/503        that status; ?retry-after=1 adds the header
//	/reset             the connection is reset (h2: the stream) before response headers
//	/reset-body?n=10   n bytes of a longer body, then a reset
//	/slow              response headers only once the client is gone or Release was called
//	/sse?n=3           n events, flushed one by one; the last one only after Release
//	/trailers          a body, then the trailers X-Sum and X-Late
//	/early             a 103 with Link, then 200
//	/bytes?n=1000      n bytes of unknown length announced; &length=1 announces them
//	/redirect          302 to ?to=
//	anything else      200 and "ok"
//
// Each arrival is recorded before it is answered, so a count is exact as soon as the client has its answer. Arrivals
// are told apart by path and, where the client sends one, by the header X-Request-Id.
package origin
