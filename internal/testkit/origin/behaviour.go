package origin

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// script is what a path does, request by request; the last step stays.
type script struct{ steps []http.HandlerFunc }

// On sets what a path answers: the first request gets the first step and so on, the last one stays. No steps: the path
// goes back to its standing behaviour.
func (o *Origin) On(path string, steps ...http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(steps) == 0 {
		delete(o.scripts, path)
		return
	}
	o.scripts[path] = &script{steps: steps}
}

func (o *Origin) next(path string) http.HandlerFunc {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.scripts[path]
	if s == nil {
		return nil
	}
	step := s.steps[0]
	if len(s.steps) > 1 {
		s.steps = s.steps[1:]
	}
	return step
}

// standing is the behaviour of a path's first segment; see the package comment.
func (o *Origin) standing(path string) http.HandlerFunc {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "echo":
		return Echo()
	case "status":
		code, err := strconv.Atoi(rest)
		if err != nil || code < 200 || code > 999 {
			code = http.StatusBadRequest
		}
		return func(w http.ResponseWriter, r *http.Request) {
			if v := r.URL.Query().Get("retry-after"); v != "" {
				w.Header().Set("Retry-After", v)
			}
			Status(code)(w, r)
		}
	case "reset":
		return Reset()
	case "reset-body":
		return func(w http.ResponseWriter, r *http.Request) { ResetBody(number(r, "n"))(w, r) }
	case "slow":
		return o.Hang()
	case "sse":
		return o.sse
	case "trailers":
		return Trailers()
	case "early":
		return Early()
	case "bytes":
		return func(w http.ResponseWriter, r *http.Request) {
			n := number(r, "n")
			if r.URL.Query().Has("length") {
				w.Header().Set("Content-Length", strconv.Itoa(n))
			}
			_, _ = io.CopyN(w, zeros{}, int64(n))
		}
	case "redirect":
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.URL.Query().Get("to"))
			w.WriteHeader(http.StatusFound)
		}
	}
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	}
}

// Status answers with a status, header pairs and the status text as body. It reads the request's body first.
func Status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(code)
		if code != http.StatusNoContent && code != http.StatusNotModified {
			_, _ = io.WriteString(w, http.StatusText(code))
		}
	}
}

// Echo sends head, body and trailers of the request back.
func Echo() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Echo-Method", r.Method)
		h.Set("X-Echo-Host", r.Host)
		h.Set("X-Echo-Uri", r.URL.RequestURI())
		h.Set("X-Echo-Length", strconv.FormatInt(r.ContentLength, 10))
		if ct := r.Header.Get("Content-Type"); ct != "" {
			h.Set("Content-Type", ct)
		}
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex() // HTTP/1.1 only; HTTP/2 always is
		_ = rc.Flush()
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Body.Read(buf)
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
			_ = rc.Flush()
			if err == io.EOF {
				break
			}
			if err != nil {
				panic(http.ErrAbortHandler)
			}
		}
		for name, values := range r.Trailer {
			h[http.TrailerPrefix+name] = values
		}
	}
}

// Reset ends the connection with RST, or the HTTP/2 stream with RST_STREAM, before response headers. The body is read
// first, so that the request certainly was processed.
func Reset() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		abort(w)
	}
}

// ResetBody sends n bytes of a body that was announced as longer, then resets.
func ResetBody(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(n+1))
		_, _ = io.CopyN(w, zeros{}, int64(n))
		_ = http.NewResponseController(w).Flush()
		abort(w)
	}
}

// abort resets the connection where it can be had (HTTP/1.1), else the stream. It does not return.
func abort(w http.ResponseWriter) {
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		inner := c
		if t, ok := c.(interface{ NetConn() net.Conn }); ok {
			inner = t.NetConn()
		}
		if tc, ok := inner.(*net.TCPConn); ok {
			_ = tc.SetLinger(0)
		}
		_ = inner.Close()
		return
	}
	panic(http.ErrAbortHandler)
}

// Hang answers 200 once Release was called, or never when the client goes first.
func (o *Origin) Hang() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-o.release:
			w.WriteHeader(http.StatusOK)
		case <-r.Context().Done():
		}
	}
}

func (o *Origin) sse(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	n := max(number(r, "n"), 1)
	for i := range n {
		if i == n-1 {
			select {
			case <-o.release:
			case <-r.Context().Done():
				return
			}
		}
		_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
		_ = rc.Flush()
	}
}

// Trailers sends a body and two trailers, one of them not announced.
func Trailers() http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Sum", "4")
		w.Header().Set(http.TrailerPrefix+"X-Late", "yes")
	}
}

// Early sends 103 Early Hints, then 200.
func Early() http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "ok")
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func number(r *http.Request, name string) int {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
