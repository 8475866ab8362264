package bhttp

import (
	"bytes"
	"strconv"
)

// part of a message that a field stands in.
type part int

const (
	requestHeader part = iota
	responseHeader
	trailer
)

// Character classes, one bit each, so that a check is one look-up per byte.
const (
	lowerToken   = 1 << iota // RFC 9110 §5.6.2 tchar without upper-case letters
	token                    // tchar
	fieldContent             // RFC 9110 §5.5: no control characters but HTAB
	hostChar                 // RFC 3986 §3.2.2 reg-name, IP-literal, and the port's colon
	pathChar                 // what may stand in :path; see checkPath
	schemeChar               // RFC 3986 §3.1, lower case
)

var class = func() (t [256]byte) {
	set := func(bit byte, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= bit
		}
	}
	const lower, upper, digit = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
	const tokenMarks = "!#$%&'*+-.^_`|~"
	set(lowerToken, lower+digit+tokenMarks)
	set(token, lower+upper+digit+tokenMarks)
	set(hostChar, lower+upper+digit+"-._~%!$&'()*+,;=:[]")
	set(schemeChar, lower+digit+"+-.")
	for c := range 256 {
		if c >= 0x20 && c != 0x7f || c == '\t' {
			t[c] |= fieldContent
		}
		if c > 0x20 && c != 0x7f && c != '#' {
			t[c] |= pathChar
		}
	}
	return t
}()

// all reports whether every byte of b is of the class.
func all(b []byte, bit byte) bool {
	for _, c := range b {
		if class[c]&bit == 0 {
			return false
		}
	}
	return true
}

// ConnectionField reports whether a field, named in lower case, belongs to one connection (RFC 9113 §8.2.2) and so can
// never travel: whoever turns an HTTP/1.1 message into one of ours removes these, and what Connection nominates.
func ConnectionField(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// neverTrailer reports whether a field, named in lower case, may not stand in a trailer section: it frames or routes the
// message, and its reader acted long ago (RFC 9110 §6.5.1).
func neverTrailer(name string) bool {
	switch name {
	case "content-length", "host", "te", "trailer":
		return true
	}
	return ConnectionField(name)
}

// checkField says what is wrong with a field line; "" is nothing. The name must be in lower case. `host` and the
// pseudo-field are the callers' business.
func checkField(name, value []byte, in part) string {
	if len(name) == 0 || !all(name, lowerToken) {
		return "field name " + quoteName(name) + " is not a lower-case token"
	}
	if !all(value, fieldContent) {
		return "value of " + quoteName(name) + " has a control character"
	}
	if n := len(value); n > 0 && (isSpace(value[0]) || isSpace(value[n-1])) {
		return "value of " + quoteName(name) + " begins or ends with white space"
	}
	switch {
	case in == trailer && neverTrailer(string(name)), ConnectionField(string(name)):
		return "field " + quoteName(name) + " may not stand here"
	case string(name) == "te" && !bytes.EqualFold(value, []byte("trailers")):
		return `value of "te" is not "trailers"`
	}
	return ""
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// quoteName makes a name from the wire fit for an error text.
func quoteName(name []byte) string {
	const most = 64
	if len(name) > most {
		return strconv.QuoteToASCII(string(name[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(name))
}

// contentLength parses the field of that name: one number in digits, as RFC 9110 §8.6 has it. ok is false for anything
// else, a list of equal numbers included: nobody who writes our format has a reason to repeat it.
func contentLength(value []byte) (n int64, ok bool) {
	const digits = 18 // fits into an int64
	if len(value) == 0 || len(value) > digits {
		return 0, false
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
