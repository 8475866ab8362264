package filter

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/gateway/route"
)

// Preflight reports whether a request asks what a page of another origin may do, rather than to do it (Fetch standard, CORS
// preflight).
func Preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// AnswerPreflight writes the fields of the answer to a preflight, which is 204 whether or not the origin is allowed: a
// browser reads the answer from what is missing.
func AnswerPreflight(h http.Header, c *route.CORS, r *http.Request) {
	h.Add("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	if !allowOrigin(h, c, r.Header.Get("Origin")) {
		return
	}
	allowList(h, "Access-Control-Allow-Methods", c.AllowMethods, c.AllowCredentials, r.Header.Get("Access-Control-Request-Method"))
	allowList(h, "Access-Control-Allow-Headers", c.AllowHeaders, c.AllowCredentials, strings.Join(r.Header.Values("Access-Control-Request-Headers"), ", "))
	if c.MaxAgeSeconds > 0 {
		h.Set("Access-Control-Max-Age", strconv.Itoa(c.MaxAgeSeconds))
	}
}

// MarkResponse puts the fields of the route in the place of those that the destination sent, if any. origin is that of the
// request; empty: it came from no page, and the answer stays as it is but for Vary.
func MarkResponse(h http.Header, c *route.CORS, origin string) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
	if !anyOrigin(c) || c.AllowCredentials {
		h.Add("Vary", "Origin")
	}
	if origin == "" || !allowOrigin(h, c, origin) {
		return
	}
	// "*" says nothing to a browser that sends credentials, and there is nothing to echo.
	if len(c.ExposeHeaders) > 0 && (!c.AllowCredentials || c.ExposeHeaders[0] != "*") {
		h.Set("Access-Control-Expose-Headers", strings.Join(c.ExposeHeaders, ", "))
	}
}

// allowOrigin says whose page may read the answer, if the origin is one of them.
func allowOrigin(h http.Header, c *route.CORS, origin string) bool {
	switch {
	case anyOrigin(c) && !c.AllowCredentials:
		h.Set("Access-Control-Allow-Origin", "*")
	case anyOrigin(c), slices.ContainsFunc(c.AllowOrigins, func(pattern string) bool { return originFits(pattern, origin) }):
		h.Set("Access-Control-Allow-Origin", origin)
	default:
		return false
	}
	if c.AllowCredentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	return true
}

func anyOrigin(c *route.CORS) bool { return len(c.AllowOrigins) == 1 && c.AllowOrigins[0] == "*" }

// allowList writes a list; "*" beside credentials is what was asked for, since a browser takes it literally then.
func allowList(h http.Header, name string, list []string, credentials bool, asked string) {
	switch {
	case len(list) == 0:
	case list[0] != "*" || !credentials:
		h.Set(name, strings.Join(list, ", "))
	case asked != "":
		h.Set(name, asked)
	}
}

// originFits compares an origin with "scheme://host[:port]", whose host may begin with "*." or be "*": a star stands for
// any number of labels. A port that is missing is the scheme's own.
func originFits(pattern, origin string) bool {
	p, err := url.Parse(strings.Replace(pattern, "*", "star", 1))
	o, oerr := url.Parse(strings.ToLower(origin))
	if err != nil || oerr != nil || o.Host == "" || o.Path != "" || o.RawQuery != "" || o.User != nil || p.Scheme != o.Scheme || portOf(p) != portOf(o) {
		return false
	}
	host := strings.ToLower(p.Hostname())
	if !strings.Contains(pattern, "*") {
		return host == o.Hostname()
	}
	suffix := strings.TrimPrefix(host, "star")
	return len(o.Hostname()) > len(suffix) && strings.HasSuffix(o.Hostname(), suffix)
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
