package bhttp

import (
	"net/http"
	"slices"
	"strconv"
)

// ReadRequestHead returns io.EOF if the stream ends before the first byte.
func (r *Reader) ReadRequestHead() (*RequestHead, error) {
	if err := r.begin(framingRequest); err != nil {
		return nil, err
	}
	r.request = true
	var control [4]span // method, scheme, authority, path
	for i := range control {
		s, err := r.text()
		if err != nil {
			return nil, r.again(err)
		}
		control[i] = s
	}
	if err := r.section(requestHeader); err != nil {
		return nil, r.again(err)
	}
	raw := r.buf[r.start:r.pos]
	method, scheme, authority, path := control[0].of(raw), control[1].of(raw), control[2], control[3].of(raw)
	var protocol span
	if len(r.fields) > 0 && string(r.fields[0].name.of(raw)) == fieldProtocol {
		protocol = r.fields[0].value
		if len(protocol.of(raw)) == 0 {
			return nil, r.malformed(":protocol is empty")
		}
		r.fields = r.fields[1:]
	}
	authority, fault := r.foldHost(raw, authority)
	if fault == "" {
		fault = checkRequest(method, scheme, authority.of(raw), path, protocol.of(raw))
	}
	if fault != "" {
		return nil, r.malformed(fault)
	}
	text := string(raw) // the one copy; everything below is a part of it
	h := &RequestHead{
		Method:    control[0].in(text),
		Scheme:    control[1].in(text),
		Authority: authority.in(text),
		Path:      control[3].in(text),
		Protocol:  protocol.in(text),
		Header:    r.header(text),
	}
	return h, r.openContent(h.Header)
}

// ReadResponseHead returns io.EOF if the stream ends before the first byte of the message.
func (r *Reader) ReadResponseHead() (*ResponseHead, error) {
	if err := r.begin(framingResponse); err != nil {
		return nil, err
	}
	r.request = false
	status, err := r.varint()
	if err != nil {
		return nil, r.again(err)
	}
	if status < 100 || status > 599 {
		return nil, r.malformed("status " + strconv.FormatUint(status, 10) + " is not 100 to 599")
	}
	if err := r.section(responseHeader); err != nil {
		return nil, r.again(err)
	}
	h := &ResponseHead{Status: int(status), Header: r.header(string(r.buf[r.start:r.pos]))}
	switch {
	case status == http.StatusSwitchingProtocols:
		r.commit()
		r.state = inRaw
	case status < 200:
		r.commit()
		r.state = inHeads
	default:
		return h, r.openContent(h.Header)
	}
	return h, nil
}

// begin reads the framing indicator, if it is due.
func (r *Reader) begin(framing uint64) error {
	switch {
	case r.err != nil:
		return r.err
	case r.state == inHeads && framing == framingResponse:
		return nil
	case r.state != atStart:
		return errOrder
	}
	r.trailer, r.length, r.content = nil, -1, 0
	if err := r.need(1); err != nil {
		return err // io.EOF: between messages
	}
	got, err := r.varint()
	if err != nil {
		return r.again(err)
	}
	if got != framing {
		// 0 and 1 are known-length messages, and 0 is also what padding looks like; a stream goes on to the next
		// exchange, so neither has a place here.
		return r.malformedAt("framing indicator is "+strconv.FormatUint(got, 10)+", not "+strconv.FormatUint(framing, 10), 0)
	}
	return nil
}

// openContent ends the final head of a message.
func (r *Reader) openContent(h http.Header) error {
	if v := h["Content-Length"]; len(v) > 0 {
		n, ok := contentLength([]byte(v[0]))
		if !ok || len(v) > 1 {
			return r.malformed(`"content-length" is not one number`)
		}
		r.length = n
	}
	r.commit()
	r.state, r.chunk = inContent, 0
	return nil
}

// text reads a length and as many bytes.
func (r *Reader) text() (span, error) {
	n, err := r.varint()
	if err != nil {
		return span{}, err
	}
	return r.textOf(n)
}

// textOf refuses what would pass the limit before it waits for a byte of it.
func (r *Reader) textOf(n uint64) (span, error) {
	if n > uint64(r.lim.HeadBytes-r.size) {
		return span{}, r.tooLarge("field section is larger than " + strconv.Itoa(r.lim.HeadBytes) + " bytes")
	}
	r.size += int(n)
	if err := r.need(int(n)); err != nil {
		return span{}, err
	}
	s := span{r.pos - r.start, r.pos - r.start + int(n)}
	r.advance(int(n))
	return s, nil
}

// section reads field lines up to the terminator into r.fields.
func (r *Reader) section(in part) error {
	for {
		n, err := r.varint()
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if len(r.fields) == r.lim.Fields {
			return r.tooLarge("field section has more than " + strconv.Itoa(r.lim.Fields) + " fields")
		}
		const perField = 32
		if r.lim.HeadBytes-r.size < perField {
			return r.tooLarge("field section is larger than " + strconv.Itoa(r.lim.HeadBytes) + " bytes")
		}
		r.size += perField
		at := r.off
		name, err := r.textOf(n)
		if err != nil {
			return err
		}
		value, err := r.text()
		if err != nil {
			return err
		}
		raw := r.buf[r.start:r.pos]
		if in != requestHeader || len(r.fields) > 0 || string(name.of(raw)) != fieldProtocol {
			if fault := checkField(name.of(raw), value.of(raw), in); fault != "" {
				return r.malformedAt(fault, at)
			}
			if in == responseHeader && string(name.of(raw)) == fieldHost {
				return r.malformedAt(`field "host" may not stand here`, at)
			}
		}
		r.fields = append(r.fields, field{name, value})
	}
}

// foldHost takes `host` out of the fields and returns the authority: RFC 9292 §5.1 writes the one of an HTTP/1.1 request
// there. It may stand beside an authority only if it says the same (RFC 9113 §8.3.1).
func (r *Reader) foldHost(raw []byte, authority span) (_ span, fault string) {
	at := slices.IndexFunc(r.fields, func(f field) bool { return string(f.name.of(raw)) == fieldHost })
	if at < 0 {
		return authority, ""
	}
	host := r.fields[at].value
	if len(authority.of(raw)) > 0 && string(host.of(raw)) != string(authority.of(raw)) {
		return authority, `"host" and the authority differ`
	}
	r.fields = slices.Delete(r.fields, at, at+1)
	if slices.ContainsFunc(r.fields[at:], func(f field) bool { return string(f.name.of(raw)) == fieldHost }) {
		return authority, `"host" stands twice`
	}
	return host, ""
}

// header makes the header of r.fields, whose text is the section's.
func (r *Reader) header(text string) http.Header {
	h := make(http.Header, len(r.fields))
	values := make([]string, len(r.fields)) // one allocation for all, each name with a slice of it
	for i, f := range r.fields {
		name, value := r.canonical(f.name.in(text)), f.value.in(text)
		if before, ok := h[name]; ok {
			h[name] = append(before, value)
			continue
		}
		values[i] = value
		h[name] = values[i : i+1 : i+1]
	}
	return h
}
