package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/gateway/retry"
)

// exchange is one attempt on one connection: it knows what was sent and what that proves.
type exchange struct {
	c       *conn
	reused  bool
	body    *upload
	upgrade string     // the protocol asked for; empty: none
	key     string     // Sec-WebSocket-Key of the request; empty: none
	connect *h2Upgrade // the upgrade as an extended CONNECT; nil: it is none
	ctx     context.Context
	cancel  context.CancelCauseFunc

	written, read int64 // of the wire, before
	stream        atomic.Uint32
	answered      atomic.Bool // a byte of an answer, informational ones included, was seen

	idle   *idleTimer
	unhook func() bool // from the context
}

// newExchange starts to watch the wire. The place on c is reserved.
func newExchange(ctx context.Context, c *conn, body *upload, idle time.Duration) *exchange {
	x := &exchange{c: c, body: body, written: c.wire.written.Load(), read: c.wire.read.Load(), unhook: func() bool { return true }}
	x.ctx, x.cancel = context.WithCancelCause(ctx)
	x.idle = newIdleTimer(idle, func() { x.cancel(ErrIdle) })
	if body != nil {
		body.alive = x.idle.touch
	}
	trace := &httptrace.ClientTrace{
		GotFirstResponseByte: func() { x.answered.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) {
			if x.connect != nil {
				x.connect.wrote()
			}
		},
	}
	if c.h2 {
		// Called with the lock held under which the frames of this head were written (checked by a test): the highest
		// stream is this one. Had the write failed before the frame, it would be an older one, which is no proof lost:
		// the connection is then broken, and what it says of older streams is not asked.
		before := uint32(0)
		trace.WroteHeaderField = func(string, []string) {
			if before == 0 {
				before = c.wire.h2.stream() + 1
			}
		}
		trace.WroteHeaders = func() {
			if s := c.wire.h2.stream(); s >= before {
				x.stream.Store(s)
			}
		}
	}
	x.ctx = httptrace.WithClientTrace(x.ctx, trace)
	return x
}

// run sends out and returns the response, or an *Error that says what is known about the attempt.
func (x *exchange) run(out *http.Request) (*http.Response, error) {
	x.reused = x.c.used.Swap(true)
	if x.body != nil {
		// net/http returns an error only after its goroutine that writes the body has ended; this, and the wire, end a
		// read of the workload's body that it may be blocked in.
		x.unhook = context.AfterFunc(x.ctx, func() { _ = x.body.Close() })
	}
	if !x.c.h2 {
		x.c.wire.carry(x.body)
		x.c.wire.h1.begin()
		x.c.answering.Store(true)
	}
	res, err := x.c.roundTrip(out)
	if !x.c.h2 {
		x.c.answering.Store(false)
		defer x.c.settled()
	}
	if err == nil && x.ctx.Err() != nil {
		// The answer and the end of its time crossed. What is left of the answer would be cut off anyway.
		_ = res.Body.Close()
		err = context.Cause(x.ctx)
	}
	if !x.c.h2 && x.ctx.Err() == nil && x.c.wire.h1.doubted() {
		// Two readers may take this answer for two different ones: nobody behind us shall have to choose. Whatever the codec
		// made of it, a whole answer or an error that would let the request be repeated.
		if res != nil {
			_ = res.Body.Close()
		}
		res, err = nil, errDoubtful
	}
	switching := err == nil && res.StatusCode == http.StatusSwitchingProtocols
	switch {
	case x.connect != nil:
		switching = x.connected(res)
	case switching:
		err = x.switched(res)
	}
	if err != nil {
		failed := x.explain(err)
		x.end(failed.Sent)
		return nil, failed
	}
	x.body.settle()
	res.TLS = x.c.state
	if !switching {
		res.Body = &download{x: x, src: res.Body, untilClosed: !x.c.h2 && res.ContentLength < 0 && len(res.TransferEncoding) == 0 && res.Body != http.NoBody}
	}
	return res, nil
}

// end lets go of all that the exchange held. The body is closed unless nothing was sent, when it is the next attempt's.
func (x *exchange) end(sent bool) {
	x.unhook()
	if x.c.one != nil {
		defer x.c.release()
	}
	if x.c.h2 {
		x.c.wire.h2.forget(x.stream.Load())
	} else {
		x.c.wire.uncarry(x.body)
	}
	x.idle.stop()
	if sent {
		x.body.abandon()
	}
	x.cancel(context.Canceled)
}

var (
	errSwitched = errors.New("the upstream switched to a protocol that nobody asked for")
	errAccept   = errors.New("the upstream's Sec-WebSocket-Accept does not belong to the key it was sent")
	errDoubtful = errors.New("the upstream's answer can be read in two ways: it frames its body twice, folds lines or ends them with a bare line feed")
)

// explain turns the codec's error into ours. It is called before anything else touches the exchange.
func (x *exchange) explain(err error) *Error {
	e := &Error{Reused: x.reused, Sent: x.sent(), Err: err}
	cause := context.Cause(x.ctx)
	reset, disowned := x.peerSays()
	switch {
	case x.ctx.Err() != nil && timedOut(cause):
		e.Cause, e.Class, e.Err = ResponseTimeout, retry.PerTryTimeout, fmt.Errorf("%w: %v", cause, err)
	case x.ctx.Err() != nil:
		e.Cause, e.Class, e.Err = ConnectionTerminated, retry.NoRepeat, fmt.Errorf("%w: %v", cause, err)
	case !e.Sent && x.connect != nil && !x.c.one.State().Closed:
		// The connection is well and nothing was written: the peer has not allowed it.
		e.Cause, e.Class, e.Err = UpgradeFailed, retry.NoRepeat, fmt.Errorf("%w: %v", errNoConnect, err)
	case !e.Sent:
		e.Cause, e.Class = ConnectionTerminated, retry.ResetBeforeHeaders
	case disowned:
		e.Cause, e.Class, e.Proven = ConnectionTerminated, retry.RefusedStream, true
	case reset:
		e.Cause, e.Class = ProtocolError, retry.ResetBeforeHeaders
	case x.tooLarge():
		e.Cause, e.Class = ResponseHeaderSize, retry.NoRepeat
	case errors.Is(err, errSwitched), errors.Is(err, errAccept), errors.Is(err, errDoubtful), x.answered.Load() && !brokenOff(err):
		// It answered, in a way that we refuse; asking again would not help.
		e.Cause, e.Class = ProtocolError, retry.NoRepeat
	default:
		e.Cause, e.Class = ConnectionTerminated, retry.ResetBeforeHeaders
	}
	return e
}

// peerSays looks at what HTTP/2 itself said about this stream: that it was reset, and whether that, or a GOAWAY, proves
// that it was not processed (RFC 9113 §6.8, §8.7).
func (x *exchange) peerSays() (reset, disowned bool) {
	stream := x.stream.Load()
	if stream == 0 {
		return false, false
	}
	r := x.c.wire.h2.resetOf(stream)
	return r.seen, r.seen && r.code == codeRefusedStream || x.c.wire.h2.disowned(stream)
}

// brokenOff reports whether the connection ended, rather than carried something that is not HTTP.
func brokenOff(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// sent reports whether a byte of the head may have left. On HTTP/2 another goroutine writes it, and with the context
// done nobody waits for that one: then it counts as sent.
func (x *exchange) sent() bool {
	if x.c.h2 {
		return x.stream.Load() > 0 || x.ctx.Err() != nil
	}
	return x.c.wire.written.Load() > x.written || x.answered.Load() // an answer may overtake the count of what it answers
}

// tooLarge reports whether the response head passed the limit, which net/http says in words only. On HTTP/1.1 the bytes
// tell; on HTTP/2, where the limit is on the decoded head, it is one more answer that we refuse.
func (x *exchange) tooLarge() bool {
	return !x.c.h2 && x.c.wire.read.Load()-x.read >= maxHeaderBytes
}

// download is the body of a response. Reading it watches the idle time; closing it ends the exchange.
type download struct {
	x    *exchange
	src  io.ReadCloser
	once sync.Once
	// untilClosed: the end of the connection is the end of the body, and over TLS only an announced one (RFC 9112 §9.8).
	untilClosed bool
}

// Read implements io.Reader. Errors but io.EOF are *Error: part of the response has been passed on, so nothing can be
// repeated (row 27).
func (d *download) Read(p []byte) (int, error) {
	d.x.idle.wait()
	n, err := d.src.Read(p)
	d.x.idle.done()
	if err == io.EOF && d.untilClosed && d.x.c.wire.unannounced() {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		if cause := context.Cause(d.x.ctx); cause != nil {
			// What the codec says of a context that ended is a consequence, and would look like a client that is gone.
			err = fmt.Errorf("%w: %v", cause, err)
		}
		err = &Error{Cause: ConnectionTerminated, Class: retry.NoRepeat, Sent: true, Reused: d.x.reused, Err: err}
	}
	return n, err
}

// Close implements io.Closer.
func (d *download) Close() error {
	err := d.src.Close()
	d.once.Do(func() { d.x.end(true) })
	return err
}
