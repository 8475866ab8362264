package bhttp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// line is a field as it stands on the wire, before any check.
type line struct{ name, value string }

func rawText(b []byte, s string) []byte { return append(appendVarint(b, uint64(len(s))), s...) }

func rawSection(b []byte, lines []line) []byte {
	for _, l := range lines {
		b = rawText(rawText(b, l.name), l.value)
	}
	return append(b, 0)
}

// rawHead writes a request's head, checking nothing; rawRequest, a request without content.
func rawHead(method, scheme, authority, path string, lines ...line) []byte {
	b := []byte{framingRequest}
	for _, s := range []string{method, scheme, authority, path} {
		b = rawText(b, s)
	}
	return rawSection(b, lines)
}

func rawRequest(method, scheme, authority, path string, lines ...line) []byte {
	return append(rawHead(method, scheme, authority, path, lines...), 0, 0)
}

// withTrailer ends a head's message with a trailer section.
func withTrailer(head []byte, lines ...line) []byte { return rawSection(append(head, 0), lines) }

func rawResponse(status uint64, lines ...line) []byte {
	return append(rawSection(appendVarint([]byte{framingResponse}, status), lines), 0, 0)
}

// TestHeads: what is refused on the way in is refused on the way out, and nothing else.
func TestHeads(t *testing.T) {
	plain := RequestHead{Method: "GET", Scheme: "https", Authority: "a", Path: "/"}
	with := func(lines ...line) []line { return lines }
	tests := []struct {
		rule  string
		head  RequestHead // without Header
		lines []line
		want  string // in the fault; "" passes
	}{
		{"a plain request", RequestHead{Method: "GET", Scheme: "http", Authority: "openai", Path: "/"}, nil, ""},
		{"a method of one's own", RequestHead{Method: "M-SEARCH", Scheme: "https", Authority: "a", Path: "/"}, nil, ""},
		{"a method with a space", RequestHead{Method: "GET /", Scheme: "https", Authority: "a", Path: "/"}, nil, "method"},
		{"no method", RequestHead{Scheme: "https", Authority: "a", Path: "/"}, nil, "method"},
		{"no scheme", RequestHead{Method: "GET", Authority: "a", Path: "/"}, nil, "scheme"},
		{"a scheme in capitals", RequestHead{Method: "GET", Scheme: "HTTPS", Authority: "a", Path: "/"}, nil, "scheme"},
		{"a scheme that begins with a digit", RequestHead{Method: "GET", Scheme: "4http", Authority: "a", Path: "/"}, nil, "scheme"},
		{"no authority", RequestHead{Method: "GET", Scheme: "https", Path: "/"}, nil, "authority is empty"},
		{"an authority with port", RequestHead{Method: "GET", Scheme: "https", Authority: "a.example.com:8443", Path: "/"}, nil, ""},
		{"an IPv6 authority", RequestHead{Method: "GET", Scheme: "https", Authority: "[2001:db8::1]:80", Path: "/"}, nil, ""},
		{"user information in the authority", RequestHead{Method: "GET", Scheme: "https", Authority: "openai@evil.example.com", Path: "/"}, nil, "authority"},
		{"a path in the authority", RequestHead{Method: "GET", Scheme: "https", Authority: "a/b", Path: "/"}, nil, "authority"},
		{"a space in the authority", RequestHead{Method: "GET", Scheme: "https", Authority: "a b", Path: "/"}, nil, "authority"},
		{"a newline in the authority", RequestHead{Method: "GET", Scheme: "https", Authority: "a\r\nx: y", Path: "/"}, nil, "authority"},
		{"a path with query", RequestHead{Method: "GET", Scheme: "https", Authority: "a", Path: "/v1?x=%20&y=\"{}|\""}, nil, ""},
		{"a path in raw UTF-8", RequestHead{Method: "GET", Scheme: "https", Authority: "a", Path: "/ü?ß"}, nil, ""},
		{"an empty path", RequestHead{Method: "GET", Scheme: "https", Authority: "a"}, nil, "path"},
		{"a relative path", RequestHead{Method: "GET", Scheme: "https", Authority: "a", Path: "v1"}, nil, "path"},
		{"a path with a space", RequestHead{Method: "GET", Scheme: "https", Authority: "a", Path: "/a b"}, nil, "path"},
		{"a path with a newline", RequestHead{Method: "GET", Scheme: "https", Authority: "a", Path: "/a\n"}, nil, "path"},
		{"a path with a DEL", RequestHead{Method: "GET", Scheme: "https", Authority: "a", Path: "/a\x7f"}, nil, "path"},
		{"a path with a fragment", RequestHead{Method: "GET", Scheme: "https", Authority: "a", Path: "/a#b"}, nil, "path"},
		{"OPTIONS *", RequestHead{Method: "OPTIONS", Scheme: "https", Authority: "a", Path: "*"}, nil, ""},
		{"GET *", RequestHead{Method: "GET", Scheme: "https", Authority: "a", Path: "*"}, nil, "path"},
		{"OPTIONS **", RequestHead{Method: "OPTIONS", Scheme: "https", Authority: "a", Path: "**"}, nil, "path"},
		{"CONNECT", RequestHead{Method: "CONNECT", Authority: "a:443"}, nil, ""},
		{"CONNECT with a path", RequestHead{Method: "CONNECT", Authority: "a:443", Path: "/"}, nil, "CONNECT"},
		{"CONNECT with a scheme", RequestHead{Method: "CONNECT", Scheme: "https", Authority: "a:443"}, nil, "CONNECT"},
		{"extended CONNECT", RequestHead{Method: "CONNECT", Scheme: "https", Authority: "a", Path: "/chat", Protocol: "websocket"}, nil, ""},
		{"extended CONNECT without path", RequestHead{Method: "CONNECT", Scheme: "https", Authority: "a", Protocol: "websocket"}, nil, "path"},
		{":protocol with GET", RequestHead{Method: "GET", Scheme: "https", Authority: "a", Path: "/", Protocol: "websocket"}, nil, ":protocol"},
		{"a :protocol that is no token", RequestHead{Method: "CONNECT", Scheme: "https", Authority: "a", Path: "/", Protocol: "web socket"}, nil, ":protocol"},

		{"a field", plain, with(line{"accept", "*/*"}), ""},
		{"an empty value", plain, with(line{"accept", ""}), ""},
		{"a value with a tab and bytes from 0x80 up", plain, with(line{"x", "a\tb \xff ü"}), ""},
		{"a name with a space", plain, with(line{"a b", "c"}), "token"},
		{"a name with a colon", plain, with(line{"a:", "c"}), "token"},
		{"a name with a newline", plain, with(line{"a\r\nb", "c"}), "token"},
		{"a pseudo-field", plain, with(line{":method", "GET"}), "token"},
		{"an unknown pseudo-field", plain, with(line{":x", "y"}), "token"},
		{"a value with CR", plain, with(line{"a", "b\rc"}), "control"},
		{"a value with LF", plain, with(line{"a", "b\nc"}), "control"},
		{"a value with NUL", plain, with(line{"a", "b\x00c"}), "control"},
		{"a value with DEL", plain, with(line{"a", "b\x7fc"}), "control"},
		{"connection", plain, with(line{"connection", "close"}), "may not stand here"},
		{"keep-alive", plain, with(line{"keep-alive", "timeout=5"}), "may not stand here"},
		{"proxy-connection", plain, with(line{"proxy-connection", "close"}), "may not stand here"},
		{"transfer-encoding", plain, with(line{"transfer-encoding", "chunked"}), "may not stand here"},
		{"upgrade", plain, with(line{"upgrade", "websocket"}), "may not stand here"},
		{"te: trailers", plain, with(line{"te", "trailers"}), ""},
		{"te: Trailers", plain, with(line{"te", "Trailers"}), ""},
		{"te: gzip", plain, with(line{"te", "gzip"}), `"te"`},
		{"te: trailers, gzip", plain, with(line{"te", "trailers, gzip"}), `"te"`},
		{"content-length of nothing", plain, with(line{"content-length", "0"}), ""},
		{"content-length twice", plain, with(line{"content-length", "0"}, line{"content-length", "0"}), "content-length"},
		{"content-length as a list", plain, with(line{"content-length", "0, 0"}), "content-length"},
		{"content-length with a sign", plain, with(line{"content-length", "+0"}), "content-length"},
		{"content-length in hex", plain, with(line{"content-length", "0x0"}), "content-length"},
		{"content-length of nothing at all", plain, with(line{"content-length", ""}), "content-length"},
		{"content-length that overflows", plain, with(line{"content-length", "9223372036854775808"}), "content-length"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			h := tt.head
			h.Header = http.Header{}
			for _, l := range tt.lines {
				name := http.CanonicalHeaderKey(l.name)
				h.Header[name] = append(h.Header[name], l.value)
			}

			before := []byte("before")
			out, encodeErr := AppendRequestHead(before, &h)
			wire := tt.lines
			if h.Protocol != "" {
				wire = append([]line{{":protocol", h.Protocol}}, wire...)
			}
			raw := rawRequest(h.Method, h.Scheme, h.Authority, h.Path, wire...)
			got, decodeErr := readRequest(NewReader(bytes.NewReader(raw), Limits{}))

			if tt.want != "" {
				wantFault(t, decodeErr, tt.want)
				wantFault(t, encodeErr, tt.want)
				if string(out) != "before" {
					t.Errorf("the buffer came back as %q", out)
				}
				return
			}
			if decodeErr != nil || encodeErr != nil {
				t.Fatalf("errors %v, %v", decodeErr, encodeErr)
			}
			if diff := cmp.Diff(&h, got.Head); diff != "" {
				t.Error(diff)
			}
			again, err := readRequest(NewReader(bytes.NewReader(append(out[len(before):], 0, 0)), Limits{}))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, again); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestReaderRefuses has what the Append functions cannot be made to write.
func TestReaderRefuses(t *testing.T) {
	tests := []struct {
		rule string
		b    []byte
		want string
	}{
		{"a name in capitals", rawRequest("GET", "https", "a", "/", line{"Accept", "x"}), "lower-case token"},
		{"a value with a space before it", rawRequest("GET", "https", "a", "/", line{"accept", " x"}), "white space"},
		{"a value with a tab behind it", rawRequest("GET", "https", "a", "/", line{"accept", "x\t"}), "white space"},
		{":protocol behind a field", rawRequest("CONNECT", "https", "a", "/", line{"a", "b"}, line{":protocol", "websocket"}), "token"},
		{":protocol twice", rawRequest("CONNECT", "https", "a", "/", line{":protocol", "websocket"}, line{":protocol", "websocket"}), "token"},
		{"an empty :protocol", rawRequest("CONNECT", "https", "a", "/", line{":protocol", ""}), ":protocol is empty"},
		{"host and another authority", rawRequest("GET", "https", "a", "/", line{"host", "b"}), "differ"},
		{"host twice", rawRequest("GET", "https", "", "/", line{"host", "a"}, line{"host", "a"}), "twice"},
		{"an empty host", rawRequest("GET", "https", "", "/", line{"host", ""}), "authority is empty"},
		{"a host that is none", rawRequest("GET", "https", "", "/", line{"host", "a@b"}), "authority"},
		{"content shorter than declared", rawRequest("POST", "https", "a", "/", line{"content-length", "1"}), "content-length"},
		{"an unknown framing indicator", []byte{4}, "framing indicator is 4"},
		{"a framing indicator of eight bytes", []byte{0xc0, 0, 0, 0, 0, 0, 0, 1}, "framing indicator is 1"},
		{"content longer than declared", append(rawHead("POST", "https", "a", "/", line{"content-length", "1"}), 2, 'h', 'i', 0, 0), "content-length"},
		{"a trailer that is a pseudo-field", withTrailer(rawHead("GET", "https", "a", "/"), line{":protocol", "x"}), "token"},
		{"a trailer that frames", withTrailer(rawHead("GET", "https", "a", "/"), line{"content-length", "0"}), "may not stand here"},
		{"a trailer of the connection", withTrailer(rawHead("GET", "https", "a", "/"), line{"upgrade", "x"}), "may not stand here"},
		{"te as a trailer", withTrailer(rawHead("GET", "https", "a", "/"), line{"te", "trailers"}), "may not stand here"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			r := NewReader(bytes.NewReader(tt.b), Limits{})
			_, err := readRequest(r)
			wantFault(t, err, tt.want)
			if _, again := r.ReadRequestHead(); !errors.Is(again, err) {
				t.Errorf("the next call says %v", again)
			}
			if _, again := r.Read(make([]byte, 1)); !errors.Is(again, err) {
				t.Errorf("the next read says %v", again)
			}
		})
	}
}

func TestHostBesideTheSameAuthority(t *testing.T) {
	m, err := readRequest(NewReader(bytes.NewReader(rawRequest("GET", "https", "a", "/", line{"x", "1"}, line{"host", "a"}, line{"y", "2"})), Limits{}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(http.Header{"X": {"1"}, "Y": {"2"}}, m.Head.Header); diff != "" || m.Head.Authority != "a" {
		t.Errorf("authority %q\n%s", m.Head.Authority, diff)
	}
}

// TestInterleavedFields: the values of one name must not be written over another's.
func TestInterleavedFields(t *testing.T) {
	b := rawRequest("GET", "https", "a", "/", line{"x", "1"}, line{"y", "2"}, line{"x", "3"}, line{"y", "4"}, line{"x", "5"})
	m, err := readRequest(NewReader(bytes.NewReader(b), Limits{}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(http.Header{"X": {"1", "3", "5"}, "Y": {"2", "4"}}, m.Head.Header); diff != "" {
		t.Error(diff)
	}
}

func TestResponses(t *testing.T) {
	tests := []struct {
		rule string
		b    []byte
		want string
	}{
		{"200", rawResponse(200), ""},
		{"599", rawResponse(599), ""},
		{"600", rawResponse(600), "status 600"},
		{"99", rawResponse(99), "status 99"},
		{"0", rawResponse(0), "status 0"},
		{"a huge status", rawResponse(maxVarint), "status"},
		{"host", rawResponse(200, line{"host", "a"}), "may not stand here"},
		{":protocol", rawResponse(200, line{":protocol", "x"}), "token"},
		{"the answer to HEAD declares what it does not carry", rawResponse(200, line{"content-length", "51"}), ""},
		{"content shorter than declared", append(rawSection([]byte{3, 0x40, 200}, []line{{"content-length", "3"}}), 2, 'h', 'i', 0, 0), "content-length"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			_, err := readResponse(NewReader(bytes.NewReader(tt.b), Limits{}))
			if tt.want != "" {
				wantFault(t, err, tt.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAppendStatus(t *testing.T) {
	for status, want := range map[int]struct{ informational, final bool }{
		0: {}, 99: {}, 100: {true, false}, 101: {true, false}, 199: {true, false}, 200: {false, true}, 599: {false, true}, 600: {}, -1: {},
	} {
		h := &ResponseHead{Status: status}
		if _, err := AppendInformational(nil, h, true); (err == nil) != want.informational {
			t.Errorf("AppendInformational %d: %v", status, err)
		}
		if _, err := AppendResponseHead(nil, h, true); (err == nil) != want.final {
			t.Errorf("AppendResponseHead %d: %v", status, err)
		}
	}
}

func TestAppendTrimsValues(t *testing.T) {
	b, err := AppendEnd(nil, http.Header{"X": {" \ta b\t "}})
	if want := rawSection([]byte{0}, []line{{"x", "a b"}}); err != nil || !bytes.Equal(b, want) {
		t.Errorf("= %q, %v; want %q", b, err, want)
	}
}

func TestAppendHost(t *testing.T) {
	_, err := AppendRequestHead(nil, &RequestHead{Method: "GET", Scheme: "https", Authority: "a", Path: "/", Header: http.Header{"Host": {"a"}}})
	wantFault(t, err, `"host"`)
}

func TestAppendEndLeavesOut(t *testing.T) {
	b, err := AppendEnd(nil, http.Header{
		"Content-Length": {"1", "2"}, "Host": {"a"}, "Te": {"x"}, "Trailer": {"x"}, "Connection": {"x"}, "Upgrade": {"x"}, "X-Sum": {"7"},
	})
	if want := rawSection([]byte{0}, []line{{"x-sum", "7"}}); err != nil || !bytes.Equal(b, want) {
		t.Errorf("= %q, %v; want %q", b, err, want)
	}
	before := []byte("before")
	b, err = AppendEnd(before, http.Header{"X": {"a\nb"}})
	wantFault(t, err, "control")
	if string(b) != "before" {
		t.Errorf("the buffer came back as %q", b)
	}
}

// TestErrorsQuoteNoValue: a malformed Authorization must not reach a log.
func TestErrorsQuoteNoValue(t *testing.T) {
	_, err := readRequest(NewReader(bytes.NewReader(rawRequest("GET", "https", "a", "/", line{"authorization", "Bearer hunter2\n"})), Limits{}))
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "authorization") {
		t.Errorf("error = %v", err)
	}
	_, err = AppendEnd(nil, http.Header{"Authorization": {"Bearer hunter2\n"}})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error = %v", err)
	}
}

func TestErrorOffset(t *testing.T) {
	b := rawRequest("GET", "https", "a", "/", line{"ok", "1"}, line{"Bad", "2"})
	r := NewReader(bytes.NewReader(append(rawRequest("GET", "https", "a", "/"), b...)), Limits{})
	if _, err := readRequest(r); err != nil {
		t.Fatal(err)
	}
	_, err := r.ReadRequestHead()
	var e *Error
	if want := int64(bytes.Index(b, []byte("Bad"))); !errors.As(err, &e) || e.Offset != want {
		t.Errorf("error = %v, want offset %d", err, want)
	}
}

func TestLimits(t *testing.T) {
	const fixed = len("GET") + len("https") + len("a") + len("/")
	tests := []struct {
		rule string
		lim  Limits
		b    []byte
		ok   bool
	}{
		{"as many bytes as allowed", Limits{HeadBytes: fixed + 32 + 2}, rawRequest("GET", "https", "a", "/", line{"x", "y"}), true},
		{"one byte more", Limits{HeadBytes: fixed + 32 + 1}, rawRequest("GET", "https", "a", "/", line{"x", "y"}), false},
		{"not room for a field's overhead", Limits{HeadBytes: fixed + 31}, rawRequest("GET", "https", "a", "/", line{"x", ""}), false},
		{"a path that is too long", Limits{HeadBytes: fixed}, rawRequest("GET", "https", "a", "/1"), false},
		{"as many fields as allowed", Limits{Fields: 2}, rawRequest("GET", "https", "a", "/", line{"x", "y"}, line{"x", "y"}), true},
		{"one field more", Limits{Fields: 1}, rawRequest("GET", "https", "a", "/", line{"x", "y"}, line{"x", "y"}), false},
		{"default of bytes", Limits{}, rawRequest("GET", "https", "a", "/"+strings.Repeat("x", defaultHeadBytes)), false},
		{"default of fields", Limits{}, rawRequest("GET", "https", "a", "/", make257()...), false},
		{"a length that no memory has", Limits{}, append([]byte{framingRequest}, appendVarint(nil, maxVarint)...), false},
		{"trailers have the same limits of their own", Limits{Fields: 1}, withTrailer(rawHead("GET", "https", "a", "/", line{"x", "y"}), line{"x", "y"}, line{"x", "y"}), false},
		{"trailers do not add to the head", Limits{HeadBytes: fixed + 34, Fields: 1}, withTrailer(rawHead("GET", "https", "a", "/", line{"x", "y"}), line{"x", "y"}), true},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			r := NewReader(bytes.NewReader(tt.b), tt.lim)
			_, err := readRequest(r)
			var e *Error
			switch {
			case tt.ok && err != nil:
				t.Error(err)
			case !tt.ok && (!errors.As(err, &e) || !e.TooLarge):
				t.Errorf("error = %v, want one that is TooLarge", err)
			}
			if most := 2 * r.lim.HeadBytes; len(r.buf) > max(most, firstBuffer) {
				t.Errorf("buffer of %d bytes", len(r.buf))
			}
		})
	}
}

func make257() (lines []line) {
	for range defaultFields + 1 {
		lines = append(lines, line{"x", "y"})
	}
	return lines
}

// TestBufferFollowsArrival: a peer that announces a large head and sends little of it costs little.
func TestBufferFollowsArrival(t *testing.T) {
	b := append(appendVarint([]byte{framingRequest}, 200<<10), "GET"...)
	r := NewReader(bytes.NewReader(b), Limits{})
	if _, err := r.ReadRequestHead(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("error = %v, want io.ErrUnexpectedEOF", err)
	}
	if len(r.buf) > firstBuffer {
		t.Errorf("buffer of %d bytes for %d", len(r.buf), len(b))
	}
}

// TestBufferShrinks: a leased stream is idle for long, and must not keep the largest head it ever saw.
func TestBufferShrinks(t *testing.T) {
	r := NewReader(bytes.NewReader(rawRequest("GET", "https", "a", "/"+strings.Repeat("x", 100<<10))), Limits{})
	if _, err := readRequest(r); err != nil {
		t.Fatal(err)
	}
	if len(r.buf) > keptBuffer {
		t.Errorf("keeps %d bytes", len(r.buf))
	}
}

func TestLearnedNamesAreBounded(t *testing.T) {
	var b []byte
	for i := range 100 {
		b = append(b, rawRequest("GET", "https", "a", "/", line{fmt.Sprintf("x-own-%d", i), ""}, line{strings.Repeat("y", learnedBytes+1), ""}, line{"x-own-1", ""})...)
	}
	r := NewReader(bytes.NewReader(b), Limits{})
	for i := range 100 {
		m, err := readRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.Head.Header[fmt.Sprintf("X-Own-%d", i)]; !ok {
			t.Fatalf("header %v", m.Head.Header)
		}
	}
	if len(r.names) > learnedNames {
		t.Errorf("%d names", len(r.names))
	}
}

// exchangeBytes is a stream of two requests, the first with content in three chunks, one of them large.
func exchangeBytes(t testing.TB) ([]byte, []request) {
	t.Helper()
	large := strings.Repeat("0123456789", 2000)
	b, err := AppendRequestHead(nil, &RequestHead{
		Method: "POST", Scheme: "https", Authority: "a", Path: "/", Header: http.Header{"X-Own": {"1", "2"}, "Accept": {"*/*"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b = AppendContent(AppendContent(AppendContent(AppendContent(b, []byte("he")), nil), []byte(large)), []byte("!"))
	if b, err = AppendEnd(b, http.Header{"X-Sum": {"7"}}); err != nil {
		t.Fatal(err)
	}
	b = append(b, rawRequest("GET", "https", "b", "/second")...)
	return b, []request{
		{&RequestHead{Method: "POST", Scheme: "https", Authority: "a", Path: "/", Header: http.Header{"X-Own": {"1", "2"}, "Accept": {"*/*"}}}, "he" + large + "!", http.Header{"X-Sum": {"7"}}},
		{&RequestHead{Method: "GET", Scheme: "https", Authority: "b", Path: "/second", Header: http.Header{}}, "", nil},
	}
}

func TestArrivalDoesNotMatter(t *testing.T) {
	b, want := exchangeBytes(t)
	for how, src := range map[string]func(io.Reader) io.Reader{
		"at once":               func(r io.Reader) io.Reader { return r },
		"byte by byte":          iotest.OneByteReader,
		"by halves":             iotest.HalfReader,
		"with the error":        iotest.DataErrReader,
		"with nothing at times": func(r io.Reader) io.Reader { return &stuttering{r: r} },
	} {
		t.Run(how, func(t *testing.T) {
			r := NewReader(src(bytes.NewReader(b)), Limits{})
			for i := range want {
				got, err := readRequest(r)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want[i], got); diff != "" {
					t.Error(diff)
				}
			}
			if _, err := r.ReadRequestHead(); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v, want io.EOF", err)
			}
		})
	}
}

// stuttering returns 0, nil before each read.
type stuttering struct {
	r    io.Reader
	last bool
}

func (s *stuttering) Read(p []byte) (int, error) {
	if s.last = !s.last; s.last {
		return 0, nil
	}
	return s.r.Read(p)
}

func TestSourceWithoutProgress(t *testing.T) {
	r := NewReader(readerFunc(func([]byte) (int, error) { return 0, nil }), Limits{})
	if _, err := r.ReadRequestHead(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error = %v, want io.ErrNoProgress", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestTruncation cuts the stream after every byte.
func TestTruncation(t *testing.T) {
	b := unhex(t, rfcResponse)
	for n := range len(b) {
		_, err := readResponse(NewReader(bytes.NewReader(b[:n]), Limits{}))
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if !errors.Is(err, want) {
			t.Fatalf("after %d bytes: %v, want %v", n, err, want)
		}
	}
}

// TestSourceErrorComesOutUnchanged: package tunnel looks for the reset code in it.
func TestSourceErrorComesOutUnchanged(t *testing.T) {
	reset := errors.New("reset")
	b := unhex(t, rfcResponse)
	for n := range len(b) {
		_, err := readResponse(NewReader(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(reset)), Limits{}))
		if !errors.Is(err, reset) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

// late fails with a passed deadline before each byte.
type late struct {
	r    io.Reader
	last bool
}

func (l *late) Read(p []byte) (int, error) {
	if l.last = !l.last; l.last {
		return 0, os.ErrDeadlineExceeded
	}
	return l.r.Read(p[:1])
}

func TestResumeAfterDeadline(t *testing.T) {
	b, want := exchangeBytes(t)
	r := NewReader(&late{r: bytes.NewReader(b)}, Limits{})
	for i := range want {
		var got request
		err := os.ErrDeadlineExceeded
		for errors.Is(err, os.ErrDeadlineExceeded) {
			got.Head, err = r.ReadRequestHead()
		}
		if err != nil {
			t.Fatal(err)
		}
		var content []byte
		p := make([]byte, 5000)
		for err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			var n int
			n, err = r.Read(p)
			content = append(content, p[:n]...)
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		got.Content, got.Trailer = string(content), r.Trailer()
		if diff := cmp.Diff(want[i], got); diff != "" {
			t.Error(diff)
		}
	}
}

// TestOffsetAfterDeadline: what is read again is not counted again.
func TestOffsetAfterDeadline(t *testing.T) {
	b := rawRequest("GET", "https", "a", "/", line{"Bad", "2"})
	r := NewReader(&late{r: bytes.NewReader(b)}, Limits{})
	err := os.ErrDeadlineExceeded
	for errors.Is(err, os.ErrDeadlineExceeded) {
		_, err = r.ReadRequestHead()
	}
	var e *Error
	if want := int64(bytes.Index(b, []byte("Bad"))); !errors.As(err, &e) || e.Offset != want {
		t.Errorf("error = %v, want offset %d", err, want)
	}
}

func TestBegun(t *testing.T) {
	first, second := rawRequest("GET", "https", "a", "/"), rawRequest("GET", "https", "b", "/")
	pr, pw := io.Pipe()
	t.Cleanup(func() { _ = pr.Close() })
	r := NewReader(pr, Limits{})
	check := func(when string, want bool) {
		t.Helper()
		if got := r.Begun(); got != want {
			t.Errorf("%s: Begun = %v, want %v", when, got, want)
		}
	}
	check("before a byte came", false)
	done := make(chan error, 1)
	go func() {
		_, err := pw.Write(first)
		done <- err
	}()
	if _, err := r.ReadRequestHead(); err != nil {
		t.Fatal(err)
	}
	check("after the head", true)
	if _, err := io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	check("after the end", false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := pw.Write(second[:1])
		_ = pw.Close()
		done <- err
	}()
	if _, err := r.ReadRequestHead(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("error = %v, want io.ErrUnexpectedEOF", err)
	}
	check("after one byte of the next", true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	r = NewReader(bytes.NewReader(append(first, second...)), Limits{})
	if _, err := readRequest(r); err != nil {
		t.Fatal(err)
	}
	check("with the next message buffered", true)
}

func TestRaw(t *testing.T) {
	tests := []struct {
		rule string
		head []byte
		read func(*Reader) error
	}{
		{"after 101", rawResponse(101)[:4], func(r *Reader) error { _, err := r.ReadResponseHead(); return err }},
		{"after 200 to CONNECT", rawResponse(200)[:4], func(r *Reader) error { _, err := r.ReadResponseHead(); return err }},
		{"after a whole CONNECT", rawRequest("CONNECT", "", "a:443", ""), func(r *Reader) error { _, err := readRequest(r); return err }},
		{"after 103 and 101", append(rawResponse(103)[:4], rawResponse(101)[1:4]...), func(r *Reader) error {
			_, err := r.ReadResponseHead()
			if err == nil {
				_, err = r.ReadResponseHead()
			}
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			const raw = "\x02\x00raw bytes, longer than one read of them"
			for _, src := range []io.Reader{
				bytes.NewReader([]byte(string(tt.head) + raw)),
				io.MultiReader(bytes.NewReader(tt.head), strings.NewReader(raw)),
			} {
				r := NewReader(src, Limits{})
				if err := tt.read(r); err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(iotest.OneByteReader(r.Raw()))
				if err != nil || string(got) != raw {
					t.Errorf("= %q, %v", got, err)
				}
				if _, err := r.ReadResponseHead(); err == nil {
					t.Error("the Reader reads on")
				}
			}
		})
	}
}

func TestOrderOfCalls(t *testing.T) {
	t.Run("no head after 101", func(t *testing.T) {
		r := NewReader(bytes.NewReader(append(rawResponse(101)[:4], rawResponse(200)[1:]...)), Limits{})
		if _, err := r.ReadResponseHead(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadResponseHead(); !errors.Is(err, errOrder) {
			t.Errorf("error = %v", err)
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, errOrder) {
			t.Errorf("Read: error = %v", err)
		}
	})
	t.Run("no head before the content was read", func(t *testing.T) {
		r := NewReader(bytes.NewReader(append(rawRequest("GET", "https", "a", "/"), rawRequest("GET", "https", "a", "/")...)), Limits{})
		if _, err := r.ReadRequestHead(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadRequestHead(); !errors.Is(err, errOrder) {
			t.Errorf("error = %v", err)
		}
		if _, err := io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadRequestHead(); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
	t.Run("no content before the final head", func(t *testing.T) {
		r := NewReader(bytes.NewReader(unhex(t, rfcResponse)), Limits{})
		if _, err := r.ReadResponseHead(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, errOrder) {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("the end stays the end", func(t *testing.T) {
		r := NewReader(bytes.NewReader(rawRequest("GET", "https", "a", "/")), Limits{})
		if _, err := readRequest(r); err != nil {
			t.Fatal(err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("Read = %d, %v", n, err)
		}
	})
}

// TestReadsStraightIntoTheCallersBuffer: a chunk is not copied twice.
func TestReadsStraightIntoTheCallersBuffer(t *testing.T) {
	head := rawSection([]byte{3, 0x40, 200}, nil)
	head = AppendChunk(head, 64<<10)
	p := make([]byte, 32<<10)
	direct := false
	src := io.MultiReader(bytes.NewReader(head), readerFunc(func(q []byte) (int, error) {
		direct = direct || &q[0] == &p[0]
		return len(q), nil
	}))
	r := NewReader(src, Limits{})
	if _, err := r.ReadResponseHead(); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(p); n != len(p) || err != nil || !direct {
		t.Errorf("Read = %d, %v, straight: %v", n, err, direct)
	}
}

func TestVarint(t *testing.T) {
	// RFC 9000 appendix A.1.
	for text, want := range map[string]uint64{
		"c2197c5eff14e88c": 151288809941952652, "9d7f3e7d": 494878333, "7bbd": 15293, "25": 37, "4025": 37,
	} {
		b := unhex(t, text)
		if varintLen(b[0]) != len(b) || varint(b) != want {
			t.Errorf("%s = %d on %d bytes, want %d", text, varint(b), varintLen(b[0]), want)
		}
	}
	for _, v := range []uint64{0, 63, 64, 16383, 16384, 1<<30 - 1, 1 << 30, maxVarint} {
		if b := appendVarint(nil, v); varintLen(b[0]) != len(b) || varint(b) != v {
			t.Errorf("%d was written as %x", v, b)
		}
	}
}

func TestNumbersOnMoreBytesThanNeeded(t *testing.T) {
	got, err := readRequest(NewReader(bytes.NewReader(unhex(t,
		"4002 c000000000000003 474554 40056874747073 8000000161 012f 4001 78 4001 79 4000 4001 7a 80000000 c000000000000000")), Limits{}))
	want := request{&RequestHead{Method: "GET", Scheme: "https", Authority: "a", Path: "/", Header: http.Header{"X": {"y"}}}, "z", nil}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestDocExample holds the example in doc.go to the code.
func TestDocExample(t *testing.T) {
	b, err := appendRequest(nil, request{
		Head:    &RequestHead{Method: "POST", Scheme: "https", Authority: "api.example.com", Path: "/v1", Header: http.Header{"Accept": {"*/*"}}},
		Content: "hi", Trailer: http.Header{"X-Sum": {"7"}},
	})
	if want := unhex(t, `02 04504f5354 056874747073 0f6170692e6578616d706c65 2e636f6d 032f7631 06616363657074 032a2f2a 00
		026869 00 05782d73756d 0137 00`); err != nil || !bytes.Equal(b, want) {
		t.Errorf("request %x, %v; want %x", b, err, want)
	}
	b, err = appendResponse0(nil, response{Heads: []*ResponseHead{{Status: 103}, {Status: 204}}})
	if want := unhex(t, "03 4067 00 40cc 00 00 00"); err != nil || !bytes.Equal(b, want) {
		t.Errorf("response %x, %v; want %x", b, err, want)
	}
}

func TestCanonicalNames(t *testing.T) {
	for lower, name := range canonicalNames {
		if lower != strings.ToLower(name) || name != http.CanonicalHeaderKey(name) {
			t.Errorf("%s is not the canonical form of %s", name, lower)
		}
	}
}
