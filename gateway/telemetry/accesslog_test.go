package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var entry = Entry{
	Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), RequestID: "01J", TraceID: "0af7", Gateway: "spoke-0", Labels: shop, Proof: "token",
	Method: "POST", Host: "openai", Path: "/v1/chat", Status: 200, Attempts: 1, Connects: 1, Hops: 1, BytesIn: 10, BytesOut: 20,
	Headers: 1500 * time.Microsecond, Took: 2 * time.Second,
}

func TestALineOfTheAccessLog(t *testing.T) {
	var out bytes.Buffer
	l := NewAccessLog(&out, 0, nil)
	l.Log(entry)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %q", err, &out)
	}
	for name, want := range map[string]any{
		"msg": "request", "requestId": "01J", "traceId": "0af7", "gateway": "spoke-0", "cluster": "east", "namespace": "shop",
		"serviceAccount": "bot", "proof": "token", "listener": "infra/egress", "route": "shop/pay", "backend": "billing/payments",
		"method": "POST", "host": "openai", "path": "/v1/chat", "status": 200.0, "attempts": 1.0, "connects": 1.0, "hops": 1.0,
		"bytesIn": 10.0, "bytesOut": 20.0, "headersMs": 1.5, "tookMs": 2000.0, "truncated": false, "time": "2026-01-02T03:04:05Z",
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// stuck is a sink that blocks in its first write until it is let go.
type stuck struct {
	mu      sync.Mutex
	entered chan struct{}
	release chan struct{}
	out     strings.Builder
	once    sync.Once
}

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.entered) })
	<-s.release
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

// F-63: a blocked sink makes no request wait; what does not fit is dropped and counted.
func TestABlockedSinkBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &stuck{entered: make(chan struct{}), release: make(chan struct{})}
		m := New(Config{})
		l := NewAccessLog(sink, 10, m)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		l.Log(entry)
		<-sink.entered
		start := time.Now()
		for range 1000 {
			l.Log(entry)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("logging took %v", took)
		}
		if want := "penstock_access_log_dropped_total 990"; !strings.Contains(scrape(t, m), want) {
			t.Errorf("no %q", want)
		}
		close(sink.release)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := strings.Count(sink.out.String(), "\n"); n != 11 {
			t.Errorf("%d lines, want the one under way and the ten that fitted", n)
		}
	})
}

func TestABlockedSinkDoesNotKeepAGatewayFromStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &stuck{entered: make(chan struct{}), release: make(chan struct{})}
		l := NewAccessLog(sink, 10, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		l.Log(entry)
		<-sink.entered
		cancel()
		start := time.Now()
		if err := <-done; err != nil || time.Since(start) != flushTime {
			t.Errorf("Run returned %v after %v, want nil after %v", err, time.Since(start), flushTime)
		}
		close(sink.release)
		synctest.Wait()
	})
}

func TestNoAccessLog(t *testing.T) {
	var l *AccessLog
	l.Log(entry)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Error(err)
	}
}

func BenchmarkLog(b *testing.B) {
	l := NewAccessLog(io.Discard, 1, New(Config{}))
	b.ReportAllocs()
	for b.Loop() {
		l.Log(entry)
	}
}
