package manifest

import (
	"fmt"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/route"
)

// The reasons of warnings.
const (
	// ReasonShadowed: a rule, or one of its matches, never gets a request.
	ReasonShadowed = "Shadowed"
	// ReasonNoWeight: all backends of a rule have weight 0.
	ReasonNoWeight = "NoWeight"
	// ReasonMatchesNobody: no cluster of the set is meant by a grant.
	ReasonMatchesNobody = "MatchesNobody"
	// ReasonNotGranted: no grant lets anybody use a Backend.
	ReasonNotGranted = "NotGranted"
	// ReasonUnused: nothing refers to a Credential.
	ReasonUnused = "Unused"
)

// Lint says what is served as written, and yet is not what anybody can have meant: rules that never get a request, grants
// that match nobody. snapshot is that of Translate, compiled; opt is that of Translate too. All are warnings. Pure.
func Lint(set *Set, snapshot *route.Snapshot, opt Options) []Problem {
	var out []Problem
	warn := func(o *Object, field, reason, message, remedy string) {
		p := o.Problem(field, reason, message, remedy)
		p.Severity = SeverityWarning
		out = append(out, p)
	}
	for _, s := range snapshot.Shadowed() {
		o := set.find(ID{Group: gwv1.GroupName, Kind: s.Rule.Route.Kind, Namespace: s.Rule.Route.Namespace, Name: s.Rule.Route.Name})
		if o == nil {
			continue // an alias or implicit rule: nobody wrote it
		}
		warn(o, "", ReasonShadowed, fmt.Sprintf("rule %s, match %d never gets a request: %s, rule %s has the same conditions and comes first", s.Rule.Name, s.Match, s.By.Route, s.By.Name),
			"remove it, or make it more specific")
	}
	for _, l := range snapshot.Listeners {
		for _, r := range l.Rules {
			sum := 0
			for _, t := range r.Targets {
				sum += t.Weight
			}
			if o := set.find(ID{Group: gwv1.GroupName, Kind: r.Route.Kind, Namespace: r.Route.Namespace, Name: r.Route.Name}); o != nil && sum == 0 && len(r.Targets) > 0 {
				warn(o, "", ReasonNoWeight, fmt.Sprintf("all backends of rule %s have weight 0: its requests answer 500", r.Name), "give one of them a weight")
			}
		}
	}
	if opt.Catalog {
		lintCatalog(set, snapshot, warn)
	}
	return sortProblems(out)
}

// lintCatalog looks at what means something at a hub only.
func lintCatalog(set *Set, snapshot *route.Snapshot, warn func(o *Object, field, reason, message, remedy string)) {
	granted, used := map[string]bool{}, map[string]bool{}
	for _, g := range snapshot.Grants {
		somebody := false
		for _, f := range g.From {
			somebody = somebody || f.AnyCluster || len(f.Clusters) > 0
		}
		for _, key := range g.Backends {
			granted[key] = granted[key] || somebody
		}
		if o := set.find(ID{Group: groupPenstock, Kind: "EgressGrant", Namespace: namespaceOf(g.Name), Name: nameOf(g.Name)}); o != nil && !somebody {
			warn(o, "spec.from", ReasonMatchesNobody, "no registered cluster is meant", "compare the labels with those of the Clusters, or register one that has them")
		}
	}
	for _, b := range snapshot.Backends {
		used[b.Credential] = true
		if granted[b.Key] || !b.GrantRequired {
			continue
		}
		for _, id := range []ID{{Group: groupPenstock, Kind: "Backend"}, {Group: groupGatewayX, Kind: "XBackend"}} {
			id.Namespace, id.Name = namespaceOf(b.Key), nameOf(b.Key)
			if o := set.find(id); o != nil {
				warn(o, "", ReasonNotGranted, "nobody may use it", "write an EgressGrant in its namespace")
			}
		}
	}
	for _, o := range each[*penstockv1alpha1.Credential](set) {
		if !used[o.ID.Key()] {
			warn(o.Object, "", ReasonUnused, "no Backend refers to it", "bind it with a CredentialInjector, or remove it")
		}
	}
}

// namespaceOf and nameOf are the parts of "namespace/name".
func namespaceOf(key string) string {
	namespace, _, _ := strings.Cut(key, "/")
	return namespace
}

func nameOf(key string) string {
	_, name, _ := strings.Cut(key, "/")
	return name
}
