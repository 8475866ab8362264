package route

import (
	"errors"
	"strings"
)

// Path is a request path in the two forms in which it is judged. Make it with CleanPath. The zero value is "/".
type Path struct {
	// clean is the escaped path with percent-encoded unreserved characters decoded and hex digits in upper case
	// (RFC 3986 §6.2.2.1, §6.2.2.2). By RFC 3986 it is the same path, so routes match on it.
	clean string
	// lax is the path as a careless server may see it: encoded slashes and backslashes are slashes, empty segments
	// and path parameters (";…") are gone. A guard judges this form too, or "/v1//admin" would pass a rule about
	// "/v1/admin".
	lax string
}

// Why a path is refused; test with errors.Is.
var (
	ErrPathForm       = errors.New("a path must begin with a slash")
	ErrPathEscape     = errors.New("a percent sign must be followed by two hexadecimal digits, and a null byte is not allowed")
	ErrPathDotSegment = errors.New("dot segments are not allowed, encoded ones neither: send the path they lead to")
)

// CleanPath puts an escaped path (url.URL.EscapedPath, no query) into the form that Decide compares. The empty path is
// "/".
//
// A path with a dot segment is refused, not resolved, whichever way it is written ("..", "%2e%2e", "..%2F", "..\",
// "..;a=b"): gateway and destination may disagree about what it means, and what they disagree about gets past a prefix
// match or a guard (THREATS TH-T1). Clients resolve dot segments themselves (RFC 3986 §5.2.4), so nobody misses them.
// An encoded slash alone is kept: some APIs carry names with slashes in one segment.
func CleanPath(escaped string) (Path, error) {
	if escaped == "" {
		return Path{clean: "/", lax: "/"}, nil
	}
	if escaped[0] != '/' {
		return Path{}, ErrPathForm
	}
	if plain(escaped) {
		return Path{clean: escaped, lax: escaped}, nil
	}
	clean, err := decodeUnreserved(escaped)
	if err != nil {
		return Path{}, err
	}
	lax, err := laxForm(clean)
	if err != nil {
		return Path{}, err
	}
	return Path{clean: clean, lax: lax}, nil
}

// String is the clean form.
func (p Path) String() string {
	if p.clean == "" {
		return "/"
	}
	return p.clean
}

// under reports whether the clean form is prefix or below it.
func (p Path) under(prefix string) bool { return underPrefix(p.String(), prefix) }

// laxUnder is under for the lax form.
func (p Path) laxUnder(prefix string) bool {
	if p.lax == "" {
		return underPrefix("/", prefix)
	}
	return underPrefix(p.lax, prefix)
}

// underPrefix compares whole segments; a slash at the end of prefix makes no difference (Gateway API,
// HTTPPathMatch).
func underPrefix(path, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	if !strings.HasPrefix(path, prefix) {
		return false
	}
	return len(path) == len(prefix) || path[len(prefix)] == '/'
}

// plain reports whether both forms of a path are the path itself, which is so for nearly every request. A dot after a
// slash is left to the slow way.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '%', ';', '\\', 0:
			return false
		case '/':
			if i+1 < len(s) && (s[i+1] == '/' || s[i+1] == '.') {
				return false
			}
		}
	}
	return true
}

// decodeUnreserved decodes what RFC 3986 §2.3 says never needs to be encoded, and writes the rest in upper case.
func decodeUnreserved(s string) (string, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return "", ErrPathEscape
	}
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	const upper = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", ErrPathEscape
		}
		hi, ok1 := unhex(s[i+1])
		lo, ok2 := unhex(s[i+2])
		c := hi<<4 | lo
		if !ok1 || !ok2 || c == 0 {
			return "", ErrPathEscape
		}
		if unreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(upper[hi])
			b.WriteByte(upper[lo])
		}
		i += 2
	}
	return b.String(), nil
}

// laxSeparators turns what some servers take for a slash into one. The input is clean, so hex digits are upper case.
var laxSeparators = strings.NewReplacer("%2F", "/", "%5C", "/", `\`, "/", "%3B", ";")

func laxForm(clean string) (string, error) {
	var b strings.Builder
	b.Grow(len(clean))
	last := ""
	for segment := range strings.SplitSeq(laxSeparators.Replace(clean), "/") {
		segment, _, _ = strings.Cut(segment, ";")
		if segment == "." || segment == ".." {
			return "", ErrPathDotSegment
		}
		if segment != "" {
			b.WriteByte('/')
			b.WriteString(segment)
		}
		last = segment
	}
	if last == "" { // a slash at the end stays, so that the lax form of a plain path is the path itself
		b.WriteByte('/')
	}
	return b.String(), nil
}

func unreserved(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '-' || c == '.' || c == '_' || c == '~'
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
