package manifest

import (
	"slices"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
)

// permitted reports whether a ReferenceGrant in the namespace of to lets from refer to it (GEP-709).
func (t *translation) permitted(from, to ID) bool {
	if t.referenceGrants == nil {
		t.referenceGrants = map[string][]*gwv1.ReferenceGrant{}
		for _, o := range each[*gwv1.ReferenceGrant](t.set) {
			t.referenceGrants[o.ID.Namespace] = append(t.referenceGrants[o.ID.Namespace], o.value)
		}
	}
	return slices.ContainsFunc(t.referenceGrants[to.Namespace], func(g *gwv1.ReferenceGrant) bool {
		return grantsFrom(g, from) && grantsTo(g, to)
	})
}

func grantsFrom(g *gwv1.ReferenceGrant, from ID) bool {
	for _, f := range g.Spec.From {
		if string(f.Group) == from.Group && string(f.Kind) == from.Kind && string(f.Namespace) == from.Namespace {
			return true
		}
	}
	return false
}

func grantsTo(g *gwv1.ReferenceGrant, to ID) bool {
	for _, x := range g.Spec.To {
		if string(x.Group) == to.Group && string(x.Kind) == to.Kind && (x.Name == nil || *x.Name == "" || string(*x.Name) == to.Name) {
			return true
		}
	}
	return false
}

// backendPort is the port a Backend names.
func backendPort(o *Object) int32 {
	if b, ok := o.Value.(*penstockv1alpha1.Backend); ok {
		return b.Spec.Port.Number
	}
	return 0
}
