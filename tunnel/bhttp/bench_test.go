package bhttp

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
)

// benchRequest is what a model vendor's client library sends, with our tags.
func benchRequest() (*RequestHead, []byte) {
	return &RequestHead{
		Method: "POST", Scheme: "https", Authority: "openai.ai.svc.clusterset.local", Path: "/v1/chat/completions",
		Header: http.Header{
			"Accept": {"application/json"}, "Content-Type": {"application/json"}, "Content-Length": {"1024"},
			"User-Agent": {"OpenAI/Python 1.99.0"}, "Accept-Encoding": {"gzip, deflate"},
			"X-Stainless-Lang": {"python"}, "X-Stainless-Retry-Count": {"0"},
			"X-Tag-Path": {`"9f00";i="a1"`}, "X-Tag-Budget": {"h=3, a=3, t=29480, s=0"}, "Via": {"1.1 pspoke"},
		},
	}, bytes.Repeat([]byte("x"), 1024)
}

func BenchmarkAppendRequest(b *testing.B) {
	head, content := benchRequest()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = AppendRequestHead(buf[:0], head); err != nil {
			b.Fatal(err)
		}
		if buf, err = AppendEnd(AppendContent(buf, content), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
}

// endless repeats one message.
type endless struct {
	b  []byte
	at int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.at == len(e.b) {
		e.at = 0
	}
	n := copy(p, e.b[e.at:])
	e.at += n
	return n, nil
}

func BenchmarkReadRequest(b *testing.B) {
	head, content := benchRequest()
	msg, err := appendRequest(nil, request{Head: head, Content: string(content)})
	if err != nil {
		b.Fatal(err)
	}
	r := NewReader(&endless{b: msg}, Limits{})
	p := make([]byte, 2048)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.ReadRequestHead(); err != nil {
			b.Fatal(err)
		}
		for err = nil; err == nil; {
			_, err = r.Read(p)
		}
		if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadContent(b *testing.B) {
	const chunk = 32 << 10
	head := rawSection([]byte{3, 0x40, 200}, nil)
	chunks := &endless{b: AppendContent(nil, make([]byte, chunk))}
	r := NewReader(io.MultiReader(bytes.NewReader(head), chunks), Limits{})
	if _, err := r.ReadResponseHead(); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, chunk)
	b.SetBytes(chunk)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.ReadFull(r, p); err != nil {
			b.Fatal(err)
		}
	}
}
