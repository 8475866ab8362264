package filter

import (
	"fmt"
	"net/http"
	"net/textproto"

	"golang.org/x/net/http/httpguts"

	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
)

// modify checks all, then sets, adds and removes, so that a modifier that fails has changed nothing.
func modify(h http.Header, m *route.HeaderModifier) error {
	for _, list := range [][]route.Header{m.Set, m.Add} {
		for _, x := range list {
			if err := touchable(x.Name); err != nil {
				return err
			}
			if !httpguts.ValidHeaderFieldValue(x.Value) {
				return fmt.Errorf("the value for header %s holds a control character; take it out", x.Name)
			}
		}
	}
	for _, name := range m.Remove {
		if err := touchable(name); err != nil {
			return err
		}
	}
	for _, x := range m.Set {
		h.Set(x.Name, x.Value)
	}
	for _, x := range m.Add {
		h.Add(x.Name, x.Value)
	}
	for _, name := range m.Remove {
		h.Del(name)
	}
	return nil
}

// touchable refuses the names that no filter may add, change or remove (THREATS T-A7, TH-T2).
func touchable(name string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("%q is not a header name", name)
	}
	if hop.Reserved(name) {
		return fmt.Errorf("header %s is reserved for the hop protocol; no filter may touch it", name)
	}
	if framing[textproto.CanonicalMIMEHeaderKey(name)] {
		return fmt.Errorf("header %s frames the message or belongs to one connection; no filter may touch it", name)
	}
	return nil
}

// framing are the names that say where a message ends, where it goes, or what holds for one connection only (RFC 9110
// §7.2, §7.6.1, §11.7; RFC 9112 §6). Proxy-Authorization carries the identity that a gateway consumes.
var framing = map[string]bool{
	"Connection":          true,
	"Content-Length":      true,
	"Host":                true,
	"Http2-Settings":      true,
	"Keep-Alive":          true,
	"Proxy-Authenticate":  true,
	"Proxy-Authorization": true,
	"Proxy-Connection":    true,
	"Te":                  true,
	"Trailer":             true,
	"Transfer-Encoding":   true,
	"Upgrade":             true,
}
