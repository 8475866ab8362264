package hop

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// cdnMember is one cdn-info of CDN-Loop (RFC 8586 §2), ours or anybody's.
type cdnMember struct {
	id      string
	version string // parameter v
	payload string // parameter x
}

const (
	// maxCDNLoop members are evaluated: each may cost an HMAC, and nobody's chain is that long.
	maxCDNLoop = 64
	cdnVersion = "1"
	// tagLife is longer than any request may take to its response headers.
	tagLife = maxHeaders + time.Minute
)

// outside is what parameter x carries.
type outside struct {
	requestID string
	hops      int
	attempts  int
	expiry    time.Time
}

const (
	macBytes  = 16
	fixedPart = 1 + 1 + 8 + macBytes // h, a, expiry, MAC; around them the request id and its length
)

// payload is x without its MAC: length of the request id, request id, h, a, expiry in seconds since 1970 (8 bytes, big
// endian).
func (o outside) payload() []byte {
	b := make([]byte, 0, 1+len(o.requestID)+fixedPart)
	b = append(append(b, byte(len(o.requestID))), o.requestID...)
	b = append(b, byte(o.hops), byte(o.attempts))
	return binary.BigEndian.AppendUint64(b, uint64(o.expiry.Unix()))
}

// parseOutside splits x into its payload, what that says, and the MAC.
func parseOutside(x string) (o outside, payload, mac []byte, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(x)
	if err != nil || len(b) == 0 || len(b) != 1+int(b[0])+fixedPart {
		return outside{}, nil, nil, false
	}
	payload, mac = b[:len(b)-macBytes], b[len(b)-macBytes:]
	id, rest := payload[1:1+b[0]], payload[1+b[0]:]
	o = outside{string(id), int(rest[0]), int(rest[1]), time.Unix(int64(binary.BigEndian.Uint64(rest[2:])), 0)}
	return o, payload, mac, validRequestID(o.requestID)
}

// parseCDNLoop reads all lines. What does not follow the grammar is refused: the header can end a request, never gain it
// anything, and a skipped member could be ours.
func parseCDNLoop(lines []string) ([]cdnMember, error) {
	var all []cdnMember
	for _, line := range lines {
		p := &sfParser{s: line}
		for {
			p.skip(" \t,") // RFC 9110 §5.6.1: empty list members are ignored
			if p.pos == len(p.s) {
				break
			}
			m, ok := p.cdnMember()
			if !ok {
				return nil, refuse(Malformed, "%s does not follow RFC 8586 at byte %d", headerCDNLoop, p.pos)
			}
			if all = append(all, m); len(all) > maxCDNLoop {
				return nil, refuse(Malformed, "%s has more than %d members", headerCDNLoop, maxCDNLoop)
			}
		}
	}
	return all, nil
}

// cdnMember is cdn-id *( OWS ";" OWS [ token "=" ( token / quoted-string ) ] ), up to the comma or the end.
func (p *sfParser) cdnMember() (m cdnMember, ok bool) {
	if m.id = p.span(isCDNIDChar); m.id == "" {
		return m, false
	}
	for {
		p.skip(" \t")
		if p.pos == len(p.s) || p.peek() == ',' {
			return m, true
		}
		if !p.take(';') {
			return m, false
		}
		p.skip(" \t")
		name := p.span(isTokenChar)
		if name == "" {
			continue // RFC 9110 §5.6.6: an empty parameter
		}
		if !p.take('=') {
			return m, false
		}
		text := p.span(isTokenChar)
		if text == "" {
			if text, ok = p.quoted(); !ok {
				return m, false
			}
		}
		switch strings.ToLower(name) {
		case "v":
			m.version = text
		case "x":
			m.payload = text
		}
	}
}

func (p *sfParser) span(is func(byte) bool) string {
	from := p.pos
	for p.pos < len(p.s) && is(p.s[p.pos]) {
		p.pos++
	}
	return p.s[from:p.pos]
}

// quoted is quoted-string of RFC 9110 §5.6.4.
func (p *sfParser) quoted() (string, bool) {
	if !p.take('"') {
		return "", false
	}
	var b strings.Builder
	for p.pos < len(p.s) {
		c := p.s[p.pos]
		p.pos++
		switch {
		case c == '"':
			return b.String(), true
		case c == '\\' && p.pos < len(p.s):
			c = p.s[p.pos]
			p.pos++
		}
		if c < 0x20 && c != '\t' || c == 0x7f {
			return "", false
		}
		b.WriteByte(c)
	}
	return "", false
}

// isCDNIDChar: a token, or a host with port (RFC 3986 §3.2), an address in brackets included.
func isCDNIDChar(c byte) bool {
	return isTokenChar(c) || c == ':' || c == '[' || c == ']' || c == '(' || c == ')'
}

// cdnLoopValue is the inbound lines and the own member in one: there are proxies that look at the first line only.
func cdnLoopValue(inbound []string, own string) string {
	return strings.Join(append(slices.Clip(slices.DeleteFunc(slices.Clone(inbound), blank)), own), ", ")
}

func blank(s string) bool { return strings.Trim(s, " \t,") == "" }
