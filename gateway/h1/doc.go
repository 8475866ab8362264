// Package h1 judges HTTP/1.1 messages as they are on the wire (RFC 9112), before a more forgiving parser has settled what
// is in doubt: two framings, folded lines, bare line feeds, names with spaces. What two readers could take for two different
// messages is refused; nothing is ever repaired (THREATS TH-T1). It judges both directions by the same rules: requests of
// workloads for gateway, which answers 400 or 431, and answers of destinations for gateway/endpoint, which passes none on
// that is in doubt.
//
// It reads along and changes nothing: the messages themselves are still parsed by net/http, and written anew from the
// parsed form. It knows neither routes nor time.
package h1
