package tunnel

import "sync"

const (
	// coalesce is how much content is kept back to go out in one Write with its head.
	coalesce = 32 << 10
	// smallWrite is content that is copied to save a Write of its own.
	smallWrite = 16 << 10
	// bufferBytes hold coalesced content with its head.
	bufferBytes = coalesce + 8<<10
)

// buffers are for the time of one write or one exchange; an idle stream holds none.
var buffers bufferPool

type bufferPool struct{ pool sync.Pool }

// get returns an empty buffer of bufferBytes capacity, or more.
func (p *bufferPool) get() *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, bufferBytes)
	return &b
}

func (p *bufferPool) put(b *[]byte) {
	const most = 4 * bufferBytes // one large head must not stay for good
	if cap(*b) < bufferBytes || cap(*b) > most {
		return
	}
	*b = (*b)[:0]
	p.pool.Put(b)
}
