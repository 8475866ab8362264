package telemetry

import (
	"sync"
	"time"
)

// ratio is attempts per request over the last 60 whole seconds.
type ratio struct {
	mu    sync.Mutex
	slots [60]struct {
		second             int64
		requests, attempts int64
	}
}

func (r *ratio) add(now time.Time, requests, attempts int) {
	second := now.Unix()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.slots[second%60]
	if s.second != second {
		s.second, s.requests, s.attempts = second, 0, 0
	}
	s.requests += int64(requests)
	s.attempts += int64(attempts)
}

func (r *ratio) value(now time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var requests, attempts int64
	for i := range r.slots {
		if age := now.Unix() - r.slots[i].second; age >= 0 && age < 60 {
			requests += r.slots[i].requests
			attempts += r.slots[i].attempts
		}
	}
	if requests == 0 {
		return 0
	}
	return float64(attempts) / float64(requests)
}
