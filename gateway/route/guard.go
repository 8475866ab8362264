package route

import (
	"cmp"
	"fmt"
	"slices"
)

// guard is a compiled RequestGuard.
type guard struct {
	filter      *Filter
	methods     []string
	allow, deny []string
}

func newGuard(f *Filter) (guard, error) {
	g := guard{filter: f, methods: f.Guard.AllowMethods}
	for _, list := range []struct {
		from []string
		to   *[]string
	}{{f.Guard.AllowPaths, &g.allow}, {f.Guard.DenyPaths, &g.deny}} {
		for _, path := range list.from {
			p, err := CleanPath(path)
			if err != nil {
				return guard{}, fmt.Errorf("%s: path %q: %w", f.label(), path, err)
			}
			*list.to = append(*list.to, p.String())
		}
	}
	return g, nil
}

// permits judges both forms of the path: what is denied must be denied however it is written, and what is allowed must
// be allowed in every reading.
func (g *guard) permits(method string, p Path) bool {
	if len(g.methods) > 0 && !slices.Contains(g.methods, method) {
		return false
	}
	for _, prefix := range g.deny {
		if p.under(prefix) || p.laxUnder(prefix) {
			return false
		}
	}
	return len(g.allow) == 0 || slices.ContainsFunc(g.allow, p.under) && slices.ContainsFunc(g.allow, p.laxUnder)
}

// label names a filter in errors and logs.
func (f *Filter) label() string {
	name := "filter " + cmp.Or(f.Name, f.Type)
	if f.From != "" {
		name += " of " + f.From
	}
	return name
}

// known reports whether the data plane has the filter's type.
func (f *Filter) known() bool {
	switch f.Type {
	case FilterHeaderModifier, FilterURLRewrite, FilterRequestMirror, FilterCORS, FilterRequestGuard, FilterCredentialInjector:
		return true
	}
	return false
}

// checkFilter refuses a filter whose content is not of its type: it would be skipped without a word.
func checkFilter(f *Filter) error {
	ok := true
	switch f.Type {
	case FilterHeaderModifier:
		ok = f.Headers != nil
	case FilterURLRewrite:
		ok = f.Rewrite != nil && (f.Rewrite.FullPath == nil || f.Rewrite.PrefixPath == nil)
	case FilterRequestMirror:
		ok = f.Mirror != nil && f.Mirror.Denominator > 0 && f.Mirror.Numerator >= 0
	case FilterCORS:
		ok = f.CORS != nil
	case FilterRequestGuard:
		ok = f.Guard != nil
	}
	if !ok {
		return fmt.Errorf("%s: the content does not fit the type %s", f.label(), f.Type)
	}
	switch f.Phase {
	case PhaseRequestHeaders, PhaseBackendRequest, PhaseBackendResponse, PhaseResponseHeaders:
		return nil
	}
	if f.Type == FilterRequestGuard || f.Type == FilterCredentialInjector {
		return nil // the first is judged before anything runs, the second after everything
	}
	return fmt.Errorf("%s: phase %q is unknown", f.label(), f.Phase)
}

// merge puts the filters of all levels into the order in which they run: guards first, then by priority, and at the
// same priority Backend before route, so that of two that set the same thing the more specific one is heard last
// (specificity Route > Backend). What Translate merged into one level keeps its order.
func merge(levels ...[]Filter) (all []Filter, guards []guard, unknown *Filter, err error) {
	all = slices.Concat(levels...)
	slices.SortStableFunc(all, func(a, b Filter) int {
		return cmp.Or(cmp.Compare(rank(&a), rank(&b)), cmp.Compare(a.Priority, b.Priority))
	})
	for i := range all {
		f := &all[i]
		switch {
		case f.Type == FilterRequestGuard:
			g, err := newGuard(f)
			if err != nil {
				return nil, nil, nil, err
			}
			guards = append(guards, g)
		case !f.known() && !f.FailOpen && unknown == nil:
			unknown = f
		}
	}
	return all, guards, unknown, nil
}

func rank(f *Filter) int {
	if f.Type == FilterRequestGuard {
		return 0
	}
	return 1
}
