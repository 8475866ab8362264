package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"

	"penstock.dev/penstock/tunnel/bhttp"
)

// maxInformational responses of one exchange; a hub that sends more is broken.
const maxInformational = 64

// exchange is one try of one request at the spoke.
type exchange struct {
	client  *Client
	req     *http.Request
	ctx     context.Context
	trace   *httptrace.ClientTrace // never nil
	buf     *[]byte                // the head, until it is written
	length  int64                  // of the content; -1: unknown
	raws    rawWhen
	upgrade string

	lane   *lane
	s      *stream
	done   func() // tells the lane
	detach func() bool
	up     *upload // nil: no content is left to send beside the head

	written  int  // bytes that the transport took
	cut      bool // and it did not take all
	answered bool // a response byte arrived

	mu      sync.Mutex
	over    bool  // the stream is not ours any more
	dropped bool  // it was cancelled
	cause   error // why we cancelled it, if the context did not
	settled bool  // the outcome gives no proof: the body is to be closed
	closed  bool  // it was
}

// newExchange encodes the head. An error leaves the body closed.
func newExchange(c *Client, req *http.Request) (*exchange, error) {
	x := &exchange{client: c, req: req, ctx: req.Context(), buf: buffers.get()}
	if x.trace = httptrace.ContextClientTrace(x.ctx); x.trace == nil {
		x.trace = new(httptrace.ClientTrace)
	}
	var err error
	if *x.buf, err = bhttp.AppendRequestHead(*x.buf, x.head()); err != nil {
		x.release()
		x.closeBody()
		return nil, &Error{Err: fmt.Errorf("request cannot be written: %w", err)}
	}
	return x, nil
}

// head is the request's. An HTTP/1.1 upgrade travels as an extended CONNECT (RFC 8441), since Connection and Upgrade
// cannot.
func (x *exchange) head() *bhttp.RequestHead {
	req := x.req
	h := &bhttp.RequestHead{
		Method: req.Method, Scheme: strings.ToLower(req.URL.Scheme), Authority: req.Host, Path: req.URL.RequestURI(),
		Header: make(http.Header, len(req.Header)+1),
	}
	if h.Method == "" {
		h.Method = http.MethodGet
	}
	if h.Scheme == "" {
		h.Scheme = "https"
	}
	if h.Authority == "" {
		h.Authority = req.URL.Host
	}
	endToEnd(h.Header, req.Header)
	delete(h.Header, "Host")
	if x.upgrade = upgrade(req.Header); x.upgrade != "" && h.Method == http.MethodGet {
		h.Method, h.Protocol, x.raws = http.MethodConnect, x.upgrade, onlySwitching
	} else if h.Method == http.MethodConnect {
		h.Scheme, h.Path, x.raws = "", "", anySuccess
	}
	delete(h.Header, "Trailer")
	if len(req.Trailer) > 0 {
		names := make([]string, 0, len(req.Trailer))
		for name := range req.Trailer {
			names = append(names, name)
		}
		slices.Sort(names)
		h.Header["Trailer"] = []string{strings.Join(names, ", ")}
	}
	switch x.length = req.ContentLength; {
	case req.Body == nil || req.Body == http.NoBody:
		x.length = 0
	case x.length <= 0: // as with http.Transport, 0 with a body is unknown
		x.length = -1
	}
	delete(h.Header, "Content-Length")
	if x.length >= 0 {
		// 0 too: so the hub knows that there is no content without looking further.
		h.Header["Content-Length"] = []string{strconv.FormatInt(x.length, 10)}
	}
	return h
}

// RoundTrip makes one try on the hub with the least outstanding exchanges, never a second one: gateway/retry decides
// about that. It implements http.RoundTripper; errors are *Error.
//
// With Tries in the request's context, hubs that were tried are taken only if there is no other.
//
// Content of a known length up to 16 KiB is read before anything is sent and goes out with the head; other content is
// read while the response is awaited. The body is closed, unless the error is Unprocessed: then it is left open, nobody
// reads it any more, and what was read of it is the caller's to repeat. 101 needs a request with Connection: Upgrade;
// its response Body is an io.ReadWriteCloser, as is that of a 2xx to CONNECT.
func (c *Client) RoundTrip(req *http.Request) (*http.Response, error) {
	x, err := newExchange(c, req)
	if err != nil {
		return nil, err
	}
	n, s, err := c.lease(x.ctx)
	if err != nil {
		x.release()
		var e *Error
		if !errors.As(err, &e) || !e.Unprocessed() {
			x.closeBody()
		}
		return nil, err
	}
	return x.run(n, s, n.done)
}

// run makes the exchange on a leased stream.
func (x *exchange) run(n *lane, s *stream, done func()) (*http.Response, error) {
	x.lane, x.s, x.done = n, s, done
	x.detach = context.AfterFunc(x.ctx, x.cancel)
	whole, err := x.coalesce()
	if err != nil {
		x.release()
		x.end(x.lane.put) // nothing was sent
		x.settle()
		return nil, x.failed(fmt.Errorf("read the request's body: %w", err), "")
	}
	x.written, err = s.str.Write(*x.buf)
	x.release()
	if x.written == 0 && err != nil {
		return nil, x.fail(err)
	}
	x.cut = err != nil // the hub's side of the stream says why
	x.client.counts.exchanges.Add(1)
	if x.trace.WroteHeaders != nil {
		x.trace.WroteHeaders()
	}
	if whole {
		x.wroteRequest(nil)
	} else {
		x.startUpload()
	}
	return x.response()
}

// coalesce appends to the head what can go with it: content that is small, and the end. It reports whether that was all.
func (x *exchange) coalesce() (whole bool, err error) {
	switch {
	case x.length == 0:
	case x.length > 0 && x.length <= smallWrite && len(x.req.Trailer) == 0 && !expectsContinue(x.req.Header):
		buf := slices.Grow(bhttp.AppendChunk(*x.buf, int(x.length)), int(x.length))
		content := buf[len(buf) : len(buf)+int(x.length)]
		if _, err := io.ReadFull(x.req.Body, content); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return false, err
		}
		*x.buf = buf[:len(buf)+int(x.length)]
	default:
		return false, nil
	}
	*x.buf, err = bhttp.AppendEnd(*x.buf, nil)
	return true, err
}

// response reads heads up to the final one.
func (x *exchange) response() (*http.Response, error) {
	for range maxInformational {
		h, err := x.s.rd.ReadResponseHead()
		if err != nil {
			return nil, x.fail(err)
		}
		if !x.answered && x.trace.GotFirstResponseByte != nil {
			x.trace.GotFirstResponseByte()
		}
		x.answered = true
		if h.Status >= 200 || h.Status == http.StatusSwitchingProtocols {
			return x.final(h)
		}
		if err := x.informational(h); err != nil {
			return nil, x.fail(err)
		}
	}
	return nil, x.fail(&bhttp.Error{What: "too many informational responses", Offset: -1})
}

func (x *exchange) informational(h *bhttp.ResponseHead) error {
	if h.Status == http.StatusContinue {
		if x.up != nil {
			x.up.goAhead()
		}
		if x.trace.Got100Continue != nil {
			x.trace.Got100Continue()
		}
	}
	if x.trace.Got1xxResponse == nil {
		return nil
	}
	if err := x.trace.Got1xxResponse(h.Status, textproto.MIMEHeader(h.Header)); err != nil {
		x.abort(err)
		return err
	}
	return nil
}

// final makes the response. From here on the request counts as processed.
func (x *exchange) final(h *bhttp.ResponseHead) (*http.Response, error) {
	switching := h.Status == http.StatusSwitchingProtocols
	if switching && x.raws != onlySwitching {
		return nil, x.fail(&bhttp.Error{What: "101 to a request that did not ask for it", Offset: -1})
	}
	x.settle()
	res := &http.Response{
		Status:     strconv.Itoa(h.Status) + " " + http.StatusText(h.Status),
		StatusCode: h.Status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h.Header, Request: x.req, ContentLength: -1,
		Trailer: declared(h.Header),
	}
	if switching || x.raws == anySuccess && h.Status/100 == 2 {
		if switching {
			res.Header["Connection"], res.Header["Upgrade"] = []string{"Upgrade"}, []string{x.upgrade}
		}
		res.Body = &rawBody{x: x, rd: x.s.rd.Raw()}
		return res, nil
	}
	if v := h.Header["Content-Length"]; len(v) == 1 {
		res.ContentLength, _ = strconv.ParseInt(v[0], 10, 64) // the codec has checked it
	}
	body := &responseBody{x: x, res: res}
	res.Body = body
	head := x.req.Method == http.MethodHead
	if h.Status == http.StatusNoContent || h.Status == http.StatusNotModified {
		res.ContentLength = 0
	}
	if (head || res.ContentLength == 0) && (x.up == nil || x.up.finished()) {
		// The end follows at once; nobody reads on for it.
		if _, err := body.Read(make([]byte, 1)); err != io.EOF {
			body.Close()
			if err == nil {
				err = x.failed(fmt.Errorf("%w: content where none may be", ErrMalformed), "")
			}
			return nil, err
		}
		res.Body = http.NoBody
	}
	return res, nil
}

// cancel is what the end of the context does, and Close of a body that was not read to its end.
func (x *exchange) cancel() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.over {
		x.dropped = true
		x.s.drop()
	}
}

// abort is cancel for a reason of our own.
func (x *exchange) abort(cause error) {
	x.mu.Lock()
	if x.cause == nil {
		x.cause = cause
	}
	x.mu.Unlock()
	x.cancel()
}

// end gives the stream up once, with what becomes of it: lane.put if it is clean, (*stream).drop, or nothing. It reports
// whether it was the first.
func (x *exchange) end(fate func(*stream)) bool {
	x.mu.Lock()
	if x.over {
		x.mu.Unlock()
		return false
	}
	x.over = true
	dropped := x.dropped
	x.mu.Unlock()
	x.detach()
	if x.up != nil {
		x.up.stop()
	}
	if !dropped {
		fate(x.s)
	}
	x.done()
	return true
}

// fail ends an exchange that got no final response. With a proof the body stays open and nobody reads it any more.
func (x *exchange) fail(err error) error {
	f := failure{written: x.written, answered: x.answered || x.s.rd.Begun(), err: err}
	x.end((*stream).drop)
	if x.lane.conn.Context().Err() != nil {
		x.lane.retire() // so that the next try does not find it
	}
	if why := x.why(); why != nil {
		x.settle()
		return x.failed(why, "")
	}
	sentinel, proof := classify(f)
	if sentinel == ErrRejected {
		x.lane.retire() // B.1: the first `rejected` marks the connection draining
	}
	if proof == "" || !x.bodyLeft() {
		x.settle()
		if why := x.why(); why != nil {
			return x.failed(why, "")
		}
		proof = ""
	}
	return x.failed(fmt.Errorf("%w: %w", sentinel, err), proof)
}

func (x *exchange) failed(err error, proof string) error {
	return &Error{Hub: x.lane.link.hub.Name, Err: err, Proof: proof}
}

// why is the reason on our side for the end of the exchange; nil: the hub's or the network's.
func (x *exchange) why() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause != nil {
		return x.cause
	}
	return ended(x.ctx)
}

// bodyLeft waits until nobody reads the body any more, so that it can be sent again. It reports false if the context
// ended before.
func (x *exchange) bodyLeft() bool {
	if x.up == nil {
		return true
	}
	select {
	case <-x.up.done:
		return true
	case <-x.ctx.Done():
		return false
	}
}

// settle lets the body be closed: now, or when the upload is through with it.
func (x *exchange) settle() {
	x.mu.Lock()
	x.settled = true
	now := x.up == nil || x.up.isDone() || x.over
	x.mu.Unlock()
	if now {
		x.closeBody()
	}
}

// uploaded is called by the upload when it will not read the body again.
func (x *exchange) uploaded() {
	x.mu.Lock()
	now := x.settled
	x.mu.Unlock()
	if now {
		x.closeBody()
	}
}

// closeBody closes the request's body once. A body that is being read may block its Close, which then must not block
// the caller: net/http's server bodies do, until their connection ends.
func (x *exchange) closeBody() {
	x.mu.Lock()
	again := x.closed
	x.closed = true
	x.mu.Unlock()
	if again || x.req.Body == nil {
		return
	}
	if x.up == nil || x.up.isDone() {
		x.req.Body.Close()
		return
	}
	go x.req.Body.Close()
}

func (x *exchange) wroteRequest(err error) {
	if x.trace.WroteRequest != nil {
		x.trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
}

// release gives the head's buffer back.
func (x *exchange) release() {
	if x.buf != nil {
		buffers.put(x.buf)
		x.buf = nil
	}
}
