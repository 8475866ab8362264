package manifest

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/route"
)

// builtinFilter is a filter type that this program brings along.
type builtinFilter struct {
	name, filterType, description string
	phases                        []route.Phase // the first is the default
	schema                        string
	// compile reads the config into the filter; nil for CredentialInjector, which is compiled into the Backend.
	compile func(config []byte, out *route.Filter) fault
}

func builtins() []builtinFilter {
	return []builtinFilter{
		{
			name: "credential-injector-v1", filterType: route.FilterCredentialInjector,
			description: "Writes the credential that credentialRef names onto each attempt, last of all; in Backend.spec.egress.filters only.",
			phases:      []route.Phase{route.PhaseBackendRequest},
			schema:      `{"type":"object","required":["credentialRef"],"properties":{"credentialRef":{"type":"object","required":["name"],"properties":{"name":{"type":"string","minLength":1}}}}}`,
		},
		{
			name: "header-modifier-v1", filterType: route.FilterHeaderModifier,
			description: "Sets, adds and removes headers, in this order.",
			phases:      []route.Phase{route.PhaseRequestHeaders, route.PhaseBackendRequest, route.PhaseBackendResponse, route.PhaseResponseHeaders},
			schema:      `{"type":"object","properties":{"set":{"type":"array","items":{"type":"object","required":["name","value"],"properties":{"name":{"type":"string"},"value":{"type":"string"}}}},"add":{"type":"array","items":{"type":"object","required":["name","value"],"properties":{"name":{"type":"string"},"value":{"type":"string"}}}},"remove":{"type":"array","items":{"type":"string"}}}}`,
			compile:     compileHeaderModifier,
		},
		{
			name: "request-guard-v1", filterType: route.FilterRequestGuard,
			description: "Refuses requests by method and path; a denial at any level wins.",
			phases:      []route.Phase{route.PhaseRequestHeaders},
			schema:      `{"type":"object","properties":{"allowMethods":{"type":"array","items":{"type":"string"}},"allowPaths":{"type":"array","items":{"type":"string"}},"denyPaths":{"type":"array","items":{"type":"string"}}}}`,
			compile:     compileRequestGuard,
		},
		{
			name: "url-rewrite-v1", filterType: route.FilterURLRewrite,
			description: "Changes host and path of the request that goes on.",
			phases:      []route.Phase{route.PhaseRequestHeaders},
			schema:      `{"type":"object","properties":{"hostname":{"type":"string"},"fullPath":{"type":"string"},"prefixPath":{"type":"string"}}}`,
			compile:     compileURLRewrite,
		},
	}
}

func builtin(filterType string) (builtinFilter, bool) {
	for _, b := range builtins() {
		if b.filterType == filterType {
			return b, true
		}
	}
	return builtinFilter{}, false
}

func builtinTypes() []string {
	var types []string
	for _, b := range builtins() {
		types = append(types, b.filterType)
	}
	return types
}

// BuiltinFilterDefinitions are the filter types this program brings along, as objects, sorted by name: whoever keeps a
// catalog puts them there, so that it lists all types. They need not be in a Set. The caller may change what it gets.
func BuiltinFilterDefinitions() []penstockv1alpha1.FilterDefinition {
	var out []penstockv1alpha1.FilterDefinition
	for _, b := range builtins() {
		d := penstockv1alpha1.FilterDefinition{
			TypeMeta:   metav1.TypeMeta{APIVersion: penstockv1alpha1.GroupVersion.String(), Kind: "FilterDefinition"},
			ObjectMeta: metav1.ObjectMeta{Name: b.name},
			Spec: penstockv1alpha1.FilterDefinitionSpec{
				Type: b.filterType, Description: b.description,
				ConfigSchema: &apiextensionsv1.JSON{Raw: []byte(b.schema)},
			},
		}
		for _, p := range b.phases {
			d.Spec.Phases = append(d.Spec.Phases, penstockv1alpha1.FilterPhase(p))
		}
		out = append(out, d)
	}
	return out
}
