package manifest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/route"
)

// filters looks for EgressFilters that no route points at.
func (l *lint) filters() {
	used := map[ID]bool{}
	refer := func(namespace string, ref *gwv1.LocalObjectReference) {
		if ref != nil {
			used[ID{Group: string(ref.Group), Kind: string(ref.Kind), Namespace: namespace, Name: string(ref.Name)}] = true
		}
	}
	for _, o := range each[*gwv1.HTTPRoute](l.set) {
		for _, r := range o.value.Spec.Rules {
			for _, f := range r.Filters {
				refer(o.ID.Namespace, f.ExtensionRef)
			}
			for _, b := range r.BackendRefs {
				for _, f := range b.Filters {
					refer(o.ID.Namespace, f.ExtensionRef)
				}
			}
		}
	}
	for _, o := range each[*gwv1.GRPCRoute](l.set) {
		for _, r := range o.value.Spec.Rules {
			for _, f := range r.Filters {
				refer(o.ID.Namespace, f.ExtensionRef)
			}
			for _, b := range r.BackendRefs {
				for _, f := range b.Filters {
					refer(o.ID.Namespace, f.ExtensionRef)
				}
			}
		}
	}
	for _, o := range each[*penstockv1alpha1.EgressFilter](l.set) {
		if !used[o.ID] {
			l.warn(o.Object, "", ReasonUnused, "no route points at it, so it does nothing", "name it in a filter of type ExtensionRef, or remove it")
		}
	}
}

// grants looks for those that let nobody in, and for Backends that nobody may use.
func (l *lint) grants() {
	registered := map[string]bool{}
	for _, c := range l.snapshot.Clusters {
		registered[c.Name] = true
	}
	granted := map[string]bool{}
	for _, g := range l.snapshot.Grants {
		for _, f := range g.From {
			if f.AnyCluster || len(f.Clusters) > 0 {
				for _, key := range g.Backends {
					granted[key] = true
				}
			}
		}
	}
	for _, o := range each[*penstockv1alpha1.EgressGrant](l.set) {
		for i, from := range o.value.Spec.From {
			l.grantSource(o.Object, fmt.Sprintf("spec.from[%d]", i), from, registered)
		}
	}
	for key := range l.reached() {
		granted[key] = true
	}
	for i := range l.snapshot.Backends {
		b := &l.snapshot.Backends[i]
		if o := l.backend(b.Key); o != nil && b.GrantRequired && !granted[b.Key] {
			l.warn(o, "", ReasonNotGranted, "nobody may use it", "write an EgressGrant in its namespace")
		}
	}
}

// reached are the Backends that routes of their own namespace lead to: the grant of the entry that such a route answers
// for is enough.
func (l *lint) reached() map[string]bool {
	out := map[string]bool{}
	for i := range l.snapshot.Listeners {
		if l.snapshot.Listeners[i].Protocol != route.ProtocolTunnel {
			continue
		}
		for _, r := range l.snapshot.Listeners[i].Rules {
			for _, t := range r.Targets {
				if r.Route.Kind != "Implicit" && t.Weight > 0 {
					out[t.Backend] = true
				}
			}
		}
	}
	return out
}

// grantSource looks at one entry of a grant. Clusters may be registered later, so a name is judged only where the set knows
// any cluster; namespaces are those of other clusters, and not known here at all.
func (l *lint) grantSource(o *Object, field string, from penstockv1alpha1.GrantFrom, registered map[string]bool) {
	if len(registered) == 0 {
		return
	}
	for i, name := range from.Clusters {
		if !registered[name] {
			l.warn(o, fmt.Sprintf("%s.clusters[%d]", field, i), ReasonMatchesNobody, fmt.Sprintf("no cluster %q is registered", clip(name)), "correct the name, or register the cluster")
		}
	}
	if from.ClusterSelector == nil {
		return
	}
	selected, err := (&translation{set: l.set}).selectClusters(from.ClusterSelector)
	switch {
	case err != nil: // reported by Translate
	case len(selected) == 0:
		l.warn(o, field+".clusterSelector", ReasonMatchesNobody, "no registered cluster has these labels", "compare them with the labels of the Clusters, or register one that has them")
	case len(from.Clusters) > 0 && !slices.ContainsFunc(selected, func(name string) bool { return slices.Contains(from.Clusters, name) }):
		l.warn(o, field, ReasonMatchesNobody, "none of its clusters has the labels of its clusterSelector, and both must hold", "write two entries if either shall do")
	}
}

// backend is the object behind the key of a catalog entry.
func (l *lint) backend(key string) *Object {
	namespace, name, _ := strings.Cut(key, "/")
	if o := l.set.find(ID{Group: groupPenstock, Kind: "Backend", Namespace: namespace, Name: name}); o != nil {
		return o
	}
	return l.set.find(ID{Group: groupGatewayX, Kind: "XBackend", Namespace: namespace, Name: name})
}

// named is an entry that a name means for the workloads of some clusters.
type named struct {
	entry, grant string
	anyCluster   bool
	clusters     []string
}

func (a named) meets(b named) bool {
	return a.anyCluster || b.anyCluster || slices.ContainsFunc(a.clusters, func(c string) bool { return slices.Contains(b.clusters, c) })
}

// maxAliasesCompared bounds, for one name in one namespace, what is compared with every further one.
const maxAliasesCompared = 64

// aliases looks for names that mean two entries to the same workloads. A spoke gives such a name to the entry that comes
// first, and reports AliasTaken; here it can be seen before.
func (l *lint) aliases() {
	var all []named
	where := map[string][]int{} // by name and namespace
	add := func(name, namespace string, n named) {
		key := name + " " + namespace
		where[key] = append(where[key], len(all))
		all = append(all, n)
	}
	for _, g := range l.snapshot.Grants {
		for _, key := range g.Backends {
			_, name, _ := strings.Cut(key, "/")
			for _, f := range g.From {
				n := named{key, g.Name, f.AnyCluster, f.Clusters}
				if len(f.Namespaces) == 0 {
					add(cmp.Or(g.Alias, name), "", n)
				}
				for _, ns := range f.Namespaces {
					add(cmp.Or(g.Alias, name), ns, n)
				}
			}
		}
	}
	for key, list := range where {
		name, namespace, _ := strings.Cut(key, " ")
		slices.SortStableFunc(list, func(a, b int) int { return strings.Compare(all[a].entry, all[b].entry) })
		for i, later := range list {
			for _, first := range list[:min(i, maxAliasesCompared)] {
				if all[first].entry != all[later].entry && all[first].meets(all[later]) {
					l.taken(name, namespace, all[first], all[later])
					break
				}
			}
		}
	}
}

func (l *lint) taken(name, namespace string, first, later named) {
	ns, grant, _ := strings.Cut(later.grant, "/")
	o := l.set.find(ID{Group: groupPenstock, Kind: "EgressGrant", Namespace: ns, Name: grant})
	if o == nil {
		return
	}
	place := "everywhere"
	if namespace != "" {
		place = "in namespace " + namespace
	}
	l.warn(o, "spec.alias", ReasonAliasTaken, fmt.Sprintf("%q would mean entry %s %s, but means entry %s there by EgressGrant %s", name, later.entry, place, first.entry, first.grant),
		"give one of the two grants another alias")
}

// credentials looks for those that nobody uses, and for hosts that no Backend with the Credential has: a value should go to
// no more places than it must. Backends that are refused count too.
func (l *lint) credentials() {
	hosts := map[string][]string{} // hostnames of the Backends that bind it, by key
	for _, o := range each[*penstockv1alpha1.Backend](l.set) {
		s := o.value.Spec
		if s.Egress == nil {
			continue
		}
		for _, f := range s.Egress.Filters {
			var c credentialConfig
			if f.Type != route.FilterCredentialInjector || f.Config == nil || json.Unmarshal(f.Config.Raw, &c) != nil {
				continue
			}
			key := o.ID.Namespace + "/" + c.CredentialRef.Name
			hosts[key] = append(hosts[key], "")
			if s.ExternalHostname != nil {
				hosts[key] = append(hosts[key], s.ExternalHostname.Hostname)
			}
		}
	}
	for _, o := range each[*penstockv1alpha1.Credential](l.set) {
		used := hosts[o.ID.Key()]
		if len(used) == 0 {
			l.warn(o.Object, "", ReasonUnused, "no Backend refers to it", "bind it with a CredentialInjector, or remove it")
			continue
		}
		for i, h := range o.value.Spec.Hosts {
			if !slices.Contains(used, h) {
				l.warn(o.Object, fmt.Sprintf("spec.hosts[%d]", i), ReasonUnused, fmt.Sprintf("no Backend that uses the Credential has the hostname %q", clip(h)), "remove the host: the value should go nowhere else")
			}
		}
	}
}
