package h1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/testkit/smuggling"
)

// judgeAll reads a connection in pieces of n bytes and says what was in doubt.
func judgeAll(raw string, n int) error {
	r := Requests{MaxHead: 64 << 10}
	for len(raw) > 0 {
		k := min(n, len(raw))
		if err := r.Read([]byte(raw[:k])); err != nil {
			return err
		}
		raw = raw[k:]
	}
	return r.Doubt()
}

func TestTheCorpus(t *testing.T) {
	for _, c := range smuggling.Corpus() {
		t.Run(c.String(), func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 7, 1 << 20} {
				if err := judgeAll(c.Raw, n); (err == nil) != c.Good {
					t.Errorf("in pieces of %d: %v, want good: %v", n, err, c.Good)
				}
			}
			if c.Good {
				if got := read(c.Raw); got != c.Requests {
					t.Errorf("net/http reads %d requests, want %d", got, c.Requests)
				}
			}
		})
	}
}

// read counts the requests that net/http reads of a connection, content included.
func read(raw string) (n int) {
	for r := bufio.NewReader(strings.NewReader(raw)); ; n++ {
		req, err := http.ReadRequest(r)
		if err != nil {
			return n
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return n
		}
	}
}

func TestTooManyFields(t *testing.T) {
	head := "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: 1\r\n", MaxFields)
	if err := judgeAll(head+"\r\n", 4096); !errors.Is(err, ErrTooManyFields) {
		t.Errorf("%v, want %v", err, ErrTooManyFields)
	}
}

// A head beyond the limit must not go by without a judgement: the parser behind may take a little more.
func TestAHeadThatIsTooLarge(t *testing.T) {
	for _, n := range []int{1, 100, 1 << 20} {
		r := Requests{MaxHead: 1000}
		raw := "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 1000) + "\r\n\r\n"
		for len(raw) > 0 {
			k := min(n, len(raw))
			if err := r.Read([]byte(raw[:k])); err != nil {
				t.Fatal(err)
			}
			raw = raw[k:]
		}
		if !errors.Is(r.Doubt(), ErrTooLarge) {
			t.Errorf("in pieces of %d: %v, want %v", n, r.Doubt(), ErrTooLarge)
		}
	}
}

func TestWhatIsNoHTTP1IsNotJudged(t *testing.T) {
	for _, n := range []int{1, 5, 100} {
		if err := judgeAll(string(preface)+"\x00\x00\x00\x04\x00\x00\x00\x00\x00", n); err != nil {
			t.Errorf("HTTP/2: %v", err)
		}
	}
	r := Requests{MaxHead: 100}
	r.Stop()
	if err := r.Read([]byte("raw\nbytes\n\n")); err != nil || r.Doubt() != nil {
		t.Errorf("after Stop: %v, %v", err, r.Doubt())
	}
}

// FuzzRequests: how the bytes are cut into pieces makes no difference, and of what is not in doubt net/http reads as many
// requests as are there: nobody behind us can find one more.
func FuzzRequests(f *testing.F) {
	for _, c := range smuggling.Corpus() {
		f.Add([]byte(c.Raw), uint8(3))
	}
	f.Fuzz(func(t *testing.T, raw []byte, n uint8) {
		whole := judgeAll(string(raw), 1<<20)
		if pieces := judgeAll(string(raw), int(n)+1); (whole == nil) != (pieces == nil) {
			t.Fatalf("whole: %v, in pieces of %d: %v", whole, int(n)+1, pieces)
		}
		if whole != nil || bytes.HasPrefix(raw, []byte("PRI")) {
			return
		}
		r := Requests{MaxHead: 1 << 20}
		if err := r.Read(raw); err != nil {
			t.Fatal(err)
		}
		if got := read(string(raw)); got > r.heads {
			t.Errorf("net/http reads %d requests of what holds %d", got, r.heads)
		}
	})
}
