package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// script is a connection whose other side has sent all it will ever send.
type script struct{ net.Conn }

func (script) Write(b []byte) (int, error)   { return len(b), nil }
func (script) SetDeadline(_ time.Time) error { return nil }

// What both bench and net/http read from an answer is the same body: bench cannot be faster by reading less.
func FuzzAnswersReadAsNetHTTPReadsThem(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: t\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\nhello",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		c := &conn{Conn: script{}, r: bufio.NewReader(bytes.NewReader(answer))}
		body, err := c.send(nil)
		if err != nil {
			return
		}
		got, err := io.ReadAll(body)
		if err != nil {
			return
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
		if err != nil {
			return // net/http is the stricter one
		}
		defer res.Body.Close()
		want, err := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("read %q as 200, net/http as %d", answer, res.StatusCode)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("read %q of %q, net/http %q", got, answer, want)
		}
	})
}

func FuzzEventsComeBackAsSent(f *testing.F) {
	f.Add(0, int64(0))
	f.Add(299, int64(1_795_000_000_123_456_789))
	f.Add(-1, int64(-1))
	f.Fuzz(func(t *testing.T, number int, nanos int64) {
		line, rest, _ := bytes.Cut([]byte(event(number, time.Unix(0, nanos))), []byte("\n"))
		n, at, err := parseEvent(string(line) + "\n")
		if err != nil || n != number || at.UnixNano() != nanos || string(rest) != "\n" {
			t.Errorf("event(%d, %d) came back as %d, %d, %v", number, nanos, n, at.UnixNano(), err)
		}
	})
}
