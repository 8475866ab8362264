package endpoint

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"penstock.dev/penstock/gateway/retry"
)

// pool keeps the connections of one poolKey. An HTTP/1.1 connection is with one exchange or idle; an HTTP/2 one is
// shared. Safe for concurrent use.
//
// mu is never held while a ClientConn is asked for something: it calls back into changed.
type pool struct {
	e    *Endpoint
	key  poolKey
	plan *plan

	mu     sync.Mutex
	idle   []*conn // HTTP/1.1, latest last
	shared []*conn // HTTP/2
	flight *flight // the one dial that others wait for
	closed bool
	// speaks what the last connection spoke, so that h2 hosts are dialed once and h1 hosts by each who needs it.
	speaks protocol
	used   time.Time // last asked for
}

type protocol int

const (
	unknown protocol = iota
	http1
	http2
)

// flight is a dial that more than one request waits for.
type flight struct {
	done chan struct{}
	err  error
}

// rounds bounds how often a request waits for a shared dial whose connection others then fill.
const rounds = 4

var errCrowded = errors.New("every new connection was full or gone at once")

// get returns a connection with a place reserved on it, and whether it has served before.
func (p *pool) get(ctx context.Context) (*conn, error) {
	p.touch()
	for range rounds {
		if c := p.take(); c != nil {
			return c, nil
		}
		f, err := p.join()
		if err != nil {
			return nil, err
		}
		if f == nil { // HTTP/1.1: a connection for this request alone
			c, err := p.e.open(ctx, p.plan)
			if err != nil {
				return nil, err
			}
			if err := p.add(c, true); err != nil {
				return nil, err
			}
			return c, nil
		}
		select {
		case <-f.done:
			if f.err != nil {
				return nil, f.err
			}
		case <-ctx.Done():
			return nil, giveUp(ctx, errors.New("waiting for a connection"))
		}
	}
	return nil, &Error{Cause: ConnectionTerminated, Class: retry.ConnectFailure, Err: errCrowded}
}

// take finds a connection that is up and reserves a place.
func (p *pool) take() *conn {
	for {
		c := p.pick()
		if c == nil {
			break
		}
		if c.sound() && c.cc.Reserve() == nil {
			return c
		}
		if c.cc.Err() != nil || !c.sound() {
			_ = c.cc.Close()
		}
	}
	for i := 0; ; i++ {
		p.mu.Lock()
		if i >= len(p.shared) {
			p.mu.Unlock()
			return nil
		}
		c := p.shared[i]
		p.mu.Unlock()
		if c.sound() && c.cc.Reserve() == nil {
			return c
		}
	}
}

// pick takes the connection that was idle for the shortest time: the one least likely to be closed by the peer.
func (p *pool) pick() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle = p.idle[:n-1]
	c.listed = false
	c.timer.Stop()
	return c
}

// join returns the dial to wait for, having started it if there was none; nil: the caller is to dial for itself.
func (p *pool) join() (*flight, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, &Error{Cause: ConnectionTerminated, Class: retry.NoRepeat, Err: ErrClosed}
	case p.flight != nil:
		return p.flight, nil
	case p.speaks == http1, p.plan.protocol == "HTTP11", p.plan.tls == nil && !p.plan.wantsH2Only():
		return nil, nil
	}
	f := &flight{done: make(chan struct{})}
	p.flight = f
	p.e.running.Go(func() { p.fly(f) })
	return f, nil
}

// fly makes the connection of a flight. It runs on its own time, since the request that asked first may go before those
// that wait.
func (p *pool) fly(f *flight) {
	c, err := p.e.open(p.e.base, p.plan)
	if err == nil {
		err = p.add(c, false)
	}
	p.mu.Lock()
	f.err = err
	p.flight = nil
	p.mu.Unlock()
	close(f.done)
}

// add takes a new connection in; reserve keeps a place on it for the caller.
func (p *pool) add(c *conn, reserve bool) error {
	if reserve {
		if err := c.cc.Reserve(); err != nil {
			_ = c.cc.Close()
			return &Error{Cause: ConnectionTerminated, Class: retry.ConnectFailure, Err: err}
		}
	}
	p.mu.Lock()
	closed := p.closed
	p.speaks = http1
	if c.h2 {
		p.speaks = http2
		c.listed = !closed
		if c.listed {
			p.shared = append(p.shared, c)
		}
	}
	c.timer = time.AfterFunc(p.e.cfg.IdleTimeout, func() { p.expire(c) })
	if reserve || closed {
		c.timer.Stop()
	}
	p.mu.Unlock()
	if closed {
		_ = c.cc.Close()
		return &Error{Cause: ConnectionTerminated, Class: retry.NoRepeat, Err: ErrClosed}
	}
	c.settled = func() { p.changed(c) }
	c.cc.SetStateHook(func(*http.ClientConn) { p.changed(c) })
	if !reserve && !c.h2 {
		p.changed(c) // idle from the start
	}
	return nil
}

// changed is called when a connection has a place more, or is gone.
func (p *pool) changed(c *conn) {
	switch {
	case c.cc.Err() != nil:
		p.forget(c)
	case c.answering.Load(): // settled comes back here
	case !c.sound():
		if !c.h2 && c.cc.InFlight() == 0 {
			p.e.cfg.Log.Warn("closing a connection after an answer that can be read in two ways", "backend", p.key.backend, "host", p.plan.hostname)
		}
		p.unlist(c)
		if c.cc.InFlight() == 0 {
			_ = c.cc.Close()
		}
	case c.h2:
		if c.cc.InFlight() == 0 {
			p.rest(c)
		}
	case c.cc.Available() > 0:
		p.offer(c)
	}
}

// rest starts the idle time of an HTTP/2 connection without a stream; one that nobody can find any more is closed.
func (p *pool) rest(c *conn) {
	p.mu.Lock()
	listed := c.listed
	if listed {
		c.timer.Reset(p.e.cfg.IdleTimeout)
	}
	p.mu.Unlock()
	if !listed {
		_ = c.cc.Close()
	}
}

// offer puts an HTTP/1.1 connection back; beyond the limit the one that was idle longest is closed.
func (p *pool) offer(c *conn) {
	p.mu.Lock()
	if c.listed {
		p.mu.Unlock()
		return
	}
	surplus := c
	if !p.closed {
		surplus = nil
		c.listed = true
		c.timer.Reset(p.e.cfg.IdleTimeout)
		p.idle = append(p.idle, c)
		if len(p.idle) > p.e.cfg.MaxIdlePerBackend {
			surplus = p.idle[0]
			surplus.listed = false
			surplus.timer.Stop()
			p.idle = slices.Delete(p.idle, 0, 1)
		}
	}
	p.mu.Unlock()
	if surplus != nil {
		_ = surplus.cc.Close()
	}
}

// expire closes a connection that nobody used for the idle timeout.
func (p *pool) expire(c *conn) {
	if c.h2 && c.cc.InFlight() > 0 {
		return // changed starts the time again
	}
	p.unlist(c)
	if c.cc.InFlight() == 0 {
		_ = c.cc.Close()
	}
}

// unlist makes sure that nobody finds c any more.
func (p *pool) unlist(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.listed = false
	same := func(x *conn) bool { return x == c }
	if c.h2 {
		p.shared = slices.DeleteFunc(p.shared, same)
	} else {
		p.idle = slices.DeleteFunc(p.idle, same)
	}
}

func (p *pool) forget(c *conn) {
	p.unlist(c)
	c.timer.Stop()
}

func (p *pool) touch() {
	p.mu.Lock()
	p.used = time.Now()
	p.mu.Unlock()
}

// stale reports whether nobody has asked for so long that the pool's key can be dropped. A connection that is still
// with an exchange then comes back to a pool that nobody finds, and times out there.
func (p *pool) stale() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flight == nil && len(p.idle) == 0 && len(p.shared) == 0 && time.Since(p.used) > 2*p.e.cfg.IdleTimeout
}

// close closes what is idle now and whatever becomes so.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	all := slices.Concat(p.idle, p.shared)
	for _, c := range all {
		c.listed = false
		c.timer.Stop()
	}
	p.idle, p.shared = nil, nil
	p.mu.Unlock()
	for _, c := range all {
		if c.cc.InFlight() == 0 {
			_ = c.cc.Close()
		}
	}
}
