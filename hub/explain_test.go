package hub

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/gateway"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/manifest"
)

// explained is a small catalog: one Backend with a credential and an alias, one that another namespace has too.
const explained = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock-hub}
spec: {controllerName: penstock.dev/hub-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: hub, namespace: penstock-system}
spec:
  gatewayClassName: penstock-hub
  listeners: [{name: tunnel, protocol: penstock.dev/Tunnel, port: 8443, allowedRoutes: {namespaces: {from: All}}}]
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: openai, namespace: ai}
spec:
  type: ExternalHostname
  externalHostname: {hostname: api.provider.example}
  port: {number: 443}
  tls: {mode: ServerOnly}
  egress:
    filters: [{name: key, type: "penstock.dev/CredentialInjector:v1", config: {credentialRef: {name: openai-key}}}]
    timeouts: {responseHeaders: 12s}
    idempotencyKeys: Honored
    retryPostOn: [429]
---
apiVersion: penstock.dev/v1alpha1
kind: Credential
metadata: {name: openai-key, namespace: ai}
spec: {kind: Bearer, hosts: [api.provider.example]}
---
apiVersion: penstock.dev/v1alpha1
kind: EgressGrant
metadata: {name: team-a, namespace: ai}
spec: {to: [{name: openai}], from: [{clusters: [east], namespaces: [team-a]}]}
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: search, namespace: web}
spec: {type: ExternalHostname, externalHostname: {hostname: search.example.com}, port: {number: 8443}, tls: {mode: ServerOnly}}
---
apiVersion: penstock.dev/v1alpha1
kind: EgressGrant
metadata: {name: all, namespace: web}
spec: {to: [{name: search}], from: [{namespaces: [team-b]}], alias: find}
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: search, namespace: ai}
spec: {type: ExternalHostname, externalHostname: {hostname: other.example.com}, port: {number: 443}, tls: {mode: ServerOnly}}
---
apiVersion: penstock.dev/v1alpha1
kind: EgressGrant
metadata: {name: search, namespace: ai}
spec: {to: [{name: search}], from: [{namespaces: [team-a]}], alias: find}
`

// explainer is the operator of a hub that serves explained.
func explainer(t *testing.T) (operator, *route.Snapshot) {
	t.Helper()
	set, problems := manifest.NewSet(parse(t, explained))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	h := &hub{}
	snapshot, report := manifest.Translate(set, h.options())
	if problems := report.Problems(); len(problems) > 0 {
		t.Fatal(problems)
	}
	snapshot, err := snapshot.Compile()
	if err != nil {
		t.Fatal(err)
	}
	if h.gateway, err = gateway.New(gateway.Config{Name: "hub-a", Self: hop.Self{Group: "g"}}); err != nil {
		t.Fatal(err)
	}
	h.gateway.Use(snapshot)
	h.served.Store(&served{set: set, snapshot: snapshot, report: report, revision: 42})
	return operator{h}, snapshot
}

func TestAliased(t *testing.T) {
	_, snapshot := explainer(t)
	for _, row := range []struct {
		name, host, namespace, want string
	}{
		{"an alias", "openai", "team-a", "openai.ai.svc.clusterset.local"},
		{"an alias in its namespace", "openai.team-a", "team-a", "openai.ai.svc.clusterset.local"},
		{"an alias as a Service", "openai.team-a.svc", "team-a", "openai.ai.svc.clusterset.local"},
		{"an alias as a full Service name", "openai.team-a.svc.cluster.local", "team-b", "openai.ai.svc.clusterset.local"},
		{"an alias of somebody else, so that the refusal can be explained", "openai", "team-b", "openai.ai.svc.clusterset.local"},
		{"an alias that two grants give means the one granted", "find", "team-b", "search.web.svc.clusterset.local"},
		{"the same for another caller", "find", "team-a", "search.ai.svc.clusterset.local"},
		{"a Backend's name is no alias where the grant has another", "search", "team-a", "search"},
		{"a catalog authority", "search.web.svc.clusterset.local", "team-a", "search.web.svc.clusterset.local"},
		{"a hostname that a claim names", "api.provider.example", "team-a", "openai.ai.svc.clusterset.local"},
		{"a hostname that only begins like an alias", "openai.example.com", "team-a", "openai.example.com"},
		{"a host that nobody knows", "nothing.example.com", "team-a", "nothing.example.com"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := aliased(snapshot, route.Query{Host: row.host, Cluster: "east", Namespace: row.namespace}); got != row.want {
				t.Errorf("aliased(%s) = %s, want %s", row.host, got, row.want)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	o, _ := explainer(t)
	for _, row := range []struct {
		name    string
		req     admin.ExplainRequest
		allowed bool
		status  int
		reason  route.Reason
		says    string // in Message or Remedy
	}{
		{"granted", admin.ExplainRequest{Cluster: "east", Namespace: "team-a", ServiceAccount: "bot", URL: "http://openai/v1/models"}, true, 0, "", ""},
		{"granted, without a path", admin.ExplainRequest{Cluster: "east", Namespace: "team-a", ServiceAccount: "bot", URL: "http://OpenAI"}, true, 0, "", ""},
		{"another namespace", admin.ExplainRequest{Cluster: "east", Namespace: "team-b", ServiceAccount: "bot", URL: "http://openai/"}, false, 403, route.NotGranted, "team-b"},
		{"another cluster", admin.ExplainRequest{Cluster: "west", Namespace: "team-a", ServiceAccount: "bot", URL: "http://openai/"}, false, 403, route.NotGranted, "west"},
		{"an address is too little for a credential", admin.ExplainRequest{Cluster: "east", Namespace: "team-a", ServiceAccount: "bot", Proof: "ip", URL: "http://openai/"}, false, 401, route.IdentityTooWeak, "sourceIP: Trusted"},
		{"an unknown host looks as one that was not granted", admin.ExplainRequest{Cluster: "east", Namespace: "team-a", ServiceAccount: "bot", URL: "http://nothing.example.com/"}, false, 403, route.NotGranted, "nothing.example.com"},
		{"a path with dot segments", admin.ExplainRequest{Cluster: "east", Namespace: "team-a", ServiceAccount: "bot", URL: "http://openai/a/%2e%2e/b"}, false, 400, route.BadPath, "dot segments"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e, err := o.Explain(t.Context(), row.req)
			if err != nil {
				t.Fatal(err)
			}
			if e.Allowed != row.allowed || e.Status != row.status || e.Reason != string(row.reason) || e.Revision != 42 {
				t.Errorf("explained %+v", e)
			}
			if !strings.Contains(e.Message+e.Remedy, row.says) || (e.Remedy == "") != row.allowed {
				t.Errorf("message %q and remedy %q do not say %q", e.Message, e.Remedy, row.says)
			}
		})
	}
	e, err := o.Explain(t.Context(), admin.ExplainRequest{Cluster: "east", Namespace: "team-a", ServiceAccount: "bot", Method: "POST", URL: "http://openai/v1"})
	if err != nil {
		t.Fatal(err)
	}
	if e.Backend != "ai/openai" || e.Credential != "ai/openai-key" || e.NextHop != "api.provider.example:443" || e.Grant != "ai/team-a" ||
		e.ResponseHeadersMillis != 12000 || e.Attempts != 3 || e.Listener != "penstock-system/hub/tunnel" {
		t.Errorf("explained %+v", e)
	}
	for _, part := range []string{"Idempotency-Key", "[429]"} {
		if !strings.Contains(e.Retries, part) {
			t.Errorf("retries %q do not say %s", e.Retries, part)
		}
	}
}

func TestExplainNeedsAnAbsoluteURLAndACatalog(t *testing.T) {
	o, _ := explainer(t)
	for _, u := range []string{"", "openai/v1", "/v1/models", "http://%zz/", "http:///x"} {
		_, err := o.Explain(t.Context(), admin.ExplainRequest{URL: u})
		var e *admin.Error
		if !errors.As(err, &e) || e.Status != http.StatusBadRequest || e.Remedy == "" {
			t.Errorf("%q: %v", u, err)
		}
	}
	_, err := operator{&hub{}}.Explain(t.Context(), admin.ExplainRequest{URL: "http://openai/"})
	var e *admin.Error
	if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable {
		t.Errorf("before the first translation: %v", err)
	}
}

func TestCredentialSpecsCarryPlacesAndNoValues(t *testing.T) {
	o, _ := explainer(t)
	specs := credentialSpecs(o.h.served.Load().set)
	if len(specs) != 1 || specs[0].Ref != "ai/openai-key" || specs[0].Kind != "Bearer" || len(specs[0].Hosts) != 1 || specs[0].Hosts[0] != "api.provider.example" {
		t.Errorf("specs %+v", specs)
	}
}
