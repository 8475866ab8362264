package retry

import "time"

// Unprocessed is answered by tunnel and endpoint errors: true is a proof (P1-P4) that nothing of the request was or
// will be processed. retry imports neither.
type Unprocessed interface{ Unprocessed() bool }

// Located is answered by errors that know their row of the decision table (HOPS-AND-RETRIES B.3). It only makes a
// Verdict easier to explain, with one exception: row 3 (our own certificate was refused) is never repeated.
type Located interface{ Row() int }

// Class of a failed attempt, as the terminal gateway's route lists know it.
type Class string

// The classes of B.2 and B.3.
const (
	ConnectFailure     Class = "connect-failure"      // nothing was sent
	RefusedStream      Class = "refused-stream"       // REFUSED_STREAM, or GOAWAY below our stream
	ResetBeforeHeaders Class = "reset-before-headers" // ambiguous: the request may have been executed
	PerTryTimeout      Class = "per-try-timeout"
	StatusCode         Class = "status"
	NoRepeat           Class = "no-repeat" // certificate problem, address refused, DNS, too large …
)

// Verdict is what to do with a failed attempt. The zero value is no repeat.
type Verdict struct {
	Again bool
	// Wait before the next attempt; 0: at once.
	Wait time.Duration
	// Elsewhere: only on another replica (P5) or fresh connection (row 19).
	Elsewhere bool
	// Row of the decision table (B.3) that decided, for explain, logs and tests.
	Row int
	// Why in a few words, for logs: "row 9: no proof", "attempts used up".
	Why string
}

// AttemptFloor is the least time that must be left for another attempt to be worth its start (B.2).
const AttemptFloor = 50 * time.Millisecond

// PerTry is the time one attempt of the terminal gateway may take until response headers: its share of what is left,
// and never more than configured (0: not configured). attemptsLeft counts the attempt that is about to start; less
// than 1 is taken as 1. The result is 0 when no time is left.
func PerTry(configured, left time.Duration, attemptsLeft int) time.Duration {
	share := max(left, 0) / time.Duration(max(attemptsLeft, 1))
	if configured > 0 {
		return min(configured, share)
	}
	return share
}
