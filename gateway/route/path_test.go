package route

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestCleanPath(t *testing.T) {
	for _, c := range []struct {
		name, path, clean, lax string
		err                    error
	}{
		{"the empty path is the root", "", "/", "/", nil},
		{"a plain path stays", "/v1/chat", "/v1/chat", "/v1/chat", nil},
		{"a slash at the end stays", "/v1/", "/v1/", "/v1/", nil},
		{"unreserved characters are decoded", "/%76%2d%7E", "/v-~", "/v-~", nil},
		{"the rest is written in upper case", "/%c3%a4", "/%C3%A4", "/%C3%A4", nil},
		{"an encoded slash separates in the lax form only", "/a%2fb", "/a%2Fb", "/a/b", nil},
		{"empty segments are gone in the lax form only", "/a//b", "/a//b", "/a/b", nil},
		{"parameters are gone in the lax form only", "/a;x=1/b", "/a;x=1/b", "/a/b", nil},
		{"a name may begin with a dot", "/.well-known/x", "/.well-known/x", "/.well-known/x", nil},
		{"three dots are a name", "/...", "/...", "/...", nil},
		{"a dot segment is refused", "/a/./b", "", "", ErrPathDotSegment},
		{"two dots are refused", "/a/../b", "", "", ErrPathDotSegment},
		{"at the end too", "/a/..", "", "", ErrPathDotSegment},
		{"encoded", "/a/%2e%2E/b", "", "", ErrPathDotSegment},
		{"half encoded", "/a/.%2e/b", "", "", ErrPathDotSegment},
		{"behind an encoded slash", "/a%2f..%2fb", "", "", ErrPathDotSegment},
		{"behind a backslash", `/a\..\b`, "", "", ErrPathDotSegment},
		{"behind an encoded backslash", "/a%5c..%5cb", "", "", ErrPathDotSegment},
		{"with a parameter", "/a/..;x=1/b", "", "", ErrPathDotSegment},
		{"with an encoded parameter", "/a/..%3Bx=1/b", "", "", ErrPathDotSegment},
		{"half an escape is refused", "/a%2", "", "", ErrPathEscape},
		{"an escape that is none is refused", "/a%zz", "", "", ErrPathEscape},
		{"a null byte is refused", "/a%00", "", "", ErrPathEscape},
		{"a path without slash is refused", "a", "", "", ErrPathForm},
		{"so is the asterisk", "*", "", "", ErrPathForm},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := CleanPath(c.path)
			if !errors.Is(err, c.err) || p.clean != c.clean || p.lax != c.lax {
				t.Errorf("CleanPath(%q) = %q, %q, %v; want %q, %q, %v", c.path, p.clean, p.lax, err, c.clean, c.lax, c.err)
			}
		})
	}
}

// FuzzCleanPath: what is accepted has no dot segment in any reading, means the same to net/url, and cleaning it again
// changes nothing.
func FuzzCleanPath(f *testing.F) {
	for _, seed := range []string{"", "/", "/a/b", "/%2e", "/a%2f..", "/;/..;", `/\`, "/%", "/%00", "//", "/%E4%BD%A0", "/a%252e%252e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p, err := CleanPath(path)
		if err != nil {
			return
		}
		again, err := CleanPath(p.String())
		if err != nil || again != p {
			t.Fatalf("CleanPath(%q) = %+v, cleaned again %+v, %v", path, p, again, err)
		}
		for _, reading := range []string{p.clean, p.lax} {
			decoded, err := url.PathUnescape(reading)
			if err != nil {
				t.Fatalf("%q accepted as %q, which net/url refuses: %v", path, reading, err)
			}
			for _, sep := range []string{"/", `\`} {
				for segment := range strings.SplitSeq(decoded, sep) {
					if segment == "." || segment == ".." {
						t.Fatalf("%q accepted as %q with a dot segment", path, reading)
					}
				}
			}
		}
		want, err := url.PathUnescape(path)
		got, _ := url.PathUnescape(p.String())
		if err != nil || path != "" && got != want {
			t.Fatalf("CleanPath(%q) = %q, another path", path, p)
		}
	})
}
