package credential

import (
	"crypto/rand"
	"errors"
	"math/big"
	"strings"
	"time"
)

// crockford is the alphabet of base 32 that sorts as its digits do.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const (
	versionChars = 26 // 130 bits: 48 of time, 80 random, two leading zeros
	randomBits   = 80
)

// newVersion makes a version that is greater than previous (empty: any).
func newVersion(previous string, now time.Time) string {
	millis := now.UnixMilli()
	if before, err := versionTime(previous); err == nil && millis <= before.UnixMilli() {
		millis = before.UnixMilli() + 1 // a clock that went back, or a second value within a millisecond
	}
	entropy := make([]byte, randomBits/8)
	rand.Read(entropy)
	n := new(big.Int).Lsh(big.NewInt(millis), randomBits)
	n.Or(n, new(big.Int).SetBytes(entropy))
	out := make([]byte, versionChars)
	digit, base := new(big.Int), big.NewInt(int64(len(crockford)))
	for i := versionChars - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = crockford[digit.Int64()]
	}
	return string(out)
}

var errVersion = errors.New("credential: malformed version")

// versionTime is when a version was made.
func versionTime(version string) (time.Time, error) {
	if len(version) != versionChars {
		return time.Time{}, errVersion
	}
	n := new(big.Int)
	for i := range version {
		digit := strings.IndexByte(crockford, version[i])
		if digit < 0 {
			return time.Time{}, errVersion
		}
		n.Lsh(n, 5)
		n.Or(n, big.NewInt(int64(digit)))
	}
	if n.BitLen() > 48+randomBits {
		return time.Time{}, errVersion
	}
	return time.UnixMilli(n.Rsh(n, randomBits).Int64()).UTC(), nil
}
