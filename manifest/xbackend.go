package manifest

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/route"
)

// xBackend is the upstream experimental kind, read with a struct of our own because the port is spelled differently in
// 1.6 (port.port) and 1.7 (port.number) and both are in use. It becomes a Backend before anything else sees it.
type xBackend struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec xBackendSpec `json:"spec"`
}

type xBackendSpec struct {
	Type             string            `json:"type"`
	Port             xBackendPort      `json:"port"`
	ExternalHostname *xBackendHostname `json:"externalHostname,omitempty"`
	Protocol         string            `json:"protocol,omitempty"`
	TLS              *xBackendTLS      `json:"tls,omitempty"`
}

type xBackendPort struct {
	Name   string `json:"name,omitempty"`
	Port   *int32 `json:"port,omitempty"`   // gateway-api 1.6
	Number *int32 `json:"number,omitempty"` // gateway-api 1.7
}

type xBackendHostname struct {
	Hostname string `json:"hostname"`
}

type xBackendTLS struct {
	Mode                 string                           `json:"mode"`
	ClientCertificateRef *gwv1.SecretObjectReference      `json:"clientCertificateRef,omitempty"`
	Validation           *gwv1.BackendTLSPolicyValidation `json:"validation,omitempty"`
}

// convert makes the Backend that the XBackend means, or says which part has no meaning here.
func (x *xBackend) convert(o *Object) (*penstockv1alpha1.Backend, *Problem) {
	port, p := x.port(o)
	if p != nil {
		return nil, p
	}
	b := &penstockv1alpha1.Backend{
		TypeMeta:   x.TypeMeta,
		ObjectMeta: x.ObjectMeta,
		Spec: penstockv1alpha1.BackendSpec{
			Type:     penstockv1alpha1.BackendType(x.Spec.Type),
			Port:     penstockv1alpha1.BackendPort{Number: port},
			Protocol: penstockv1alpha1.BackendProtocol(x.Spec.Protocol),
		},
	}
	if h := x.Spec.ExternalHostname; h != nil {
		b.Spec.ExternalHostname = &penstockv1alpha1.ExternalHostname{Hostname: h.Hostname}
	}
	if x.Spec.TLS != nil {
		if b.Spec.TLS, p = x.Spec.TLS.convert(o); p != nil {
			return nil, p
		}
	}
	return b, nil
}

// port reads either spelling; both together must agree.
func (x *xBackend) port(o *Object) (int32, *Problem) {
	a, b := x.Spec.Port.Port, x.Spec.Port.Number
	switch {
	case a != nil && b != nil && *a != *b:
		p := o.Problem("spec.port", ReasonMalformed, fmt.Sprintf("port.port is %d and port.number is %d", *a, *b), "keep one of the two")
		return 0, &p
	case a != nil:
		return *a, nil
	case b != nil:
		return *b, nil
	}
	p := o.Problem("spec.port", ReasonMalformed, "the port is missing", `write "port: {port: 443}"`)
	return 0, &p
}

func (t *xBackendTLS) convert(o *Object) (*penstockv1alpha1.BackendTLS, *Problem) {
	out := &penstockv1alpha1.BackendTLS{Mode: penstockv1alpha1.BackendTLSMode(t.Mode)}
	if ref := t.ClientCertificateRef; ref != nil {
		if ref.Namespace != nil && string(*ref.Namespace) != o.ID.Namespace {
			p := o.Problem("spec.tls.clientCertificateRef.namespace", ReasonRefNotPermitted,
				fmt.Sprintf("the Secret is in namespace %s", *ref.Namespace), "put the Secret beside the XBackend")
			return nil, &p
		}
		out.ClientCertificateRef = &penstockv1alpha1.LocalObjectReference{
			Group: string(deref(ref.Group, "")), Kind: string(deref(ref.Kind, "")), Name: string(ref.Name),
		}
	}
	v := t.Validation
	if v == nil {
		return out, nil
	}
	out.Validation = &penstockv1alpha1.BackendTLSValidation{
		Hostname:                string(v.Hostname),
		WellKnownCACertificates: string(deref(v.WellKnownCACertificates, "")),
	}
	for _, r := range v.CACertificateRefs {
		out.Validation.CACertificateRefs = append(out.Validation.CACertificateRefs,
			penstockv1alpha1.LocalObjectReference{Group: string(r.Group), Kind: string(r.Kind), Name: string(r.Name)})
	}
	for _, s := range v.SubjectAltNames {
		out.Validation.SubjectAltNames = append(out.Validation.SubjectAltNames,
			penstockv1alpha1.SubjectAltName{Type: string(s.Type), Hostname: string(s.Hostname), URI: string(s.URI)})
	}
	return out, nil
}

// maxAncestors is how many parents the status of an XBackend may list.
const maxAncestors = 32

// usedBy notes that a route of a Gateway refers to an XBackend.
func (t *translation) usedBy(id ID, g *gateway) {
	if id.Kind != "XBackend" {
		return
	}
	if t.users[id] == nil {
		t.users[id] = map[*gateway]bool{}
	}
	t.users[id][g] = true
}

// ancestorsOf are the Gateways that an XBackend matters to, oldest first, each with the conditions of the object: those
// with a route that refers to it, be it accepted or not, and at a hub those with a Tunnel listener, behind which the
// whole catalog is. The upstream kind has no other place for conditions (status.parents); ours has, and needs none.
func (t *translation) ancestorsOf(id ID, conditions []metav1.Condition) (out []gwv1.PolicyAncestorStatus) {
	if id.Kind != "XBackend" {
		return nil
	}
	for _, g := range t.gatewayOrder {
		if len(out) < maxAncestors && (t.users[id][g] || t.opt.Catalog && g.hasTunnel()) {
			out = append(out, ancestor(g.ID, t.opt.Controller, conditions))
		}
	}
	return out
}

// hasTunnel reports whether the Gateway serves a Tunnel listener.
func (g *gateway) hasTunnel() bool {
	return slices.ContainsFunc(g.listeners, func(l *listener) bool { return l.protocol == route.ProtocolTunnel && l.served() })
}

// deref is *p, or otherwise if p is nil.
func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
