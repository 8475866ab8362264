package tunnel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quic-go/quic-go"

	"penstock.dev/penstock/tunnel/bhttp"
)

// maxIdleStream is how long a stream may be idle before the spoke closes it. Only the spoke ever does (HOPS-AND-RETRIES
// A.3, Leases).
const maxIdleStream = 60 * time.Second

// lease takes the stream that was idle last, or opens one. The error is of the connection, or errFull.
func (n *lane) lease() (*stream, error) {
	n.mu.Lock()
	if n.shut {
		n.mu.Unlock()
		return nil, errRetired
	}
	n.requests.Add(1)
	s := n.pop()
	n.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := n.open()
	if err != nil {
		n.done()
		return nil, err
	}
	return s, nil
}

// pop returns nil if no stream is idle. With mu held.
func (n *lane) pop() *stream {
	last := len(n.idle) - 1
	if last < 0 {
		return nil
	}
	s := n.idle[last]
	n.idle[last] = nil
	n.idle = n.idle[:last]
	return s
}

// leaseControl is lease for control exchanges: they do not count, and a lane that drains still takes them.
func (n *lane) leaseControl() (*stream, error) {
	n.mu.Lock()
	s := n.pop()
	n.mu.Unlock()
	if s != nil {
		return s, nil
	}
	return n.open()
}

var (
	errFull    = errors.New("all streams of the connection are leased")
	errRetired = errors.New("the connection drains")
)

// open opens a stream if the hub's limit allows.
func (n *lane) open() (*stream, error) {
	str, err := n.conn.OpenStream()
	if err != nil {
		var full *quic.StreamLimitReachedError
		if errors.As(err, &full) {
			err = errFull
		}
		return nil, err
	}
	return n.opened(str), nil
}

func (n *lane) opened(str *quic.Stream) *stream {
	n.link.client.counts.streams.Add(1)
	return &stream{str: str, rd: bhttp.NewReader(str, n.link.client.cfg.Limits)}
}

// await waits until ctx ends for a stream: one that is given back, or a new one.
func (n *lane) await(ctx context.Context) (*stream, error) {
	w := make(chan *stream, 1)
	n.mu.Lock()
	if n.shut {
		n.mu.Unlock()
		return nil, errRetired
	}
	n.requests.Add(1)
	n.waiters = append(n.waiters, w)
	n.mu.Unlock()
	open, cancel := context.WithCancel(ctx)
	defer cancel()
	n.link.client.wg.Go(func() {
		if str, err := n.conn.OpenStreamSync(open); err == nil {
			n.put(n.opened(str))
		}
	})
	select {
	case s, ok := <-w:
		if ok {
			return s, nil
		}
	case <-ctx.Done():
	}
	n.mu.Lock()
	n.waiters = slices.DeleteFunc(n.waiters, func(o chan *stream) bool { return o == w })
	n.mu.Unlock()
	select {
	case s, ok := <-w: // in the last moment
		if ok {
			return s, nil
		}
	default:
	}
	n.done()
	return nil, errFull
}

// put makes a stream leasable that has carried a whole exchange, or none yet.
func (n *lane) put(s *stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.shut:
		s.close()
	case len(n.waiters) > 0:
		n.waiters[0] <- s
		n.waiters = n.waiters[1:]
	default:
		s.free = time.Now()
		n.idle = append(n.idle, s)
	}
}

// done ends a request's share in the lane, after its stream was put or dropped.
func (n *lane) done() {
	n.requests.Add(-1)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.checkEmpty()
}

// reap closes streams that were idle for long.
func (n *lane) reap(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := 0
	for old < len(n.idle) && now.Sub(n.idle[old].free) > maxIdleStream {
		n.idle[old].close()
		old++
	}
	n.idle = slices.Delete(n.idle, 0, old)
}

// close ends an idle stream: nothing is on its way in either direction.
func (s *stream) close() {
	s.str.Close()
	s.str.CancelRead(codeNoError)
}

// drop ends a stream in any other state.
func (s *stream) drop() {
	s.str.CancelWrite(codeCancelled)
	s.str.CancelRead(codeCancelled)
}

// noStream says why no stream could be had: P1, whatever it was.
func noStream(err error) error {
	if errors.Is(err, errFull) {
		return fmt.Errorf("%w: %w", ErrStreamLimit, err)
	}
	return fmt.Errorf("%w: %w", ErrNoTunnel, err)
}
