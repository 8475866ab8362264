// Package tunneltest is the test kit of tunnels: a throwaway CA, and a World of hubs and spokes that talk over a
// simulated network, real QUIC and mTLS included, so that a test in testing/synctest sees minutes pass in milliseconds.
//
// It knows tunnels and nothing of routes: a hub's handler is an http.Handler of the test. Production code must not import
// it.
//
//	synctest.Test(t, func(t *testing.T) {
//		w := tunneltest.New(t, tunneltest.Latency(20*time.Millisecond))
//		c := w.Dial(t, "spoke-a")
//		w.Partition()
//		...
//	})
package tunneltest
