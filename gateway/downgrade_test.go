package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// downgrades are requests of HTTP/2 by their fields, of which a next hop that speaks HTTP/1.1 could make two, or another one
// (T-D3). content is sent in one DATA frame; nil: the head ends the request.
func downgrades() map[string]struct {
	fields  []string
	content []byte
	good    bool
} {
	type request = struct {
		fields  []string
		content []byte
		good    bool
	}
	get := func(more ...string) []string {
		return append([]string{":method", "GET", ":scheme", "http", ":authority", "api", ":path", "/x"}, more...)
	}
	post := func(more ...string) []string {
		return append([]string{":method", "POST", ":scheme", "http", ":authority", "api", ":path", "/x"}, more...)
	}
	with := func(name, value string) []string {
		f := get()
		for i := 0; i < len(f); i += 2 {
			if f[i] == name {
				f[i+1] = value
			}
		}
		return f
	}
	all := map[string]request{
		"a plain one":                          {get(), nil, true},
		"one with content":                     {post("content-length", "4"), []byte("body"), true},
		"one with content of unknown length":   {post(), []byte("body"), true},
		"te: trailers":                         {get("te", "trailers"), nil, true},
		"a host that says the same":            {get("host", "api"), nil, true},
		"less content than said":               {post("content-length", "9"), []byte("body"), false},
		"more content than said":               {post("content-length", "2"), []byte("body"), false},
		"two lengths":                          {post("content-length", "4", "content-length", "5"), []byte("body"), false},
		"a list of lengths":                    {post("content-length", "4, 4"), []byte("body"), false},
		"a length with a sign":                 {post("content-length", "+4"), []byte("body"), false},
		"a length that is none":                {post("content-length", "x"), []byte("body"), false},
		"another host":                         {get("host", "evil"), nil, false},
		"two hosts":                            {get("host", "api", "host", "api"), nil, false},
		"two paths":                            {get(":path", "/y"), nil, false},
		"two methods":                          {append([]string{":method", "PUT"}, get()...), nil, false},
		"two authorities":                      {append([]string{":authority", "evil"}, get()...), nil, false},
		"a pseudo-field behind a field":        {append([]string{"x-a", "1"}, get()...), nil, false},
		"a pseudo-field of answers":            {append([]string{":status", "200"}, get()...), nil, false},
		"a pseudo-field that nobody knows":     {append([]string{":extra", "1"}, get()...), nil, false},
		"no method":                            {get()[2:], nil, false},
		"no path":                              {get()[:6], nil, false},
		"an empty path":                        {with(":path", ""), nil, false},
		"a path without a slash":               {with(":path", "x"), nil, false},
		"an absolute path of another host":     {with(":path", "http://evil/x"), nil, false},
		"a path with a space":                  {with(":path", "/x HTTP/1.1"), nil, false},
		"a path with a line end":               {with(":path", "/x HTTP/1.1\r\nHost: evil\r\n\r\n"), nil, false},
		"a path with a fragment":               {with(":path", "/x#y"), nil, false},
		"a method with a space":                {with(":method", "GET /y HTTP/1.1"), nil, false},
		"a method with a line end":             {with(":method", "GET / HTTP/1.1\r\nX:"), nil, false},
		"an authority with a line end":         {with(":authority", "api\r\nX: 1"), nil, false},
		"an authority with a path":             {with(":authority", "api/x"), nil, false},
		"an authority with a user":             {with(":authority", "u@api"), nil, false},
		"a name in capitals":                   {get("X-A", "1"), nil, false},
		"a name with a space":                  {get("x a", "1"), nil, false},
		"a name with a colon":                  {get("x-a: 1\r\nx-b", "1"), nil, false},
		"a name with a line end":               {get("x-a\r\n", "1"), nil, false},
		"an empty name":                        {get("", "1"), nil, false},
		"a value with a line end":              {get("x-a", "1\r\nX-B: 2"), nil, false},
		"a value with a line feed":             {get("x-a", "1\nX-B: 2"), nil, false},
		"a value with a carriage return":       {get("x-a", "1\rX-B: 2"), nil, false},
		"a value with a zero":                  {get("x-a", "1\x002"), nil, false},
		"a reserved name with underscores":     {get("penstock_path", "x"), nil, false},
		"a reserved name in connection":        {get("connection", "penstock-path"), nil, false},
		"an upgrade":                           {get("upgrade", "h2c"), nil, false},
		"http2-settings and what goes with it": {get("connection", "upgrade, http2-settings", "upgrade", "h2c", "http2-settings", "AAMAAABkAAQAAP__"), nil, false},
	}
	for _, v := range []string{"chunked", "identity", "gzip, chunked", "trailers", ""} {
		all[fmt.Sprintf("transfer-encoding %q", v)] = request{post("transfer-encoding", v), []byte("0\r\n\r\n"), false}
	}
	for _, v := range []string{"close", "keep-alive", "transfer-encoding", "x-a"} {
		all[fmt.Sprintf("connection %q", v)] = request{get("connection", v), nil, false}
	}
	for _, n := range []string{"keep-alive", "proxy-connection"} {
		all[n] = request{get(n, "1"), nil, false}
	}
	for _, v := range []string{"chunked", "gzip", "trailers, deflate"} {
		all[fmt.Sprintf("te %q", v)] = request{get("te", v), nil, false}
	}
	return all
}

// TestDowngrades: of a request in doubt nothing that is whole reaches the next hop, and its stream or its connection is ended.
func TestDowngrades(t *testing.T) {
	var reached atomic.Int64
	l := startListening(t, ported(80), whole(&reached), map[int]int{80: 0})
	for name, c := range downgrades() {
		t.Run(name, func(t *testing.T) {
			before := reached.Load()
			said, err := speakH2(dial(t, l.Addresses()[80].String()), c.fields, c.content)
			if err != nil {
				t.Fatal(err)
			}
			if n := reached.Load() - before; n != map[bool]int64{true: 1}[c.good] {
				t.Errorf("%d requests reached the next hop; the client was told %s", n, said)
			}
			if (said == "200") != c.good {
				t.Errorf("the client was told %s", said)
			}
		})
	}
}

// speakH2 sends one request and returns what became of it: a status, or how it was ended.
func speakH2(c net.Conn, fields []string, content []byte) (said string, err error) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		if err := e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			return "", err
		}
	}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		return "", err
	}
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := f.WriteSettings(); err != nil {
		return "", err
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: content == nil}); err != nil {
		return "", err
	}
	if content != nil {
		_ = f.WriteData(1, true, content) // the head may have been enough to end it
	}
	for {
		frame, err := f.ReadFrame()
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status"), nil
		case *http2.RSTStreamFrame:
			return "reset " + frame.ErrCode.String(), nil
		case *http2.GoAwayFrame:
			return "goaway " + frame.ErrCode.String(), nil
		}
		if err != nil {
			if strings.Contains(err.Error(), "timeout") {
				return "", errors.New("nothing became of it")
			}
			return "closed", nil
		}
	}
}
