package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/manifest"
)

// routesFigures are what a table of so many routes costs.
type routesFigures struct {
	routes, lookups int
	translate       time.Duration // manifests, parsed, to a compiled snapshot: the slowest of the rounds
	p50, p99, p999  time.Duration // of one lookup
}

// The goals of the table: a change of any route is served within a second, and no request feels how many there are.
const (
	translateGoal = time.Second
	lookupGoal    = 5 * time.Microsecond
)

// errGoal is returned when a goal was missed; the figures were printed all the same.
var errGoal = errors.New("a goal was missed")

// runRoutes measures tables of 10 and of many routes in one run: the ratio is what counts.
func runRoutes(ctx context.Context, cfg config, out io.Writer) error {
	var all []routesFigures
	for _, n := range []int{10, cfg.routes} {
		f, err := measureRoutes(ctx, n, cfg.lookups, max(cfg.rounds, 1))
		if err != nil {
			return err
		}
		all = append(all, f)
	}
	few, many := all[0], all[1]
	var b strings.Builder
	fmt.Fprintf(&b, "| figure | %d routes | %d routes | ratio | goal |\n|---|---|---|---|---|\n", few.routes, many.routes)
	line := func(name string, a, b2 time.Duration, goal string) {
		fmt.Fprintf(&b, "| %s | %v | %v | %.2f | %s |\n", name, a, b2, float64(b2)/float64(max(a, 1)), goal)
	}
	line("one lookup, p50", few.p50, many.p50, "-")
	line("one lookup, p99", few.p99, many.p99, "under "+lookupGoal.String())
	line("one lookup, p99.9", few.p999, many.p999, "-")
	line("translate and compile", few.translate.Round(10*time.Microsecond), many.translate.Round(time.Millisecond), "under "+translateGoal.String())
	fmt.Fprintf(&b, "\n%d lookups each, timed one by one (the clock's own cost is in them); %s, %d CPUs.\n", many.lookups, runtime.Version(), runtime.NumCPU())
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	if many.p99 >= lookupGoal || many.translate >= translateGoal {
		return fmt.Errorf("%w: p99 %v, translate %v", errGoal, many.p99, many.translate)
	}
	return nil
}

// measureRoutes makes n HTTPRoutes on one listener, a hundred to a hostname and each with a prefix, an exact path and a
// header, and asks for random ones.
func measureRoutes(ctx context.Context, n, lookups, rounds int) (routesFigures, error) {
	f := routesFigures{routes: n, lookups: lookups}
	objects, problems := manifest.Parse("routes.yaml", routesManifest(n))
	if len(problems) > 0 {
		return f, fmt.Errorf("bench: the routes are not valid: %v", problems[0])
	}
	set, problems := manifest.NewSet(objects)
	if len(problems) > 0 {
		return f, fmt.Errorf("bench: the routes are not a set: %v", problems[0])
	}
	var snapshot *route.Snapshot
	for range rounds {
		runtime.GC()
		began := time.Now()
		made, report := manifest.Translate(set, manifest.Options{Controller: manifest.SpokeController})
		compiled, err := made.Compile()
		if err != nil {
			return f, err
		}
		if found := report.Problems(); len(found) > 0 {
			return f, fmt.Errorf("bench: the routes are not accepted: %v", found[0])
		}
		f.translate, snapshot = max(f.translate, time.Since(began)), compiled
		if ctx.Err() != nil {
			return f, ctx.Err()
		}
	}
	queries := make([]route.Query, 1024)
	for i := range queries {
		r := (i*7919 + 13) % n
		queries[i] = route.Query{
			Protocol: route.ProtocolHTTP, Port: 80, Host: hostOfRoute(r), Method: http.MethodGet, Header: http.Header{}, Draw: uint32(i) << 20,
			Path: []string{fmt.Sprintf("/team/%d/v1/chat/completions", r), fmt.Sprintf("/health/%d", r), "/other"}[i%3],
		}
		if i%3 == 2 {
			queries[i].Header.Set("X-Tenant", fmt.Sprint(r))
		}
		if d := snapshot.Decide(queries[i]); d.Reason != route.None || d.Rule.Route.Name != fmt.Sprintf("r%d", r) {
			return f, fmt.Errorf("bench: route r%d is not found: %s %+v", r, d.Reason, queries[i])
		}
	}
	h := hdrhistogram.New(1, int64(time.Second), 3)
	for i := range lookups {
		q := queries[i%len(queries)]
		began := time.Now()
		snapshot.Decide(q)
		_ = h.RecordValue(int64(time.Since(began)))
	}
	f.p50, f.p99, f.p999 = time.Duration(h.ValueAtQuantile(50)), time.Duration(h.ValueAtQuantile(99)), time.Duration(h.ValueAtQuantile(99.9))
	return f, nil
}

func hostOfRoute(n int) string { return fmt.Sprintf("h%d.example.com", n/100) }

// routesManifest is a Gateway, a Backend and n routes.
func routesManifest(n int) []byte {
	docs := []string{`apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: penstock.dev/spoke-controller}
`, `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: egress, namespace: bench}
spec:
  gatewayClassName: penstock
  listeners: [{name: http, protocol: HTTP, port: 80}]
`, `apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: api, namespace: bench}
spec:
  type: ExternalHostname
  externalHostname: {hostname: api.example.com}
  port: {number: 443}
  tls: {mode: ServerOnly}
`}
	for i := range n {
		docs = append(docs, fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r%d, namespace: bench}
spec:
  parentRefs: [{name: egress}]
  hostnames: [%s]
  rules:
  - matches:
    - path: {type: PathPrefix, value: /team/%[1]d/v1}
    - path: {type: Exact, value: /health/%[1]d}
    - headers: [{name: X-Tenant, value: "%[1]d"}]
    backendRefs: [{group: penstock.dev, kind: Backend, name: api}]
`, i, hostOfRoute(i)))
	}
	slices.SortStableFunc(docs, cmp.Compare[string]) // the order of files must not matter
	return []byte(strings.Join(docs, "---\n"))
}
