package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/route"
)

// layer holds the filters that stand at one target: a Gateway, a Backend or XBackend, or an EgressFilter.
type layer struct {
	own                 []route.Filter // of the object itself: Backend.spec.egress.filters, EgressFilter.spec.filters
	defaults, overrides []policyFilter
	// broken is set when a filter here cannot be run as written and may not fail open. Requests through here answer 500:
	// leaving a guard out would open what it closes.
	broken string
}

// policyFilter is a filter and the policy that brings it.
type policyFilter struct {
	route.Filter
	owner *Object
}

func (t *translation) layer(target ID) *layer {
	l, ok := t.layers[target]
	if !ok {
		l = &layer{}
		t.layers[target] = l
	}
	return l
}

// outcome is what became of the filters of one policy or EgressFilter over all targets.
type outcome struct {
	object *Object
	won    bool
	lostTo []string
}

func (t *translation) outcome(o *Object) *outcome {
	x, ok := t.outcomes[o.ID]
	if !ok {
		x = &outcome{object: o}
		t.outcomes[o.ID] = x
	}
	return x
}

// slot is what two policies at one target can compete for.
type slot struct {
	target     ID
	overrides  bool
	name, kind string
}

// translatePolicies hangs the filters of EgressPolicies on their targets, oldest policy first: of two that bring the same
// filter (name and type) to one target, the older acts. RequestGuards never compete, since a denial at any level wins.
func (t *translation) translatePolicies() {
	policies := each[*penstockv1alpha1.EgressPolicy](t.set)
	slices.SortStableFunc(policies, func(a, b object[*penstockv1alpha1.EgressPolicy]) int { return older(a.Object, b.Object) })
	taken := map[slot]*Object{}
	for _, o := range policies {
		c := t.conditions(o.Object)
		if (o.value.Spec.Defaults == nil) == (o.value.Spec.Overrides == nil) {
			t.report(o.Object, c, ConditionAccepted, "spec", fault{ReasonInvalid, "sets not exactly one of defaults and overrides", "write one policy for each"})
			continue
		}
		overrides := o.value.Spec.Overrides != nil
		list, field := o.value.Spec.Defaults, "spec.defaults.filters"
		if overrides {
			list, field = o.value.Spec.Overrides, "spec.overrides.filters"
		}
		filters, broken := t.compileFilters(o.Object, c, field, list.Filters)
		for i, ref := range o.value.Spec.TargetRefs {
			target, ok := t.policyTarget(o, c, fmt.Sprintf("spec.targetRefs[%d]", i), ref)
			if ok {
				t.attachPolicy(o.Object, c, target, overrides, filters, broken, taken)
			}
		}
	}
}

// attachPolicy hangs one policy on one target.
func (t *translation) attachPolicy(o *Object, c *conditions, target ID, overrides bool, filters []route.Filter, broken string, taken map[slot]*Object) {
	l := t.layer(target)
	if l.broken == "" {
		l.broken = broken
	}
	conflict := false
	for _, f := range filters {
		s := slot{target, overrides, f.Name, f.Type}
		if winner := taken[s]; winner != nil && winner != o && f.Type != route.FilterRequestGuard {
			conflict = true
			t.report(o, c, ConditionAccepted, "spec.targetRefs", fault{
				ReasonConflicted,
				fmt.Sprintf("%s, which is older, brings filter %q to %s already", winner.ID, f.Name, target),
				"rename the filter or remove one of the policies; RequestGuards of both apply",
			})
		}
	}
	for _, f := range filters {
		if f.Type != route.FilterRequestGuard {
			if conflict {
				continue
			}
			taken[slot{target, overrides, f.Name, f.Type}] = o
		}
		if overrides {
			l.overrides = append(l.overrides, policyFilter{f, o})
		} else {
			l.defaults = append(l.defaults, policyFilter{f, o})
		}
	}
}

// policyTarget finds what a policy acts on. A policy acts in its own namespace only.
func (t *translation) policyTarget(o object[*penstockv1alpha1.EgressPolicy], c *conditions, field string, ref penstockv1alpha1.PolicyTargetReference) (ID, bool) {
	id := ID{Group: ref.Group, Kind: ref.Kind, Namespace: o.ID.Namespace, Name: ref.Name}
	switch id.Group + "/" + id.Kind {
	case groupGateway + "/Gateway", groupPenstock + "/Backend", groupGatewayX + "/XBackend":
	default:
		t.report(o.Object, c, ConditionAccepted, field, fault{
			ReasonInvalid,
			fmt.Sprintf("a policy cannot act on %s of group %q", clip(ref.Kind), clip(ref.Group)),
			fmt.Sprintf("use Gateway of %s, Backend of %s or XBackend of %s", groupGateway, groupPenstock, groupGatewayX),
		})
		return ID{}, false
	}
	if t.set.find(id) == nil {
		t.report(o.Object, c, ConditionAccepted, field, fault{
			ReasonTargetNotFound,
			fmt.Sprintf("there is no %s %s in namespace %s", id.Kind, clip(id.Name), id.Namespace), "create it, or correct the name",
		})
		return ID{}, false
	}
	return id, true
}

// compileFilters compiles a list of filters of a policy or EgressFilter. A filter of unknown type goes into the table as
// it is: the data plane refuses requests by it, or skips and counts it where it may fail open. One that is wrong in
// itself breaks the layer.
func (t *translation) compileFilters(o *Object, c *conditions, field string, list []penstockv1alpha1.Filter) (out []route.Filter, broken string) {
	names := map[string]bool{}
	for i, f := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		compiled, bad := compileFilter(f, o.ID.String())
		if bad.ok() && names[f.Name] {
			bad = fault{ReasonInvalidFilter, fmt.Sprintf("the name %q is there twice", clip(f.Name)), "give each filter a name of its own"}
		}
		names[f.Name] = true
		if bad.ok() {
			out = append(out, compiled)
			continue
		}
		t.report(o, c, ConditionAccepted, at, bad)
		switch {
		case bad.reason == ReasonUnknownFilterType:
			out = append(out, unknownFilter(f, o.ID.String()))
		case !f.FailOpen && broken == "":
			broken = fmt.Sprintf("%s: filter %q of %s", bad.reason, clip(f.Name), o.ID)
		}
	}
	return out, broken
}

// unknownFilter is a filter whose type no code here knows.
func unknownFilter(f penstockv1alpha1.Filter, from string) route.Filter {
	out := route.Filter{Name: f.Name, Type: f.Type, Phase: route.Phase(f.Phase), Priority: int(f.Priority), FailOpen: f.FailOpen, From: from}
	if f.Config != nil {
		out.Config = f.Config.Raw
	}
	if !slices.Contains(phaseOrder(), out.Phase) {
		out.Phase = route.PhaseRequestHeaders
	}
	return out
}

// translateEgressFilters compiles the filters that routes may point at.
func (t *translation) translateEgressFilters() {
	for _, o := range each[*penstockv1alpha1.EgressFilter](t.set) {
		l := t.layer(o.ID)
		l.own, l.broken = t.compileFilters(o.Object, t.conditions(o.Object), "spec.filters", o.value.Spec.Filters)
	}
}

// candidate is one filter that may run for a target of a rule. The lower rank wins its name and type; band is its place
// among filters of the same phase and priority.
type candidate struct {
	route.Filter
	owner      *Object // nil: the Backend itself or the HTTPRoute, which cannot be told that they lost
	rank, band int
}

// The order among levels at the same priority: what runs later has the last word, so overrides come last, the Gateway's
// at the very end. The ranks are DESIGN's specificity: overrides from the outside in, then defaults from the inside out.
const (
	bandGuard = iota
	bandGatewayDefault
	bandBackendDefault
	bandRoute
	bandBackendOverride
	bandGatewayOverride
)

const (
	rankGatewayOverride = iota
	rankBackendOverride
	rankRoute
	rankBackendOwn
	rankBackendDefault
	rankGatewayDefault
)

// mergeLevels is the whole list of filters for one target of a rule: Gateway and Backend policies, the Backend's own
// filters, the route's EgressFilters, then the route's Gateway API filters (which have no name to compete with). It
// returns why requests must answer 500 instead, if so.
func (t *translation) mergeLevels(gw, backend *layer, egressFilters []ID, inline []route.Filter) (out []route.Filter, broken string) {
	var all []candidate
	add := func(l *layer, overrideRank, overrideBand, defaultRank, defaultBand int) {
		if l == nil {
			return
		}
		broken = cmp.Or(broken, l.broken)
		for _, f := range l.overrides {
			all = append(all, candidate{f.Filter, f.owner, overrideRank, overrideBand})
		}
		for _, f := range l.defaults {
			all = append(all, candidate{f.Filter, f.owner, defaultRank, defaultBand})
		}
	}
	add(gw, rankGatewayOverride, bandGatewayOverride, rankGatewayDefault, bandGatewayDefault)
	add(backend, rankBackendOverride, bandBackendOverride, rankBackendDefault, bandBackendDefault)
	if backend != nil {
		for _, f := range backend.own {
			all = append(all, candidate{f, nil, rankBackendOwn, bandBackendDefault})
		}
	}
	for _, id := range egressFilters {
		l := t.layers[id]
		broken = cmp.Or(broken, l.broken)
		for _, f := range l.own {
			all = append(all, candidate{f, t.set.find(id), rankRoute, bandRoute})
		}
	}
	if broken != "" {
		return nil, broken
	}
	all = t.compete(all)
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(
			cmp.Compare(phaseRank(a.Phase), phaseRank(b.Phase)), cmp.Compare(a.Priority, b.Priority),
			cmp.Compare(a.band, b.band), strings.Compare(a.Name, b.Name), strings.Compare(a.From, b.From),
		)
	})
	// The Gateway API's own filters stand with the route, at priority 0, after its EgressFilters.
	for _, f := range inline {
		at := slices.IndexFunc(all, func(c candidate) bool {
			return cmp.Or(cmp.Compare(phaseRank(c.Phase), phaseRank(f.Phase)), cmp.Compare(c.Priority, 0), cmp.Compare(c.band, bandRoute)) > 0
		})
		if at < 0 {
			at = len(all)
		}
		all = slices.Insert(all, at, candidate{Filter: f, band: bandRoute})
	}
	for _, c := range all {
		out = append(out, c.Filter)
	}
	return out, ""
}

// compete keeps, of the filters with the same name and type, the one that wins by rank, and all guards.
func (t *translation) compete(all []candidate) []candidate {
	slices.SortStableFunc(all, func(a, b candidate) int {
		if c := cmp.Compare(a.rank, b.rank); c != 0 || a.owner == nil || b.owner == nil {
			return c
		}
		return older(a.owner, b.owner)
	})
	winners := map[[2]string]candidate{}
	kept := all[:0]
	for _, c := range all {
		key := [2]string{c.Name, c.Type}
		if c.Type == route.FilterRequestGuard {
			c.band = bandGuard
			kept = append(kept, c)
			t.won(c.owner)
			continue
		}
		if w, ok := winners[key]; ok {
			t.lost(c, w)
			continue
		}
		winners[key] = c
		kept = append(kept, c)
		t.won(c.owner)
	}
	return kept
}

func (t *translation) won(o *Object) {
	if o != nil {
		t.outcome(o).won = true
	}
}

func (t *translation) lost(loser, winner candidate) {
	if loser.owner == nil || (winner.owner != nil && loser.owner.ID == winner.owner.ID) {
		return
	}
	if loser.rank == winner.rank && winner.owner != nil {
		// Two EgressFilters of one rule: the same level, so this is a conflict, decided by age.
		t.report(loser.owner, t.conditions(loser.owner), ConditionAccepted, "spec.filters", fault{
			ReasonConflicted,
			fmt.Sprintf("%s, which is older, brings filter %q to the same rule already", winner.owner.ID, loser.Name), "rename the filter, or name one of the two in the rule",
		})
		return
	}
	x := t.outcome(loser.owner)
	text := fmt.Sprintf("filter %q is overridden by %s", loser.Name, winner.From)
	if !slices.Contains(x.lostTo, text) {
		x.lostTo = append(x.lostTo, text)
	}
}

// finishOutcomes tells policies and EgressFilters that none of their filters acts anywhere, or which ones do not.
func (t *translation) finishOutcomes() {
	for _, x := range t.outcomes {
		if len(x.lostTo) == 0 {
			continue
		}
		c := t.conditions(x.object)
		slices.Sort(x.lostTo)
		message := strings.Join(x.lostTo, ". ")
		if x.won {
			c.set(ConditionProgrammed, true, ConditionProgrammed, message)
			continue
		}
		c.set(ConditionProgrammed, false, ReasonOverridden, message)
	}
}

func phaseOrder() []route.Phase {
	return []route.Phase{route.PhaseRequestHeaders, route.PhaseBackendRequest, route.PhaseBackendResponse, route.PhaseResponseHeaders}
}

func phaseRank(p route.Phase) int { return slices.Index(phaseOrder(), p) }

// gatewayID is the ID under which policies of a Gateway are kept.
func gatewayID(namespace, name string) ID {
	return ID{Group: gwv1.GroupName, Kind: "Gateway", Namespace: namespace, Name: name}
}
