package endpoint

import (
	"sync"
	"time"
)

// idleTimer ends an exchange in which somebody waits for the upstream while no byte moves either way. While nobody
// reads the response nothing is late: then it is the workload that is slow.
type idleTimer struct {
	limit time.Duration
	fire  func()

	mu      sync.Mutex
	timer   *time.Timer
	waiting bool
	stopped bool
	last    time.Time // a byte moved
}

func newIdleTimer(limit time.Duration, fire func()) *idleTimer {
	if limit <= 0 {
		limit = defaultIdle
	}
	return &idleTimer{limit: limit, fire: fire}
}

// wait begins a read of the response.
func (i *idleTimer) wait() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.waiting = true
	i.last = time.Now()
	switch {
	case i.stopped:
	case i.timer == nil:
		i.timer = time.AfterFunc(i.limit, i.check)
	default:
		i.timer.Reset(i.limit)
	}
}

// done ends it.
func (i *idleTimer) done() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.waiting = false
}

// touch tells of a byte of the request.
func (i *idleTimer) touch() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last = time.Now()
}

func (i *idleTimer) check() {
	i.mu.Lock()
	left := i.limit - time.Since(i.last)
	late := i.waiting && !i.stopped && left <= 0
	if i.waiting && !i.stopped && left > 0 {
		i.timer.Reset(left)
	}
	i.mu.Unlock()
	if late {
		i.fire()
	}
}

func (i *idleTimer) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stopped = true
	if i.timer != nil {
		i.timer.Stop()
	}
}
