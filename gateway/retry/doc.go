// Package retry answers one question: may this be tried again? Nobody else writes a retry loop around a request.
//
// It has three parts.
//
//   - Decisions: Parent and Endpoint are pure functions from a failed try to a Verdict. They are the decision table of
//     HOPS-AND-RETRIES B.3, row by row; jitter is passed in. A gateway in Parent mode repeats only on a proof that
//     nothing was processed (B.1); the terminal gateway repeats by class, method and policy (B.2).
//   - Guards: what has happened to a Backend so far, which the decision must respect: failure throttle, budget of
//     concurrent repeats, hold-down. Request joins the guards of one Backend with Endpoint.
//   - Body: the replay buffer of B.4, which lets a second attempt send the same bytes as the first.
//
// It knows neither tunnels nor connections: their errors come in through the interfaces Unprocessed and Located. It
// writes no header and sends nothing: read gateway for the loops that ask it.
//
// # Numbers
//
//	C     connect-class tries per tunnel hop        3, within 3 s      ParentTries, ParentTime
//	A     request attempts, terminal gateway        travels with the request as AttemptsLeft
//	      floor of the time left for an attempt     50 ms              AttemptFloor
//	      backoff                                   25 ms, factor 2, full jitter, at most 2 s
//	      concurrent repeats                        20 % of active, at least 3
//	      concurrent connect repeats                10 % of active + 5
//	      failure throttle                          10 tokens, -1, +0.1, repeats only above 5
//	      replay buffer                             64 KiB per request, at most 1 MiB; 64 MiB per process
package retry
