package tunnel

import (
	"maps"
	"net/http"
	"net/textproto"
	"strings"
)

// declared are the trailer names that the Trailer header announces, with nil values, as net/http presents them; nil if
// there are none.
func declared(h http.Header) http.Header {
	var t http.Header
	for _, line := range h["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name == "" {
				continue
			}
			if t == nil {
				t = make(http.Header)
			}
			t[http.CanonicalHeaderKey(name)] = nil
		}
	}
	return t
}

// expectsContinue reports whether the sender of the content waits for a 100 (RFC 9110 §10.1.1).
func expectsContinue(h http.Header) bool {
	v := h["Expect"]
	return len(v) > 0 && strings.EqualFold(textproto.TrimString(v[0]), "100-continue")
}

// upgrade is the protocol that an HTTP/1.1 header asks or agrees to switch to; "" is none.
func upgrade(h http.Header) string {
	if len(h["Upgrade"]) == 0 {
		return ""
	}
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(textproto.TrimString(token), "upgrade") {
				return h["Upgrade"][0]
			}
		}
	}
	return ""
}

// endToEnd copies into dst, shallow, what of src may travel: without the fields of the connection, and with TE only as
// far as RFC 9113 §8.2.2 lets it.
//
// What Connection nominates is not looked at here: gateway/hop has refused nominations of its tags, and a tunnel that
// dropped fields by name of a workload could be made to drop those.
func endToEnd(dst, src http.Header) {
	maps.Copy(dst, src)
	for _, name := range connectionFields {
		delete(dst, name)
	}
	if te, ok := dst["Te"]; ok {
		delete(dst, "Te")
		for _, line := range te {
			for coding := range strings.SplitSeq(line, ",") {
				if strings.EqualFold(textproto.TrimString(coding), "trailers") {
					dst["Te"] = []string{"trailers"}
				}
			}
		}
	}
}

// connectionFields are those of bhttp.ConnectionField as http.Header spells them; a test holds the two together.
var connectionFields = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"}

// mergeTrailer fills the declared trailer t with what came, and returns it.
func mergeTrailer(t, came http.Header) http.Header {
	if t == nil {
		return came
	}
	maps.Copy(t, came)
	return t
}
