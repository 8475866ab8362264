package hop

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Keys are the trust domain's keys: pseudonyms and the CDN-Loop MAC, current and previous. Safe for concurrent use once
// made. It prints as [redacted]. A nil *Keys makes and accepts no MAC.
type Keys struct {
	domain            []byte
	current, previous []byte
}

// Labels keep the uses of one key apart.
const (
	labelPseudonym = "penstock pseudonym 1\x00"
	labelGroup     = "penstock group pseudonym 1\x00"
	labelCDNLoop   = "penstock cdn-loop 1\x00"
)

const redacted = "[redacted]"

// NewKeys makes Keys of a domain key (pseudonyms) and the current and previous daily MAC keys (previous may be nil).
func NewKeys(domain, current, previous []byte) *Keys {
	return &Keys{bytes.Clone(domain), bytes.Clone(current), bytes.Clone(previous)}
}

// Pseudonym of a group id: HMAC-SHA256 cut to 80 bits, as "p" and 16 characters of lower-case base32. The letter makes
// it a token wherever one is wanted (RFC 9651 §3.3.4 wants a letter first).
func (k *Keys) Pseudonym(group string) string { return pseudonym(sum(k.domain, labelPseudonym, group)) }

// GroupPseudonym is the pseudonym of a gateway that has no hub and so no domain key: a hash of its group id. Whoever
// knows the id can tell that they belong together.
func GroupPseudonym(group string) string {
	s := sha256.Sum256([]byte(labelGroup + group))
	return pseudonym(s[:])
}

func pseudonym(sum []byte) string {
	const bits80 = 10
	return "p" + base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding).EncodeToString(sum[:bits80])
}

func sum(key []byte, parts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, p := range parts {
		mac.Write([]byte(p)) // never fails
	}
	return mac.Sum(nil)
}

// macOf binds a payload to the pseudonym that stands before it. The payload tells its own length, so that no two inputs
// run together.
func macOf(key []byte, id string, payload []byte) []byte {
	return sum(key, labelCDNLoop, id, "\x00", string(payload))[:macBytes]
}

// seal is parameter x for a pseudonym; "" without keys.
func (k *Keys) seal(id string, o outside) string {
	if k == nil || len(k.current) == 0 {
		return ""
	}
	payload := o.payload()
	return base64.RawURLEncoding.EncodeToString(append(payload, macOf(k.current, id, payload)...))
}

// verify reports what a member carries, if its MAC is good under one of the keys and it has not expired.
func (k *Keys) verify(m cdnMember, now time.Time) (outside, bool) {
	if k == nil || m.payload == "" || m.version != cdnVersion {
		return outside{}, false
	}
	o, payload, mac, ok := parseOutside(m.payload)
	if !ok || now.After(o.expiry) {
		return outside{}, false
	}
	for _, key := range [...][]byte{k.current, k.previous} {
		if len(key) > 0 && hmac.Equal(mac, macOf(key, m.id, payload)) {
			return o, true
		}
	}
	return outside{}, false
}

// Value receivers, so that a copy keeps its mouth shut too.

// String is [redacted].
func (k Keys) String() string { return redacted }

// GoString is [redacted].
func (k Keys) GoString() string { return redacted }

// Format is [redacted] for every verb; without it %d and %x would go past String.
func (k Keys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is [redacted].
func (k Keys) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is [redacted].
func (k Keys) MarshalText() ([]byte, error) { return []byte(redacted), nil }
