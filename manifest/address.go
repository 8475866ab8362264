package manifest

import (
	"fmt"
	"net/netip"
	"regexp"
	"time"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// metadataAddresses are where clouds hand out machine credentials. No Backend may open a range that holds one (TH-E1);
// the dialer refuses them again by address.
func metadataAddresses() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("169.254.169.254"), // AWS, GCP, Azure, OpenStack and others
		netip.MustParseAddr("169.254.170.2"),   // AWS ECS task credentials
		netip.MustParseAddr("169.254.170.23"),  // AWS EKS pod identity
		netip.MustParseAddr("fd00:ec2::254"),   // AWS, IPv6
		netip.MustParseAddr("fd00:ec2::23"),    // AWS EKS pod identity, IPv6
		netip.MustParseAddr("fd20:ce::254"),    // GCP, IPv6
		netip.MustParseAddr("100.100.100.200"), // Alibaba Cloud
		netip.MustParseAddr("192.0.0.192"),     // Oracle Cloud
		netip.MustParseAddr("168.63.129.16"),   // Azure WireServer
	}
}

// checkCIDR wants an exact range, written as such, that covers no metadata address, and returns its canonical form.
func checkCIDR(cidr string) (string, fault) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return "", fault{ReasonInvalidAddressPolicy, fmt.Sprintf("%q is no address range", clip(cidr)), `write e.g. "10.20.0.0/16" or "127.0.0.9/32"`}
	}
	if p.Addr().Is4In6() {
		return "", fault{ReasonInvalidAddressPolicy, fmt.Sprintf("%q is an IPv4 range in IPv6 spelling", cidr), "write the IPv4 range"}
	}
	if p != p.Masked() {
		return "", fault{ReasonInvalidAddressPolicy, fmt.Sprintf("%q has bits behind its mask", cidr), fmt.Sprintf("write %q, if that is what you mean", p.Masked())}
	}
	for _, a := range metadataAddresses() {
		if p.Contains(a) || p.Contains(nat64(a)) {
			return "", fault{ReasonInvalidAddressPolicy, fmt.Sprintf("%q covers the metadata address %s", cidr, a), "open the exact ranges that are needed"}
		}
	}
	return p.String(), fault{}
}

// nat64 is where a NAT64 gateway reaches an IPv4 address (RFC 6052, well-known prefix 64:ff9b::/96); an IPv6 address is
// returned as it is.
func nat64(a netip.Addr) netip.Addr {
	if !a.Is4() {
		return a
	}
	b := [16]byte{0: 0x00, 1: 0x64, 2: 0xff, 3: 0x9b}
	v4 := a.As4()
	copy(b[12:], v4[:])
	return netip.AddrFrom16(b)
}

// durationForm is GEP-2257's: Go durations, but whole numbers of at most five digits, without ns and us.
var durationForm = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)

func parseDuration(d gwv1.Duration) (time.Duration, fault) {
	bad := fault{ReasonUnsupportedValue, fmt.Sprintf("%q is no duration", clip(string(d))), `write e.g. "30s" or "1m30s"`}
	if !durationForm.MatchString(string(d)) {
		return 0, bad
	}
	v, err := time.ParseDuration(string(d))
	if err != nil {
		return 0, bad
	}
	return v, fault{}
}
