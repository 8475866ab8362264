// Package h1 is the one strict HTTP/1.1 codec (RFC 9112): requests of workloads are read with it by gateway/edge, responses
// of destinations by gateway/endpoint, and both write with it. What it does not understand without doubt it refuses; it
// never guesses, never repairs, and never copies bytes from a message it read into one it writes (THREATS TH-T1).
//
// It knows messages and connections, not routes, TLS, time or Penstock's own headers: read gateway/edge and
// gateway/endpoint for these.
package h1
