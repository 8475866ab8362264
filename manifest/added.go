package manifest

import (
	"fmt"
	"slices"
	"strings"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/gateway/route"
)

// Rules that no HTTPRoute says: catalog entries inside tunnels, aliases at a spoke.

// everything is the match of such a rule.
func everything() []route.Match { return []route.Match{{PathType: route.PathPrefix, Path: "/"}} }

// addImplicitRoutes gives every catalog entry a rule under its own name on every Tunnel listener, unless HTTPRoutes of
// the entry's namespace already answer for it there.
func (t *translation) addImplicitRoutes() {
	if !t.opt.Catalog {
		return
	}
	for _, g := range t.gatewayOrder {
		for _, l := range g.listeners {
			if l.protocol == route.ProtocolTunnel && l.served() {
				l.rules = append(l.rules, t.implicitRules(l, t.layers[g.ID])...)
			}
		}
	}
}

// implicitRules of one listener; l may be nil for the built-in one.
func (t *translation) implicitRules(l *listener, policies *layer) []route.Rule {
	answered := map[string]bool{}
	if l != nil {
		for _, r := range l.rules {
			for _, h := range r.Hostnames {
				answered[h] = true
			}
		}
	}
	var out []route.Rule
	for i := range t.set.Objects() {
		o := &t.set.Objects()[i]
		d := t.direct[o.ID]
		if d == nil || !d.fault.ok() || answered[Authority(o.ID.Namespace, o.ID.Name)] {
			continue
		}
		target := route.Target{Weight: 1, Backend: d.backend.Key}
		target.Filters, target.Invalid = t.mergeLevels(policies, t.layers[o.ID], nil, nil)
		if target.Invalid != "" {
			target.Backend = ""
		}
		out = append(out, route.Rule{
			Route:     route.Ref{Kind: "Implicit", Namespace: o.ID.Namespace, Name: o.ID.Name},
			Name:      "0",
			Hostnames: []string{Authority(o.ID.Namespace, o.ID.Name)},
			Matches:   everything(),
			Targets:   []route.Target{target},
		})
	}
	return out
}

// addBuiltinListener stands in for a Tunnel listener at a hub that has none: spokes must find the catalog even where
// nobody wrote a Gateway.
func (t *translation) addBuiltinListener() {
	if !t.opt.Catalog || slices.ContainsFunc(t.snap.Listeners, func(l route.Listener) bool { return l.Protocol == route.ProtocolTunnel }) {
		return
	}
	t.snap.Listeners = append(t.snap.Listeners, route.Listener{
		Gateway: SystemNamespace + "/" + BuiltinGatewayName, Name: BuiltinListenerName,
		Protocol: route.ProtocolTunnel, Port: BuiltinTunnelPort, Rules: t.implicitRules(nil, nil),
	})
}

// alias is one name for one entry, over all grants that give it.
type alias struct {
	name  string
	entry control.Entry
	// anywhere: a grant names no namespaces, so only the bare name can be offered, to all.
	anywhere   bool
	namespaces []string
}

// addAliases gives every granted entry its names on the HTTP listeners of penstock-system/egress: the bare alias, and
// the forms a workload's resolver makes of it in each granted namespace.
func (t *translation) addAliases() {
	g := t.gateways[SystemNamespace+"/"+AliasGatewayName]
	if t.opt.View == nil || g == nil || g.mode != modeParent {
		return
	}
	rules := t.aliasRules(t.layers[g.ID])
	for _, l := range g.listeners {
		if l.protocol != route.ProtocolHTTP || !l.served() {
			continue
		}
		for _, r := range rules {
			var hostnames []string
			for _, h := range r.Hostnames {
				if both, ok := intersect(l.hostname, h); ok {
					hostnames = append(hostnames, both)
				}
			}
			if len(hostnames) > 0 {
				r.Hostnames = hostnames
				l.rules = append(l.rules, r)
			}
		}
	}
}

func (t *translation) aliasRules(policies *layer) []route.Rule {
	aliases := t.aliases()
	carriers := map[string]int{} // entries by alias
	for _, a := range aliases {
		carriers[a.name]++
	}
	taken := map[string]string{} // entry by qualified name, or by bare name and namespace
	var out []route.Rule
	for _, a := range aliases {
		key := a.entry.Namespace + "/" + a.entry.Name
		target := route.Target{Weight: 1, Backend: t.parentKey(a.entry)}
		if target.Filters, target.Invalid = t.mergeLevels(policies, nil, nil, nil); target.Invalid != "" {
			target.Backend = ""
		}
		rule := route.Rule{
			Route: route.Ref{Kind: "Alias", Namespace: a.entry.Namespace, Name: a.entry.Name},
			Name:  a.name, Matches: everything(), Targets: []route.Target{target},
		}
		anywhere, free := t.claimAlias(a, key, taken)
		bare, qualified := rule, rule
		bare.Hostnames = []string{a.name}
		for _, ns := range free {
			qualified.Hostnames = append(qualified.Hostnames, a.name+"."+ns, a.name+"."+ns+".svc", a.name+"."+ns+".svc."+t.opt.clusterDomain())
		}
		switch {
		case anywhere || carriers[a.name] == 1:
			// For all callers: where the name means one entry only, the hub decides who may use it, and its 403 says
			// more than our 404.
			bare.Hostnames = append(bare.Hostnames, qualified.Hostnames...)
			out = append(out, bare)
		case len(free) > 0:
			// The name means another entry elsewhere: this one is for callers of the granted namespaces.
			bare.Namespaces = free
			out = append(out, bare, qualified)
		}
	}
	return out
}

// claimAlias returns what is left of an alias after the entries before this one: the bare name for everybody, and the
// granted namespaces. What is taken is reported; nothing is overwritten.
func (t *translation) claimAlias(a alias, key string, taken map[string]string) (anywhere bool, free []string) {
	claim := func(at, where string) bool {
		if first, ok := taken[at]; ok {
			t.findings = append(t.findings, Problem{
				Object: "entry " + key, Reason: ReasonAliasTaken,
				Message: fmt.Sprintf("the alias %q %s means entry %s already", a.name, where, first),
				Remedy:  "ask the hub's platform team for another alias",
			})
			return false
		}
		taken[at] = key
		return true
	}
	anywhere = a.anywhere && claim(a.name, "without namespace")
	for _, ns := range a.namespaces {
		if claim(a.name+"."+ns, "in namespace "+ns) {
			free = append(free, ns)
		}
	}
	return anywhere, free
}

// aliases of the view, sorted by entry and name.
func (t *translation) aliases() []alias {
	var out []alias
	for _, e := range t.entries() {
		byName := map[string]*alias{}
		for _, g := range e.Grants {
			name := g.Alias
			if name == "" {
				name = e.Name
			}
			if bad := checkDNSName(name); !bad.ok() || looksLikeAddress(name) || strings.Contains(name, ".") {
				continue // an alias is one label, the name of a Service; a host of the outside must not be taken by a Backend's name
			}
			a := byName[name]
			if a == nil {
				a = &alias{name: name, entry: e}
				byName[name] = a
			}
			a.anywhere = a.anywhere || len(g.Namespaces) == 0
			a.namespaces = append(a.namespaces, g.Namespaces...)
		}
		for _, a := range byName {
			a.namespaces = slices.DeleteFunc(sorted(a.namespaces), func(ns string) bool { return !checkDNSName(ns).ok() })
			out = append(out, *a)
		}
	}
	slices.SortFunc(out, func(a, b alias) int {
		if c := strings.Compare(a.entry.Namespace+"/"+a.entry.Name, b.entry.Namespace+"/"+b.entry.Name); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return out
}
