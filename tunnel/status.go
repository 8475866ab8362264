package tunnel

import "time"

// HubStatus is one hub as a spoke sees it.
type HubStatus struct {
	Hub
	// State: connecting, ready, suspect, draining, failed.
	State string `json:"state"`
	// Lanes that take requests, or would if the hub were not suspect.
	Lanes       int           `json:"lanes"`
	Outstanding int           `json:"outstanding"`
	RTT         time.Duration `json:"rtt"` // smoothed, of the best lane; 0: none
	// Error of the last dial, with state failed or connecting.
	Error string `json:"error,omitempty"`
	// Since when the state is what it is.
	Since time.Time `json:"since"`
}

// The states of a hub: being dialed for the first time; taking requests; silent, so that it gets no new request; draining; its
// last dial failed.
const (
	StateConnecting = "connecting"
	StateReady      = "ready"
	StateSuspect    = "suspect"
	StateDraining   = "draining"
	StateFailed     = "failed"
)

// refresh recomputes the state. With mu held.
func (l *link) refresh() {
	if state := l.current(); state != l.state {
		l.state, l.since = state, time.Now()
	}
}

func (l *link) current() string {
	lanes := *l.lanes.Load()
	for _, n := range lanes {
		if !n.suspect.Load() {
			return StateReady
		}
	}
	switch {
	case len(lanes) > 0:
		return StateSuspect
	case l.leaving > 0:
		return StateDraining
	case l.lastErr != nil:
		return StateFailed
	}
	return StateConnecting
}

// Status of each hub, sorted by name.
func (c *Client) Status() []HubStatus {
	links := *c.links.Load()
	all := make([]HubStatus, len(links))
	for i, l := range links {
		all[i] = l.status()
	}
	return all
}

func (l *link) status() HubStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	lanes := *l.lanes.Load()
	s := HubStatus{Hub: l.hub, State: l.state, Lanes: len(lanes), Outstanding: l.outstanding(), Since: l.since}
	for _, n := range lanes {
		if rtt := n.conn.ConnectionStats().SmoothedRTT; s.RTT == 0 || rtt < s.RTT {
			s.RTT = rtt
		}
	}
	if l.lastErr != nil && (s.State == StateFailed || s.State == StateConnecting) {
		s.Error = l.lastErr.Error()
	}
	return s
}
