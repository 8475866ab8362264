package tunnel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// lease chooses the hub with the least outstanding requests among those not tried yet, then its lane with the least, and
// takes a stream there. All errors are P1 but those of the caller's context.
func (c *Client) lease(ctx context.Context) (*lane, *stream, error) {
	tries := triesFrom(ctx)
	var full []*lane
	var timeout <-chan time.Time
	for {
		changed := c.changes()
		n := c.pick(tries, full)
		if n != nil {
			s, err := n.lease()
			if err == nil {
				tries.add(n.link.hub.Name)
				return n, s, nil
			}
			if !errors.Is(err, errFull) {
				n.retire() // dead or draining: the next pick is another
			}
			full = append(full, n)
			continue
		}
		if len(full) > 0 {
			if n, s, err := c.await(ctx, full); !errors.Is(err, errRetired) {
				if err == nil {
					tries.add(n.link.hub.Name)
				}
				return n, s, err
			}
			full = nil
		}
		if !c.worthWaiting(tries) {
			return nil, nil, c.noTunnel(tries)
		}
		if timeout == nil {
			timer := time.NewTimer(c.cfg.DialTimeout)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-changed:
		case <-timeout:
			return nil, nil, c.noTunnel(tries)
		case <-ctx.Done():
			return nil, nil, &Error{Err: context.Cause(ctx)}
		}
	}
}

// pick returns nil if no lane may take the request.
func (c *Client) pick(tries *Tries, without []*lane) *lane {
	links := *c.links.Load()
	if len(links) == 0 {
		return nil
	}
	var best *lane
	var least int
	var bestTried bool
	turn := int(c.turn.Add(1))
	for i := range links {
		l := links[(turn+i)%len(links)]
		tried := tries.tried(l.hub.Name)
		if tried && (tries.elsewhere() || best != nil && !bestTried) {
			continue
		}
		n := l.pick(without)
		if n == nil {
			continue
		}
		if out := l.outstanding(); best == nil || bestTried && !tried || out < least {
			best, least, bestTried = n, out, tried
		}
	}
	return best
}

// pick returns the link's lane with the least outstanding requests, or nil.
func (l *link) pick(without []*lane) (best *lane) {
	for _, n := range *l.lanes.Load() {
		if n.suspect.Load() || n.isRetired() || slices.Contains(without, n) {
			continue
		}
		if best == nil || n.requests.Load() < best.requests.Load() {
			best = n
		}
	}
	return best
}

// await is row 4: every lane has all its streams leased. It waits on the first that was tried.
func (c *Client) await(ctx context.Context, full []*lane) (*lane, *stream, error) {
	n := full[0]
	wait, cancel := context.WithTimeout(ctx, c.cfg.StreamWait)
	defer cancel()
	s, err := n.await(wait)
	switch {
	case err == nil:
		return n, s, nil
	case ended(ctx) != nil:
		return nil, nil, &Error{Hub: n.link.hub.Name, Err: ended(ctx)}
	case errors.Is(err, errRetired):
		return nil, nil, err
	}
	return nil, nil, &Error{Hub: n.link.hub.Name, Err: noStream(err), Proof: ProofNoStream}
}

// worthWaiting reports whether a dial is on its way that has not failed before: at start, and after a connection that
// was good. A hub that is down makes no request wait.
func (c *Client) worthWaiting(tries *Tries) bool {
	for _, l := range *c.links.Load() {
		if len(*l.lanes.Load()) == 0 && l.fresh() && !(tries.elsewhere() && tries.tried(l.hub.Name)) {
			return true
		}
	}
	return false
}

// noTunnel says why nothing could be picked.
func (c *Client) noTunnel(tries *Tries) error {
	links := *c.links.Load()
	if tries.elsewhere() && !slices.ContainsFunc(links, func(l *link) bool { return !tries.tried(l.hub.Name) }) {
		return &Error{Err: ErrNoOther, Proof: ProofNoStream}
	}
	for _, l := range links {
		if err := l.lastError(); err != nil {
			return &Error{Hub: l.hub.Name, Err: fmt.Errorf("%w: %w", ErrNoTunnel, err), Proof: ProofNoStream}
		}
	}
	if len(links) == 0 {
		return &Error{Err: fmt.Errorf("%w: no hub is known", ErrNoTunnel), Proof: ProofNoStream}
	}
	return &Error{Err: fmt.Errorf("%w: every hub is silent or draining", ErrNoTunnel), Proof: ProofNoStream}
}
