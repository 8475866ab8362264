package tunnel

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/tunnel/bhttp"
)

// rawWhen says which status turns the stream into raw bytes.
type rawWhen int

const (
	never         rawWhen = iota
	anySuccess            // plain CONNECT
	onlySwitching         // extended CONNECT, shown to the handler as an upgrade
)

// response is the http.ResponseWriter of one exchange.
type response struct {
	x      *serverExchange
	method string
	raws   rawWhen
	body   requestBody
	header http.Header

	// mu: a handler may read its body, which can send a 100, while another goroutine writes.
	mu       waitLock
	framed   bool        // a byte of the response went out
	status   int         // 0: WriteHeader was not called
	sent     http.Header // as of WriteHeader
	trailer  []string    // declared names
	left     int64       // of a declared content-length; -1: unknown
	headOut  bool        // the final head went out
	flushing bool        // from the first Flush on
	timed    atomic.Bool // the handler has set a deadline
	raw      atomic.Bool // the protocol was switched; read without mu, so that a blocked Write does not stop a Read
	half     atomic.Bool // our direction of the raw bytes has ended
	over     bool        // the handler has returned
	kept     *[]byte     // content kept back
	err      error       // of the first write that failed
}

var errOver = errors.New("tunnel: response written after the handler returned")

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter, 1xx included.
func (w *response) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeHeader(status)
}

func (w *response) writeHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic(fmt.Sprintf("tunnel: invalid status %d", status)) // as net/http does
	case w.over || w.status != 0:
		return
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.informational(status, w.header)
		return
	}
	w.status, w.left = status, -1
	w.sent = make(http.Header, len(w.header)+1)
	endToEnd(w.sent, w.header)
	for name := range declared(w.header) {
		w.trailer = append(w.trailer, name)
		delete(w.sent, name)
	}
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			delete(w.sent, name)
		}
	}
	if v, ok := w.sent["Content-Length"]; ok {
		n, err := strconv.ParseInt(v[0], 10, 64)
		if err != nil || n < 0 || len(v) > 1 {
			delete(w.sent, "Content-Length") // as net/http does
		} else if w.method != http.MethodHead && status != http.StatusNotModified {
			w.left = n
		}
	}
	if w.raws == anySuccess && status/100 == 2 || w.raws == onlySwitching && status == http.StatusSwitchingProtocols {
		w.raw.Store(true)
		w.flushing = true
		delete(w.sent, "Content-Length")
		w.left = -1
		w.send(nil, false)
	}
}

// informational writes a 1xx at once. It cannot be the last of the response, so its errors come again later.
func (w *response) informational(status int, h http.Header) {
	if w.headOut || w.err != nil {
		return
	}
	fields := make(http.Header, len(h))
	endToEnd(fields, h)
	delete(fields, "Content-Length")
	out, err := bhttp.AppendInformational(nil, &bhttp.ResponseHead{Status: status, Header: fields}, !w.framed)
	if err != nil {
		return
	}
	w.write(out)
}

// sendContinue answers Expect: 100-continue, unless a final response is on its way.
func (w *response) sendContinue() {
	if !w.mu.TryLock() {
		return
	}
	defer w.mu.Unlock()
	if w.status == 0 && !w.over {
		w.informational(http.StatusContinue, nil)
	}
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return 0, errOver
	}
	if w.status == 0 {
		w.writeHeader(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return 0, w.err
	case w.raw.Load():
		if w.write(p); w.err != nil {
			return 0, w.err
		}
		return len(p), nil
	case w.status == http.StatusNoContent || w.status == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	case w.method == http.MethodHead || len(p) == 0:
		return len(p), nil
	case w.left >= 0 && int64(len(p)) > w.left:
		return 0, http.ErrContentLength
	}
	if w.left >= 0 {
		w.left -= int64(len(p))
	}
	if !w.flushing && w.keep(p) {
		return len(p), nil
	}
	if w.send(p, false); w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// keep holds p back if there is room.
func (w *response) keep(p []byte) bool {
	if w.kept == nil {
		if len(p) > coalesce {
			return false
		}
		w.kept = buffers.get()
	}
	if len(*w.kept)+len(p) > coalesce {
		return false
	}
	*w.kept = append(*w.kept, p...)
	return true
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *response) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return errOver
	}
	if w.status == 0 {
		w.writeHeader(http.StatusOK)
	}
	w.flushing = true
	if !w.headOut || w.kept != nil && len(*w.kept) > 0 {
		w.send(nil, false)
	}
	return w.err
}

// SetReadDeadline is for http.ResponseController. A body that ran into it can be read on after a new one.
func (w *response) SetReadDeadline(t time.Time) error {
	w.timed.Store(true)
	return w.x.str.SetReadDeadline(t)
}

// SetWriteDeadline is for http.ResponseController. A response that ran into it cannot be completed.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.timed.Store(true)
	return w.x.str.SetWriteDeadline(t)
}

// EnableFullDuplex is for http.ResponseController: exchanges always are.
func (w *response) EnableFullDuplex() error { return nil }

// send writes, in one Write where it is small, all that is due: head, kept content, p, and the end.
func (w *response) send(p []byte, end bool) {
	if w.err != nil {
		return
	}
	buf := buffers.get()
	defer buffers.put(buf)
	out := (*buf)[:0]
	if !w.headOut {
		if out, w.err = w.appendHead(out); w.err != nil {
			if w.framed {
				return
			}
			w.x.conn.srv.cfg.Log.Error("response cannot travel, answering 502", "peer", w.x.conn.peer.String(), "err", w.err)
			w.replace()
			p = nil
			if out, w.err = w.appendHead(out); w.err != nil {
				return
			}
		}
		w.headOut = true
	}
	if w.kept != nil {
		out = bhttp.AppendContent(out, *w.kept)
		buffers.put(w.kept)
		w.kept = nil
	}
	if len(p) > smallWrite {
		w.write(bhttp.AppendChunk(out, len(p)))
		out = out[:0]
		w.write(p)
	} else {
		out = bhttp.AppendContent(out, p)
	}
	if end && w.err == nil {
		if out, w.err = bhttp.AppendEnd(out, w.trailers()); w.err != nil {
			return
		}
	}
	w.write(out)
	*buf = out
}

func (w *response) appendHead(out []byte) ([]byte, error) {
	head := bhttp.ResponseHead{Status: w.status, Header: w.sent}
	if w.status == http.StatusSwitchingProtocols {
		return bhttp.AppendInformational(out, &head, !w.framed)
	}
	return bhttp.AppendResponseHead(out, &head, !w.framed)
}

// write hands bytes to the stream; the first error stays.
func (w *response) write(p []byte) {
	if w.err != nil || len(p) == 0 {
		return
	}
	w.framed = true
	if _, err := w.x.str.Write(p); err != nil {
		w.err = fmt.Errorf("tunnel: write the response: %w", err)
	}
}

// trailers that the handler has set by now.
func (w *response) trailers() http.Header {
	var t http.Header
	add := func(name string, values []string) {
		if len(values) == 0 {
			return
		}
		if t == nil {
			t = make(http.Header)
		}
		t[name] = values
	}
	for _, name := range w.trailer {
		add(name, w.header[name])
	}
	for name, values := range w.header {
		if bare, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			add(http.CanonicalHeaderKey(bare), values)
		}
	}
	return t
}

// finish ends the exchange of a handler that has returned, and reports whether the stream is good for another one.
//
// The end of the response is written only after the end of the request was read: a spoke that has read it may lease the
// stream again at once.
func (w *response) finish() (again bool) {
	if w.raw.Load() {
		w.setOver()
		w.body.closed.Store(true)
		w.x.str.Close()
		w.x.str.CancelRead(codeNoError)
		return false
	}
	var whole, drained bool
	if w.body.overSoon() {
		whole, drained = w.body.drain(), true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == 0 {
		w.writeHeader(http.StatusOK)
	}
	w.over = true
	defer w.release()
	switch {
	case w.err != nil:
		w.x.reset(codeCancelled)
		return false
	case w.left > 0 && w.status != http.StatusNoContent:
		// The handler wrote less than it declared. It must not look whole (row 10).
		w.x.reset(codeCancelled)
		return false
	}
	w.declareLength()
	if !drained {
		w.send(nil, false)
		whole = w.body.drain()
	}
	w.send(nil, true)
	if w.err != nil {
		w.x.reset(codeCancelled)
		return false
	}
	if !whole {
		w.x.str.Close()
		w.x.str.CancelRead(codeNoError)
		return false
	}
	if w.timed.Load() {
		w.x.str.SetDeadline(time.Time{})
	}
	return true
}

// declareLength gives the whole of a small response its length.
func (w *response) declareLength() {
	if w.headOut || w.left >= 0 || w.method == http.MethodHead || len(w.trailer) > 0 ||
		w.status == http.StatusNoContent || w.status == http.StatusNotModified {
		return
	}
	n := 0
	if w.kept != nil {
		n = len(*w.kept)
	}
	w.sent["Content-Length"] = []string{strconv.Itoa(n)}
}

// failed prepares the end of a response whose handler panicked (row 32): 502 if nothing was written, and then finish
// does the rest; else a reset, and false.
func (w *response) failed() bool {
	if !w.mu.TryLock() { // another goroutine of the handler is writing
		w.x.reset(codeCancelled)
		return false
	}
	defer w.mu.Unlock()
	if w.framed {
		w.over = true
		w.release()
		w.x.reset(codeCancelled)
		return false
	}
	w.replace()
	return true
}

// replace puts a 502 in the place of a response of which nothing was written. What the handler still writes is dropped.
func (w *response) replace() {
	w.release()
	w.status, w.sent = http.StatusBadGateway, http.Header{"Content-Length": {"0"}}
	w.header, w.trailer, w.left, w.err = make(http.Header), nil, 0, nil
}

func (w *response) release() {
	if w.kept != nil {
		buffers.put(w.kept)
		w.kept = nil
	}
}

// CloseWrite ends our direction of a stream of raw bytes; the other one goes on until the handler returns. Without a stream
// of raw bytes it is http.ErrNotSupported.
func (w *response) CloseWrite() error {
	if !w.raw.Load() {
		return http.ErrNotSupported
	}
	w.setOver()
	w.half.Store(true)
	return w.x.str.Close()
}

func (w *response) setOver() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}
