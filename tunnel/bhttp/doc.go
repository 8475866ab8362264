// Package bhttp is the wire codec of tunnels: binary HTTP (RFC 9292), the indeterminate-length form only.
//
// It turns heads, content and trailers into bytes (the Append functions) and a stream of bytes into messages, one after the
// other (Reader). It is strict on both sides: what a Reader refuses, the Append functions refuse to write, so that a
// malformed message ends where it was made. It knows nothing of streams, leases, deadlines, or what a field means: read
// package tunnel for these, and its doc.go for how an exchange uses a stream.
//
// # Wire format
//
// Notation is that of RFC 9000 §1.3; (i) is a variable-length integer of RFC 9000 §16. It need not be written on the fewest
// bytes, as RFC 9292 §3 allows; the Append functions do, and a Reader takes any, because a number has the same meaning on
// any number of bytes and no length is trusted before its bytes have come.
//
//	Request {                              Response {
//	  Framing Indicator (i) = 2,             Framing Indicator (i) = 3,
//	  Method Length (i), Method (..),        Informational Head (..) ...,
//	  Scheme Length (i), Scheme (..),        Status (i) = 200..599,
//	  Authority Length (i), Authority (..),  Field Section (..),
//	  Path Length (i), Path (..),            Content (..),
//	  Field Section (..),                    Field Section (..),   the trailers
//	  Content (..),                        }
//	  Field Section (..),   the trailers   Informational Head {
//	}                                        Status (i) = 100..199,
//	                                         Field Section (..),
//	                                       }
//	Field Section {                        Content {
//	  Field Line (..) ...,                   Chunk (..) ...,
//	  Terminator (i) = 0,                    Terminator (i) = 0,
//	}                                      }
//	Field Line {                           Chunk {
//	  Name Length (i) = 1..,                 Length (i) = 1..,
//	  Name (..),                             Bytes (..),
//	  Value Length (i),                    }
//	  Value (..),
//	}
//
// Messages follow each other without anything between them. So a message is always whole: padding, and the truncation of an
// empty end, which RFC 9292 §3.8 allows, have no place here, nor has the known-length form (framing indicators 0 and 1). A
// padding byte is refused as the framing indicator 0 of the next message; a truncated message is io.ErrUnexpectedEOF.
//
// An example: POST https://api.example.com/v1 with one field, the content "hi" and one trailer.
//
//	02                                        framing indicator: request
//	04 50 4f 53 54                            method     POST
//	05 68 74 74 70 73                         scheme     https
//	0f 61 70 69 2e 65 78 61 6d 70 6c 65
//	   2e 63 6f 6d                            authority  api.example.com
//	03 2f 76 31                               path       /v1
//	06 61 63 63 65 70 74  03 2a 2f 2a         accept: */*
//	00                                        end of the header section
//	02 68 69                                  a chunk of 2 bytes: hi
//	00                                        end of the content
//	05 78 2d 73 75 6d  01 37                  x-sum: 7
//	00                                        end of the trailers, and of the message
//
// and the answer 103, then 204:
//
//	03  40 67  00                             response; 103 on two bytes; no fields
//	40 cc  00                                 204; no fields
//	00  00                                    no content, no trailers
//
// # What is refused
//
// A malformed message is an *Error. After it the Reader is of no more use, since the start of the next message is unknown.
//
//   - Control data beyond RFC 9113 §8.3.1: a method that is no token; a scheme that is not one in lower case; an authority
//     that is empty or has more than host and port (user information above all); a path that does not begin with "/" ("*"
//     with OPTIONS excepted), or has a space, a control character or a "#". Bytes from 0x80 up pass in a path: clients send
//     them. With CONNECT, scheme and path are empty (RFC 9113 §8.5), unless :protocol follows.
//   - A pseudo-field other than :protocol (RFC 8441 §4), which must be the first field of a CONNECT request.
//   - A field name that is not a token in lower case.
//   - A value with a control character other than HTAB (RFC 9110 §5.5), or with white space at its ends. The Append
//     functions trim the latter, since it is not part of the value.
//   - The fields of a connection (RFC 9113 §8.2.2): Connection, Keep-Alive, Proxy-Connection, Transfer-Encoding, Upgrade, and
//     TE unless it is "trailers". RFC 9292 lets a message carry them; between gateways they could only do harm.
//   - Host beside another authority, twice, or in a response. Alone, or saying the same, it is taken for the authority, as in
//     the example of RFC 9292 §5.1; a RequestHead never has it in its Header.
//   - Content-Length that is not one number, or not the length of the content that follows. A response without content may
//     declare one: the answer to HEAD, and 304 (RFC 9110 §8.6).
//   - In trailers also Content-Length, Host, TE and Trailer (RFC 9110 §6.5.1). AppendEnd leaves them out instead.
//   - More than Limits allow: Error.TooLarge. Nothing is buffered of what would pass them, and no more than has arrived.
//
// # Upgrades
//
// Our extension: after a 101, and after a 2xx to CONNECT, the rest of the stream is raw bytes in that direction, which
// Reader.Raw hands over; the request's own direction becomes raw after the whole request. RFC 9292 gives 101 no other
// meaning that we could break. Which requests may be answered so is the business of package tunnel.
//
// # Versions
//
// The format has no field for a version: ALPN is it. A reader of this version refuses what it does not know (framing
// indicators, pseudo-fields); fields of HTTP pass unseen, so that what is new travels there.
package bhttp
