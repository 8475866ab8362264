package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"slices"
	"time"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
)

// toEndpoint makes this the request's terminal gateway, the only one that repeats it (HOPS-AND-RETRIES B.2).
func (x *exchange) toEndpoint(out *http.Request) (*http.Response, *failure) {
	policy := x.policy()
	keyed := out.Header.Get("Idempotency-Key") != "" || out.Header.Get("X-Idempotency-Key") != ""
	timeoutRepeats := retry.Idempotent(out.Method) || keyed && policy.IdempotencyKeys

	for n, left := 1, x.tags.Budget.Attempts-1; ; n, left = n+1, left-1 {
		shares := 1 // a request that is not repeated after a timeout need not leave time for that
		if timeoutRepeats {
			shares = left + 1
		}
		res, err := x.attempt(out, left, shares)
		var failed *failure
		if errors.As(err, &failed) {
			return nil, failed // ours, before anything was sent
		}
		if f := x.ended(); f != nil && err != nil {
			f.cause = err
			return nil, f
		}
		e := retry.EndpointFailure{
			Method: out.Method, KeyCarried: keyed, AttemptsLeft: left, Left: x.clock.left(), Attempt: n, BodyLost: x.body.Lost(),
		}
		if err != nil {
			x.classify(&e, err)
		} else if x.failureStatus(res.StatusCode, policy) {
			e.Class, e.Status, e.Header = retry.StatusCode, res.StatusCode, res.Header
		} else {
			x.tries.Succeeded()
			return res, nil
		}
		v := x.verdict(e, policy)
		x.g.cfg.Log.Debug("attempt failed", "requestId", x.tags.RequestID, "attempt", n, "row", v.Row, "why", v.Why, "again", v.Again, "error", err)
		switch {
		case !v.Again && err != nil:
			return nil, endpointFailure(err)
		case !v.Again:
			return res, nil // the upstream's own answer
		case err == nil:
			x.release(nil)
			res.Body.Close()
		}
		if !x.clock.sleep(v.Wait) {
			return nil, x.ended()
		}
	}
}

// attempt sends the request once. left attempts may follow; the time that is left is divided into shares. An error is a
// *failure of our own, or what the endpoint returned.
func (x *exchange) attempt(out *http.Request, left, shares int) (*http.Response, error) {
	body, err := x.body.Rewind()
	if err != nil {
		return nil, endpointFailure(err)
	}
	var configured time.Duration
	if t := x.Rule.Timeouts.BackendRequest; t != nil {
		configured = *t
	}
	ctx, cancel := context.WithCancelCause(x.clock.ctx)
	x.release = cancel
	inform := &informer{w: x.w}
	defer inform.stop()
	req := out.WithContext(httptrace.WithClientTrace(ctx, inform.trace(func(h http.Header) int {
		hop.CleanOutside(h, x.self)
		return 0
	})))
	req.Header, req.Body = out.Header.Clone(), body
	req.URL = cloneURL(out)
	if err := x.filters().Request(route.PhaseBackendRequest, req); err != nil {
		cancel(nil)
		return nil, filterFailure(err)
	}
	if x.Backend.CDNLoopDisabled {
		hop.StripTags(req.Header)
	} else {
		tags := x.tags
		tags.Budget.Attempts = left
		tags.WriteOutside(req.Header, x.self, time.Now()) // last of all: no filter comes behind it
	}

	timer := time.AfterFunc(retry.PerTry(configured, x.clock.left(), shares), func() { cancel(errPerTry) })
	before := x.executed
	x.executed = true
	res, err := x.g.toOutside(req, x.backendAt(req.Host))
	if counted(err) {
		x.counts.Attempts++
	}
	if !timer.Stop() && err == nil { // the answer and the end of its time crossed; its body is cut off already
		res.Body.Close()
		err = &endpoint.Error{Cause: endpoint.ResponseTimeout, Class: retry.PerTryTimeout, Sent: true, Err: errPerTry}
	}
	if err != nil {
		if unprocessed(err) {
			x.executed = before
		} else if errors.Is(context.Cause(ctx), errPerTry) {
			err = &endpoint.Error{Cause: endpoint.ResponseTimeout, Class: retry.PerTryTimeout, Sent: true, Err: err}
		}
		cancel(nil)
		return nil, err
	}
	hop.CleanOutside(res.Header, x.self)
	if err := x.filters().Response(route.PhaseBackendResponse, res.Header); err != nil {
		res.Body.Close()
		cancel(nil)
		return nil, filterFailure(err)
	}
	return res, nil
}

// toOutside makes one attempt of the endpoint, and counts it if it was sent.
func (g *Gateway) toOutside(req *http.Request, b *route.Backend) (*http.Response, error) {
	g.wire.Add(1)
	res, err := g.cfg.Endpoint.RoundTrip(req, b)
	var known *endpoint.Error
	if errors.As(err, &known) && !known.Sent {
		g.wire.Add(-1)
	}
	return res, err
}

// backendAt is the Backend, with the host name that a rewrite chose.
func (x *exchange) backendAt(host string) *route.Backend {
	if host == x.Backend.Authority {
		return x.Backend
	}
	b := *x.Backend
	b.Authority = host
	return &b
}

// counted reports whether an attempt counts: rows 14 to 16 fail before anything is dialed.
func counted(err error) bool {
	var e *endpoint.Error
	if !errors.As(err, &e) {
		return true
	}
	switch e.Cause {
	case endpoint.DNSError, endpoint.DestinationProhibited, endpoint.SelfDial, endpoint.CredentialUnavailable, endpoint.CredentialHost:
		return false
	}
	return true
}

// classify tells retry what the endpoint knows of a failure.
func (x *exchange) classify(e *retry.EndpointFailure, err error) {
	e.Class, e.Unprocessed = retry.NoRepeat, unprocessed(err)
	var known *endpoint.Error
	if errors.As(err, &known) {
		e.Class, e.Reused = known.Class, known.Reused
	}
	var located retry.Located
	if errors.As(err, &located) {
		e.Row = located.Row()
	}
}

// verdict asks the guards, counts a repeat that only they forbid, and starts a hold-down after a loop's answer.
func (x *exchange) verdict(e retry.EndpointFailure, policy retry.Policy) retry.Verdict {
	draw := x.g.cfg.Rand()
	v := x.tries.Endpoint(e, policy, draw)
	if !v.Again && retry.Endpoint(e, policy, draw).Again {
		x.g.cfg.Metrics.BudgetExhausted(x.labels())
	}
	if e.Status == http.StatusLoopDetected {
		x.dest.guards.HoldBackend(x.table.limits.Headers)
	}
	return v
}

func (x *exchange) policy() retry.Policy {
	p := retry.Policy{IdempotencyKeys: x.Backend.IdempotencyKeys, RetryPostOn: x.Backend.RetryPostOn}
	if r := x.Rule.Retry; r != nil {
		p.Codes, p.Backoff = r.Codes, r.Backoff
	}
	return p
}

// failureStatus reports whether an answer counts as a failure of the destination, which the throttle must know of even
// where it is not repeated.
func (x *exchange) failureStatus(status int, p retry.Policy) bool {
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests ||
		slices.Contains(p.Codes, status) || slices.Contains(p.RetryPostOn, status)
}
