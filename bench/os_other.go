//go:build !linux

package main

import "time"

// sleepUntil waits with Go's timers; figures are taken from /proc, so no run of bench gets this far elsewhere.
func sleepUntil(t time.Time) { <-time.After(time.Until(t)) }
