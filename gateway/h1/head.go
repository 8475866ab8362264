package h1

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// MaxFields is how many header fields a response may have, and a request where nothing else is said.
const MaxFields = 256

// A head that is too much; all other errors of this package mean that a message is malformed.
var (
	ErrTooManyFields = errors.New("more header fields than allowed")
	ErrTooLarge      = errors.New("the head is longer than allowed")
)

// Framing says where the content of a message ends.
type Framing struct {
	// Chunked; else Length bytes, -1: no length was given.
	Chunked bool
	Length  int64
}

// Request judges the head of a request, from its first byte to the empty line, which is part of it. The error says what is
// wrong, without quoting values. maxFields is how many header fields it may have.
func Request(head []byte, maxFields int) (Framing, error) {
	line, fields, ok := bytes.Cut(head, []byte("\r\n"))
	if !ok {
		return Framing{}, errors.New("the request line has no end")
	}
	method, rest, _ := strings.Cut(string(line), " ")
	target, version, _ := strings.Cut(rest, " ")
	switch {
	case !Token(method):
		return Framing{}, errors.New("the method is no token")
	case version != "HTTP/1.1" && version != "HTTP/1.0":
		return Framing{}, errors.New("the request line is not method, target and HTTP/1.x with single spaces between")
	case !Target(target):
		return Framing{}, errors.New("the request target has characters that belong in none")
	}
	f, host, err := parse(fields, maxFields)
	switch {
	case err != nil:
		return Framing{}, err
	case f.Chunked && version == "HTTP/1.0":
		return Framing{}, errors.New("Transfer-Encoding in HTTP/1.0")
	case len(host) > 1:
		return Framing{}, errors.New("several Host fields")
	case version == "HTTP/1.1" && len(host) == 0:
		return Framing{}, errors.New("no Host")
	}
	return f, checkAuthority(method, target, host)
}

// checkAuthority compares the authority of a target in absolute form with Host: a next hop might believe either.
func checkAuthority(method, target string, host []string) error {
	if strings.HasPrefix(target, "/") || target == "*" || method == "CONNECT" {
		return nil
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Opaque != "" {
		return errors.New("the request target has none of the forms of RFC 9112 §3.2")
	}
	if len(host) == 1 && !strings.EqualFold(host[0], u.Host) {
		return errors.New("the request target and Host name two hosts")
	}
	return nil
}

// Response judges the head of a response, informational ones too.
func Response(head []byte) (Framing, error) {
	line, fields, ok := bytes.Cut(head, []byte("\r\n"))
	if !ok || len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) || line[8] != ' ' || !digits(line[9:12]) || len(line) > 12 && line[12] != ' ' || hasControl(line) {
		return Framing{}, errors.New("the status line is malformed")
	}
	f, _, err := parse(fields, MaxFields)
	switch {
	case err != nil:
		return f, err
	case line[7] != '0' && line[7] != '1', line[9] == '0':
		return f, errors.New("a version or a status that is none")
	case f.Chunked && line[7] == '0':
		return f, errors.New("Transfer-Encoding in HTTP/1.0")
	case (line[9] == '1' || bytes.HasPrefix(line[9:], []byte("204"))) && (f.Chunked || f.Length > 0):
		// RFC 9112 §6.1, RFC 9110 §8.6. Many servers say that a 204 has a length of zero, which nobody can misread.
		return f, errors.New("an answer without content that frames some")
	}
	return f, nil
}

// parse judges the field lines and the empty line behind them.
func parse(fields []byte, maxFields int) (f Framing, host []string, err error) {
	f.Length = -1
	lengths, encodings := 0, 0
	for n := 0; ; n++ {
		line, rest, ok := bytes.Cut(fields, []byte("\r\n"))
		switch {
		case !ok:
			return f, nil, errors.New("a line does not end in CR LF")
		case len(line) == 0 && len(rest) == 0:
			if lengths > 0 && encodings > 0 {
				return f, nil, errors.New("Content-Length beside Transfer-Encoding")
			}
			return f, host, nil
		case len(line) == 0:
			return f, nil, errors.New("bytes behind the empty line")
		case n == maxFields:
			return f, nil, ErrTooManyFields
		case line[0] == ' ' || line[0] == '\t':
			return f, nil, errors.New("a folded line")
		case hasControl(line):
			return f, nil, errors.New("a control character in a field")
		}
		fields = rest
		name, value, colon := bytes.Cut(line, []byte(":"))
		if !colon || !Token(string(name)) {
			return f, nil, errors.New("a field without a name that is one")
		}
		value = bytes.Trim(value, " \t")
		switch canonical := strings.ToLower(string(name)); canonical {
		case "content-length":
			if lengths++; lengths > 1 {
				return f, nil, errors.New("several Content-Length fields")
			}
			if f.Length, err = length(value); err != nil {
				return f, nil, err
			}
		case "transfer-encoding":
			if encodings++; encodings > 1 || !bytes.EqualFold(value, []byte("chunked")) {
				return f, nil, errors.New("a Transfer-Encoding other than one chunked")
			}
			f.Chunked = true
		case "host":
			host = append(host, string(value))
		default:
			// What some servers take for the name with hyphens (CGI, WSGI).
			if strings.Contains(canonical, "_") && framing(strings.ReplaceAll(canonical, "_", "-")) {
				return f, nil, fmt.Errorf("field %s is the twin of one that frames the message", canonical)
			}
		}
	}
}

func framing(name string) bool {
	switch name {
	case "content-length", "transfer-encoding", "host", "connection", "upgrade", "te", "trailer":
		return true
	}
	return false
}

// frames reports whether a field, or its twin with underscores, belongs into no trailer: it frames, routes or ends a message
// (RFC 9110 §6.5.1).
func frames(name string) bool {
	return framing(strings.ReplaceAll(strings.ToLower(name), "_", "-"))
}

// StripTrailer deletes what belongs into no trailer, however the trailer came.
func StripTrailer(trailer http.Header) {
	for name := range trailer {
		if frames(name) {
			delete(trailer, name)
		}
	}
}

// length reads a Content-Length: digits and nothing else, small enough for any reader.
func length(value []byte) (n int64, err error) {
	if len(value) == 0 || len(value) > 18 || !digits(value) {
		return 0, errors.New("a Content-Length that is no number")
	}
	for _, c := range value {
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// Length reports whether s is one Content-Length: digits alone, and few enough for any reader.
func Length(s string) bool {
	_, err := length([]byte(s))
	return err == nil
}

func digits(s []byte) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// hasControl reports whether a line has a control character but for the tab.
func hasControl(line []byte) bool {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// Target reports whether s may be a request target: printable ASCII without what starts a fragment.
func Target(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '#' {
			return false
		}
	}
	return s != ""
}

// Token reports whether s is a token (RFC 9110 §5.6.2), as methods and names of fields are.
func Token(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
