package manifest

import "strings"

// hostIndex finds routes by the hostnames under which they are attached, each at the cost of a name's labels: ten
// thousand routes of two kinds on one listener are not compared with one another.
type hostIndex struct {
	first *attachment
	names map[string]*attachment // by hostname: exact, "*.example.com", or empty for any
	under map[string]*attachment // by ".example.com", for each name that ends so
}

// add puts in an attached route. Of two with one name the one that was there first is found.
func (x *hostIndex) add(a *attachment) {
	if x.first == nil {
		x.first, x.names, x.under = a, map[string]*attachment{}, map[string]*attachment{}
	}
	keep := func(m map[string]*attachment, key string) {
		if m[key] == nil {
			m[key] = a
		}
	}
	if len(a.hostnames) == 0 {
		keep(x.names, "")
	}
	for _, name := range a.hostnames {
		keep(x.names, name)
		for suffix := range suffixes(name) {
			keep(x.under, suffix)
		}
	}
}

// find returns a route that a host could mean as well as one of the hostnames, or nil. No hostnames mean any.
func (x *hostIndex) find(hostnames []string) *attachment {
	if x == nil || x.first == nil {
		return nil
	}
	if len(hostnames) == 0 {
		return x.first
	}
	if a := x.names[""]; a != nil {
		return a
	}
	for _, name := range hostnames {
		if a := x.names[name]; a != nil {
			return a
		}
		for suffix := range suffixes(name) {
			if a := x.names["*"+suffix]; a != nil {
				return a
			}
		}
		if suffix, wildcard := strings.CutPrefix(name, "*"); wildcard && x.under[suffix] != nil {
			return x.under[suffix]
		}
	}
	return nil
}

// suffixes yields ".b.c" and ".c" of "a.b.c", and of "*.b.c" too.
func suffixes(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i, c := range name {
			if c == '.' && !yield(name[i:]) {
				return
			}
		}
	}
}
