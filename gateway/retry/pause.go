package retry

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// pause is what an answer says about being asked again.
type pause struct {
	// stop: do not.
	stop bool
	// named: a wait was named. known: it could be understood, and is wait.
	named, known bool
	wait         time.Duration
}

// maxPause keeps arithmetic on upstream numbers from overflowing; everything this long is too far away anyway.
const maxPause = 1000 * time.Hour

// pauseOf reads x-should-retry, grpc-retry-pushback-ms and Retry-After, the most explicit first.
func pauseOf(h http.Header) pause {
	if strings.EqualFold(h.Get("X-Should-Retry"), "false") {
		return pause{stop: true}
	}
	if v, ok := h["Grpc-Retry-Pushback-Ms"]; ok {
		// gRPC A6: a negative or unreadable value means stop.
		ms, err := strconv.ParseInt(strings.TrimSpace(strings.Join(v, ",")), 10, 32)
		if err != nil || ms < 0 {
			return pause{stop: true}
		}
		return pause{named: true, known: true, wait: time.Duration(ms) * time.Millisecond}
	}
	if v, ok := h["Retry-After"]; ok && len(v) > 0 {
		wait, known := retryAfter(v[0], h.Get("Date"))
		return pause{named: true, known: known, wait: wait}
	}
	return pause{}
}

// retryAfter reads both forms of RFC 9110 §10.2.3. A date is counted from the answer's own Date: that needs no clock,
// and the upstream's may differ from ours. Without Date it is not known.
func retryAfter(value, date string) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if value != "" && strings.Trim(value, "0123456789") == "" {
		s, err := strconv.ParseInt(value, 10, 64)
		if err != nil || s > int64(maxPause/time.Second) {
			return maxPause, true
		}
		return time.Duration(s) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(date)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxPause), true
}
