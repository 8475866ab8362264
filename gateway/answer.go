package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"sync"
	"time"

	"penstock.dev/penstock/gateway/filter"
	"penstock.dev/penstock/gateway/h1"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
)

// answer copies a response to the client. From its head on nothing is repeated, and a response that breaks off ends in a
// panic with http.ErrAbortHandler: the client must never take it for a whole one (rows 10, 27).
func (x *exchange) answer(res *http.Response) *failure {
	if !x.clock.answered() {
		return fail(reasonDeadline, "the answer came when the time was over", remedies[reasonDeadline])
	}
	x.headers = time.Since(x.start)
	x.slot.streaming()
	x.g.cfg.Metrics.InFlight(x.Backend.Key, -1)
	x.body.Release()
	x.content.answered()

	removeHopByHop(res.Header)
	if res.StatusCode < http.StatusOK { // informational ones do not come here: a 101
		return x.splice(res)
	}
	if x.stream != nil && res.StatusCode < http.StatusMultipleChoices {
		// The client would take it for the opening of its stream (RFC 8441 §4).
		return fail(reasonUpgrade, fmt.Sprintf("the destination answered %d and switched nothing", res.StatusCode), remedies[reasonUpgrade])
	}
	if err := x.filters().Response(route.PhaseResponseHeaders, res.Header); err != nil {
		return filterFailure(err)
	}
	x.head(res)
	if err := x.copy(res); err != nil {
		x.truncated = true
		panic(http.ErrAbortHandler)
	}
	x.trailers(res)
	return nil
}

// responseHeader is the header of the response that goes on.
func (x *exchange) responseHeader(res *http.Response) {
	if x.cors != nil {
		filter.MarkResponse(res.Header, x.cors, x.origin)
	}
	h := x.w.Header()
	for name, values := range res.Header {
		h[name] = values
	}
	if x.from.tunnel() {
		x.counts.Write(h)
		return
	}
	hop.StripTags(h)
	if len(h["X-Request-Id"]) == 0 { // a destination's own id is worth more to the workload
		h["X-Request-Id"] = []string{x.tags.RequestID}
	}
}

// head writes the final response head.
func (x *exchange) head(res *http.Response) {
	x.responseHeader(res)
	h := x.w.Header()
	if !x.from.tunnel() {
		if x.r.ProtoMajor == 1 && x.content != nil && !x.content.ended.Load() {
			// The rest of the body may never be read. What comes after it on this connection must then not be taken for
			// a request (THREATS TH-T1).
			h["Connection"] = []string{"close"}
		}
	}
	stripTrailer(res.Trailer)
	for name := range res.Trailer {
		h.Add("Trailer", name)
	}
	if len(res.Trailer) > 0 {
		delete(h, "Content-Length") // HTTP/1.1 has trailers in the chunked coding only (RFC 9112 §7.1.2)
	}
	x.status, x.answering = res.StatusCode, true
	x.w.WriteHeader(res.StatusCode)
}

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// copy passes the content on as it comes. A response of unknown length is flushed at once, its head too: its reader may
// be waiting for the next event of a stream.
func (x *exchange) copy(res *http.Response) error {
	flush := func() error { return nil }
	if res.ContentLength < 0 && x.r.Method != http.MethodHead {
		flush = http.NewResponseController(x.w).Flush
		if err := flush(); err != nil {
			return err
		}
	}
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	reader := x.watchReader()
	defer reader.end()
	for {
		n, err := res.Body.Read(buf[:])
		reader.begin()
		if n > 0 {
			written, werr := x.w.Write(buf[:n])
			x.bytesOut += int64(written)
			if werr != nil {
				return werr
			}
		}
		switch err {
		case nil:
			if err := flush(); err != nil {
				return err
			}
			reader.end()
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

// trailers passes on what came behind the content. Names that were not announced go under net/http's prefix.
func (x *exchange) trailers(res *http.Response) {
	if x.Backend.Via != route.ViaParent {
		hop.CleanOutside(res.Trailer, x.self)
	}
	stripTrailer(res.Trailer)
	h := x.w.Header()
	for name, values := range res.Trailer {
		if len(values) > 0 {
			h[http.TrailerPrefix+name] = values
		}
	}
}

// stripTrailer deletes what a trailer section must not say: tags, which would come after the decision, and what frames or routes a
// message, which a reader that merges trailers would believe.
func stripTrailer(trailer http.Header) {
	hop.StripTrailer(trailer)
	h1.StripTrailer(trailer)
}

// informer passes informational responses on, until the attempt is over: net/http may still call the trace then.
type informer struct {
	w  http.ResponseWriter
	mu sync.Mutex
	// over: the final head may be written at any moment.
	over bool
}

func (i *informer) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over = true
}

// trace passes on 103 and its like. A 100 is not passed on: our own server sends one when the next hop begins to read
// the body, which is when a 100 from it has arrived.
func (i *informer) trace(clean func(http.Header) int) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.over || code == http.StatusContinue || code == http.StatusSwitchingProtocols {
			return nil
		}
		h := http.Header(header)
		removeHopByHop(h)
		clean(h)
		hop.StripTags(h)
		to := i.w.Header()
		for name, values := range h {
			to[name] = values
		}
		i.w.WriteHeader(code)
		clear(to) // the final head starts anew
		return nil
	}}
}

func cloneURL(r *http.Request) *url.URL {
	u := *r.URL
	return &u
}
