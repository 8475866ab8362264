package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxFailures ends a load that fails; there is nothing more to learn from it.
const maxFailures = 100

// client loads one chain over connections that it keeps. Its loads run one at a time.
type client struct {
	t     *target
	conns []*conn

	mu       sync.Mutex
	failures int
	first    error
}

// newClient dials n connections.
func newClient(ctx context.Context, t *target, n int) (*client, error) {
	c := &client{t: t}
	for range n {
		conn, err := dial(ctx, t)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

func (c *client) close() (err error) {
	for _, conn := range c.conns {
		err = errors.Join(err, conn.Close())
	}
	return err
}

// fail counts a failure and reports whether to go on.
func (c *client) fail(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures++
	if c.first == nil {
		c.first = err
	}
	return c.failures < maxFailures
}

// failed is how many requests failed so far, and the first cause.
func (c *client) failed() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failures, c.first
}

// latencies are in microseconds, up to a minute, to three digits.
func latencies() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 3)
}

// quantileMS of latencies, in milliseconds.
func quantileMS(h *hdrhistogram.Histogram, percent float64) float64 {
	return float64(h.ValueAtPercentile(percent)) / 1000
}

// load is what a load saw; only answers that were right are in it.
type load struct {
	latency *hdrhistogram.Histogram
	elapsed time.Duration
}

// rate is right answers a second.
func (l load) rate() float64 { return float64(l.latency.TotalCount()) / l.elapsed.Seconds() }

// closed keeps one request of path on every connection for d: a new one as soon as the last was answered. It shows what
// the chain can do; its latencies are those of a full chain.
func (c *client) closed(ctx context.Context, path string, want []byte, d time.Duration) load {
	began := time.Now()
	end := began.Add(d)
	return c.each(path, want, func() (time.Time, bool) {
		now := time.Now()
		return now, now.Before(end) && ctx.Err() == nil
	})
}

// open sends rate requests of path a second for d, whether or not earlier ones were answered. A request's latency counts
// from the instant it was due, so that a stall of the chain is seen by all requests that it delays (no coordinated
// omission); one that finds every connection taken waits, and its wait counts.
func (c *client) open(ctx context.Context, path string, want []byte, rate int, d time.Duration) load {
	due := make(chan time.Time, int(d.Seconds()*float64(rate))+1) // the schedule is never held up
	ctx, cancel := context.WithCancel(ctx)
	var schedule sync.WaitGroup
	defer schedule.Wait()
	defer cancel() // when all connections failed before the end
	schedule.Go(func() {
		defer close(due)
		began := time.Now()
		for i := 0; ; i++ {
			at := time.Duration(i) * time.Second / time.Duration(rate)
			if at >= d || ctx.Err() != nil {
				return
			}
			sleepUntil(began.Add(at))
			due <- began.Add(at)
		}
	})
	return c.each(path, want, func() (time.Time, bool) {
		at, ok := <-due
		return at, ok
	})
}

// each runs one goroutine a connection; next gives the start of its next request, or false at the end.
func (c *client) each(path string, want []byte, next func() (time.Time, bool)) load {
	began := time.Now()
	all := make([]*hdrhistogram.Histogram, len(c.conns))
	var workers sync.WaitGroup
	for i := range c.conns {
		all[i] = latencies()
		workers.Go(func() {
			head := c.t.request(path)
			for {
				start, ok := next()
				if !ok {
					return
				}
				err := c.conns[i].exchange(head, want)
				if err == nil {
					err = all[i].RecordValue(time.Since(start).Microseconds())
				}
				if err != nil && !(c.fail(err) && c.redial(i)) {
					return
				}
			}
		})
	}
	workers.Wait()
	l := load{latency: latencies(), elapsed: time.Since(began)}
	for _, h := range all {
		l.latency.Merge(h)
	}
	return l
}

// redial replaces a connection after a failure, which may have left half an answer in it.
func (c *client) redial(i int) bool {
	_ = c.conns[i].Close() // it has failed already
	ctx, cancel := context.WithTimeout(context.Background(), exchangeTime)
	defer cancel()
	conn, err := dial(ctx, c.t)
	if err != nil {
		c.fail(err)
		return false
	}
	c.conns[i] = conn
	return true
}

// bulkTime bounds one large body.
const bulkTime = 2 * time.Minute

// bulk reads a body of size bytes on the first connection, checks it, and says how long it took.
func (c *client) bulk(size int64) (time.Duration, error) {
	conn := c.conns[0]
	if err := conn.SetDeadline(time.Now().Add(bulkTime)); err != nil {
		return 0, err
	}
	began := time.Now()
	body, err := conn.send(c.t.request(fmt.Sprintf("%s?bytes=%d", bulkPath, size)))
	if err != nil {
		return 0, err
	}
	n, err := io.CopyBuffer(&pattern{}, struct{ io.Reader }{body}, make([]byte, 128<<10))
	if err == nil && n != size {
		err = fmt.Errorf("body of %d bytes, want %d", n, size)
	}
	return time.Since(began), err
}

// pattern is a writer that refuses anything but smallBody repeated.
type pattern struct{ at int }

// Write implements io.Writer.
func (p *pattern) Write(b []byte) (int, error) {
	for n := 0; n < len(b); {
		want := bulkBlock[p.at:]
		part := b[n:min(n+len(want), len(b))]
		if !bytes.Equal(part, want[:len(part)]) {
			return n, errors.New("wrong bytes in the body")
		}
		n += len(part)
		p.at = (p.at + len(part)) % len(bulkBlock)
	}
	return len(b), nil
}

// events reads a stream of count events on each of the first streams connections. The latency is that of one event, from
// the upstream's write to the end of our read. A missing event, or one out of order, is a failure.
func (c *client) events(streams, count int) load {
	began := time.Now()
	l := load{latency: latencies()}
	var mu sync.Mutex // guards l.latency; a few hundred events a second
	var readers sync.WaitGroup
	for _, conn := range c.conns[:streams] {
		readers.Go(func() {
			if err := c.stream(conn, count, func(d time.Duration) error {
				mu.Lock()
				defer mu.Unlock()
				return l.latency.RecordValue(d.Microseconds())
			}); err != nil {
				c.fail(err)
			}
		})
	}
	readers.Wait()
	l.elapsed = time.Since(began)
	return l
}

func (c *client) stream(conn *conn, count int, saw func(time.Duration) error) error {
	if err := conn.SetDeadline(time.Now().Add(time.Duration(count)*eventGap + exchangeTime)); err != nil {
		return err
	}
	body, err := conn.send(c.t.request(fmt.Sprintf("%s?count=%d", eventPath, count)))
	if err != nil {
		return err
	}
	lines, want := bufio.NewReader(body), 0
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the stream: %w", err)
		}
		if line == "\n" {
			continue
		}
		number, sent, err := parseEvent(line)
		if err != nil {
			return err
		}
		if number != want {
			return fmt.Errorf("event %d where %d was due", number, want)
		}
		if err := saw(time.Since(sent)); err != nil {
			return err
		}
		want++
	}
	if want != count {
		return fmt.Errorf("stream of %d events, want %d", want, count)
	}
	return nil
}
