package route

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// An entry is one way to reach one rule: a Match, or the whole rule when it has none. Entries are numbered in order of
// precedence once, at Compile, so that every later comparison is one of integers.
type entry struct {
	listener *Listener
	rule     *Rule
	match    *Match // nil: the rule has no matches
	steps    *ruleSteps
	path     string         // of the match, in clean form; "/" without one
	regex    *regexp.Regexp // nil unless the path type is PathRegex
	headers  []condition
	query    []condition
	order    int
}

// condition is a compiled ValueMatch. A header's name is in canonical form.
type condition struct {
	name, value string
	regex       *regexp.Regexp
}

func (c *condition) holds(value string) bool {
	if c.regex != nil {
		return c.regex.MatchString(value)
	}
	return value == c.value
}

// holds reports whether all conditions but host and path are met.
func (e *entry) holds(q *Query) bool {
	if len(e.rule.Namespaces) > 0 && !slices.Contains(e.rule.Namespaces, q.Namespace) {
		return false
	}
	if e.match == nil {
		return true
	}
	if e.match.Method != "" && e.match.Method != q.Method {
		return false
	}
	return headersHold(e.headers, q.Header) && queryHolds(e.query, q.Values)
}

// headersHold compares a header that came in several lines as one list (RFC 9110 §5.3). An absent header meets no
// condition, not even an expression that matches the empty string.
func headersHold(conditions []condition, h http.Header) bool {
	for i := range conditions {
		values := h[conditions[i].name]
		if len(values) == 0 || !conditions[i].holds(strings.Join(values, ",")) {
			return false
		}
	}
	return true
}

// queryHolds compares the first value of a parameter, as Gateway API recommends for repeated ones.
func queryHolds(conditions []condition, values url.Values) bool {
	for i := range conditions {
		v := values[conditions[i].name]
		if len(v) == 0 || !conditions[i].holds(v[0]) {
			return false
		}
	}
	return true
}

// bucket holds the entries of one host and one path. Rules for callers of certain namespaces are kept apart: an alias such
// as "openai" means another rule in each of thousands of namespaces.
type bucket struct {
	any         choices
	byNamespace map[string]*choices
}

func (b *bucket) add(e *entry) {
	if len(e.rule.Namespaces) == 0 {
		b.any.add(e)
		return
	}
	if b.byNamespace == nil {
		b.byNamespace = map[string]*choices{}
	}
	for _, ns := range e.rule.Namespaces {
		if b.byNamespace[ns] == nil {
			b.byNamespace[ns] = &choices{}
		}
		b.byNamespace[ns].add(e)
	}
}

func (b *bucket) find(q *Query) *entry {
	general := b.any.find(q)
	if c := b.byNamespace[q.Namespace]; c != nil {
		return preferred(general, c.find(q))
	}
	return general
}

// choices are entries that differ in nothing but their conditions, each list in order of precedence. Those with a header
// or query parameter of a certain value are found by it: thousands of rules may differ in the value of one header only,
// such as that of a tenant.
type choices struct {
	plain   []*entry
	headers []valued
	query   []valued
}

// valued are the entries that want some value of one header or query parameter.
type valued struct {
	name    string
	entries map[string][]*entry // by value
}

func (c *choices) add(e *entry) {
	switch {
	case putByValue(&c.headers, e.headers, e), putByValue(&c.query, e.query, e):
	default:
		c.plain = append(c.plain, e)
	}
}

// putByValue files e under the first of its conditions that wants one value; not if there is none.
func putByValue(lists *[]valued, conditions []condition, e *entry) bool {
	i := slices.IndexFunc(conditions, func(c condition) bool { return c.regex == nil })
	if i < 0 {
		return false
	}
	name, value := conditions[i].name, conditions[i].value
	at := slices.IndexFunc(*lists, func(v valued) bool { return v.name == name })
	if at < 0 {
		at = len(*lists)
		*lists = append(*lists, valued{name, map[string][]*entry{}})
	}
	entries := (*lists)[at].entries
	entries[value] = append(entries[value], e)
	return true
}

func (c *choices) find(q *Query) *entry {
	best := first(c.plain, q)
	for _, v := range c.headers {
		if values := q.Header[v.name]; len(values) > 0 {
			best = preferred(best, first(v.entries[strings.Join(values, ",")], q))
		}
	}
	for _, v := range c.query {
		if values := q.Values[v.name]; len(values) > 0 {
			best = preferred(best, first(v.entries[values[0]], q))
		}
	}
	return best
}

// preferred of two entries, either of which may be nil.
func preferred(a, b *entry) *entry {
	if a == nil || b != nil && b.order < a.order {
		return b
	}
	return a
}

func first(entries []*entry, q *Query) *entry {
	for _, e := range entries {
		if e.holds(q) {
			return e
		}
	}
	return nil
}

// node is one segment of the prefix tree.
type node struct {
	children map[string]*node
	bucket   *bucket // nil: no rule has this prefix
}

func (n *node) add(prefix string, e *entry) {
	for segment := range segments(prefix) {
		child := n.children[segment]
		if child == nil {
			child = &node{}
			if n.children == nil {
				n.children = map[string]*node{}
			}
			n.children[segment] = child
		}
		n = child
	}
	if n.bucket == nil {
		n.bucket = &bucket{}
	}
	n.bucket.add(e)
}

// find walks down as far as the path leads and tries the prefixes that it passed, longest first; the prefix "/", which is
// the node itself, only if whole.
func (n *node) find(path string, q *Query, whole bool) *entry {
	var room [16]*bucket
	passed := room[:0]
	if n.bucket != nil && whole {
		passed = append(passed, n.bucket)
	}
	for segment := range segments(path) {
		if n = n.children[segment]; n == nil {
			break
		}
		if n.bucket != nil {
			passed = append(passed, n.bucket)
		}
	}
	for _, b := range slices.Backward(passed) {
		if e := b.find(q); e != nil {
			return e
		}
	}
	return nil
}

// segments yields what stands between slashes. "/" has none, and a slash at the end adds none: "/a" and "/a/" are the
// same prefix.
func segments(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		rest := strings.TrimPrefix(path, "/")
		for rest != "" {
			segment, after, _ := strings.Cut(rest, "/")
			if !yield(segment) {
				return
			}
			rest = after
		}
	}
}

// paths are the rules of one hostname.
type paths struct {
	exact  map[string]*bucket
	regex  []*entry // longest expression first
	prefix node
	method map[string]*bucket // of any gRPC service
}

func (p *paths) add(e *entry) {
	switch {
	case e.regex != nil:
		p.regex = append(p.regex, e)
	case e.match != nil && e.match.PathType == PathExact:
		bucketOf(&p.exact, e.path).add(e)
	case e.match != nil && e.match.PathType == PathMethod:
		bucketOf(&p.method, e.path).add(e)
	default:
		p.prefix.add(e.path, e)
	}
}

func (p *paths) find(path string, q *Query) *entry {
	if b := p.exact[path]; b != nil {
		if e := b.find(q); e != nil {
			return e
		}
	}
	for _, e := range p.regex {
		if e.regex.MatchString(path) && e.holds(q) {
			return e
		}
	}
	return p.underPrefix(path, q)
}

// underPrefix tries prefixes, longest first, and before the prefix of everything the gRPC method that the path names.
func (p *paths) underPrefix(path string, q *Query) *entry {
	if len(p.method) == 0 {
		return p.prefix.find(path, q, true)
	}
	if e := p.prefix.find(path, q, false); e != nil {
		return e
	}
	if _, method, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/"); ok {
		if b := p.method[method]; b != nil {
			if e := b.find(q); e != nil {
				return e
			}
		}
	}
	if b := p.prefix.bucket; b != nil {
		return b.find(q)
	}
	return nil
}

// bucketOf returns the bucket of a path, made if it is new.
func bucketOf(m *map[string]*bucket, path string) *bucket {
	if *m == nil {
		*m = map[string]*bucket{}
	}
	if (*m)[path] == nil {
		(*m)[path] = &bucket{}
	}
	return (*m)[path]
}

// hosts maps hostnames, exact or "*.example.com" or empty for any, to T.
type hosts[T any] struct {
	exact    map[string]*T
	wildcard map[string]*T // by what follows "*."
	any      *T
}

// at returns the place of a hostname, made if it is new.
func (h *hosts[T]) at(hostname string) *T {
	if hostname == "" {
		if h.any == nil {
			h.any = new(T)
		}
		return h.any
	}
	m := &h.exact
	suffix, wild := strings.CutPrefix(hostname, "*.")
	if wild {
		m = &h.wildcard
	}
	if *m == nil {
		*m = map[string]*T{}
	}
	if (*m)[suffix] == nil {
		(*m)[suffix] = new(T)
	}
	return (*m)[suffix]
}

// owns reports whether t is what host leads to.
func (h *hosts[T]) owns(t *T, host string) bool {
	for first := range h.matching(host) {
		return first == t
	}
	return false
}

// all yields every place, in no particular order.
func (h *hosts[T]) all() func(yield func(*T) bool) {
	return func(yield func(*T) bool) {
		for _, m := range []map[string]*T{h.exact, h.wildcard} {
			for _, t := range m {
				if !yield(t) {
					return
				}
			}
		}
		if h.any != nil {
			yield(h.any)
		}
	}
}

// matching yields what applies to host, most specific first: the exact name, then wildcards from the longest on, then
// any. A wildcard stands for one label or more (Gateway API, Hostname).
func (h *hosts[T]) matching(host string) func(yield func(*T) bool) {
	return func(yield func(*T) bool) {
		if t := h.exact[host]; t != nil && !yield(t) {
			return
		}
		for i := 1; i < len(host) && len(h.wildcard) > 0; i++ {
			if host[i] != '.' {
				continue
			}
			if t := h.wildcard[host[i+1:]]; t != nil && !yield(t) {
				return
			}
		}
		if h.any != nil {
			yield(h.any)
		}
	}
}

// table is all that is served for one listener hostname of one port.
type table struct {
	listener *Listener // the first of them, named when no rule matches
	hosts    hosts[paths]
}

func (t *table) find(host, path string, q *Query) *entry {
	for p := range t.hosts.matching(host) {
		if e := p.find(path, q); e != nil {
			return e
		}
	}
	return nil
}

// precedence orders entries of the same hostname and path as Gateway API says: method, number of headers, number of
// query parameters, the older route, then namespace/name, then the order in the route. A route without a creation time
// counts as the youngest, since nothing shows that it is older.
func precedence(a, b *entry) int {
	am, bm := a.conditions(), b.conditions()
	return cmp.Or(
		cmp.Compare(bm.method, am.method),
		cmp.Compare(bm.headers, am.headers),
		cmp.Compare(bm.query, am.query),
		compareAge(a.rule, b.rule),
		cmp.Compare(a.rule.Route.Namespace+"/"+a.rule.Route.Name, b.rule.Route.Namespace+"/"+b.rule.Route.Name),
		cmp.Compare(a.rule.Route.Kind, b.rule.Route.Kind),
	) // the sort is stable, so the order in the route decides what is left
}

type conditionCount struct{ method, headers, query int }

func (e *entry) conditions() conditionCount {
	if e.match == nil {
		return conditionCount{}
	}
	n := conditionCount{headers: len(e.headers), query: len(e.query)}
	if e.match.Method != "" {
		n.method = 1
	}
	return n
}

func compareAge(a, b *Rule) int {
	if a.Created.IsZero() != b.Created.IsZero() {
		if a.Created.IsZero() {
			return 1
		}
		return -1
	}
	return a.Created.Compare(b.Created)
}
