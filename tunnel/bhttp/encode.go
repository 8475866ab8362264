package bhttp

import (
	"net/http"
	"strings"
)

// Framing indicators of the one form we speak (RFC 9292 §3.3).
const (
	framingRequest  = 2
	framingResponse = 3
)

const (
	fieldProtocol = ":protocol"
	fieldHost     = "host"
	fieldLength   = "content-length"
)

// AppendRequestHead appends framing indicator 2, control data and header section. Names are written in lower case,
// values without the white space around them, fields in no particular order. What a Reader would refuse is an *Error,
// connection-specific fields included, and b is returned as it was.
func AppendRequestHead(b []byte, h *RequestHead) ([]byte, error) {
	out := appendVarint(b, framingRequest)
	out, method := appendString(out, h.Method)
	out, scheme := appendString(out, h.Scheme)
	out, authority := appendString(out, h.Authority)
	out, path := appendString(out, h.Path)
	var protocol span
	if h.Protocol != "" {
		out, _ = appendString(out, fieldProtocol)
		out, protocol = appendString(out, h.Protocol)
	}
	fault := checkRequest(method.of(out), scheme.of(out), authority.of(out), path.of(out), protocol.of(out))
	if fault != "" {
		return b, unwritable(fault)
	}
	return finishSection(b, out, h.Header, requestHeader)
}

// AppendInformational appends a 1xx response. first: nothing of this response was written yet, so the framing
// indicator goes before it. Raw bytes follow a 101, and no further head. Errors as in AppendRequestHead.
func AppendInformational(b []byte, h *ResponseHead, first bool) ([]byte, error) {
	if h.Status < 100 || h.Status > 199 {
		return b, unwritable("status of an informational response is not 100 to 199")
	}
	return appendResponse(b, h, first)
}

// AppendResponseHead appends the final response head; first and errors as in AppendInformational. RFC 9292 §3.5 knows no
// status above 599.
func AppendResponseHead(b []byte, h *ResponseHead, first bool) ([]byte, error) {
	if h.Status < 200 || h.Status > 599 {
		return b, unwritable("status is not 200 to 599")
	}
	return appendResponse(b, h, first)
}

func appendResponse(b []byte, h *ResponseHead, first bool) ([]byte, error) {
	out := b
	if first {
		out = appendVarint(out, framingResponse)
	}
	out = appendVarint(out, uint64(h.Status))
	return finishSection(b, out, h.Header, responseHeader)
}

// AppendContent appends one chunk of content; an empty one appends nothing, since a zero length ends the content.
func AppendContent(b, content []byte) []byte {
	return append(AppendChunk(b, len(content)), content...)
}

// AppendChunk appends the length of a chunk whose n bytes the caller writes itself, to save a copy; zero appends nothing.
func AppendChunk(b []byte, n int) []byte {
	if n <= 0 {
		return b
	}
	return appendVarint(b, uint64(n))
}

// AppendEnd ends the content and appends the trailer section (nil: empty). The message is complete after it. Fields that
// may never be trailers (RFC 9110 §6.5.1: Content-Length, Host, TE, Trailer, connection-specific ones) are left out, as
// an intermediary may: the content went out already, and an error would cost the reader all of it.
func AppendEnd(b []byte, t http.Header) ([]byte, error) {
	return finishSection(b, append(b, 0), t, trailer)
}

// finishSection appends the fields of h and the terminator to out, or returns b with the error.
func finishSection(b, out []byte, h http.Header, in part) ([]byte, error) {
	sized := false
	for name, values := range h {
		for _, value := range values {
			start := len(out)
			var n, v span
			out, n = appendString(out, name)
			lowerCase(n.of(out))
			if in == trailer && neverTrailer(string(n.of(out))) {
				out = out[:start]
				break
			}
			out, v = appendString(out, strings.Trim(value, " \t"))
			if fault := checkField(n.of(out), v.of(out), in); fault != "" {
				return b, unwritable(fault)
			}
			switch string(n.of(out)) {
			case fieldHost:
				return b, unwritable(`field "host" may not stand beside the authority`)
			case fieldLength:
				if _, ok := contentLength(v.of(out)); !ok || sized {
					return b, unwritable(`"content-length" is not one number`)
				}
				sized = true
			}
		}
	}
	return append(out, 0), nil
}

// span is a piece of a buffer that may still move.
type span struct{ from, to int }

func (s span) of(b []byte) []byte { return b[s.from:s.to] }

func (s span) in(text string) string { return text[s.from:s.to] }

func appendString(b []byte, s string) ([]byte, span) {
	b = append(appendVarint(b, uint64(len(s))), s...)
	return b, span{len(b) - len(s), len(b)}
}

func lowerCase(b []byte) {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
}

func unwritable(what string) error { return &Error{What: what, Offset: -1} }
