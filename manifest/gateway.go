package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/route"
)

// mode is how a Gateway reaches Backends.
type mode string

const (
	modeParent   mode = "Parent"
	modeEndpoint mode = "Endpoint"
)

// gateway is one of our Gateways on its way into the snapshot.
type gateway struct {
	object[*gwv1.Gateway]
	mode       mode
	conditions *conditions
	listeners  []*listener
	// The key pair that Services with TLS are shown (spec.tls.backend), or why there is none.
	clientCertificate, clientCertificateHash string
	clientFault                              fault
}

// listener is one listener of one of our Gateways.
type listener struct {
	gateway    *gateway
	spec       gwv1.Listener
	hostname   string
	protocol   route.Protocol
	conditions conditions
	kinds      []gwv1.RouteGroupKind
	tls        *route.ListenerTLS
	attached   map[ID]*attachment
	byKind     map[string]*hostIndex // the same, by their hostnames
	rules      []route.Rule
}

// takes reports whether the listener serves routes of a kind.
func (l *listener) takes(kind string) bool {
	return slices.ContainsFunc(l.kinds, func(k gwv1.RouteGroupKind) bool { return string(k.Kind) == kind })
}

// served reports whether the listener gets into the snapshot.
func (l *listener) served() bool {
	return !l.conditions.is(ConditionAccepted, false) && !l.conditions.is(string(gwv1.ListenerConditionConflicted), true) &&
		!l.gateway.conditions.is(ConditionAccepted, false) && (l.tls != nil || !l.secure())
}

// secure reports whether clients of the listener speak TLS.
func (l *listener) secure() bool {
	return l.protocol == route.ProtocolHTTPS || l.protocol == route.ProtocolTLS
}

func (t *translation) translateGatewayConfigs() {
	for _, o := range each[*penstockv1alpha1.GatewayConfig](t.set) {
		c := t.conditions(o.Object)
		if _, bad := t.configMode(o.value); !bad.ok() {
			t.report(o.Object, c, ConditionAccepted, "spec.mode", bad)
		}
	}
}

// configMode is the mode a GatewayConfig asks for.
func (t *translation) configMode(g *penstockv1alpha1.GatewayConfig) (mode, fault) {
	switch mode(g.Spec.Mode) {
	case "":
		return t.defaultMode(), fault{}
	case modeEndpoint:
		return modeEndpoint, fault{}
	case modeParent:
		if t.opt.View == nil {
			return modeEndpoint, fault{string(gwv1.GatewayReasonInvalidParameters), "mode Parent needs a hub, but this gateway has none", "register the cluster with a hub, or use mode Endpoint"}
		}
		return modeParent, fault{}
	}
	return modeEndpoint, fault{string(gwv1.GatewayReasonInvalidParameters), fmt.Sprintf("there is no mode %q", clip(g.Spec.Mode)), "use Parent or Endpoint"}
}

// defaultMode: Parent when the gateway has a hub, else Endpoint. A hub dials its own catalog's Backends.
func (t *translation) defaultMode() mode {
	if t.opt.View != nil && !t.opt.Catalog {
		return modeParent
	}
	return modeEndpoint
}

// modesInUse tells in which ways Backends must be compiled.
func (t *translation) modesInUse() (dialed, claimed bool) {
	dialed, claimed = t.defaultMode() == modeEndpoint, t.defaultMode() == modeParent
	for _, g := range t.gatewayOrder {
		dialed = dialed || g.mode == modeEndpoint
		claimed = claimed || g.mode == modeParent
	}
	return dialed, claimed
}

// translateGateways finds our classes and Gateways and judges their listeners, oldest Gateway first.
func (t *translation) translateGateways() {
	classes := t.translateClasses()
	all := each[*gwv1.Gateway](t.set)
	slices.SortStableFunc(all, func(a, b object[*gwv1.Gateway]) int { return older(a.Object, b.Object) })
	for _, o := range all {
		name := string(o.value.Spec.GatewayClassName)
		if _, exists := t.set.Get(classID(name)); !exists {
			t.findings = append(t.findings, o.Problem("spec.gatewayClassName", ReasonNoGatewayClass,
				fmt.Sprintf("there is no GatewayClass %q, so nobody serves this Gateway", clip(name)),
				fmt.Sprintf("create it with controllerName %s", t.opt.Controller)))
			continue
		}
		class, ours := classes[name]
		if !ours {
			continue
		}
		g := &gateway{object: o, mode: class, conditions: &conditions{}}
		t.gateways[o.ID.Key()] = g
		t.gatewayOrder = append(t.gatewayOrder, g)
		t.checkGateway(g)
		for i := range o.value.Spec.Listeners {
			l := &listener{gateway: g, spec: o.value.Spec.Listeners[i], attached: map[ID]*attachment{}, byKind: map[string]*hostIndex{}}
			g.listeners = append(g.listeners, l)
			t.checkListener(l, fmt.Sprintf("spec.listeners[%d]", i))
		}
	}
	t.checkListenerConflicts()
	t.markOverlaps()
}

func classID(name string) ID { return ID{Group: groupGateway, Kind: "GatewayClass", Name: name} }

// translateClasses returns the mode of each class that is ours.
func (t *translation) translateClasses() map[string]mode {
	modes := map[string]mode{}
	for _, o := range each[*gwv1.GatewayClass](t.set) {
		if string(o.value.Spec.ControllerName) != t.opt.Controller {
			continue
		}
		c := t.conditions(o.Object)
		m := t.defaultMode()
		if ref := o.value.Spec.ParametersRef; ref != nil {
			var bad fault
			if m, bad = t.parameters(string(ref.Group), string(ref.Kind), string(deref(ref.Namespace, "")), ref.Name); !bad.ok() {
				t.report(o.Object, c, ConditionAccepted, "spec.parametersRef", bad)
			}
		}
		modes[o.ID.Name] = m
	}
	return modes
}

// parameters reads the GatewayConfig that a class or Gateway points at.
func (t *translation) parameters(group, kind, namespace, name string) (mode, fault) {
	invalid := string(gwv1.GatewayReasonInvalidParameters)
	if group != groupPenstock || kind != "GatewayConfig" {
		return t.defaultMode(), fault{invalid, fmt.Sprintf("%s of group %q is not read here", clip(kind), clip(group)), "point at a GatewayConfig of " + groupPenstock}
	}
	o, ok := lookup[*penstockv1alpha1.GatewayConfig](t.set, ID{Group: group, Kind: kind, Namespace: namespace, Name: name})
	if !ok {
		return t.defaultMode(), fault{invalid, fmt.Sprintf("there is no GatewayConfig %s/%s", clip(namespace), clip(name)), "create it, or correct the reference"}
	}
	return t.configMode(o.value)
}

// checkGateway judges what a Gateway says beside its listeners.
func (t *translation) checkGateway(g *gateway) {
	s := g.value.Spec
	refuse := func(field string, f fault) { t.report(g.Object, g.conditions, ConditionAccepted, field, f) }
	if infra := s.Infrastructure; infra != nil && infra.ParametersRef != nil {
		ref := infra.ParametersRef
		m, bad := t.parameters(string(ref.Group), string(ref.Kind), g.ID.Namespace, ref.Name)
		if !bad.ok() {
			refuse("spec.infrastructure.parametersRef", bad)
		}
		g.mode = m
	}
	if class := t.status[classID(string(s.GatewayClassName))]; class.is(ConditionAccepted, false) {
		refuse("spec.gatewayClassName", fault{string(gwv1.GatewayReasonInvalidParameters), fmt.Sprintf("GatewayClass %s is not accepted", s.GatewayClassName), "correct the class"})
	}
	if len(s.Addresses) > 0 {
		refuse("spec.addresses", fault{string(gwv1.GatewayReasonUnsupportedAddress), "addresses cannot be asked for", "remove the field"})
	}
	t.checkGatewayTLS(g)
	if s.AllowedListeners != nil {
		refuse("spec.allowedListeners", fault{ReasonUnsupportedValue, "ListenerSets are not served yet", "remove the field"})
	}
	if s.DefaultScope != "" && s.DefaultScope != gwv1.GatewayDefaultScopeNone {
		refuse("spec.defaultScope", fault{ReasonUnsupportedValue, "default Gateways are not served yet", "remove the field and name the Gateway in each route"})
	}
}

// checkListener judges one listener alone.
func (t *translation) checkListener(l *listener, field string) {
	g := l.gateway
	refuse := func(condition, sub string, f fault) { t.report(g.Object, &l.conditions, condition, field+sub, f) }
	l.hostname = string(deref(l.spec.Hostname, ""))
	l.protocol = route.Protocol(l.spec.Protocol)
	tunnel := l.protocol == route.ProtocolTunnel
	switch {
	case l.protocol == route.ProtocolHTTP, l.secure():
	case tunnel && t.opt.Catalog:
	case tunnel:
		refuse(ConditionAccepted, ".protocol", fault{string(gwv1.ListenerReasonUnsupportedProtocol), "only a hub has tunnels to listen for", "use protocol HTTP or HTTPS"})
	default:
		refuse(ConditionAccepted, ".protocol", fault{string(gwv1.ListenerReasonUnsupportedProtocol), fmt.Sprintf("protocol %q is not served", clip(string(l.protocol))), "use protocol HTTP, HTTPS or TLS"})
	}
	if l.spec.TLS != nil && (tunnel || l.protocol == route.ProtocolHTTP) {
		remedy := "remove it"
		if tunnel {
			remedy = "remove it: tunnels prove both sides with certificates of their own"
		}
		refuse(ConditionAccepted, ".tls", fault{string(gwv1.ListenerReasonUnsupportedValue), fmt.Sprintf("goes with no listener of protocol %s", l.protocol), remedy})
	}
	if l.spec.Port < 1 || l.spec.Port > 65535 {
		refuse(ConditionAccepted, ".port", fault{string(gwv1.ListenerReasonPortUnavailable), fmt.Sprintf("%d is no port", l.spec.Port), "use 1 to 65535"})
	}
	if l.hostname != "" {
		switch {
		case tunnel:
			refuse(ConditionAccepted, ".hostname", fault{string(gwv1.ListenerReasonUnsupportedValue), "inside tunnels the host is a catalog name", "remove it"})
		default:
			if bad := checkDNSName(strings.TrimPrefix(l.hostname, "*.")); !bad.ok() {
				refuse(ConditionAccepted, ".hostname", fault{string(gwv1.ListenerReasonUnsupportedValue), bad.message, bad.remedy})
			}
		}
	}
	l.kinds = t.supportedKinds(l, refuse)
	if l.secure() {
		l.tls = t.listenerTLS(l, field)
	}
}

// kindsOf are the route kinds that a protocol carries.
func kindsOf(p route.Protocol) []gwv1.Kind {
	switch p {
	case route.ProtocolHTTP, route.ProtocolHTTPS, route.ProtocolTunnel:
		return []gwv1.Kind{"HTTPRoute", "GRPCRoute"}
	case route.ProtocolTLS:
		return []gwv1.Kind{"TLSRoute"}
	}
	return nil
}

// supportedKinds are the kinds of the listener's protocol, as far as the listener allows them.
func (t *translation) supportedKinds(l *listener, refuse func(condition, sub string, f fault)) []gwv1.RouteGroupKind {
	group := gwv1.Group(groupGateway)
	served := kindsOf(l.protocol)
	out := []gwv1.RouteGroupKind{}
	add := func(kind gwv1.Kind) {
		if !slices.ContainsFunc(out, func(k gwv1.RouteGroupKind) bool { return k.Kind == kind }) {
			out = append(out, gwv1.RouteGroupKind{Group: &group, Kind: kind})
		}
	}
	if l.spec.AllowedRoutes == nil || len(l.spec.AllowedRoutes.Kinds) == 0 {
		for _, kind := range served {
			add(kind)
		}
		return out
	}
	for i, k := range l.spec.AllowedRoutes.Kinds {
		if deref(k.Group, group) == group && slices.Contains(served, k.Kind) {
			add(k.Kind)
			continue
		}
		refuse(ConditionResolvedRefs, fmt.Sprintf(".allowedRoutes.kinds[%d]", i), fault{
			string(gwv1.ListenerReasonInvalidRouteKinds),
			fmt.Sprintf("%s is not served on a listener of protocol %s", clip(string(k.Kind)), clip(string(l.protocol))), "allow " + joinKinds(served),
		})
	}
	return out
}

func joinKinds(kinds []gwv1.Kind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return strings.Join(names, " or ")
}

// checkListenerConflicts: one port has one protocol, and one protocol, port and hostname has one listener. All Gateways
// of a process share its sockets; the oldest Gateway, and in it the first listener, keeps the place (Gateway API: an
// implementation may accept the first).
func (t *translation) checkListenerConflicts() {
	type place struct {
		port     gwv1.PortNumber
		hostname string
	}
	protocols := map[gwv1.PortNumber]*listener{}
	places := map[place]*listener{}
	for _, g := range t.gatewayOrder {
		for i, l := range g.listeners {
			if !l.served() {
				continue
			}
			refuse := func(reason gwv1.ListenerConditionReason, message, remedy string) {
				p := g.Problem(fmt.Sprintf("spec.listeners[%d]", i), string(reason), message, remedy)
				t.findings = append(t.findings, p)
				l.conditions.set(string(gwv1.ListenerConditionConflicted), true, string(reason), p.text())
				l.conditions.set(ConditionAccepted, false, string(reason), p.text())
			}
			if first := protocols[l.spec.Port]; first == nil {
				protocols[l.spec.Port] = l
			} else if first.protocol != l.protocol && !(first.secure() && l.secure()) { // HTTPS and TLS are told apart by server name
				refuse(gwv1.ListenerReasonProtocolConflict, fmt.Sprintf("port %d speaks %s for listener %s of %s", l.spec.Port, first.protocol, first.spec.Name, first.gateway.ID), "use another port")
				continue
			}
			at := place{l.spec.Port, l.hostname}
			if first := places[at]; first != nil {
				refuse(gwv1.ListenerReasonHostnameConflict, fmt.Sprintf("listener %s of %s has the same port and hostname", first.spec.Name, first.gateway.ID), "use another port or hostname")
				continue
			}
			places[at] = l
		}
	}
}

// allows reports whether the listener takes routes of that namespace.
func (t *translation) allows(l *listener, namespace string) bool {
	from := gwv1.NamespacesFromSame
	var selector *metav1.LabelSelector
	if a := l.spec.AllowedRoutes; a != nil && a.Namespaces != nil {
		from, selector = deref(a.Namespaces.From, gwv1.NamespacesFromSame), a.Namespaces.Selector
	}
	switch from {
	case gwv1.NamespacesFromAll:
		return true
	case gwv1.NamespacesFromSame:
		return namespace == l.gateway.ID.Namespace
	case gwv1.NamespacesFromSelector:
		if selector == nil {
			return false
		}
		s, err := metav1.LabelSelectorAsSelector(selector)
		return err == nil && s.Matches(t.namespaceLabels(namespace))
	}
	return false
}

// namespaceLabels are those of the Namespace object, and the name label that an API server puts on each.
func (t *translation) namespaceLabels(namespace string) labels.Set {
	out := labels.Set{}
	if o, ok := lookup[*corev1.Namespace](t.set, ID{Kind: "Namespace", Name: namespace}); ok {
		for k, v := range o.value.Labels {
			out[k] = v
		}
	}
	out[corev1.LabelMetadataName] = namespace
	return out
}

// serve makes the snapshot's listeners.
func (g *gateway) serve() []route.Listener {
	var out []route.Listener
	for _, l := range g.listeners {
		if !l.served() {
			continue
		}
		slices.SortStableFunc(l.rules, func(a, b route.Rule) int {
			return cmp.Or(compareCreated(a.Created, b.Created), strings.Compare(a.Route.Kind, b.Route.Kind),
				strings.Compare(a.Route.Namespace, b.Route.Namespace), strings.Compare(a.Route.Name, b.Route.Name))
		})
		out = append(out, route.Listener{
			Gateway: g.ID.Key(), Name: string(l.spec.Name), Protocol: l.protocol, Port: int(l.spec.Port), Hostname: l.hostname, TLS: l.tls, Rules: l.rules,
		})
	}
	return out
}

// objectStatus completes the conditions of a Gateway and its listeners.
func (g *gateway) objectStatus() ObjectStatus {
	out := ObjectStatus{ID: g.ID, Source: g.Source}
	valid := 0
	for _, l := range g.listeners {
		if l.served() {
			valid++
		}
		out.Listeners = append(out.Listeners, l.status())
	}
	switch {
	case g.conditions.is(ConditionAccepted, false):
	case valid == 0:
		g.conditions.set(ConditionAccepted, false, string(gwv1.GatewayReasonListenersNotValid), "no listener is valid; see their conditions")
	case valid < len(g.listeners):
		g.conditions.set(ConditionAccepted, true, string(gwv1.GatewayReasonListenersNotValid), "some listeners are not valid; see their conditions")
	default:
		g.conditions.set(ConditionAccepted, true, string(gwv1.GatewayReasonAccepted), "")
	}
	if g.conditions.is(ConditionAccepted, true) {
		g.conditions.set(ConditionProgrammed, true, string(gwv1.GatewayReasonProgrammed), "")
	} else {
		g.conditions.set(ConditionProgrammed, false, string(gwv1.GatewayReasonInvalid), "see the other conditions")
	}
	out.Conditions = g.conditions.emit(g.Generation())
	return out
}

func (l *listener) status() gwv1.ListenerStatus {
	c := &l.conditions
	served := l.served()
	c.set(ConditionAccepted, true, string(gwv1.ListenerReasonAccepted), "")
	c.set(ConditionResolvedRefs, true, string(gwv1.ListenerReasonResolvedRefs), "")
	c.set(string(gwv1.ListenerConditionConflicted), false, string(gwv1.ListenerReasonNoConflicts), "")
	if served {
		c.set(ConditionProgrammed, true, string(gwv1.ListenerReasonProgrammed), "")
	} else {
		c.set(ConditionProgrammed, false, string(gwv1.ListenerReasonInvalid), "see the other conditions")
	}
	return gwv1.ListenerStatus{
		Name: l.spec.Name, SupportedKinds: l.kinds, AttachedRoutes: int32(len(l.attached)), Conditions: c.emit(l.gateway.Generation()),
	}
}
