package manifest

import "slices"

// Feature is a row of the support table in docs/routing.md: one thing that users may write, and what becomes of it.
type Feature struct {
	// Kind and Field say where it is written: "HTTPRoute", "rules.filters RequestMirror".
	Kind, Field string
	// Says is what happens, in the user's words, one sentence.
	Says string
	// Conformance is the upstream feature name ("HTTPRouteRequestMirror", or "core"); empty: it has none.
	Conformance string
	// Support says whether it is served.
	Support Support
	// Case is the golden case that shows it: testdata/translate/<Case>.txtar. Every row has one.
	Case string
}

// Support of a feature.
type Support string

// Served works as the standard says. Refused is answered in status, by name, and never ignored.
const (
	Served  Support = "served"
	Refused Support = "refused"
)

// Features is the support table, sorted as the documentation shows it.
func Features() []Feature {
	return slices.Concat(gatewayFeatures(), referenceFeatures(), httpRouteFeatures(), grpcRouteFeatures(), tlsRouteFeatures(), backendFeatures(), policyFeatures())
}
