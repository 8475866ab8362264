package tunneltest

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// network is the simulated one: a router that can be cut and loses packets as its seed says.
type network struct {
	simnet.PerfectRouter
	settings simnet.NodeBiDiLinkSettings

	mu   sync.Mutex
	all  bool                // cut for everybody
	cut  map[netip.Addr]bool // cut off
	loss float64
	rand *rand.Rand
}

func newNetwork(latency time.Duration, loss float64, seed uint64) *network {
	return &network{
		settings: simnet.NodeBiDiLinkSettings{Latency: latency},
		cut:      make(map[netip.Addr]bool),
		loss:     loss, rand: rand.New(rand.NewPCG(seed, 0)),
	}
}

// SendPacket implements simnet.Router.
func (n *network) SendPacket(p simnet.Packet) error {
	if n.lost(p) {
		return nil
	}
	if to, ok := p.To.(*net.UDPAddr); ok { // simnet takes the two forms of an IPv4 address for two
		p.To = net.UDPAddrFromAddrPort(netip.AddrPortFrom(addrOf(to), uint16(to.Port)))
	}
	_ = n.PerfectRouter.SendPacket(p) // an unknown destination is a lost packet too
	return nil
}

func (n *network) lost(p simnet.Packet) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all || n.cut[addrOf(p.From)] || n.cut[addrOf(p.To)] || n.loss > 0 && n.rand.Float64() < n.loss
}

func (n *network) setAll(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = cut
}

func (n *network) setCut(a netip.Addr, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[a] = cut
}

// entrance keeps a node out of the router until its link has started: packets for an address that comes back are on
// their way already.
type entrance struct {
	*network
	receiver simnet.PacketReceiver
}

// AddNode implements simnet.Router.
func (e *entrance) AddNode(_ net.Addr, receiver simnet.PacketReceiver) { e.receiver = receiver }

// listen adds a node. Each has a network of its own around the common router, since a simnet starts once.
func (n *network) listen(addr netip.AddrPort) net.PacketConn {
	door := &entrance{network: n}
	sim := &simnet.Simnet{Router: door}
	pc := sim.NewEndpoint(net.UDPAddrFromAddrPort(addr), n.settings)
	_ = sim.Start() // never fails
	n.AddNode(pc.LocalAddr(), door.receiver)
	return &node{SimConn: pc, network: n, leave: sync.OnceFunc(func() {
		n.RemoveNode(pc.LocalAddr())
		_ = sim.Close() // never fails
	})}
}

// node is a socket that takes its link with it when it is closed.
type node struct {
	*simnet.SimConn
	network *network
	closed  atomic.Bool
	leave   func()
}

// maxPacketBytes of the simulated network, as simnet has it.
const maxPacketBytes = 1400

// WriteTo hands the packet over at once, where simnet queues it and forgets it when the socket is closed: a datagram
// that was sent before Close is on its way.
func (n *node) WriteTo(p []byte, to net.Addr) (int, error) {
	switch {
	case n.closed.Load():
		return 0, net.ErrClosed
	case len(p) <= maxPacketBytes:
		return len(p), n.network.SendPacket(simnet.Packet{From: n.LocalAddr(), To: to, Data: slices.Clone(p)})
	}
	return len(p), nil // lost
}

func (n *node) Close() error {
	n.closed.Store(true)
	err := n.SimConn.Close()
	n.leave()
	return err
}

func addrOf(a net.Addr) netip.Addr {
	if u, ok := a.(*net.UDPAddr); ok {
		ip, _ := netip.AddrFromSlice(u.IP)
		return ip.Unmap()
	}
	return netip.Addr{}
}
