package manifest

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/route"
)

// maxResponseHeaders is the hard cap of T (HOPS-AND-RETRIES, table of symbols).
const maxResponseHeaders = 600 * time.Second

// translateBackends turns each Backend and XBackend into what the modes in use make of it: a destination that is dialed,
// or a claim on an entry of the parent.
func (t *translation) translateBackends() {
	dialed, claimed := t.modesInUse()
	taken := map[string]ID{}
	for _, o := range each[*penstockv1alpha1.Backend](t.set) {
		c := t.conditions(o.Object)
		if first, ok := taken[o.ID.Key()]; ok {
			// Both would be the catalog entry of that name. Backend sorts before XBackend, so who may write only the
			// upstream kind cannot oust an entry.
			f := fault{ReasonConflicted, fmt.Sprintf("%s has the same name", first), "rename one of the two"}
			t.report(o.Object, c, ConditionAccepted, "metadata.name", f)
			t.direct[o.ID], t.claims[o.ID] = &destination{fault: f}, &destination{fault: f}
			continue
		}
		taken[o.ID.Key()] = o.ID
		if dialed {
			t.direct[o.ID] = t.dialed(o, c)
		}
		if claimed {
			t.claims[o.ID] = t.claim(o, c)
		}
	}
	t.markShared()
	t.addParentEntries(claimed)
	for _, o := range each[*penstockv1alpha1.Backend](t.set) {
		if d := t.direct[o.ID]; d != nil && d.fault.ok() {
			t.snap.Backends = append(t.snap.Backends, d.backend)
		}
	}
}

// backendCheck judges one Backend that is dialed. The first fault decides what routes to it are told.
type backendCheck struct {
	t     *translation
	o     object[*penstockv1alpha1.Backend]
	c     *conditions
	first fault
}

// refuse reports a fault; the Backend is then not served.
func (k *backendCheck) refuse(condition, field string, f fault) {
	if k.first.ok() {
		k.first = f
	}
	k.t.report(k.o.Object, k.c, condition, field, f)
}

// reject is refuse with Accepted=False, for faults of the object itself.
func (k *backendCheck) reject(field string, f fault) {
	if !f.ok() {
		k.refuse(ConditionAccepted, field, f)
	}
}

// dialed compiles a Backend in Endpoint Mode, at a hub or at a spoke without one.
func (t *translation) dialed(o object[*penstockv1alpha1.Backend], c *conditions) *destination {
	k := &backendCheck{t: t, o: o, c: c}
	s := o.value.Spec
	b := route.Backend{Key: t.directKey(o.ID), Via: route.ViaEndpoint, GrantRequired: t.opt.Catalog}
	if s.Type != "" && s.Type != penstockv1alpha1.BackendTypeExternalHostname {
		k.reject("spec.type", fault{ReasonUnsupportedType, fmt.Sprintf("type %q is not served", clip(string(s.Type))), "use ExternalHostname"})
	}
	if s.ExternalHostname == nil {
		k.reject("spec.externalHostname", fault{ReasonInvalidHostname, "is missing", `write e.g. "externalHostname: {hostname: api.example.com}"`})
	} else {
		b.Hostname = s.ExternalHostname.Hostname
		k.reject("spec.externalHostname.hostname", checkHostname(b.Hostname, t.opt))
	}
	b.Port = int(s.Port.Number)
	if b.Port < 1 || b.Port > 65535 {
		k.reject("spec.port.number", fault{ReasonInvalid, fmt.Sprintf("%d is no port", b.Port), "use 1 to 65535"})
	}
	b.TLS = k.tls()
	b.Protocol = string(s.Protocol)
	k.reject("spec.protocol", checkProtocol(s.Protocol, b.TLS != nil))
	b.Authority = authorityOutside(b.Hostname, b.Port, b.TLS != nil)
	k.egress(&b)
	return &destination{backend: b, fault: k.first}
}

// directKey is the key of a Backend that is dialed. Where a parent's entries are in the same table, a Backend of our own
// must not take the name of one: "@" stands in no Kubernetes name.
func (t *translation) directKey(id ID) string {
	if t.opt.View != nil && !t.opt.Catalog {
		return id.Key() + "@local"
	}
	return id.Key()
}

// authorityOutside is the Host an external destination sees (RFC 9110 §7.2: without the scheme's own port).
func authorityOutside(hostname string, port int, secure bool) string {
	if (secure && port == 443) || (!secure && port == 80) {
		return hostname
	}
	return hostname + ":" + strconv.Itoa(port)
}

// checkProtocol refuses what cannot be spoken: without TLS there is no ALPN to agree on HTTP/2.
func checkProtocol(p penstockv1alpha1.BackendProtocol, secure bool) fault {
	switch p {
	case "", penstockv1alpha1.BackendProtocolHTTP, penstockv1alpha1.BackendProtocolHTTP11, penstockv1alpha1.BackendProtocolMCP:
		return fault{}
	case penstockv1alpha1.BackendProtocolHTTP2, penstockv1alpha1.BackendProtocolGRPC:
		if !secure {
			return fault{ReasonUnsupportedProtocol, fmt.Sprintf("%s needs TLS", p), "set spec.tls, or use protocol H2C for HTTP/2 in the clear"}
		}
		return fault{}
	case penstockv1alpha1.BackendProtocolH2C:
		if secure {
			return fault{ReasonUnsupportedProtocol, "H2C is HTTP/2 without TLS, but spec.tls asks for it", "use protocol HTTP2, or tls.mode None"}
		}
		return fault{}
	}
	return fault{ReasonUnsupportedProtocol, fmt.Sprintf("protocol %q is not served", clip(string(p))), "use HTTP, HTTP11, HTTP2, H2C, GRPC or MCP"}
}

// tls compiles spec.tls; nil means in the clear.
func (k *backendCheck) tls() *route.TLS {
	s := k.o.value.Spec.TLS
	if s == nil {
		return nil
	}
	if s.Mode == penstockv1alpha1.BackendTLSNone {
		if s.ClientCertificateRef != nil || s.Validation != nil {
			k.reject("spec.tls.mode", fault{ReasonInvalid, "mode None goes with nothing else", "remove the other fields of spec.tls, or use ServerOnly"})
		}
		return nil
	}
	out := &route.TLS{}
	switch s.Mode {
	case penstockv1alpha1.BackendTLSServerOnly, "":
		if s.ClientCertificateRef != nil {
			k.reject("spec.tls.clientCertificateRef", fault{ReasonInvalid, "is shown with mode ClientAndServer only", "set tls.mode to ClientAndServer"})
		}
	case penstockv1alpha1.BackendTLSClientAndServer:
		k.clientCertificate(s.ClientCertificateRef, out)
	default:
		k.reject("spec.tls.mode", fault{ReasonUnsupportedValue, fmt.Sprintf("there is no mode %q", clip(string(s.Mode))), "use None, ServerOnly or ClientAndServer"})
	}
	if h := k.o.value.Spec.ExternalHostname; h != nil {
		out.ServerName = h.Hostname
	}
	if s.Validation != nil {
		k.validation(s.Validation, out)
	}
	return out
}

func (k *backendCheck) clientCertificate(ref *penstockv1alpha1.LocalObjectReference, out *route.TLS) {
	const field = "spec.tls.clientCertificateRef"
	refuse := func(message, remedy string) {
		k.refuse(ConditionResolvedRefs, field, fault{ReasonInvalidClientCertificateRef, message, remedy})
	}
	if ref == nil {
		k.reject(field, fault{ReasonInvalid, "is required with mode ClientAndServer", "name a Secret with tls.crt and tls.key"})
		return
	}
	if ref.Group != "" || (ref.Kind != "" && ref.Kind != "Secret") {
		refuse(fmt.Sprintf("a %s cannot hold a client certificate", clip(ref.Kind)), "name a Secret of type kubernetes.io/tls")
		return
	}
	secret, ok := lookup[*corev1.Secret](k.t.set, ID{Kind: "Secret", Namespace: k.o.ID.Namespace, Name: ref.Name})
	if !ok {
		refuse(fmt.Sprintf("there is no Secret %s/%s", k.o.ID.Namespace, clip(ref.Name)), "create it beside the Backend, with tls.crt and tls.key")
		return
	}
	pair, err := parseKeyPair(secret.value)
	if err != nil {
		refuse(fmt.Sprintf("Secret %s: %s", secret.ID.Key(), err), "store the certificate and its key again")
		return
	}
	if expired(k.t.opt.Now, pair.Leaf) {
		k.t.warn(k.o.Object, k.c, field, fault{
			ReasonCertificateExpired,
			fmt.Sprintf("the client certificate in Secret %s ended at %s", secret.ID.Key(), pair.Leaf.NotAfter.UTC().Format(time.RFC3339)), "renew it",
		})
	}
	out.ClientCertificate, out.ClientCertificateHash = secret.ID.Key(), hashKeyPair(pair)
}

func (k *backendCheck) validation(v *penstockv1alpha1.BackendTLSValidation, out *route.TLS) {
	if v.Hostname != "" {
		out.ServerName = v.Hostname
		if bad := checkDNSName(v.Hostname); !bad.ok() || looksLikeAddress(v.Hostname) {
			k.reject("spec.tls.validation.hostname", fault{ReasonInvalid, fmt.Sprintf("%q is no DNS name", clip(v.Hostname)), `write e.g. "api.example.com"`})
		}
	}
	switch {
	case v.WellKnownCACertificates != "" && v.WellKnownCACertificates != "System":
		k.reject("spec.tls.validation.wellKnownCACertificates", fault{ReasonUnsupportedValue, fmt.Sprintf("there is no well-known set %q", clip(v.WellKnownCACertificates)), `write "System"`})
	case v.WellKnownCACertificates != "" && len(v.CACertificateRefs) > 0:
		k.reject("spec.tls.validation", fault{ReasonInvalid, "caCertificateRefs and wellKnownCACertificates are both set", "keep one of the two"})
	}
	for i, ref := range v.CACertificateRefs {
		if pem := k.caBundle(fmt.Sprintf("spec.tls.validation.caCertificateRefs[%d]", i), ref); pem != "" {
			out.CAs = append(out.CAs, pem)
		}
	}
	for i, san := range v.SubjectAltNames {
		switch {
		case san.Type == "Hostname" && san.Hostname != "":
			out.DNSNames = append(out.DNSNames, san.Hostname)
		case san.Type == "URI" && san.URI != "":
			out.URIs = append(out.URIs, san.URI)
		default:
			k.reject(fmt.Sprintf("spec.tls.validation.subjectAltNames[%d]", i), fault{ReasonInvalid, "names nothing", "write type Hostname with hostname, or type URI with uri"})
		}
	}
}

// caBundle reads ca.crt of a ConfigMap or Secret. A bundle that is not there refuses the Backend: falling back to the
// system's roots would trust whom the author did not mean.
func (k *backendCheck) caBundle(field string, ref penstockv1alpha1.LocalObjectReference) string {
	refuse := func(message, remedy string) string {
		k.refuse(ConditionResolvedRefs, field, fault{ReasonInvalidCACertificateRef, message, remedy})
		return ""
	}
	var bundle []byte
	var where string
	switch {
	case ref.Group == "" && (ref.Kind == "" || ref.Kind == "ConfigMap"):
		where = "ConfigMap " + k.o.ID.Namespace + "/" + ref.Name
		if m, ok := lookup[*corev1.ConfigMap](k.t.set, ID{Kind: "ConfigMap", Namespace: k.o.ID.Namespace, Name: ref.Name}); ok {
			bundle = []byte(m.value.Data["ca.crt"])
			if len(bundle) == 0 {
				bundle = m.value.BinaryData["ca.crt"]
			}
		}
	case ref.Group == "" && ref.Kind == "Secret":
		where = "Secret " + k.o.ID.Namespace + "/" + ref.Name
		if s, ok := lookup[*corev1.Secret](k.t.set, ID{Kind: "Secret", Namespace: k.o.ID.Namespace, Name: ref.Name}); ok {
			bundle = s.value.Data["ca.crt"]
		}
	default:
		return refuse(fmt.Sprintf("a %s cannot hold CA certificates", clip(ref.Kind)), "name a ConfigMap or Secret with ca.crt")
	}
	if len(bundle) == 0 {
		return refuse(fmt.Sprintf("there is no %s with ca.crt", clip(where)), "create it beside the Backend")
	}
	pem, certs, err := parseCAs(bundle)
	if err != nil {
		return refuse(where+": "+err.Error(), "store the bundle again")
	}
	if expired(k.t.opt.Now, certs...) {
		k.t.warn(k.o.Object, k.c, field, fault{ReasonCertificateExpired, where + ": all certificates are past their end", "store the new ones"})
	}
	return pem
}

// egress compiles spec.egress.
func (k *backendCheck) egress(b *route.Backend) {
	e := k.o.value.Spec.Egress
	if e == nil {
		return
	}
	switch e.MinIdentity {
	case "", "ip", "token", "spiffe":
		b.MinIdentity = e.MinIdentity
	default:
		k.reject("spec.egress.minIdentity", fault{ReasonUnsupportedValue, fmt.Sprintf("there is no proof %q", clip(e.MinIdentity)), "use ip, token or spiffe"})
	}
	if e.AddressPolicy != nil {
		for i, cidr := range e.AddressPolicy.AllowedCIDRs {
			canonical, bad := checkCIDR(cidr)
			k.reject(fmt.Sprintf("spec.egress.addressPolicy.allowedCIDRs[%d]", i), bad)
			b.AllowedCIDRs = append(b.AllowedCIDRs, canonical)
		}
		b.AllowedCIDRs = sorted(b.AllowedCIDRs)
	}
	if e.Timeouts != nil {
		k.timeouts(e.Timeouts, b)
	}
	if e.Limits != nil {
		k.limits(e.Limits, b)
	}
	if e.Loop != nil {
		b.CDNLoopDisabled = e.Loop.CDNLoop == "Disabled"
		b.AllowReentry = int(e.Loop.AllowReentry)
		if b.AllowReentry < 0 || b.AllowReentry > 1 {
			k.reject("spec.egress.loop.allowReentry", fault{ReasonUnsupportedValue, fmt.Sprintf("%d is not allowed", b.AllowReentry), "use 0 or 1"})
		}
	}
	b.IdempotencyKeys = e.IdempotencyKeys == "Honored"
	for i, code := range e.RetryPostOn {
		if code < 400 || code > 599 {
			k.reject(fmt.Sprintf("spec.egress.retryPostOn[%d]", i), fault{ReasonUnsupportedValue, fmt.Sprintf("%d is no error status", code), "use 400 to 599"})
		}
		b.RetryPostOn = append(b.RetryPostOn, int(code))
	}
	slices.Sort(b.RetryPostOn)
	b.RetryPostOn = slices.Compact(b.RetryPostOn)
	k.filters(e.Filters, b)
	b.MirrorsRefused = b.Credential != "" && e.Mirrors != "Accepted"
}

// filters checks the Backend's own filters and takes its credential out of them. What is not a credential is merged
// into the targets of rules, see layer.
func (k *backendCheck) filters(list []penstockv1alpha1.Filter, b *route.Backend) {
	names := map[string]bool{}
	for i, f := range list {
		field := fmt.Sprintf("spec.egress.filters[%d]", i)
		if names[f.Name] {
			k.reject(field+".name", fault{ReasonInvalidFilter, fmt.Sprintf("the name %q is there twice", clip(f.Name)), "give each filter a name of its own"})
		}
		names[f.Name] = true
		if f.Type != route.FilterCredentialInjector {
			compiled, bad := compileFilter(f, k.o.ID.String())
			k.reject(field, bad)
			k.t.layer(k.o.ID).own = append(k.t.layer(k.o.ID).own, compiled)
			continue
		}
		if b.Credential != "" {
			k.reject(field, fault{ReasonInvalidFilter, "binds a second credential", "keep one"})
			continue
		}
		var cfg credentialConfig
		var raw []byte
		if f.Config != nil {
			raw = f.Config.Raw
		}
		if bad := decodeConfig(raw, &cfg); !bad.ok() {
			k.reject(field, bad)
			continue
		}
		if bad := k.t.credential(k.o.ID.Namespace, cfg.CredentialRef.Name, b.Hostname); !bad.ok() {
			k.refuse(ConditionResolvedRefs, field+".config.credentialRef", bad)
			continue
		}
		b.Credential = k.o.ID.Namespace + "/" + cfg.CredentialRef.Name
	}
}

func (k *backendCheck) timeouts(s *penstockv1alpha1.BackendTimeouts, b *route.Backend) {
	read := func(field string, d *gwv1.Duration, most time.Duration) time.Duration {
		if d == nil {
			return 0
		}
		v, bad := parseDuration(*d)
		if bad.ok() && (v == 0 || v > most) {
			bad = fault{ReasonUnsupportedValue, fmt.Sprintf("%s is not between 1ms and %s", v, most), "correct the duration"}
		}
		k.reject("spec.egress.timeouts."+field, bad)
		return v
	}
	b.Timeouts = route.BackendTimeouts{
		ResponseHeaders: read("responseHeaders", s.ResponseHeaders, maxResponseHeaders),
		Connect:         read("connect", s.Connect, maxResponseHeaders),
		Idle:            read("idle", s.Idle, 24*time.Hour),
	}
}

func (k *backendCheck) limits(s *penstockv1alpha1.BackendLimits, b *route.Backend) {
	read := func(field string, n *int32) int {
		if n == nil {
			return 0
		}
		if *n < 1 {
			k.reject("spec.egress.limits."+field, fault{ReasonUnsupportedValue, fmt.Sprintf("%d lets nothing through", *n), "use 1 or more, or leave it out for the default"})
		}
		return int(*n)
	}
	b.Limits.MaxInFlight = read("maxInFlight", s.MaxInFlight)
	b.Limits.MaxStreams = read("maxStreams", s.MaxStreams)
	if p := s.PerSubject; p != nil {
		b.Limits.MaxInFlightPerSubject = read("perSubject.maxInFlight", p.MaxInFlight)
		b.Limits.MaxStreamsPerSubject = read("perSubject.maxStreams", p.MaxStreams)
	}
}
