package bhttp

import (
	"net/http"
	"strconv"
)

// Defaults of Limits.
const (
	defaultHeadBytes = 256 << 10
	defaultFields    = 256
)

// Limits on decoded sizes. Zero fields mean the default in brackets.
type Limits struct {
	// HeadBytes of one field section: names and values, 32 added per field as in RFC 9113 §6.5.2. A request's control
	// data counts towards it. [256 KiB]
	HeadBytes int
	// Fields of one section. [256]
	Fields int
}

func (l Limits) withDefaults() Limits {
	if l.HeadBytes <= 0 {
		l.HeadBytes = defaultHeadBytes
	}
	if l.Fields <= 0 {
		l.Fields = defaultFields
	}
	return l
}

// RequestHead is everything before a request's content.
type RequestHead struct {
	Method    string
	Scheme    string // empty with a plain CONNECT, and only then
	Authority string // never empty; a Host field is its other spelling and not in Header
	Path      string // with query; empty with a plain CONNECT, and only then
	Protocol  string // :protocol of extended CONNECT (RFC 8441); empty: none
	// Header has canonical names (http.CanonicalHeaderKey). From a Reader it is never nil.
	Header http.Header
}

// ResponseHead is a final or informational (1xx) response head.
type ResponseHead struct {
	Status int // 100 to 599
	// Header has canonical names (http.CanonicalHeaderKey). From a Reader it is never nil.
	Header http.Header
}

// Error is a malformed message: what is wrong, and where. Use errors.As. It never quotes a value, so that it can be
// logged.
type Error struct {
	What string
	// Offset in bytes from the start of the message, of the part that is wrong; -1 from the Append functions.
	Offset int64
	// TooLarge: a limit was passed, the message may be well formed. A request is answered with 431, not 400.
	TooLarge bool
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return "bhttp: cannot be written: " + e.What
	}
	return "bhttp: malformed at byte " + strconv.FormatInt(e.Offset, 10) + " of the message: " + e.What
}
