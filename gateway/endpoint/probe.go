package endpoint

import (
	"context"
	"io"
	"net/http"
	"time"
)

// seldomHasBody are the methods whose requests upstreams may refuse when a body is announced.
func seldomHasBody(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// probeTime is how long a body of unknown length may be silent before it is taken as one that comes.
const probeTime = 200 * time.Millisecond

// probe finds out whether a body of unknown length is empty: some protocols, binary HTTP among them, cannot say so in
// the head. body gives all of src, what was read to find out included. Closing src must end a pending Read.
func probe(ctx context.Context, src io.ReadCloser) (body io.ReadCloser, empty bool) {
	p := &probed{ReadCloser: src, ready: make(chan struct{})}
	go func() {
		defer close(p.ready)
		p.n, p.err = src.Read(p.first[:])
	}()
	timer := time.NewTimer(probeTime)
	defer timer.Stop()
	select {
	case <-p.ready:
		return p, p.n == 0 && p.err == io.EOF
	case <-timer.C:
	case <-ctx.Done():
	}
	return p, false
}

// probed is a body whose first byte was asked for. One goroutine reads it.
type probed struct {
	io.ReadCloser
	ready chan struct{} // closed when the fields below are set
	first [1]byte
	n     int
	err   error
}

// Read implements io.Reader.
func (p *probed) Read(b []byte) (int, error) {
	<-p.ready
	switch {
	case len(b) == 0:
		return 0, nil
	case p.n > 0:
		p.n = 0
		b[0] = p.first[0]
		return 1, nil
	case p.err != nil:
		return 0, p.err
	default:
		return p.ReadCloser.Read(b)
	}
}
