package gateway

import (
	"context"
	"errors"
	"time"
)

// Why a request's context ended, beside its client.
var (
	errDeadline = errors.New("the deadline of the request has passed")
	errPerTry   = errors.New("the attempt took too long")
	errStream   = errors.New("the response took longer than the whole exchange may")
)

// clock is the time of one request: t until response headers, s for the whole exchange (HOPS-AND-RETRIES A.4).
type clock struct {
	start time.Time
	t, s  time.Duration // s 0: no limit

	ctx     context.Context
	cancel  context.CancelCauseFunc
	headers *time.Timer
	stream  *time.Timer
}

// startClock begins to count; start is when the request head arrived. Call stop when the exchange is over.
func startClock(parent context.Context, start time.Time, t, s time.Duration) *clock {
	c := &clock{start: start, t: t, s: s}
	c.ctx, c.cancel = context.WithCancelCause(parent)
	c.headers = time.AfterFunc(c.left(), func() { c.cancel(errDeadline) })
	if s > 0 {
		c.stream = time.AfterFunc(s-time.Since(start), func() { c.cancel(errStream) })
	}
	return c
}

// left of the time until response headers.
func (c *clock) left() time.Duration {
	left := c.t
	if c.s > 0 {
		left = min(left, c.s)
	}
	return left - time.Since(c.start)
}

// answered stops the time until response headers; false: it had run out.
func (c *clock) answered() bool { return c.headers.Stop() }

func (c *clock) stop() {
	c.headers.Stop()
	if c.stream != nil {
		c.stream.Stop()
	}
	c.cancel(nil)
}

// over reports whether our own time ran out, rather than the client leaving.
func (c *clock) over() bool {
	cause := context.Cause(c.ctx)
	return errors.Is(cause, errDeadline) || errors.Is(cause, errStream)
}

// sleep waits, or returns false when the request is over before.
func (c *clock) sleep(d time.Duration) bool {
	if d <= 0 {
		return c.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// lowest is the smaller one of those that are set (more than 0); 0 if none is.
func lowest(ds ...time.Duration) (low time.Duration) {
	for _, d := range ds {
		if d > 0 && (low == 0 || d < low) {
			low = d
		}
	}
	return low
}
