package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Shadow is a match that never wins, whatever request comes.
type Shadow struct {
	Rule *Rule
	// Match of the rule by its index; 0 where it has none.
	Match int
	// By is the rule that wins in its place.
	By *Rule
}

// Shadowed lists the matches that never win on any listener, in order of precedence: an older rule, or an earlier one of the
// same route, has the same conditions for the same hostnames. It is no list of everything that is useless (an expression may
// cover another one), but all that it lists is. A snapshot that is not compiled has none.
func (s *Snapshot) Shadowed() []Shadow {
	if s.compiled == nil {
		return nil
	}
	first := map[string]*Rule{}
	won := map[*Rule]map[int]bool{} // matches that win somewhere
	var lost []Shadow
	for _, e := range s.compiled.ordered {
		hostnames := e.rule.Hostnames
		if len(hostnames) == 0 {
			hostnames = []string{""}
		}
		index := 0
		if e.match != nil {
			for i := range e.rule.Matches {
				if &e.rule.Matches[i] == e.match {
					index = i
				}
			}
		}
		for _, hostname := range hostnames {
			key := e.key(hostname)
			if by := first[key]; by != nil {
				lost = append(lost, Shadow{e.rule, index, by})
				continue
			}
			first[key] = e.rule
			if won[e.rule] == nil {
				won[e.rule] = map[int]bool{}
			}
			won[e.rule][index] = true
		}
	}
	lost = slices.DeleteFunc(lost, func(s Shadow) bool { return won[s.Rule][s.Match] })
	return slices.CompactFunc(lost, func(a, b Shadow) bool { return a.Rule == b.Rule && a.Match == b.Match })
}

// key is equal for entries that the same requests reach.
func (e *entry) key(hostname string) string {
	var b strings.Builder
	kind := PathPrefix
	if e.match != nil && e.match.PathType != "" {
		kind = e.match.PathType
	}
	path := e.path
	if kind == PathPrefix && path != "/" {
		path = strings.TrimSuffix(path, "/")
	}
	fmt.Fprintf(&b, "%s %d %q %q %s %q", e.listener.Protocol, e.listener.Port, strings.ToLower(e.listener.Hostname), strings.ToLower(hostname), kind, path)
	if e.match != nil {
		fmt.Fprintf(&b, " %q", e.match.Method)
	} else {
		b.WriteString(` ""`)
	}
	fmt.Fprintf(&b, " %q", slices.Sorted(slices.Values(e.rule.Namespaces)))
	for _, list := range [][]condition{e.headers, e.query} {
		sorted := slices.SortedFunc(slices.Values(list), func(x, y condition) int {
			return cmp.Or(cmp.Compare(x.name, y.name), cmp.Compare(x.text(), y.text()))
		})
		b.WriteByte('|')
		for _, c := range sorted {
			fmt.Fprintf(&b, " %q %q", c.name, c.text())
		}
	}
	return b.String()
}

// text tells a value from an expression.
func (c condition) text() string {
	if c.regex != nil {
		return "~" + c.regex.String()
	}
	return "=" + c.value
}
