package hop

import (
	"net/http"
	"strings"
)

// The headers. Canonical, as http.Header keys them.
const (
	headerPath         = "Penstock-Path"
	headerBudget       = "Penstock-Budget"
	headerRequestID    = "Penstock-Request-Id"
	headerSubject      = "Penstock-Subject"
	headerNotProcessed = "Penstock-Not-Processed"
	headerAttempts     = "Penstock-Attempts"
	headerCDNLoop      = "Cdn-Loop"
	headerVia          = "Via"
	headerProxyStatus  = "Proxy-Status"
	headerGRPCTimeout  = "Grpc-Timeout"
	headerConnection   = "Connection"
)

const (
	reservedPrefix = "penstock-"
	reservedHost   = "penstock.internal"
)

// kind of a header name.
type nameKind int

const (
	free    nameKind = iota
	tag              // Penstock-*
	cdnLoop          // CDN-Loop
	twin             // one of them with underscores: many servers (CGI, WSGI) read both as the same
)

// classify works on names in any case, since not every source of a header map canonicalises.
func classify(name string) nameKind {
	switch {
	case len(name) < len(headerCDNLoop):
		return free
	case hasPrefixFold(name, reservedPrefix):
		return tag
	case strings.EqualFold(name, headerCDNLoop):
		return cdnLoop
	case strings.IndexByte(name, '_') < 0:
		return free
	}
	plain := strings.ReplaceAll(name, "_", "-")
	if hasPrefixFold(plain, reservedPrefix) || strings.EqualFold(plain, headerCDNLoop) {
		return twin
	}
	return free
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// Reserved reports whether a header name is ours: Penstock-*, CDN-Loop and their twins with underscores, in any case. No
// configurable rule may add, change or delete one (T-A7).
func Reserved(name string) bool { return classify(name) != free }

// ReservedAuthority reports whether an authority, with or without port, lies under penstock.internal.
func ReservedAuthority(authority string) bool {
	host := authority
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	host = strings.ToLower(strings.TrimRight(host, "."))
	return host == reservedHost || strings.HasSuffix(host, "."+reservedHost)
}

// StripTags deletes Penstock-* and every twin from h and returns how many names that were. It is for requests and
// responses that are handed over without Write and WriteOutside, which do it themselves.
func StripTags(h http.Header) int {
	return strip(h, func(k nameKind) bool { return k == tag || k == twin })
}

// StripTrailer deletes every reserved name from a trailer section and returns how many that were. A tag is never read
// from a trailer, nor passed on in one: it would arrive after the decision.
func StripTrailer(trailer http.Header) int {
	return strip(trailer, func(k nameKind) bool { return k != free })
}

func strip(h http.Header, drop func(nameKind) bool) (n int) {
	for name := range h {
		if drop(classify(name)) {
			delete(h, name)
			n++
		}
	}
	return n
}

// checkNames refuses what could make a proxy behind us drop or double a reserved name: a nomination in Connection
// (RFC 9110 §7.6.1; haproxy and nginx pass it on), or a twin with underscores.
func checkNames(h http.Header) error {
	for name, values := range h {
		if classify(name) == twin {
			return refuse(Nominated, "header %q is the twin of a reserved name", name)
		}
		if !strings.EqualFold(name, headerConnection) {
			continue
		}
		for _, v := range values {
			for option := range strings.SplitSeq(v, ",") {
				if option = strings.Trim(option, " \t"); Reserved(option) {
					return refuse(Nominated, "Connection nominates %q", option)
				}
			}
		}
	}
	return nil
}
