package gateway

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/gateway/retry"
)

// content is the body of a request as it is read of the workload or the peer.
type content struct {
	r *http.Request
	// mu is held during each read, which may outlive the attempt that asked for it. See end.
	mu   sync.Mutex
	over bool // no read may begin any more
	// trailer of the outbound requests, filled when the body has ended: net/http and the tunnel read it then.
	trailer http.Header
	// mirrors are told of all that is read, for copies of the request. They are set before the first read.
	mirrors []*mirrorBody
	read    atomic.Int64
	ended   atomic.Bool // the body was read to its end
	err     atomic.Pointer[error]
	// most bytes that may come [any number].
	most int64
	// patience ends a read that waits too long for its sender, until the request is answered. nil: for ever.
	patience *time.Timer
	idle     time.Duration
	calm     atomic.Bool
	refusal  atomic.Pointer[failure]
}

// impatient gives the sender of a body so much time for its next bytes.
func (c *content) impatient(w http.ResponseWriter, idle time.Duration) {
	c.idle = idle
	c.patience = time.AfterFunc(idle, func() {
		if c.calm.Load() {
			return
		}
		c.refusal.CompareAndSwap(nil, fail(reasonSlowRequest, fmt.Sprintf("no byte of the body came in %v", idle), remedies[reasonSlowRequest]))
		_ = http.NewResponseController(w).SetReadDeadline(time.Now())
	})
	c.patience.Stop()
}

// answered ends the impatience: who reads an answer may stay silent.
func (c *content) answered() {
	if c != nil && c.patience != nil {
		c.calm.Store(true)
		c.patience.Stop()
	}
}

// refused is why the body is refused, if it is.
func (c *content) refused() *failure {
	if c == nil {
		return nil
	}
	return c.refusal.Load()
}

// Read is called by one goroutine at a time.
func (c *content) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return 0, http.ErrBodyReadAfterClose
	}
	if c.patience != nil && !c.calm.Load() {
		c.patience.Reset(c.idle)
	}
	n, err := c.r.Body.Read(p)
	if c.patience != nil {
		c.patience.Stop()
	}
	if read := c.read.Add(int64(n)); c.most > 0 && read > c.most {
		f := tooLarge(c.most)
		c.refusal.CompareAndSwap(nil, f)
		n, err = 0, f // the next hop must never take it for whole
	}
	for _, m := range c.mirrors {
		m.take(p[:n], err == io.EOF)
	}
	switch {
	case err == io.EOF:
		stripTrailer(c.r.Trailer) // a tag never comes in a trailer (A.1)
		for name, values := range c.r.Trailer {
			c.trailer[name] = values
		}
		c.ended.Store(true)
	case err != nil:
		c.err.Store(&err)
	}
	return n, err
}

// end waits for a read that is under way, and lets none begin after it.
func (c *content) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}

// failed reports whether reading failed, which is the client's doing.
func (c *content) failed() bool { return c != nil && c.err.Load() != nil }

// openBody prepares the body for repeats.
func (x *exchange) openBody() {
	if x.r.Body == nil || x.r.Body == http.NoBody || x.r.ContentLength == 0 {
		x.body = retry.NewBody(nil, 0, nil)
		return
	}
	// Without it net/http reads the body to its end before it writes the first byte of a response, and a request that
	// streams both ways would hang. HTTP/2 and tunnels are full duplex anyway; errors mean that there is nothing to do.
	_ = http.NewResponseController(x.w).EnableFullDuplex()
	stripTrailer(x.r.Trailer)
	x.content = &content{r: x.r, trailer: http.Header{}}
	for name := range x.r.Trailer {
		x.content.trailer[name] = nil
	}
	if !x.from.tunnel() {
		x.content.most = x.g.cfg.Edges.RequestBytes
		if !x.grpc {
			x.content.impatient(x.w, x.g.cfg.Edges.BodyIdle)
		}
	}
	x.body = retry.NewBody(x.content, x.g.cfg.BodyBytes, x.g.bodies)
}

// lingerTime is how long a body that nobody wants any more is still read, so that its sender gets to read the answer.
const lingerTime = time.Second

// closeBody lets go of the body. A read of it may be under way, and net/http must not see one when the handler returns:
// a read that meets the end of the body just then takes the connection for idle, and the answer waits for the client's
// next word. So the read is ended first. Tunnels look after their own (tunnel, request bodies).
func (x *exchange) closeBody() {
	if x.body == nil {
		return
	}
	_ = x.body.Close()
	if x.content != nil {
		for _, m := range x.content.mirrors {
			m.give(errMirrorEnded) // unless it is whole
		}
	}
	if x.content == nil || x.from.tunnel() || x.content.ended.Load() {
		return
	}
	control := http.NewResponseController(x.w)
	if control.SetReadDeadline(time.Now()) != nil {
		return // no connection behind it
	}
	x.content.end()
	if !x.content.ended.Load() {
		_ = control.SetReadDeadline(time.Now().Add(lingerTime))
	}
}
