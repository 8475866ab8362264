package hop

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// crockford is Crockford's base 32, whose order is that of ASCII: ids sort by their time.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// requestIDLen of an id minted here. Those of peers may have 1 to 64 characters: another version may mint others.
const (
	requestIDLen    = 26
	maxRequestIDLen = 64
)

// NewRequestID mints an id in the form of a ULID: 48 bits of milliseconds since 1970, 80 random bits, 26 characters.
// Safe for concurrent use.
func NewRequestID() string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(time.Now().UnixMilli())<<16)
	rand.Read(id[6:]) // it crashes the program rather than fail
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	var text [requestIDLen]byte
	for i := len(text) - 1; i >= 0; i-- {
		text[i] = crockford[lo&31]
		lo, hi = lo>>5|hi<<59, hi>>5
	}
	return string(text[:])
}

// validRequestID keeps ids fit for logs, file names and query parameters.
func validRequestID(id string) bool {
	if len(id) == 0 || len(id) > maxRequestIDLen {
		return false
	}
	for i := range len(id) {
		if c := id[i]; !isAlpha(c) && !isDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
