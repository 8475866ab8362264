package registry

import (
	"net/netip"
	"sync"
	"time"
)

// A source may fail a few times in a row, then once in a while. Guessing a token of 128 bits is hopeless at any rate;
// this keeps the guessing from costing CPU and catalog reads.
const (
	failuresAtOnce = 10
	failureRefill  = 6 * time.Second
	maxSources     = 4096
)

// throttle counts failures per source in a bounded table. Safe for concurrent use.
type throttle struct {
	mu      sync.Mutex
	sources map[string]time.Time // when the source's bucket is full again
}

func newThrottle() *throttle { return &throttle{sources: map[string]time.Time{}} }

// blocked returns how long the source has to wait; 0: not at all.
func (t *throttle) blocked(source string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	// One more failure must fit into the bucket.
	return max(0, later(t.sources[source], now).Sub(now)-(failuresAtOnce-1)*failureRefill)
}

// failed counts one failure.
func (t *throttle) failed(source string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	full, known := t.sources[source]
	if !known && len(t.sources) >= maxSources {
		t.forget(now)
	}
	t.sources[source] = later(full, now).Add(failureRefill)
}

// forget drops every source whose bucket is full again, or, if that frees nothing, the one nearest to it: a flood from
// many addresses must not grow the table, nor free those that fail most.
func (t *throttle) forget(now time.Time) {
	var nearest string
	var when time.Time
	for source, full := range t.sources {
		if !full.After(now) {
			delete(t.sources, source)
		} else if nearest == "" || full.Before(when) {
			nearest, when = source, full
		}
	}
	if len(t.sources) >= maxSources {
		delete(t.sources, nearest)
	}
}

// sourceOf is the address without port; of IPv6 the /64, which one host can fill by itself.
func sourceOf(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	addr := ap.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
