package main

import (
	"syscall"
	"time"
)

// sleepUntil waits in the kernel: the timers of an idle Go process are up to a millisecond late, which is more than the
// latencies to be measured. The kernel's are 50 us late.
func sleepUntil(t time.Time) {
	for d := time.Until(t); d > 0; d = time.Until(t) {
		ts := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&ts, nil) // interrupted: the loop sleeps on
	}
}
