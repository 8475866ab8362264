package manifest

import (
	"strings"
	"testing"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/gateway/route"
)

// expressionRig is a set with a rule that is good, and routes whose matches a test fills in.
func expressionRig(t testing.TB) (set *Set, http *gwv1.HTTPRoute, grpc *gwv1.GRPCRoute) {
	t.Helper()
	const objects = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: penstock.dev/spoke-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: egress, namespace: shop}
spec: {gatewayClassName: penstock, listeners: [{name: http, protocol: HTTP, port: 80}]}
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: api, namespace: shop}
spec: {type: ExternalHostname, externalHostname: {hostname: api.example.com}, port: {number: 443}, tls: {mode: ServerOnly}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: good, namespace: shop}
spec:
  parentRefs: [{name: egress}]
  hostnames: [good.example.com]
  rules: [{name: good, backendRefs: [{group: penstock.dev, kind: Backend, name: api}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: tried, namespace: shop}
spec:
  parentRefs: [{name: egress}]
  hostnames: [http.example.com]
  rules: [{backendRefs: [{group: penstock.dev, kind: Backend, name: api}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: tried, namespace: shop}
spec:
  parentRefs: [{name: egress}]
  hostnames: [grpc.example.com]
  rules: [{backendRefs: [{group: penstock.dev, kind: Backend, name: api}]}]
`
	set, problems := NewSet(parse(t, "f.yaml", objects))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	h, _ := lookup[*gwv1.HTTPRoute](set, ID{Group: groupGateway, Kind: "HTTPRoute", Namespace: "shop", Name: "tried"})
	g, _ := lookup[*gwv1.GRPCRoute](set, ID{Group: groupGateway, Kind: "GRPCRoute", Namespace: "shop", Name: "tried"})
	return set, h.value, g.value
}

// serveGood translates the set and fails unless the good rule is served, whatever the others say.
func serveGood(t testing.TB, set *Set) (*route.Snapshot, *Report) {
	t.Helper()
	snapshot, report := Translate(set, Options{Controller: SpokeController})
	compiled, err := snapshot.Compile()
	if err != nil {
		t.Fatalf("Compile: %v, want one bad match to cost only its own rule", err)
	}
	d := compiled.Decide(route.Query{Port: 80, Protocol: route.ProtocolHTTP, Host: "good.example.com", Path: "/", Method: "GET"})
	if d.Reason != route.None || d.Rule.Name != "good" {
		t.Fatalf("the good route is answered %q, want it to be served", d.Reason)
	}
	return snapshot, report
}

// TestOneBadExpressionCostsOnlyItsRule: an expression is compiled between brackets, so what is good alone may be bad
// there; were it let through, the whole table would be refused, and with it everybody's changes.
func TestOneBadExpressionCostsOnlyItsRule(t *testing.T) {
	regex := func(s string) gwv1.HTTPPathMatch {
		kind := gwv1.PathMatchRegularExpression
		return gwv1.HTTPPathMatch{Type: &kind, Value: &s}
	}
	deep := strings.Repeat("(", 1000) + "x" + strings.Repeat(")", 1000)
	for _, expr := range []string{`\Qx`, `/a\Q`, `a)|(b`, `(`, `[`, `x{1001}`, deep, "\xff"} {
		set, http, grpc := expressionRig(t)
		path := regex(expr)
		http.Spec.Rules[0].Matches = []gwv1.HTTPRouteMatch{{Path: &path}}
		kind := gwv1.GRPCMethodMatchRegularExpression
		grpc.Spec.Rules[0].Matches = []gwv1.GRPCRouteMatch{{Method: &gwv1.GRPCMethodMatch{Type: &kind, Service: &expr}}}
		_, report := serveGood(t, set)
		for _, kind := range []string{"HTTPRoute", "GRPCRoute"} {
			s := report.Status(ID{Group: groupGateway, Kind: kind, Namespace: "shop", Name: "tried"})
			if got := s.Parents[0].Conditions[0]; got.Type != ConditionAccepted || got.Reason != ReasonUnsupportedValue || !strings.Contains(got.Message, "RE2") {
				t.Errorf("%s with path %.20q: %s=%s, reason %s (%s), want Accepted=False, reason UnsupportedValue, that says RE2", kind, expr, got.Type, got.Status, got.Reason, got.Message)
			}
		}
	}
}

// FuzzMatches: whatever stands in a match, the table compiles and the other routes are served.
func FuzzMatches(f *testing.F) {
	for _, s := range []string{"", "/", "/v1", `\Qx`, "a)|(b", "..", ".", "/a/../b", "shop.v1.Cart", "Add", "[^/]+", "x{1001}", "%2e", "%", "?", "*", "\x00", "(?i)x", "(?P<a>x)"} {
		f.Add(s, s, s, true)
		f.Add(s, "x", "", false)
		f.Add("", s, "x", true)
	}
	f.Fuzz(func(t *testing.T, a, b, c string, regex bool) {
		set, http, grpc := expressionRig(t)
		paths := []gwv1.PathMatchType{gwv1.PathMatchExact, gwv1.PathMatchPathPrefix}
		header, query, method, grpcHeader := gwv1.HeaderMatchExact, gwv1.QueryParamMatchExact, gwv1.GRPCMethodMatchExact, gwv1.GRPCHeaderMatchExact
		if regex {
			paths = []gwv1.PathMatchType{gwv1.PathMatchRegularExpression}
			header, query, method, grpcHeader = gwv1.HeaderMatchRegularExpression, gwv1.QueryParamMatchRegularExpression, gwv1.GRPCMethodMatchRegularExpression, gwv1.GRPCHeaderMatchRegularExpression
		}
		verb := gwv1.HTTPMethod(c)
		// Each in a rule of its own: one that is refused must not keep the next from being tried.
		rules := http.Spec.Rules[0]
		http.Spec.Rules = nil
		add := func(m gwv1.HTTPRouteMatch) {
			r := rules
			r.Matches = []gwv1.HTTPRouteMatch{m}
			http.Spec.Rules = append(http.Spec.Rules, r)
		}
		for i := range paths {
			add(gwv1.HTTPRouteMatch{Path: &gwv1.HTTPPathMatch{Type: &paths[i], Value: &a}})
		}
		add(gwv1.HTTPRouteMatch{Headers: []gwv1.HTTPHeaderMatch{{Type: &header, Name: gwv1.HTTPHeaderName(b), Value: a}}})
		add(gwv1.HTTPRouteMatch{QueryParams: []gwv1.HTTPQueryParamMatch{{Type: &query, Name: gwv1.HTTPHeaderName(b), Value: a}}})
		add(gwv1.HTTPRouteMatch{Method: &verb})
		grpc.Spec.Rules = append(grpc.Spec.Rules, grpc.Spec.Rules[0])
		grpc.Spec.Rules[0].Matches = []gwv1.GRPCRouteMatch{{Method: &gwv1.GRPCMethodMatch{Type: &method, Service: &a, Method: &b}}}
		grpc.Spec.Rules[1].Matches = []gwv1.GRPCRouteMatch{{Headers: []gwv1.GRPCHeaderMatch{{Type: &grpcHeader, Name: gwv1.GRPCHeaderName(b), Value: a}}}}
		serveGood(t, set)
	})
}
