package manifest

import (
	"fmt"
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/gateway/route"
)

// attachable is a route of any kind, as far as attaching it to listeners goes.
type attachable struct {
	*Object
	spec      *gwv1.CommonRouteSpec
	hostnames []gwv1.Hostname
	// compile makes the rules for one Gateway; what speaks against them goes into the conditions.
	compile func(g *gateway, c *conditions) []route.Rule
}

// attach attaches a route to the listeners of our Gateways and lists its status.
func (t *translation) attach(o attachable) {
	s := ObjectStatus{ID: o.ID, Source: o.Source}
	for i, ref := range o.spec.ParentRefs {
		if c := t.attachTo(o, ref, fmt.Sprintf("spec.parentRefs[%d]", i)); c != nil {
			s.Parents = append(s.Parents, gwv1.RouteParentStatus{
				ParentRef: ref, ControllerName: gwv1.GatewayController(t.opt.Controller), Conditions: c.emit(o.Generation()),
			})
		}
	}
	if len(s.Parents) > 0 {
		t.listed = append(t.listed, s)
	}
}

// attachTo attaches a route to the listeners one parentRef means and returns the conditions for it; nil if the parent
// is not ours to judge.
func (t *translation) attachTo(o attachable, ref gwv1.ParentReference, field string) *conditions {
	if string(deref(ref.Group, groupGateway)) != groupGateway || deref(ref.Kind, "Gateway") != "Gateway" {
		return nil
	}
	id := gatewayID(string(deref(ref.Namespace, gwv1.Namespace(o.ID.Namespace))), string(ref.Name))
	c := &conditions{}
	refuse := func(reason gwv1.RouteConditionReason, message, remedy string) *conditions {
		t.report(o.Object, c, ConditionAccepted, field, fault{string(reason), message, remedy})
		c.set(ConditionResolvedRefs, true, ConditionResolvedRefs, "")
		return c
	}
	g := t.gateways[id.Key()]
	if g == nil {
		if t.set.find(id) != nil {
			return nil // another controller's
		}
		return refuse(gwv1.RouteReasonNoMatchingParent, fmt.Sprintf("there is no %s", id), "create the Gateway, or correct the reference")
	}
	if o.spec.UseDefaultGateways != "" && o.spec.UseDefaultGateways != gwv1.GatewayDefaultScopeNone {
		t.report(o.Object, c, ConditionAccepted, "spec.useDefaultGateways", fault{ReasonUnsupportedValue, "default Gateways are not served yet", "name the Gateway in spec.parentRefs"})
	}
	listeners, reason := t.matchingListeners(g, o, ref)
	if reason != "" {
		return refuse(reason, notAttached(g, reason, o.ID.Kind), "see the listeners of the Gateway")
	}
	compiled := o.compile(g, c)
	attached := false
	var bad, taken []Problem
	for _, l := range listeners {
		hostnames, ok, ps := t.routeHostnames(o, l)
		bad = append(bad, ps...)
		if !ok {
			continue
		}
		// The same route may come by another parentRef; one that is not accepted counts nowhere.
		if l.attached[o.ID] != nil || c.is(ConditionAccepted, false) {
			attached = true
			continue
		}
		if first := l.rival(o.ID.Kind, hostnames); first != nil {
			taken = append(taken, o.Problem(field, ReasonConflicted,
				fmt.Sprintf("%s, which goes before, has the same hostname on listener %s: HTTPRoutes and GRPCRoutes do not share one", first.route, l.spec.Name),
				"use another hostname, or one kind of route for it"))
			continue
		}
		attached = true
		l.attached[o.ID] = &attachment{o.ID, hostnames}
		if l.byKind[o.ID.Kind] == nil {
			l.byKind[o.ID.Kind] = &hostIndex{}
		}
		l.byKind[o.ID.Kind].add(l.attached[o.ID])
		for _, r := range compiled {
			r.Hostnames = hostnames
			l.rules = append(l.rules, r)
		}
	}
	bad = append(taken, bad...)
	t.findings = append(t.findings, bad...)
	switch {
	case attached:
		for _, p := range bad {
			c.set(string(gwv1.RouteConditionPartiallyInvalid), true, p.Reason, p.text())
		}
	case len(bad) > 0:
		for _, p := range bad {
			c.set(ConditionAccepted, false, p.Reason, p.text())
		}
	case !c.is(ConditionAccepted, false):
		return refuse(gwv1.RouteReasonNoMatchingListenerHostname, "no listener takes one of the route's hostnames", "compare spec.hostnames with the hostnames of the listeners")
	}
	c.set(ConditionAccepted, true, string(gwv1.RouteReasonAccepted), "")
	c.set(ConditionResolvedRefs, true, string(gwv1.RouteReasonResolvedRefs), "")
	if g.mode == modeParent && slices.ContainsFunc(compiled, func(r route.Rule) bool { return r.Retry != nil }) {
		c.set(ConditionRetryDelegated, true, ReasonDelegated, "attempts travel to the hub; codes and backoff are the hub's business")
	}
	return c
}

// attachment is a route on a listener.
type attachment struct {
	route     ID
	hostnames []string // none: any
}

// rival is an attached route of another kind with one of the hostnames (GRPCRoute: exactly one of the two is accepted).
func (l *listener) rival(kind string, hostnames []string) *attachment {
	for _, other := range []string{"HTTPRoute", "GRPCRoute"} {
		if other == kind {
			continue
		}
		if a := l.byKind[other].find(hostnames); a != nil {
			return a
		}
	}
	return nil
}

func notAttached(g *gateway, reason gwv1.RouteConditionReason, kind string) string {
	if reason == gwv1.RouteReasonNoMatchingParent {
		return fmt.Sprintf("%s has no listener with that sectionName and port", g.ID)
	}
	return fmt.Sprintf("no listener of %s allows %ss of this namespace", g.ID, kind)
}

// matchingListeners are those that the parentRef means and that allow the route, or why there are none.
func (t *translation) matchingListeners(g *gateway, o attachable, ref gwv1.ParentReference) ([]*listener, gwv1.RouteConditionReason) {
	var named, allowed []*listener
	for _, l := range g.listeners {
		if (ref.SectionName == nil || *ref.SectionName == l.spec.Name) && (ref.Port == nil || *ref.Port == l.spec.Port) {
			named = append(named, l)
		}
	}
	if len(named) == 0 {
		return nil, gwv1.RouteReasonNoMatchingParent
	}
	for _, l := range named {
		if l.takes(o.ID.Kind) && t.allows(l, o.ID.Namespace) {
			allowed = append(allowed, l)
		}
	}
	if len(allowed) == 0 {
		return nil, gwv1.RouteReasonNotAllowedByListeners
	}
	return allowed, ""
}

// routeHostnames are the hostnames under which a route's rules stand on a listener: the intersection of both; ok if there
// are any, or none are needed. On a Tunnel listener they are catalog names of the route's own namespace, because there
// the host decides whose grant is asked.
func (t *translation) routeHostnames(o attachable, l *listener) (hostnames []string, ok bool, bad []Problem) {
	if l.protocol == route.ProtocolTunnel {
		return t.catalogHostnames(o)
	}
	if len(o.hostnames) == 0 {
		if l.hostname == "" {
			return nil, true, nil
		}
		return []string{l.hostname}, true, nil
	}
	for i, h := range o.hostnames {
		name := string(h)
		if f := checkDNSName(strings.TrimPrefix(name, "*.")); !f.ok() {
			bad = append(bad, o.Problem(fmt.Sprintf("spec.hostnames[%d]", i), ReasonUnsupportedValue, f.message, f.remedy))
			continue
		}
		if both, ok := intersect(l.hostname, name); ok {
			hostnames = append(hostnames, both)
		}
	}
	return sorted(hostnames), len(hostnames) > 0, bad
}

// catalogHostnames keeps the hostnames that are entries of the route's own namespace: a route from elsewhere must not
// answer for an entry that others were granted.
func (t *translation) catalogHostnames(o attachable) (hostnames []string, ok bool, bad []Problem) {
	const remedy = "name entries of the route's own namespace, as <backend>.<namespace>." + CatalogDomain
	if len(o.hostnames) == 0 {
		return nil, false, []Problem{o.Problem("spec.hostnames", ReasonForeignCatalogName, "a route without hostnames would answer for every entry", remedy)}
	}
	for i, h := range o.hostnames {
		name := string(h)
		refuse := func(reason, message, remedy string) {
			bad = append(bad, o.Problem(fmt.Sprintf("spec.hostnames[%d]", i), reason, message, remedy))
		}
		namespace, entry, isEntry := entryOf(name)
		switch {
		case !isEntry || strings.Contains(name, "*"):
			refuse(ReasonForeignCatalogName, fmt.Sprintf("%q is no catalog name", clip(name)), remedy)
		case namespace != o.ID.Namespace:
			refuse(ReasonForeignCatalogName, fmt.Sprintf("%q is an entry of namespace %s, whose own routes alone may answer for it", clip(name), clip(namespace)), remedy)
		case !t.entryExists(namespace, entry):
			refuse(string(gwv1.RouteReasonNoMatchingListenerHostname), fmt.Sprintf("there is no Backend %s in namespace %s", clip(entry), namespace), "create it, or correct the name")
		default:
			hostnames = append(hostnames, name)
		}
	}
	return sorted(hostnames), len(hostnames) > 0, bad
}
