package bhttp

import (
	"errors"
	"io"
	"net/http"
)

const (
	// firstBuffer holds the head and content of most exchanges.
	firstBuffer = 4 << 10
	// keptBuffer is the most that a Reader keeps between messages: leased streams are idle for long.
	keptBuffer = 16 << 10
	// maxEmptyReads of a source in a row, as bufio has it.
	maxEmptyReads = 100
)

// state of a Reader: what the next byte is.
type state int

const (
	atStart   state = iota // framing indicator
	inHeads                // status of the response after an informational one
	inContent              // chunk length, or chunk bytes while chunk > 0
	inTrailer              // field line of the trailer section
	inRaw                  // not ours any more
)

// errOrder is a mistake of our own, not of the peer.
var errOrder = errors.New("bhttp: calls out of order: a head, its content to io.EOF, then the next head")

// Reader decodes the messages of one direction of a stream, one after the other. Not safe for concurrent use.
//
// Order of calls per message: ReadRequestHead or ReadResponseHead (the latter until Status >= 200, or 101), then Read
// until io.EOF, then Trailer. The next message may then be read from the same Reader.
//
// A malformed message is an *Error, and so is every call after it, since the next message cannot be found any more. An
// error of the source comes out unchanged, io.EOF within a message as io.ErrUnexpectedEOF; if it was a passed deadline,
// the same call may be made again and goes on where it stopped.
type Reader struct {
	src   io.Reader
	lim   Limits
	state state
	err   *Error // sticky

	buf             []byte
	start, pos, end int   // buf[start:pos] is the section being parsed, buf[pos:end] is unread
	off             int64 // of pos in the message

	names map[string]string // learned; lower case to canonical

	// The section being parsed.
	fields []field
	size   int // decoded, against Limits.HeadBytes

	// The message being read.
	request bool
	chunk   uint64 // unread bytes of the current chunk
	length  int64  // declared by content-length; -1: not
	content int64  // bytes of content so far
	trailer http.Header
}

// field is a line of the section being parsed, as offsets from Reader.start.
type field struct{ name, value span }

// NewReader reads from r with an own buffer, made at the first read.
func NewReader(r io.Reader, lim Limits) *Reader {
	return &Reader{src: r, lim: lim.withDefaults(), length: -1}
}

// Begun reports whether a byte of the current message (the one being read or to be read next) has arrived. A message is
// current until Read returned io.EOF for it.
func (r *Reader) Begun() bool { return r.off > 0 || r.pos > r.start || r.end > r.pos }

// Read reads content. io.EOF: the content and the trailer section were read whole. io.ErrUnexpectedEOF: truncated.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	switch r.state {
	case atStart:
		return 0, io.EOF
	case inHeads, inRaw:
		return 0, errOrder
	}
	if len(p) == 0 {
		return 0, nil
	}
	for r.state == inContent {
		if r.chunk > 0 {
			return r.readChunk(p)
		}
		if err := r.nextChunk(); err != nil {
			return 0, err
		}
	}
	if err := r.readTrailer(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

// readChunk copies what is buffered, or lets the source write into p: no chunk is copied twice.
func (r *Reader) readChunk(p []byte) (int, error) {
	if uint64(len(p)) > r.chunk {
		p = p[:r.chunk]
	}
	if r.pos == r.end {
		if len(p) < firstBuffer {
			// Read ahead: what follows a small chunk then costs no read of its own, nor does each byte of a caller
			// that reads byte by byte.
			if err := r.fill(); err != nil {
				return 0, truncated(err)
			}
		} else {
			n, err := r.src.Read(p)
			r.taken(n)
			if n > 0 {
				err = nil // it comes again with the next read
			}
			return n, truncated(err)
		}
	}
	n := copy(p, r.buf[r.pos:r.end])
	r.pos += n
	r.start = r.pos
	r.taken(n)
	return n, nil
}

func (r *Reader) taken(n int) {
	r.chunk -= uint64(n)
	r.content += int64(n)
	r.off += int64(n)
}

// nextChunk reads the length of the next chunk, or the end of the content.
func (r *Reader) nextChunk() error {
	n, err := r.varint()
	if err != nil {
		return r.again(err)
	}
	over := r.length >= 0 && n > uint64(r.length-r.content)
	// The answer to HEAD, and 304, declare the length of what they do not carry (RFC 9110 §8.6).
	short := n == 0 && r.length > r.content && (r.request || r.content > 0)
	if over || short {
		return r.malformed("content is not as long as content-length says")
	}
	r.commit()
	r.chunk = n
	if n == 0 {
		r.state = inTrailer
	}
	return nil
}

func (r *Reader) readTrailer() error {
	if err := r.section(trailer); err != nil {
		return r.again(err)
	}
	if len(r.fields) > 0 {
		r.trailer = r.header(string(r.buf[r.start:r.pos]))
	}
	r.commit()
	r.state, r.off = atStart, 0
	if r.pos == r.end && len(r.buf) > keptBuffer {
		r.buf, r.start, r.pos, r.end = nil, 0, 0, 0
	}
	return nil
}

// Trailer of the message just read to io.EOF; nil if there was none.
func (r *Reader) Trailer() http.Header { return r.trailer }

// Raw is the rest of the stream, not decoded: what follows a 101, a 2xx to CONNECT, or on the other direction the
// request that was answered so. The Reader must not be used after it.
func (r *Reader) Raw() io.Reader {
	rest := r.buf[r.pos:r.end]
	r.state, r.buf, r.start, r.pos, r.end = inRaw, nil, 0, 0, 0
	if len(rest) == 0 {
		return r.src
	}
	return &rawReader{rest: rest, src: r.src}
}

// rawReader is io.MultiReader without its habit of keeping what was read.
type rawReader struct {
	rest []byte
	src  io.Reader
}

func (r *rawReader) Read(p []byte) (int, error) {
	if len(r.rest) > 0 {
		n := copy(p, r.rest)
		if r.rest = r.rest[n:]; len(r.rest) == 0 {
			r.rest = nil
		}
		return n, nil
	}
	return r.src.Read(p)
}

// need makes sure that n bytes are buffered from pos on. Its errors are the source's.
func (r *Reader) need(n int) error {
	for r.end-r.pos < n {
		if err := r.fill(); err != nil {
			return err
		}
	}
	return nil
}

// fill reads once more into the buffer. The buffer grows with what has arrived, not with what was announced.
func (r *Reader) fill() error {
	if r.start == r.end {
		r.start, r.pos, r.end = 0, 0, 0
	}
	if r.end == len(r.buf) {
		to := r.buf
		if r.end-r.start > len(r.buf)/2 || r.buf == nil {
			to = make([]byte, max(firstBuffer, 2*len(r.buf)))
		}
		copy(to, r.buf[r.start:r.end])
		r.buf, r.start, r.pos, r.end = to, 0, r.pos-r.start, r.end-r.start
	}
	for range maxEmptyReads {
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		if n > 0 {
			return nil // an error comes again with the next read
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// varint reads a number.
func (r *Reader) varint() (uint64, error) {
	if err := r.need(1); err != nil {
		return 0, err
	}
	n := varintLen(r.buf[r.pos])
	if err := r.need(n); err != nil {
		return 0, err
	}
	v := varint(r.buf[r.pos : r.pos+n])
	r.advance(n)
	return v, nil
}

func (r *Reader) advance(n int) { r.pos, r.off = r.pos+n, r.off+int64(n) }

// commit ends the section being parsed.
func (r *Reader) commit() {
	r.start = r.pos
	r.fields, r.size = r.fields[:0], 0
}

// again goes back to the start of the section, so that a call can be repeated after a passed deadline.
func (r *Reader) again(err error) error {
	if r.err != nil {
		return r.err
	}
	r.off -= int64(r.pos - r.start)
	r.pos = r.start
	r.fields, r.size = r.fields[:0], 0
	return truncated(err)
}

// malformed makes err sticky.
func (r *Reader) malformed(what string) error { return r.malformedAt(what, r.off) }

func (r *Reader) malformedAt(what string, off int64) error {
	r.err = &Error{What: what, Offset: off}
	return r.err
}

func (r *Reader) tooLarge(what string) error {
	r.err = &Error{What: what, Offset: r.off, TooLarge: true}
	return r.err
}

func truncated(err error) error {
	if err == io.EOF { //nolint:errorlint // only a bare io.EOF is an end (io.Reader); a wrapped one is an error to pass on
		return io.ErrUnexpectedEOF
	}
	return err
}
