package tunnel_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/tunnel"
	"penstock.dev/penstock/tunnel/tunneltest"
)

// TestPartition is row 9 and 10: after the idle timeout requests that had been sent are ambiguous, new ones have P1.
func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Latency(20*time.Millisecond), tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stream" {
				io.WriteString(w, "first")
				w.(http.Flusher).Flush()
			}
			<-r.Context().Done()
		})))
		c := w.Dial(t, "spoke-a")
		stream, err := c.RoundTrip(get(t, "/stream"))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		sent := make(chan error, 1)
		go func() {
			_, err := c.RoundTrip(post(t, "/sent", strings.NewReader("hello")))
			sent <- err
		}()
		time.Sleep(100 * time.Millisecond)
		w.Partition()
		time.Sleep(4 * time.Second)
		_, err = c.RoundTrip(get(t, "/silent"))
		var e *tunnel.Error
		if !errors.Is(err, tunnel.ErrNoTunnel) || !errors.As(err, &e) || e.Proof != "P1" {
			t.Errorf("on a silent hub: %v, want ErrNoTunnel with P1", err)
		}
		if s := c.Status()[0]; s.State != "suspect" {
			t.Errorf("state = %s, want suspect", s.State)
		}
		err = <-sent
		if took := time.Since(start); took < 14*time.Second || took > 17*time.Second {
			t.Errorf("lost after %v, want the idle timeout of 15 s", took)
		}
		if !errors.Is(err, tunnel.ErrPeerLost) || !errors.As(err, &e) || e.Unprocessed() {
			t.Errorf("sent before the partition: %v, want ErrPeerLost without proof", err)
		}
		if body, err := io.ReadAll(stream.Body); !errors.Is(err, tunnel.ErrPeerLost) || string(body) != "first" {
			t.Errorf("stream = %q, %v, want ErrPeerLost after the first event", body, err)
		}
		time.Sleep(10 * time.Second)
		if s := c.Status()[0]; s.State != "failed" || s.Error == "" {
			t.Errorf("status = %+v, want failed", s)
		}
		w.Heal()
		time.Sleep(9 * time.Second) // one dial that was on its way, and the longest backoff
		if s := c.Status()[0]; s.State != "ready" {
			t.Errorf("state = %s (%s) after the partition, want ready", s.State, s.Error)
		}
	})
}

// TestSuspectHubGetsNoNewRequest, and gets them again as soon as it is heard. // F-02
func TestSuspectHubGetsNoNewRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Hubs(2))
		c := w.Dial(t, "east")
		w.Hubs[0].Partition()
		time.Sleep(4 * time.Second)
		before := w.Hubs[0].Stats().Exchanges
		for range 10 {
			do(t, c, get(t, "/"))
		}
		if n := w.Hubs[0].Stats().Exchanges - before; n != 0 {
			t.Errorf("%d requests reached a silent hub", n)
		}
		if s := c.Status(); s[0].State != "suspect" || s[1].State != "ready" {
			t.Errorf("states = %s, %s, want suspect, ready", s[0].State, s[1].State)
		}
		dials := c.Stats().Dials
		w.Hubs[0].Heal()
		time.Sleep(4 * time.Second)
		if s := c.Status(); s[0].State != "ready" {
			t.Errorf("state = %s after Heal, want ready", s[0].State)
		}
		if n := c.Stats().Dials - dials; n != 0 {
			t.Errorf("%d dials, want the tunnel to have lived through it", n)
		}
	})
}

// TestIdleHubIsNotSuspect: silence of the workloads is not silence of the hub.
func TestIdleHubIsNotSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Latency(150*time.Millisecond))
		cfg, _ := w.Config("east")
		cfg.Session = func(ctx context.Context, _ tunnel.Hub, _ http.RoundTripper) error {
			<-ctx.Done()
			return ctx.Err()
		}
		c := w.Start(t, cfg)
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			if s := c.Status()[0]; s.State != "ready" {
				t.Fatalf("state = %s, want ready", s.State)
			}
		}
		if n := c.Stats().Dials; n != 1 {
			t.Errorf("%d dials in a quiet minute, want 1", n)
		}
	})
}

// TestKilledHub: kill -9 with two hubs costs only what was in flight there, and a restart is found again. // F-15
func TestKilledHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Hubs(2))
		c := w.Dial(t, "east")
		do(t, c, get(t, "/"))
		w.Hubs[0].Kill()
		time.Sleep(3 * time.Second)
		for range 20 {
			do(t, c, get(t, "/"))
		}
		w.Hubs[0].Start(t)
		time.Sleep(25 * time.Second)
		for _, s := range c.Status() {
			if s.State != "ready" {
				t.Errorf("hub %s is %s (%s), want ready", s.Name, s.State, s.Error)
			}
		}
	})
}

// TestCut is F-37: the tunnel and what runs on it end at once, and it is not let in again.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		w := tunneltest.New(t, tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			close(gone)
		})))
		c, other := w.Dial(t, "east"), w.Dial(t, "west")
		res, err := c.RoundTrip(get(t, "/"))
		if err != nil {
			t.Fatal(err)
		}
		revoked := func(p tunnel.Peer) bool { return p.Cluster == "east" }
		w.Hubs[0].Identity.SetAdmit(func(p tunnel.Peer) error {
			if revoked(p) {
				return errors.New("revoked")
			}
			return nil
		})
		start := time.Now()
		if n := w.Hubs[0].Cut(revoked); n != 1 {
			t.Errorf("Cut = %d, want 1", n)
		}
		<-gone
		if _, err := io.ReadAll(res.Body); !errors.Is(err, tunnel.ErrPeerLost) {
			t.Errorf("stream error = %v, want ErrPeerLost", err)
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("cut after %v", took)
		}
		time.Sleep(5 * time.Second)
		if _, err := c.RoundTrip(get(t, "/")); !errors.Is(err, tunnel.ErrRefused) {
			t.Errorf("RoundTrip error = %v, want ErrRefused", err)
		}
		if s := other.Status()[0]; s.State != "ready" {
			t.Errorf("the other spoke is %s, want ready", s.State)
		}
	})
}

// TestConnectedIsToldOfEachPeerOnceEachWay.
func TestConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan string, 10)
		w := tunneltest.New(t, tunneltest.Server(func(cfg *tunnel.ServerConfig) {
			cfg.Connected = func(p tunnel.Peer, up bool) {
				if up {
					events <- "up " + p.Cluster
				} else {
					events <- "down " + p.Cluster
				}
			}
		}))
		c := w.Dial(t, "east")
		if e := <-events; e != "up east" {
			t.Errorf("event %q, want up east", e)
		}
		c.Stop()
		if e := <-events; e != "down east" {
			t.Errorf("event %q, want down east", e)
		}
		if n := len(w.Hubs[0].Peers()); n != 0 {
			t.Errorf("%d peers left", n)
		}
	})
}

// TestSetHubs: what is gone drains, what is new is dialed, what stays is not touched.
func TestSetHubs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Hubs(3), tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Second)
			io.WriteString(w, "done")
		})))
		cfg, _ := w.Config("east")
		c := w.Start(t, cfg)
		all := w.Addresses()
		c.SetHubs(all[:1])
		time.Sleep(time.Second)
		running, err := c.RoundTrip(get(t, "/"))
		if err != nil {
			t.Fatal(err)
		}
		dials := c.Stats().Dials
		c.SetHubs(all[1:2])
		if body, err := io.ReadAll(running.Body); err != nil || string(body) != "done" {
			t.Errorf("the exchange on a hub that was removed answered %q, %v", body, err)
		}
		time.Sleep(time.Second)
		if n := len(w.Hubs[0].Peers()); n != 0 {
			t.Errorf("%d connections left at the hub that was removed", n)
		}
		if n := c.Stats().Dials - dials; n != 1 {
			t.Errorf("%d dials, want 1", n)
		}
		if s := c.Status(); len(s) != 1 || s[0].Name != "hub-b" || s[0].State != "ready" {
			t.Errorf("status = %+v, want hub-b ready", s)
		}
		c.SetHubs(nil)
		time.Sleep(time.Second)
		var e *tunnel.Error
		if _, err := c.RoundTrip(get(t, "/")); !errors.Is(err, tunnel.ErrNoTunnel) || !errors.As(err, &e) || e.Proof != "P1" {
			t.Errorf("without hubs: %v, want ErrNoTunnel with P1", err)
		}
	})
}

// TestTries is row 8: hubs that were tried come last, and with Elsewhere not at all.
func TestTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Hubs(2), tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})))
		c := w.Dial(t, "east")
		exchanges := func() (n [2]uint64) { return [2]uint64{w.Hubs[0].Stats().Exchanges, w.Hubs[1].Stats().Exchanges} }
		for range 10 {
			var tries tunnel.Tries
			ctx := tunnel.WithTries(t.Context(), &tries)
			before := exchanges()
			do(t, c, request(ctx, t, "GET", "/", nil))
			do(t, c, request(ctx, t, "GET", "/", nil))
			after := exchanges()
			if after[0]-before[0] != 1 || after[1]-before[1] != 1 {
				t.Fatalf("two tries took %v of %v, want one each", after, before)
			}
			tries.Elsewhere = true
			var e *tunnel.Error
			if _, err := c.RoundTrip(request(ctx, t, "GET", "/", nil)); !errors.Is(err, tunnel.ErrNoOther) || !errors.As(err, &e) || e.Proof != "P1" {
				t.Fatalf("third try elsewhere: %v, want ErrNoOther with P1", err)
			}
			tries.Elsewhere = false
			do(t, c, request(ctx, t, "GET", "/", nil))
		}
	})
}

// TestDialsToADeadHub are few, whatever the request rate. // G22
func TestDialsToADeadHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t)
		w.Hubs[0].Kill()
		c := w.Dial(t, "east")
		time.Sleep(5 * time.Second)
		before := c.Stats().Dials
		for range 1000 {
			if _, err := c.RoundTrip(get(t, "/")); !errors.Is(err, tunnel.ErrNoTunnel) {
				t.Fatalf("RoundTrip error = %v, want ErrNoTunnel", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := c.Stats().Dials - before; n > 10 {
			t.Errorf("%d dials in 10 s under 100 requests a second", n)
		}
	})
}

// TestSessionEnds: the connection drains and another takes its place, with a new Session; never two at a time.
func TestSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t)
		cfg, _ := w.Config("east")
		var running, runs atomic.Int32
		cfg.Session = func(ctx context.Context, _ tunnel.Hub, _ http.RoundTripper) error {
			if running.Add(1) > 1 {
				t.Error("two Sessions at a time")
			}
			defer running.Add(-1)
			runs.Add(1)
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Second):
			}
			return nil
		}
		c := w.Start(t, cfg)
		load := startLoad(t, c, 4, 100*time.Millisecond)
		time.Sleep(90 * time.Second)
		load.stop(t)
		if n := runs.Load(); n < 4 || n > 5 {
			t.Errorf("%d Sessions in 90 s, want one per 20 s", n)
		}
	})
}

// TestLossyNetwork: everything still arrives. // F-01
func TestLossyNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t, tunneltest.Loss(0.05, 7), tunneltest.Latency(10*time.Millisecond))
		c := w.Dial(t, "east")
		load := startLoad(t, c, 8, 10*time.Millisecond)
		time.Sleep(10 * time.Second)
		load.stop(t)
	})
}
