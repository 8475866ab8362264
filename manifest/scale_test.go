package manifest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/apis/control"
)

// scaleObjects is a Gateway and what each adds, n times.
func scaleObjects(t testing.TB, n int, controller string, each func(i int) string) *Set {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: %s}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: egress, namespace: penstock-system}
spec: {gatewayClassName: penstock, listeners: [{name: http, protocol: HTTP, port: 80, allowedRoutes: {namespaces: {from: All}}}]}
`, controller)
	for i := range n {
		b.WriteString("---\n" + each(i))
	}
	set, problems := NewSet(parse(t, "scale.yaml", b.String()))
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	return set
}

func scaleBackend(i int) string {
	return fmt.Sprintf("apiVersion: penstock.dev/v1alpha1\nkind: Backend\nmetadata: {name: api, namespace: team-%[1]d}\n"+
		"spec: {type: ExternalHostname, externalHostname: {hostname: api-%[1]d.example.com}, port: {number: 443}, tls: {mode: ServerOnly}}\n", i)
}

// scaleRoute leads to the Backend of team number to.
func scaleRoute(i, to int, kind string) string {
	return fmt.Sprintf("---\napiVersion: gateway.networking.k8s.io/v1\nkind: %[3]s\nmetadata: {name: r, namespace: team-%[1]d}\n"+
		"spec: {parentRefs: [{name: egress, namespace: penstock-system}], hostnames: [host-%[1]d.example.com], rules: [{backendRefs: [{group: penstock.dev, kind: Backend, name: api, namespace: team-%[2]d}]}]}\n", i, to, kind)
}

// scaled is a way to make a set of any size.
type scaled struct {
	name string
	make func(t testing.TB, n int) (*Set, Options)
}

// scales are sets whose every object is one that others of its kind could be compared with: what compares them all would
// be seen here.
func scales() []scaled {
	spoke := Options{Controller: SpokeController}
	return []scaled{
		{"HTTPRoutes to Backends", func(t testing.TB, n int) (*Set, Options) {
			return scaleObjects(t, n, SpokeController, func(i int) string { return scaleBackend(i) + scaleRoute(i, i, "HTTPRoute") }), spoke
		}},
		{"HTTPRoutes and GRPCRoutes by halves", func(t testing.TB, n int) (*Set, Options) {
			return scaleObjects(t, n, SpokeController, func(i int) string {
				return scaleBackend(i) + scaleRoute(i, i, []string{"HTTPRoute", "GRPCRoute"}[i%2])
			}), spoke
		}},
		{"references across namespaces, each by a ReferenceGrant", func(t testing.TB, n int) (*Set, Options) {
			return scaleObjects(t, n, SpokeController, func(i int) string {
				return scaleBackend(i) + scaleRoute(i, (i+1)%n, "HTTPRoute") +
					fmt.Sprintf("---\napiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: team-%d}\n"+
						"spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: team-%d}], to: [{group: penstock.dev, kind: Backend}]}\n", (i+1)%n, i)
			}), spoke
		}},
		{"claims on a parent's entries", func(t testing.TB, n int) (*Set, Options) {
			view := &control.View{Cluster: "east"}
			for i := range n {
				view.Entries = append(view.Entries, control.Entry{
					Namespace: fmt.Sprintf("team-%d", i), Name: "api", Hostname: fmt.Sprintf("api-%d.example.com", i), Port: 443, TLSMode: "ServerOnly",
					Grants: []control.EntryGrant{{Alias: fmt.Sprintf("api-%d", i), Namespaces: []string{fmt.Sprintf("team-%d", i)}}},
				})
			}
			return scaleObjects(t, n, SpokeController, func(i int) string { return scaleBackend(i) + scaleRoute(i, i, "HTTPRoute") }),
				Options{Controller: SpokeController, View: view}
		}},
		{"a hub's catalog", func(t testing.TB, n int) (*Set, Options) {
			return scaleObjects(t, n, HubController, func(i int) string {
				return scaleBackend(i) + fmt.Sprintf("---\napiVersion: penstock.dev/v1alpha1\nkind: EgressGrant\nmetadata: {name: all, namespace: team-%d}\nspec: {to: [{name: api}], from: [{clusters: [east]}]}\n", i)
			}), Options{Controller: HubController, Catalog: true}
		}},
		{"Backends of one destination, no two alike", func(t testing.TB, n int) (*Set, Options) {
			return scaleObjects(t, n, HubController, func(i int) string {
				own := fmt.Sprintf("egress: {limits: {maxInFlight: %d}}}", i+1)
				return strings.Replace(strings.Replace(scaleBackend(i), fmt.Sprintf("api-%d.", i), "api.", 1), "tls: {mode: ServerOnly}}", "tls: {mode: ServerOnly}, "+own, 1)
			}), Options{Controller: HubController, Catalog: true}
		}},
	}
}

// BenchmarkTranslate10k fails where ten thousand of each take longer than a second.
func BenchmarkTranslate10k(b *testing.B) {
	for _, sc := range scales() {
		b.Run(sc.name, func(b *testing.B) {
			set, opt := sc.make(b, 10_000)
			for b.Loop() {
				Translate(set, opt)
			}
			if each := b.Elapsed() / time.Duration(b.N); each > time.Second {
				b.Errorf("a translation takes %s, want less than 1s: look for what compares each object with all others", each)
			}
		})
	}
}

// TestScalesAreGood: a benchmark of what is refused would show nothing.
func TestScalesAreGood(t *testing.T) {
	for _, sc := range scales() {
		set, opt := sc.make(t, 20)
		snapshot, report := Translate(set, opt)
		if ps := report.Problems(); len(ps) > 0 {
			t.Errorf("%s: %v", sc.name, ps[0])
		}
		rules := 0
		for _, l := range snapshot.Listeners {
			rules += len(l.Rules)
		}
		if rules < 20 || len(snapshot.Backends) < 20 {
			t.Errorf("%s: %d rules and %d Backends, want 20 or more of each", sc.name, rules, len(snapshot.Backends))
		}
	}
}
