package retry

import (
	"net/http"
	"slices"
	"time"
)

// Policy of the terminal gateway for one request. The zero value is the default of HOPS-AND-RETRIES B.2.
type Policy struct {
	Codes []int // of HTTPRoute.retry, beside 502 503 504
	// Backoff of HTTPRoute.retry: the least wait between attempts (GEP-1731); 0: full jitter from 25 ms on.
	Backoff         time.Duration
	IdempotencyKeys bool
	RetryPostOn     []int
}

// EndpointFailure is a failed attempt towards the outside.
type EndpointFailure struct {
	Class Class
	// Row of the failure where its error knows it (Located); 0: the one that Class stands for.
	Row int
	// Unprocessed is a proof of the P1/P2/P3 kind against the upstream.
	Unprocessed bool
	// Reused: the connection had served before (row 19).
	Reused bool
	// Status and Header of the answer, with Class StatusCode.
	Status int
	Header http.Header
	Method string
	// KeyCarried: the request carries an Idempotency-Key.
	KeyCarried bool
	// AttemptsLeft after this one.
	AttemptsLeft int
	// Left of t.
	Left time.Duration
	// Attempt counts from 1.
	Attempt int
	// BodyLost, HeadersPassed: nothing may be repeated any more.
	BodyLost, HeadersPassed bool
	// HeldDown: Backend or (Backend, subject) is in hold-down. BudgetSpent: the Budget said no.
	HeldDown, BudgetSpent bool
}

// The backoff of B.2.
const (
	backoffBase = 25 * time.Millisecond
	backoffMax  = 2 * time.Second
)

// Endpoint decides rows 15-30 for the terminal gateway. draw in [0,1) is the jitter. Pure; safe for concurrent use.
//
// It first finds the row and what that row allows, then what forbids every repeat: a lost body, no attempt or no time
// left, hold-down, a spent budget.
func Endpoint(f EndpointFailure, p Policy, draw float64) Verdict {
	if f.HeadersPassed {
		return Verdict{Row: 27, Why: "the answer has begun"}
	}
	v := endpointRow(f, p, draw)
	switch {
	case !v.Again:
		return v
	case f.BodyLost:
		return Verdict{Row: 29, Why: "the body cannot be sent again"}
	case f.AttemptsLeft <= 0:
		return v.no("attempts used up")
	case f.Left-v.Wait < AttemptFloor:
		return v.no("deadline")
	case f.HeldDown:
		return v.no("held down after a refusal")
	case f.BudgetSpent:
		return v.no("retry budget spent")
	default:
		return v
	}
}

// endpointRow is what the row of a failure allows when nothing else forbids it.
func endpointRow(f EndpointFailure, p Policy, draw float64) Verdict {
	yes := func(row int, why string) Verdict {
		return Verdict{Again: true, Row: row, Wait: backoff(p, f.Attempt, draw), Why: why}
	}
	switch f.Class {
	case ConnectFailure:
		row := f.row(17)
		if row == 18 && f.Attempt > 1 {
			return Verdict{Row: row, Why: "the handshake was reset again"}
		}
		if !f.Unprocessed {
			return Verdict{Row: row, Why: "no proof that nothing was sent"}
		}
		return yes(row, "nothing was sent")

	case RefusedStream:
		if !f.Unprocessed {
			return f.ambiguous(p, yes(f.row(21), "idempotent"))
		}
		return yes(f.row(20), "the upstream refused it unprocessed")

	case ResetBeforeHeaders:
		row := 21
		if f.Reused {
			row = 19
		}
		v := yes(f.row(row), "idempotent")
		if v.Row == 19 {
			// A connection that closed while it was idle says nothing about the host: no wait, but a new connection.
			v.Wait, v.Elsewhere = 0, true
		}
		if f.Unprocessed {
			v.Why = "nothing was sent"
			return v
		}
		return f.ambiguous(p, v)

	case PerTryTimeout:
		if f.Left <= 0 {
			return Verdict{Row: 31, Why: "deadline"}
		}
		return f.ambiguous(p, yes(f.row(22), "idempotent"))

	case StatusCode:
		return statusRow(f, p, yes)

	default:
		return Verdict{Row: f.Row, Why: "never repeated"}
	}
}

// row is the row its error knows, else that of its class.
func (f EndpointFailure) row(of int) int {
	if f.Row != 0 {
		return f.Row
	}
	return of
}

// ambiguous lets v stand only for requests whose second execution does no harm.
func (f EndpointFailure) ambiguous(p Policy, v Verdict) Verdict {
	switch {
	case Idempotent(f.Method):
		return v
	case f.KeyCarried && p.IdempotencyKeys:
		v.Why = "idempotency key"
		return v
	default:
		return v.no(f.Method + " may have been executed")
	}
}

// Idempotent reports whether a method may be repeated by a proxy without asking (RFC 9110 §9.2.2). Methods are case
// sensitive; the empty method is net/http's GET.
func Idempotent(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// statusRow decides rows 23-26: the upstream has answered, and the answer goes to the client unless it is repeated.
func statusRow(f EndpointFailure, p Policy, yes func(int, string) Verdict) Verdict {
	row := 26
	repeatable := slices.Contains(p.Codes, f.Status)
	switch f.Status {
	case http.StatusLoopDetected:
		return Verdict{Row: 11, Why: "a loop"}
	case http.StatusTooEarly:
		// Repeating helps only after early data, which is never used.
		return Verdict{Row: 25, Why: "425 passes through"}
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		row, repeatable = 23, true
	case http.StatusTooManyRequests:
		row = 24
	default:
		if repeatable {
			row = 23
		}
	}

	pause := pauseOf(f.Header)
	if pause.named {
		switch f.Status {
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			row, repeatable = 24, true
		}
	}
	stated := f.Method == http.MethodPost && slices.Contains(p.RetryPostOn, f.Status)
	switch {
	case pause.stop:
		return Verdict{Row: row, Why: "the upstream says not to"}
	case !repeatable && !stated:
		return Verdict{Row: row, Why: "this status is not repeated"}
	case pause.named && (!pause.known || pause.wait > min(backoffMax, f.Left/2)):
		return Verdict{Row: row, Why: "Retry-After is too far away"}
	}

	v := yes(row, "idempotent")
	if pause.named {
		v.Wait = max(v.Wait, pause.wait)
	}
	if stated {
		v.Why = "retryPostOn"
		return v
	}
	return f.ambiguous(p, v)
}

// backoff before the attempt after attempt n (counted from 1): exponential with full jitter. With a route's own
// backoff that is the least wait (GEP-1731: not repeated before the configured minimum), and jitter comes on top.
func backoff(p Policy, n int, draw float64) time.Duration {
	base := backoffBase
	if p.Backoff > 0 {
		base = p.Backoff
	}
	ceiling := base
	for range max(n, 1) - 1 {
		if ceiling >= backoffMax {
			break
		}
		ceiling *= 2
	}
	return p.Backoff + jitter(min(ceiling, backoffMax), draw)
}
