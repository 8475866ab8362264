package bhttp

import (
	"bytes"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fuzzLimits are small, so that the fuzzer reaches them.
var fuzzLimits = Limits{HeadBytes: 2 << 10, Fields: 16}

// pieces hands out a stream in pieces whose sizes repeat.
type pieces struct {
	b     []byte
	sizes []byte
	i     int
}

func (s *pieces) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := min(len(p), len(s.b))
	if len(s.sizes) > 0 {
		n = min(n, 1+int(s.sizes[s.i%len(s.sizes)]))
		s.i++
	}
	copy(p, s.b[:n])
	s.b = s.b[n:]
	return n, nil
}

// readAll reads messages until one fails and returns the error with them.
func readAll[M any](t *testing.T, r *Reader, read func(*Reader) (M, error)) (all []M, err error) {
	for {
		m, err := read(r)
		if len(r.buf) > 2*(fuzzLimits.HeadBytes+firstBuffer) {
			t.Fatalf("buffer of %d bytes", len(r.buf))
		}
		if err != nil {
			return all, err
		}
		all = append(all, m)
		if r.state == inRaw {
			return all, nil
		}
	}
}

// fuzz asserts that arrival in pieces changes nothing, and that what was read can be written and reads the same.
func fuzz[M any](t *testing.T, b, sizes []byte, read func(*Reader) (M, error), write func([]byte, M) ([]byte, error)) {
	whole, wholeErr := readAll(t, NewReader(bytes.NewReader(b), fuzzLimits), read)
	parts, partsErr := readAll(t, NewReader(&pieces{b: b, sizes: sizes}, fuzzLimits), read)
	if diff := cmp.Diff(whole, parts); diff != "" {
		t.Fatalf("in pieces it reads otherwise:\n%s", diff)
	}
	if (wholeErr == nil) != (partsErr == nil) || wholeErr != nil && wholeErr.Error() != partsErr.Error() {
		t.Fatalf("in pieces the error is %v, at once %v", partsErr, wholeErr)
	}
	var out []byte
	for _, m := range whole {
		var err error
		if out, err = write(out, m); err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", m, err)
		}
	}
	again, err := readAll(t, NewReader(bytes.NewReader(out), fuzzLimits), read)
	if diff := cmp.Diff(whole, again); diff != "" {
		t.Fatalf("written and read again (%v):\n%s", err, diff)
	}
}

func FuzzRequest(f *testing.F) {
	stream, _ := exchangeBytes(f)
	for _, seed := range [][]byte{
		unhex(f, rfcRequest), unhex(f, rfcKnownRequest), stream[:200], nil,
		rawRequest("GET", "https", "a", "/", line{"x", "y"}, line{"x", "z"}, line{"host", "a"}),
		rawRequest("CONNECT", "https", "a", "/chat", line{":protocol", "websocket"}),
		rawRequest("CONNECT", "", "a:443", ""), rawRequest("OPTIONS", "http", "a", "*"),
		rawRequest("POST", "https", "a", "/", line{"content-length", "1"}),
		append(rawRequest("GET", "https", "a", "/", line{"te", "trailers"}), rawRequest("GET", "https", "b", "/")...),
		append([]byte{framingRequest}, appendVarint(nil, maxVarint)...),
	} {
		f.Add(seed, []byte{0})
		f.Add(seed, []byte{1, 0, 40})
	}
	f.Fuzz(func(t *testing.T, b, sizes []byte) { fuzz(t, b, sizes, readRequest, appendRequest) })
}

func FuzzResponse(f *testing.F) {
	for _, seed := range [][]byte{
		unhex(f, rfcResponse), unhex(f, rfcKnownResponse), nil, rawResponse(200, line{"content-length", "5"}),
		append(rawResponse(103)[:4], rawResponse(101)[1:]...), rawResponse(204), rawResponse(600),
		append(rawResponse(200, line{"vary", "x"}), rawResponse(404)...),
		append(rawSection([]byte{3, 0x40, 200}, []line{{"content-length", "2"}}), 1, 'h', 1, 'i', 0, 1, 'x', 0, 0),
	} {
		f.Add(seed, []byte{0})
		f.Add(seed, []byte{1, 0, 40})
	}
	f.Fuzz(func(t *testing.T, b, sizes []byte) { fuzz(t, b, sizes, readResponse, appendResponse0) })
}
