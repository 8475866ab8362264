package endpoint

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"penstock.dev/penstock/gateway/retry"
)

// upload is the body of a request while one attempt sends it.
//
// net/http closes a body whatever became of the request. Here it is closed only once the attempt has begun to read it
// or its outcome is known, because an attempt that sent nothing must leave it as it was for the next one.
type upload struct {
	src     io.ReadCloser
	inbound *http.Request // its Trailer is filled when src ends
	length  int64         // -1: unknown
	alive   func()        // told of every byte
	probed  bool

	mu       sync.Mutex
	trailer  http.Header
	touched  bool // src was read
	finished bool // the codec is done with it
	closed   bool // src is closed
}

var errUploadClosed = errors.New("endpoint: the body is closed")

// newUpload returns nil for a request without body, so that it stays one on the wire.
func newUpload(ctx context.Context, req *http.Request) *upload {
	if req.Body == nil || req.Body == http.NoBody || req.ContentLength == 0 {
		return nil
	}
	u := &upload{src: req.Body, inbound: req, length: req.ContentLength, alive: func() {}}
	if !retry.Interruptible(req.Body) {
		// net/http waits for a pending Read before it returns an error; so Close must be able to end one.
		b := retry.NewBody(req.Body, -1, nil)
		r, err := b.Rewind()
		if err != nil { // not with a Body that was never read
			return u
		}
		u.src = foreign{r, req.Body}
	}
	if u.length < 0 && seldomHasBody(req.Method) {
		var empty bool
		if u.src, empty = probe(ctx, u.src); empty && len(req.Trailer) == 0 {
			_ = u.src.Close()
			return nil
		}
		u.probed, u.touched = true, true
	}
	return u
}

// foreign reads through a Body that can be interrupted and closes the body below too.
type foreign struct {
	io.ReadCloser
	below io.Closer
}

func (f foreign) Close() error {
	return errors.Join(f.ReadCloser.Close(), f.below.Close())
}

// announce returns the outbound request's trailer map: the names that the inbound one announced, without values. Read
// fills in those that are still there when the body ends, so whoever deletes a name from it keeps it off the wire.
func (u *upload) announce() http.Header {
	if len(u.inbound.Trailer) == 0 {
		return nil
	}
	u.trailer = make(http.Header, len(u.inbound.Trailer))
	for name := range u.inbound.Trailer {
		switch http.CanonicalHeaderKey(name) {
		case "Transfer-Encoding", "Content-Length", "Trailer": // framing (RFC 9110 §6.5.1)
		default:
			u.trailer[name] = nil
		}
	}
	return u.trailer
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	if u.finished {
		u.mu.Unlock()
		return 0, errUploadClosed
	}
	u.touched = true
	u.mu.Unlock()

	n, err := u.src.Read(p)
	u.alive()
	if err == io.EOF {
		for name := range u.trailer {
			u.trailer[name] = u.inbound.Trailer[name]
		}
	}
	return n, err
}

// Close implements io.Closer: the codec is done with the body, or is to be.
func (u *upload) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.finished = true
	if u.touched {
		return u.closeLocked()
	}
	return nil
}

// settle ends an attempt that was sent, or may have been: the body is closed as soon as the codec is done with it, as
// http.RoundTripper wants it.
func (u *upload) settle() {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.touched = true
	if u.finished {
		_ = u.closeLocked()
	}
}

func (u *upload) closeLocked() error {
	if u.closed {
		return nil
	}
	u.closed = true
	return u.src.Close()
}

// abandon ends the upload whether the codec is done with it or not.
func (u *upload) abandon() {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.finished, u.touched = true, true
	_ = u.closeLocked()
}
