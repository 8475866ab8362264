package hop

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// This file is RFC 9651 as far as our headers need it. All types of value are parsed, since a member that this version
// does not know must be stepped over; those we never use keep no value.

// maxField is the longest value of a structured field that is looked at.
const maxField = 1 << 10

type valueKind int

const (
	sfOther valueKind = iota // decimal, boolean, byte sequence, date, display string, inner list
	sfString
	sfToken
	sfInteger
)

// value is a bare item.
type value struct {
	kind valueKind
	text string // of a string or token
	num  int64  // of an integer
}

// member of a list or dictionary.
type member struct {
	key    string // in a dictionary
	value  value
	params []param
	raw    string // as it was written, key and parameters included
}

type param struct {
	key   string
	value value
}

// sfParser reads one field value.
type sfParser struct {
	s   string
	pos int
}

func newParser(s string) (*sfParser, error) {
	if len(s) > maxField {
		return nil, fmt.Errorf("longer than %d bytes", maxField)
	}
	return &sfParser{s: strings.Trim(s, " ")}, nil
}

func parseList(s string) ([]member, error) { return parseMembers(s, (*sfParser).listMember) }

func parseDict(s string) ([]member, error) { return parseMembers(s, (*sfParser).dictMember) }

// parseItem reads a value of its own; parameters of it are stepped over.
func parseItem(s string) (value, error) {
	p, err := newParser(s)
	if err != nil {
		return value{}, err
	}
	v, err := p.bareItem()
	if err != nil {
		return value{}, err
	}
	if _, err := p.params(); err != nil {
		return value{}, err
	}
	if p.pos < len(p.s) {
		return value{}, p.errorf("more than one item")
	}
	return v, nil
}

// parseMembers is RFC 9651 §4.2.1 and §4.2.2 around one member.
func parseMembers(s string, one func(*sfParser) (member, error)) ([]member, error) {
	p, err := newParser(s)
	if err != nil {
		return nil, err
	}
	all := make([]member, 0, 4)
	for p.pos < len(p.s) {
		from := p.pos
		m, err := one(p)
		if err != nil {
			return nil, err
		}
		m.raw = p.s[from:p.pos]
		all = append(all, m)
		p.skip(" \t")
		if p.pos == len(p.s) {
			return all, nil
		}
		if !p.take(',') {
			return nil, p.errorf("no comma between members")
		}
		if p.skip(" \t"); p.pos == len(p.s) {
			return nil, p.errorf("comma at the end")
		}
	}
	return all, nil
}

func (p *sfParser) listMember() (m member, err error) {
	if m.value, err = p.itemOrInnerList(); err != nil {
		return m, err
	}
	m.params, err = p.params()
	return m, err
}

func (p *sfParser) dictMember() (m member, err error) {
	if m.key, err = p.key(); err != nil {
		return m, err
	}
	if p.take('=') {
		if m.value, err = p.itemOrInnerList(); err != nil {
			return m, err
		}
	}
	m.params, err = p.params()
	return m, err
}

func (p *sfParser) itemOrInnerList() (value, error) {
	if !p.take('(') {
		return p.bareItem()
	}
	for {
		p.skip(" ")
		if p.take(')') {
			return value{}, nil
		}
		if _, err := p.bareItem(); err != nil {
			return value{}, err
		}
		if _, err := p.params(); err != nil {
			return value{}, err
		}
		if c := p.peek(); c != ' ' && c != ')' {
			return value{}, p.errorf("inner list is not closed")
		}
	}
}

func (p *sfParser) params() (all []param, err error) {
	for p.take(';') {
		p.skip(" ")
		var q param
		if q.key, err = p.key(); err != nil {
			return nil, err
		}
		if p.take('=') {
			if q.value, err = p.bareItem(); err != nil {
				return nil, err
			}
		}
		all = append(all, q)
	}
	return all, nil
}

func (p *sfParser) key() (string, error) {
	from := p.pos
	if c := p.peek(); !isLower(c) && c != '*' {
		return "", p.errorf("no key")
	}
	for c := p.peek(); isLower(c) || isDigit(c) || c != 0 && strings.IndexByte("_-.*", c) >= 0; c = p.peek() {
		p.pos++
	}
	return p.s[from:p.pos], nil
}

func (p *sfParser) bareItem() (value, error) {
	switch c := p.peek(); {
	case c == '"':
		return p.string()
	case c == '-' || isDigit(c):
		return p.number()
	case c == '*' || isAlpha(c):
		from := p.pos
		for c = p.peek(); isTokenChar(c) || c == ':' || c == '/'; c = p.peek() {
			p.pos++
		}
		return value{kind: sfToken, text: p.s[from:p.pos]}, nil
	case c == '?':
		p.pos++
		if !p.take('0') && !p.take('1') {
			return value{}, p.errorf("boolean is neither 0 nor 1")
		}
		return value{}, nil
	case c == ':':
		return value{}, p.bytes()
	case c == '@':
		p.pos++
		v, err := p.number()
		if err == nil && v.kind != sfInteger {
			err = p.errorf("date is not an integer")
		}
		return value{}, err
	case c == '%':
		return value{}, p.displayString()
	}
	return value{}, p.errorf("no value")
}

func (p *sfParser) string() (value, error) {
	p.pos++
	from := p.pos
	var b []byte // only once there is an escape; else the text is a piece of the field
	for p.pos < len(p.s) {
		c := p.s[p.pos]
		p.pos++
		switch {
		case c == '"' && b == nil:
			return value{kind: sfString, text: p.s[from : p.pos-1]}, nil
		case c == '"':
			return value{kind: sfString, text: string(b)}, nil
		case c == '\\':
			if b == nil {
				b = append(make([]byte, 0, len(p.s)-from), p.s[from:p.pos-1]...)
			}
			if c = p.peek(); c != '"' && c != '\\' {
				return value{}, p.errorf("bad escape in a string")
			}
			p.pos++
			b = append(b, c)
		case c < 0x20 || c > 0x7e:
			return value{}, p.errorf("string has a character beyond printable ASCII")
		case b != nil:
			b = append(b, c)
		}
	}
	return value{}, p.errorf("string is not closed")
}

// number is RFC 9651 §4.2.4: an integer of at most 15 digits, or a decimal of 12 and 3.
func (p *sfParser) number() (value, error) {
	from := p.pos
	p.take('-')
	whole := p.digits()
	if p.take('.') {
		if part := p.digits(); whole < 1 || whole > 12 || part < 1 || part > 3 {
			return value{}, p.errorf("decimal has too few or too many digits")
		}
		return value{}, nil
	}
	if whole < 1 || whole > 15 {
		return value{}, p.errorf("integer has no digit or more than 15")
	}
	n, err := strconv.ParseInt(p.s[from:p.pos], 10, 64)
	return value{kind: sfInteger, num: n}, err
}

func (p *sfParser) digits() (n int) {
	for ; isDigit(p.peek()); n++ {
		p.pos++
	}
	return n
}

func (p *sfParser) bytes() error {
	p.pos++
	from := p.pos
	for c := p.peek(); isAlpha(c) || isDigit(c) || c == '+' || c == '/' || c == '='; c = p.peek() {
		p.pos++
	}
	text := p.s[from:p.pos]
	if !p.take(':') {
		return p.errorf("byte sequence is not closed")
	}
	if bare := strings.TrimRight(text, "="); len(text) > len(bare) && (len(text)%4 != 0 || len(text) > len(bare)+2) {
		return p.errorf("byte sequence is padded wrongly")
	} else if _, err := base64.RawStdEncoding.DecodeString(bare); err != nil { // RFC 9651 §4.2.7: the padding may be missing
		return p.errorf("byte sequence is not base64")
	}
	return nil
}

func (p *sfParser) displayString() error {
	p.pos++
	if !p.take('"') {
		return p.errorf("display string is not opened")
	}
	var text []byte
	for p.pos < len(p.s) {
		c := p.s[p.pos]
		p.pos++
		switch {
		case c == '"':
			if !utf8.Valid(text) {
				return p.errorf("display string is not UTF-8")
			}
			return nil
		case c == '%':
			hi, lo := lowerHex(p.peek()), -1
			if p.pos++; hi >= 0 {
				lo = lowerHex(p.peek())
				p.pos++
			}
			if lo < 0 {
				return p.errorf("bad escape in a display string")
			}
			text = append(text, byte(hi<<4|lo))
		case c < 0x20 || c > 0x7e:
			return p.errorf("display string has a character beyond printable ASCII")
		default:
			text = append(text, c)
		}
	}
	return p.errorf("display string is not closed")
}

// lowerHex is -1 for what is no hexadecimal digit in lower case.
func lowerHex(c byte) int { return strings.IndexByte("0123456789abcdef", c) }

// peek is 0 at the end.
func (p *sfParser) peek() byte {
	if p.pos < len(p.s) {
		return p.s[p.pos]
	}
	return 0
}

func (p *sfParser) take(c byte) bool {
	if p.peek() != c || p.pos == len(p.s) {
		return false
	}
	p.pos++
	return true
}

func (p *sfParser) skip(set string) {
	for p.pos < len(p.s) && strings.IndexByte(set, p.s[p.pos]) >= 0 {
		p.pos++
	}
}

// errorf never quotes the value: a client's header may hold anything.
func (p *sfParser) errorf(what string) error {
	return errors.New(what + " at byte " + strconv.Itoa(p.pos))
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isAlpha(c byte) bool { return isLower(c|0x20) && c < 0x80 }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isTokenChar is tchar of RFC 9110 §5.6.2.
func isTokenChar(c byte) bool {
	return isAlpha(c) || isDigit(c) || c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// appendString writes a string that printable says yes to.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if c := s[i]; c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// printable reports whether s can be written as a string of RFC 9651: ASCII without control characters.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
