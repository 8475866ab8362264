package v1alpha1

import (
	"net/netip"
	"strconv"
)

// Addresses are the static answers in parsed form. The configuration must have been loaded or parsed here, so that every
// address is known to be one.
func (r ResolverConfig) Addresses() map[string][]netip.Addr {
	hosts := make(map[string][]netip.Addr, len(r.Hosts))
	for name, list := range r.Hosts {
		for _, text := range list {
			if a, err := netip.ParseAddr(text); err == nil {
				hosts[name] = append(hosts[name], a)
			}
		}
	}
	return hosts
}

// Port is the port to bind for a listener's port: what Ports maps it to, or itself. 0: any free one.
func (b BindConfig) Port(listener int) int {
	if p, ok := b.Ports[strconv.Itoa(listener)]; ok {
		return p
	}
	return listener
}

// PortMap is Ports by number.
func (b BindConfig) PortMap() map[int]int {
	ports := make(map[int]int, len(b.Ports))
	for text, to := range b.Ports {
		if from, err := strconv.Atoi(text); err == nil {
			ports[from] = to
		}
	}
	return ports
}
