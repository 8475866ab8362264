package retry

import (
	"net/http"
	"time"
)

// Unprocessed is answered by tunnel and endpoint errors: true is a proof (P1-P4) that nothing of the request was or
// will be processed. retry imports neither.
type Unprocessed interface{ Unprocessed() bool }

// Class of a failed attempt, as the terminal gateway's route lists know it.
type Class string

// The classes of B.2 and B.3.
const (
	ConnectFailure     Class = "connect-failure"
	RefusedStream      Class = "refused-stream"
	ResetBeforeHeaders Class = "reset-before-headers"
	PerTryTimeout      Class = "per-try-timeout"
	StatusCode         Class = "status"
	NoRepeat           Class = "no-repeat" // certificate problem, address refused, DNS, too large …
)

// Verdict is what to do with a failed attempt.
type Verdict struct {
	Again bool
	// Wait before the next attempt.
	Wait time.Duration
	// Elsewhere: only on another replica (P5) or fresh connection (row 19).
	Elsewhere bool
	// Row of the decision table (B.3) that decided, for explain, logs and tests.
	Row int
	// Why in a few words, for logs.
	Why string
}

// ParentFailure is a failed try towards a parent.
type ParentFailure struct {
	// Err of the round trip; nil when the hub answered NotProcessed.
	Err error
	// NotProcessed is hop.TakeResponse's verdict.
	NotProcessed string
	// Try counts from 1. Overloads counts earlier P5 answers.
	Try, Overloads int
	// BodyLost: bytes of the body were read and are not held any more.
	BodyLost bool
	// Left of t.
	Left time.Duration
	// Elapsed since the first try.
	Elapsed time.Duration
}

// Parent decides rows 1-10: again only on a proof, at most C tries, 3 s in total and never beyond t. draw in [0,1) is
// the jitter.
func Parent(f ParentFailure, draw float64) Verdict { panic("todo") }

// Policy of the terminal gateway for one request.
type Policy struct {
	Codes           []int // of HTTPRoute.retry, beside 502 503 504
	Backoff         time.Duration
	IdempotencyKeys bool
	RetryPostOn     []int
}

// EndpointFailure is a failed attempt towards the outside.
type EndpointFailure struct {
	Class Class
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

// Endpoint decides rows 15-30 for the terminal gateway. draw in [0,1) is the jitter.
func Endpoint(f EndpointFailure, p Policy, draw float64) Verdict { panic("todo") }
