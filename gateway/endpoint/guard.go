package endpoint

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// special is a range that no Backend reaches unless it is openable and the Backend allows it.
type special struct {
	prefix netip.Prefix
	name   string
	// openable: AllowedCIDRs may open it. The others have no destination in them that a Backend could mean.
	openable bool
}

// specials are the IANA IPv4 and IPv6 Special-Purpose Address Registries, without the entries that are globally
// reachable and those that lie within one listed here. 64:ff9b::/96 is judged by the address in it.
var specials = []special{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network", false},
	{netip.MustParsePrefix("10.0.0.0/8"), "private use", true},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared address space", true},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback", true},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local", false},
	{netip.MustParsePrefix("172.16.0.0/12"), "private use", true},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments", false},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation", false},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay anycast", false},
	{netip.MustParsePrefix("192.168.0.0/16"), "private use", true},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking", true},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation", false},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation", false},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast", false},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved", false},

	{netip.MustParsePrefix("::/127"), "unspecified or loopback", false}, // ::1 is opened below, by itself
	{netip.MustParsePrefix("::/96"), "IPv4-compatible", false},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "IPv4-translated", false},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "local-use NAT64", true},
	{netip.MustParsePrefix("100::/64"), "discard-only", false},
	{netip.MustParsePrefix("100:0:0:1::/64"), "dummy prefix", false},
	{netip.MustParsePrefix("2001::/23"), "protocol assignments and Teredo", false},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation", false},
	{netip.MustParsePrefix("2002::/16"), "6to4", false},
	{netip.MustParsePrefix("3fff::/20"), "documentation", false},
	{netip.MustParsePrefix("5f00::/16"), "segment routing identifiers", false},
	{netip.MustParsePrefix("fc00::/7"), "unique local", true},
	{netip.MustParsePrefix("fe80::/10"), "link-local", false},
	{netip.MustParsePrefix("fec0::/10"), "site-local", false},
	{netip.MustParsePrefix("ff00::/8"), "multicast", false},
}

// metadata are the addresses at which clouds answer any process with the machine's own credentials. They are refused
// whatever a Backend allows, in every encoding. 169.254.0.0/16 and 192.0.0.0/24 cannot be opened anyway; they are named
// so that the refusal says what it is.
var metadata = map[netip.Addr]string{
	netip.MustParseAddr("169.254.169.254"):    "metadata (most clouds)",
	netip.MustParseAddr("169.254.170.2"):      "metadata (AWS ECS)",
	netip.MustParseAddr("169.254.170.23"):     "metadata (AWS EKS)",
	netip.MustParseAddr("169.254.0.23"):       "metadata (Tencent)",
	netip.MustParseAddr("169.254.42.42"):      "metadata (Scaleway)",
	netip.MustParseAddr("192.0.0.192"):        "metadata (Oracle)",
	netip.MustParseAddr("100.100.100.200"):    "metadata (Alibaba)",
	netip.MustParseAddr("168.63.129.16"):      "metadata (Azure wire server)",
	netip.MustParseAddr("fd00:ec2::254"):      "metadata (AWS)",
	netip.MustParseAddr("fd00:ec2::23"):       "metadata (AWS EKS)",
	netip.MustParseAddr("fd20:ce::254"):       "metadata (Google)",
	netip.MustParseAddr("fd00:42::42"):        "metadata (Scaleway)",
	netip.MustParseAddr("fd00:c1::a9fe:a9fe"): "metadata (Oracle)",
}

// prohibited says why an address must not be dialed, or "" (THREATS TH-E1). It is pure. allowed are the Backend's
// ranges; they open private and loopback ranges, never metadata and never what no Backend can mean.
//
// An address that carries another one inside (IPv4-mapped, NAT64, 6to4, Teredo, ISATAP …) is judged by both. But what a
// local-use NAT64 prefix carries depends on how the operator has cut it: of that metadata is refused wherever it may stand,
// and the rest is for whoever opens the range to know.
func prohibited(a netip.Addr, allowed []netip.Prefix) string {
	if !a.IsValid() {
		return "not an address"
	}
	if a.Zone() != "" {
		return "an address with a zone"
	}
	a = a.Unmap()
	inner := embedded(a)
	for _, x := range append(inner, a) {
		if name, ok := metadata[x]; ok {
			return name
		}
	}
	if why := prohibitedRange(a, allowed); why != "" {
		return why
	}
	if nat64.Contains(a) || isatap(a) {
		// The translator, or the router, decides what it reaches; so the address inside must be one we would dial.
		return prohibitedRange(inner[0], allowed)
	}
	return ""
}

// loopback6 is the one address of ::/127 that a Backend can mean.
var loopback6 = netip.IPv6Loopback()

func prohibitedRange(a netip.Addr, allowed []netip.Prefix) string {
	for _, s := range specials {
		if !s.prefix.Contains(a) {
			continue
		}
		if (s.openable || a == loopback6) && contains(allowed, a) {
			return ""
		}
		return s.name
	}
	if a.Is6() && !global6.Contains(a) && !nat64.Contains(a) {
		return "outside the allocated global unicast range"
	}
	return ""
}

// global6 is all that IANA has given out as global unicast.
var global6 = netip.MustParsePrefix("2000::/3")

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// The ranges whose addresses carry an IPv4 address.
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // RFC 6052
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")  // RFC 8215
	sixToFour  = netip.MustParsePrefix("2002::/16")       // RFC 3056, bits 16-47
	teredo     = netip.MustParsePrefix("2001::/32")       // RFC 4380, server at bits 32-63, client inverted at the end
	compatible = netip.MustParsePrefix("::/96")           // RFC 4291 §2.5.5.1
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // RFC 2765
)

// embedded are the IPv4 addresses inside an unmapped address.
func embedded(a netip.Addr) []netip.Addr {
	if !a.Is6() {
		return nil
	}
	b := a.As16()
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(b[i : i+4])) }
	switch {
	case nat64Local.Contains(a):
		// RFC 6052 §2.2: behind 48, 56, 64 and 96 bits, around bits 64 to 71.
		return []netip.Addr{at(12), netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]}), netip.AddrFrom4([4]byte{b[7], b[9], b[10], b[11]}), at(9)}
	case nat64.Contains(a), compatible.Contains(a), translated.Contains(a):
		return []netip.Addr{at(12)}
	case sixToFour.Contains(a):
		return []netip.Addr{at(2)}
	case teredo.Contains(a):
		var client [4]byte
		binary.BigEndian.PutUint32(client[:], ^binary.BigEndian.Uint32(b[12:]))
		return []netip.Addr{at(4), netip.AddrFrom4(client)}
	case isatap(a):
		return []netip.Addr{at(12)}
	}
	return nil
}

// isatap reports an address of RFC 5214: any prefix, then 00-00-5E-FE or 02-00-5E-FE.
func isatap(a netip.Addr) bool {
	b := a.As16()
	return a.Is6() && b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

// parsePrefixes reads route.Backend.AllowedCIDRs. An IPv4-mapped prefix means its IPv4 one, since addresses are compared
// unmapped.
func parsePrefixes(cidrs []string) ([]netip.Prefix, error) {
	if len(cidrs) == 0 {
		return nil, nil
	}
	out := make([]netip.Prefix, 0, len(cidrs))
	for _, s := range cidrs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("allowed range %q is not a CIDR; write e.g. \"10.1.0.0/16\": %w", s, err)
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
