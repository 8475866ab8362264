package bhttp

// maxVarint is the largest number RFC 9000 §16 can carry.
const maxVarint = 1<<62 - 1

// appendVarint writes v on the fewest bytes. v must not exceed maxVarint.
func appendVarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(b, byte(v))
	case v < 1<<14:
		return append(b, byte(v>>8)|0x40, byte(v))
	case v < 1<<30:
		return append(b, byte(v>>24)|0x80, byte(v>>16), byte(v>>8), byte(v))
	default:
		return append(b, byte(v>>56)|0xc0, byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
}

// varintLen is the length of a number, told by its first byte.
func varintLen(first byte) int { return 1 << (first >> 6) }

// varint reads the number that fills b.
func varint(b []byte) uint64 {
	v := uint64(b[0] & 0x3f)
	for _, c := range b[1:] {
		v = v<<8 | uint64(c)
	}
	return v
}
