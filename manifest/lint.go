package manifest

import (
	"fmt"
	"slices"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/gateway/route"
)

// The reasons of warnings.
const (
	// ReasonShadowed: a rule, or one of its matches, never gets a request.
	ReasonShadowed = "Shadowed"
	// ReasonNoWeight: nothing that a rule leads to takes any traffic.
	ReasonNoWeight = "NoWeight"
	// ReasonMatchesNobody: no registered cluster is meant by a grant, or by a part of it.
	ReasonMatchesNobody = "MatchesNobody"
	// ReasonNotGranted: no grant lets anybody use a Backend.
	ReasonNotGranted = "NotGranted"
	// ReasonUnused: nothing refers to a Credential or an EgressFilter, or no Backend with a Credential has one of its hosts.
	ReasonUnused = "Unused"
)

// Lint says what is served as written, and yet is not what anybody can have meant: rules that never get a request, grants
// that match nobody. snapshot and opt are those of Translate; the snapshot need not be compiled. All are warnings, sorted,
// and none is a false alarm as long as the set is complete. It costs about as much as Translate. Pure.
func Lint(set *Set, snapshot *route.Snapshot, opt Options) []Problem {
	l := &lint{set: set, snapshot: snapshot}
	l.rules()
	l.filters()
	if opt.Catalog {
		l.grants()
		l.aliases()
		l.credentials()
	}
	return sortProblems(l.findings)
}

type lint struct {
	set      *Set
	snapshot *route.Snapshot
	findings []Problem
}

func (l *lint) warn(o *Object, field, reason, message, remedy string) {
	p := o.Problem(field, reason, message, remedy)
	p.Severity = SeverityWarning
	l.findings = append(l.findings, p)
}

// written is a match of a rule as its author wrote it, on however many listeners it stands.
type written struct {
	route route.Ref
	rule  string
	match int
}

// rules looks for those that get no requests, and for those that cannot pass them on.
func (l *lint) rules() {
	standing := map[written]int{} // on so many listeners
	for i := range l.snapshot.Listeners {
		for j := range l.snapshot.Listeners[i].Rules {
			r := &l.snapshot.Listeners[i].Rules[j]
			for m := range max(1, len(r.Matches)) {
				standing[written{r.Route, r.Name, m}]++
			}
			l.weights(r)
		}
	}
	for _, s := range l.snapshot.Shadowed() {
		w := written{s.Rule.Route, s.Rule.Name, s.Match}
		// What lives on one listener lives: a redirect may hide it on another one on purpose.
		if standing[w]--; standing[w] == 0 {
			l.shadow(s)
		}
	}
}

func (l *lint) shadow(s route.Shadow) {
	o, field := l.place(s.Rule, s.Match)
	if o == nil || s.By != nil && s.By.Route == s.Rule.Route && s.By.Name == s.Rule.Name {
		return // nobody wrote it, or its requests come to the same rule anyway
	}
	switch {
	case s.By != nil:
		l.warn(o, field, ReasonShadowed, fmt.Sprintf("never gets a request: rule %s of %s takes all of them before", s.By.Name, s.By.Route),
			"remove it, or make one of the two more specific")
	case s.Elsewhere != nil:
		l.warn(o, field, ReasonShadowed, fmt.Sprintf("never gets a request: those for its hostnames belong to listener %s of Gateway %s, whose hostname %q is more specific", s.Elsewhere.Name, s.Elsewhere.Gateway, s.Elsewhere.Hostname),
			"attach the route to that listener")
	default:
		l.warn(o, field, ReasonShadowed, "never gets a request: no path is like its expression, since a path begins with '/'", "begin the expression with a slash")
	}
}

// weights looks for a rule that answers 500 to everything. What Translate found wrong with it is said already.
func (l *lint) weights(r *route.Rule) {
	for _, t := range r.Targets {
		if t.Weight > 0 {
			return
		}
	}
	o, field := l.place(r, -1)
	switch {
	case o == nil:
	case len(r.Targets) == 0:
		l.warn(o, field, ReasonNoWeight, "has no backendRefs: its requests answer 500", "add one, or a RequestRedirect")
	default:
		l.warn(o, field+".backendRefs", ReasonNoWeight, "all have weight 0: its requests answer 500", "give one of them a weight")
	}
}

// place is where a rule, or a match of it, is written; the object is nil if it is not.
func (l *lint) place(r *route.Rule, match int) (*Object, string) {
	o := l.set.find(ID{Group: gwv1.GroupName, Kind: r.Route.Kind, Namespace: r.Route.Namespace, Name: r.Route.Name})
	if o == nil {
		return nil, ""
	}
	var names []*gwv1.SectionName
	var matches []int
	switch v := o.Value.(type) {
	case *gwv1.HTTPRoute:
		for i := range v.Spec.Rules {
			names, matches = append(names, v.Spec.Rules[i].Name), append(matches, len(v.Spec.Rules[i].Matches))
		}
	case *gwv1.GRPCRoute:
		for i := range v.Spec.Rules {
			names, matches = append(names, v.Spec.Rules[i].Name), append(matches, len(v.Spec.Rules[i].Matches))
		}
	case *gwv1.TLSRoute:
		for i := range v.Spec.Rules {
			names, matches = append(names, v.Spec.Rules[i].Name), append(matches, 0)
		}
	}
	i := slices.IndexFunc(names, func(n *gwv1.SectionName) bool { return n != nil && *n != "" && string(*n) == r.Name })
	if i < 0 {
		for n := range names {
			if deref(names[n], "") == "" && itoa(n) == r.Name {
				i = n
			}
		}
	}
	if i < 0 {
		return o, "spec.rules"
	}
	field := fmt.Sprintf("spec.rules[%d]", i)
	if match >= 0 && match < matches[i] {
		field += fmt.Sprintf(".matches[%d]", match)
	}
	return o, field
}
