package bhttp

import (
	"io"
	"net/http"
)

// Limits on decoded sizes. Zero fields mean the default in brackets.
type Limits struct {
	HeadBytes int // names and values of one field section, 32 bytes added per field as in RFC 9113 §6.5.2 [256 KiB]
	Fields    int // fields of one section [256]
}

// RequestHead is everything before a request's content.
type RequestHead struct {
	Method    string
	Scheme    string
	Authority string
	Path      string // with query
	Protocol  string // :protocol of extended CONNECT (RFC 8441); empty: none
	Header    http.Header
}

// ResponseHead is a final or informational (1xx) response head.
type ResponseHead struct {
	Status int
	Header http.Header
}

// AppendRequestHead appends framing indicator 2, control data and header section. Names are written in lower case.
func AppendRequestHead(b []byte, h *RequestHead) ([]byte, error) { panic("todo") }

// AppendInformational appends a 1xx response. first: nothing of this response was written yet, so the framing
// indicator goes before it.
func AppendInformational(b []byte, h *ResponseHead, first bool) ([]byte, error) { panic("todo") }

// AppendResponseHead appends the final response head; first as in AppendInformational.
func AppendResponseHead(b []byte, h *ResponseHead, first bool) ([]byte, error) { panic("todo") }

// AppendContent appends one chunk of content; an empty one appends nothing, since a zero length ends the content.
func AppendContent(b, content []byte) []byte { panic("todo") }

// AppendEnd ends the content and appends the trailer section (nil: empty). The message is complete after it.
func AppendEnd(b []byte, trailer http.Header) ([]byte, error) { panic("todo") }

// Reader decodes the messages of one direction of a stream, one after the other. Not safe for concurrent use.
//
// Order of calls per message: ReadRequestHead or ReadResponseHead (the latter until Status >= 200), then Read until
// io.EOF, then Trailer. The next message may then be read from the same Reader.
type Reader struct{}

// NewReader reads from r with an own buffer.
func NewReader(r io.Reader, lim Limits) *Reader { panic("todo") }

// ReadRequestHead returns io.EOF if the stream ends before the first byte.
func (r *Reader) ReadRequestHead() (*RequestHead, error) { panic("todo") }

// ReadResponseHead returns io.EOF if the stream ends before the first byte of the message.
func (r *Reader) ReadResponseHead() (*ResponseHead, error) { panic("todo") }

// Read reads content. io.EOF: the content and the trailer section were read whole. io.ErrUnexpectedEOF: truncated.
func (r *Reader) Read(p []byte) (int, error) { panic("todo") }

// Trailer of the message just read to io.EOF; nil if there was none.
func (r *Reader) Trailer() http.Header { panic("todo") }

// Begun reports whether a byte of the current message (the one being read or to be read next) has arrived.
func (r *Reader) Begun() bool { panic("todo") }

// Error is a malformed message: what, at which offset of the message. Use errors.As.
type Error struct {
	What   string
	Offset int64
}

func (e *Error) Error() string { panic("todo") }
