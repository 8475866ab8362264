package manifest

import (
	"fmt"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// CatalogDomain is the domain of catalog entries inside tunnels: "<backend>.<namespace>.svc.clusterset.local".
const CatalogDomain = "svc.clusterset.local"

// internalDomain is reserved for gateways themselves; hub.penstock.internal is the control authority.
const internalDomain = "penstock.internal"

// Authority is the name by which a catalog entry is addressed inside tunnels. It needs no DNS.
func Authority(namespace, name string) string { return name + "." + namespace + "." + CatalogDomain }

// entryOf is the inverse of Authority.
func entryOf(authority string) (namespace, name string, ok bool) {
	rest, ok := strings.CutSuffix(authority, "."+CatalogDomain)
	if !ok {
		return "", "", false
	}
	i := strings.LastIndexByte(rest, '.')
	if i <= 0 || i == len(rest)-1 {
		return "", "", false
	}
	return rest[i+1:], rest[:i], true
}

// under reports whether name is domain or lies under it.
func under(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// fault is why a value is refused. The zero value refuses nothing.
type fault struct{ reason, message, remedy string }

func (f fault) ok() bool { return f.reason == "" }

// checkHostname judges the destination of a Backend: a full public DNS name that leads neither into a cluster nor back
// to a gateway. The address behind the name is judged when it is dialed; this is the part that can be known before.
func checkHostname(host string, opt Options) fault {
	const example = `write e.g. "api.example.com"`
	name := strings.ToLower(host)
	quoted := fmt.Sprintf("%q", clip(host))
	switch {
	case host == "":
		return fault{ReasonInvalidHostname, "the hostname is missing", example}
	case strings.Contains(name, "*"):
		return fault{ReasonInvalidHostname, quoted + " has a wildcard", example}
	case looksLikeAddress(name):
		return fault{ReasonInvalidHostname, quoted + " is an IP address", "give the destination a DNS name and " + example}
	case host != name:
		return fault{ReasonInvalidHostname, quoted + " has upper case letters", fmt.Sprintf("write %q", clip(name))}
	case strings.HasSuffix(name, "."):
		return fault{ReasonInvalidHostname, quoted + " ends in a dot", fmt.Sprintf("write %q", clip(strings.TrimRight(name, ".")))}
	case under(name, internalDomain):
		return fault{ReasonSelfReference, quoted + " is a name of the gateways themselves", "name the destination outside"}
	case under(name, "clusterset.local"):
		return fault{ReasonSelfReference, quoted + " is a catalog name and would lead back here", "name the destination outside"}
	}
	for _, own := range opt.OwnNames {
		if strings.EqualFold(strings.TrimSuffix(own, "."), name) {
			return fault{ReasonSelfReference, quoted + " is a name of one of our gateways", "name the destination outside"}
		}
	}
	for _, local := range []string{"cluster.local", opt.clusterDomain(), "svc", "localhost"} {
		if under(name, local) {
			return fault{ReasonClusterLocalName, quoted + " is a name inside a cluster", "use a Service for destinations inside the cluster; " + example}
		}
	}
	if !strings.Contains(name, ".") {
		return fault{ReasonInvalidHostname, quoted + " is not a full name", example}
	}
	return checkDNSName(name)
}

// checkDNSName judges the syntax alone (RFC 1123, without underscore).
func checkDNSName(name string) fault {
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return fault{ReasonInvalidHostname, fmt.Sprintf("%q is no DNS name", clip(name)), `use labels of letters, digits and '-', e.g. "api.example.com"`}
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) > 63 {
			return fault{ReasonInvalidHostname, fmt.Sprintf("the label %q has more than 63 characters", clip(label)), "use a shorter name"}
		}
	}
	return fault{}
}

// looksLikeAddress reports whether any resolver or URL parser might take the name for an address: the literals of IPv4
// and IPv6, and names whose last label is a number (decimal, octal or hexadecimal), which inet_aton and the WHATWG URL
// standard read as IPv4.
func looksLikeAddress(name string) bool {
	trimmed := strings.Trim(name, "[].")
	if _, err := netip.ParseAddr(trimmed); err == nil {
		return true
	}
	if strings.Contains(name, ":") {
		return true
	}
	last := trimmed[strings.LastIndexByte(trimmed, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// intersect is the more specific of two hostnames if one covers the other. Each is exact, "*.example.com", or empty for
// any. GEP-2907 and the Gateway API: "*." stands for one or more labels.
func intersect(a, b string) (string, bool) {
	switch {
	case a == "" || a == b:
		return b, true
	case b == "":
		return a, true
	case covers(a, b):
		return b, true
	case covers(b, a):
		return a, true
	}
	return "", false
}

// covers reports whether the wildcard w matches name, which may be a wildcard itself.
func covers(w, name string) bool {
	suffix, ok := strings.CutPrefix(w, "*")
	if !ok {
		return false
	}
	return len(name) > len(suffix) && strings.HasSuffix(name, suffix)
}

// clip keeps findings readable whatever was written.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
