package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/testkit/origin"
)

// keyPair is the data of a Secret of type kubernetes.io/tls.
func keyPair(t *testing.T, pair tls.Certificate) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return fmt.Sprintf("{tls.crt: %s, tls.key: %s}", encode("CERTIFICATE", pair.Certificate[0]), encode("PRIVATE KEY", der))
}

// TestWhatAFolderSaysIsServed: HTTPS, Services of the own cluster, redirects, CORS and copies, of manifests as users write
// them.
func TestWhatAFolderSaysIsServed(t *testing.T) {
	outside, inside, shadow := origin.Start(t), origin.Start(t, origin.Plain()), origin.Start(t, origin.Plain())
	inside.On("/where", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "inside for "+r.Host) })
	outside.On("/where", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "outside") })
	ca := origin.NewCA(t)
	w := newWorld(t)
	w.write(t, "catalog/origin.yaml", originCA(outside)+"---"+backend("api", outside.Name(), outside.Port(), ""))
	w.write(t, "workloads/gateway.yaml", strings.Replace(spokeGateway, "port: 80, allowedRoutes: {namespaces: {from: All}}}]",
		"port: 80, allowedRoutes: {namespaces: {from: All}}}, {name: https, protocol: HTTPS, port: 443, hostname: '*.shop.example.com', tls: {certificateRefs: [{name: shop}]}, allowedRoutes: {namespaces: {from: All}}}]", 1))
	w.write(t, "workloads/routes.yaml", fmt.Sprintf(`
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {name: shop, namespace: penstock-system}
data: %[1]s
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: team-a}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: team-a, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: %[2]d}]
endpoints: [{addresses: [127.0.0.1]}]
---
apiVersion: v1
kind: Service
metadata: {name: shadow, namespace: team-a}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: shadow-1, namespace: team-a, labels: {kubernetes.io/service-name: shadow}}
addressType: IPv4
ports: [{name: http, port: %[3]d}]
endpoints: [{addresses: [127.0.0.1]}]
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: api, namespace: team-a}
spec: {type: ExternalHostname, externalHostname: {hostname: %[4]s}, port: {number: %[5]d}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: team-a}
spec:
  parentRefs: [{name: egress, namespace: penstock-system}]
  hostnames: [www.shop.example.com]
  rules:
  - matches: [{path: {value: /where}}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 80}}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {value: /api}}]
    filters:
    - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}
    - {type: CORS, cors: {allowOrigins: ["https://app.example.com"]}}
    backendRefs: [{group: penstock.dev, kind: Backend, name: api}]
  - matches: [{path: {value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}, statusCode: 301}}]
`, keyPair(t, ca.Issue(t, origin.Leaf{Names: []string{"*.shop.example.com"}})), inside.Port(), shadow.Port(), outside.Name(), outside.Port()))
	s := w.spoke(t, w.hub(t, "hub-a", ""), "east", "")
	var secure string
	eventually(t, "the HTTPS listener is bound", func() error {
		for _, line := range s.log.lines() {
			if line["msg"] == "listening" && line["for"] == "workloads" && line["port"] == 443.0 {
				secure, _ = line["address"].(string)
				return nil
			}
		}
		return fmt.Errorf("no such line in the log")
	})

	clear := w.client
	for _, scheme := range []string{"http", "https, h1", "https, h2"} {
		t.Run(scheme, func(t *testing.T) {
			w.client = clear
			if scheme != "http" {
				p := new(http.Protocols)
				p.SetHTTP1(scheme == "https, h1")
				p.SetHTTP2(scheme == "https, h2")
				tr := &http.Transport{
					Protocols: p, TLSClientConfig: &tls.Config{RootCAs: ca.Pool()},
					DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
						return (&net.Dialer{}).DialContext(ctx, network, secure)
					},
				}
				t.Cleanup(tr.CloseIdleConnections)
				w.client = &http.Client{Transport: schemed{tr}, CheckRedirect: clear.CheckRedirect}
			}
			a := w.send(t, s, call{host: "www.shop.example.com", path: "/where"})
			if a.status != http.StatusOK || a.body != "inside for www.shop.example.com" {
				t.Errorf("a Service: %d %q", a.status, a.body)
			}
			a = w.send(t, s, call{host: "www.shop.example.com", path: "/api/where", header: map[string]string{"Origin": "https://app.example.com"}})
			if a.status != http.StatusOK || a.body != "outside" || a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
				t.Errorf("the catalog: %d %q %v", a.status, a.body, a.header)
			}
			a = w.send(t, s, call{method: http.MethodPost, host: "www.shop.example.com", path: "/old/x?q=1", body: strings.NewReader("body")})
			if a.status != http.StatusMovedPermanently || a.header.Get("Location") != "https://www.shop.example.com/new/x?q=1" {
				t.Errorf("a redirect: %d %v", a.status, a.header)
			}
		})
	}
	eventually(t, "a copy of each request arrived", func() error {
		if n := shadow.Count("/where"); n < 3 {
			_, metrics := w.fetch(t, s.metrics)
			return fmt.Errorf("%d of 3: %s", n, metrics[max(strings.Index(metrics, "penstock_mirror_total"), 0):][:60])
		}
		return nil
	})
	if got := shadow.Wait(t, "/where", 3); got.Header.Get("Authorization") != "" {
		t.Errorf("the copy carries %q", got.Header.Get("Authorization"))
	}
}

// schemed sends over TLS what is written as plain HTTP to a spoke's address.
type schemed struct{ next http.RoundTripper }

func (s schemed) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host = "https", r.Host
	return s.next.RoundTrip(out)
}
