package route

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// compiled is the lookup form of a snapshot.
type compiled struct {
	// tables by protocol and port; port 0 holds the listeners of all ports.
	tables   map[socket]*hosts[table]
	backends map[string]*Backend
	grants   map[string][]*Grant // by Backend key
	clusters map[string]*Cluster
	// readsQuery: a match looks at query parameters.
	readsQuery bool
}

type socket struct {
	protocol Protocol
	port     int
}

// Compile makes the lookup form. It fails only on what Translate should have refused (a bad regular expression, a
// target without Backend), naming the rule. The receiver is not changed; Compile of a compiled snapshot is itself.
func (s *Snapshot) Compile() (*Snapshot, error) {
	if s.compiled != nil {
		return s, nil
	}
	c := &compiled{
		tables:   map[socket]*hosts[table]{},
		backends: make(map[string]*Backend, len(s.Backends)),
		grants:   map[string][]*Grant{},
		clusters: make(map[string]*Cluster, len(s.Clusters)),
	}
	if err := c.index(s); err != nil {
		return nil, err
	}
	var entries []*entry
	for i := range s.Listeners {
		l := &s.Listeners[i]
		for j := range l.Rules {
			made, err := c.entries(l, &l.Rules[j])
			if err != nil {
				return nil, fmt.Errorf("route: listener %s/%s: %s, rule %s: %w", l.Gateway, l.Name, l.Rules[j].Route, l.Rules[j].Name, err)
			}
			entries = append(entries, made...)
		}
	}
	slices.SortStableFunc(entries, precedence)
	// A listener without rules still owns its hostname: a request for it must not reach a wider listener.
	for i := range s.Listeners {
		c.place(&s.Listeners[i])
	}
	for i, e := range entries {
		e.order = i
		for _, t := range c.place(e.listener) {
			if len(e.rule.Hostnames) == 0 {
				t.hosts.at("").add(e)
			}
			for _, hostname := range e.rule.Hostnames {
				t.hosts.at(strings.ToLower(hostname)).add(e)
			}
		}
	}
	for _, h := range c.tables {
		for t := range h.all() {
			for p := range t.hosts.all() {
				slices.SortStableFunc(p.regex, func(a, b *entry) int { return cmp.Compare(len(b.path), len(a.path)) })
			}
		}
	}
	out := *s
	out.compiled = c
	return &out, nil
}

// place returns the tables of a listener: the one of its port and the one of all ports.
func (c *compiled) place(l *Listener) []*table {
	out := make([]*table, 0, 2)
	for _, port := range []int{l.Port, 0} {
		key := socket{l.Protocol, port}
		if c.tables[key] == nil {
			c.tables[key] = &hosts[table]{}
		}
		t := c.tables[key].at(strings.ToLower(l.Hostname))
		if t.listener == nil {
			t.listener = l
		}
		if len(out) == 0 || out[0] != t {
			out = append(out, t)
		}
	}
	return out
}

// index makes the maps by name.
func (c *compiled) index(s *Snapshot) error {
	for i := range s.Backends {
		b := &s.Backends[i]
		if c.backends[b.Key] != nil {
			return fmt.Errorf("route: backend %s is there twice; keep one", b.Key)
		}
		for j := range b.Filters {
			if err := checkFilter(&b.Filters[j]); err != nil {
				return fmt.Errorf("route: backend %s: %w", b.Key, err)
			}
		}
		c.backends[b.Key] = b
	}
	for i := range s.Grants {
		for _, key := range s.Grants[i].Backends {
			c.grants[key] = append(c.grants[key], &s.Grants[i])
		}
	}
	for i := range s.Clusters {
		c.clusters[s.Clusters[i].Name] = &s.Clusters[i]
	}
	return nil
}

// entries makes one entry per match of a rule.
func (c *compiled) entries(l *Listener, r *Rule) ([]*entry, error) {
	steps, err := c.steps(r)
	if err != nil {
		return nil, err
	}
	if len(r.Matches) == 0 {
		return []*entry{{listener: l, rule: r, steps: steps, path: "/"}}, nil
	}
	out := make([]*entry, 0, len(r.Matches))
	for i := range r.Matches {
		e := &entry{listener: l, rule: r, steps: steps, match: &r.Matches[i]}
		if err := e.compile(); err != nil {
			return nil, fmt.Errorf("match %d: %w", i, err)
		}
		c.readsQuery = c.readsQuery || len(e.query) > 0
		out = append(out, e)
	}
	return out, nil
}

func (e *entry) compile() (err error) {
	m := e.match
	switch m.PathType {
	case PathRegex:
		e.path = m.Path
		if e.regex, err = whole(m.Path); err != nil {
			return fmt.Errorf("path: %w", err)
		}
	case PathMethod:
		if m.Path == "" || strings.Contains(m.Path, "/") {
			return fmt.Errorf("gRPC method %q: write the method's name alone", m.Path)
		}
		e.path = m.Path
	case PathExact, PathPrefix, "": // Gateway API: the default is the prefix "/"
		p, err := CleanPath(m.Path)
		if err != nil {
			return fmt.Errorf("path %q: %w", m.Path, err)
		}
		e.path = p.String()
	default:
		return fmt.Errorf("path type %q is unknown; use %s, %s, %s or %s", m.PathType, PathExact, PathPrefix, PathRegex, PathMethod)
	}
	if e.headers, err = conditions(m.Headers, http.CanonicalHeaderKey); err != nil {
		return fmt.Errorf("header %w", err)
	}
	if e.query, err = conditions(m.Query, func(name string) string { return name }); err != nil {
		return fmt.Errorf("query parameter %w", err)
	}
	return nil
}

func conditions(matches []ValueMatch, canonical func(string) string) ([]condition, error) {
	out := make([]condition, 0, len(matches))
	for _, m := range matches {
		c := condition{name: canonical(m.Name), value: m.Value}
		if m.Regex {
			var err error
			if c.regex, err = whole(m.Value); err != nil {
				return nil, fmt.Errorf("%s: %w", m.Name, err)
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// whole compiles an expression that must match the whole value.
func whole(expr string) (*regexp.Regexp, error) {
	// Compiled alone first: "a)|(b" would be accepted between the brackets and mean something else.
	if _, err := regexp.Compile(expr); err != nil {
		return nil, fmt.Errorf("%w; write an RE2 expression", err)
	}
	return regexp.Compile(`\A(?:` + expr + `)\z`)
}

// ruleSteps is what a rule does once it has won.
type ruleSteps struct {
	sum     uint64 // of all weights
	targets []targetSteps
}

// targetSteps is the rest of the way through one target.
type targetSteps struct {
	target  *Target
	backend *Backend // nil: invalid
	filters []Filter
	guards  []guard
	unknown *Filter // the first filter of a type that is not known and may not be skipped
}

// pick takes the target in whose share draw falls. draw comes from [0, 1<<32).
func (r *ruleSteps) pick(draw uint32) *targetSteps {
	// sum is at most 1<<31 (weights are non-negative int32 in the API, checked at Compile), so this cannot overflow.
	at := uint64(draw) * r.sum >> 32
	for i := range r.targets {
		w := uint64(r.targets[i].target.Weight)
		if at < w {
			return &r.targets[i]
		}
		at -= w
	}
	return nil
}

// maxWeights bounds the sum of a rule's weights so that a draw of 32 bits can be scaled without overflow.
const maxWeights = 1 << 31

func (c *compiled) steps(r *Rule) (*ruleSteps, error) {
	for i := range r.Filters {
		if err := checkFilter(&r.Filters[i]); err != nil {
			return nil, err
		}
	}
	out := &ruleSteps{targets: make([]targetSteps, 0, len(r.Targets))}
	for i := range r.Targets {
		t := &r.Targets[i]
		if t.Weight < 0 {
			return nil, fmt.Errorf("target %d: weight %d is negative; write 0 for no traffic", i, t.Weight)
		}
		out.sum += uint64(t.Weight)
		if out.sum > maxWeights {
			return nil, fmt.Errorf("the weights add up to more than %d; divide them all by the same number", maxWeights)
		}
		s := targetSteps{target: t}
		if t.Invalid == "" {
			var ofBackend []Filter
			if s.backend = c.backends[t.Backend]; s.backend != nil {
				ofBackend = s.backend.Filters
			} else if t.Redirect == nil {
				return nil, fmt.Errorf("target %d: backend %s is not in the snapshot; set invalid, or add the backend", i, strconv.Quote(t.Backend))
			}
			for j := range t.Filters {
				if err := checkFilter(&t.Filters[j]); err != nil {
					return nil, fmt.Errorf("target %d: %w", i, err)
				}
			}
			if err := c.checkMirrors(r.Filters, t.Filters, ofBackend); err != nil {
				return nil, fmt.Errorf("target %d: %w", i, err)
			}
			var err error
			if s.filters, s.guards, s.unknown, err = merge(ofBackend, r.Filters, t.Filters); err != nil {
				return nil, err
			}
		}
		out.targets = append(out.targets, s)
	}
	return out, nil
}

// checkMirrors refuses copies to a Backend that is not there.
func (c *compiled) checkMirrors(levels ...[]Filter) error {
	for _, level := range levels {
		for i := range level {
			if m := level[i].Mirror; m != nil && c.backends[m.Backend] == nil {
				return fmt.Errorf("%s: backend %s is not in the snapshot; add it, or leave the filter out", level[i].label(), strconv.Quote(m.Backend))
			}
		}
	}
	return nil
}

// ReadsQuery reports whether any match looks at query parameters; if not, Query.Values may stay nil. It spares the
// parsing of the query, which most tables never look at.
func (s *Snapshot) ReadsQuery() bool { return s.compiled != nil && s.compiled.readsQuery }

// Secure is the listener that a TLS connection to a port is for, by its server name (empty: none was sent), whether HTTP or
// a raw stream is inside: the most specific hostname wins. Nil: no listener has the name.
func (s *Snapshot) Secure(port int, name string) *Listener {
	if s.compiled == nil {
		return nil
	}
	var best *Listener
	for _, protocol := range []Protocol{ProtocolHTTPS, ProtocolTLS} {
		tables := s.compiled.tables[socket{protocol, port}]
		if tables == nil {
			continue
		}
		for t := range tables.matching(name) {
			if best == nil || specificity(t.listener.Hostname) > specificity(best.Hostname) {
				best = t.listener
			}
			break
		}
	}
	return best
}

// specificity orders the hostnames that match one name: exact, the longer wildcard, any.
func specificity(hostname string) int {
	if hostname != "" && !strings.HasPrefix(hostname, "*.") {
		return 1 << 10 // more than any wildcard is long
	}
	return len(hostname)
}

// Backend by key; nil if there is none, or if the snapshot is not compiled.
func (s *Snapshot) Backend(key string) *Backend {
	if s.compiled == nil {
		return nil
	}
	return s.compiled.backends[key]
}
