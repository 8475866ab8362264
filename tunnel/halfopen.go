package tunnel

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// manyHalfOpen handshakes at once are a reconnecting herd or a flood of forged Initials. From there on a source must
// first prove its address (RFC 9000 §8.1.2, Retry): one more round trip, no state here.
const manyHalfOpen = 64

// halfOpen counts handshakes that have not finished.
type halfOpen struct{ n atomic.Int64 }

type halfOpenKey struct{}

// begin counts one more until opened, or until ctx ends.
func (h *halfOpen) begin(ctx context.Context) context.Context {
	h.n.Add(1)
	done := sync.OnceFunc(func() { h.n.Add(-1) })
	context.AfterFunc(ctx, done)
	return context.WithValue(ctx, halfOpenKey{}, done)
}

func (h *halfOpen) opened(ctx context.Context) {
	if done, ok := ctx.Value(halfOpenKey{}).(func()); ok {
		done()
	}
}

func (h *halfOpen) crowded(net.Addr) bool { return h.n.Load() > manyHalfOpen }
