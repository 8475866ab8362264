package endpoint

import (
	"bytes"
	"sync"

	"penstock.dev/penstock/gateway/h1"
)

// h1Watch follows one HTTP/1.1 connection, one exchange at a time. It looks at response heads as they were on the wire,
// because net/http hides what it repaired in them; after a doubtful one the connection must not be used again (THREATS
// TH-T1).
type h1Watch struct {
	mu      sync.Mutex
	waiting bool   // an exchange has begun and no byte of it was written
	inHead  bool   // response bytes belong to a head
	head    []byte // of the response so far
	doubt   bool
}

// begin announces an exchange.
func (h *h1Watch) begin() {
	h.mu.Lock()
	h.waiting, h.inHead, h.head = true, true, h.head[:0]
	h.mu.Unlock()
}

// wrote is told that bytes left, and returns how many request heads began with them.
func (h *h1Watch) wrote() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.waiting {
		return 0
	}
	h.waiting = false
	return 1
}

// got is told what arrived.
func (h *h1Watch) got(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.inHead {
		return
	}
	// A head longer than the limit is refused by net/http, which then closes the connection.
	h.head = append(h.head, p[:min(len(p), maxHeaderBytes)]...)
	for h.inHead {
		end := bytes.Index(h.head, []byte("\n\r\n"))
		if bare := bytes.Index(h.head, []byte("\n\n")); bare >= 0 && (end < 0 || bare < end) {
			h.doubt, h.inHead = true, false
			return
		}
		if end < 0 {
			h.inHead = len(h.head) < maxHeaderBytes
			return
		}
		if _, err := h1.Response(h.head[:end+3]); err != nil {
			h.doubt = true
		}
		interim := len(h.head) > 12 && h.head[9] == '1' && !bytes.HasPrefix(h.head[9:], []byte("101"))
		if !interim {
			h.inHead = false
			return
		}
		h.head = h.head[:copy(h.head, h.head[end+3:])] // another head follows
	}
}

// doubted reports whether a head so far could be read in two ways.
func (h *h1Watch) doubted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.doubt
}
