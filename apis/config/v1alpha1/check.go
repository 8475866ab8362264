package v1alpha1

import (
	"encoding/hex"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The checks that validate.go is made of: one value each, its remedy with it.

func (f *findings) required(at, value, remedy string) {
	if value == "" {
		f.add(at, remedy, "is missing")
	}
}

// seen remembers where a value stood first.
type seen map[string]string

func (f *findings) unique(s seen, at, value string) {
	if value == "" {
		return
	}
	if first, ok := s[value]; ok {
		f.add(at, "give each its own", "is the same as %s", first)
		return
	}
	s[value] = at
}

// distinct refuses two listeners on one address and port; port 0 is a new one each time.
func (f *findings) distinct(addresses ...field) {
	s := seen{}
	for _, a := range addresses {
		if ap, err := netip.ParseAddrPort(a.value); err == nil && ap.Port() != 0 {
			f.unique(s, a.path, ap.String())
		}
	}
}

func (f *findings) inRange(at string, n, low, high int) {
	if n < low || n > high {
		f.add(at, "write a number from "+strconv.Itoa(low)+" to "+strconv.Itoa(high), "%d is out of range", n)
	}
}

func (f *findings) between(at string, d Duration, low, high time.Duration) {
	if d.Duration < low || d.Duration > high {
		f.add(at, "write a duration from "+short(low)+" to "+short(high), "%s is out of range", short(d.Duration))
	}
}

// short prints 1h0m0s as 1h.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var processName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

func (f *findings) processName(at, name string) {
	if !processName.MatchString(name) {
		f.add(at, `write letters, digits, dots and dashes, e.g. "hub-1"`, "%q is no name for a process", name)
	}
}

// SPIFFE ID, section 2.1: lower-case letters, digits, dots, dashes and underscores, at most 255 bytes.
var trustDomain = regexp.MustCompile(`^[a-z0-9._-]{1,255}$`)

func (f *findings) trustDomain(at, name string) {
	const remedy = `write a name of your own without scheme, e.g. "example.com"; it cannot be changed later`
	switch {
	case name == "":
		f.add(at, remedy, "is missing")
	case !trustDomain.MatchString(name):
		f.add(at, remedy, "%q is no trust domain", name)
	}
}

var dnsName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$`)

func (f *findings) dnsName(at, name, example string) {
	const remedy = "write lower-case letters, digits and dashes, e.g. "
	switch {
	case name == "":
		f.add(at, remedy+strconv.Quote(example), "is missing")
	case len(name) > 253 || !dnsName.MatchString(name):
		f.add(at, remedy+strconv.Quote(example), "%q is no name", name)
	}
}

func (f *findings) sha256(at, digest string) {
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != 32 {
		// The value is not repeated: it may be the token itself, put here by mistake.
		f.add(at, `make it with: printf %s "$TOKEN" | sha256sum`, "is no SHA-256 in hex (64 digits)")
	}
}

func (f *findings) cidr(at, cidr string) bool {
	p, err := netip.ParsePrefix(cidr)
	switch {
	case err != nil:
		f.add(at, `write e.g. "10.1.0.0/16" or "192.0.2.7/32"`, "%q is no CIDR", cidr)
	case p != p.Masked():
		f.add(at, "write "+strconv.Quote(p.Masked().String()), "%q has bits set beyond its prefix length", cidr)
	default:
		return true
	}
	return false
}

// listenAddress takes "ip:port"; port 0 is any free one. Names are refused: they may mean another interface tomorrow.
func (f *findings) listenAddress(at, address string) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		f.add(at, `write e.g. "127.0.0.1:9090", or "[::]:9090" for every interface`, "%q is no IP address with port", address)
	}
}

// dialAddresses takes "host:port" that others can dial.
func (f *findings) dialAddresses(at string, addresses []string) {
	s := seen{}
	for i, a := range addresses {
		at := index(at, i)
		if reason := undialable(a); reason != "" {
			f.add(at, `write e.g. "hub.example.com:8443"`, "%q %s", a, reason)
			continue
		}
		f.unique(s, at, a)
	}
}

// undialable says why "host:port" cannot be dialed; "" if it can.
func undialable(address string) string {
	host, port, ok := cutPort(address)
	if !ok {
		return "is not host:port"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
		return "has no port from 1 to 65535"
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.IsUnspecified() {
			return "stands for every interface and cannot be dialed"
		}
		return ""
	}
	if len(host) > 253 || !dnsName.MatchString(host) {
		return "has no host name"
	}
	return ""
}

// cutPort is net.SplitHostPort without its texts; an IPv6 address needs its brackets.
func cutPort(address string) (host, port string, ok bool) {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return "", "", false
	}
	host, port = address[:i], address[i+1:]
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return inner, port, ok
	}
	return host, port, !strings.Contains(host, ":")
}

func (f *findings) httpsURL(at, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" ||
		undialable(u.Host) != "" {
		f.add(at, `write e.g. "https://hub.example.com:8443"`, "%q is no https URL with a port and without a path", text)
	}
}

// etcdEndpoint takes https URLs and unix sockets, and http on loopback: the catalog holds who may use what.
func (f *findings) etcdEndpoint(at, text string) {
	const remedy = `write e.g. "https://etcd.example.com:2379" or "unix:///run/penstock/etcd.sock"`
	if path, ok := strings.CutPrefix(text, unixScheme); ok && path != "" {
		f.socketPath(at, path)
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		// The text is not repeated: an URL may hold a password.
		f.add(at, remedy, "is no URL")
	case u.User != nil:
		f.add(at, "use a client certificate: catalog.certFile and keyFile", "the URL holds a user")
	case u.Scheme == "https" && undialable(u.Host) == "":
	case u.Scheme == "http" && undialable(u.Host) == "":
		if a, err := netip.ParseAddr(u.Hostname()); err != nil || !a.IsLoopback() {
			f.add(at, "use https, or a unix socket", "%q is not encrypted and not on loopback", text)
		}
	default:
		f.add(at, remedy, "%q is no endpoint of etcd", text)
	}
}

// maxSocketPath is sun_path of Linux without its closing zero; other systems have less by a few bytes.
const maxSocketPath = 107

func (f *findings) socketPath(at, path string) {
	if len(path) > maxSocketPath {
		f.add(at, "choose a shorter path, e.g. under /run/penstock", "the path of a unix socket may have %d bytes, this one has %d", maxSocketPath, len(path))
	}
}
