package retry

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// What reading or rewinding a Body may fail with; test with errors.Is.
var (
	// ErrSuperseded: the reader belongs to an attempt that was given up, or was closed.
	ErrSuperseded = errors.New("retry: this attempt was given up")
	// ErrLost: bytes of the body were read and are not held any more.
	ErrLost = errors.New("retry: the body was read beyond the replay buffer; the request cannot be repeated")
)

// chunkBytes is the most that one read of the source takes.
const chunkBytes = 32 << 10

var chunks = sync.Pool{New: func() any { return new([chunkBytes]byte) }}

// Body is the replay buffer of one request (HOPS-AND-RETRIES B.4). It keeps what attempts read of the workload's body,
// so that the next attempt can send the same bytes from the start, until a limit is passed, the process's Pool is
// spent, or Release says that no attempt will follow; from then on it passes bytes through and keeps none.
//
// Each attempt gets its own reader from Rewind, which supersedes the one before. The source is read only on demand,
// one read ahead of nobody, and never closed: it is the workload's. A read of it runs in a goroutine of its own, so
// that closing or superseding a reader ends a pending Read at once; the bytes that the source then still delivers are
// kept for the next reader, not lost. That goroutine ends with the one read it makes: when the source delivers, ends
// or is closed by its owner. See Reading.
//
// Safe for concurrent use.
type Body struct {
	src   io.Reader // nil: no body
	limit int
	pool  *Pool

	mu   sync.Mutex
	wake sync.Cond // something below changed

	// buf holds the bytes [start, start+len(buf)) of the body; err is what comes after them.
	buf   []byte
	start int64
	err   error
	// loan is the chunk that buf lies in, once nothing is kept: passing bytes through then allocates nothing.
	loan *[chunkBytes]byte
	// taken of the pool.
	taken int
	// committed: bytes that the current reader has passed are dropped.
	committed bool
	reading   bool // a read of src is under way
	current   *bodyReader
}

// NewBody makes a Body for src, which may be nil. limit is the most bytes to keep: 0 means DefaultBodyBytes, more than
// MaxBodyBytes means that, less than 0 nothing. A nil pool bounds nothing beyond that.
func NewBody(src io.Reader, limit int, pool *Pool) *Body {
	switch {
	case limit == 0:
		limit = DefaultBodyBytes
	case limit > MaxBodyBytes:
		limit = MaxBodyBytes
	}
	if src == http.NoBody {
		src = nil
	}
	b := &Body{src: src, limit: limit, pool: pool}
	b.wake.L = &b.mu
	return b
}

// Rewind supersedes the reader of the attempt before and returns one that starts at the first byte: http.NoBody for a
// request without body, so that it stays one on the wire. The error is ErrLost. The first attempt calls it too.
func (b *Body) Rewind() (io.ReadCloser, error) {
	if b.src == nil {
		return http.NoBody, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = nil
	b.wake.Broadcast()
	if b.start > 0 {
		return nil, ErrLost
	}
	b.current = &bodyReader{body: b}
	return b.current, nil
}

// Lost reports whether bytes were read that are not held any more, so that no attempt can follow.
func (b *Body) Lost() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.start > 0
}

// Untouched reports whether nothing was ever read of the source.
func (b *Body) Untouched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.start == 0 && len(b.buf) == 0 && b.err == nil && !b.reading
}

// Held is the number of bytes in memory.
func (b *Body) Held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.buf)
}

// Reading reports whether a read of the source is under way. A server that is done with such a request should end that
// read (a deadline on the connection does) before it returns from the handler.
func (b *Body) Reading() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reading
}

// Release says that no attempt will follow the current one: response headers have arrived. What the reader has passed
// is dropped now, the rest as it is read.
func (b *Body) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.commit()
}

// Close ends the current reader and gives all memory back. The source is left alone. It may be called more than once.
func (b *Body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = nil
	b.committed = true
	b.drop(len(b.buf))
	b.wake.Broadcast()
	return nil
}

// commit stops keeping. Called with mu held.
func (b *Body) commit() {
	b.committed = true
	if b.current != nil {
		b.drop(int(b.current.off - b.start))
	}
}

// drop forgets the first n bytes held. Called with mu held.
func (b *Body) drop(n int) {
	b.start += int64(n)
	if n < len(b.buf) {
		b.buf = b.buf[n:]
		return
	}
	b.buf = nil
	if b.loan != nil {
		chunks.Put(b.loan)
		b.loan = nil
	}
	if b.pool != nil {
		b.pool.give(b.taken)
	}
	b.taken = 0
}

// fill makes one read of the source. It runs in its own goroutine.
func (b *Body) fill() {
	chunk := chunks.Get().(*[chunkBytes]byte)
	n, err := b.src.Read(chunk[:])

	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.err = err
	switch {
	case n > 0 && b.committed && len(b.buf) == 0:
		b.buf, b.loan = chunk[:n], chunk
	default:
		b.keep(chunk[:n])
		chunks.Put(chunk)
	}
	b.wake.Broadcast()
}

// keep appends what was read. Past a limit the request is committed; the bytes stay until the reader has passed them.
// Called with mu held.
func (b *Body) keep(p []byte) {
	switch {
	case len(p) == 0:
		return
	case b.committed:
	case len(b.buf)+len(p) > b.limit, b.pool != nil && !b.pool.take(len(p)):
		b.commit()
	case b.pool != nil:
		b.taken += len(p)
	}
	b.buf = append(b.buf, p...)
}

// bodyReader is what one attempt reads. Its fields are guarded by the Body's mu.
type bodyReader struct {
	body *Body
	off  int64
}

// Read implements io.Reader. It fails with ErrSuperseded as soon as the reader is superseded or closed, and then takes
// nothing more.
func (r *bodyReader) Read(p []byte) (int, error) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch at := int(r.off - b.start); {
		case b.current != r:
			return 0, ErrSuperseded
		case len(p) == 0:
			return 0, nil
		case at < len(b.buf):
			n := copy(p, b.buf[at:])
			r.off += int64(n)
			if b.committed {
				b.drop(at + n)
			}
			return n, nil
		case b.err != nil:
			return 0, b.err
		}
		if !b.reading {
			b.reading = true
			go b.fill()
		}
		b.wake.Wait()
	}
}

// Close gives the attempt's reader up and wakes a pending Read. The Body and the workload's body stay open.
func (r *bodyReader) Close() error {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	if r.body.current == r {
		r.body.current = nil
		r.body.wake.Broadcast()
	}
	return nil
}

// Interruptible reports whether r comes from Rewind: closing it, from any goroutine, ends a pending Read at once. Of
// other bodies that is not known.
func Interruptible(r io.Reader) bool {
	_, ok := r.(*bodyReader)
	return ok
}
