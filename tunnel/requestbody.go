package tunnel

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// requestBody is the content of a request at the hub. Transports may still be in Read when the handler has returned, so
// everything that touches the Reader holds mu.
type requestBody struct {
	x       *serverExchange
	w       *response
	req     *http.Request
	expects bool        // the spoke waits for a 100 before it sends content
	closed  atomic.Bool // the handler has returned, or closed it

	mu        waitLock
	continued bool // the 100 was sent, or is not due any more
	read      int64
	eof       bool      // content and trailers were read whole
	raw       io.Reader // after that, when the protocol was switched
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if !b.eof {
		n, err := b.content(p)
		if err != io.EOF || n > 0 {
			return n, err
		}
	}
	if !b.w.raw.Load() {
		return 0, io.EOF
	}
	if b.raw == nil {
		b.raw = b.x.rd.Raw()
	}
	return b.raw.Read(p)
}

// content reads of the message itself.
func (b *requestBody) content(p []byte) (int, error) {
	if b.expects && !b.continued {
		b.continued = true
		b.w.sendContinue()
	}
	n, err := b.x.rd.Read(p)
	b.read += int64(n)
	if err == io.EOF {
		b.eof = true
		b.req.Trailer = mergeTrailer(b.req.Trailer, b.x.rd.Trailer())
	}
	return n, err
}

// Close does nothing but end reads, as with net/http servers: the rest is read when the handler has returned.
func (b *requestBody) Close() error {
	b.closed.Store(true)
	return nil
}

// overSoon reports whether nothing but the end of the request can be missing, which the spoke then has sent. While
// somebody still reads, more is missing.
func (b *requestBody) overSoon() bool {
	if !b.mu.TryLock() {
		return false
	}
	defer b.mu.Unlock()
	return b.eof || b.req.ContentLength == b.read && !b.owesContinue()
}

func (b *requestBody) owesContinue() bool { return b.expects && !b.continued }

// drain reads the rest of the request, at most drainBytes and for drainFor, and reports whether its end was found.
func (b *requestBody) drain() (whole bool) {
	b.closed.Store(true)
	b.x.str.SetReadDeadline(time.Now().Add(drainFor)) // a reader that was left behind holds mu no longer than that
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.owesContinue() {
		return false // the content will not come
	}
	if !b.eof {
		buf := buffers.get()
		defer buffers.put(buf)
		for left := drainBytes; left > 0; {
			n, err := b.content((*buf)[:cap(*buf)])
			if left -= n; err != nil {
				break
			}
		}
	}
	b.x.str.SetReadDeadline(time.Time{})
	return b.eof
}
