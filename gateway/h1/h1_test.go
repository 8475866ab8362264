package h1

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
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

// The corpus is worth its name (T-D3).
func TestTheCorpusIsLarge(t *testing.T) {
	families := map[string]int{}
	for _, c := range smuggling.Corpus() {
		families[c.Family]++
	}
	for _, f := range []string{"plain", "pipelining", "CL.TE", "TE.TE", "CL", "CL.CL", "names that frame", "control bytes", "line feeds alone", "folded lines", "chunk sizes", "chunks", "trailers", "targets", "Host", "request lines", "names"} {
		if families[f] == 0 {
			t.Errorf("no payload of the family %s", f)
		}
	}
	if n := len(smuggling.Corpus()); n < 300 {
		t.Errorf("%d payloads, want at least 300", n)
	}
}

var streams = flag.Int("streams", 300_000, "mutated streams to read; T-D3 asks for 1,000,000")

// TestMutatedStreams: of what we let pass, three readers see the same requests: ours, net/http's, and a strict one that has
// nothing in common with either. net/http may refuse more (T-D3).
func TestMutatedStreams(t *testing.T) {
	mutants := smuggling.NewMutator(rand.New(rand.NewPCG(1, 2)))
	passed, found := 0, 0
	for range *streams {
		raw := mutants.Next()
		r := Requests{MaxHead: 64 << 10}
		if r.Read(raw) != nil || r.Doubt() != nil || bytes.HasPrefix(raw, []byte("PRI")) {
			continue
		}
		passed++
		want, err := smuggling.Read(raw)
		if errors.Is(err, smuggling.ErrStrict) && r.state == inHead && len(r.kept) == 0 { // else we have not seen the end of it
			t.Fatalf("a strict reader refuses what passes: %q", raw)
		}
		heads := len(want)
		if err != nil && r.heads == heads+1 {
			heads++ // the head was whole, its content is not
		}
		if r.heads != heads {
			t.Fatalf("%d heads were seen, a strict reader sees %d requests: %q", r.heads, heads, raw)
		}
		got := bodies(string(raw))
		if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			t.Fatalf("net/http reads %q, a strict reader %q: %q", got, want, raw)
		}
		found += len(got)
	}
	if passed < *streams/100 || found == 0 {
		t.Errorf("of %d streams %d passed, with %d requests: too few to say anything", *streams, passed, found)
	}
	t.Logf("%d of %d streams passed, with %d requests", passed, *streams, found)
}

// bodies are those of the requests that net/http reads whole.
func bodies(raw string) (all []string) {
	for r := bufio.NewReader(strings.NewReader(raw)); ; {
		req, err := http.ReadRequest(r)
		if err != nil {
			return all
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return all
		}
		all = append(all, string(body))
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
