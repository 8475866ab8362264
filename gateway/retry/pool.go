package retry

import "sync/atomic"

// The limits of HOPS-AND-RETRIES B.4, in bytes.
const (
	// DefaultBodyBytes is kept of one request's body unless it says otherwise.
	DefaultBodyBytes = 64 << 10
	// MaxBodyBytes is the most that is kept of one request's body.
	MaxBodyBytes = 1 << 20
	// DefaultPoolBytes is kept of all bodies together.
	DefaultPoolBytes = 64 << 20
)

// Pool is the budget that all Bodies of a process share. With it spent, a request is committed as if its own limit
// were passed: it goes on, but is not repeated. Safe for concurrent use.
type Pool struct {
	limit int64
	used  atomic.Int64
}

// NewPool makes a Pool of maxBytes; 0 means DefaultPoolBytes, less means that nothing is kept.
func NewPool(maxBytes int64) *Pool {
	if maxBytes == 0 {
		maxBytes = DefaultPoolBytes
	}
	return &Pool{limit: maxBytes}
}

// Used is the number of bytes kept now.
func (p *Pool) Used() int64 { return p.used.Load() }

// take reserves n bytes, all or none.
func (p *Pool) take(n int) bool {
	for {
		old := p.used.Load()
		if old+int64(n) > p.limit {
			return false
		}
		if p.used.CompareAndSwap(old, old+int64(n)) {
			return true
		}
	}
}

func (p *Pool) give(n int) { p.used.Add(-int64(n)) }
