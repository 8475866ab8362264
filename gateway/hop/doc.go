// Package hop owns the names Penstock-* and CDN-Loop: parse, clamp, verdict, append. Nobody else spells them.
//
// It turns the raw header block of a request into Tags or a Refusal (FromWorkload at an untrusted listener, FromPeer and
// FromHub at a tunnel listener), answers what may be forwarded (Admit, Forward, Budget.Spend), and writes the tags last
// of all (Write into a tunnel, WriteOutside beyond the trust domain). It is the answer to a loop in one place: a Refusal
// whose Loop is true ends the request with 508 and `Proxy-Status: <pseudonym>; error=proxy_loop_detected;
// details="<kind>"` (RFC 5842, RFC 9209), and no gateway repeats it.
//
// Everything but NewRequestID and the clock of MAC expiry is a pure function of its arguments; a header map that is passed
// in belongs to the caller and is changed as said. Nothing here is safe for concurrent use on the same map; Keys, Self and
// Tags may be read by many.
//
// It knows neither routes nor Backends nor certificates: the caller brings the peer's proven group and cluster, and the
// Backend's allowReentry. Where to read next: HOPS-AND-RETRIES for why it ends (Theorems 1 to 3), gateway/retry for what
// may be tried again, gateway for the order of calls, gateway/errors.go for the answer.
//
// # Order of calls
//
//	workload listener   FromWorkload -> (route) -> Tags.Admit -> Tags.Forward -> Tags.Write
//	tunnel listener     CheckControl if the authority is the control one, else
//	                    FromPeer or FromHub -> (route) -> Tags.Admit -> Tags.Forward -> Tags.Write, or
//	                                                      Budget.Spend -> Tags.WriteOutside per attempt
//	response            of a parent: TakeResponse; from outside: CleanOutside; trailers either way: StripTrailer
//	                    towards a tunnel peer: Counts.Write; towards a workload: nothing
//
// A gRPC call goes through GRPCTimeout once its Budget is known.
//
// # Wire format: requests inside tunnels
//
// Structured Fields (RFC 9651), each on one line of at most 1 KiB: a peer writes one line, and a second one is refused. A
// header that does not parse, a known member of the wrong type, and a known member that is written twice (RFC 9651 lets
// the last win) refuse the request: 400. What a later version may add: an unknown Penstock-* header is dropped and counted
// (Tags.Unknown), an unknown dictionary member or parameter of any type is ignored and not forwarded. A meaning never
// changes; it gets a new name.
//
// Penstock-Path, required: the gateways so far, in order; the sender's is the last.
//
//	Penstock-Path = sf-list          ; 1 to 8 members
//	member        = sf-string        ; group id, 1 to 128 characters, each group once
//	                [ ";i=" sf-string ]  ; instance id, 1 to 128 characters; nothing depends on it
//
//	Penstock-Path: "9f00";i="a1", "3c00";i="b7"
//
// The last id must be the peer's by its certificate (Forged, 403). The own id on it is a loop (LoopPath).
//
// Penstock-Budget, required: what is left. It only goes down; the receiver clamps h to H-1, a to A and t to Tmax.
//
//	Penstock-Budget = sf-dictionary
//	h = sf-integer    ; tunnel hops, from 0; 0 where a hop is needed is a loop (LoopHops)
//	a = sf-integer    ; request attempts of the terminal gateway, from 1
//	t = sf-integer    ; milliseconds until response headers, from 1 (0: Deadline, 504)
//	[ s = sf-integer ]; milliseconds for the whole exchange; 0 or missing: no limit
//
//	Penstock-Budget: h=3, a=3, t=29480, s=0
//
// Penstock-Request-Id, required: minted by the first gateway, never taken from a workload; 1 to 64 of A-Z a-z 0-9 - _. This
// version mints ULIDs: 48 bits of milliseconds, 80 random bits, 26 characters of Crockford's base 32.
//
//	Penstock-Request-Id: "01M82K4MQ2XWYKD66FK0B9ZFB0"
//
// Penstock-Subject, missing if the workload is nobody: its identity, and how the spoke proved it.
//
//	Penstock-Subject = sf-dictionary
//	m      = sf-token   ; "ip", "token" or "spiffe"; required, and another one is refused
//	[ ns   = sf-string ]; namespace
//	[ sa   = sf-string ]; service account
//	[ pod  = sf-string ]; uid of the pod
//	[ cl   = sf-string ]; cluster of origin: required from a hub, refused from a spoke, whose certificate says it
//	                    ; strings have 1 to 253 characters
//
//	Penstock-Subject: ns="team-a", sa="bot", pod="0b6b...", m=token
//
// Via (RFC 9110 §7.6.3) gets one line per gateway inside tunnels, `1.1 <pseudonym>`; these lines stay there.
//
// grpc-timeout is that of gRPC over HTTP/2: 1 to 8 digits and one of n u m S M H.
//
// # Wire format: responses inside tunnels
//
// Hop by hop: the receiver removes them. What cannot be read counts as nothing, since no proof and no repeat may follow
// from it.
//
//	Penstock-Attempts      = sf-dictionary  ; n = requests sent outside, c = connect tries, both clamped to 1000
//	Penstock-Not-Processed = sf-token       ; "overload" (P5) or "rejected" (P2 on TCP); another one is no proof
//
//	Penstock-Attempts: n=2, c=1
//
// # Wire format: outside
//
// CDN-Loop (RFC 8586) is the one tag on requests that leave the trust domain, and the one that is honoured from anybody: it
// can end a request or lower its budget, never gain it anything. Our member, behind those that came in, all on one line:
//
//	member    = pseudonym ";v=1" [ ";x=" payload ]    ; x only from gateways with Keys
//	pseudonym = "p" 16( a-z / 2-7 )                   ; base32 of HMAC-SHA256(domain key, "penstock pseudonym 1" NUL group id)
//	                                                  ; cut to 80 bits; without a domain key a hash of the group id
//	payload   = base64url, no padding, of
//	            1 byte   n, length of the request id
//	            n bytes  request id
//	            1 byte   h: one less than the sender had, so that a request that comes back ends by it
//	            1 byte   a: attempts left to the sender
//	            8 bytes  expiry, seconds since 1970, big endian: 11 minutes after sending
//	            16 bytes HMAC-SHA256(MAC key, "penstock cdn-loop 1" NUL pseudonym NUL all before), cut to 128 bits
//
//	CDN-Loop: cloudflare; loops=1, prkxipfncd4ja7gxt;v=1;x=GjAxTTgySzRNUTJYV1lLRDY2RkswQjlaRkIwAgMAAAAAawNjbbVgwRt5Q2W7EAUx_fjZtfI
//
// A reader takes the minimum of h and a from every member with a good MAC (current or previous key). The own pseudonym, in
// any case of letters, without a good MAC is a loop at once (LoopExternal, CDNLoopForged where MACs can be checked), as is a
// member of ours with another v; with a good MAC it is counted for Admit. Other members say nothing. At most 64 members are
// looked at; more, or a line that does not follow RFC 8586, is refused, since a member that was skipped could be ours.
//
// # Reserved names
//
// Penstock-* and CDN-Loop in any case of letters, and their twins with underscores, which many servers read as the same. From
// a workload Penstock-* is deleted and counted; a twin, or a nomination of a reserved name in Connection (RFC 9110 §7.6.1;
// stock proxies relay it, and a correct one behind us would then drop the tag), is refused: 400. In trailers all of them
// are dropped.
package hop
