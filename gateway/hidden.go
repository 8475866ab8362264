package gateway

import "sync/atomic"

// HiddenRepeats is the total for telemetry's counter of that name: wire requests that no attempt accounts for. It never
// falls, and is 0 unless a library repeats requests by itself (HOPS-AND-RETRIES B.5). Safe for concurrent use.
func HiddenRepeats(e interface{ Sent() int64 }, g *Gateway) func() float64 {
	var most atomic.Int64
	return func() float64 {
		sent := e.Sent() // before Attempts: an attempt counts before its head is sent
		hidden := sent - g.Attempts()
		for {
			old := most.Load()
			if hidden <= old || most.CompareAndSwap(old, hidden) {
				return float64(most.Load())
			}
		}
	}
}
