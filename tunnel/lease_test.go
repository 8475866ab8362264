package tunnel_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/tunnel"
	"penstock.dev/penstock/tunnel/tunneltest"
)

// TestStreamIsLeasedAgain only after a whole response after a whole request (HOPS-AND-RETRIES A.3, Leases).
func TestStreamIsLeasedAgain(t *testing.T) {
	for _, tc := range []struct {
		name  string
		use   func(t *testing.T, c *tunneltest.Spoke)
		fresh uint64 // streams opened for the exchange after it
	}{
		{"after a whole exchange", func(t *testing.T, c *tunneltest.Spoke) { do(t, c, get(t, "/")) }, 0},
		{"after a whole exchange with an upload", func(t *testing.T, c *tunneltest.Spoke) {
			do(t, c, post(t, "/", io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)))))
		}, 0},
		{"after HEAD without a read of the body", func(t *testing.T, c *tunneltest.Spoke) {
			res, err := c.RoundTrip(request(t.Context(), t, "HEAD", "/", nil))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		}, 0},
		{"not after Close before the end", func(t *testing.T, c *tunneltest.Spoke) {
			res, err := c.RoundTrip(post(t, "/", strings.NewReader("hello")))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		}, 1},
		{"not after the context ended", func(t *testing.T, c *tunneltest.Spoke) {
			ctx, cancel := context.WithCancel(t.Context())
			res, err := c.RoundTrip(request(ctx, t, "POST", "/", strings.NewReader("hello")))
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			synctest.Wait()
			io.ReadAll(res.Body)
		}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := tunneltest.New(t)
				c := w.Dial(t, "east")
				do(t, c, get(t, "/"))
				tc.use(t, c)
				before := c.Stats().Streams
				if _, body := do(t, c, get(t, "/after")); body != "/after" {
					t.Errorf("answer %q, want that of this exchange", body)
				}
				if n := c.Stats().Streams - before; n != tc.fresh {
					t.Errorf("%d streams opened for the next exchange, want %d", n, tc.fresh)
				}
				if s := c.Status()[0]; s.Outstanding != 0 {
					t.Errorf("outstanding = %d, want 0", s.Outstanding)
				}
			})
		})
	}
}

// TestNoLeaseBeforeTheLastByte: while a response is being read its stream is nobody else's.
func TestNoLeaseBeforeTheLastByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t)
		c := w.Dial(t, "east")
		do(t, c, get(t, "/"))
		open, err := c.RoundTrip(post(t, "/", strings.NewReader("hello")))
		if err != nil {
			t.Fatal(err)
		}
		before := c.Stats().Streams
		do(t, c, get(t, "/"))
		if n := c.Stats().Streams - before; n != 1 {
			t.Errorf("%d streams opened beside an unread response, want 1", n)
		}
		if body, err := io.ReadAll(open.Body); err != nil || string(body) != "hello" {
			t.Errorf("read %q, %v", body, err)
		}
		do(t, c, get(t, "/"))
		if n := c.Stats().Streams - before; n != 1 {
			t.Errorf("%d streams opened with two idle, want none", n-1)
		}
	})
}

// TestIdleStreamsAreClosedByTheSpoke after 60 s, but for those in use, and the hub's handlers are not disturbed.
func TestIdleStreamsAreClosedByTheSpoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := tunneltest.New(t, tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/wait" {
				<-release
			}
		})))
		c := w.Dial(t, "east")
		burst := func(path string, n int) *sync.WaitGroup {
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() { do(t, c, get(t, path)) })
			}
			return &wg
		}
		wg := burst("/wait", 8)
		synctest.Wait()
		close(release)
		wg.Wait()
		for range 90 { // one stream stays in use
			do(t, c, get(t, "/"))
			time.Sleep(time.Second)
		}
		before := c.Stats().Streams
		wg = burst("/", 8)
		wg.Wait()
		if n := c.Stats().Streams - before; n != 7 {
			t.Errorf("%d streams opened after 90 s, want 7: one was in use, the others were closed", n)
		}
		if got := w.Hubs[0].Stats().Malformed; got != 0 {
			t.Errorf("%d malformed heads at the hub", got)
		}
	})
}

// TestStreamLimit is row 4: another connection, or a wait of StreamWait, then P1.
func TestStreamLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		w := tunneltest.New(t, tunneltest.Hubs(2),
			tunneltest.Server(func(cfg *tunnel.ServerConfig) { cfg.MaxStreams = 3 }), // one is the watch
			tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-hold:
				case <-r.Context().Done():
				}
			})))
		c := w.Dial(t, "east")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { do(t, c, get(t, "/")) })
		}
		time.Sleep(10 * time.Millisecond)
		for _, h := range w.Hubs {
			if n := h.Stats().Exchanges; n != 4 { // hello and watch too
				t.Errorf("hub %s started %d handlers, want 4", h.Name, n)
			}
		}
		start := time.Now()
		body := &countingBody{Reader: strings.NewReader("hello")}
		_, err := c.RoundTrip(post(t, "/", body))
		var e *tunnel.Error
		if !errors.Is(err, tunnel.ErrStreamLimit) || !errors.As(err, &e) || e.Proof != tunnel.ProofNoStream {
			t.Errorf("RoundTrip error = %v, want ErrStreamLimit with P1", err)
		}
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("gave up after %v, want 100ms", took)
		}
		if body.closes != 0 || body.eof {
			t.Errorf("the body was closed %d times, read to its end %v: want it untouched", body.closes, body.eof)
		}
		wg.Go(func() {
			time.Sleep(50 * time.Millisecond)
			close(hold)
		})
		do(t, c, get(t, "/")) // a stream that is given back in time is taken
		wg.Wait()
		if s := c.Status(); s[0].Outstanding+s[1].Outstanding != 0 {
			t.Errorf("status = %+v, want nothing outstanding", s)
		}
	})
}

// TestStreamLimitIsLiftedByTheHub: a stream that was cancelled makes room for a new one.
func TestStreamLimitIsLiftedByTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t,
			tunneltest.Server(func(cfg *tunnel.ServerConfig) { cfg.MaxStreams = 2 }),
			tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.(http.Flusher).Flush()
				if r.URL.Path == "/wait" {
					<-r.Context().Done()
				}
			})))
		c := w.Dial(t, "east")
		for range 10 {
			res, err := c.RoundTrip(get(t, "/wait"))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			do(t, c, get(t, "/"))
		}
	})
}

// TestLeastOutstanding: hubs and lanes share the load.
func TestLeastOutstanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		w := tunneltest.New(t, tunneltest.Hubs(3), tunneltest.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold })))
		cfg, _ := w.Config("east")
		cfg.Lanes = 2
		c := w.Start(t, cfg)
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() { do(t, c, get(t, "/")) })
			synctest.Wait()
		}
		time.Sleep(10 * time.Millisecond)
		for _, s := range c.Status() {
			if s.Outstanding != 4 || s.Lanes != 2 {
				t.Errorf("hub %s: %d outstanding on %d lanes, want 4 on 2", s.Name, s.Outstanding, s.Lanes)
			}
		}
		close(hold)
		wg.Wait()
	})
}
