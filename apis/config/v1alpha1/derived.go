package v1alpha1

import (
	"net/netip"
	"strconv"
)

// Addresses are the static answers in parsed form. The configuration must have been loaded or parsed here, so that every
// address is known to be one.
func (c *ResolverConfig) Addresses() map[string][]netip.Addr {
	hosts := make(map[string][]netip.Addr, len(c.Hosts))
	for name, list := range c.Hosts {
		for _, text := range list {
			if a, err := netip.ParseAddr(text); err == nil {
				hosts[name] = append(hosts[name], a)
			}
		}
	}
	return hosts
}

// Port is the port to bind for a listener's port: what Ports maps it to, or itself. 0: any free one.
func (c *BindConfig) Port(listener int) int {
	if p, ok := c.Ports[strconv.Itoa(listener)]; ok {
		return p
	}
	return listener
}

// PortMap is Ports by number.
func (c *BindConfig) PortMap() map[int]int {
	ports := make(map[int]int, len(c.Ports))
	for text, to := range c.Ports {
		if from, err := strconv.Atoi(text); err == nil {
			ports[from] = to
		}
	}
	return ports
}
