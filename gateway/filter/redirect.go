package filter

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"penstock.dev/penstock/gateway/route"
)

// Location is where a redirect sends the client of r: an absolute URL. m is the match that won, for PrefixPath; listener is
// where the request came in. Errors mean that the request or the redirect names no host or path that could be written.
func Location(r *http.Request, d *route.Redirect, m *route.Match, listener *route.Listener) (string, error) {
	out := url.URL{Scheme: "http", Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	if listener.Protocol == route.ProtocolHTTPS {
		out.Scheme = "https"
	}
	port := listener.Port
	if d.Scheme != "" {
		out.Scheme, port = d.Scheme, wellKnown(d.Scheme)
	}
	if d.Port != 0 {
		port = d.Port
	}
	host := d.Hostname
	if host == "" {
		host = withoutPort(r.Host)
	}
	if host == "" || !httpguts.ValidHostHeader(host) || strings.ContainsAny(host, "/?#@\\") {
		return "", fmt.Errorf("%q is not a host name", host)
	}
	if out.Host = host; port != wellKnown(out.Scheme) {
		out.Host = net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
	}
	path := ""
	switch {
	case d.FullPath != nil:
		path = *d.FullPath
	case d.PrefixPath != nil:
		var err error
		if path, err = replacePrefix(r.URL, m, *d.PrefixPath); err != nil {
			return "", err
		}
	}
	if path != "" {
		if err := setPath(&out, path); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

func wellKnown(scheme string) int {
	if scheme == "https" {
		return 443
	}
	return 80
}

// withoutPort is the host of an authority as it was written; an IPv6 address keeps its brackets.
func withoutPort(authority string) string {
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.Contains(authority[i:], "]") {
		return authority[:i]
	}
	return authority
}
