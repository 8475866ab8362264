// Package smuggling is an own corpus of request smuggling (THREATS T-D3): byte streams that two readers of HTTP/1.1 may take
// for different requests, and plain ones that they must not. Only tests import it.
package smuggling

import (
	"slices"
	"strings"
)

// Payload is what one client sends on one connection.
type Payload struct {
	// Family is what it relies on; Name tells it from others.
	Family, Name string
	Raw          string
	// Requests that it holds, if it is Good: no reader can doubt any of it.
	Requests int
	Good     bool
}

// String is "family: name".
func (p Payload) String() string { return p.Family + ": " + p.Name }

// Corpus is all payloads, each once.
func Corpus() (all []Payload) {
	seen := map[string]bool{}
	for _, p := range append(families(), corpus...) {
		if !seen[p.Raw] {
			seen[p.Raw] = true
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b Payload) int { return strings.Compare(a.String(), b.String()) })
	return all
}

const (
	start = "POST /x HTTP/1.1\r\n"
	host  = "Host: a.example.com\r\n"
)

var corpus = []Payload{
	{"plain", "a GET", "GET / HTTP/1.1\r\n" + host + "\r\n", 1, true},
	{"plain", "a body of known length", start + host + "Content-Length: 4\r\n\r\nbody", 1, true},
	{"plain", "chunks", start + host + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 1, true},
	{"plain", "chunks in capitals, with a trailer", start + host + "transfer-encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n", 1, true},
	{"plain", "an empty length", start + host + "Content-Length: 0\r\n\r\n", 1, true},
	{"plain", "HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 1, true},
	{"plain", "an absolute target with the same host", "GET http://a.example.com/x HTTP/1.1\r\n" + host + "\r\n", 1, true},
	{"plain", "an OPTIONS", "OPTIONS / HTTP/1.1\r\n" + host + "\r\n", 1, true},
	{"plain", "bytes beyond ASCII in a value", "GET / HTTP/1.1\r\n" + host + "X-Name: J\xc3\xbcrgen\r\n\r\n", 1, true},
	{"pipelining", "two", "GET /a HTTP/1.1\r\n" + host + "\r\nGET /b HTTP/1.1\r\n" + host + "\r\n", 2, true},
	{"pipelining", "behind a body", start + host + "Content-Length: 4\r\n\r\nbodyGET /b HTTP/1.1\r\n" + host + "\r\n", 2, true},
	{"pipelining", "behind chunks", start + host + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /b HTTP/1.1\r\n" + host + "\r\n", 2, true},

	{"CL.TE", "both", start + host + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", 0, false},
	{"CL.TE", "both, the other way round", start + host + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST", 0, false},
	{"CL.TE", "with a length of zero", start + host + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, false},
	{"CL.CL", "twice the same", start + host + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody", 0, false},
	{"CL.CL", "two different", start + host + "Content-Length: 0\r\nContent-Length: 4\r\n\r\nbody", 0, false},
	{"CL.CL", "a list", start + host + "Content-Length: 4, 4\r\n\r\nbody", 0, false},
	{"CL", "a plus sign", start + host + "Content-Length: +4\r\n\r\nbody", 0, false},
	{"CL", "a minus sign", start + host + "Content-Length: -4\r\n\r\nbody", 0, false},
	{"CL", "hexadecimal", start + host + "Content-Length: 0x4\r\n\r\nbody", 0, false},
	{"CL", "a fraction", start + host + "Content-Length: 4.0\r\n\r\nbody", 0, false},
	{"CL", "an underscore", start + host + "Content-Length: 1_0\r\n\r\nbody", 0, false},
	{"CL", "nothing", start + host + "Content-Length:\r\n\r\nbody", 0, false},
	{"CL", "more than fits", start + host + "Content-Length: 99999999999999999999\r\n\r\n", 0, false},
	{"CL", "a space inside", start + host + "Content-Length: 1 0\r\n\r\nbody", 0, false},
	{"CL", "Arabic digits", start + host + "Content-Length: \xd9\xa4\r\n\r\nbody", 0, false},
	{"TE", "twice", start + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, false},
	{"TE", "identity too", start + host + "Transfer-Encoding: identity\r\n\r\n", 0, false},
	{"TE", "gzip and chunked", start + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 0, false},
	{"TE", "chunked twice in one", start + host + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 0, false},
	{"TE", "a parameter", start + host + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 0, false},
	{"TE", "quotes", start + host + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 0, false},
	{"TE", "xchunked", start + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 0, false},
	{"TE", "a vertical tab", start + host + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 0, false},
	{"TE", "a form feed", start + host + "Transfer-Encoding: chunked\f\r\n\r\n0\r\n\r\n", 0, false},
	{"TE", "nothing", start + host + "Transfer-Encoding:\r\n\r\n", 0, false},
	{"TE", "in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, false},
	{"TE", "a space before the colon", start + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 0, false},
	{"TE", "a tab before the colon", start + host + "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 0, false},
	{"TE", "an underscore twin", start + host + "Transfer_Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody", 0, false},
	{"TE", "a folded value", start + host + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 0, false},
	{"TE", "a null before it", start + host + "Transfer-Encoding: \x00chunked\r\n\r\n0\r\n\r\n", 0, false},
	{"twins", "Content_Length", start + host + "Content_Length: 4\r\n\r\nbody", 0, false},
	{"twins", "HOST by another name", "GET / HTTP/1.1\r\n" + host + "TE_: x\r\nCONTENT_length: 1\r\n\r\n", 0, false},
	{"lines", "a bare line feed behind the request line", "GET / HTTP/1.1\n" + host + "\r\n", 0, false},
	{"lines", "a bare line feed behind a field", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", 0, false},
	{"lines", "a bare line feed before the empty line", "GET / HTTP/1.1\r\nHost: a\n\r\n", 0, false},
	{"lines", "bare line feeds alone", "GET / HTTP/1.1\nHost: a\n\n", 0, false},
	{"lines", "a bare carriage return in a value", "GET / HTTP/1.1\r\n" + host + "X: 1\rTransfer-Encoding: chunked\r\n\r\n", 0, false},
	{"lines", "two carriage returns", "GET / HTTP/1.1\r\r\n" + host + "\r\n", 0, false},
	{"lines", "a null in a value", "GET / HTTP/1.1\r\n" + host + "X: 1\x002\r\n\r\n", 0, false},
	{"lines", "a null in a name", "GET / HTTP/1.1\r\n" + host + "X\x00: 1\r\n\r\n", 0, false},
	{"lines", "a folded line", "GET / HTTP/1.1\r\n" + host + "X: 1\r\n 2\r\n\r\n", 0, false},
	{"lines", "a line folded with a tab", "GET / HTTP/1.1\r\n" + host + "X: 1\r\n\t2\r\n\r\n", 0, false},
	{"lines", "the first field folded", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 0, false},
	{"lines", "no colon", "GET / HTTP/1.1\r\n" + host + "X\r\n\r\n", 0, false},
	{"lines", "no name", "GET / HTTP/1.1\r\n" + host + ": 1\r\n\r\n", 0, false},
	{"lines", "a name in quotes", "GET / HTTP/1.1\r\n" + host + "\"X\": 1\r\n\r\n", 0, false},
	{"lines", "a name with a space", "GET / HTTP/1.1\r\n" + host + "X Y: 1\r\n\r\n", 0, false},
	{"lines", "a delete character", "GET / HTTP/1.1\r\n" + host + "X: 1\x7f\r\n\r\n", 0, false},
	{"start", "an empty line before", "\r\nGET / HTTP/1.1\r\n" + host + "\r\n", 0, false},
	{"start", "two spaces", "GET  / HTTP/1.1\r\n" + host + "\r\n", 0, false},
	{"start", "a tab", "GET\t/ HTTP/1.1\r\n" + host + "\r\n", 0, false},
	{"start", "a space behind", "GET / HTTP/1.1 \r\n" + host + "\r\n", 0, false},
	{"start", "no version", "GET /\r\n" + host + "\r\n", 0, false},
	{"start", "version 2", "GET / HTTP/2.0\r\n" + host + "\r\n", 0, false},
	{"start", "version 1.2", "GET / HTTP/1.2\r\n" + host + "\r\n", 0, false},
	{"start", "version 01.1", "GET / HTTP/01.1\r\n" + host + "\r\n", 0, false},
	{"start", "a version in lower case", "GET / http/1.1\r\n" + host + "\r\n", 0, false},
	{"start", "a method in brackets", "(GET) / HTTP/1.1\r\n" + host + "\r\n", 0, false},
	{"start", "a fragment", "GET /#x HTTP/1.1\r\n" + host + "\r\n", 0, false},
	{"start", "bytes beyond ASCII in the target", "GET /\xc3\xbc HTTP/1.1\r\n" + host + "\r\n", 0, false},
	{"start", "a target without a form", "GET x HTTP/1.1\r\n" + host + "\r\n", 0, false},
	{"start", "a scheme that is not HTTP's", "GET ftp://a.example.com/ HTTP/1.1\r\n" + host + "\r\n", 0, false},
	{"host", "none", "GET / HTTP/1.1\r\n\r\n", 0, false},
	{"host", "two", "GET / HTTP/1.1\r\n" + host + "Host: b\r\n\r\n", 0, false},
	{"host", "two of the same", "GET / HTTP/1.1\r\n" + host + host + "\r\n", 0, false},
	{"host", "another one in the target", "GET http://b.example.com/ HTTP/1.1\r\n" + host + "\r\n", 0, false},
	{"host", "a user in the target", "GET http://u@a.example.com/ HTTP/1.1\r\n" + host + "\r\n", 0, false},
	{"chunks", "an extension", start + host + "Transfer-Encoding: chunked\r\n\r\n4;x=1\r\nbody\r\n0\r\n\r\n", 0, false},
	{"chunks", "an extension with a line feed", start + host + "Transfer-Encoding: chunked\r\n\r\n4;\nbody\r\n0\r\n\r\n", 0, false},
	{"chunks", "a size with a sign", start + host + "Transfer-Encoding: chunked\r\n\r\n+4\r\nbody\r\n0\r\n\r\n", 0, false},
	{"chunks", "a size with a prefix", start + host + "Transfer-Encoding: chunked\r\n\r\n0x4\r\nbody\r\n0\r\n\r\n", 0, false},
	{"chunks", "a size with an underscore", start + host + "Transfer-Encoding: chunked\r\n\r\n0_4\r\nbody\r\n0\r\n\r\n", 0, false},
	{"chunks", "a size with a space", start + host + "Transfer-Encoding: chunked\r\n\r\n4 \r\nbody\r\n0\r\n\r\n", 0, false},
	{"chunks", "a size that overflows", start + host + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF4\r\nbody\r\n0\r\n\r\n", 0, false},
	{"chunks", "no size", start + host + "Transfer-Encoding: chunked\r\n\r\n\r\nbody\r\n0\r\n\r\n", 0, false},
	{"chunks", "a size that ends in a line feed", start + host + "Transfer-Encoding: chunked\r\n\r\n4\nbody\r\n0\r\n\r\n", 0, false},
	{"chunks", "a chunk longer than its size", start + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nbody\r\n0\r\n\r\n", 0, false},
	{"chunks", "a chunk that ends in a line feed", start + host + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\n0\r\n\r\n", 0, false},
	{"trailers", "a length", start + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 4\r\n\r\n", 0, false},
	{"trailers", "an encoding", start + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", 0, false},
	{"trailers", "a twin", start + host + "Transfer-Encoding: chunked\r\n\r\n0\r\ncontent_length: 4\r\n\r\n", 0, false},
	{"trailers", "no name", start + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nx\r\n\r\n", 0, false},
	{"trailers", "a line feed", start + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: 1\n\r\n", 0, false},
}
