package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"time"
)

// exchangeTime bounds one small exchange; a chain that is slower has failed.
const exchangeTime = 20 * time.Second

// conn is a client's connection: HTTP/1.1, one exchange after the other. It reads answers itself, because net/http's
// client costs as much CPU time as a hop and would take it from the hops.
type conn struct {
	net.Conn
	r   *bufio.Reader
	buf []byte // of exchange
}

func dial(ctx context.Context, t *target) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	var c net.Conn
	var err error
	if t.tls == nil {
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp", t.address)
	} else {
		c, err = (&tls.Dialer{Config: t.tls}).DialContext(ctx, "tcp", t.address)
	}
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, r: bufio.NewReaderSize(c, 16<<10)}, nil
}

// exchange sends a head and checks that the answer is 200 with the body want.
func (c *conn) exchange(head, want []byte) error {
	if err := c.SetDeadline(time.Now().Add(exchangeTime)); err != nil {
		return err
	}
	body, err := c.send(head)
	if err != nil {
		return err
	}
	if len(c.buf) <= len(want) {
		c.buf = make([]byte, len(want)+1) // one more shows a body that is too long
	}
	n := 0
	for n < len(c.buf) {
		m, err := body.Read(c.buf[n:])
		n += m
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the body: %w", err)
		}
	}
	if !bytes.Equal(c.buf[:n], want) {
		return fmt.Errorf("wrong body: %d bytes, want %d", n, len(want))
	}
	return nil
}

// send sends a head and returns the body of the answer, which must be 200. The body is to be read to its end before the
// next one.
func (c *conn) send(head []byte) (io.Reader, error) {
	if _, err := c.Write(head); err != nil {
		return nil, err
	}
	line, err := c.line()
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return nil, fmt.Errorf("answer %q", line)
	}
	length, chunked := int64(-1), false
	for {
		line, err := c.line()
		if err != nil {
			return nil, fmt.Errorf("read the head: %w", err)
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.ParseInt(string(value), 10, 64); err != nil || length < 0 {
				return nil, fmt.Errorf("Content-Length %q", value)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("close")):
			return nil, errors.New("the answer closes the connection; chains keep theirs")
		}
	}
	switch {
	case chunked:
		return &chunkedBody{Reader: httputil.NewChunkedReader(c.r), c: c}, nil
	case length >= 0:
		return io.LimitReader(c.r, length), nil
	}
	return nil, errors.New("the answer has neither length nor chunks")
}

// line without its end, valid until the next read.
func (c *conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// chunkedBody reads trailers too, which httputil leaves in the stream.
type chunkedBody struct {
	io.Reader
	c     *conn
	ended bool
}

// Read implements io.Reader.
func (b *chunkedBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.Reader.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	for {
		line, lineErr := b.c.line()
		if lineErr != nil {
			return n, lineErr
		}
		if len(line) == 0 {
			b.ended = true
			return n, io.EOF
		}
	}
}
