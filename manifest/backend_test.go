package manifest

import (
	"fmt"
	"strings"
	"testing"

	"penstock.dev/penstock/gateway/route"
)

// tlsWords are a mode, a client certificate and what is validated, as they are written in spec.tls.
type tlsWords struct{ mode, certificate, validation string }

func (w tlsWords) yaml() string {
	var parts []string
	for _, p := range []struct{ key, value string }{{"mode", w.mode}, {"clientCertificateRef", w.certificate}, {"validation", w.validation}} {
		if p.value != "" {
			parts = append(parts, p.key+": "+p.value)
		}
	}
	return "tls: {" + strings.Join(parts, ", ") + "}"
}

// want is what Backends with these words become: refused, in the clear, or with TLS as told by said.
func (w tlsWords) want() string {
	switch {
	case w.mode == "Both":
		return "refused"
	case w.mode == "None" && (w.certificate != "" || w.validation != ""):
		return "refused"
	case w.mode == "None":
		return "in the clear"
	case (w.mode == "ClientAndServer") != (w.certificate == certificateThere):
		return "refused" // shown with this mode only, and needed there
	case w.certificate != "" && w.mode != "ClientAndServer":
		return "refused"
	}
	said, ok := tlsValidations[w.validation]
	if !ok {
		return "refused"
	}
	if w.mode == "ClientAndServer" {
		said += ", shows ai/client"
	}
	return said
}

const certificateThere = "{name: client}"

// tlsValidations says what each good validation means. Those that are not here are refused.
var tlsValidations = map[string]string{
	"":                                  "api.example.com by the system's roots",
	"{hostname: other.example.com}":     "other.example.com by the system's roots",
	"{wellKnownCACertificates: System}": "api.example.com by the system's roots",
	"{hostname: other.example.com, caCertificateRefs: [{kind: ConfigMap, name: ca}]}":                           "other.example.com by 1 bundle",
	"{hostname: other.example.com, caCertificateRefs: [{kind: ConfigMap, name: ca}, {kind: Secret, name: ca}]}": "other.example.com by 2 bundle",
	"{wellKnownCACertificates: System, subjectAltNames: [{type: URI, uri: 'spiffe://example.com/api'}]}":        "api.example.com by the system's roots, as spiffe://example.com/api",
	"{wellKnownCACertificates: System, subjectAltNames: [{type: Hostname, hostname: a.example.com}]}":           "api.example.com by the system's roots, as a.example.com",
}

var tlsValidationsRefused = []string{
	"{hostname: 192.0.2.1}", "{hostname: a b}", "{wellKnownCACertificates: Mine}",
	"{wellKnownCACertificates: System, caCertificateRefs: [{kind: ConfigMap, name: ca}]}",
	"{caCertificateRefs: [{kind: ConfigMap, name: absent}]}",
	"{caCertificateRefs: [{kind: ConfigMap, name: ca}, {kind: ConfigMap, name: absent}]}",
	"{caCertificateRefs: [{kind: Service, name: ca}]}", "{caCertificateRefs: [{kind: Secret, name: client}]}",
	"{subjectAltNames: [{type: Hostname}]}", "{subjectAltNames: [{type: URI, hostname: a.example.com}]}",
}

// said is a served Backend's TLS in the words of tlsValidations.
func said(b route.Backend) string {
	if b.TLS == nil {
		return "in the clear"
	}
	s := b.TLS.ServerName + " by the system's roots"
	if n := len(b.TLS.CAs); n > 0 {
		s = fmt.Sprintf("%s by %d bundle", b.TLS.ServerName, n)
	}
	for _, name := range append(b.TLS.DNSNames, b.TLS.URIs...) {
		s += ", as " + name
	}
	if b.TLS.ClientCertificate != "" {
		s += ", shows " + b.TLS.ClientCertificate
	}
	return s
}

// TestEveryCombinationOfTLS: mode, client certificate and validation, each with each, of a Backend and of an XBackend.
func TestEveryCombinationOfTLS(t *testing.T) {
	secrets := readCase(t, "testdata/translate/hub_backend_tls.txtar").files[0]
	validations := tlsValidationsRefused
	for v := range tlsValidations {
		validations = append(validations, v)
	}
	tried, served := 0, 0
	for _, mode := range []string{"", "None", "ServerOnly", "ClientAndServer", "Both"} {
		for _, certificate := range []string{"", certificateThere, "{name: absent}", "{name: ca}", "{group: example.com, kind: Vault, name: client}"} {
			for _, validation := range validations {
				w := tlsWords{mode, certificate, validation}
				for _, kind := range []string{"penstock.dev/v1alpha1\nkind: Backend", "gateway.networking.x-k8s.io/v1alpha1\nkind: XBackend"} {
					objects := parse(t, "secrets.yaml", string(secrets.Data))
					objects = append(objects, parse(t, "f.yaml", "apiVersion: "+kind+"\nmetadata: {name: tried, namespace: ai}\n"+
						"spec: {type: ExternalHostname, externalHostname: {hostname: api.example.com}, port: {number: 443}, "+w.yaml()+"}\n")...)
					set, _ := NewSet(objects)
					snapshot, report := Translate(set, Options{Controller: HubController, Catalog: true})
					got := "refused"
					for _, b := range snapshot.Backends {
						if b.Key == "ai/tried" {
							got = said(b)
							served++
						}
					}
					if got != w.want() {
						t.Errorf("%.20s with %s is %s, want %s", kind, w.yaml(), got, w.want())
					}
					if (got == "refused") != reportedOf(report, "tried") {
						t.Errorf("%.20s with %s is %s: findings %v", kind, w.yaml(), got, report.Problems())
					}
					tried++
				}
			}
		}
	}
	if served < 30 || served == tried {
		t.Errorf("%d of %d were served: the table shows nothing", served, tried)
	}
}

// reportedOf reports whether there is a finding about an object of that name.
func reportedOf(r *Report, name string) bool {
	for _, p := range r.Problems() {
		if strings.HasSuffix(p.Object, "/"+name) {
			return true
		}
	}
	return false
}
