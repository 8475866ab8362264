package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serveTarget runs handler as the front door of a chain.
func serveTarget(t *testing.T, handler http.Handler) *target {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return &target{address: s.Listener.Addr().String(), host: "upstream", authorization: "Bearer key"}
}

func startClient(t *testing.T, tg *target, conns int) *client {
	t.Helper()
	c, err := newClient(t.Context(), tg, conns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.close() })
	return c
}

// counted counts what arrives.
func counted(h http.Handler, n *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		h.ServeHTTP(w, r)
	})
}

func TestTheClosedLoopCountsEveryAnswerOnce(t *testing.T) {
	var arrived atomic.Int64
	c := startClient(t, serveTarget(t, counted(upstreamHandler("Bearer key"), &arrived)), 8)
	l := c.closed(t.Context(), smallPath, smallBody, 100*time.Millisecond)
	if err := c.verdict(); err != nil {
		t.Fatal(err)
	}
	if n := l.latency.TotalCount(); n < 8 || n != arrived.Load() {
		t.Errorf("%d latencies, %d arrivals; want as many, and at least one a connection", n, arrived.Load())
	}
	if want := float64(arrived.Load()) / l.elapsed.Seconds(); l.rate() != want {
		t.Errorf("rate = %v, want %v", l.rate(), want)
	}
}

func TestTheOpenLoopSendsItsScheduleHoweverLongAnswersTake(t *testing.T) {
	const stall = 200 * time.Millisecond
	var arrived atomic.Int64
	inner := upstreamHandler("Bearer key")
	c := startClient(t, serveTarget(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if arrived.Add(1) == 1 {
			<-time.After(stall)
		}
		inner.ServeHTTP(w, r)
	})), 1)
	l := c.open(t.Context(), smallPath, smallBody, 100, 100*time.Millisecond) // 10 requests, due at 0, 10, ... 90 ms
	if err := c.verdict(); err != nil {
		t.Fatal(err)
	}
	if l.latency.TotalCount() != 10 || arrived.Load() != 10 {
		t.Errorf("%d latencies, %d arrivals; want 10", l.latency.TotalCount(), arrived.Load())
	}
	// One answer was late; all ten requests were due before it came, and each must say how long it waited.
	if got := time.Duration(l.latency.Min()) * time.Microsecond; got < stall-95*time.Millisecond {
		t.Errorf("shortest latency = %s: a request that was due during the stall counts from when it was sent", got)
	}
}

func TestWrongAnswersAreFailures(t *testing.T) {
	small := string(smallBody)
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		want   string
	}{
		{"another status", func(w http.ResponseWriter) { http.Error(w, small, http.StatusBadGateway) }, "502"},
		{"another body", func(w http.ResponseWriter) { io.WriteString(w, strings.ToUpper(small)) }, "wrong body: 1024 bytes"},
		{"a body that is too short", func(w http.ResponseWriter) { io.WriteString(w, small[1:]) }, "wrong body: 1023 bytes"},
		{"a body that is too long", func(w http.ResponseWriter) { io.WriteString(w, small+"!") }, "wrong body: 1025 bytes"},
		{"an answer that ends early", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1024")
			io.WriteString(w, small[:100])
		}, "wrong body: 100 bytes"},
		{"chunks that end early", func(w http.ResponseWriter) {
			io.WriteString(w, small)
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "unexpected EOF"},
		{"a connection that is not kept", func(w http.ResponseWriter) {
			w.Header().Set("Connection", "close")
			io.WriteString(w, small)
		}, "closes the connection"},
		{"no answer", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var arrived atomic.Int64
			inner := upstreamHandler("Bearer key")
			c := startClient(t, serveTarget(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if arrived.Add(1) == 3 {
					tt.answer(w)
					return
				}
				inner.ServeHTTP(w, r)
			})), 1)
			l := c.open(t.Context(), smallPath, smallBody, 100, 100*time.Millisecond)
			n, first := c.failed()
			if n != 1 || first == nil || !strings.Contains(first.Error(), tt.want) {
				t.Errorf("%d failures, the first %v; want 1 with %q", n, first, tt.want)
			}
			if l.latency.TotalCount() != 9 {
				t.Errorf("%d right answers, want the other 9", l.latency.TotalCount())
			}
			if err := c.verdict(); !errors.Is(err, first) {
				t.Errorf("verdict = %v, want one that wraps %v", err, first)
			}
		})
	}
}

func TestALoadThatOnlyFailsIsGivenUp(t *testing.T) {
	c := startClient(t, serveTarget(t, http.NotFoundHandler()), 2)
	l := c.closed(t.Context(), smallPath, smallBody, time.Hour)
	if n, _ := c.failed(); n < maxFailures || n > maxFailures+2 || l.latency.TotalCount() != 0 {
		t.Errorf("%d failures and %d right answers, want about %d and 0", n, l.latency.TotalCount(), maxFailures)
	}
}

func TestTheUpstreamWantsItsKeyAndNothingElse(t *testing.T) {
	for _, sent := range []string{"Bearer other", "", "Bearer key\r\nAuthorization: Bearer key"} {
		tg := serveTarget(t, upstreamHandler("Bearer key"))
		tg.authorization = sent
		if err := ask(t.Context(), tg); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("Authorization %q: error = %v, want 401", sent, err)
		}
	}
}

func TestLargeBodiesAreChecked(t *testing.T) {
	const size = 300_001 // no multiple of any block
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    string // "": no error
	}{
		{"as the upstream sends it", upstreamHandler("Bearer key").ServeHTTP, ""},
		{"in chunks", func(w http.ResponseWriter, _ *http.Request) {
			for rest := size; rest > 0; rest -= len(smallBody) {
				w.Write(smallBody[:min(rest, len(smallBody))])
			}
		}, ""},
		{"too short", func(w http.ResponseWriter, r *http.Request) {
			r.URL.RawQuery = "bytes=" + strconv.Itoa(size-1)
			serveBulk(w, r)
		}, "body of 300000 bytes, want 300001"},
		{"with one wrong byte", func(w http.ResponseWriter, _ *http.Request) {
			for range size - 1 {
				io.WriteString(w, "0")
			}
		}, "wrong bytes"},
		{"refused", http.NotFound, "404"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := startClient(t, serveTarget(t, tt.handler), 1)
			took, err := c.bulk(size)
			if tt.want == "" {
				if err != nil || took <= 0 {
					t.Errorf("bulk = %s, %v", took, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("bulk error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestEventStreamsAreChecked(t *testing.T) {
	send := func(numbers ...int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for _, n := range numbers {
				io.WriteString(w, event(n, time.Now()))
			}
		}
	}
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    string // "": no failure
	}{
		{"as the upstream sends them", upstreamHandler("Bearer key").ServeHTTP, ""},
		{"one is missing at the end", send(0, 1), "stream of 2 events, want 3"},
		{"one is missing in between", send(0, 2), "event 2 where 1 was due"},
		{"two changed places", send(1, 0, 2), "event 1 where 0 was due"},
		{"one is too many", send(0, 1, 2, 3), "stream of 4 events, want 3"},
		{"something else", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }, `event "hello\n"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := startClient(t, serveTarget(t, tt.handler), 2)
			l := c.events(2, 3)
			n, first := c.failed()
			if tt.want == "" {
				if n != 0 || l.latency.TotalCount() != 6 {
					t.Errorf("%d failures (%v), %d events; want 0 and 6", n, first, l.latency.TotalCount())
				}
				return
			}
			if n != 2 || !strings.Contains(first.Error(), tt.want) {
				t.Errorf("%d failures, the first %v; want 2 with %q", n, first, tt.want)
			}
		})
	}
}

func TestQuantilesAreInMilliseconds(t *testing.T) {
	h := latencies()
	for us := int64(1); us <= 100; us++ {
		if err := h.RecordValue(us * 10); err != nil {
			t.Fatal(err)
		}
	}
	if p50, p99 := quantileMS(h, 50), quantileMS(h, 99); p50 != 0.5 || p99 != 0.99 {
		t.Errorf("p50, p99 of 0.01, 0.02, ... 1 ms = %v, %v; want 0.5 and 0.99", p50, p99)
	}
}
