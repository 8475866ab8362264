package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"penstock.dev/penstock/gateway/h1"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/gateway/telemetry"
	"penstock.dev/penstock/tunnel"
)

// intake is where a request came in.
type intake struct {
	protocol route.Protocol
	port     int // 0 at tunnels
}

func (in intake) tunnel() bool { return in.protocol == route.ProtocolTunnel }

// arrive is steps 1 to 3: the raw header block, and who the peer is.
func (x *exchange) arrive() *failure {
	var err error
	if x.from.tunnel() {
		peer, ok := x.g.peer(x.r.Context())
		switch {
		case !ok:
			x.tags.RequestID = hop.NewRequestID()
			return fail(reasonNoPeer, "a request without a tunnel peer", "")
		case peer.Role == tunnel.RoleHub:
			x.tags, err = hop.FromHub(x.r.Header, peer.Group, func(cluster string) bool {
				return x.g.cfg.Vouches != nil && x.g.cfg.Vouches(peer, cluster)
			}, x.self, x.table.limits)
		default:
			x.tags, err = hop.FromPeer(x.r.Header, peer.Group, peer.Cluster, x.self, x.table.limits)
		}
		if err == nil && hop.ReservedAuthority(x.r.Host) {
			return fail(reasonReservedHost, fmt.Sprintf("host %q came through a tunnel", x.r.Host), remedies[reasonReservedHost])
		}
	} else {
		var stripped int
		x.tags, stripped, err = hop.FromWorkload(x.r.Header, x.r.Host, x.self, x.table.limits)
		x.g.cfg.Metrics.Stripped(stripped)
	}
	if err != nil {
		return hopFailure(err)
	}
	x.trace = telemetry.TraceOf(x.r.Header)
	if f := x.framing(); f != nil {
		return f
	}
	if f := x.extendedConnect(); f != nil {
		return f
	}
	switch x.r.Method {
	case http.MethodConnect, http.MethodTrace, "TRACK":
		return fail(reasonMethod, "method "+x.r.Method, remedies[reasonMethod]) // THREATS TH-I2
	}
	x.upgrade = upgradeOf(x.r)
	return nil
}

// framing refuses what HTTP/2 does not allow and Go's server lets through (RFC 9113 §8.2.2, §8.3.1): a next hop that
// speaks HTTP/1.1 might act on it (THREATS TH-T1).
func (x *exchange) framing() *failure {
	h := x.r.Header
	if host, ok := h["Host"]; ok {
		if len(host) != 1 || !strings.EqualFold(host[0], x.r.Host) {
			return fail(reasonMalformed, fmt.Sprintf("authority %q, host %q", x.r.Host, host), "send one host")
		}
		delete(h, "Host")
	}
	if x.from.tunnel() {
		return nil
	}
	if strings.ContainsAny(x.r.Host, "/@?#\\") {
		return fail(reasonMalformed, "an authority with a user or a path", "send host and port alone (RFC 9110 §7.2)")
	}
	if x.r.ProtoMajor < 2 {
		return nil // the rest was judged on the wire
	}
	target := x.r.RequestURI
	switch lengths := h["Content-Length"]; {
	case !h1.Token(x.r.Method):
		return fail(reasonMalformed, "the method is no token", "send a method of RFC 9110 §9")
	case x.r.Method != http.MethodConnect && (!h1.Target(target) || !strings.HasPrefix(target, "/") && target != "*"):
		return fail(reasonMalformed, "a :path that is none", "send :path as path and query (RFC 9113 §8.3.1)")
	case len(lengths) > 1 || len(lengths) == 1 && !h1.Length(lengths[0]):
		return fail(reasonMalformed, "a Content-Length that is no number, or several", "send one, or none")
	}
	for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade"} {
		if _, ok := h[name]; ok {
			return fail(reasonMalformed, "field "+name+" in HTTP/2", "leave connection-specific fields out")
		}
	}
	if te := h["Te"]; len(te) > 1 || len(te) == 1 && te[0] != "trailers" {
		return fail(reasonMalformed, "a TE other than trailers in HTTP/2", "leave connection-specific fields out")
	}
	return nil
}

// identify names the caller. At a tunnel the peer has done it.
func (x *exchange) identify() *failure {
	if x.from.tunnel() {
		return nil
	}
	// Whatever it says, it is meant for us and goes no further (RFC 9110 §11.7.2).
	defer x.r.Header.Del("Proxy-Authorization")
	if x.g.cfg.Identify == nil {
		return nil
	}
	subject, err := x.g.cfg.Identify(x.r)
	if err != nil {
		f := fail(reasonIdentityInvalid, err.Error(), remedies[reasonIdentityInvalid])
		if errors.Is(err, ErrIdentityUnavailable) {
			f.reason, f.remedy = reasonIdentityUnavailable, ""
		}
		f.cause = err
		return f
	}
	x.tags.Subject = subject
	return nil
}

// hostOf is the host of an authority, in lower case, without port and final dot.
func hostOf(authority string) string {
	host := authority
	if h, _, err := net.SplitHostPort(authority); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
