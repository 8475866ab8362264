package endpoint

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// encodings are the ways to write an IPv4 address that reach it, or claim to.
var encodings = map[string]func(a netip.Addr) netip.Addr{
	"plain":           func(a netip.Addr) netip.Addr { return a },
	"IPv4-mapped":     func(a netip.Addr) netip.Addr { return netip.AddrFrom16(a.As16()) },
	"IPv4-compatible": func(a netip.Addr) netip.Addr { return at("::", 12, a) },
	"IPv4-translated": func(a netip.Addr) netip.Addr { return at("::ffff:0:0:0", 12, a) },
	"NAT64":           func(a netip.Addr) netip.Addr { return at("64:ff9b::", 12, a) },
	"local NAT64":     func(a netip.Addr) netip.Addr { return at("64:ff9b:1::", 12, a) },
	"6to4":            func(a netip.Addr) netip.Addr { return at("2002::", 2, a) },
	"Teredo server":   func(a netip.Addr) netip.Addr { return at("2001::", 4, a) },
	"Teredo client": func(a netip.Addr) netip.Addr {
		b := a.As4()
		for i := range b {
			b[i] = ^b[i]
		}
		return at("2001:0:808:808::", 12, netip.AddrFrom4(b))
	},
}

// at writes the 4 bytes of a at offset i of prefix.
func at(prefix string, i int, a netip.Addr) netip.Addr {
	b := netip.MustParseAddr(prefix).As16()
	four := a.As4()
	copy(b[i:], four[:])
	return netip.AddrFrom16(b)
}

// edges are the first, second, middle and last address of a prefix.
func edges(p netip.Prefix) []netip.Addr {
	first := p.Masked().Addr()
	last := first.AsSlice()
	for i := p.Bits(); i < first.BitLen(); i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	middle := first.AsSlice()
	if p.Bits() < first.BitLen() {
		middle[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	}
	mid, _ := netip.AddrFromSlice(middle)
	out := []netip.Addr{first, mid, end}
	if next := first.Next(); p.Contains(next) {
		out = append(out, next)
	}
	return out
}

// registry is the corpus: the special-purpose ranges as IANA lists them, written down apart from the guard's own table,
// beside addresses of clouds.
var registry = []string{
	"0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.170/32", "192.0.0.171/32", "192.0.2.0/24", "192.88.99.0/24",
	"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
}

var registry6 = []string{
	"::1/128", "::/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32", "2001:2::/48",
	"2001:10::/28", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fd00::/8", "fe80::/10",
	"fec0::/10", "ff00::/8", "4000::/3", "8000::/1",
}

var clouds = []string{
	"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.0.23", "169.254.42.42", "192.0.0.192",
	"100.100.100.200", "168.63.129.16",
}

var clouds6 = []string{"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42", "fd00:c1::a9fe:a9fe"}

// Forbidden is an address that no Backend reaches unless it opens it, and why.
type Forbidden struct {
	Name string
	Addr netip.Addr
}

// Registry is every range of the corpus.
func Registry() []string { return append(append([]string{}, registry...), registry6...) }

// Corpus is T-D12: special-purpose ranges and metadata addresses, in all encodings.
func Corpus() (corpus []Forbidden) {
	four := func(source string, a netip.Addr) {
		for name, encode := range encodings {
			corpus = append(corpus, Forbidden{source + " as " + name, encode(a)})
		}
	}
	for _, cidr := range registry {
		for _, a := range edges(netip.MustParsePrefix(cidr)) {
			four(cidr, a)
		}
	}
	for _, cidr := range registry6 {
		for _, a := range edges(netip.MustParsePrefix(cidr)) {
			corpus = append(corpus, Forbidden{cidr, a})
		}
	}
	for _, c := range clouds {
		four("metadata", netip.MustParseAddr(c))
	}
	for _, c := range clouds6 {
		corpus = append(corpus, Forbidden{"metadata", netip.MustParseAddr(c)})
	}
	for _, zone := range []string{"fe80::1%eth0", "2606:4700::1111%eth0", "::1%lo"} {
		corpus = append(corpus, Forbidden{"a zone", netip.MustParseAddr(zone)})
	}
	return corpus
}

func TestTheGuardRefusesTheWholeCorpus(t *testing.T) { // T-D12
	corpus := append(Corpus(), Forbidden{"no address", netip.Addr{}})
	if len(corpus) < 300 {
		t.Fatalf("the corpus has %d entries, want at least 300", len(corpus))
	}
	for _, e := range corpus {
		if prohibited(e.Addr, nil) == "" {
			t.Errorf("%s: %s is let through", e.Name, e.Addr)
		}
	}
}

func TestTheGuardLetsPublicAddressesThrough(t *testing.T) {
	for _, a := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255",
		"198.20.0.0", "223.255.255.255", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2606:4700:4700::1111", "2a00:1450::1",
		"2001:200::1", "2400::1",
	} {
		if why := prohibited(netip.MustParseAddr(a), nil); why != "" {
			t.Errorf("%s is refused: %s", a, why)
		}
	}
}

func TestAllowedRangesOpenThemselvesAndNothingElse(t *testing.T) {
	for _, tc := range []struct {
		name    string
		allowed string
		addr    string
		open    bool
	}{
		{"a private address", "10.1.0.0/16", "10.1.2.3", true},
		{"its neighbour", "10.1.0.0/16", "10.2.0.0", false},
		{"the same, IPv4-mapped", "10.1.0.0/16", "::ffff:10.1.2.3", true},
		{"the same, allowed IPv4-mapped", "::ffff:10.1.0.0/112", "10.1.2.3", true},
		{"the same through NAT64", "10.1.0.0/16", "64:ff9b::10.1.2.3", true},
		{"its neighbour inside an ISATAP address of a public prefix", "10.1.0.0/16", "2606:4700::5efe:10.2.0.0", false},
		{"the same inside an ISATAP address of a public prefix", "10.1.0.0/16", "2606:4700::5efe:10.1.2.3", true},
		{"its neighbour through NAT64", "10.1.0.0/16", "64:ff9b::10.2.0.0", false},
		{"the same as 6to4, which stays closed", "10.1.0.0/16", "2002:a01:203::", false},
		{"loopback", "127.0.0.0/8", "127.0.0.1", true},
		{"IPv6 loopback", "::1/128", "::1", true},
		{"the unspecified address beside it", "::/127", "::", false},
		{"unique local", "fd12::/16", "fd12::1", true},
		{"shared address space", "100.64.0.0/10", "100.64.0.1", true},
		{"link-local, which cannot be opened", "169.254.0.0/16", "169.254.1.1", false},
		{"IPv6 link-local, which cannot be opened", "fe80::/10", "fe80::1", false},
		{"multicast, which cannot be opened", "224.0.0.0/4", "239.0.0.1", false},
		{"broadcast, which cannot be opened", "0.0.0.0/0", "255.255.255.255", false},
		{"this network, which cannot be opened", "0.0.0.0/0", "0.0.0.0", false},
		{"everything does open private ranges", "0.0.0.0/0", "192.168.1.1", true},
		{"IPv4's everything opens no IPv6", "0.0.0.0/0", "fd00::1", false},
		{"6to4 itself, which cannot be opened", "2002::/16", "2002:808:808::", false},
	} {
		allowed, err := parsePrefixes([]string{tc.allowed})
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if why := prohibited(netip.MustParseAddr(tc.addr), allowed); (why == "") != tc.open {
			t.Errorf("%s: %s with %s allowed: %q", tc.name, tc.addr, tc.allowed, why)
		}
	}
}

func TestMetadataIsNeverOpened(t *testing.T) {
	allowed, err := parsePrefixes([]string{"0.0.0.0/0", "::/0"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range clouds {
		for name, encode := range encodings {
			a := encode(netip.MustParseAddr(c))
			if prohibited(a, allowed) == "" {
				t.Errorf("%s as %s (%s) is let through", c, name, a)
			}
		}
	}
	for _, c := range clouds6 {
		if prohibited(netip.MustParseAddr(c), allowed) == "" {
			t.Errorf("%s is let through", c)
		}
	}
	// RFC 6052 §2.2 has four places for the address in a prefix of 48 bits, depending on how much of it the operator took.
	for _, a := range []string{"64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:0:a9:fea9:fe00:0", "64:ff9b:1::a9fe:a9fe"} {
		if why := prohibited(netip.MustParseAddr(a), allowed); why != metadata[netip.MustParseAddr("169.254.169.254")] {
			t.Errorf("metadata as %s: %q", a, why)
		}
	}
	// ISATAP carries an address under any prefix.
	if prohibited(netip.MustParseAddr("fd00::5efe:169.254.169.254"), allowed) == "" {
		t.Error("metadata inside an ISATAP address is let through")
	}
}

func FuzzTheGuardJudgesEncodingsAlike(f *testing.F) {
	for _, c := range append(clouds, "10.0.0.1", "8.8.8.8") {
		a := netip.MustParseAddr(c).As4()
		f.Add(a[:])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) != 4 {
			return
		}
		a := netip.AddrFrom4([4]byte(raw))
		plain := prohibited(a, nil)
		for _, name := range []string{"IPv4-mapped", "NAT64"} {
			if got := prohibited(encodings[name](a), nil); (got == "") != (plain == "") {
				t.Errorf("%s is %q, as %s %q", a, plain, name, got)
			}
		}
		for name, encode := range encodings {
			if plain != "" && prohibited(encode(a), nil) == "" {
				t.Errorf("%s is %q, but let through as %s", a, plain, name)
			}
		}
	})
}

func TestOwnListenersAreFoundInEveryForm(t *testing.T) {
	s := self{
		own: func() []netip.AddrPort {
			return []netip.AddrPort{
				netip.MustParseAddrPort("192.0.2.10:8443"), netip.MustParseAddrPort("[2001:db8::10]:8443"),
				netip.MustParseAddrPort("0.0.0.0:9000"), netip.MustParseAddrPort("127.0.0.1:7000"),
			}
		},
		interfaces: func() ([]net.Addr, error) {
			return []net.Addr{&net.IPNet{IP: net.ParseIP("198.51.100.7"), Mask: net.CIDRMask(24, 32)}}, nil
		},
	}
	for _, tc := range []struct {
		name string
		addr string
		own  bool
	}{
		{"a listener", "192.0.2.10:8443", true},
		{"its IPv4-mapped form", "[::ffff:192.0.2.10]:8443", true},
		{"its NAT64 form", "[64:ff9b::192.0.2.10]:8443", true},
		{"another port", "192.0.2.10:443", false},
		{"another address", "192.0.2.11:8443", false},
		{"an IPv6 listener", "[2001:db8::10]:8443", true},
		{"a wildcard listener by an interface's address", "198.51.100.7:9000", true},
		{"a wildcard listener by loopback", "127.0.0.1:9000", true},
		{"a wildcard listener by another loopback", "127.9.9.9:9000", true},
		{"a wildcard listener by IPv6 loopback", "[::1]:9000", true},
		{"a wildcard listener by an address that is not ours", "198.51.100.8:9000", false},
		{"a wildcard listener by the unspecified address", "0.0.0.0:9000", true},
		{"a loopback listener by the unspecified address", "0.0.0.0:7000", true},
		{"a loopback listener by the IPv6 unspecified address", "[::]:7000", true},
		{"a listener elsewhere by the unspecified address", "0.0.0.0:8443", false},
	} {
		if got := s.is(netip.MustParseAddrPort(tc.addr)); got != tc.own {
			t.Errorf("%s (%s): %t", tc.name, tc.addr, got)
		}
	}
}

func TestNamesAreOneThingOnly(t *testing.T) {
	for _, tc := range []struct{ in, out string }{
		{"API.example.com.", "api.example.com"},
		{"_srv.example.com", "_srv.example.com"},
		{"127.0.0.1.", "127.0.0.1"},
		{"[::1]", "::1"},
		{"fe80::1%eth0", "fe80::1%eth0"},
		{"2130706433", "2130706433"},
		{"0x7f.1", "0x7f.1"},
		{"", ""},
		{"a..b", ""},
		{".a", ""},
		{"a b", ""},
		{"a/b", ""},
		{"user@a", ""},
		{"１２７.0.0.1", ""},
		{"ⓛocalhost", ""},
		{strings.Repeat("a", 64) + ".com", ""},
		{strings.Repeat("a.", 127) + "com", ""},
		{"a\x00b", ""},
		{"a:80", ""},
	} {
		got, err := normalName(tc.in)
		if got != tc.out || (err != nil) != (tc.out == "") {
			t.Errorf("%q is %q, %v; want %q", tc.in, got, err, tc.out)
		}
	}
}

func FuzzFramesAreFoundInPiecesOfAnySize(f *testing.F) {
	f.Add([]byte{0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0, 0, 0}, uint8(3))
	f.Add([]byte(preface+"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00"), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		read := func(size int) string {
			var r frameReader
			var out strings.Builder
			for p := data; len(p) > 0; {
				n := min(size, len(p))
				r.feed(p[:n], func(kind byte, stream uint32, payload []byte) {
					fmt.Fprintf(&out, "%d %d %x\n", kind, stream, payload)
				})
				p = p[n:]
			}
			return out.String()
		}
		if whole, pieces := read(len(data)+1), read(int(size)+1); whole != pieces {
			t.Errorf("in one piece:\n%sin pieces of %d:\n%s", whole, int(size)+1, pieces)
		}
	})
}

func FuzzHeadsAreJudgedInPiecesOfAnySize(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), uint8(1))
	f.Add([]byte("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"), uint8(7))
	f.Add([]byte("HTTP/1.1 200 OK\n\n"), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		judge := func(size int) bool {
			var w h1Watch
			w.begin()
			for p := data; len(p) > 0; {
				n := min(size, len(p))
				w.got(p[:n])
				p = p[n:]
			}
			return w.doubted()
		}
		if whole, pieces := judge(len(data)+1), judge(int(size)+1); whole != pieces {
			t.Errorf("in one piece %t, in pieces of %d %t", whole, int(size)+1, pieces)
		}
	})
}
