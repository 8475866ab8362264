package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"

	"penstock.dev/penstock/tunnel/bhttp"
)

const (
	// drainFor and drainBytes bound how long the end of a request is awaited after an early answer (HOPS-AND-RETRIES
	// A.3, Leases: at most one stream window or 1 s).
	drainFor   = time.Second
	drainBytes = 512 << 10
)

// serverExchange is one request and its response at the hub.
type serverExchange struct {
	conn *serverConn
	str  *quic.Stream
	rd   *bhttp.Reader
	head *bhttp.RequestHead
}

// serve runs the exchange and reports whether the stream is good for another one.
func (x *serverExchange) serve(base context.Context) (again bool) {
	srv := x.conn.srv
	expired := !srv.cfg.Now().Before(x.conn.peer.NotAfter)
	if expired || !srv.gate.enter(control(x.head.Authority)) {
		// P2. Nobody else starts or resets this exchange, so the decision just taken is final.
		srv.counts.rejected.Add(1)
		x.reset(codeRejected)
		return false
	}
	defer srv.gate.leave()
	ctx, cancel := context.WithCancel(context.WithoutCancel(base))
	defer cancel()
	w := &response{x: x, header: make(http.Header), mu: newWaitLock(), body: requestBody{mu: newWaitLock()}}
	req, err := x.request(w)
	if err != nil {
		x.conn.refuse(x.str, http.StatusBadRequest, err)
		x.str.CancelRead(codeMalformed)
		return false
	}
	// quic-go ends a stream's context with its sending side: by the spoke, which gives the exchange up, or by CloseWrite,
	// after which the handler goes on.
	defer context.AfterFunc(base, func() {
		if !w.half.Load() {
			cancel()
		}
	})()
	srv.counts.exchanges.Add(1)
	req = req.WithContext(ctx)
	w.body.req = req
	return x.handle(w, req) && w.finish()
}

// handle runs the handler and reports whether a response is left to be finished.
func (x *serverExchange) handle(w *response, req *http.Request) (ok bool) {
	defer func() {
		if ok {
			return
		}
		v := recover()
		if err, is := v.(error); is && errors.Is(err, http.ErrAbortHandler) {
			x.reset(codeCancelled)
			return
		}
		srv := x.conn.srv
		srv.counts.panics.Add(1)
		srv.cfg.Log.Error("handler panicked", "peer", x.conn.peer.String(), "method", req.Method, "path", req.URL.Path,
			"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		ok = w.failed()
	}()
	x.conn.srv.cfg.Handler.ServeHTTP(w, req)
	return true
}

// reset ends the exchange in both directions.
func (x *serverExchange) reset(code quic.StreamErrorCode) {
	x.str.CancelWrite(code)
	x.str.CancelRead(code)
}

// request is the head as net/http has it. It presents an extended CONNECT as the HTTP/1.1 upgrade it was (RFC 8441 the
// other way round), so that a handler needs to know one form only.
func (x *serverExchange) request(w *response) (*http.Request, error) {
	h := x.head
	req := &http.Request{
		Method: h.Method, Host: h.Authority, Header: h.Header, RequestURI: h.Path,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		RemoteAddr: x.conn.remote, ContentLength: -1,
	}
	var err error
	switch {
	case h.Method == http.MethodConnect && h.Protocol == "":
		req.URL, req.RequestURI, w.raws = &url.URL{Host: h.Authority}, h.Authority, anySuccess
	case h.Path == "*":
		req.URL = &url.URL{Path: "*"}
	default:
		req.URL, err = url.ParseRequestURI(h.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("tunnel: path of the request: %w", errors.Unwrap(err)) // without the path itself
	}
	if h.Protocol != "" {
		req.Method, w.raws = http.MethodGet, onlySwitching
		req.Header["Connection"], req.Header["Upgrade"] = []string{"Upgrade"}, []string{h.Protocol}
	}
	w.method = req.Method
	if v := h.Header["Content-Length"]; len(v) == 1 {
		req.ContentLength, _ = strconv.ParseInt(v[0], 10, 64) // the codec has checked it
		if req.ContentLength == 0 {
			// Written by every spoke that knows of no content; HTTP/1.1 does not write it with GET.
			delete(h.Header, "Content-Length")
		}
	}
	req.Trailer = declared(h.Header)
	w.body.x, w.body.w = x, w
	w.body.expects = expectsContinue(h.Header)
	req.Body = &w.body
	if req.ContentLength == 0 && w.raws == never {
		req.Body = http.NoBody
	}
	return req, nil
}
