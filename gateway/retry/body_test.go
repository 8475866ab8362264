package retry_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"penstock.dev/penstock/gateway/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rewind is a new attempt's reader.
func rewind(t testing.TB, b *retry.Body) io.ReadCloser {
	t.Helper()
	r, err := b.Rewind()
	if err != nil {
		t.Fatalf("Rewind: %v", err)
	}
	return r
}

func TestEachAttemptReadsTheSameBytes(t *testing.T) {
	b := retry.NewBody(iotest.OneByteReader(strings.NewReader("hello, world")), 0, nil)
	first := rewind(t, b)
	if _, err := io.ReadFull(first, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	second, err := io.ReadAll(rewind(t, b))
	if string(second) != "hello, world" || err != nil {
		t.Errorf("second attempt: %q, %v", second, err)
	}
	third, err := io.ReadAll(rewind(t, b))
	if string(third) != "hello, world" || err != nil {
		t.Errorf("third attempt: %q, %v", third, err)
	}
	if n, err := first.Read(make([]byte, 1)); n != 0 || !errors.Is(err, retry.ErrSuperseded) {
		t.Errorf("the first attempt still reads: %d, %v", n, err)
	}
}

func TestNoBodyStaysNoBody(t *testing.T) {
	for _, src := range []io.Reader{nil, http.NoBody} {
		b := retry.NewBody(src, 0, nil)
		if r := rewind(t, b); r != http.NoBody {
			t.Errorf("NewBody(%v) reads from a %T", src, r)
		}
		if b.Lost() {
			t.Error("no body is never lost")
		}
	}
}

func TestPastTheLimitTheRequestIsCommitted(t *testing.T) { // row 29
	data := strings.Repeat("x", 100_000)
	for _, tc := range []struct {
		name  string
		limit int
		read  int
		lost  bool
	}{
		{"by default up to 64 KiB can be repeated", 0, 40_000, false},
		{"and not beyond", 0, 90_000, true},
		{"up to an own limit", 100_000, 99_000, false},
		{"nothing with a negative one", -1, 1000, true},
		{"nothing is lost of what was not read", -1, 0, false},
	} {
		b := retry.NewBody(strings.NewReader(data), tc.limit, nil)
		r := rewind(t, b)
		if _, err := io.ReadFull(r, make([]byte, tc.read)); err != nil {
			t.Fatal(err)
		}
		if b.Lost() != tc.lost {
			t.Errorf("%s: lost %t", tc.name, b.Lost())
		}
		rest, err := io.ReadAll(r)
		if len(rest) != len(data)-tc.read || err != nil {
			t.Errorf("%s: the attempt under way gets %d more bytes, %v; want all", tc.name, len(rest), err)
		}
		if _, err := b.Rewind(); b.Lost() != errors.Is(err, retry.ErrLost) {
			t.Errorf("%s: Rewind after the end: %v", tc.name, err)
		}
	}
}

func TestTheLimitHasACeiling(t *testing.T) {
	b := retry.NewBody(bytes.NewReader(make([]byte, 3<<20)), 2<<20, nil)
	if _, err := io.ReadFull(rewind(t, b), make([]byte, 3<<20)); err != nil {
		t.Fatal(err)
	}
	if !b.Lost() {
		t.Error("more than 1 MiB was kept")
	}
}

func TestThePoolIsSharedAndGivenBack(t *testing.T) {
	pool := retry.NewPool(100)
	one := retry.NewBody(strings.NewReader(strings.Repeat("x", 80)), 0, pool)
	if _, err := io.ReadAll(rewind(t, one)); err != nil {
		t.Fatal(err)
	}
	two := retry.NewBody(strings.NewReader(strings.Repeat("y", 80)), 0, pool)
	if data, err := io.ReadAll(rewind(t, two)); len(data) != 80 || err != nil {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	if one.Lost() || !two.Lost() {
		t.Errorf("lost: %t, %t; want the second, for which no memory was left", one.Lost(), two.Lost())
	}
	if pool.Used() != 80 {
		t.Errorf("%d bytes taken, want 80", pool.Used())
	}
	_ = one.Close()
	_ = two.Close()
	if pool.Used() != 0 {
		t.Errorf("%d bytes taken after Close", pool.Used())
	}
}

func TestReleaseDropsWhatWasPassed(t *testing.T) {
	pool := retry.NewPool(0)
	b := retry.NewBody(io.MultiReader(strings.NewReader("head"), strings.NewReader("rest")), 0, pool)
	r := rewind(t, b)
	if _, err := io.ReadFull(r, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	b.Release()
	if b.Held() != 0 || pool.Used() != 0 || !b.Lost() {
		t.Errorf("held %d, used %d, lost %t after Release", b.Held(), pool.Used(), b.Lost())
	}
	if rest, err := io.ReadAll(r); string(rest) != "rest" || err != nil {
		t.Errorf("the attempt under way gets %q, %v", rest, err)
	}
	if b.Held() != 0 || pool.Used() != 0 {
		t.Errorf("held %d, used %d at the end", b.Held(), pool.Used())
	}
}

// source blocks in each Read until something is sent.
type source struct {
	data   chan string
	closed bool
}

func (s *source) Read(p []byte) (int, error) {
	data, ok := <-s.data
	if !ok {
		return 0, io.EOF
	}
	return copy(p, data), nil
}

func (s *source) Close() error {
	s.closed = true
	return nil
}

func TestAReaderThatIsGivenUpEndsAtOnceAndLosesNothing(t *testing.T) {
	for _, tc := range []struct {
		name   string
		giveUp func(b *retry.Body, r io.Closer) error
	}{
		{"by Close", func(_ *retry.Body, r io.Closer) error { return r.Close() }},
		{"by Rewind", func(b *retry.Body, _ io.Closer) error { _, err := b.Rewind(); return err }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := &source{data: make(chan string)}
				b := retry.NewBody(src, 0, nil)
				first := rewind(t, b)
				ended := make(chan error)
				go func() {
					_, err := first.Read(make([]byte, 10))
					ended <- err
				}()
				synctest.Wait() // blocked in the source
				if err := tc.giveUp(b, first); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; !errors.Is(err, retry.ErrSuperseded) {
					t.Errorf("the blocked read ended with %v", err)
				}
				if !b.Reading() {
					t.Error("the read of the source is still under way, and Reading is to say so")
				}
				src.data <- "hello"
				close(src.data)
				if got, err := io.ReadAll(rewind(t, b)); string(got) != "hello" || err != nil {
					t.Errorf("the next attempt reads %q, %v", got, err)
				}
				if src.closed {
					t.Error("the workload's body was closed")
				}
			})
		})
	}
}

func TestLateBytesPastTheLimitStillReachTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{data: make(chan string)}
		b := retry.NewBody(src, 6, nil)
		first := rewind(t, b)
		go func() { _, _ = io.Copy(io.Discard, first) }()
		src.data <- "12345"
		synctest.Wait()
		second := rewind(t, b) // while the first one's read of the source is pending
		src.data <- "67890"
		close(src.data)
		synctest.Wait()
		if got, err := io.ReadAll(second); string(got) != "1234567890" || err != nil {
			t.Errorf("the second attempt reads %q, %v", got, err)
		}
		if !b.Lost() {
			t.Error("10 bytes were kept with a limit of 6")
		}
	})
}

func TestAnUntouchedBodySaysSo(t *testing.T) {
	b := retry.NewBody(strings.NewReader("x"), 0, nil)
	r := rewind(t, b)
	if !b.Untouched() {
		t.Error("touched before the first Read")
	}
	_, _ = r.Read(make([]byte, 1))
	if b.Untouched() {
		t.Error("untouched after a Read")
	}
	if !retry.Interruptible(r) || retry.Interruptible(strings.NewReader("")) {
		t.Error("Interruptible knows its own readers and no others")
	}
}

func TestAnErrorOfTheSourceReachesEveryAttempt(t *testing.T) {
	broken := errors.New("broken")
	b := retry.NewBody(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), 0, nil)
	for range 2 {
		if got, err := io.ReadAll(rewind(t, b)); string(got) != "abc" || !errors.Is(err, broken) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// TestAnyPatternGivesTheSameBytes is the property of the Body: whatever the sizes of reads on either side, and whenever
// attempts are given up, each attempt sees a prefix of the source, and the last one all of it.
func TestAnyPatternGivesTheSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "data")
		limit := rapid.IntRange(-1, 6000).Draw(t, "limit")
		chunk := rapid.IntRange(1, 700).Draw(t, "chunk")
		pool := retry.NewPool(int64(rapid.IntRange(1, 6000).Draw(t, "pool")))
		b := retry.NewBody(&chunked{data: data, size: chunk, eof: rapid.Bool().Draw(t, "EOF with data")}, limit, pool)

		for range rapid.IntRange(0, 4).Draw(t, "attempts given up") {
			r, err := b.Rewind()
			if errors.Is(err, retry.ErrLost) {
				if !b.Lost() {
					t.Fatal("ErrLost although nothing is lost")
				}
				return
			}
			n := rapid.IntRange(0, len(data)).Draw(t, "read before")
			got := make([]byte, n)
			if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, data[:n]) {
				t.Fatalf("an attempt read other bytes, or %v", err)
			}
		}
		r, err := b.Rewind()
		if err != nil {
			return
		}
		got, err := io.ReadAll(&chunkedReader{r, rapid.IntRange(1, 3000).Draw(t, "read size")})
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(data), err)
		}
		_ = b.Close()
		if pool.Used() != 0 {
			t.Fatalf("%d bytes are still taken of the pool", pool.Used())
		}
	})
}

func FuzzBodyReplays(f *testing.F) {
	f.Add([]byte("hello, world"), uint16(5), uint16(3), uint8(4))
	f.Add([]byte(""), uint16(0), uint16(0), uint8(0))
	f.Add(bytes.Repeat([]byte("x"), 300), uint16(100), uint16(299), uint8(255))
	f.Fuzz(func(t *testing.T, data []byte, limit, before uint16, chunk uint8) {
		b := retry.NewBody(&chunked{data: data, size: int(chunk) + 1}, int(limit)+1, nil)
		first := rewind(t, b)
		got, err := io.ReadAll(io.LimitReader(first, int64(before)))
		if err != nil || !bytes.Equal(got, data[:min(len(data), int(before))]) {
			t.Fatalf("first attempt: %q, %v", got, err)
		}
		if b.Lost() {
			rest, err := io.ReadAll(first)
			if err != nil || !bytes.Equal(append(got, rest...), data) {
				t.Fatalf("a committed attempt lost bytes: %v", err)
			}
			return
		}
		again, err := io.ReadAll(rewind(t, b))
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("second attempt: %q, %v", again, err)
		}
	})
}

func TestReadersOfManyAttemptsAreSafeTogether(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 1000)
	b := retry.NewBody(&chunked{data: data, size: 100}, 1<<20, nil)
	var wg sync.WaitGroup
	for range 20 {
		r := rewind(t, b)
		wg.Go(func() {
			got, err := io.ReadAll(r)
			if !bytes.HasPrefix(data, got) {
				t.Error("other bytes")
			}
			if err != nil && !errors.Is(err, retry.ErrSuperseded) {
				t.Errorf("error %v", err)
			}
		})
	}
	wg.Wait()
}

// chunked gives data in pieces, the last one with io.EOF if eof.
type chunked struct {
	data []byte
	size int
	eof  bool
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.size)], c.data)
	c.data = c.data[n:]
	if c.eof && len(c.data) == 0 {
		return n, io.EOF
	}
	return n, nil
}

// chunkedReader reads in pieces of one size.
type chunkedReader struct {
	io.Reader
	size int
}

func (c *chunkedReader) Read(p []byte) (int, error) { return c.Reader.Read(p[:min(len(p), c.size)]) }
