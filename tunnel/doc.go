// Package tunnel carries HTTP exchanges between gateways: from a spoke, or a hub that has a parent, to a hub, over mTLS
// QUIC connections whose streams are leased for one exchange at a time. Client is the spoke's end, Server the hub's.
//
// It knows peers, connections and streams. It does not know routes, hops, retries, catalogs or what a control message
// means: gateway/retry asks an Error only whether it is a proof (Unprocessed), the Open and Session of ClientConfig speak
// apis/control. The rules it keeps are HOPS-AND-RETRIES, section A.3 (Carriers, Leases) and B.1; read that first, then
// client.go and server.go, exchange.go and serverexchange.go. The codec is tunnel/bhttp, the test kit tunnel/tunneltest.
//
// The rest of this page specifies the protocol for whoever implements another end. QUIC is the only carrier so far;
// leased TCP connections, for networks that block UDP, are specified in HOPS-AND-RETRIES.
//
// # Connection
//
// QUIC version 1 or 2 (RFC 9000, RFC 9369), ALPN "penstock/1". TLS 1.3, X25519MLKEM768 preferred, no session tickets, no
// 0-RTT: a resumed or early exchange is refused. Both sides show a certificate with
//
//   - exactly one URI name, the gateway group: spiffe://<trust-domain>/cluster/<cluster>/gateway/<group> for a spoke,
//     spiffe://<trust-domain>/hub/<group> for a hub; trust domain of a-z 0-9 . - _, segments also of A-Z;
//   - the instance, one process, as the Subject's serialNumber;
//   - extended key usage clientAuth or serverAuth, as fits.
//
// Each side checks the other's chain against its own roots, validity, the role, that the trust domain is its own, and its
// revocation list. DNS names do not matter. The spoke opens bidirectional streams, at most as many as the hub's transport
// parameter says (1024 by default); there are no others. The spoke keeps the connection alive with PING frames each
// second; 15 s of silence end it.
//
// With TLS 1.3 the spoke's handshake ends before the hub has looked at its certificate. So a connection is open, and
// takes requests, only once a first control exchange was answered on it (GET /v1/hello in Penstock).
//
// # Messages
//
// A stream carries, in each direction, messages one after the other, in RFC 9292 indeterminate-length form and no other:
// framing indicators 2 and 3, without padding or truncation; see package bhttp for the limits. An exchange is a request and
// its response, informational ones included. Connection-specific fields never travel.
//
//   - content-length is written whenever the sender knows it. In a request 0 is written too, so that the hub knows
//     without looking further that there is no content.
//   - An upgrade travels as an extended CONNECT (RFC 8441) whose first field is ":protocol", whether it came in on HTTP/1.1 or
//     as an extended CONNECT; a Sec-WebSocket-Key travels with it, and the answer is 101. After a 101 that answers it, and after a 2xx that answers a CONNECT without ":protocol", both directions are raw bytes until each
//     side ends its own (our extension). The request message is ended before.
//   - Expect: 100-continue holds content back for a 100, a final response, or 1 s.
//
// As bytes, a GET and its answer:
//
//	02                                   framing: request
//	03 "GET"  05 "https"
//	07 "api.eu1"                         authority
//	03 "/v1"
//	0e "content-length" 01 "0"
//	00                                   end of the header section
//	00 00                                end of content, end of trailers
//
//	03  40 c8                            framing: response; 200 as a varint
//	0e "content-length" 01 "2"
//	00  02 "ok"                          end of the header section; a chunk
//	00  00                               end of content, end of trailers
//
// Authority hub.penstock.internal is control: it is decided before all else and never forwarded.
//
// # Leases
//
//   - The spoke leases a stream to one request at a time. It leases it again only after it has written the whole request
//     and read the last byte of the response. A stream that ended in any other way is not used again.
//   - The hub writes the end of a response only after it has read the end of the request. If the handler answers early,
//     the hub writes the content, reads on for at most 512 KiB or 1 s, then writes the end. If the request has not ended
//     by then, or its content waits for a 100 that is not coming, the hub ends the stream with FIN and stops reading with
//     no-error.
//   - The hub never resets or ends an idle stream; the spoke ends one after 60 s, by FIN and STOP_SENDING (no-error).
//   - FIN in place of the first byte of a response says that the request was not and will not be read.
//
// # Codes
//
// Of RESET_STREAM and STOP_SENDING:
//
//	0 no-error    not needed any more
//	1 rejected    hub: this request's handler has not started and never will. Both directions. Only if at least one byte
//	              of the request was read, and before any byte of the response
//	2 cancelled   either: given up; proves nothing. Both directions
//	3 malformed   hub: stopped reading a head that was answered with 400, 408 or 431 and FIN; reset if not even that
//	              could be written
//
// Of CONNECTION_CLOSE (application):
//
//	0 done        the spoke after its last exchange; the hub when its drain is over, or it ends
//	1 cut         the peer is not admitted any more: it must not come back with this certificate
//	2 draining    it came while the hub drains
//	3 unopened    spoke: the first exchange did not answer as it should
//
// A reader takes an unknown stream code for cancelled and an unknown close code for done: none is a proof.
//
// # What a failed exchange proves
//
//	P1  no stream was opened, or the connection was not open yet
//	P2  `rejected`, or FIN, before any byte of the response
//	P4  the stream took no byte of this request's head
//	-   everything else, the end of the connection included: the request may have been executed
//
// A reset discards bytes that were not read yet, so an end of a response is never followed by one.
//
// # Drain, cut, expiry
//
// A draining hub says so on the watch (control), refuses new connections with CONNECTION_REFUSED, and from 1 RTT +
// 250 ms on answers new exchanges with `rejected`, except control ones; never one whose handler has started. The spoke
// leases nothing new from the event, or the first `rejected`, on, and closes the connection after its last exchange. The
// hub closes only at its hard deadline (30 s).
//
// A peer that is revoked is cut: its connections close with code 1. After the end of a peer's certificate new exchanges
// on its connection, control ones too, are answered with `rejected`; the spoke has moved to a connection with a newer
// certificate before.
//
// # Limits
//
//	streams per connection      1024        head, each section    256 KiB decoded, 256 fields
//	head, from its first byte   10 s        informational         64 per exchange
//	handshake                   5 s / 3 s   half-open, then Retry 64 at a hub
//	dial with first exchange    3 s         wait for a stream     100 ms
package tunnel
