package smuggling

import (
	"bytes"
	"math/rand/v2"
	"slices"
)

// pieces are what mutants get put into them: what frames, and what looks like it.
var pieces = []string{
	"\r\n", "\n", "\r", "\r\n\r\n", " ", "\t", ":", ";", ",", "0", "4", "0\r\n\r\n", "4\r\nbody\r\n", "chunked", "Content-Length: 4\r\n", "Content-Length: 0\r\n",
	"Transfer-Encoding: chunked\r\n", "transfer_encoding: chunked\r\n", "Host: b\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.0", "HTTP/1.1", "\x00", "\x0b", "\xff",
}

// Mutator makes streams of payloads that are broken, or made good again, in a few places. Make it with NewMutator.
type Mutator struct {
	rng       *rand.Rand
	all, good []Payload
}

// NewMutator mutates the corpus by what rng says.
func NewMutator(rng *rand.Rand) *Mutator {
	all := Corpus()
	return &Mutator{rng, all, slices.DeleteFunc(slices.Clone(all), func(p Payload) bool { return !p.Good })}
}

// Next makes one. Most payloads of the corpus are not good; of a stream nine in ten are, or a reader would never get behind
// the first.
func (m *Mutator) Next() []byte {
	rng := m.rng
	var b []byte
	for range 1 + rng.IntN(3) {
		from := m.good
		if rng.IntN(10) == 0 {
			from = m.all
		}
		b = append(b, from[rng.IntN(len(from))].Raw...)
	}
	for range 1 + rng.IntN(4) {
		if len(b) == 0 {
			return b
		}
		at := rng.IntN(len(b))
		to := min(at+1+rng.IntN(12), len(b))
		switch rng.IntN(7) {
		case 0:
			b[at] ^= 1 << rng.IntN(8)
		case 1:
			b = append(b[:at], b[to:]...)
		case 2:
			b = bytes.Join([][]byte{b[:to], b[at:to], b[to:]}, nil)
		case 3:
			b = bytes.Join([][]byte{b[:at], []byte(pieces[rng.IntN(len(pieces))]), b[at:]}, nil)
		case 4: // a line twice, or at another place
			lines := bytes.SplitAfter(b, []byte("\n"))
			from, to := rng.IntN(len(lines)), rng.IntN(len(lines))
			b = bytes.Join(append(append(append([][]byte{}, lines[:to]...), lines[from]), lines[to:]...), nil)
		case 5:
			b = bytes.Replace(b, []byte("\r\n"), []byte("\n"), 1+rng.IntN(2))
		default:
			b[at] ^= 0x20 // the other case
		}
	}
	return b
}
