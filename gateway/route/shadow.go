package route

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// Shadow is a match that never decides about a request: whatever it would take, something else takes first.
type Shadow struct {
	Listener *Listener
	Rule     *Rule
	// Match is an index into Rule.Matches; 0 for a rule without matches.
	Match int
	// By is the rule that takes its requests (of several, that of its first hostname).
	By *Rule
	// Elsewhere is the listener that takes its requests, since its hostname is more specific (GEP-957). By is then nil.
	// With neither, the match is a path expression that no path can meet: a path begins with a slash.
	Elsewhere *Listener
}

// Shadowed lists matches that can never win, in the order of the snapshot, one for each listener on which a match never
// wins. It is sound: Decide comes to none of them, whatever the query, as long as its path holds no line break, which an
// escaped path (url.URL.EscapedPath) never does. It is not complete: only a single match that covers another one is
// found, not several together, and of many that may cover it some are not looked at, so that 10,000 rules cost no 10,000
// times 10,000 comparisons.
//
// The snapshot need not be compiled; a match that would not compile is left out. Pure.
func (s *Snapshot) Shadowed() []Shadow {
	found := shadows{tables: map[socket]*hosts[table]{}, places: map[place]*shade{}}
	for i := range s.Listeners {
		found.listen(&s.Listeners[i])
	}
	var exprs, others []*shadowed
	for i := range s.Listeners {
		l := &s.Listeners[i]
		for j := range l.Rules {
			for _, e := range shadowable(l, &l.Rules[j]) {
				e.at = [3]int{i, j, e.at[2]}
				if e.regex != nil {
					exprs = append(exprs, e)
				} else {
					others = append(others, e)
				}
			}
		}
	}
	// In the order in which Decide tries them. Expressions stand before prefixes, so what they cover is known first.
	slices.SortStableFunc(exprs, func(a, b *shadowed) int {
		return cmp.Or(cmp.Compare(len(b.path), len(a.path)), precedence(&a.entry, &b.entry))
	})
	slices.SortStableFunc(others, func(a, b *shadowed) int { return precedence(&a.entry, &b.entry) })
	for _, e := range slices.Concat(exprs, others) {
		found.judge(e)
	}
	slices.SortFunc(found.all, func(a, b *shadowed) int { return slices.Compare(a.at[:], b.at[:]) })
	out := make([]Shadow, 0, len(found.all))
	for _, e := range found.all {
		out = append(out, Shadow{Listener: e.listener, Rule: e.rule, Match: e.at[2], By: e.by, Elsewhere: e.elsewhere})
	}
	return out
}

// shadowed is an entry beside what is found out about it.
type shadowed struct {
	entry
	at        [3]int // indices of listener, rule and match
	by        *Rule
	elsewhere *Listener
}

// shadowable are the entries of a rule. The same entry is made in Compile, together with the way on, which says nothing here.
func shadowable(l *Listener, r *Rule) []*shadowed {
	if len(r.Matches) == 0 {
		return []*shadowed{{entry: entry{listener: l, rule: r, path: "/"}}}
	}
	out := make([]*shadowed, 0, len(r.Matches))
	for i := range r.Matches {
		e := &shadowed{entry: entry{listener: l, rule: r, match: &r.Matches[i]}, at: [3]int{0, 0, i}}
		if e.compile() == nil {
			out = append(out, e)
		}
	}
	return out
}

// place is a listener hostname of a port, and a hostname of rules there.
type place struct {
	socket
	listener, hostname string
}

// shade holds, for one place, what casts a shadow.
type shade struct {
	// same holds entries by the part of the table where only their conditions tell them apart: kind of path, and path.
	same map[string]earlier
	// under holds the expressions that take every path with a certain beginning, by it.
	under map[string]earlier
}

type shadows struct {
	tables map[socket]*hosts[table] // of the listeners, without rules
	places map[place]*shade
	all    []*shadowed
}

func (s *shadows) listen(l *Listener) {
	key := socket{l.Protocol, l.Port}
	if s.tables[key] == nil {
		s.tables[key] = &hosts[table]{}
	}
	if t := s.tables[key].at(strings.ToLower(l.Hostname)); t.listener == nil {
		t.listener = l
	}
}

// judge notes e if nothing is left for it under any of its hostnames, and lets it cast its own shadow where something is.
func (s *shadows) judge(e *shadowed) {
	if e.regex != nil && !mayBePath(e.path) {
		s.all = append(s.all, e)
		return
	}
	left := false
	for _, h := range hostnamesOf(e.rule) {
		if l := s.elsewhere(e.listener, h); l != nil {
			if e.by == nil && e.elsewhere == nil {
				e.elsewhere = l
			}
			continue
		}
		at := s.at(e.listener, h)
		f := at.cover(&e.entry)
		if f == nil {
			at.add(&e.entry)
			left = true
			continue
		}
		if e.by == nil && e.elsewhere == nil {
			e.by = f.rule
		}
	}
	if !left {
		s.all = append(s.all, e)
	}
}

// hostnamesOf a rule, each once; "" for any.
func hostnamesOf(r *Rule) []string {
	if len(r.Hostnames) == 0 {
		return []string{""}
	}
	out := make([]string, len(r.Hostnames))
	for i, h := range r.Hostnames {
		out[i] = strings.ToLower(h)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *shadows) at(l *Listener, hostname string) *shade {
	key := place{socket{l.Protocol, l.Port}, strings.ToLower(l.Hostname), hostname}
	if s.places[key] == nil {
		s.places[key] = &shade{same: map[string]earlier{}, under: map[string]earlier{}}
	}
	return s.places[key]
}

// elsewhere is the listener that gets all requests for a hostname of a rule on l, or nil: the most specific one whose
// hostname fits owns them, with and without a rule for them.
func (s *shadows) elsewhere(l *Listener, hostname string) *Listener {
	own := strings.ToLower(l.Hostname)
	if suffix, wild := strings.CutPrefix(hostname, "*."); hostname == "" || wild && !within(suffix, own) {
		return nil // listeners that are more specific than the rule get some of its hosts, not all
	}
	for t := range s.tables[socket{l.Protocol, l.Port}].matching(hostname) {
		if strings.ToLower(t.listener.Hostname) == own {
			return nil
		}
		return t.listener
	}
	return nil
}

// within reports whether all hosts under a domain are among those of a listener's hostname.
func within(domain, hostname string) bool {
	above, wild := strings.CutPrefix(hostname, "*.")
	return hostname == "" || wild && (domain == above || strings.HasSuffix(domain, "."+above))
}

// part of the table where e stands. Entries with the same part compete by precedence alone.
func part(e *entry) string {
	switch {
	case e.regex != nil:
		return "regex " + e.path
	case e.match != nil && e.match.PathType == PathExact:
		return "exact " + e.path
	case e.match != nil && e.match.PathType == PathMethod:
		return "method " + e.path
	}
	return "prefix " + strings.TrimSuffix(e.path, "/") // as node.add has it
}

func (s *shade) add(e *entry) {
	key := part(e)
	if s.same[key] == nil {
		s.same[key] = earlier{}
	}
	s.same[key].add(e)
	if e.regex == nil {
		return
	}
	if beginning, ok := takesAllUnder(e.path); ok {
		if s.under[beginning] == nil {
			s.under[beginning] = earlier{}
		}
		s.under[beginning].add(e)
	}
}

// cover returns an entry that takes all that e would take, or nil.
func (s *shade) cover(e *entry) *entry {
	if f := s.same[part(e)].covers(e); f != nil {
		return f
	}
	if len(s.under) == 0 || e.match != nil && e.match.PathType == PathExact {
		return nil // nothing stands before an exact path
	}
	// Expressions stand before methods and prefixes, and longer ones before e if e is one: those were added before.
	known := beginning(e)
	for n := range len(known) + 1 {
		if f := s.under[known[:n]].covers(e); f != nil {
			return f
		}
	}
	return nil
}

// beginning is what each path that e takes begins with, as far as that is known.
func beginning(e *entry) string {
	switch {
	case e.regex != nil:
		return cmp.Or(literal(e.path), "/")
	case e.match != nil && e.match.PathType == PathMethod:
		return "/"
	}
	return cmp.Or(strings.TrimSuffix(e.path, "/"), "/")
}

// takesAllUnder reports whether an expression means "this text, and then anything", such as "/v1/.*", and the text.
func takesAllUnder(expr string) (beginning string, ok bool) {
	head, ok := strings.CutSuffix(strings.TrimSuffix(strings.TrimPrefix(expr, "^"), "$"), ".*")
	if !ok || strings.Contains(head, "|") {
		return "", false
	}
	re, err := regexp.Compile(head)
	if err != nil { // what stood before the dot belonged to it: `\.*`
		return "", false
	}
	text, whole := re.LiteralPrefix()
	return text, whole || head == ""
}

// literal is the text with which everything begins that an expression matches as a whole.
func literal(expr string) string {
	re, err := regexp.Compile(strings.TrimPrefix(expr, "^"))
	if err != nil {
		return ""
	}
	text, _ := re.LiteralPrefix()
	return text
}

// mayBePath reports whether an expression can match a path as far as its beginning tells.
func mayBePath(expr string) bool {
	text := literal(expr)
	return text == "" || text[0] == '/'
}

// earlier are entries that differ in their conditions only, filed under a namespace and a condition that each of them
// demands, so that those which may cover another entry are found without looking at all of them.
type earlier map[string][]*entry

// maxLooks bounds the entries of one file that are compared.
const maxLooks = 256

func (m earlier) add(e *entry) {
	key := ""
	if conditions := e.demands(); len(conditions) > 0 {
		key = conditions[0]
	}
	for _, ns := range orAny(e.rule.Namespaces) {
		m[ns+key] = append(m[ns+key], e)
	}
}

// covers returns an entry that holds whenever e does.
func (m earlier) covers(e *entry) *entry {
	if len(m) == 0 {
		return nil
	}
	namespaces := []string{""}
	if len(e.rule.Namespaces) > 0 {
		namespaces = append(namespaces, e.rule.Namespaces[0])
	}
	for _, ns := range namespaces {
		for _, key := range append(e.demands(), e.named()...) {
			for _, f := range atMost(m[ns+key]) {
				if f.covers(e) {
					return f
				}
			}
		}
		for _, f := range atMost(m[ns]) {
			if f.covers(e) {
				return f
			}
		}
	}
	return nil
}

func atMost(list []*entry) []*entry { return list[:min(len(list), maxLooks)] }

func orAny(namespaces []string) []string {
	if len(namespaces) == 0 {
		return []string{""}
	}
	return namespaces
}

// demands are the conditions of e as keys, those for one value first.
func (e *entry) demands() []string {
	var exact, expressions []string
	for kind, list := range map[string][]condition{"\x00h": e.headers, "\x00q": e.query} {
		for _, c := range list {
			if c.regex == nil {
				exact = append(exact, kind+c.name+"\x00"+c.value)
			} else {
				expressions = append(expressions, kind+c.name)
			}
		}
	}
	slices.Sort(exact)
	slices.Sort(expressions)
	return append(exact, expressions...)
}

// named are the headers and parameters of which e demands one value, as keys of the expressions that may take that value.
func (e *entry) named() []string {
	var out []string
	for _, c := range e.headers {
		if c.regex == nil {
			out = append(out, "\x00h"+c.name)
		}
	}
	for _, c := range e.query {
		if c.regex == nil {
			out = append(out, "\x00q"+c.name)
		}
	}
	return out
}

// covers reports whether all but host and path of e is met by every request that meets other.
func (e *entry) covers(other *entry) bool {
	if e == other {
		return false
	}
	if len(e.rule.Namespaces) > 0 {
		foreign := func(ns string) bool { return !slices.Contains(e.rule.Namespaces, ns) }
		if len(other.rule.Namespaces) == 0 || slices.ContainsFunc(other.rule.Namespaces, foreign) {
			return false
		}
	}
	if e.match == nil {
		return true
	}
	if e.match.Method != "" && (other.match == nil || other.match.Method != e.match.Method) {
		return false
	}
	return implied(e.headers, other.headers) && implied(e.query, other.query)
}

// implied reports whether each condition of wanted follows from one of given.
func implied(wanted, given []condition) bool {
	for i := range wanted {
		w := &wanted[i]
		if !slices.ContainsFunc(given, func(g condition) bool {
			if g.name != w.name {
				return false
			}
			if g.regex != nil {
				return w.regex != nil && w.value == g.value
			}
			return w.holds(g.value)
		}) {
			return false
		}
	}
	return true
}
