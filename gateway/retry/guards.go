package retry

import (
	"sync"
	"sync/atomic"
	"time"
)

// Throttle is the failure throttle of B.2 (gRPC A6): 10 tokens, a failure takes one, a success gives a tenth back, and
// repeats are allowed only above 5. In an episode without successes at most 5 repeats are left, which is what bounds a
// synchronous loop (HOPS-AND-RETRIES, Theorem 3).
//
// The zero value is full. Safe for concurrent use.
type Throttle struct{ spent atomic.Int64 } // tenths of a token

// In tenths of a token.
const (
	throttleTokens  = 100
	throttleFailure = 10
	throttleSuccess = 1
)

// Failure takes a token.
func (t *Throttle) Failure() { t.add(throttleFailure) }

// Success gives a tenth of a token back.
func (t *Throttle) Success() { t.add(-throttleSuccess) }

// Allows reports whether more than half of the tokens are there.
func (t *Throttle) Allows() bool { return throttleTokens-t.spent.Load() > throttleTokens/2 }

func (t *Throttle) add(tenths int64) {
	for {
		old := t.spent.Load()
		next := min(max(old+tenths, 0), throttleTokens)
		if next == old || t.spent.CompareAndSwap(old, next) {
			return
		}
	}
}

// Budget limits how many repeats are under way at one moment, by the number of active requests (B.2): repeats of
// requests that may have been seen to 20 %, at least 3; connect tries with nothing sent to 10 % + 5.
//
// There is deliberately no floor per second: it would break Theorem 3. The zero value is ready. Safe for concurrent
// use.
type Budget struct {
	// Percent of active requests that may be repeats; 0: 20. Set before use.
	Percent int

	mu                        sync.Mutex
	active, repeats, connects int
}

// The limits of a Budget.
const (
	budgetPercent  = 20
	budgetFloor    = 3
	connectPercent = 10
	connectExtra   = 5
)

// Begin counts a request as active until End.
func (b *Budget) Begin() {
	b.mu.Lock()
	b.active++
	b.mu.Unlock()
}

// End is the counterpart of Begin.
func (b *Budget) End() {
	b.mu.Lock()
	b.active--
	b.mu.Unlock()
}

// Active requests now.
func (b *Budget) Active() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.active
}

// TakeRepeat takes a slot for a repeat; with true, give it back with DropRepeat.
func (b *Budget) TakeRepeat() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	percent := b.Percent
	if percent == 0 {
		percent = budgetPercent
	}
	if b.repeats >= max(budgetFloor, b.active*percent/100) {
		return false
	}
	b.repeats++
	return true
}

// DropRepeat gives a slot back.
func (b *Budget) DropRepeat() {
	b.mu.Lock()
	b.repeats--
	b.mu.Unlock()
}

// TakeConnect takes a slot for a connect try after the first; with true, give it back with DropConnect.
func (b *Budget) TakeConnect() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.connects >= b.active*connectPercent/100+connectExtra {
		return false
	}
	b.connects++
	return true
}

// DropConnect gives a slot back.
func (b *Budget) DropConnect() {
	b.mu.Lock()
	b.connects--
	b.mu.Unlock()
}

// holdKeys bounds the memory of a HoldDown.
const holdKeys = 4096

// HoldDown remembers for whom repeats are off, and until when (HOPS-AND-RETRIES A.3 step 5). It keeps at most 4096 live
// keys; beyond that a new one is held for everybody, since forgetting one would lift the bound of Theorem 3.
//
// The zero value holds nobody. Safe for concurrent use.
type HoldDown struct {
	mu    sync.Mutex
	until map[string]time.Time
	all   time.Time
}

// Hold switches repeats off for key until d from now; an earlier, longer hold stays.
func (h *HoldDown) Hold(key string, d time.Duration) {
	now := time.Now()
	end := now.Add(d)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until == nil {
		h.until = map[string]time.Time{}
	}
	if _, known := h.until[key]; !known && len(h.until) >= holdKeys {
		if !now.Before(h.all) { // while everybody is held there is no need to look for room each time
			h.sweep(now)
		}
		if len(h.until) >= holdKeys {
			h.all = later(h.all, end)
			return
		}
	}
	h.until[key] = later(h.until[key], end)
}

// Held reports whether repeats are off for key.
func (h *HoldDown) Held(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if now.Before(h.all) {
		return true
	}
	end, known := h.until[key]
	if known && !now.Before(end) {
		delete(h.until, key)
		return false
	}
	return known
}

// holding reports whether repeats are off for anybody.
func (h *HoldDown) holding() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.sweep(now)
	return len(h.until) > 0 || now.Before(h.all)
}

// Len is the number of keys kept, expired ones included that nobody asked for since.
func (h *HoldDown) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.until)
}

// sweep drops what has expired. Called with mu held.
func (h *HoldDown) sweep(now time.Time) {
	for key, end := range h.until {
		if !now.Before(end) {
			delete(h.until, key)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
