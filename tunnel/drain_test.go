package tunnel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/tunnel"
	"penstock.dev/penstock/tunnel/tunneltest"
)

// TestDrainIsHitless: hubs are drained, ended and started again one after the other, under load. // F-16
func TestDrainIsHitless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Hubs(3), tunneltest.Latency(5*time.Millisecond))
		c := w.Dial(t, "east")
		load := startLoad(t, c, 16, 20*time.Millisecond)
		for range 3 {
			for _, h := range w.Hubs {
				start := time.Now()
				h.Drain(t.Context())
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("the drain of %s took %v: the spoke did not leave", h.Name, took)
				}
				h.Stop()
				time.Sleep(time.Second)
				h.Start(t)
				time.Sleep(7 * time.Second)
			}
		}
		for _, s := range c.Status() {
			if s.State != "ready" {
				t.Errorf("hub %s is %s (%s) after its restart, want ready", s.Name, s.State, s.Error)
			}
		}
		load.stop(t)
	})
}

// deafSpoke is a spoke that hears no drain event.
func deafSpoke(t *testing.T, w *tunneltest.World) *tunneltest.Spoke {
	t.Helper()
	cfg, _ := w.Config("east")
	cfg.Session = func(ctx context.Context, _ tunnel.Hub, _ http.RoundTripper) error {
		<-ctx.Done()
		return ctx.Err()
	}
	return w.Start(t, cfg)
}

// TestDrainRejectsWhatCrossesIt: until 1 RTT + 250 ms new exchanges are served, then answered with `rejected`; a started
// one is not touched before the hard deadline.
func TestDrainRejectsWhatCrossesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			if r.URL.Path == "/long" {
				time.Sleep(20 * time.Second)
			}
			io.WriteString(w, "done")
		})))
		c := deafSpoke(t, w)
		long, err := c.RoundTrip(get(t, "/long"))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		start := time.Now()
		wg.Go(func() { w.Hubs[0].Drain(t.Context()) })
		time.Sleep(100 * time.Millisecond)
		select {
		case <-w.Hubs[0].Draining():
		default:
			t.Error("Draining is not closed")
		}
		do(t, c, get(t, "/early"))
		time.Sleep(200 * time.Millisecond)
		if _, err := c.RoundTrip(get(t, "/late")); !errors.Is(err, tunnel.ErrRejected) {
			t.Errorf("RoundTrip error = %v, want ErrRejected", err)
		}
		synctest.Wait()
		if s := c.Status()[0]; s.State != "draining" {
			t.Errorf("state = %s, want draining", s.State)
		}
		if body, err := io.ReadAll(long.Body); err != nil || string(body) != "done" {
			t.Errorf("the exchange that was running answered %q, %v", body, err)
		}
		wg.Wait() // the spoke has closed the connection after its last exchange
		if took := time.Since(start); took < 19*time.Second || took > 25*time.Second {
			t.Errorf("Drain took %v, want until the last exchange ended", took)
		}
	})
}

// TestDrainEndsAtItsDeadline: a stream that does not end is cut, never ended cleanly. // F-18
func TestDrainEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "first")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})))
		c := w.Dial(t, "east")
		res, err := c.RoundTrip(get(t, "/"))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		go w.Hubs[0].Drain(t.Context())
		body, err := io.ReadAll(res.Body)
		if !errors.Is(err, tunnel.ErrPeerLost) || string(body) != "first" {
			t.Errorf("read %q, %v, want the first event and ErrPeerLost", body, err)
		}
		if took := time.Since(start); took < 29*time.Second || took > 31*time.Second {
			t.Errorf("cut after %v, want 30 s", took)
		}
	})
}

// TestControlIsServedWhileDraining: a renewal must get through to the end.
func TestControlIsServedWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t)
		result := make(chan error, 1)
		cfg, _ := w.Config("east")
		cfg.Session = func(ctx context.Context, _ tunnel.Hub, rt http.RoundTripper) error {
			<-w.Hubs[0].Draining()
			time.Sleep(5 * time.Second)
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+tunnel.ControlAuthority+"/v1/renew", strings.NewReader("{}"))
			if err != nil {
				return err
			}
			res, err := rt.RoundTrip(req)
			if err == nil {
				res.Body.Close()
			}
			result <- err
			return nil
		}
		w.Start(t, cfg)
		w.Hubs[0].Drain(t.Context())
		select {
		case err := <-result:
			if err != nil {
				t.Errorf("control exchange while draining: %v", err)
			}
		default:
			t.Error("Drain returned before the session had ended")
		}
	})
}

// TestDrainRefusesNewConnections: a spoke that comes now goes elsewhere.
func TestDrainRefusesNewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t)
		deafSpoke(t, w) // keeps the drain going
		go w.Hubs[0].Drain(t.Context())
		synctest.Wait()
		start := time.Now()
		c := w.Dial(t, "west")
		_, err := c.RoundTrip(get(t, "/"))
		var e *tunnel.Error
		if !errors.As(err, &e) || e.Proof != "P1" {
			t.Errorf("RoundTrip error = %v, want P1", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("refused after %v, want at once", took)
		}
	})
}

// TestAtMostOnce: hubs are killed and drained at random moments under POSTs that are repeated on proofs only. No request
// id is started twice, none is started that was proven not to be, and what was answered was started once. // X1
func TestAtMostOnce(t *testing.T) {
	const seeds = 1000
	var seen outcomes
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) { atMostOnce(t, seed, &seen) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if seen.answered == 0 || seen.rejected == 0 || seen.lost == 0 {
		t.Errorf("%+v: the test has not seen everything it is about", seen)
	}
	t.Logf("%+v", seen)
}

// outcomes of tries.
type outcomes struct{ answered, rejected, lost int }

func (o *outcomes) count(err error) {
	switch {
	case err == nil:
		o.answered++
	case errors.Is(err, tunnel.ErrRejected):
		o.rejected++
	case errors.Is(err, tunnel.ErrPeerLost):
		o.lost++
	}
}

func atMostOnce(t *testing.T, seed uint64, seen *outcomes) {
	r := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	started := map[string]int{}
	sleeps := rand.New(rand.NewPCG(seed, 2))
	w := tunneltest.New(t, tunneltest.Hubs(2), tunneltest.Latency(time.Duration(1+r.IntN(20))*time.Millisecond),
		tunneltest.Server(func(cfg *tunnel.ServerConfig) { cfg.DrainTime = 2 * time.Second }),
		tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			started[r.URL.Path]++
			work := time.Duration(sleeps.IntN(30)) * time.Millisecond
			early := sleeps.IntN(4) == 0
			mu.Unlock()
			if !early {
				io.Copy(io.Discard, r.Body)
			}
			time.Sleep(work)
			io.WriteString(w, strings.Repeat("a", 3000))
		})))
	var c *tunneltest.Spoke
	if r.IntN(2) == 0 {
		c = w.Dial(t, "east")
	} else {
		c = deafSpoke(t, w)
	}
	faultAt := time.Duration(r.IntN(150)) * time.Millisecond
	drain, victim := r.IntN(2) == 0, w.Hubs[r.IntN(2)]
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(faultAt)
		if drain {
			victim.Drain(t.Context())
			victim.Stop()
		} else {
			victim.Kill()
		}
	})
	end := time.Now().Add(faultAt + 400*time.Millisecond) // past the time when a drain begins to reject
	for i := range 3 {
		size := []int{10, 3000, 40_000}[r.IntN(3)]
		wg.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				path := fmt.Sprintf("/%d/%d", i, n)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				err := tryAll(ctx, c, path, size, func(err error) {
					mu.Lock()
					defer mu.Unlock()
					seen.count(err)
				})
				cancel()
				mu.Lock()
				count := started[path]
				mu.Unlock()
				var e *tunnel.Error
				switch proven := errors.As(err, &e) && e.Unprocessed(); {
				case count > 1:
					t.Errorf("%s was started %d times", path, count)
				case err == nil && count != 1:
					t.Errorf("%s was answered and started %d times", path, count)
				case proven && count != 0:
					t.Errorf("%s was proven not to be processed (%v) and was started", path, err)
				case err != nil && drain && !proven:
					t.Errorf("%s failed in a drain: %v", path, err)
				}
			}
		})
	}
	wg.Wait()
}

// tryAll repeats on proofs and wants the whole answer.
func tryAll(ctx context.Context, c http.RoundTripper, path string, size int, note func(error)) error {
	var tries tunnel.Tries
	ctx = tunnel.WithTries(ctx, &tries)
	for try := 1; ; try++ {
		body := strings.NewReader(strings.Repeat("b", size))
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://api.test"+path, body)
		if err != nil {
			return err
		}
		res, err := c.RoundTrip(req)
		note(err)
		if err == nil {
			got, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil && len(got) != 3000 {
				err = fmt.Errorf("%d bytes of 3000, and a clean end", len(got))
			}
			return err
		}
		var e *tunnel.Error
		if !errors.As(err, &e) || !e.Unprocessed() || try == connectTries {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}
