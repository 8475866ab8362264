package gateway

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"penstock.dev/penstock/gateway/filter"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
)

// send makes the request that goes on, sends it and brings back the answer.
func (x *exchange) send() *failure {
	out, f := x.outbound()
	if f != nil {
		return f
	}
	x.mirror(out)
	var res *http.Response
	switch {
	case x.Backend.Via == route.ViaParent && x.g.cfg.Parent != nil:
		res, f = x.toParent(out)
	case x.Backend.Via != route.ViaParent && x.g.cfg.Endpoint != nil:
		res, f = x.toEndpoint(out)
	default:
		// Never anywhere else: a gateway that has lost its parent must not "go direct" (DESIGN, How a request is
		// addressed).
		return fail(reasonNoNextHop, "backend "+x.Backend.Key+" is reached via "+string(x.Backend.Via)+", which this gateway lacks", remedies[reasonNoNextHop])
	}
	if f != nil {
		return f
	}
	defer res.Body.Close()
	return x.answer(res)
}

// outbound is the request that goes on, without tags, body and context: a pattern for the tries. Its header is that of
// the inbound request, which nobody else reads any more.
func (x *exchange) outbound() (*http.Request, *failure) {
	in := x.r
	removeHopByHop(in.Header)
	scheme := "https"
	if x.Backend.Via != route.ViaParent && x.Backend.TLS == nil {
		scheme = "http"
	}
	authority := x.Backend.Authority
	if x.Backend.Via == route.ViaService {
		authority = in.Host
	}
	out := &http.Request{
		Method: in.Method,
		URL: &url.URL{
			Scheme: scheme, Host: authority,
			Path: in.URL.Path, RawPath: in.URL.RawPath, RawQuery: in.URL.RawQuery, ForceQuery: in.URL.ForceQuery,
		},
		Host:  authority,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        in.Header,
		ContentLength: in.ContentLength,
	}
	if x.content != nil {
		out.Trailer = x.content.trailer
	}
	if err := x.filters().Request(route.PhaseRequestHeaders, out); err != nil {
		return nil, filterFailure(err)
	}
	x.setUpgrade(out.Header)
	return out, nil
}

func (x *exchange) filters() filter.Chain {
	return filter.Chain{Filters: x.Filters, Match: x.Match, Skipped: func(f *route.Filter, err error) {
		x.g.cfg.Metrics.FailedOpen(f.Type)
		x.g.cfg.Log.Warn("filter failed and was passed over", "requestId", x.tags.RequestID, "filter", f.Name, "type", f.Type, "from", f.From, "error", err)
	}}
}

// hopByHop are the fields that hold for one connection (RFC 9110 §7.6.1). Trailer goes too: the next message announces
// its own.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Http2-Settings",
}

// removeHopByHop deletes them, and what Connection nominates. TE stays where it only says that trailers are welcome:
// gRPC wants it.
func removeHopByHop(h http.Header) {
	trailers := httpguts.HeaderValuesContainsToken(h["Te"], "trailers")
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" && !hop.Reserved(name) {
				h.Del(name)
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
	if trailers {
		h["Te"] = []string{"trailers"}
	}
}
