package hop

import (
	"math"
	"strconv"
	"time"
)

// Budget only goes down on the way.
type Budget struct {
	Hops     int           // h: tunnel hops left
	Attempts int           // a: request attempts left, the first one included
	Headers  time.Duration // t: until response headers; whole milliseconds on the wire
	Stream   time.Duration // s: the whole exchange; 0: no limit
}

// Members of Penstock-Budget.
const (
	memberHops     = "h"
	memberAttempts = "a"
	memberHeaders  = "t"
	memberStream   = "s"
)

// hopTime is what a hop takes beyond what it measures itself: the head on its way (HOPS-AND-RETRIES A.3 step 6).
const hopTime = 2 * time.Millisecond

// maxMillis fits into a time.Duration.
const maxMillis = int64(math.MaxInt64 / time.Millisecond)

// parseBudget reads Penstock-Budget and clamps it. h, a and t must be there; s may be missing.
func parseBudget(text string, lim Limits) (Budget, error) {
	members, err := parseDict(text)
	if err != nil {
		return Budget{}, refuse(Malformed, "%s: %v", headerBudget, err)
	}
	h, a, t, s := int64(-1), int64(-1), int64(-1), int64(-1)
	for _, m := range members {
		var to *int64
		switch m.key {
		case memberHops:
			to = &h
		case memberAttempts:
			to = &a
		case memberHeaders:
			to = &t
		case memberStream:
			to = &s
		default:
			continue
		}
		if *to >= 0 || m.value.kind != sfInteger || m.value.num < 0 {
			return Budget{}, refuse(Malformed, "%s: %s is not one integer from 0 up", headerBudget, m.key)
		}
		*to = m.value.num
	}
	if h < 0 || a < 1 || t < 0 {
		return Budget{}, refuse(Malformed, "%s lacks h, t, or an a of at least 1", headerBudget)
	}
	return Budget{
		Hops:     int(min(h, int64(lim.Hops-1))), // the peer that sent it was a hop
		Attempts: int(min(a, int64(lim.Attempts))),
		Headers:  min(millis(t), lim.Headers),
		Stream:   millis(max(s, 0)),
	}, nil
}

func millis(n int64) time.Duration { return time.Duration(min(n, maxMillis)) * time.Millisecond }

// field is the value of Penstock-Budget.
func (b Budget) field() string {
	out := make([]byte, 0, 48)
	for i, m := range [...]struct {
		key string
		n   int64
	}{
		{memberHops, int64(b.Hops)},
		{memberAttempts, int64(b.Attempts)},
		{memberHeaders, b.Headers.Milliseconds()},
		{memberStream, b.Stream.Milliseconds()},
	} {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = strconv.AppendInt(append(append(out, m.key...), '='), m.n, 10)
	}
	return string(out)
}

// Spend takes elapsed off t and, if it has a limit, off s. Less than a millisecond left of one is a Deadline: it could
// not be told to the next hop, and 0 means "no limit" in s. A negative elapsed counts as 0, since a budget only goes down.
func (b Budget) Spend(elapsed time.Duration) (Budget, error) {
	elapsed = max(elapsed, 0)
	if b.Headers -= elapsed; b.Headers < time.Millisecond {
		return b, refuse(Deadline, "nothing left of the time to response headers after %v", elapsed)
	}
	if b.Stream > 0 {
		if b.Stream -= elapsed; b.Stream < time.Millisecond {
			return b, refuse(Deadline, "nothing left of the time for the whole exchange after %v", elapsed)
		}
	}
	return b, nil
}
