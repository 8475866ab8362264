package tunnel

import (
	"context"
	"sync"
	"time"
)

// drainGrace after 1 RTT is when crossing exchanges begin to be rejected (HOPS-AND-RETRIES B.1): the drain event needs
// the RTT, the spoke's watch the rest.
const drainGrace = 250 * time.Millisecond

// Draining is closed when Drain begins.
func (s *Server) Draining() <-chan struct{} { return s.draining }

// Drain begins the drain of B.1: Draining() closes at once so that watches can send the event, and no new connection is
// let in; from 1 RTT + 250 ms on new exchanges are answered with `rejected`, control exchanges excepted. It returns when
// the spokes have closed their connections, which they do after their last exchange, or when DrainTime has passed or
// ctx is done; Serve then closes what is left and returns. A second call waits likewise.
//
// The hub does not close an idle connection before: an exchange that crossed the close would be ambiguous.
func (s *Server) Drain(ctx context.Context) {
	s.drain.Do(func() { close(s.draining) })
	defer s.end()
	deadline := time.NewTimer(s.cfg.DrainTime)
	defer deadline.Stop()
	grace := time.NewTimer(s.longestRTT() + drainGrace)
	defer grace.Stop()
	for {
		n, left := s.connections()
		if n == 0 {
			return
		}
		select {
		case <-left:
		case <-grace.C:
			s.gate.shut()
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		case <-s.life.Done():
			return
		}
	}
}

func (s *Server) longestRTT() (longest time.Duration) {
	for _, c := range s.all() {
		longest = max(longest, c.conn.ConnectionStats().SmoothedRTT)
	}
	return longest
}

// gate lets handlers start until it is shut. enter decides, in one step with the start, between the two things that can
// become of a request: its handler starts, or it never will.
type gate struct {
	mu      sync.Mutex
	closed  bool
	running int
}

// enter reports whether the handler may start; then leave must be called after it.
func (g *gate) enter(exempt bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed && !exempt {
		return false
	}
	g.running++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
}

// shut lets nothing in any more, and returns how many had got in and are not out.
func (g *gate) shut() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	return g.running
}
