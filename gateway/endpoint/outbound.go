package endpoint

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"penstock.dev/penstock/gateway/route"
)

// outbound is the request that goes on the wire: a copy with its own header map, URL and trailer map, so that nothing
// done to it, a credential least of all, shows in the request it was made of.
//
// Scheme and host come from the Backend alone. Framing comes from the parsed form, and is decided by the codec: fields
// that speak about a connection or about framing are not passed on (THREATS TH-T1; no Upgrade, so no h2c upgrade
// either).
func outbound(ctx context.Context, req *http.Request, b *route.Backend, body *upload, h2 bool) *http.Request {
	out := &http.Request{
		Method:     req.Method,
		URL:        &url.URL{Scheme: "http", Host: authority(b), Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery, ForceQuery: req.URL.ForceQuery},
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     req.Header.Clone(),
		Host:       authority(b),
	}
	if b.TLS != nil {
		out.URL.Scheme = "https"
	}
	if out.Header == nil {
		out.Header = http.Header{}
	}
	for _, name := range connectionFields {
		out.Header.Del(name)
	}
	if te := req.Header.Values("Te"); len(te) > 0 && !strings.EqualFold(strings.Join(te, ","), "trailers") {
		out.Header.Del("Te")
	}
	if _, set := out.Header["User-Agent"]; !set {
		out.Header["User-Agent"] = []string{""} // otherwise net/http adds its own
	}
	if body == nil {
		out.Header.Del("Expect") // of a body that does not come
	} else {
		out.Body = body
		out.ContentLength = body.length
		out.Trailer = body.announce()
		if !h2 && (body.length < 0 || len(out.Trailer) > 0) {
			// Said here, since net/http would read a byte of the body to find out, before the head is sent. Trailers need
			// it too (RFC 9112 §7.1.2).
			out.ContentLength, out.TransferEncoding = -1, []string{"chunked"}
		}
	}
	return out.WithContext(ctx)
}

// connectionFields belong to one connection (RFC 9110 §7.6.1) or say what the codec says itself.
var connectionFields = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Trailer",
	"Content-Length", "Host",
}

// authority is what the destination reads as Host or :authority.
func authority(b *route.Backend) string {
	if b.Authority != "" {
		return b.Authority
	}
	if b.TLS != nil && b.Port == 443 || b.TLS == nil && b.Port == 80 {
		if strings.Contains(b.Hostname, ":") {
			return "[" + b.Hostname + "]"
		}
		return b.Hostname
	}
	return net.JoinHostPort(b.Hostname, strconv.Itoa(b.Port))
}
