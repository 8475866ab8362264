package h1

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"sync"
)

// Requests reads along with the requests of one connection, one after the other, content included. The zero value with a
// MaxHead is ready. Safe for concurrent use.
type Requests struct {
	// MaxHead is how many bytes a head may have.
	MaxHead int
	// MaxFields is how many fields a head may have [MaxFields].
	MaxFields int

	mu    sync.Mutex
	state state
	kept  []byte // of a head, or of a line of the chunked coding, that is not whole yet
	left  int64  // of content, or of a chunk
	doubt error
	first bool // the connection has begun
	heads int  // that were good
}

type state int

const (
	inHead state = iota
	inLength
	inChunkSize
	inChunk
	inChunkEnd
	inTrailers
	blind // not HTTP/1.1, or nothing can be said any more
)

// maxChunkLine bounds a line of the chunked coding: 16 hexadecimal digits. Chunk extensions are refused: nobody sends them
// in good faith, and readers skip them in different ways.
const maxChunkLine = 16

// preface is how HTTP/2 begins where it is known to be spoken (RFC 9113 §3.4).
var preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// Doubt is what is wrong with a head so far: ErrTooManyFields, ErrTooLarge, or what makes it malformed. It stays.
func (r *Requests) Doubt() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.doubt
}

// Read tells of bytes that came. An error means that the content of a request is malformed: its reader must not get them.
func (r *Requests) Read(p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(p) > 0 && r.state != blind {
		var err error
		if p, err = r.step(p); err != nil {
			r.doubt, r.state = err, blind
			return err
		}
	}
	return nil
}

// Stop ends the reading along: the connection is no HTTP any more.
func (r *Requests) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.kept = blind, nil
}

// Content reads along with the content of one answer in the chunked coding, its trailers included. Make it with NewContent.
// For use by one goroutine at a time.
type Content struct{ r Requests }

// NewContent begins behind the head. maxTrailers is how many bytes a trailer may have.
func NewContent(maxTrailers int) *Content {
	return &Content{Requests{MaxHead: maxTrailers, state: inChunkSize, first: true}}
}

// Read tells of bytes that came. An error, which stays, means that the content is malformed, or that something came behind it.
func (c *Content) Read(p []byte) error {
	r := &c.r
	for len(p) > 0 && r.doubt == nil {
		if r.state == inHead {
			r.doubt = errors.New("bytes behind the end of the content")
			break
		}
		p, r.doubt = r.step(p)
	}
	return r.doubt
}

// step takes some of p and returns the rest.
func (r *Requests) step(p []byte) ([]byte, error) {
	switch r.state {
	case inHead:
		return r.head(p), nil
	case inLength, inChunk:
		n := min(int64(len(p)), r.left)
		if r.left -= n; r.left == 0 {
			r.state = map[state]state{inLength: inHead, inChunk: inChunkEnd}[r.state]
		}
		return p[n:], nil
	case inChunkSize, inChunkEnd, inTrailers:
		return r.line(p)
	}
	return nil, nil
}

// head collects a head and judges it. Doubt about a head is kept, not returned: whoever reads the requests answers it.
func (r *Requests) head(p []byte) []byte {
	if !r.first {
		r.kept = append(r.kept, p...)
		if n := min(len(r.kept), len(preface)); bytes.Equal(r.kept[:n], preface[:n]) {
			if n == len(preface) {
				r.state, r.kept = blind, nil
			}
			return nil
		}
		p, r.kept, r.first = r.kept, nil, true
	}
	from := max(len(r.kept)-3, 0)
	r.kept = append(r.kept, p...)
	// Where any reader would see the end: the line before it need not end as it should.
	end := bytes.Index(r.kept[from:], []byte("\n\r\n"))
	bare := bytes.Index(r.kept[from:], []byte("\n\n"))
	switch {
	case bare >= 0 && (end < 0 || bare < end):
		r.doubt, r.state = errors.New("a line does not end in CR LF"), blind
		return nil
	case end < 0:
		if len(r.kept) > r.MaxHead {
			r.doubt, r.state, r.kept = ErrTooLarge, blind, nil
		}
		return nil
	}
	end += from + 3
	if end > r.MaxHead {
		r.doubt, r.state, r.kept = ErrTooLarge, blind, nil
		return nil
	}
	framing, err := Request(r.kept[:end], cmp.Or(r.MaxFields, MaxFields))
	rest := bytes.Clone(r.kept[end:])
	r.kept = r.kept[:0]
	switch {
	case err != nil:
		r.doubt, r.state = err, blind
		return nil
	case framing.Chunked:
		r.state = inChunkSize
	case framing.Length > 0:
		r.state, r.left = inLength, framing.Length
	}
	r.heads++
	return rest
}

// line collects a line of the chunked coding and judges it.
func (r *Requests) line(p []byte) ([]byte, error) {
	limit := maxChunkLine + 2
	if r.state == inTrailers {
		limit = r.MaxHead
	}
	n := bytes.IndexByte(p, '\n') + 1
	if n == 0 {
		n = len(p)
	}
	r.kept = append(r.kept, p[:n]...)
	whole := len(r.kept) > 0 && r.kept[len(r.kept)-1] == '\n'
	if !whole && len(r.kept) <= limit {
		return nil, nil
	}
	line, crlf := bytes.CutSuffix(r.kept, []byte("\r\n"))
	if !whole || !crlf || hasControl(line) {
		return nil, errors.New("a line of the chunked coding is too long, or does not end in CR LF")
	}
	err := r.judge(line)
	r.kept = r.kept[:0]
	return p[n:], err
}

func (r *Requests) judge(line []byte) error {
	switch r.state {
	case inChunkEnd:
		if len(line) > 0 {
			return errors.New("a chunk is longer than its size")
		}
		r.state = inChunkSize
	case inChunkSize:
		size, err := chunkSize(line)
		if err != nil {
			return err
		}
		r.state, r.left = inChunk, size
		if size == 0 {
			r.state = inTrailers
		}
	case inTrailers:
		if len(line) == 0 {
			r.state = inHead
			return nil
		}
		name, _, ok := bytes.Cut(line, []byte(":"))
		if !ok || !Token(string(name)) {
			return errors.New("a trailer without a name that is one")
		}
		if frames(string(name)) {
			return fmt.Errorf("trailer %s frames the message", bytes.ToLower(name))
		}
	}
	return nil
}

// chunkSize reads hexadecimal digits and nothing else: no sign, no prefix, no extension, no space.
func chunkSize(line []byte) (n int64, err error) {
	if len(line) == 0 || len(line) > maxChunkLine {
		return 0, errors.New("a chunk size that is no number")
	}
	for _, c := range line {
		d := int64(-1)
		switch {
		case '0' <= c && c <= '9':
			d = int64(c - '0')
		case 'a' <= c && c <= 'f':
			d = int64(c-'a') + 10
		case 'A' <= c && c <= 'F':
			d = int64(c-'A') + 10
		}
		if d < 0 || n > 1<<58 {
			return 0, errors.New("a chunk size that is no number")
		}
		n = n<<4 | d
	}
	return n, nil
}
