package bhttp

import (
	"net/http"
	"strings"
)

// canonicalNames spares the usual names an allocation each: lower case to what http.Header is keyed by.
var canonicalNames = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Accept-Ranges", "Access-Control-Allow-Origin",
		"Age", "Allow", "Alt-Svc", "Anthropic-Version", "Authorization", "Cache-Control",
		"Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Range", "Content-Type",
		"Cookie", "Date", "Etag", "Expect", "Expires", "Forwarded", "From", "Grpc-Encoding", "Grpc-Message", "Grpc-Status",
		"Grpc-Timeout", "Host", "Idempotency-Key", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
		"If-Unmodified-Since", "Last-Modified", "Link", "Location", "Openai-Organization", "Origin",
		"Pragma", "Priority", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Status", "Range",
		"Referer", "Retry-After", "Server", "Server-Timing", "Set-Cookie", "Strict-Transport-Security", "Te",
		"Traceparent", "Tracestate", "User-Agent", "Vary", "Via", "Www-Authenticate", "X-Api-Key", "X-Content-Type-Options",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Frame-Options", "X-Request-Id", "X-Should-Retry",
	} {
		lower := []byte(name)
		lowerCase(lower)
		m[string(lower)] = name
	}
	return m
}()

// What a Reader learns beyond them. A leased stream carries the requests of the same few clients, so that their own
// names come again and again.
const (
	learnedNames = 32
	learnedBytes = 64 // per name
)

// canonical is http.CanonicalHeaderKey for a name in lower case.
func (r *Reader) canonical(name string) string {
	if c, ok := canonicalNames[name]; ok {
		return c
	}
	if c, ok := r.names[name]; ok {
		return c
	}
	if len(name) > learnedBytes || len(r.names) >= learnedNames {
		return http.CanonicalHeaderKey(name)
	}
	if r.names == nil {
		r.names = make(map[string]string)
	}
	name = strings.Clone(name) // name is a piece of a whole section
	c := http.CanonicalHeaderKey(name)
	r.names[name] = c
	return c
}
