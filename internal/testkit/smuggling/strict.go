package smuggling

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// The grammar of RFC 9112 as expressions, for a reader that has nothing in common with the one that is tested. Where the RFC
// lets a reader choose (line feeds alone, chunk extensions, folded lines), it refuses.
const (
	tchar = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
	field = tchar + `:[^\x00-\x08\x0a-\x1f\x7f]*\r\n`
)

var (
	head     = regexp.MustCompile(`\A(` + tchar + `) ([!-"$-~]+) (HTTP/1\.[01])\r\n((?:` + field + `)*)\r\n`)
	chunk    = regexp.MustCompile(`\A([0-9A-Fa-f]{1,16})\r\n`)
	trailers = regexp.MustCompile(`\A(?:` + field + `)*`)
	framed   = regexp.MustCompile(`(?mi)^(content[-_]length|transfer[-_]encoding|host|connection|upgrade|te|trailer):`)
	named    = regexp.MustCompile(`(?mi)^(content-length|transfer-encoding|host):[ \t]*(.*?)[ \t]*\r$`)
	twin     = regexp.MustCompile(`(?mi)^(content_length|transfer_encoding):`)
)

// ErrStrict is a stream that is no sequence of requests; ErrHalf one that ends too early to say.
var (
	ErrStrict = errors.New("it is no sequence of requests")
	ErrHalf   = errors.New("it ends in a request")
)

// Read reads a stream strictly, and returns the bodies of the requests that are whole.
func Read(raw []byte) (bodies []string, err error) {
	rest := string(raw)
	for rest != "" {
		m := head.FindStringSubmatch(rest)
		if m == nil {
			if strings.Contains(rest, "\n\r\n") {
				return bodies, ErrStrict
			}
			return bodies, ErrHalf
		}
		fields := m[4]
		values := map[string][]string{}
		for _, f := range named.FindAllStringSubmatch(fields, -1) {
			name := strings.ToLower(f[1])
			values[name] = append(values[name], f[2])
		}
		rest = rest[len(m[0]):]
		length, coding := values["content-length"], values["transfer-encoding"]
		switch {
		case len(length)+len(coding) > 1, len(values["host"]) > 1, len(values["host"]) == 0 && m[3] == "HTTP/1.1", twin.MatchString(fields):
			return bodies, ErrStrict
		case len(coding) == 1 && (!strings.EqualFold(coding[0], "chunked") || m[3] == "HTTP/1.0"):
			return bodies, ErrStrict
		}
		body := ""
		switch {
		case len(coding) == 1:
			if body, rest, err = readChunks(rest); err != nil {
				return bodies, err
			}
		case len(length) == 1:
			n, bad := strconv.ParseUint(length[0], 10, 62)
			if bad != nil || strings.Trim(length[0], "0123456789") != "" {
				return bodies, ErrStrict
			}
			if uint64(len(rest)) < n {
				return bodies, ErrHalf
			}
			body, rest = rest[:n], rest[n:]
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}

func readChunks(rest string) (body, after string, err error) {
	for {
		m := chunk.FindStringSubmatch(rest)
		if m == nil {
			if strings.Contains(rest, "\n") || len(rest) > 18 {
				return "", "", ErrStrict
			}
			return "", "", ErrHalf
		}
		rest = rest[len(m[0]):]
		n, err := strconv.ParseUint(m[1], 16, 64)
		switch {
		case err != nil || n > 1<<60:
			return "", "", ErrStrict
		case n == 0:
			t := trailers.FindString(rest)
			end, whole := strings.CutPrefix(rest[len(t):], "\r\n")
			switch {
			case framed.MatchString(t), !whole && strings.Contains(rest[len(t):], "\n"):
				return "", "", ErrStrict
			case !whole:
				return "", "", ErrHalf
			}
			return body, end, nil
		case uint64(len(rest)) < n+2:
			return "", "", ErrHalf
		case rest[n:n+2] != "\r\n":
			return "", "", ErrStrict
		}
		body, rest = body+rest[:n], rest[n+2:]
	}
}
