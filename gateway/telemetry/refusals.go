package telemetry

import (
	"sync"

	"penstock.dev/penstock/apis/control"
)

// MaxRefusals are kept for `penstock why`.
const MaxRefusals = 10_000

// Refusals keeps the last MaxRefusals, in memory. The zero value is ready. Safe for concurrent use and for a nil
// receiver, which keeps nothing.
type Refusals struct {
	mu   sync.Mutex
	ring []control.Refusal
	// added counts all that were ever added; the one numbered n stands at ring[n%MaxRefusals].
	added uint64
	// reported counts those that Drain has handed out.
	reported uint64
}

// Add keeps one, in place of the oldest if there are too many.
func (r *Refusals) Add(x control.Refusal) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < MaxRefusals {
		r.ring = append(r.ring, x)
	} else {
		r.ring[r.added%MaxRefusals] = x
	}
	r.added++
}

// Find returns what is kept under a request id, oldest first. There may be one of each gateway on the way.
func (r *Refusals) Find(requestID string) []control.Refusal {
	var out []control.Refusal
	r.each(func(x *control.Refusal) {
		if x.RequestID == requestID {
			out = append(out, *x)
		}
	})
	return out
}

// Last returns at most n, newest first.
func (r *Refusals) Last(n int) []control.Refusal {
	if r == nil || n <= 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n = min(n, len(r.ring))
	out := make([]control.Refusal, 0, n)
	for i := range uint64(n) {
		out = append(out, r.ring[(r.added-1-i)%MaxRefusals])
	}
	return out
}

func (r *Refusals) each(f func(*control.Refusal)) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := r.added - uint64(len(r.ring)); n < r.added; n++ {
		f(&r.ring[n%MaxRefusals])
	}
}

// Drain returns at most limit of those that were not handed out yet, oldest first. What was overwritten before it could
// be handed out is lost. Drain is for one caller at a time.
func (r *Refusals) Drain(limit int) []control.Refusal {
	if r == nil || limit <= 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reported = r.first(r.reported)
	var batch []control.Refusal
	for r.reported < r.added && len(batch) < limit {
		batch = append(batch, r.ring[r.reported%MaxRefusals])
		r.reported++
	}
	return batch
}

// Undrain takes back the last n that Drain handed out: the report that carried them failed, and the next Drain returns
// them again.
func (r *Refusals) Undrain(n int) {
	if r == nil || n <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reported -= min(uint64(n), r.reported)
	r.reported = r.first(r.reported)
}

// first is n, or the number of the oldest that is kept. The lock is held.
func (r *Refusals) first(n uint64) uint64 { return max(n, r.added-uint64(len(r.ring))) }
