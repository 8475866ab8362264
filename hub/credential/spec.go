package credential

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/http/httpguts"

	"penstock.dev/penstock/gateway/hop"
)

// Kind is the way a value is written onto a request. The values are those of a Credential's spec.kind.
type Kind string

// The kinds.
const (
	Header         Kind = "Header"         // prefix and value in a header of its own
	Bearer         Kind = "Bearer"         // Authorization: Bearer value (RFC 6750)
	Basic          Kind = "Basic"          // Authorization: Basic (RFC 7617); the value is user:password
	QueryParameter Kind = "QueryParameter" // the value of a query parameter
)

// MaxValueBytes of a value.
const MaxValueBytes = 64 << 10

// ErrValue: a value is not fit to be sent.
var ErrValue = errors.New("credential: value cannot be used")

// Spec is what a Credential object says; never the value.
type Spec struct {
	// Ref is "namespace/name".
	Ref  string
	Kind Kind
	// Hosts the value may be sent to: exact names, in any case. Empty: nowhere.
	Hosts []string
	// Name of the header or of the query parameter, for those kinds.
	Name string
	// Prefix before the value, for kind Header.
	Prefix string
}

// forbiddenHeaders belong to the connection or to routing. Writing a secret there would break a request, or send it
// elsewhere.
var forbiddenHeaders = map[string]bool{
	"connection": true, "proxy-connection": true, "keep-alive": true, "te": true, "trailer": true, "transfer-encoding": true,
	"upgrade": true, "host": true, "content-length": true, "content-type": true, "content-encoding": true, "expect": true,
	"range": true, "max-forwards": true, "cookie": true, "forwarded": true, "via": true,
}

// check says why the spec cannot be served.
func (s Spec) check() error {
	switch s.Kind {
	case Bearer, Basic:
	case Header:
		if !httpguts.ValidHeaderFieldName(s.Name) || forbiddenHeaders[normal(s.Name)] || hop.Reserved(s.Name) {
			return fmt.Errorf("credential %s: header %q cannot carry a credential; use another one", s.Ref, s.Name)
		}
		if s.Prefix != "" && !httpguts.ValidHeaderFieldValue(s.Prefix) {
			return fmt.Errorf("credential %s: the prefix has control characters; remove them", s.Ref)
		}
	case QueryParameter:
		if normal(s.Name) == "" {
			return fmt.Errorf("credential %s: the query parameter has no name; give it one", s.Ref)
		}
	default:
		return fmt.Errorf("credential %s: there is no kind %q; use Header, Bearer, Basic or QueryParameter", s.Ref, s.Kind)
	}
	return nil
}

// CheckValue returns ErrValue if the value is not fit to be written in the way of kind (empty: any kind), for example
// because of a line break. It does not say what the value is.
func CheckValue(kind Kind, value Secret) error {
	v := value.Reveal()
	switch {
	case len(v) == 0:
		return fmt.Errorf("%w: it is empty", ErrValue)
	case len(v) > MaxValueBytes:
		return fmt.Errorf("%w: it has %d bytes, at most %d are possible", ErrValue, len(v), MaxValueBytes)
	case bytes.ContainsAny(v, "\r\n"):
		return fmt.Errorf("%w: it has a line break, perhaps at its end; send it without", ErrValue)
	case !httpguts.ValidHeaderFieldValue(string(v)):
		return fmt.Errorf("%w: it has control characters; is it the right file?", ErrValue)
	case len(bytes.Trim(v, " \t")) != len(v):
		return fmt.Errorf("%w: it begins or ends with white space, which does not arrive; send it without", ErrValue)
	case kind == Basic && !bytes.Contains(v, []byte(":")):
		return fmt.Errorf("%w: kind Basic needs user:password", ErrValue) // RFC 7617 §2
	}
	return nil
}

// written is the value as it stands on the wire: behind the header's colon, or escaped behind the parameter's "=".
func (s Spec) written(value Secret) string {
	v := value.Reveal()
	switch s.Kind {
	case Bearer:
		return "Bearer " + string(v)
	case Basic:
		return "Basic " + base64.StdEncoding.EncodeToString(v)
	case Header:
		return s.Prefix + string(v)
	case QueryParameter:
		return queryEscape(string(v))
	}
	return ""
}

// queryEscape is the percent-encoding of RFC 3986 §2.1; a space is %20, not "+", which only forms undo.
func queryEscape(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}

// splitRef of "namespace/name"; a name has no slash.
func splitRef(ref string) (namespace, name string) {
	namespace, name, _ = strings.Cut(ref, "/")
	return namespace, name
}
