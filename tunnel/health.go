package tunnel

import (
	"context"
	"time"
)

// health tells a silent hub from an idle one by what arrives: quic-go sends a PING whenever nothing came for the Ping
// interval, and a hub that lives acknowledges it. Nothing at all for two of them, and the round trip, is silence.
type health struct {
	packets uint64
	heard   time.Time
}

// watchHealth looks after the lanes until ctx ends.
func (c *Client) watchHealth(ctx context.Context) {
	tick := time.NewTicker(c.cfg.Ping / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, l := range *c.links.Load() {
				l.check(now)
			}
		}
	}
}

func (l *link) check(now time.Time) {
	changed := false
	for _, n := range *l.lanes.Load() {
		changed = n.listen(now) || changed
		n.reap(now)
		n.outdate()
	}
	if !changed {
		return
	}
	l.mu.Lock()
	l.refresh()
	l.mu.Unlock()
	l.client.wake()
}

// listen updates suspect and reports whether it changed.
func (n *lane) listen(now time.Time) bool {
	stats := n.conn.ConnectionStats()
	if n.health.heard.IsZero() || stats.PacketsReceived != n.health.packets {
		n.health.packets, n.health.heard = stats.PacketsReceived, now
	}
	silent := now.Sub(n.health.heard) > 2*n.link.client.cfg.Ping+stats.SmoothedRTT
	return n.suspect.Swap(silent) != silent
}
