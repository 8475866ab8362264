package manifest

import (
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/gateway/route"
)

// tlsRule puts in a rule of a TLSRoute: its hostnames are server names, its only content are Services. An external
// name is reached by HTTP, where it can be granted and limited, so Backends are refused here.
func (k *ruleCheck) tlsRule(r *gwv1.TLSRouteRule) {
	k.rule = &gwv1.HTTPRouteRule{Name: r.Name}
	for _, ref := range r.BackendRefs {
		k.rule.BackendRefs = append(k.rule.BackendRefs, gwv1.HTTPBackendRef{BackendRef: ref})
	}
	k.ownMatches = func() []route.Match { return nil }
}
