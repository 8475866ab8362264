package manifest

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLint(t *testing.T) {
	const hub = `
apiVersion: penstock.dev/v1alpha1
kind: Cluster
metadata: {name: east, labels: {region: eu}}
spec: {}
---
apiVersion: penstock.dev/v1alpha1
kind: Credential
metadata: {name: key, namespace: ai}
spec: {kind: Bearer, hosts: [api.example.com]}
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: used, namespace: ai}
spec: {type: ExternalHostname, externalHostname: {hostname: api.example.com}, port: {number: 443}, tls: {mode: ServerOnly}}
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: alone, namespace: ai}
spec: {type: ExternalHostname, externalHostname: {hostname: other.example.com}, port: {number: 443}, tls: {mode: ServerOnly}}
---
apiVersion: penstock.dev/v1alpha1
kind: EgressGrant
metadata: {name: good, namespace: ai}
spec: {to: [{name: used}], from: [{clusterSelector: {matchLabels: {region: eu}}}]}
---
apiVersion: penstock.dev/v1alpha1
kind: EgressGrant
metadata: {name: nobody, namespace: ai}
spec: {to: [{name: alone}], from: [{clusterSelector: {matchLabels: {region: us}}}]}
`
	const spoke = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: penstock.dev/spoke-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: egress, namespace: a}
spec: {gatewayClassName: penstock, listeners: [{name: http, protocol: HTTP, port: 80}]}
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: one, namespace: a}
spec: {type: ExternalHostname, externalHostname: {hostname: api.example.com}, port: {number: 443}, tls: {mode: ServerOnly}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: a, namespace: a}
spec:
  parentRefs: [{name: egress}]
  rules: [{matches: [{path: {value: /v1}}], backendRefs: [{group: penstock.dev, kind: Backend, name: one}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: b, namespace: a}
spec:
  parentRefs: [{name: egress}]
  rules:
  - matches: [{path: {value: /v2}}, {path: {value: /v1/}}]
    backendRefs: [{group: penstock.dev, kind: Backend, name: one, weight: 0}]
`
	for _, c := range []struct {
		name, text string
		opt        Options
		want       []string // object and reason
	}{
		{"a hub", hub, Options{Controller: HubController, Catalog: true}, []string{"Credential ai/key Unused", "Backend ai/alone NotGranted", "EgressGrant ai/nobody MatchesNobody"}},
		{"a spoke", spoke, Options{Controller: SpokeController}, []string{"HTTPRoute a/b NoWeight", "HTTPRoute a/b Shadowed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, problems := newValidator(t).Parse("set.yaml", []byte(c.text))
			set, ps := NewSet(objects)
			snapshot, report := Translate(set, c.opt)
			if all := slices.Concat(problems, ps, report.Problems()); len(all) > 0 {
				t.Fatalf("the case has problems itself: %v", all)
			}
			compiled, err := snapshot.Compile()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range Lint(set, compiled, c.opt) {
				got = append(got, p.Object+" "+p.Reason)
				if p.Severity != SeverityWarning || p.File == "" || p.Line == 0 || p.Message == "" || p.Remedy == "" {
					t.Errorf("%+v says too little", p)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
