// Package endpoint originates connections to external hosts: resolver, address guard, happy eyeballs, TLS, HTTP/1.1 and
// HTTP/2 pools, and, last of all, the credential. Nobody else dials an FQDN.
//
// # One attempt
//
// Endpoint.RoundTrip makes one attempt, in this order; each step can end it with an *Error that says what is known:
//
//	resolve     literal, static host, or DNS (resolver.go); names come from the Backend and nothing else
//	check       every answer: an own listener is a loop (self.go), a prohibited address ends the attempt (guard.go)
//	dial        families in turn, 250 ms apart (dial.go); the address is checked once more when the socket connects
//	handshake   chain, name or subjectAltNames, client certificate, ALPN (tls.go)
//	pool        or instead of all the above a connection that is up (pool.go), of the same Backend, the same settings,
//	            the same credential version and the same client certificate (THREATS TH-I8)
//	credential  written onto a copy of the request, now that the peer is known (credential.go)
//	send        on exactly that connection (exchange.go)
//
// It never repeats anything, follows no redirect, asks no proxy, adds no header. gateway/retry decides about repeats;
// what it needs to know is in Error: whether a byte of the head left (Sent), whether the upstream proved that it did
// nothing (Proven), whether the connection had served before (Reused).
//
// # No hidden repeats
//
// net/http's Transport repeats requests by itself (HOPS-AND-RETRIES B.5). Here it only makes http.ClientConns: each is
// one connection, and its RoundTrip has no loop. Under it lies a wire (wire.go) that counts the request heads which
// truly leave, so that Sent can be compared with the attempts asked for, and that reads GOAWAY, which net/http hides.
//
// It does not know routes, retries, hops, statuses or Kubernetes: read gateway for those, hub/credential for what Apply
// does.
package endpoint
