package manifest

import (
	"cmp"
	"slices"
	"strings"

	"penstock.dev/penstock/apis/control"
	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/route"
)

// View is what one cluster gets to see of a hub's set: the accepted Backends that a grant gives it, and nothing else. It
// translates the set; a hub, which has the snapshot already, calls ViewOf. Pure.
func View(set *Set, cluster string) control.View {
	snapshot, _ := Translate(set, Options{Controller: HubController, Catalog: true})
	return ViewOf(snapshot, cluster)
}

// ViewOf is View from a hub's snapshot. A suspended cluster sees nothing. The snapshot need not be compiled. Entries are
// sorted, so that equal views are equal bytes. Pure.
func ViewOf(snapshot *route.Snapshot, cluster string) control.View {
	v := control.View{Cluster: cluster, Entries: []control.Entry{}}
	for _, c := range snapshot.Clusters {
		if c.Name == cluster && c.Suspended {
			return v
		}
	}
	grants := grantsOf(snapshot, cluster)
	for i := range snapshot.Backends {
		b := &snapshot.Backends[i]
		if b.Via == route.ViaEndpoint && len(grants[b.Key]) > 0 {
			v.Entries = append(v.Entries, viewEntry(b, grants[b.Key]))
		}
	}
	slices.SortFunc(v.Entries, func(a, b control.Entry) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return v
}

// grantsOf are the ways into each Backend for one cluster, by key, in the order of the grants' names.
func grantsOf(snapshot *route.Snapshot, cluster string) map[string][]control.EntryGrant {
	out := map[string][]control.EntryGrant{}
	for _, g := range snapshot.Grants {
		for _, from := range g.From {
			if !from.AnyCluster && !slices.Contains(from.Clusters, cluster) {
				continue
			}
			for _, key := range g.Backends {
				_, name, _ := strings.Cut(key, "/")
				out[key] = append(out[key], control.EntryGrant{
					Alias:      cmp.Or(g.Alias, name),
					Namespaces: slices.Clone(from.Namespaces), ServiceAccounts: slices.Clone(from.ServiceAccounts),
				})
			}
		}
	}
	return out
}

func viewEntry(b *route.Backend, grants []control.EntryGrant) control.Entry {
	namespace, name, _ := strings.Cut(b.Key, "/")
	mode := penstockv1alpha1.BackendTLSNone
	if b.TLS != nil {
		mode = penstockv1alpha1.BackendTLSServerOnly
		if b.TLS.ClientCertificate != "" {
			mode = penstockv1alpha1.BackendTLSClientAndServer
		}
	}
	return control.Entry{
		Namespace: namespace, Name: name, Hostname: b.Hostname, Port: b.Port, Protocol: b.Protocol, TLSMode: string(mode),
		Grants: grants, ResponseHeadersMillis: b.Timeouts.ResponseHeaders.Milliseconds(), MirrorsRefused: b.MirrorsRefused,
	}
}
