package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
)

// maxMirrorBody is how many bytes a copy may lie behind its request. One that is slower is given up: the request itself
// waits for nobody.
const maxMirrorBody = 1 << 20

// maxMirrorBodies is what the bodies of all copies may hold together.
const maxMirrorBodies = 64 << 20

// What became of a copy, as the metric says it.
const (
	mirrorAnswered  = "answered"
	mirrorRefused   = "refused"   // not sent: no grant, a credential, a cap, no next hop
	mirrorFailed    = "failed"    // sent or not, there was no answer
	mirrorAbandoned = "abandoned" // its body fell behind, or the request's own body was not read to its end
)

// copies run beside their requests and end at the latest when their time is over, or the gateway closes.
type copies struct {
	ctx     context.Context
	cancel  context.CancelFunc
	held    atomic.Int64 // bytes of bodies
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

func newCopies() *copies {
	c := &copies{}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// start runs one, unless the gateway is closing.
func (c *copies) start(run func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.running.Go(run)
	return true
}

// Close ends the copies of requests (RequestMirror) that are under way, and lets none begin. Call it when no request is in
// the gateway any more.
func (g *Gateway) Close() {
	g.copies.mu.Lock()
	g.copies.closed = true
	g.copies.mu.Unlock()
	g.copies.cancel()
	g.copies.running.Wait()
}

// mirror sends the copies that the route wants, of the request as it goes on, before any tag or credential is on it. Their
// answers are thrown away, and nothing they meet changes the request itself.
func (x *exchange) mirror(out *http.Request) {
	for i := range x.Filters {
		m := x.Filters[i].Mirror
		if m == nil || x.upgrade != "" || x.g.cfg.Rand()*float64(m.Denominator) >= float64(m.Numerator) {
			continue
		}
		b := x.table.snapshot.Backend(m.Backend)
		if b == nil || b.MirrorsRefused || !x.table.snapshot.Permits(b, x.query) {
			x.g.cfg.Metrics.Mirrored(mirrorRefused)
			continue
		}
		dest := x.g.destination(b.Key)
		slot, refused := dest.admit(x.subject(), b.Limits)
		if refused != "" {
			x.g.cfg.Metrics.Mirrored(mirrorRefused)
			continue
		}
		c := x.copyOf(out, b)
		if !x.g.copies.start(func() {
			defer slot.leave()
			x.g.cfg.Metrics.Mirrored(c.send())
		}) {
			slot.leave()
			c.body.give(errMirrorEnded)
		}
	}
}

// mirrored is one copy. It reads nothing of its exchange, which may end before it.
type mirrored struct {
	g       *Gateway
	self    hop.Self
	backend *route.Backend
	req     *http.Request
	tags    hop.Tags
	start   time.Time
	timeout time.Duration
	body    *mirrorBody // nil: none
}

func (x *exchange) copyOf(out *http.Request, b *route.Backend) *mirrored {
	c := &mirrored{g: x.g, self: x.self, backend: b, tags: x.tags, start: x.start, timeout: x.clock.left()}
	c.tags.RequestID = hop.NewRequestID()
	c.tags.Budget.Attempts = 1 // nobody repeats a copy
	c.req = out.Clone(context.Background())
	if c.req.Host = b.Authority; b.Authority == "" {
		c.req.Host = x.r.Host
	}
	c.req.URL.Scheme, c.req.URL.Host = "https", c.req.Host
	if b.Via != route.ViaParent && b.TLS == nil {
		c.req.URL.Scheme = "http"
	}
	c.req.Body, c.req.Trailer = http.NoBody, nil
	if x.content != nil {
		c.body = newMirrorBody(&x.g.copies.held)
		c.req.Body = c.body
		x.content.mirrors = append(x.content.mirrors, c.body)
	}
	return c
}

// send makes the one attempt and returns what became of it.
func (c *mirrored) send() string {
	ctx, cancel := context.WithTimeout(c.g.copies.ctx, c.timeout)
	defer cancel()
	res, err := c.try(c.req.WithContext(ctx))
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxMirrorBody))
		res.Body.Close()
	}
	abandoned := c.body != nil && c.body.abandoned()
	if c.body != nil {
		_ = c.body.Close()
	}
	switch {
	case abandoned:
		return mirrorAbandoned
	case err != nil:
		c.g.cfg.Log.Debug("a copy of a request failed", "requestId", c.tags.RequestID, "backend", c.backend.Key, "error", err)
		return mirrorFailed
	}
	return mirrorAnswered
}

func (c *mirrored) try(req *http.Request) (*http.Response, error) {
	switch {
	case c.backend.Via == route.ViaParent && c.g.cfg.Parent != nil:
		tags, err := c.tags.Forward(c.self, time.Since(c.start))
		if err != nil {
			return nil, err
		}
		tags.Write(req.Header, c.self)
		return c.g.cfg.Parent.RoundTrip(req)
	case c.backend.Via != route.ViaParent && c.g.cfg.Endpoint != nil:
		if c.backend.CDNLoopDisabled {
			hop.StripTags(req.Header)
		} else {
			tags := c.tags
			tags.Budget.Attempts = 0
			tags.WriteOutside(req.Header, c.self, time.Now())
		}
		return c.g.toOutside(req, c.backend)
	}
	return nil, fmt.Errorf("backend %s is reached via %s, which this gateway lacks", c.backend.Key, c.backend.Via)
}

// errMirrorEnded is what a copy reads when its request has no more to give.
var errMirrorEnded = errors.New("gateway: the body of a copy was given up")

// mirrorBody is the body of a copy: what the request itself has read so far. Safe for concurrent use.
type mirrorBody struct {
	held *atomic.Int64 // by the bodies of all copies
	mu   sync.Mutex
	more sync.Cond
	data []byte
	err  error // io.EOF: it is whole; errMirrorEnded: it never will be
}

func newMirrorBody(held *atomic.Int64) *mirrorBody {
	b := &mirrorBody{held: held}
	b.more.L = &b.mu
	return b
}

// take adds what was read, and its end.
func (b *mirrorBody) take(p []byte, end bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		return
	case len(b.data)+len(p) > maxMirrorBody, b.held.Load()+int64(len(p)) > maxMirrorBodies:
		b.drop()
		b.err = errMirrorEnded
	default:
		b.held.Add(int64(len(p)))
		b.data = append(b.data, p...)
		if end {
			b.err = io.EOF
		}
	}
	b.more.Broadcast()
}

// drop lets go of what is held. The lock is held.
func (b *mirrorBody) drop() {
	b.held.Add(-int64(len(b.data)))
	b.data = nil
}

// give ends the body, unless it has ended.
func (b *mirrorBody) give(err error) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.drop() // it never will be whole
		b.err = err
	}
	b.more.Broadcast()
}

func (b *mirrorBody) abandoned() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Is(b.err, errMirrorEnded)
}

// Read implements io.Reader.
func (b *mirrorBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.data) == 0 && b.err == nil {
		b.more.Wait()
	}
	if errors.Is(b.err, errMirrorEnded) {
		return 0, b.err
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	b.held.Add(-int64(n))
	if n == 0 && b.err != nil {
		return 0, b.err
	}
	return n, nil
}

// Close implements io.Closer: nobody reads any more.
func (b *mirrorBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop()
	if b.err == nil {
		b.err = http.ErrBodyReadAfterClose
	}
	b.more.Broadcast()
	return nil
}
