// Package gateway is the request path: one handler for spoke and hub. Which of the two a process is shows only in its
// snapshot, its listeners and its next hops; there is no "if hub" in here.
//
//	workload ─ Workload(port) ─┐                                        ┌─ via parent:   Config.Parent (tunnel client)
//	                           ├─ judge ─ admit ─ filter ─ forward ─────┤
//	tunnel ─── Tunnel() ───────┘    └─ hub.penstock.internal ─ Control  └─ via endpoint: Config.Endpoint
//
// The steps are those of HOPS-AND-RETRIES A.3, in this order: the raw header block (hop), who sends it, what the table
// says (route), what is in flight (admission.go), how much time is left (deadline.go), filters (filter), and then either
// a parent or an endpoint, each behind the one question of package retry: may this be tried again? parent.go and
// endpoint.go ask it; nothing else here repeats anything. answer.go brings the response back.
//
// Whatever a gateway answers itself, instead of passing an answer on, is made in errors.go, the one place that picks a
// status: RFC 9209 Proxy-Status with the extension parameter "executed" (no, maybe, yes: what the destination did),
// Cache-Control: no-store, X-Request-Id, and a small JSON body
//
//	{"error": "not-granted", "requestId": "01J…", "message": "no grant lets this caller use the backend"}
//
// or, for gRPC, a trailers-only response with a mapped grpc-status. A workload gets no address, no name of a secret and
// no cause; those go to the log, and to the refusal that `penstock why <request-id>` shows.
//
// # Limits of this version
//
// An upgrade of HTTP/1.1 goes through (upgrade.go); extended CONNECT of HTTP/2 does not yet, and CONNECT and TRACE are always
// refused. Redirects of destinations are passed through unchanged, Location included (THREATS TH-I3).
package gateway
