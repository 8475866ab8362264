package tunnel

import "time"

const (
	backoffBase = 50 * time.Millisecond
	backoffMax  = 5 * time.Second
	// backoffStable is how long a connection must last to be worth a fast redial: one that opens and dies at once must
	// not be dialed in a loop.
	backoffStable = 10 * time.Second
)

// backoff is the wait before dial number failures+1, with full jitter: 2,000 spokes of a restarted hub must not come
// back in step. draw is from [0,1).
func backoff(failures int, draw float64) time.Duration {
	ceiling := backoffMax
	if failures < 7 { // 50 ms << 7 is above the ceiling
		ceiling = min(ceiling, backoffBase<<failures)
	}
	return time.Duration(draw * float64(ceiling))
}
