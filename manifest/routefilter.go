package manifest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/gateway/route"
)

// redirect compiles RequestRedirect.
func (k *ruleCheck) redirect(f *gwv1.HTTPRequestRedirectFilter) (*route.Redirect, fault) {
	if f == nil {
		return nil, fault{ReasonUnsupportedValue, "the content of RequestRedirect is missing", "write where to redirect to"}
	}
	out := &route.Redirect{
		Scheme: deref(f.Scheme, ""), Hostname: string(deref(f.Hostname, "")), Port: int(deref(f.Port, 0)), StatusCode: deref(f.StatusCode, 302),
	}
	switch {
	case !slices.Contains([]string{"", "http", "https"}, out.Scheme):
		return nil, fault{ReasonUnsupportedValue, fmt.Sprintf("scheme %q is not served", clip(out.Scheme)), "use http or https"}
	case !slices.Contains([]int{301, 302, 303, 307, 308}, out.StatusCode):
		return nil, fault{ReasonUnsupportedValue, fmt.Sprintf("%d is no redirect", out.StatusCode), "use 301, 302, 303, 307 or 308"}
	case out.Port < 0 || out.Port > 65535:
		return nil, fault{ReasonUnsupportedValue, fmt.Sprintf("%d is no port", out.Port), "use 1 to 65535"}
	}
	if out.Hostname != "" {
		if bad := checkDNSName(out.Hostname); !bad.ok() {
			return nil, fault{ReasonUnsupportedValue, bad.message, bad.remedy}
		}
	}
	if f.Path == nil {
		return out, fault{}
	}
	full, prefix, bad := k.pathModifier(f.Path)
	out.FullPath, out.PrefixPath = full, prefix
	return out, bad
}

// pathModifier reads what URLRewrite and RequestRedirect say of the path. The empty replacement of a prefix is "/".
func (k *ruleCheck) pathModifier(p *gwv1.HTTPPathModifier) (full, prefix *string, bad fault) {
	switch {
	case p.Type == gwv1.FullPathHTTPPathModifier && p.ReplaceFullPath != nil:
		full = p.ReplaceFullPath
	case p.Type == gwv1.PrefixMatchHTTPPathModifier && p.ReplacePrefixMatch != nil:
		prefix = p.ReplacePrefixMatch
		for _, m := range k.rule.Matches {
			if m.Path != nil && deref(m.Path.Type, gwv1.PathMatchPathPrefix) != gwv1.PathMatchPathPrefix {
				return nil, nil, fault{ReasonUnsupportedValue, "replaces a prefix, but the rule matches no prefix", "use path type PathPrefix in all matches"}
			}
		}
	default:
		return nil, nil, fault{ReasonUnsupportedValue, "the path's type and content do not fit", "write ReplaceFullPath with replaceFullPath, or ReplacePrefixMatch with replacePrefixMatch"}
	}
	// The rules for a path are those of a rewrite, whatever is made with it.
	return full, prefix, asUnsupported(checkURLRewrite(&route.URLRewrite{FullPath: full, PrefixPath: prefix}))
}

// mirror compiles RequestMirror; not if its Backend gets no copies: then ResolvedRefs says why, and the rule goes on
// without (HTTPRequestMirrorFilter). A share that is none closes the rule as any other faulty filter does.
func (k *ruleCheck) mirror(at string, f *gwv1.HTTPRequestMirrorFilter) (route.Filter, bool) {
	if f == nil {
		k.invalid(at, missingContent(gwv1.HTTPRouteFilterRequestMirror))
		return route.Filter{}, false
	}
	m, bad := mirrorShare(f)
	if !bad.ok() {
		k.invalid(at+".requestMirror", bad)
		return route.Filter{}, false
	}
	backend, id, bad := k.resolve(f.BackendRef)
	if bad.ok() {
		bad = k.t.takesCopies(backend, id)
	}
	if !bad.ok() {
		k.unresolved(at+".requestMirror.backendRef", bad)
		return route.Filter{}, false
	}
	m.Backend = backend.Key
	return route.Filter{Type: route.FilterRequestMirror, Phase: route.PhaseRequestHeaders, Mirror: m}, true
}

// mirrorShare reads percent or fraction; neither means all requests.
func mirrorShare(f *gwv1.HTTPRequestMirrorFilter) (*route.Mirror, fault) {
	m := &route.Mirror{Numerator: 100, Denominator: 100}
	switch {
	case f.Percent != nil && f.Fraction != nil:
		return nil, fault{ReasonUnsupportedValue, "percent and fraction are both set", "keep one of the two"}
	case f.Percent != nil:
		m.Numerator = int(*f.Percent)
	case f.Fraction != nil:
		m.Numerator, m.Denominator = int(f.Fraction.Numerator), int(deref(f.Fraction.Denominator, 100))
	}
	if m.Denominator < 1 || m.Numerator < 0 || m.Numerator > m.Denominator {
		return nil, fault{ReasonUnsupportedValue, fmt.Sprintf("%d of %d requests is no share", m.Numerator, m.Denominator), "use a share from 0 to 1"}
	}
	return m, fault{}
}

// takesCopies says why a Backend gets no copies of requests. They may cost money and do things twice, so one with a
// credential gets none unless its owner says so. They pass the filters of their route, not those that stand at the
// Backend: where there are some, a copy would go around them.
func (t *translation) takesCopies(b *route.Backend, id ID) fault {
	if b.MirrorsRefused {
		return fault{
			ReasonRefNotPermitted, fmt.Sprintf("%s has a credential and takes no copies", id),
			"mirror to another Backend, or let the owner of this one set egress.mirrors: Accepted",
		}
	}
	if l := t.layers[id]; l != nil && (l.broken != "" || len(l.own)+len(l.defaults)+len(l.overrides) > 0) {
		return fault{
			ReasonRefNotPermitted, fmt.Sprintf("%s has filters of its own or by an EgressPolicy, and copies would go around them", id),
			"mirror to a Backend without filters",
		}
	}
	return fault{}
}

// corsOrigin is scheme, host (which may begin with "*", or be it) and port; "*" alone is any origin.
var corsOrigin = regexp.MustCompile(`^(\*|https?://(\*|(\*\.)?([A-Za-z0-9-]+\.)*[A-Za-z0-9-]+)(:[0-9]{1,5})?)$`)

// corsFilter compiles CORS (GEP-1767).
func corsFilter(f *gwv1.HTTPCORSFilter) (route.Filter, fault) {
	c := &route.CORS{AllowCredentials: deref(f.AllowCredentials, false), MaxAgeSeconds: int(f.MaxAge)}
	for _, o := range f.AllowOrigins {
		if !corsOrigin.MatchString(string(o)) {
			return route.Filter{}, fault{ReasonUnsupportedValue, fmt.Sprintf("%q is no origin", clip(string(o))), `write e.g. "https://app.example.com", "https://*.example.com" or "*"`}
		}
		c.AllowOrigins = append(c.AllowOrigins, strings.ToLower(string(o)))
	}
	for _, m := range f.AllowMethods {
		c.AllowMethods = append(c.AllowMethods, string(m))
	}
	for _, h := range f.AllowHeaders {
		c.AllowHeaders = append(c.AllowHeaders, string(h))
	}
	for _, h := range f.ExposeHeaders {
		c.ExposeHeaders = append(c.ExposeHeaders, string(h))
	}
	for _, name := range slices.Concat(c.AllowMethods, c.AllowHeaders, c.ExposeHeaders) {
		if !httpguts.ValidHeaderFieldName(name) {
			return route.Filter{}, fault{ReasonUnsupportedValue, fmt.Sprintf("%q is no method or header name", clip(name)), "use letters, digits and '-'"}
		}
	}
	for _, list := range [][]string{c.AllowOrigins, c.AllowMethods, c.AllowHeaders, c.ExposeHeaders} {
		if len(list) > 1 && slices.Contains(list, "*") {
			return route.Filter{}, fault{ReasonUnsupportedValue, `"*" stands beside others`, `keep "*" alone, or leave it out`}
		}
	}
	if c.MaxAgeSeconds < 0 {
		return route.Filter{}, fault{ReasonUnsupportedValue, fmt.Sprintf("maxAge %d is negative", c.MaxAgeSeconds), "use 1 or more seconds"}
	}
	return route.Filter{Type: route.FilterCORS, Phase: route.PhaseRequestHeaders, CORS: c}, fault{}
}
