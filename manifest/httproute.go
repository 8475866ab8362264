package manifest

import (
	"fmt"
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/gateway/route"
)

// translateRoutes attaches HTTPRoutes to the listeners of our Gateways.
func (t *translation) translateRoutes() {
	for _, o := range each[*gwv1.HTTPRoute](t.set) {
		s := ObjectStatus{ID: o.ID, Source: o.Source}
		for i := range o.value.Spec.ParentRefs {
			ref := o.value.Spec.ParentRefs[i]
			field := fmt.Sprintf("spec.parentRefs[%d]", i)
			if p := t.attachRoute(o, ref, field); p != nil {
				s.Parents = append(s.Parents, gwv1.RouteParentStatus{
					ParentRef: ref, ControllerName: gwv1.GatewayController(t.opt.Controller), Conditions: p.emit(o.Generation()),
				})
			}
		}
		if len(s.Parents) > 0 {
			t.listed = append(t.listed, s)
		}
	}
}

// attachRoute attaches a route to the listeners one parentRef means and returns the conditions for it; nil if the parent
// is not ours to judge.
func (t *translation) attachRoute(o object[*gwv1.HTTPRoute], ref gwv1.ParentReference, field string) *conditions {
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
	if o.value.Spec.UseDefaultGateways != "" && o.value.Spec.UseDefaultGateways != gwv1.GatewayDefaultScopeNone {
		t.report(o.Object, c, ConditionAccepted, "spec.useDefaultGateways", fault{ReasonUnsupportedValue, "default Gateways are not served yet", "name the Gateway in spec.parentRefs"})
	}
	listeners, reason := t.matchingListeners(g, o, ref)
	if reason != "" {
		return refuse(reason, notAttached(g, reason), "see the listeners of the Gateway")
	}
	compiled := t.compileRules(o, g, c)
	attached := false
	var bad []Problem
	for _, l := range listeners {
		hostnames, ok, ps := t.routeHostnames(o, l)
		bad = append(bad, ps...)
		attached = attached || ok
		// The same route may come by another parentRef; one that is not accepted counts nowhere.
		if !ok || l.attached[o.ID] || c.is(ConditionAccepted, false) {
			continue
		}
		l.attached[o.ID] = true
		for _, r := range compiled {
			r.Hostnames = hostnames
			l.rules = append(l.rules, r)
		}
	}
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

func notAttached(g *gateway, reason gwv1.RouteConditionReason) string {
	if reason == gwv1.RouteReasonNoMatchingParent {
		return fmt.Sprintf("%s has no listener with that sectionName and port", g.ID)
	}
	return fmt.Sprintf("no listener of %s allows HTTPRoutes of this namespace", g.ID)
}

// matchingListeners are those that the parentRef means and that allow the route, or why there are none.
func (t *translation) matchingListeners(g *gateway, o object[*gwv1.HTTPRoute], ref gwv1.ParentReference) ([]*listener, gwv1.RouteConditionReason) {
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
		if len(l.kinds) > 0 && t.allows(l, o.ID.Namespace) {
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
func (t *translation) routeHostnames(o object[*gwv1.HTTPRoute], l *listener) (hostnames []string, ok bool, bad []Problem) {
	if l.protocol == route.ProtocolTunnel {
		return t.catalogHostnames(o)
	}
	if len(o.value.Spec.Hostnames) == 0 {
		if l.hostname == "" {
			return nil, true, nil
		}
		return []string{l.hostname}, true, nil
	}
	for i, h := range o.value.Spec.Hostnames {
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
func (t *translation) catalogHostnames(o object[*gwv1.HTTPRoute]) (hostnames []string, ok bool, bad []Problem) {
	const remedy = "name entries of the route's own namespace, as <backend>.<namespace>." + CatalogDomain
	if len(o.value.Spec.Hostnames) == 0 {
		return nil, false, []Problem{o.Problem("spec.hostnames", ReasonForeignCatalogName, "a route without hostnames would answer for every entry", remedy)}
	}
	for i, h := range o.value.Spec.Hostnames {
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

// entryExists reports whether a Backend or XBackend of that name is in the catalog.
func (t *translation) entryExists(namespace, name string) bool {
	for _, id := range []ID{
		{Group: groupPenstock, Kind: "Backend", Namespace: namespace, Name: name},
		{Group: groupGatewayX, Kind: "XBackend", Namespace: namespace, Name: name},
	} {
		if t.direct[id] != nil {
			return true
		}
	}
	return false
}

// compileRules compiles a route's rules for one Gateway. A rule that cannot be served as written is not left out: its
// requests would fall to a broader rule without its filters. It keeps its matches and answers 500. Only a rule whose
// matches are unreadable is dropped.
func (t *translation) compileRules(o object[*gwv1.HTTPRoute], g *gateway, c *conditions) []route.Rule {
	var out []route.Rule
	var faults []string
	valid := 0
	var reason string
	for i := range o.value.Spec.Rules {
		k := &ruleCheck{t: t, o: o, g: g, c: c, rule: &o.value.Spec.Rules[i], field: fmt.Sprintf("spec.rules[%d]", i), index: i}
		r, ok := k.compile()
		if ok {
			out = append(out, r)
		}
		if k.first.ok() {
			valid++
			continue
		}
		if reason == "" {
			reason = k.first.reason
		}
		faults = append(faults, fmt.Sprintf("rule %s: %s", ruleName(k.rule, i), k.text))
	}
	switch {
	case len(faults) == 0:
		return out
	case valid == 0:
		c.set(ConditionAccepted, false, ReasonUnsupportedValue, strings.Join(faults, ". "))
		return nil
	}
	c.set(string(gwv1.RouteConditionPartiallyInvalid), true, ReasonUnsupportedValue, "Dropped Rule: "+strings.Join(faults, ". "))
	return out
}

func ruleName(r *gwv1.HTTPRouteRule, index int) string {
	if r.Name != nil && *r.Name != "" {
		return string(*r.Name)
	}
	return itoa(index)
}
