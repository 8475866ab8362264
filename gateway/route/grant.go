package route

import (
	"slices"
	"strings"
)

// The authority of a catalog entry inside tunnels: "<name>.<namespace>.svc.clusterset.local".
const entrySuffix = ".svc.clusterset.local"

// entryKey is the key of the catalog entry that a host addresses, or "".
func entryKey(host string) string {
	rest, ok := strings.CutSuffix(host, entrySuffix)
	if !ok {
		return ""
	}
	name, namespace, ok := strings.Cut(rest, ".")
	if !ok || name == "" || namespace == "" || strings.Contains(namespace, ".") {
		return ""
	}
	return namespace + "/" + name
}

// grant finds the grant that lets the caller use a Backend.
func (c *compiled) grant(key string, q *Query) *Grant {
	for _, g := range c.grants[key] {
		if slices.ContainsFunc(g.From, func(f GrantFrom) bool { return f.covers(q) }) {
			return g
		}
	}
	return nil
}

// Permits reports whether the caller of q may use a Backend of this snapshot beside the one that Decide leads to: for a copy
// of its request. The rules are those of Decide.
func (s *Snapshot) Permits(b *Backend, q Query) bool {
	c := s.compiled
	if c == nil || b.GrantRequired && c.grant(b.Key, &q) == nil {
		return false
	}
	if cl := c.clusters[q.Cluster]; q.Cluster != "" && cl != nil && cl.Suspended {
		return false
	}
	return meets(q.Proof, c.wantProof(b, q.Cluster))
}

func (f *GrantFrom) covers(q *Query) bool {
	if !f.AnyCluster && (q.Cluster == "" || !slices.Contains(f.Clusters, q.Cluster)) {
		return false
	}
	return listed(f.Namespaces, q.Namespace) && listed(f.ServiceAccounts, q.ServiceAccount)
}

// listed: an empty list names everybody, but a caller without a name is in no list.
func listed(list []string, name string) bool {
	return len(list) == 0 || name != "" && slices.Contains(list, name)
}

// wantProof is the weakest proof of the caller that a Backend accepts; "" is none (THREATS, Workload identity).
func (c *compiled) wantProof(b *Backend, cluster string) string {
	switch {
	case b.MinIdentity != "":
		return b.MinIdentity // the Backend's own word always wins
	case b.Credential != "":
		if cl := c.clusters[cluster]; cluster != "" && cl != nil && cl.SourceIPTrusted {
			return "ip"
		}
		return "token"
	case b.GrantRequired:
		return "ip" // a grant is about somebody: an unknown caller is nobody
	}
	return ""
}

// proofs, weakest first. They are those of hop.Proof, which this package must not import.
var proofs = []string{"", "ip", "token", "spiffe"}

// meets reports whether a proof is at least as strong as wanted. An unknown proof is none, and an unknown demand is met
// by nothing.
func meets(have, want string) bool {
	w := slices.Index(proofs, want)
	return w >= 0 && slices.Index(proofs, have) >= w
}

// stronger returns the demand that implies the other; an unknown one is the strongest, since nothing meets it.
func stronger(a, b string) string {
	ia, ib := slices.Index(proofs, a), slices.Index(proofs, b)
	if ia < 0 || ib >= 0 && ia >= ib {
		return a
	}
	return b
}
