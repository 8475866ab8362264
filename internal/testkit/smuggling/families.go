package smuggling

import (
	"fmt"
	"strings"
)

// families makes payloads by rule: each value in each place where a reader may trip over it. None of them is good.
func families() (all []Payload) {
	names := map[string]bool{}
	add := func(family, name, raw string) {
		p := Payload{Family: family, Name: name, Raw: raw}
		if names[p.String()] {
			panic("smuggling: two payloads are called " + p.String())
		}
		names[p.String()] = true
		all = append(all, p)
	}
	get := func(fields string) string { return "GET /x HTTP/1.1\r\n" + host + fields + "\r\n" }
	chunks := "4\r\nbody\r\n0\r\n\r\n"

	for _, v := range []string{
		"", "identity", "chunked, identity", "identity, chunked", "chunked, chunked", "gzip, chunked", "chunked, gzip", "deflate", ",chunked", "chunked,",
		"xchunked", "chunkedx", "chunk", "chun ked", "chunked;q=1", "chunked; foo", `"chunked"`, "'chunked'", "[chunked]", "c%68unked", "chunked\x0b", "\x0bchunked",
		"chunked\x00", "\x00chunked", "chunked\xa0", "\xefchunked", "cow", "\\chunked", "chunked\x7f", "trailers",
	} {
		add("TE.TE", fmt.Sprintf("value %q", v), start+host+"Transfer-Encoding: "+v+"\r\n\r\n"+chunks)
		add("CL.TE", fmt.Sprintf("value %q behind a length", v), start+host+"Content-Length: 4\r\nTransfer-Encoding: "+v+"\r\n\r\n"+chunks)
	}
	for _, framing := range []struct{ name, value, body string }{{"Transfer-Encoding", "chunked", chunks}, {"Content-Length", "4", "body"}} {
		for _, n := range []string{
			framing.name + " ", framing.name + "\t", " " + framing.name, "\t" + framing.name, framing.name + "\x00", framing.name + "\r", framing.name + "\x0b",
			framing.name + "\xa0", strings.ReplaceAll(framing.name, "-", "_"), strings.ReplaceAll(framing.name, "-", " "), strings.ReplaceAll(framing.name, "-", "\x00-"),
			strings.ReplaceAll(strings.ToUpper(framing.name), "-", "_"), "(" + framing.name + ")", framing.name + ";", framing.name + "\n",
		} {
			add("names that frame", fmt.Sprintf("%q", n), start+host+n+": "+framing.value+"\r\n\r\n"+framing.body)
		}
	}
	for _, v := range []string{
		"", "+4", "-4", "-0", "4 4", "4,4", "4, 4", "4,", ",4", "4;", "0x4", "4.0", "4e0", "four", "\u0664", "4\x00", "4\x0b", "\x0c4", "4_0", "(4)", "'4'", "\"4\"", "4\t4",
		"9999999999999999999", "18446744073709551620", "99999999999999999999999999", "4\xa0", "\xa04", "4\x7f",
	} {
		add("CL", fmt.Sprintf("value %q", v), start+host+"Content-Length: "+v+"\r\n\r\nbody")
	}
	for _, v := range []string{"4", "5", "0", "04", "-4"} {
		add("CL.CL", "4 and then "+v, start+host+"Content-Length: 4\r\nContent-Length: "+v+"\r\n\r\nbody")
		add("CL.CL", "in lower case "+v+" and then 4", start+host+"content-length: "+v+"\r\nContent-Length: 4\r\n\r\nbody")
		add("CL.TE", "length "+v+" behind the coding", start+host+"Transfer-Encoding: chunked\r\nContent-Length: "+v+"\r\n\r\n"+chunks)
	}
	for _, b := range []string{"\x00", "\x01", "\x08", "\x0b", "\x0c", "\r", "\x1b", "\x1f", "\x7f"} {
		for place, raw := range map[string]string{
			"the method":      "GE" + b + "T /x HTTP/1.1\r\n" + host + "\r\n",
			"the target":      "GET /x" + b + "y HTTP/1.1\r\n" + host + "\r\n",
			"the version":     "GET /x HTTP/1.1" + b + "\r\n" + host + "\r\n",
			"a name":          get("X-A" + b + "B: 1\r\n"),
			"a value":         get("X-A: 1" + b + "2\r\n"),
			"an end of value": get("X-A: 1" + b + "\r\n"),
			"a trailer":       start + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1" + b + "2\r\n\r\n",
		} {
			add("control bytes", fmt.Sprintf("%q in %s", b, place), raw)
		}
	}
	for place, raw := range map[string]string{
		"the request line":          "GET /x HTTP/1.1\n" + host + "\r\n",
		"a field":                   "GET /x HTTP/1.1\r\nHost: a.example.com\nX: 1\r\n\r\n",
		"the last field":            get("X: 1\n"),
		"the empty line":            "GET /x HTTP/1.1\r\n" + host + "\n",
		"everywhere":                "GET /x HTTP/1.1\nHost: a.example.com\n\n",
		"a chunk size":              start + host + "Transfer-Encoding: chunked\r\n\r\n4\nbody\r\n0\r\n\r\n",
		"the end of a chunk":        start + host + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\n0\r\n\r\n",
		"the last chunk":            start + host + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\n\r\n",
		"a trailer":                 start + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: 1\n\r\n",
		"the end of all":            start + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\n",
		"a second request's fields": "GET /x HTTP/1.1\r\n" + host + "X: 1\n\nGET /y HTTP/1.1\r\n" + host + "\r\n",
	} {
		add("line feeds alone", "behind "+place, raw)
	}
	for name, fields := range map[string]string{
		"of a value": "X: 1\r\n 2\r\n", "with a tab": "X: 1\r\n\t2\r\n", "of the coding": "Transfer-Encoding:\r\n chunked\r\n", "of a length": "Content-Length:\r\n 4\r\n",
		"that hides a field": "X: 1\r\n Content-Length: 4\r\n", "of nothing": "X:\r\n \r\n", "of Host": "Host:\r\n a.example.com\r\n",
	} {
		add("folded lines", name, get(fields))
	}
	for _, size := range []string{
		"", "g", "0x4", "+4", "-4", " 4", "4 ", "4\t", "4;", "4;a", "4;a=b", `4;a="b"`, "4 ;a", "4;\x00", "4,4", "00000000000000004", "ffffffffffffffff", "10000000000000000",
		"4\x0b", "4_", "4.0", "4\r", "\u0664", "4h", "4:", "4#",
	} {
		add("chunk sizes", fmt.Sprintf("%q", size), start+host+"Transfer-Encoding: chunked\r\n\r\n"+size+"\r\nbody\r\n0\r\n\r\n")
	}
	for _, size := range []string{"0;a", "0 ", "-0", "0x0", "00000000000000000"} {
		add("chunk sizes", fmt.Sprintf("%q as the last one", size), start+host+"Transfer-Encoding: chunked\r\n\r\n"+size+"\r\n\r\n")
	}
	for name, body := range map[string]string{
		"longer than said": "3\r\nbody\r\n0\r\n\r\n", "shorter than said": "5\r\nbody\r\n0\r\n\r\n", "without an end": "4\r\nbody0\r\n\r\n",
		"that end in a carriage return": "4\r\nbody\r0\r\n\r\n", "that end twice": "4\r\nbody\r\n\r\n0\r\n\r\n",
	} {
		add("chunks", name, start+host+"Transfer-Encoding: chunked\r\n\r\n"+body)
	}
	for _, name := range []string{
		"Content-Length", "content-length", "Transfer-Encoding", "Host", "Connection", "Upgrade", "TE", "Trailer", "Content_Length", "Transfer_Encoding",
		"X ", " X", "", "X\x00", "X(Y)",
	} {
		add("trailers", fmt.Sprintf("name %q", name), start+host+"Transfer-Encoding: chunked\r\n\r\n0\r\n"+name+": 4\r\n\r\n")
	}
	add("trailers", "no name", start+host+"Transfer-Encoding: chunked\r\n\r\n0\r\nhello\r\n\r\n")
	for _, target := range []string{
		"http://b.example.com/x", "https://b.example.com/x", "http://a.example.com:81/x", "http://a.example.com@b.example.com/", "http://b.example.com#@a.example.com/",
		`http://b.example.com\@a.example.com/`, "ftp://a.example.com/", "x", "a.example.com:80", "http:///x", "http:x", "mailto:x", "http://a.example.com.evil/x", "/x#y", "?x",
	} {
		add("targets", fmt.Sprintf("%q", target), "GET "+target+" HTTP/1.1\r\n"+host+"\r\n")
	}
	for name, fields := range map[string]string{
		"twice": "Host: a.example.com\r\nHost: a.example.com\r\n", "two": "Host: a.example.com\r\nHost: b.example.com\r\n", "none": "X: 1\r\n",
		"with a space": "Host : a.example.com\r\n", "beside its capitals": "HOST: b.example.com\r\nHost: a.example.com\r\n",
	} {
		add("Host", name, "GET /x HTTP/1.1\r\n"+fields+"\r\n")
	}
	for _, line := range []string{
		"GET  /x HTTP/1.1", "GET /x  HTTP/1.1", "GET\t/x HTTP/1.1", "GET /x\tHTTP/1.1", " GET /x HTTP/1.1", "GET /x HTTP/1.1 ", "GET /x http/1.1", "GET /x HTTP/1.2", "GET /x HTTP/2.0",
		"GET /x HTTP/0.9", "GET /x HTTP/01.1", "GET /x HTTP/1.10", "GET /x HTTP /1.1", "GET /x HTTP/1", "GET /x", "GET", "/x HTTP/1.1", "GET /x y HTTP/1.1", "G(T /x HTTP/1.1", "\r\nGET /x HTTP/1.1",
		"GET /\u00fc HTTP/1.1", "GET /x HTTP/1.1\x85",
	} {
		add("request lines", fmt.Sprintf("%q", line), line+"\r\n"+host+"\r\n")
	}
	for _, c := range `(),/;<=>?@[\]{}" ` {
		add("names", fmt.Sprintf("with %q", c), get("X"+string(c)+"Y: 1\r\n"))
	}
	add("names", "none", get(": 1\r\n"))
	add("names", "without a colon", get("X\r\n"))
	return all
}
