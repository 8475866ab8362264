package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/gateway/route"
)

// keyPairRef is a certificate that a Gateway refers to.
type keyPairRef struct {
	name, hash string
	expired    time.Time // zero: it is good
}

// gatewayKeyPair finds the key pair that a Gateway refers to, by the reasons of reference and grant alone: what kind of
// use it is, the caller says.
func (t *translation) gatewayKeyPair(g *gateway, ref gwv1.SecretObjectReference, invalid string) (keyPairRef, fault) {
	namespace := string(deref(ref.Namespace, gwv1.Namespace(g.ID.Namespace)))
	id := ID{Kind: "Secret", Namespace: namespace, Name: string(ref.Name)}
	if deref(ref.Group, "") != "" || deref(ref.Kind, "Secret") != "Secret" {
		return keyPairRef{}, fault{invalid, fmt.Sprintf("a %s cannot hold a key pair", clip(string(deref(ref.Kind, "Secret")))), "name a Secret of type kubernetes.io/tls"}
	}
	if namespace != g.ID.Namespace && !t.permitted(g.ID, id) {
		return keyPairRef{}, fault{
			ReasonRefNotPermitted, fmt.Sprintf("namespace %s does not let Gateways of %s use Secret %s", clip(namespace), g.ID.Namespace, clip(id.Name)),
			fmt.Sprintf("ask for a ReferenceGrant in namespace %s", clip(namespace)),
		}
	}
	s, ok := lookup[*corev1.Secret](t.set, id)
	if !ok {
		return keyPairRef{}, fault{invalid, fmt.Sprintf("there is no Secret %s", clip(id.Key())), "create it, with tls.crt and tls.key"}
	}
	pair, err := parseKeyPair(s.value)
	if err != nil {
		return keyPairRef{}, fault{invalid, fmt.Sprintf("Secret %s: %s", id.Key(), err), "store the certificate and its key again"}
	}
	out := keyPairRef{name: id.Key(), hash: hashKeyPair(pair)}
	if expired(t.opt.Now, pair.Leaf) {
		out.expired = pair.Leaf.NotAfter
	}
	return out, fault{}
}

// checkGatewayTLS reads spec.tls: the certificate that Services are shown, and what is asked of clients.
func (t *translation) checkGatewayTLS(g *gateway) {
	s := g.value.Spec.TLS
	if s == nil {
		return
	}
	if s.Backend != nil && s.Backend.ClientCertificateRef != nil {
		const field = "spec.tls.backend.clientCertificateRef"
		pair, bad := t.gatewayKeyPair(g, *s.Backend.ClientCertificateRef, string(gwv1.GatewayReasonInvalidClientCertificateRef))
		if !bad.ok() {
			g.clientFault = bad
			t.report(g.Object, g.conditions, ConditionResolvedRefs, field, bad)
		} else {
			g.clientCertificate, g.clientCertificateHash = pair.name, pair.hash
			g.conditions.set(ConditionResolvedRefs, true, string(gwv1.GatewayReasonResolvedRefs), "")
			if !pair.expired.IsZero() {
				t.warn(g.Object, g.conditions, field, fault{ReasonCertificateExpired, fmt.Sprintf("the certificate in Secret %s ended at %s", pair.name, pair.expired.UTC().Format(time.RFC3339)), "renew it"})
			}
		}
	}
	if s.Frontend == nil {
		return
	}
	insecure := func(v *gwv1.FrontendTLSValidation) bool { return v != nil && v.Mode == gwv1.AllowInsecureFallback }
	if insecure(s.Frontend.Default.Validation) || slices.ContainsFunc(s.Frontend.PerPort, func(p gwv1.TLSPortConfig) bool { return insecure(p.TLS.Validation) }) {
		g.conditions.set(string(gwv1.GatewayConditionInsecureFrontendValidationMode), true, string(gwv1.GatewayReasonConfigurationChanged), "clients without a valid certificate are let in (AllowInsecureFallback)")
	}
}

// listenerTLS compiles what an HTTPS or TLS listener presents and asks for; nil if it cannot be served.
func (t *translation) listenerTLS(l *listener, field string) *route.ListenerTLS {
	g := l.gateway
	refuse := func(condition, sub string, f fault) { t.report(g.Object, &l.conditions, condition, field+sub, f) }
	unsupported := func(sub, message, remedy string) *route.ListenerTLS {
		refuse(ConditionAccepted, sub, fault{string(gwv1.ListenerReasonUnsupportedValue), message, remedy})
		return nil
	}
	s := l.spec.TLS
	if s == nil {
		return unsupported(".tls", fmt.Sprintf("is missing on a listener of protocol %s", l.protocol), "write tls with mode and certificateRefs")
	}
	switch mode := deref(s.Mode, gwv1.TLSModeTerminate); {
	case mode == gwv1.TLSModePassthrough && l.protocol == route.ProtocolTLS:
		if len(s.CertificateRefs) > 0 {
			return unsupported(".tls.certificateRefs", "do not go with mode Passthrough", "remove them, or use mode Terminate")
		}
		return &route.ListenerTLS{Passthrough: true}
	case mode != gwv1.TLSModeTerminate:
		return unsupported(".tls.mode", fmt.Sprintf("%q does not go with protocol %s", clip(string(mode)), l.protocol), "use Terminate")
	}
	for key := range s.Options {
		return unsupported(".tls.options", fmt.Sprintf("option %q is not known", clip(string(key))), "remove it")
	}
	out := &route.ListenerTLS{}
	hash := sha256.New()
	for i, ref := range s.CertificateRefs {
		at := fmt.Sprintf(".tls.certificateRefs[%d]", i)
		pair, bad := t.gatewayKeyPair(g, ref, string(gwv1.ListenerReasonInvalidCertificateRef))
		if !bad.ok() {
			refuse(ConditionResolvedRefs, at, bad)
			continue
		}
		if !pair.expired.IsZero() {
			t.warn(g.Object, &l.conditions, field+at, fault{ReasonCertificateExpired, fmt.Sprintf("the certificate in Secret %s ended at %s", pair.name, pair.expired.UTC().Format(time.RFC3339)), "renew it"})
		}
		out.Certificates = append(out.Certificates, pair.name)
		hash.Write([]byte(pair.hash))
	}
	if len(s.CertificateRefs) == 0 {
		refuse(ConditionResolvedRefs, ".tls.certificateRefs", fault{string(gwv1.ListenerReasonInvalidCertificateRef), "names no certificate", "name a Secret of type kubernetes.io/tls"})
	}
	if len(out.Certificates) == 0 {
		return nil
	}
	out.CertificateHash = hex.EncodeToString(hash.Sum(nil)[:16])
	if l.protocol == route.ProtocolHTTPS && !t.clientValidation(l, out) {
		return nil
	}
	return out
}

// clientValidation reads what spec.tls.frontend says for the listener's port (GEP-91); not if clients could not be told
// apart, so that nobody is let in by mistake.
func (t *translation) clientValidation(l *listener, out *route.ListenerTLS) bool {
	g := l.gateway
	if g.value.Spec.TLS == nil || g.value.Spec.TLS.Frontend == nil {
		return true
	}
	f := g.value.Spec.TLS.Frontend
	v, field := f.Default.Validation, "spec.tls.frontend.default.validation"
	for i, p := range f.PerPort {
		if p.Port == l.spec.Port {
			v, field = p.TLS.Validation, fmt.Sprintf("spec.tls.frontend.perPort[%d].tls.validation", i)
		}
	}
	if v == nil {
		return true
	}
	refuse := func(condition, sub string, f fault) { t.report(g.Object, &l.conditions, condition, field+sub, f) }
	for i, ref := range v.CACertificateRefs {
		at := fmt.Sprintf(".caCertificateRefs[%d]", i)
		id := ID{Group: string(ref.Group), Kind: string(ref.Kind), Namespace: string(deref(ref.Namespace, gwv1.Namespace(g.ID.Namespace))), Name: string(ref.Name)}
		if id.Namespace != g.ID.Namespace && !t.permitted(g.ID, id) {
			refuse(ConditionResolvedRefs, at, fault{
				ReasonRefNotPermitted, fmt.Sprintf("namespace %s does not let Gateways of %s use %s %s", clip(id.Namespace), g.ID.Namespace, clip(id.Kind), clip(id.Name)),
				fmt.Sprintf("ask for a ReferenceGrant in namespace %s", clip(id.Namespace)),
			})
			continue
		}
		bundle, bad := t.caBundle(id.Namespace, id.Group, id.Kind, id.Name)
		if !bad.ok() {
			if bad.reason == ReasonInvalidKind {
				bad.reason = string(gwv1.ListenerReasonInvalidCACertificateKind)
			}
			refuse(ConditionResolvedRefs, at, bad)
			continue
		}
		out.ClientCAs = append(out.ClientCAs, bundle)
	}
	if len(out.ClientCAs) == 0 {
		refuse(ConditionAccepted, ".caCertificateRefs", fault{string(gwv1.ListenerReasonNoValidCACertificate), "no CA certificate can be used", "see ResolvedRefs"})
		return false
	}
	out.ClientOptional = v.Mode == gwv1.AllowInsecureFallback
	return true
}

// markOverlaps tells the HTTPS listeners of one port whose hostnames overlap: a client may send a request for one of them
// on a connection to the other, which is then answered 421 (GEP-3567).
func (t *translation) markOverlaps() {
	byPort := map[gwv1.PortNumber][]*listener{}
	for _, g := range t.gatewayOrder {
		for _, l := range g.listeners {
			if l.protocol == route.ProtocolHTTPS && l.served() {
				byPort[l.spec.Port] = append(byPort[l.spec.Port], l)
			}
		}
	}
	for _, list := range byPort {
		for _, a := range list {
			for _, b := range list {
				if _, ok := intersect(a.hostname, b.hostname); ok && a != b {
					a.conditions.set(string(gwv1.ListenerConditionOverlappingTLSConfig), true, string(gwv1.ListenerReasonOverlappingHostnames),
						fmt.Sprintf("listener %s of %s takes some of the same hostnames; a request on the wrong connection is answered 421", b.spec.Name, b.gateway.ID))
				}
			}
		}
	}
}
