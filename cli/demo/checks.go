package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Tokens of the workloads in examples/standalone.
const (
	teamA = "Bearer team-a-token"
	teamB = "Bearer team-b-token"
)

// request is what a workload sends.
type request struct {
	gateway, method, host, path string
	header                      map[string]string
	body                        string
}

// answer is what it gets.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) id() string { return a.header.Get("X-Request-Id") }

func (d *demo) send(ctx context.Context, r request) (answer, error) {
	res, err := d.open(ctx, r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(body)}, err
}

func (d *demo) open(ctx context.Context, r request) (*http.Response, error) {
	if r.method == "" {
		r.method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.gateway+r.path, strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Host = r.host
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	return http.DefaultTransport.RoundTrip(req)
}

// checks shows the main job, one checked line after the other.
func (d *demo) checks(ctx context.Context) {
	for _, c := range []func(context.Context) error{
		d.granted, d.streamed, d.forged, d.ownRoute, d.ungranted, d.repeats, d.rotation, d.loops, d.revoked, d.killed,
		d.endpointMode, d.noLeaks,
	} {
		if ctx.Err() != nil {
			return
		}
		if err := c(ctx); err != nil && ctx.Err() == nil {
			d.check(false, "%v", err)
		}
	}
}

func (d *demo) granted(ctx context.Context) error {
	d.title("A granted call: http://openai/v1/models from team-a in cluster east")
	a, err := d.send(ctx, request{gateway: east, host: "openai", path: "/v1/models", header: map[string]string{"Authorization": teamA}})
	if err != nil {
		return err
	}
	seen, err := d.arrivals(ctx)
	if err != nil {
		return err
	}
	d.check(a.status == http.StatusOK && seen.WrongKeys == 0,
		"answer %d: the provider got its key, which the workload has never seen", a.status)
	if a.status != http.StatusOK {
		d.detail(a.body)
	}
	d.hops(a.id())
	return nil
}

func (d *demo) streamed(ctx context.Context) error {
	d.title("Tokens stream through both hops")
	res, err := d.open(ctx, request{
		gateway: east, method: http.MethodPost, host: "openai", path: "/v1/chat/completions",
		header: map[string]string{"Authorization": teamA, "Content-Type": "application/json"}, body: `{"model":"stand-in-1","stream":true}`,
	})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var at []time.Time
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data: ") {
			at = append(at, time.Now())
		}
	}
	if len(at) < 3 {
		return fmt.Errorf("answer %d with %d events", res.StatusCode, len(at))
	}
	span := at[len(at)-1].Sub(at[0])
	d.check(span > 100*time.Millisecond, "%d events, spread over %d ms: nothing on the way waits for the end", len(at), span.Milliseconds())
	return nil
}

func (d *demo) forged(ctx context.Context) error {
	d.title("A workload sends a key of its own")
	before, err := d.arrivals(ctx)
	if err != nil {
		return err
	}
	a, err := d.send(ctx, request{gateway: east, host: "openai", path: "/v1/models", header: map[string]string{
		"Proxy-Authorization": teamA, "Authorization": "Bearer sk-forged-by-the-workload",
	}})
	if err != nil {
		return err
	}
	after, err := d.arrivals(ctx)
	if err != nil {
		return err
	}
	d.check(a.status == http.StatusOK && after.WrongKeys == before.WrongKeys,
		"answer %d: the forged key was replaced; the provider saw one Authorization, the right one", a.status)
	return nil
}

func (d *demo) ownRoute(ctx context.Context) error {
	d.title("A team's own HTTPRoute and Backend: a claim on the catalog entry")
	a, err := d.send(ctx, request{gateway: east, host: "models.team-a.example", path: "/v1/models", header: map[string]string{"Authorization": teamA}})
	if err != nil {
		return err
	}
	b, err := d.send(ctx, request{gateway: east, host: "models.team-a.example", path: "/v1/files", header: map[string]string{"Authorization": teamA}})
	if err != nil {
		return err
	}
	d.check(a.status == http.StatusOK, "GET /v1/models: answer %d", a.status)
	d.check(b.status == http.StatusNotFound, "GET /v1/files: answer %d, the route does not match", b.status)
	return nil
}

func (d *demo) ungranted(ctx context.Context) error {
	d.title("A namespace without a grant: team-b")
	before, err := d.arrivals(ctx)
	if err != nil {
		return err
	}
	a, err := d.send(ctx, request{gateway: east, host: "openai", path: "/v1/models", header: map[string]string{"Authorization": teamB}})
	if err != nil {
		return err
	}
	after, err := d.arrivals(ctx)
	if err != nil {
		return err
	}
	d.check(a.status == http.StatusForbidden && total(before.Paths) == total(after.Paths),
		"answer %d, Proxy-Status %q; nothing reached the provider", a.status, a.header.Get("Proxy-Status"))
	d.command("penstock why " + a.id())
	for _, hub := range []string{"hub-a", "hub-b"} { // either replica may have decided
		if out, err := d.w.penstock(ctx, hub, "", "why", a.id()); err == nil {
			d.check(strings.Contains(out, "not-granted"), "why says what refused it and what to change:")
			d.detail(out)
			return nil
		}
	}
	return fmt.Errorf("no hub remembers request %s", a.id())
}

func (d *demo) repeats(ctx context.Context) error {
	d.title("The destination fails: only the hub repeats, and a POST never")
	for _, c := range []struct {
		method, path, body string
		fail, want, count  int
	}{
		{http.MethodGet, "/v1/models", "", 2, http.StatusOK, 3},
		{http.MethodPost, "/v1/chat/completions", `{"model":"stand-in-1"}`, 1, http.StatusServiceUnavailable, 1},
	} {
		if err := d.control(ctx, fmt.Sprintf("/fail?times=%d&status=503", c.fail), nil); err != nil {
			return err
		}
		id := fmt.Sprintf("repeat-%s-%d", c.method, time.Now().UnixNano())
		a, err := d.send(ctx, request{
			gateway: east, method: c.method, host: "openai", path: c.path, body: c.body,
			header: map[string]string{"Authorization": teamA, "X-Demo-Id": id, "Content-Type": "application/json"},
		})
		if err != nil {
			return err
		}
		seen, err := d.arrivals(ctx)
		if err != nil {
			return err
		}
		d.check(a.status == c.want && seen.IDs[id] == c.count,
			"%s, provider fails %d times: answer %d, %d arrivals at the provider", c.method, c.fail, a.status, seen.IDs[id])
	}
	return nil
}

func (d *demo) rotation(ctx context.Context) error {
	d.title("Rotate the credential under load")
	old, next := d.keys[len(d.keys)-1], d.newKey()
	if err := d.accept(ctx, old, next); err != nil {
		return err
	}
	var sent, bad atomic.Int64
	loadCtx, stop := context.WithCancel(ctx)
	defer stop()
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			for loadCtx.Err() == nil {
				a, err := d.send(loadCtx, request{gateway: east, host: "openai", path: "/v1/models", header: map[string]string{"Authorization": teamA}})
				if loadCtx.Err() != nil {
					return
				}
				sent.Add(1)
				if err != nil || a.status != http.StatusOK {
					bad.Add(1)
				}
			}
		})
	}
	pause(ctx, 700*time.Millisecond)
	d.command("penstock credential rotate ai/openai-key < key")
	_, err := d.w.penstock(ctx, "hub-a", next, "credential", "rotate", "ai/openai-key")
	pause(ctx, 1500*time.Millisecond)                           // both keys are good for this long
	if aerr := d.accept(ctx, next); err == nil && aerr != nil { // from here on the old key fails
		err = aerr
	}
	pause(ctx, 700*time.Millisecond)
	stop()
	load.Wait()
	if err != nil {
		return err
	}
	d.check(sent.Load() > 50 && bad.Load() == 0, "%d requests before, during and after, %d failed; the old key is refused by now", sent.Load(), bad.Load())
	return nil
}

func (d *demo) loops(ctx context.Context) error {
	d.title("Loops")
	a, err := d.send(ctx, request{gateway: east, method: http.MethodPost, host: "openai", path: "/v1/callback", header: map[string]string{"Authorization": teamA}})
	if err != nil {
		return err
	}
	var back struct {
		Status      int    `json:"status"`
		ProxyStatus string `json:"proxyStatus"`
	}
	if err := json.Unmarshal([]byte(a.body), &back); err != nil {
		return fmt.Errorf("answer %d %q: %w", a.status, a.body, err)
	}
	d.check(back.Status == http.StatusLoopDetected && strings.Contains(back.ProxyStatus, "proxy_loop_detected"),
		"the provider calls back in through spoke east: answer %d, %s", back.Status, back.ProxyStatus)
	a, err = d.send(ctx, request{gateway: east, host: "boomerang", path: "/", header: map[string]string{"Authorization": teamA}})
	if err != nil {
		return err
	}
	d.check(a.status == http.StatusLoopDetected, "a Backend that resolves to the hub itself: answer %d, %s", a.status, a.header.Get("Proxy-Status"))
	return nil
}

func (d *demo) revoked(ctx context.Context) error {
	d.title("Revoke cluster west")
	probe := request{gateway: west, host: "openai", path: "/v1/models", header: map[string]string{"Authorization": teamA}}
	a, err := d.send(ctx, probe)
	if err != nil {
		return err
	}
	d.check(a.status == http.StatusOK, "before: answer %d", a.status)
	d.command("penstock cluster revoke west")
	if _, err := d.w.penstock(ctx, "hub-a", "", "cluster", "revoke", "west"); err != nil {
		return err
	}
	began := time.Now()
	took, last := d.until(ctx, 5*time.Second, probe, func(status int) bool { return status != http.StatusOK })
	d.check(took <= 2*time.Second, "cut off after %d ms: answer %d", took.Milliseconds(), last)
	pause(ctx, max(0, 2*time.Second-time.Since(began)))
	passed := 0
	for range 20 {
		if a, err := d.send(ctx, probe); err == nil && a.status == http.StatusOK {
			passed++
		}
	}
	d.check(passed == 0, "20 more requests, %d came through", passed)
	return nil
}

func (d *demo) killed(ctx context.Context) error {
	d.title("Kill hub-a, which also holds etcd")
	d.procs["hub-a"].Kill()
	probe := request{gateway: east, host: "openai", path: "/v1/models", header: map[string]string{"Authorization": teamA}}
	sent, failed, outage := d.outage(ctx, 4*time.Second, probe)
	d.check(outage <= 2500*time.Millisecond, "a new request every 50 ms: %d sent, %d failed, the last one %d ms after the kill", sent, failed, outage.Milliseconds())
	good := 0
	for range 20 {
		if a, err := d.send(ctx, probe); err == nil && a.status == http.StatusOK {
			good++
		}
	}
	d.check(good == 20, "hub-b serves from memory: 20 more requests, %d answered", good)
	if err := d.run(ctx, "hub-a", "hub", "http://"+hubA+":8081/readyz", "--config", "hub.yaml"); err != nil {
		return err
	}
	_, err := d.w.penstock(ctx, "hub-a", "", "cluster", "list")
	d.check(err == nil, "hub-a is back with the catalog it had")
	return err
}

// outage sends a request every 50 ms for a while, whatever became of those before, and tells how many failed and when the
// last of these was sent. A request that takes longer than a second counts as failed: a person would not wait for it.
func (d *demo) outage(ctx context.Context, while time.Duration, r request) (sent, failed int, last time.Duration) {
	began := time.Now()
	var mu sync.Mutex
	var probes sync.WaitGroup
	for at := time.Duration(0); at < while && ctx.Err() == nil; at = time.Since(began) {
		sent++
		probes.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if a, err := d.send(ctx, r); err != nil || a.status != http.StatusOK {
				mu.Lock()
				defer mu.Unlock()
				failed++
				last = max(last, at)
			}
		})
		pause(ctx, 50*time.Millisecond)
	}
	probes.Wait()
	return sent, failed, last
}

func (d *demo) endpointMode(ctx context.Context) error {
	d.title("The same Backend in Endpoint Mode: a gateway without a hub")
	a, err := d.send(ctx, request{gateway: edge, host: "openai", path: "/v1/models", header: map[string]string{"Authorization": "Bearer " + d.keys[len(d.keys)-1]}})
	if err != nil {
		return err
	}
	b, err := d.send(ctx, request{gateway: edge, host: "openai", path: "/v1/models"})
	if err != nil {
		return err
	}
	d.check(a.status == http.StatusOK, "with the workload's own key: answer %d, over verified TLS", a.status)
	d.check(b.status == http.StatusUnauthorized && b.header.Get("Proxy-Status") == "", "without: answer %d of the provider; a spoke has no credential to add", b.status)
	return nil
}

// noLeaks looks for the keys where they must not be: everything the topology wrote, and what the provider was sent.
func (d *demo) noLeaks(ctx context.Context) error {
	d.title("Where the keys are not")
	files, hits := 0, []string{}
	err := filepath.WalkDir(d.w.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, key := range d.keys {
			if bytes.Contains(data, []byte(key)) {
				hits = append(hits, d.show(path))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.check(len(hits) == 0, "%d files of hubs and spokes (logs, etcd, state, configuration): %d with a key %s", files, len(hits), strings.Join(hits, " "))
	metrics, hidden := 0, 0
	for _, address := range []string{hubA, hubB, "127.0.0.21", "127.0.0.22", "127.0.0.23"} {
		a, err := d.send(ctx, request{gateway: "http://" + address + ":9090", path: "/metrics"})
		if err != nil {
			return err
		}
		for _, key := range d.keys {
			if strings.Contains(a.body, key) {
				metrics++
			}
		}
		if !strings.Contains(a.body, "\npenstock_hidden_repeats_total 0\n") {
			hidden++
		}
	}
	d.check(metrics == 0, "metrics of 5 gateways: %d with a key", metrics)
	d.check(hidden == 0, "metrics of 5 gateways: %d with repeats that nobody decided", hidden)
	for _, name := range []string{"east", "west", "hub-b"} {
		found, scanned, err := memoryHas(d.procs[name].PID(), d.keys)
		switch {
		case err != nil:
			d.detail("memory of " + name + ": " + err.Error())
		case name == "hub-b": // so that a look that finds nothing means something
			d.check(len(found) > 0, "memory of hub-b, %d MiB: the key is there, as it must be", scanned>>20)
		default:
			d.check(len(found) == 0, "memory of spoke %s, %d MiB: %d keys", name, scanned>>20, len(found))
		}
	}
	seen, err := d.arrivals(ctx)
	if err != nil {
		return err
	}
	d.check(len(seen.Leaks) == 0, "%d requests at the provider: %d Penstock-* headers left the trust domain", total(seen.Paths), len(seen.Leaks))
	return nil
}

// until repeats a request until its status is as wanted, and returns how long that took and the last status (0: no
// answer).
func (d *demo) until(ctx context.Context, limit time.Duration, r request, wanted func(int) bool) (time.Duration, int) {
	began := time.Now()
	for last := 0; ; {
		a, err := d.send(ctx, r)
		if last = a.status; err != nil {
			last = 0
		}
		if took := time.Since(began); wanted(last) || took > limit || ctx.Err() != nil {
			return took, last
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// hops prints what each gateway logged about a request.
func (d *demo) hops(id string) {
	for _, name := range []string{"east", "hub-a", "hub-b"} {
		data, err := os.ReadFile(d.procs[name].Log())
		if err != nil || id == "" {
			continue
		}
		for line := range bytes.Lines(data) {
			var e struct {
				Msg            string  `json:"msg"`
				RequestID      string  `json:"requestId"`
				Route          string  `json:"route"`
				Backend        string  `json:"backend"`
				Cluster        string  `json:"cluster"`
				Namespace      string  `json:"namespace"`
				ServiceAccount string  `json:"serviceAccount"`
				Status         int     `json:"status"`
				Attempts       int     `json:"attempts"`
				Millis         float64 `json:"tookMs"`
			}
			if json.Unmarshal(line, &e) != nil || e.RequestID != id || e.Status == 0 {
				continue
			}
			d.detail(fmt.Sprintf("%-6s %s/%s/%s -> %s -> %s: %d, %d attempt(s), %.1f ms", name,
				e.Cluster, e.Namespace, e.ServiceAccount, e.Route, e.Backend, e.Status, e.Attempts, e.Millis))
		}
	}
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// pause waits, or less if ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
