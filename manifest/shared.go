package manifest

import (
	"encoding/json"
	"fmt"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
)

// sharing is a group of Backends that are dialed at one hostname and port: the first object of each of the first two
// settings found. Two are enough for everybody to be shown one that is not like it.
type sharing struct {
	settings [2]string
	first    [2]*Object
}

// markShared tells Backends that lead to one destination with different settings of each other. Each serves its own
// requests only, and they share no connection; but who changes one may believe to have changed both. Outside of a hub
// Backends belong to the teams of their namespaces, which are not told of one another.
func (t *translation) markShared() {
	type place struct {
		namespace, hostname string
		port                int
	}
	at := func(o *Object, d *destination) place {
		p := place{o.ID.Namespace, d.backend.Hostname, d.backend.Port}
		if t.opt.Catalog {
			p.namespace = ""
		}
		return p
	}
	groups := map[place]*sharing{}
	backends := each[*penstockv1alpha1.Backend](t.set)
	settings := make([]string, len(backends))
	for i, o := range backends {
		d := t.direct[o.ID]
		if d == nil || !d.fault.ok() {
			continue
		}
		spec, _ := json.Marshal(o.value.Spec) // of plain data: it does not fail
		settings[i] = string(spec)
		g := groups[at(o.Object, d)]
		switch {
		case g == nil:
			groups[at(o.Object, d)] = &sharing{[2]string{settings[i]}, [2]*Object{o.Object}}
		case g.first[1] == nil && g.settings[0] != settings[i]:
			g.settings[1], g.first[1] = settings[i], o.Object
		}
	}
	for i, o := range backends {
		if settings[i] == "" {
			continue
		}
		b := t.direct[o.ID].backend
		g := groups[at(o.Object, t.direct[o.ID])]
		other := g.first[0]
		if g.settings[0] == settings[i] {
			other = g.first[1]
		}
		if other != nil {
			t.conditions(o.Object).set(ConditionSharedDestination, true, ReasonDifferentSettings,
				fmt.Sprintf("%s leads to %s port %d too, with other settings: each serves its own requests only", other.ID, b.Hostname, b.Port))
		}
	}
}
