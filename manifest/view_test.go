package manifest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

const viewObjects = `
apiVersion: penstock.dev/v1alpha1
kind: Cluster
metadata: {name: east, labels: {region: eu}}
spec: {}
---
apiVersion: penstock.dev/v1alpha1
kind: Cluster
metadata: {name: west}
spec: {}
---
apiVersion: penstock.dev/v1alpha1
kind: Cluster
metadata: {name: banned, labels: {region: eu}}
spec: {suspended: true}
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: openai, namespace: ai}
spec: {externalHostname: {hostname: api.example.com}, port: {number: 443}, protocol: HTTP2, tls: {mode: ServerOnly}, egress: {timeouts: {responseHeaders: 2m}}}
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: secret, namespace: ai}
spec: {externalHostname: {hostname: secret.example.com}, port: {number: 443}}
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: refused, namespace: ai}
spec: {externalHostname: {hostname: 10.0.0.1}, port: {number: 443}}
---
apiVersion: penstock.dev/v1alpha1
kind: EgressGrant
metadata: {name: eu, namespace: ai}
spec:
  to: [{name: openai}, {name: refused}]
  from: [{clusterSelector: {matchLabels: {region: eu}}, namespaces: [team-b, team-a], serviceAccounts: [bot]}]
---
apiVersion: penstock.dev/v1alpha1
kind: EgressGrant
metadata: {name: for-all, namespace: ai}
spec:
  alias: llm
  to: [{name: openai}]
  from: [{namespaces: [shared]}]
---
apiVersion: penstock.dev/v1alpha1
kind: EgressGrant
metadata: {name: by-name, namespace: ai}
spec:
  to: [{name: secret}]
  from: [{clusters: [west]}]
`

// TestView: a cluster sees the accepted Backends that a grant gives it, and nothing else.
func TestView(t *testing.T) {
	set, _ := NewSet(parse(t, "f.yaml", viewObjects))
	for _, row := range []struct{ name, cluster, want string }{
		{"a cluster selected by label sees its entries, not the refused one", "east", `
cluster: east
entries:
- namespace: ai
  name: openai
  hostname: api.example.com
  port: 443
  protocol: HTTP2
  tlsMode: ServerOnly
  responseHeadersMillis: 120000
  grants:
  - {alias: openai, namespaces: [team-a, team-b], serviceAccounts: [bot]}
  - {alias: llm, namespaces: [shared]}
`},
		{"a cluster named sees what is named for it", "west", `
cluster: west
entries:
- namespace: ai
  name: openai
  hostname: api.example.com
  port: 443
  protocol: HTTP2
  tlsMode: ServerOnly
  responseHeadersMillis: 120000
  grants: [{alias: llm, namespaces: [shared]}]
- namespace: ai
  name: secret
  hostname: secret.example.com
  port: 443
  tlsMode: None
  grants: [{alias: secret}]
`},
		{"a suspended cluster sees nothing", "banned", "cluster: banned\nentries: []\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			view := View(set, row.cluster)
			got, err := yaml.Marshal(view)
			if err != nil {
				t.Fatal(err)
			}
			var a, b any
			if err := yaml.Unmarshal(got, &a); err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal([]byte(row.want), &b); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(b, a); diff != "" {
				t.Errorf("view (-want +got):\n%s", diff)
			}
		})
	}
}

// TestViewLeadsBack: what a hub shows, a spoke serves: the alias of the view leads to the entry by its catalog name, and
// a claim with the same hostname and port resolves to it.
func TestViewLeadsBack(t *testing.T) {
	hub, _ := NewSet(parse(t, "f.yaml", viewObjects))
	view := View(hub, "east")
	spoke, _ := NewSet(parse(t, "s.yaml", `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: penstock.dev/spoke-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: egress, namespace: penstock-system}
spec: {gatewayClassName: penstock, listeners: [{name: http, protocol: HTTP, port: 80, allowedRoutes: {namespaces: {from: All}}}]}
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: models, namespace: team-a}
spec: {externalHostname: {hostname: api.example.com}, port: {number: 443}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: models, namespace: team-a}
spec: {parentRefs: [{name: egress, namespace: penstock-system}], hostnames: [models.example.com], rules: [{backendRefs: [{group: penstock.dev, kind: Backend, name: models}]}]}
`))
	snapshot, report := Translate(spoke, Options{Controller: SpokeController, View: &view})
	if ps := report.Problems(); len(ps) > 0 {
		t.Fatal(ps)
	}
	leads := map[string]string{}
	for _, r := range snapshot.Listeners[0].Rules {
		for _, h := range r.Hostnames {
			leads[h] = r.Targets[0].Backend
		}
	}
	for _, host := range []string{"openai", "openai.team-a", "openai.team-b.svc.cluster.local", "llm", "llm.shared.svc", "models.example.com"} {
		if leads[host] != "ai/openai" {
			t.Errorf("%s leads to %q, want ai/openai", host, leads[host])
		}
	}
	if b := snapshot.Backends[0]; b.Authority != "openai.ai.svc.clusterset.local" || b.Hostname != "" {
		t.Errorf("Backend = %+v, want the catalog name and nothing to dial", b)
	}
}
