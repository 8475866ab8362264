package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"penstock.dev/penstock/gateway/retry"
)

// stagger is how long one address may be silent before the next is tried beside it (RFC 8305 §5).
const stagger = 250 * time.Millisecond

// keepAlive finds peers that went away without a word: after about a minute.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}

// connect resolves, checks and dials. The error is an *Error with nothing sent.
func (e *Endpoint) connect(ctx context.Context, p *plan) (net.Conn, error) {
	addrs, err := e.resolver.lookup(ctx, p.hostname)
	if err != nil {
		if errors.Is(context.Cause(ctx), context.Canceled) {
			return nil, giveUp(ctx, fmt.Errorf("look up %s: %w", p.hostname, err))
		}
		return nil, &Error{Cause: DNSError, Class: retry.NoRepeat, Err: fmt.Errorf("look up %s: %w", p.hostname, err)}
	}
	targets := make([]netip.AddrPort, 0, len(addrs))
	for _, a := range addrs {
		targets = append(targets, netip.AddrPortFrom(a, uint16(p.port)))
	}
	// Every answer counts, not only the one that would be dialed: who controls a name could otherwise mix a good answer
	// with a bad one and try again (HOPS-AND-RETRIES B.3, row 16).
	for _, t := range targets {
		if e.self.is(t) {
			return nil, loopError(p, t)
		}
	}
	for _, t := range targets {
		if why := p.prohibits(t.Addr()); why != "" {
			return nil, prohibitedError(p, t, why)
		}
	}
	return e.race(ctx, p, interleave(targets))
}

// prohibits says why an address may not be dialed; empty: it may.
func (p *plan) prohibits(a netip.Addr) string {
	if p.service {
		return ""
	}
	return prohibited(a, p.allowed)
}

// dialOne dials one address that was checked, and checks it again when the socket connects: what is looked at there is
// what the kernel will use.
func (e *Endpoint) dialOne(ctx context.Context, p *plan, t netip.AddrPort) (net.Conn, error) {
	if e.cfg.Dial != nil {
		return e.cfg.Dial(ctx, "tcp", t.String())
	}
	d := net.Dialer{
		KeepAliveConfig: keepAlive,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("dial %q: %w", address, err)
			}
			if e.self.is(a) {
				return loopError(p, a)
			}
			if why := p.prohibits(a.Addr()); why != "" {
				return prohibitedError(p, a, why)
			}
			return nil
		},
	}
	return d.DialContext(ctx, "tcp", t.String())
}

// race is happy eyeballs (RFC 8305 §5): the next address starts when the one before has failed or been silent for a
// while; the first connection wins and the others are closed.
func (e *Endpoint) race(ctx context.Context, p *plan, targets []netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	running, next := 0, 0
	start := func() {
		t := targets[next]
		next++
		running++
		go func() {
			c, err := e.dialOne(ctx, p, t)
			results <- result{c, err}
		}()
	}
	// The losers are waited for: cancel ends their dials at once, and a late connection must be closed.
	defer func() {
		cancel()
		for ; running > 0; running-- {
			if r := <-results; r.conn != nil {
				_ = r.conn.Close()
			}
		}
	}()

	var errs []error
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	for start(); ; {
		select {
		case r := <-results:
			running--
			if r.err == nil {
				return r.conn, nil
			}
			errs = append(errs, r.err)
			if next == len(targets) && running == 0 {
				return nil, dialError(ctx, p, errs)
			}
		case <-timer.C:
		}
		if next < len(targets) {
			start()
			timer.Reset(stagger)
		}
	}
}

// interleave alternates the families, beginning with the first answer's (RFC 8305 §4).
func interleave(in []netip.AddrPort) []netip.AddrPort {
	var same, other []netip.AddrPort
	for _, t := range in {
		if t.Addr().Unmap().Is4() == in[0].Addr().Unmap().Is4() {
			same = append(same, t)
		} else {
			other = append(other, t)
		}
	}
	out := make([]netip.AddrPort, 0, len(in))
	for i := range max(len(same), len(other)) {
		if i < len(same) {
			out = append(out, same[i])
		}
		if i < len(other) {
			out = append(out, other[i])
		}
	}
	return out
}

func loopError(p *plan, t netip.AddrPort) *Error {
	return &Error{
		Cause: SelfDial, Class: retry.NoRepeat,
		Err: fmt.Errorf("%s leads to %s, which is a gateway's own listener; point the Backend at the destination itself", p.hostname, t),
	}
}

func prohibitedError(p *plan, t netip.AddrPort, why string) *Error {
	return &Error{
		Cause: DestinationProhibited, Class: retry.NoRepeat,
		Err: fmt.Errorf("%s leads to %s (%s); if that is meant, allow its range in the Backend's addressPolicy", p.hostname, t, why),
	}
}

// dialError joins what all addresses said.
func dialError(ctx context.Context, p *plan, errs []error) *Error {
	joined := fmt.Errorf("dial %s port %d: %w", p.hostname, p.port, errors.Join(errs...))
	var own *Error
	if errors.As(joined, &own) { // of ControlContext
		return own
	}
	if ctx.Err() != nil {
		return giveUp(ctx, joined)
	}
	cause := ConnectionTimeout
	for _, err := range errs {
		var timeout interface{ Timeout() bool }
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			cause = ConnectionRefused
		}
	}
	return &Error{Cause: cause, Class: retry.ConnectFailure, Err: joined}
}
