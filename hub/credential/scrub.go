package credential

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Places where servers look for a caller's credential, beside the one a Credential names. A workload that filled one of
// them could be served as somebody else than the hub decided (TH-I4), so all are emptied, for every kind. Names in normal
// form.
var (
	aliasHeaders = []string{
		"authorization", "proxy-authorization", "x-authorization",
		"api-key", "apikey", "x-api-key", "x-apikey", googleHeader,
	}
	// access_token is RFC 6750 §2.3, the others are customs.
	aliasParameters = []string{"access-token", "api-key", "apikey", "x-api-key"}
	// Sub-protocols that carry a token, for browsers, which cannot set headers on a WebSocket.
	aliasProtocols = []string{"openai-insecure-api-key.", "base64url.bearer.authorization."}
)

// googleHeader and googleParameter are one place to Google's services. The name "key" is too common to be taken from
// requests to others.
const googleHeader, googleParameter = "x-goog-api-key", "key"

// normal is the form in which names are compared: servers differ in case, and CGI, PHP and others turn "-", "." and " "
// into "_", drop leading blanks, end at a zero byte and read "name[…]" as name.
func normal(name string) string {
	if i := strings.IndexAny(name, "[\x00"); i >= 0 {
		name = name[:i]
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '.' || r == ' ' {
			return '-'
		}
		return unicode.ToLower(unicode.ToUpper(r)) // both, so that the Kelvin sign is a k and the long s an s
	}, strings.TrimSpace(name))
}

// appendNormal appends the normal form; without garbage for what names mostly are.
func appendNormal(b []byte, name string) []byte {
	start := len(b)
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-':
			b = append(b, c)
		case 'A' <= c && c <= 'Z':
			b = append(b, c+'a'-'A')
		case c == '_' || c == '.':
			b = append(b, '-')
		default:
			return append(b[:start], normal(name)...)
		}
	}
	return b
}

// places a Credential's value may not be accompanied from.
type places struct {
	headers, parameters map[string]bool
}

func (s Spec) places() places {
	p := places{headers: map[string]bool{}, parameters: map[string]bool{}}
	for _, h := range aliasHeaders {
		p.headers[h] = true
	}
	for _, q := range aliasParameters {
		p.parameters[q] = true
	}
	own := normal(s.Name)
	switch s.Kind {
	case Header:
		p.headers[own] = true
		if own == googleHeader {
			p.parameters[googleParameter] = true
		}
	case QueryParameter:
		p.parameters[own] = true
	}
	return p
}

// scrub deletes whatever stands in the places: headers, trailers, nominations, query parameters, user information of the
// URL, and tokens among WebSocket sub-protocols. It replaces req.URL and changes req.Header and req.Trailer.
func (p places) scrub(req *http.Request) {
	var buf [64]byte
	for name, values := range req.Header {
		n := appendNormal(buf[:0], name)
		if p.headers[string(n)] {
			delete(req.Header, name)
			continue
		}
		switch string(n) {
		case "connection", "proxy-connection", "trailer":
			// A nominated header is dropped by the next hop (RFC 9110 §7.6.1), and the request would go on without.
			replace(req.Header, name, values, func(token string) bool { return p.headers[normal(token)] })
		case "sec-websocket-protocol":
			replace(req.Header, name, values, carriesToken)
		}
	}
	for name := range req.Trailer {
		if p.headers[normal(name)] {
			delete(req.Trailer, name)
		}
	}
	u := *req.URL
	u.User = nil // net/http makes an Authorization of it
	u.RawQuery = p.scrubQuery(u.RawQuery)
	req.URL = &u
}

func carriesToken(protocol string) bool {
	protocol = strings.ToLower(protocol)
	return slices.ContainsFunc(aliasProtocols, func(prefix string) bool { return strings.HasPrefix(protocol, prefix) })
}

// replace drops list members, and the header with the last one. A header that loses nothing is left as it was written.
func replace(h http.Header, name string, values []string, drop func(token string) bool) {
	var kept []string
	dropped := false
	for _, v := range values {
		for token := range strings.SplitSeq(v, ",") {
			token = strings.TrimSpace(token)
			switch {
			case drop(token):
				dropped = true
			case token != "":
				kept = append(kept, token)
			}
		}
	}
	switch {
	case !dropped:
	case len(kept) == 0:
		delete(h, name)
	default:
		h[name] = []string{strings.Join(kept, ", ")}
	}
}

// scrubQuery deletes parameters; a query that loses nothing is left as it was written. Some servers still split at ";", so
// a parameter may hide behind one.
func (p places) scrubQuery(query string) string {
	if query == "" {
		return ""
	}
	var b strings.Builder
	separator, kept, dropped := "", false, false
	for rest, more := query, true; more; {
		part, next := rest, ""
		if end := strings.IndexAny(rest, "&;"); end >= 0 {
			part, next, rest = rest[:end], rest[end:end+1], rest[end+1:]
		} else {
			more = false
		}
		switch {
		case p.parameters[parameterName(part)]:
			dropped = true
			if next == "&" { // else the one before stays: a ";" must not take the place of an "&"
				separator = next
			}
		default:
			if kept {
				b.WriteString(separator)
			}
			b.WriteString(part)
			separator, kept = next, true
		}
	}
	if !dropped {
		return query
	}
	return b.String()
}

// parameterName of "name=value", unescaped once as servers do. An escape that is none stands for itself.
func parameterName(part string) string {
	name, _, _ := strings.Cut(part, "=")
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	return normal(name)
}
