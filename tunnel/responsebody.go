package tunnel

import (
	"errors"
	"fmt"
	"io"
	"net/http"
)

// errBodyClosed is read from a body after Close.
var errBodyClosed = errors.New("tunnel: read on a closed response body")

// responseBody is the content of a response at the spoke. The stream can be leased again when it was read to io.EOF.
type responseBody struct {
	x   *exchange
	res *http.Response
	err error // sticky; of Read alone
}

func (b *responseBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.x.s.rd.Read(p)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		b.res.Trailer = mergeTrailer(b.res.Trailer, b.x.s.rd.Trailer())
		b.err = io.EOF
		b.x.complete()
	default:
		b.err = b.x.broken(err)
	}
	return n, b.err
}

// Close cancels the exchange, unless the response was read whole.
func (b *responseBody) Close() error {
	if b.x.end((*stream).drop) {
		b.x.settle()
	}
	return nil
}

// complete ends an exchange whose response was read whole. The stream is good for another one if the request went out
// whole too; else the hub has answered early and ended the stream.
func (x *exchange) complete() {
	if !x.cut && (x.up == nil || x.up.finished()) {
		x.end(x.lane.put)
	} else {
		x.end((*stream).drop)
	}
	x.settle()
}

// broken ends an exchange within its response: row 10, never a clean end.
func (x *exchange) broken(err error) error {
	if !x.end((*stream).drop) {
		return errBodyClosed
	}
	x.settle()
	if why := x.why(); why != nil {
		return x.failed(why, "")
	}
	sentinel, _ := classify(failure{written: x.written, answered: true, err: err})
	return x.failed(fmt.Errorf("%w: %w", sentinel, err), "")
}

// rawBody is the stream after a 101, or a 2xx to CONNECT: an io.ReadWriteCloser of raw bytes. Read and Write may be
// concurrent.
type rawBody struct {
	x  *exchange
	rd io.Reader
}

func (b *rawBody) Read(p []byte) (int, error) {
	n, err := b.rd.Read(p)
	if err != nil && err != io.EOF {
		if why := b.x.why(); why != nil {
			err = why
		}
	}
	return n, err
}

func (b *rawBody) Write(p []byte) (int, error) { return b.x.s.str.Write(p) }

// CloseWrite ends our direction; the hub reads io.EOF.
func (b *rawBody) CloseWrite() error { return b.x.s.str.Close() }

// Close ends both directions. What was written before still arrives.
func (b *rawBody) Close() error {
	if b.x.end((*stream).close) {
		b.x.settle()
	}
	return nil
}
