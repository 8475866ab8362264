package tunnel

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/tunnel/bhttp"
)

// continueWait is how long content is held back for a 100 (RFC 9110 §10.1.1 forbids to wait for ever).
const continueWait = time.Second

// upload sends the content that did not go with the head.
type upload struct {
	x    *exchange
	done chan struct{} // closed: nobody reads the body any more
	quit chan struct{} // closed: nobody wants the content any more
	once sync.Once
	go0  chan struct{} // closed: the 100 came
	go1  sync.Once
	// ending is set before the last Write, whole after it.
	ending, whole atomic.Bool
}

// startUpload runs the upload in a goroutine that ends with its exchange, or with the Read of the body it is in then.
func (x *exchange) startUpload() {
	u := &upload{x: x, done: make(chan struct{}), quit: make(chan struct{}), go0: make(chan struct{})}
	x.mu.Lock()
	x.up = u
	x.mu.Unlock()
	go func() {
		u.run()
		close(u.done)
		x.uploaded()
	}()
}

func (u *upload) run() {
	if expectsContinue(u.x.req.Header) && !u.awaitContinue() {
		return
	}
	err := u.copy()
	u.x.wroteRequest(err)
	var own *bodyError
	if errors.As(err, &own) {
		u.x.abort(err) // the hub must not take the request for whole
	}
}

// bodyError is a failure of the body, not of the stream.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read the request's body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// copy writes each piece of content as one chunk in one Write. A stream that fails is the reading side's business.
func (u *upload) copy() error {
	pooled := buffers.get()
	defer buffers.put(pooled)
	const room = 4 // for the chunk's length
	buf := (*pooled)[:room+coalesce]
	var sent int64
	for {
		n, err := u.x.req.Body.Read(buf[room:])
		sent += int64(n)
		out := buf[room : room+n]
		if n > 0 {
			var prefix [room]byte
			length := bhttp.AppendChunk(prefix[:0], n)
			out = buf[room-len(length) : room+n]
			copy(out, length)
		}
		switch {
		case u.stopped():
			return errors.New("not wanted any more")
		case err == io.EOF && u.x.length >= 0 && sent != u.x.length:
			return &bodyError{fmt.Errorf("it has %d bytes, content-length says %d", sent, u.x.length)}
		case err == io.EOF:
			return u.finish(out)
		case err != nil:
			return &bodyError{err}
		}
		if n > 0 {
			if _, err := u.x.s.str.Write(out); err != nil {
				return err
			}
		}
	}
}

// finish writes the last content, the end and the trailers.
func (u *upload) finish(out []byte) error {
	out, err := bhttp.AppendEnd(out, u.x.req.Trailer)
	if err != nil {
		return &bodyError{err}
	}
	u.ending.Store(true)
	if _, err = u.x.s.str.Write(out); err == nil {
		u.whole.Store(true)
	}
	return err
}

// finished reports whether the whole request was sent. It is asked when the response has ended: then the hub has read
// the last Write, even if we have not returned from it, or stopped reading.
func (u *upload) finished() bool {
	if u.ending.Load() {
		<-u.done
	}
	return u.whole.Load()
}

func (u *upload) awaitContinue() bool {
	if wait := u.x.trace.Wait100Continue; wait != nil {
		wait()
	}
	timer := time.NewTimer(continueWait)
	defer timer.Stop()
	select {
	case <-u.go0:
	case <-timer.C:
	case <-u.quit:
		return false
	}
	return true
}

func (u *upload) goAhead() { u.go1.Do(func() { close(u.go0) }) }

func (u *upload) stop() { u.once.Do(func() { close(u.quit) }) }

func (u *upload) stopped() bool {
	select {
	case <-u.quit:
		return true
	default:
		return false
	}
}

func (u *upload) isDone() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}
