package retry

import (
	"context"
	"errors"
	"time"
)

// Limits of a gateway in Parent mode (HOPS-AND-RETRIES B.2).
const (
	// ParentTries is C: connect-class tries per tunnel hop, the first one included.
	ParentTries = 3
	// ParentTime is what all tries of one hop may take together.
	ParentTime = 3 * time.Second
)

// The verdicts of hop.TakeResponse on a response that was refused before routing.
const (
	overload = "overload" // P5
	rejected = "rejected" // P2 on carriers without reset codes
)

// parentBackoff is the ceiling of the wait after each try. Three tries use the first two.
var parentBackoff = [...]time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond}

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
// the jitter. Pure; safe for concurrent use.
func Parent(f ParentFailure, draw float64) Verdict {
	v := parentProof(f)
	if !v.Again {
		return v
	}
	switch wait := jitter(parentBackoff[min(max(f.Try, 1), len(parentBackoff))-1], draw); {
	case f.BodyLost:
		return v.no("the body cannot be sent again")
	case f.Try >= ParentTries:
		return v.no("tries used up")
	case f.Elapsed+wait >= ParentTime:
		return v.no("time for tries used up")
	case wait >= f.Left:
		return v.no("deadline")
	default:
		v.Wait = wait
		return v
	}
}

// parentProof finds the row, and whether it is one with a proof.
func parentProof(f ParentFailure) Verdict {
	switch f.NotProcessed {
	case overload:
		if f.Overloads > 0 {
			return Verdict{Row: 8, Why: "a second hub is overloaded too"}
		}
		return Verdict{Again: true, Elsewhere: true, Row: 8, Why: "P5: refused before routing"}
	case rejected:
		return Verdict{Again: true, Row: 6, Why: "P2: rejected before it started"}
	}

	var u Unprocessed
	proven := errors.As(f.Err, &u) && u.Unprocessed()
	switch row := rowOf(f.Err); {
	case errors.Is(f.Err, context.Canceled):
		return Verdict{Row: 30, Why: "client gone"}
	case proven && row == 3:
		return Verdict{Row: 3, Why: "our certificate was refused"}
	case proven:
		if row == 0 {
			row = 1
		}
		return Verdict{Again: true, Row: row, Why: "nothing was processed"}
	case f.Left <= 0:
		return Verdict{Row: 31, Why: "deadline"}
	default:
		// Ambiguous, whatever the method: the hub may have passed it on.
		if row == 0 {
			row = 9
		}
		return Verdict{Row: row, Why: "no proof"}
	}
}

// no turns a verdict into a refusal of the same row.
func (v Verdict) no(why string) Verdict { return Verdict{Row: v.Row, Why: why} }

// rowOf is the row an error knows, or 0.
func rowOf(err error) int {
	var l Located
	if errors.As(err, &l) {
		return l.Row()
	}
	return 0
}

// jitter is full jitter: anything from 0 up to the ceiling, so that many clients do not come back together.
func jitter(ceiling time.Duration, draw float64) time.Duration {
	return time.Duration(draw * float64(ceiling))
}
