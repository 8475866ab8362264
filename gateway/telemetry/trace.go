package telemetry

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
)

// Trace is a traceparent (W3C Trace Context, level 1). The zero value is none.
type Trace struct {
	Version byte
	TraceID [16]byte
	Parent  [8]byte
	Flags   byte
}

// ErrTraceparent says that a traceparent is not one.
var ErrTraceparent = errors.New("not a traceparent of W3C Trace Context")

// ParseTrace is strict: hexadecimal digits in lower case, no id of only zeros, exactly 55 characters in version 00. A
// later version may be followed by "-" and more, which is not kept.
func ParseTrace(s string) (Trace, error) {
	const size = 55
	if len(s) < size || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return Trace{}, ErrTraceparent
	}
	if strings.ContainsFunc(s[:size], func(r rune) bool { return 'A' <= r && r <= 'F' }) {
		return Trace{}, ErrTraceparent
	}
	var t Trace
	var version, flags [1]byte
	for _, part := range []struct {
		to   []byte
		from string
	}{{version[:], s[:2]}, {t.TraceID[:], s[3:35]}, {t.Parent[:], s[36:52]}, {flags[:], s[53:55]}} {
		if _, err := hex.Decode(part.to, []byte(part.from)); err != nil {
			return Trace{}, ErrTraceparent
		}
	}
	t.Version, t.Flags = version[0], flags[0]
	switch {
	case t.Version == 0xff, t.TraceID == [16]byte{}, t.Parent == [8]byte{}:
		return Trace{}, ErrTraceparent
	case t.Version == 0 && len(s) != size, len(s) > size && s[size] != '-':
		return Trace{}, ErrTraceparent
	}
	return t, nil
}

// String is the traceparent.
func (t Trace) String() string {
	b := make([]byte, 0, 55)
	b = hex.AppendEncode(b, []byte{t.Version})
	b = append(b, '-')
	b = hex.AppendEncode(b, t.TraceID[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, t.Parent[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, []byte{t.Flags})
	return string(b)
}

// ID of the trace as it stands in logs.
func (t Trace) ID() string { return hex.EncodeToString(t.TraceID[:]) }

// NewTrace mints ids. The sampled flag is off: whether to record is decided where spans are kept, and that is not here.
func NewTrace() Trace {
	var t Trace
	for t.TraceID == [16]byte{} {
		binary.BigEndian.PutUint64(t.TraceID[:8], rand.Uint64())
		binary.BigEndian.PutUint64(t.TraceID[8:], rand.Uint64())
	}
	for t.Parent == [8]byte{} {
		binary.BigEndian.PutUint64(t.Parent[:], rand.Uint64())
	}
	return t
}

// TraceOf makes sure that h carries one valid traceparent and returns it. What is missing, doubled or invalid is
// replaced, and then tracestate goes, since it belongs to the trace that was not understood (W3C Trace Context §3.2.2).
func TraceOf(h http.Header) Trace {
	if v := h["Traceparent"]; len(v) == 1 {
		if t, err := ParseTrace(v[0]); err == nil {
			return t
		}
	}
	t := NewTrace()
	h["Traceparent"] = []string{t.String()}
	delete(h, "Tracestate")
	return t
}
