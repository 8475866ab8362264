package manifest

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/gateway/route"
)

// servicePort is what a BackendTLSPolicy acts on; an empty port is every port that no other policy names.
type servicePort struct {
	service ID
	port    string
}

// tlsPolicy is a BackendTLSPolicy on its way to the Services that it acts on.
type tlsPolicy struct {
	object[*gwv1.BackendTLSPolicy]
	conditions *conditions
	tls        route.TLS
	fault      fault // why nothing may be sent to its Services
	gateways   []*gateway
}

// translateBackendTLSPolicies finds which policy acts on which port of which Service: the oldest, then by name. A policy
// that cannot be met closes its Services: leaving it out would send in the clear what its author wanted encrypted.
func (t *translation) translateBackendTLSPolicies() {
	all := each[*gwv1.BackendTLSPolicy](t.set)
	slices.SortStableFunc(all, func(a, b object[*gwv1.BackendTLSPolicy]) int { return older(a.Object, b.Object) })
	for _, o := range all {
		p := &tlsPolicy{object: o, conditions: &conditions{}}
		t.compileTLSPolicy(p)
		t.tlsPolicies = append(t.tlsPolicies, p)
		for i, ref := range o.value.Spec.TargetRefs {
			field := fmt.Sprintf("spec.targetRefs[%d]", i)
			if ref.Group != "" || ref.Kind != "Service" {
				p.refuse(t, ConditionAccepted, field, fault{ReasonInvalid, fmt.Sprintf("a BackendTLSPolicy does not act on %s of group %q", clip(string(ref.Kind)), clip(string(ref.Group))), "name a Service; a Backend says itself how it is reached, in spec.tls"})
				continue
			}
			id := ID{Kind: "Service", Namespace: o.ID.Namespace, Name: string(ref.Name)}
			s, ok := lookup[*corev1.Service](t.set, id)
			port := string(deref(ref.SectionName, ""))
			if !ok || port != "" && !slices.ContainsFunc(s.value.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == port }) {
				p.refuse(t, ConditionAccepted, field, fault{ReasonTargetNotFound, fmt.Sprintf("there is no Service %s with that port", clip(id.Key())), "create it, or correct the name"})
				continue
			}
			at := servicePort{id, port}
			if first := t.tlsOf[at]; first != nil {
				p.refuse(t, ConditionAccepted, field, fault{ReasonConflicted, fmt.Sprintf("%s, which is older, acts on %s already", first.ID, id), "remove one of the two"})
				continue
			}
			t.tlsOf[at] = p
		}
	}
}

// refuse states a fault once, as a finding and as a condition. A policy that lost a Service to an older one does not close
// it.
func (p *tlsPolicy) refuse(t *translation, condition, field string, f fault) {
	t.report(p.Object, p.conditions, condition, field, f)
}

// compileTLSPolicy reads spec.validation.
func (t *translation) compileTLSPolicy(p *tlsPolicy) {
	v := p.value.Spec.Validation
	p.tls = route.TLS{ServerName: string(v.Hostname)}
	refuse := func(condition, field string, f fault) {
		p.refuse(t, condition, "spec.validation."+field, f)
		if p.fault.ok() {
			p.fault = f
		}
	}
	if bad := checkDNSName(string(v.Hostname)); !bad.ok() {
		refuse(ConditionAccepted, "hostname", fault{ReasonInvalid, bad.message, bad.remedy})
	}
	if known := deref(v.WellKnownCACertificates, ""); known != "" && known != gwv1.WellKnownCACertificatesSystem {
		refuse(ConditionAccepted, "wellKnownCACertificates", fault{ReasonInvalid, fmt.Sprintf("there is no well-known set %q", clip(string(known))), `write "System"`})
	} else if known == "" && len(v.CACertificateRefs) == 0 {
		refuse(ConditionAccepted, "caCertificateRefs", fault{ReasonInvalid, "names no CA", `name a ConfigMap, or write wellKnownCACertificates: "System"`})
	}
	good := 0
	for i, ref := range v.CACertificateRefs {
		field := fmt.Sprintf("caCertificateRefs[%d]", i)
		bundle, bad := t.caBundle(p.ID.Namespace, string(ref.Group), string(ref.Kind), string(ref.Name))
		if !bad.ok() {
			refuse(ConditionResolvedRefs, field, bad)
			continue
		}
		good++
		p.tls.CAs = append(p.tls.CAs, bundle)
	}
	if len(v.CACertificateRefs) > 0 && good == 0 {
		refuse(ConditionAccepted, "caCertificateRefs", fault{string(gwv1.BackendTLSPolicyReasonNoValidCACertificate), "no CA certificate can be used", "see ResolvedRefs"})
	}
	for i, san := range v.SubjectAltNames {
		switch {
		case san.Type == gwv1.HostnameSubjectAltNameType && san.Hostname != "":
			p.tls.DNSNames = append(p.tls.DNSNames, string(san.Hostname))
		case san.Type == gwv1.URISubjectAltNameType && san.URI != "":
			p.tls.URIs = append(p.tls.URIs, string(san.URI))
		default:
			refuse(ConditionAccepted, fmt.Sprintf("subjectAltNames[%d]", i), fault{ReasonInvalid, "names nothing", "write type Hostname with hostname, or type URI with uri"})
		}
	}
}

// caBundle reads ca.crt of a ConfigMap, or of a Secret.
func (t *translation) caBundle(namespace, group, kind, name string) (string, fault) {
	var data []byte
	where := kind + " " + namespace + "/" + name
	switch {
	case group == "" && kind == "ConfigMap":
		if m, ok := lookup[*corev1.ConfigMap](t.set, ID{Kind: kind, Namespace: namespace, Name: name}); ok {
			if data = []byte(m.value.Data["ca.crt"]); len(data) == 0 {
				data = m.value.BinaryData["ca.crt"]
			}
		}
	case group == "" && kind == "Secret":
		if s, ok := lookup[*corev1.Secret](t.set, ID{Kind: kind, Namespace: namespace, Name: name}); ok {
			data = s.value.Data["ca.crt"]
		}
	default:
		return "", fault{ReasonInvalidKind, fmt.Sprintf("a %s of group %q holds no CA certificates", clip(kind), clip(group)), "name a ConfigMap with ca.crt"}
	}
	if len(data) == 0 {
		return "", fault{ReasonInvalidCACertificateRef, fmt.Sprintf("there is no %s with ca.crt", clip(where)), "create it there"}
	}
	bundle, _, err := parseCAs(data)
	if err != nil {
		return "", fault{ReasonInvalidCACertificateRef, where + ": " + err.Error(), "store the bundle again"}
	}
	return bundle, fault{}
}

// serviceTLS gives a Service's Backend what the policy on its port says, and the Gateway's client certificate.
func (t *translation) serviceTLS(b *route.Backend, service ID, port string, g *gateway) fault {
	p := t.tlsOf[servicePort{service, port}]
	if p == nil {
		p = t.tlsOf[servicePort{service, ""}]
	}
	if p == nil {
		return fault{}
	}
	if !slices.Contains(p.gateways, g) {
		p.gateways = append(p.gateways, g)
	}
	if !p.fault.ok() {
		return fault{ReasonBackendRefused, fmt.Sprintf("%s, which acts on the Service, is not accepted: %s", p.ID, p.fault.reason), "see the conditions of the policy"}
	}
	tls := p.tls
	b.TLS = &tls
	if g.clientCertificate != "" {
		tls.ClientCertificate, tls.ClientCertificateHash = g.clientCertificate, g.clientCertificateHash
		b.Key += "@" + g.ID.Key()
	} else if !g.clientFault.ok() {
		return fault{ReasonBackendRefused, fmt.Sprintf("the client certificate of %s cannot be used: %s", g.ID, g.clientFault.reason), "see the conditions of the Gateway"}
	}
	return fault{}
}

// listTLSPolicies writes down the status of the policies: per Gateway that has a route to the Service (GEP-713).
func (t *translation) listTLSPolicies() {
	for _, p := range t.tlsPolicies {
		s := ObjectStatus{ID: p.ID, Source: p.Source}
		p.conditions.set(ConditionAccepted, true, string(gwv1.PolicyReasonAccepted), "")
		p.conditions.set(ConditionResolvedRefs, true, string(gwv1.BackendTLSPolicyReasonResolvedRefs), "")
		for _, g := range t.gatewayOrder {
			if slices.Contains(p.gateways, g) {
				s.Ancestors = append(s.Ancestors, ancestor(g.ID, t.opt.Controller, p.conditions.emit(p.Generation())))
			}
		}
		if len(s.Ancestors) == 0 { // nobody routes to it: its author is told all the same
			s.Conditions = p.conditions.emit(p.Generation())
		}
		t.listed = append(t.listed, s)
	}
}
