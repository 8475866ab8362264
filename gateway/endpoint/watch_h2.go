package endpoint

import (
	"encoding/binary"
	"sync"
)

// The frame types of RFC 9113 §6 that are looked at.
const (
	frameHeaders   = 0x1
	frameRSTStream = 0x3
	frameGoAway    = 0x7
)

// codeRefusedStream is REFUSED_STREAM (RFC 9113 §7).
const codeRefusedStream = 0x7

// h2Watch follows the frames of one HTTP/2 connection: which stream a request went out on, and what the peer's RST_STREAM
// or GOAWAY says about it. net/http has that too, but in errors that cannot be told apart.
type h2Watch struct {
	out frameReader // only touched by writes
	in  frameReader // only touched by reads

	mu         sync.Mutex
	lastStream uint32           // highest stream that a request was written on
	streams    map[uint32]reset // of exchanges under way
	early      reset            // came while the write of its stream's head had not yet returned
	goAway     bool
	lastKept   uint32 // of GOAWAY: streams above were not and will not be processed
}

// wrote is told what left, and returns how many requests began in it. Stream ids of a client only go up, and trailers
// come on a stream that is known.
func (h *h2Watch) wrote(p []byte) int {
	began := 0
	h.out.feed(p, func(kind byte, stream uint32, _ []byte) {
		h.mu.Lock()
		if kind == frameHeaders && stream > h.lastStream {
			if h.streams == nil {
				h.streams = map[uint32]reset{}
			}
			h.streams[stream] = reset{}
			if h.early.seen && h.early.stream == stream {
				h.streams[stream] = h.early
			}
			h.lastStream = stream
			began++
		}
		h.mu.Unlock()
	})
	return began
}

// got is told what arrived.
func (h *h2Watch) got(p []byte) {
	h.in.feed(p, func(kind byte, stream uint32, payload []byte) {
		if len(payload) < 4 || kind != frameRSTStream && kind != frameGoAway {
			return
		}
		word := binary.BigEndian.Uint32(payload)
		h.mu.Lock()
		defer h.mu.Unlock()
		if kind == frameRSTStream {
			r := reset{seen: true, stream: stream, code: word}
			if was, open := h.streams[stream]; open && !was.seen {
				h.streams[stream] = r
			} else if stream > h.lastStream {
				h.early = r
			}
			return
		}
		// A peer may only lower it (RFC 9113 §6.8); one that raises it is not believed.
		if last := word &^ (1 << 31); !h.goAway || last < h.lastKept {
			h.lastKept = last
		}
		h.goAway = true
	})
}

// reset is what the peer's RST_STREAM said, if one was seen.
type reset struct {
	seen         bool
	stream, code uint32
}

// resetOf returns the peer's reset of a stream.
func (h *h2Watch) resetOf(stream uint32) reset {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams[stream]
}

// forget ends the watch on a stream.
func (h *h2Watch) forget(stream uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, stream)
}

// stream is the highest stream that a request was written on; 0: none yet.
func (h *h2Watch) stream() uint32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lastStream
}

// leaving reports whether the peer has sent GOAWAY.
func (h *h2Watch) leaving() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.goAway
}

// disowned reports proof P3: a GOAWAY whose last stream id is below this stream (RFC 9113 §6.8).
func (h *h2Watch) disowned(stream uint32) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.goAway && stream > h.lastKept
}

// preface is what a client sends before its first frame (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frameReader finds the frames in a byte stream that comes in pieces of any size. It keeps 9 bytes of frame header and
// the first 4 of the payload, whatever the frame's length.
type frameReader struct {
	skip  int // bytes to pass over: rest of a payload, or of the preface
	head  [9 + 4]byte
	have  int
	start bool // the first byte was seen
}

// feed calls found for each frame whose start is complete. payload has at most 4 bytes.
func (f *frameReader) feed(p []byte, found func(kind byte, stream uint32, payload []byte)) {
	for len(p) > 0 {
		if !f.start {
			f.start = true
			if p[0] == preface[0] { // no frame is this long: 0x50xxxx is beyond every limit
				f.skip = len(preface)
			}
		}
		if f.skip > 0 {
			n := min(f.skip, len(p))
			f.skip -= n
			p = p[n:]
			continue
		}
		want := len(f.head)
		if f.have >= 9 {
			want = min(want, 9+f.length())
		} else {
			want = 9
		}
		n := copy(f.head[f.have:want], p)
		f.have += n
		p = p[n:]
		if f.have < 9 || f.have < min(len(f.head), 9+f.length()) {
			continue
		}
		found(f.head[3], binary.BigEndian.Uint32(f.head[5:9])&^(1<<31), f.head[9:f.have])
		f.skip = 9 + f.length() - f.have
		f.have = 0
	}
}

// length of the payload whose header is complete.
func (f *frameReader) length() int {
	return int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
}
