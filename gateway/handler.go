package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/gateway/filter"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/gateway/telemetry"
	"penstock.dev/penstock/tunnel"
)

// exchange is one request on its way. It belongs to the goroutine of its handler.
type exchange struct {
	g     *Gateway
	from  intake
	table *table
	self  hop.Self
	w     http.ResponseWriter
	r     *http.Request // as it came, but for reserved and consumed headers
	start time.Time
	host  string
	grpc  bool // the client reads errors in gRPC's form

	tags  hop.Tags
	trace telemetry.Trace
	query route.Query
	route.Decision
	cors    *route.CORS // of the route; nil: none
	origin  string      // of the page that sent the request
	upgrade string      // the protocol that the client asks for; empty: none
	stream  *h2Stream   // that a client opened by extended CONNECT; nil: it did not

	dest    *destination
	slot    *slot
	tries   *retry.Request
	clock   *clock
	body    *retry.Body
	content *content
	// executed: a next hop may have executed the request.
	executed bool
	// release ends the attempt whose response is being copied.
	release context.CancelCauseFunc

	counts    hop.Counts
	status    int // 0: nothing was answered
	reason    string
	headers   time.Duration // until response headers
	bytesOut  int64
	bytesIn   atomic.Int64 // of a stream behind a 101
	truncated bool
	answering bool // the final head was handed to w
}

// serve is the way of a request through a gateway (HOPS-AND-RETRIES A.3).
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, from intake) {
	x := &exchange{g: g, from: from, table: g.table.Load(), self: *g.self.Load(), w: w, r: r, start: time.Now(), host: hostOf(r.Host), grpc: isGRPC(r.Header)}
	if from.tunnel() && x.host == tunnel.ControlAuthority {
		x.control() // before all else, and not counted: a full gateway must still be able to say so
		return
	}
	defer x.end()
	if f := x.forward(); f != nil {
		x.fail(f)
	}
}

// control hands a control request over. Its identity is the certificate alone.
func (x *exchange) control() {
	f := fail(reasonNoControl, "this gateway serves no control requests", "")
	if _, ok := x.g.peer(x.r.Context()); !ok {
		f = fail(reasonNoPeer, "a control request outside of a tunnel", "")
	} else if err := hop.CheckControl(x.r.Header); err != nil {
		f = hopFailure(err)
	} else if x.g.cfg.Control != nil {
		x.g.cfg.Control.ServeHTTP(x.w, x.r)
		return
	}
	f.write(x.w, x.self.Pseudonym, hop.NewRequestID(), false)
}

// forward takes the steps of A.3 until the response is copied or something ends the request.
func (x *exchange) forward() *failure {
	if n := x.g.active.Add(1); n > int64(x.g.cfg.MaxRequests) {
		x.tags.RequestID = hop.NewRequestID()
		f := fail(reasonOverload, fmt.Sprintf("%d requests are in this gateway", n-1), remedies[reasonOverload])
		f.notProcessed = x.from.tunnel() // P5: nothing but this count was looked at
		return f
	}
	for _, step := range []func() *failure{x.arrive, x.judged, x.bounded, x.identify, x.decide} {
		if f := step(); f != nil {
			return f
		}
	}
	if done, f := x.local(); done {
		return f
	}
	if f := x.admit(); f != nil {
		return f
	}
	x.openBody()
	return x.send()
}

// decide asks the table.
func (x *exchange) decide() *failure {
	s := x.tags.Subject
	x.query = route.Query{
		Port: x.from.port, Protocol: x.from.protocol, Host: x.host, Path: x.r.URL.EscapedPath(), Method: x.r.Method,
		Header: x.r.Header, Cluster: s.Cluster, Namespace: s.Namespace, ServiceAccount: s.ServiceAccount,
		Proof: string(s.Proof), Draw: uint32(x.g.cfg.Rand() * (1 << 32)),
	}
	if x.r.TLS != nil {
		x.query.ServerName = serverName(x.r.TLS.ServerName)
	}
	if x.table.snapshot.ReadsQuery() {
		x.query.Values = x.r.URL.Query()
	}
	x.Decision = x.table.snapshot.Decide(x.query)
	if x.Listener != nil {
		x.g.cfg.Metrics.Hops(x.Listener.Gateway, len(x.tags.Path))
	}
	// A loop is told before all else (A.3 step 3): only a Backend that may be reached can allow a re-entry.
	reentry := 0
	if x.Reason == route.None && x.Backend != nil {
		reentry = x.Backend.AllowReentry
	}
	if err := x.tags.Admit(reentry); err != nil {
		return hopFailure(err)
	}
	if x.Reason != route.None {
		detail, remedy := Explain(x.query, x.Decision)
		return fail(string(x.Reason), detail, remedy)
	}
	return nil
}

// admit is steps 4 and 5: the time that is left, and what is in flight.
func (x *exchange) admit() *failure {
	budget, err := hop.GRPCTimeout(x.r.Header, x.limit(x.tags.Budget))
	if err != nil {
		return hopFailure(err)
	}
	x.tags.Budget = budget
	if _, err := budget.Spend(time.Since(x.start)); err != nil {
		return hopFailure(err)
	}
	x.dest = x.g.destination(x.Backend.Key)
	subject := x.subject()
	slot, refused := x.dest.admit(subject, x.Backend.Limits)
	if refused != "" {
		// Hold-down carries Theorem 3: on the way back up of a loop that met this cap, nothing is repeated here.
		if refused == reasonSubjectBusy {
			x.dest.guards.HoldSubject(subject, x.table.limits.Headers)
		} else {
			x.dest.guards.HoldBackend(x.table.limits.Headers)
		}
		return fail(refused, fmt.Sprintf("backend %s, caller %s", x.Backend.Key, subject), remedies[refused])
	}
	x.slot = slot
	x.g.cfg.Metrics.InFlight(x.Backend.Key, +1)
	x.tries = x.dest.guards.Begin(subject)
	x.clock = startClock(x.r.Context(), x.start, budget.Headers, budget.Stream)
	return nil
}

// limit lowers a budget to what Backend and rule grant. timeouts.request of a rule sets both times (A.4); 0 means that
// it sets none.
func (x *exchange) limit(b hop.Budget) hop.Budget {
	granted := x.g.cfg.Limits.Headers
	if own := x.Backend.Timeouts.ResponseHeaders; own > 0 {
		granted = min(own, maxHeaders)
	}
	b.Headers = min(b.Headers, granted)
	if request := x.Rule.Timeouts.Request; request != nil && *request > 0 {
		b.Headers = min(b.Headers, *request)
		b.Stream = lowest(b.Stream, *request)
	}
	if x.Rule.Retry != nil {
		b.Attempts = min(b.Attempts, 1+max(x.Rule.Retry.Attempts, 0)) // GEP-1731: attempts counts retries, not tries
	}
	return b
}

// subject is the key of a caller in caps and guards.
func (x *exchange) subject() string {
	s := x.tags.Subject
	return s.Cluster + "/" + s.Namespace + "/" + s.ServiceAccount
}

// fail answers with a failure, unless the client is gone or already has a part of an answer.
func (x *exchange) fail(f *failure) {
	x.reason = f.reason
	if x.executed {
		f.executed = executedMaybe
	}
	if f.loop != "" && x.dest != nil {
		x.dest.guards.HoldBackend(x.table.limits.Headers)
	}
	if f.reason == reasonClientGone {
		return
	}
	if f.cause != nil {
		x.g.cfg.Log.Warn("request refused", "requestId", x.tags.RequestID, "reason", f.reason, "backend", x.labels().Backend, "error", f.cause)
	}
	x.g.cfg.Metrics.Refused(x.labels(), f.reason)
	if f.loop != "" {
		x.g.cfg.Metrics.Loop(x.labels(), string(f.loop))
	}
	if x.from.tunnel() {
		x.counts.Write(x.w.Header())
	}
	if x.cors != nil { // a page must be able to read why
		filter.MarkResponse(x.w.Header(), x.cors, x.origin)
	}
	x.answering = true
	x.status = StatusOf(f.reason)
	x.refused(f) // before the answer: who has it may ask for the reason at once
	f.write(x.w, x.self.Pseudonym, x.tags.RequestID, x.grpc)
}

// end gives back what the exchange holds, and records it. It also is where panics end.
func (x *exchange) end() {
	defer x.g.active.Add(-1)
	v := recover()
	x.closeBody()
	if x.release != nil {
		x.release(nil)
	}
	if x.clock != nil {
		x.clock.stop()
	}
	if x.tries != nil {
		x.tries.End()
	}
	if x.slot != nil {
		if x.slot.state == slotWaiting {
			x.g.cfg.Metrics.InFlight(x.Backend.Key, -1)
		}
		x.slot.leave()
	}
	if v != nil && !aborts(v) {
		x.g.cfg.Metrics.Panicked()
		x.g.cfg.Log.Error("panic in the request handler", "requestId", x.tags.RequestID, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		if x.answering {
			x.truncated = true
			v = http.ErrAbortHandler
		} else {
			f := fail(reasonPanic, "panic in the request handler", remedies[reasonPanic]) // row 32
			x.fail(f)
			v = nil
		}
	}
	x.record()
	x.hurried()
	if v == nil && x.reason == reasonClientGone && !x.answering {
		// A client whose request breaks off may still be there, on HTTP/2, and net/http would tell it 200.
		v = http.ErrAbortHandler
	}
	if v != nil {
		panic(v) // the server resets the stream, or closes the connection without an end of the message
	}
}

// aborts reports whether a panic is the one that cuts a response off.
func aborts(v any) bool {
	err, ok := v.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// ended tells why a request ended by itself: our own time, or its client. nil: it did not.
func (x *exchange) ended() *failure {
	switch {
	case x.clock.over():
		return fail(reasonDeadline, context.Cause(x.clock.ctx).Error(), remedies[reasonDeadline])
	case x.content.refused() != nil:
		return x.content.refused()
	case x.clock.ctx.Err() != nil, x.content.failed():
		return fail(reasonClientGone, "the client is gone", "")
	}
	return nil
}
