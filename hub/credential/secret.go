package credential

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret holds secret bytes and prints as "[redacted]", whatever prints it. The zero value is empty. Copies share the
// bytes. Safe for concurrent use but for Wipe.
//
// The bytes sit behind a function, not in a field: what prints by reflection (fmt does, for a Secret in an unexported
// field of a struct) cannot follow it.
type Secret struct {
	reveal func() []byte
}

// NewSecret takes a copy of value; the caller may clear its own.
func NewSecret(value []byte) Secret {
	own := append([]byte(nil), value...)
	return Secret{reveal: func() []byte { return own }}
}

// Reveal returns the bytes themselves: do not change or keep them. Only this package may call it, and a test counts the
// places.
func (s Secret) Reveal() []byte {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
}

// Len in bytes.
func (s Secret) Len() int { return len(s.Reveal()) }

// Wipe clears the bytes, for all copies, as well as Go allows: the collector may have moved none, but strings made of
// them live on. Nobody may use a copy at the same time.
func (s Secret) Wipe() { clear(s.Reveal()) }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText implements encoding.TextMarshaler, and so for XML, YAML and map keys too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements json.Marshaler.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalBinary implements encoding.BinaryMarshaler, and so for gob.
func (Secret) MarshalBinary() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
