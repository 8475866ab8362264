package endpoint

import (
	"net"
	"net/netip"
)

// self finds out whether an address and port is one of our own listeners or another registered gateway
// (HOPS-AND-RETRIES A.3 step 7). It is asked before the guard, so that a loop is answered as a loop.
type self struct {
	own func() []netip.AddrPort // nil: none
	// interfaces are the addresses of this machine; net.InterfaceAddrs but in tests.
	interfaces func() ([]net.Addr, error)
}

// is reports whether dialing a would reach a gateway. Encodings of an address count as that address.
func (s *self) is(a netip.AddrPort) bool {
	if s.own == nil {
		return false
	}
	dst := a.Addr().WithZone("").Unmap()
	forms := append(embedded(dst), dst)
	for _, own := range s.own() {
		if own.Port() != a.Port() {
			continue
		}
		addr := own.Addr().WithZone("").Unmap()
		for _, form := range forms {
			if form == addr || addr.IsUnspecified() && s.local(form) {
				return true
			}
			// The system takes a connection to the unspecified address to itself.
			if form.IsUnspecified() && (addr.IsUnspecified() || s.local(addr)) {
				return true
			}
		}
	}
	return false
}

// local reports whether an address is one of this machine.
func (s *self) local(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	addrs, err := s.interfaces()
	if err != nil {
		return false
	}
	for _, x := range addrs {
		if n, ok := x.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a {
				return true
			}
		}
	}
	return false
}
