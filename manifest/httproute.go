package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/gateway/route"
)

// translateRoutes attaches the routes of all kinds to the listeners of our Gateways, oldest first.
func (t *translation) translateRoutes() {
	var all []attachable
	for _, o := range each[*gwv1.HTTPRoute](t.set) {
		rules := o.value.Spec.Rules
		all = append(all, t.attachable(o.Object, &o.value.Spec.CommonRouteSpec, o.value.Spec.Hostnames, len(rules), func(k *ruleCheck) {
			k.rule = &rules[k.index]
		}))
	}
	for _, o := range each[*gwv1.GRPCRoute](t.set) {
		rules := o.value.Spec.Rules
		all = append(all, t.attachable(o.Object, &o.value.Spec.CommonRouteSpec, o.value.Spec.Hostnames, len(rules), func(k *ruleCheck) {
			k.grpcRule(&rules[k.index])
		}))
	}
	for _, o := range each[*gwv1.TLSRoute](t.set) {
		rules := o.value.Spec.Rules
		all = append(all, t.attachable(o.Object, &o.value.Spec.CommonRouteSpec, o.value.Spec.Hostnames, len(rules), func(k *ruleCheck) {
			k.tlsRule(&rules[k.index])
		}))
	}
	// GRPCRoute: of two kinds with one hostname the older stays, then the first by namespace and name, whatever its kind.
	slices.SortStableFunc(all, func(a, b attachable) int {
		return cmp.Or(compareCreated(a.Created, b.Created), strings.Compare(a.ID.Namespace, b.ID.Namespace),
			strings.Compare(a.ID.Name, b.ID.Name), strings.Compare(a.ID.Kind, b.ID.Kind))
	})
	for _, o := range all {
		t.attach(o)
	}
}

// attachable is a route with so many rules; read puts rule k.index into k.
func (t *translation) attachable(o *Object, spec *gwv1.CommonRouteSpec, hostnames []gwv1.Hostname, rules int, read func(k *ruleCheck)) attachable {
	return attachable{o, spec, hostnames, func(g *gateway, c *conditions) []route.Rule {
		return compileRules(c, rules, func(i int) *ruleCheck {
			k := &ruleCheck{t: t, o: o, g: g, c: c, field: fmt.Sprintf("spec.rules[%d]", i), index: i}
			read(k)
			return k
		})
	}}
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
func compileRules(c *conditions, rules int, at func(i int) *ruleCheck) []route.Rule {
	var out []route.Rule
	var faults []string
	valid, incompatible := 0, 0
	names := map[gwv1.SectionName]bool{}
	for i := range rules {
		k := at(i)
		if name := deref(k.rule.Name, ""); name != "" {
			k.nameTaken, names[name] = names[name], true
		}
		r, ok := k.compile()
		if ok {
			out = append(out, r)
		}
		if k.first.ok() {
			valid++
			continue
		}
		if k.first.reason == string(gwv1.RouteReasonIncompatibleFilters) {
			incompatible++
		}
		faults = append(faults, fmt.Sprintf("rule %s: %s", ruleName(k.rule, i), k.text))
	}
	switch {
	case len(faults) == 0:
		return out
	case incompatible == len(faults) && valid == 0:
		c.set(ConditionAccepted, false, string(gwv1.RouteReasonIncompatibleFilters), strings.Join(faults, ". "))
		return nil
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
