package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"penstock.dev/penstock/apis/control"
)

// Bounds of the join endpoint, which anybody can reach.
const (
	maxJoinBody = 64 << 10
	joinTime    = 10 * time.Second // for reading the body, and for the work, each
	maxJoins    = 64               // requests at work at once
)

// JoinHandler serves POST /v1/join and POST /v1/recover, for a TLS listener with JoinTLS. Every refusal is JSON {code,
// message, remedy}. A source that fails too often is refused for a while before its request is read.
func (r *Registry) JoinHandler() http.Handler {
	d := &door{r: r, throttle: newThrottle(), slots: make(chan struct{}, maxJoins)}
	mux := http.NewServeMux()
	mux.Handle("POST "+control.PathJoin, enter(d, r.Join))
	mux.Handle("POST "+control.PathRecover, enter(d, r.Reissue))
	return mux
}

// door is what all requests to the join endpoint pass.
type door struct {
	r        *Registry
	throttle *throttle
	slots    chan struct{}
}

// enter makes a handler of a function from a message to a certificate.
func enter[T any](d *door, serve func(context.Context, T) (control.Certificate, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		source := sourceOf(req.RemoteAddr)
		if wait := d.throttle.blocked(source, time.Now()); wait > 0 {
			d.refuse(w, req, wait, refuse(TooManyFailures, "too many failed requests from this address", "wait, and check the bundle"))
			return
		}
		select {
		case d.slots <- struct{}{}:
			defer func() { <-d.slots }()
		default:
			d.refuse(w, req, time.Second, refuse(Busy, "too many gateways join at once", "try again in a second"))
			return
		}
		var in T
		if err := readJSON(w, req, &in); err != nil {
			d.failed(w, req, source, err)
			return
		}
		ctx, cancel := context.WithTimeout(req.Context(), joinTime)
		defer cancel()
		c, err := serve(ctx, in)
		if err != nil {
			d.failed(w, req, source, err)
			return
		}
		writeJSON(w, http.StatusOK, c)
	})
}

// readJSON takes exactly one JSON value; unknown members are ignored (apis/control).
func readJSON(w http.ResponseWriter, req *http.Request, v any) error {
	// An error means that the connection has no deadlines, as in tests over a recorder; the server's own then hold.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(joinTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxJoinBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return refuse(BadRequest, "the request is longer than 64 KiB", "send what apis/control says")
		}
		return refuse(BadRequest, "the request could not be read", "try again")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if dec.Decode(v) != nil { // its error could quote the token
		return refuse(BadRequest, "the request is not the JSON that is expected here", "send what apis/control says")
	}
	if _, err := dec.Token(); err != io.EOF {
		return refuse(BadRequest, "there is something behind the JSON of the request", "send one JSON value")
	}
	return nil
}

// failed answers an error and counts it against its source, unless it is the hub's own.
func (d *door) failed(w http.ResponseWriter, req *http.Request, source string, err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		d.r.log.Error("join endpoint failed", "path", req.URL.Path, "error", err)
		e = refuse(Unavailable, "the hub could not do this", "try again later; the hub's log says why")
	}
	if status(e.Code) < http.StatusInternalServerError {
		d.throttle.failed(source, time.Now())
	}
	d.refuse(w, req, 0, e)
}

func (d *door) refuse(w http.ResponseWriter, req *http.Request, wait time.Duration, e *Error) {
	d.r.log.Warn("refused at the join endpoint", "path", req.URL.Path, "source", req.RemoteAddr, "code", string(e.Code), "error", e)
	code := status(e.Code)
	if wait == 0 && code == http.StatusServiceUnavailable {
		wait = time.Second
	}
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	}
	writeJSON(w, code, struct {
		Code    Code   `json:"code"`
		Message string `json:"message"`
		Remedy  string `json:"remedy"`
	}{e.Code, e.Message, e.Remedy})
}

// status of an answer of the join endpoint.
func status(c Code) int {
	switch c {
	case BadRequest, CSRRefused:
		return http.StatusBadRequest
	case TooManyFailures:
		return http.StatusTooManyRequests
	case Busy, Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusForbidden
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(append(encode(v), '\n')) // a peer that went away needs no answer
}
