package endpoint

import (
	"bytes"
	"fmt"
	"sync"

	"penstock.dev/penstock/gateway/h1"
)

// h1Watch follows one HTTP/1.1 connection, one exchange at a time. It looks at responses as they were on the wire,
// because net/http hides what it repaired in them; after a doubtful one the connection must not be used again (THREATS
// TH-T1).
type h1Watch struct {
	mu      sync.Mutex
	waiting bool   // an exchange has begun and no byte of it was written
	inHead  bool   // response bytes belong to a head
	head    []byte // of the response so far
	doubt   bool
	content *h1.Content // in the chunked coding; nil: none, or in no doubt
}

// begin announces an exchange.
func (h *h1Watch) begin() {
	h.mu.Lock()
	h.waiting, h.inHead, h.head, h.content = true, true, h.head[:0], nil
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

// got is told what arrived. An error means that the content of the response is malformed: its reader must not get it.
func (h *h1Watch) got(p []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.inHead {
		return h.judge(p)
	}
	// A head longer than the limit is refused by net/http, which then closes the connection.
	h.head = append(h.head, p[:min(len(p), maxHeaderBytes)]...)
	for h.inHead {
		end := bytes.Index(h.head, []byte("\n\r\n"))
		if bare := bytes.Index(h.head, []byte("\n\n")); bare >= 0 && (end < 0 || bare < end) {
			h.doubt, h.inHead = true, false
			return nil
		}
		if end < 0 {
			h.inHead = len(h.head) < maxHeaderBytes
			return nil
		}
		framing, err := h1.Response(h.head[:end+3])
		if err != nil {
			h.doubt = true
		}
		interim := len(h.head) > 12 && h.head[9] == '1' && !bytes.HasPrefix(h.head[9:], []byte("101"))
		if !interim {
			h.inHead = false
			if err == nil && framing.Chunked {
				h.content = h1.NewContent(maxHeaderBytes)
			}
			return h.judge(h.head[end+3:])
		}
		h.head = h.head[:copy(h.head, h.head[end+3:])] // another head follows
	}
	return nil
}

// judge reads along with the content. The lock is held.
func (h *h1Watch) judge(p []byte) error {
	if h.content == nil {
		return nil
	}
	err := h.content.Read(p)
	if err != nil {
		h.doubt = true
		return fmt.Errorf("content of the response: %w", err)
	}
	return nil
}

// doubted reports whether a head so far could be read in two ways.
func (h *h1Watch) doubted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.doubt
}
