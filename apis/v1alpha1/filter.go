package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Filter is one step on the way of a request. Lower priority runs first, then name.
type Filter struct {
	// Name is unique in its list.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Type names a FilterDefinition, for example "penstock.dev/CredentialInjector:v1".
	// +kubebuilder:validation:Pattern=`^[a-z0-9.-]+/[A-Za-z0-9]+:v[0-9]+[a-z0-9]*$`
	Type string `json:"type"`
	// Phase in which the filter runs. Unset: the first phase of its FilterDefinition.
	// +optional
	// +kubebuilder:validation:Enum=request-headers;backend-request;backend-response;response-headers
	Phase FilterPhase `json:"phase,omitempty"`
	// Priority orders filters of one phase, lowest first.
	// +optional
	Priority int32 `json:"priority,omitempty"`
	// FailOpen lets the request pass when the filter itself fails; it is counted and labelled, never silent.
	// +optional
	FailOpen bool `json:"failOpen,omitempty"`
	// Config as the JSON schema of the FilterDefinition says.
	// +optional
	Config *apiextensionsv1.JSON `json:"config,omitempty"`
}

// FilterPhase is a point on the way of a request.
type FilterPhase string

// The phases. The request phases run once per request after routing; the backend phases run per attempt.
const (
	PhaseRequestHeaders  FilterPhase = "request-headers"
	PhaseBackendRequest  FilterPhase = "backend-request"
	PhaseBackendResponse FilterPhase = "backend-response"
	PhaseResponseHeaders FilterPhase = "response-headers"
)

// EgressFilter is what an HTTPRoute's or GRPCRoute's ExtensionRef points at: filters for one route.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,categories={penstock,gateway-api},shortName=ef
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type EgressFilter struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   EgressFilterSpec `json:"spec"`
	Status Status           `json:"status,omitempty"`
}

// EgressFilterSpec lists the filters of an EgressFilter.
type EgressFilterSpec struct {
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Filters []Filter `json:"filters"`
}

// EgressPolicy is an inherited policy (GEP-713) on a Gateway, Backend or XBackend. For defaults the more specific level
// wins (route, then Backend, then Gateway), for overrides the less specific; a denial at any level wins.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,categories={penstock,gateway-api},shortName=ep
// +kubebuilder:metadata:labels="gateway.networking.k8s.io/policy=Inherited"
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRefs[0].name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type EgressPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   EgressPolicySpec `json:"spec"`
	Status Status           `json:"status,omitempty"`
}

// EgressPolicySpec says what is attached to what.
//
// +kubebuilder:validation:XValidation:rule="has(self.defaults) != has(self.overrides)",message="set exactly one of defaults and overrides"
type EgressPolicySpec struct {
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	TargetRefs []PolicyTargetReference `json:"targetRefs"`
	// +optional
	Defaults *PolicyFilters `json:"defaults,omitempty"`
	// +optional
	Overrides *PolicyFilters `json:"overrides,omitempty"`
}

// PolicyTargetReference names the object in the policy's namespace that the policy acts on.
type PolicyTargetReference struct {
	// Group of the target: gateway.networking.k8s.io (Gateway), penstock.dev (Backend) or
	// gateway.networking.x-k8s.io (XBackend).
	Group string `json:"group"`
	// +kubebuilder:validation:Enum=Gateway;Backend;XBackend
	Kind string `json:"kind"`
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}

// PolicyFilters are the filters of a policy.
type PolicyFilters struct {
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Filters []Filter `json:"filters"`
}

// FilterDefinition describes a filter type, built-in ones too: `kubectl get filterdefinitions` is the catalog.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories={penstock},shortName=fd
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Phases",type=string,JSONPath=`.spec.phases`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type FilterDefinition struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   FilterDefinitionSpec `json:"spec"`
	Status Status               `json:"status,omitempty"`
}

// FilterDefinitionSpec describes a filter type.
type FilterDefinitionSpec struct {
	// Type as filters name it, for example "penstock.dev/CredentialInjector:v1".
	// +kubebuilder:validation:Pattern=`^[a-z0-9.-]+/[A-Za-z0-9]+:v[0-9]+[a-z0-9]*$`
	Type string `json:"type"`
	// Description in one sentence.
	// +optional
	Description string `json:"description,omitempty"`
	// Phases the filter may run in; the first is its default.
	// +kubebuilder:validation:MinItems=1
	Phases []FilterPhase `json:"phases"`
	// ConfigSchema is the JSON schema (OpenAPI v3 structural) of config.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	ConfigSchema *apiextensionsv1.JSON `json:"configSchema,omitempty"`
}

// EgressFilterList is a list of EgressFilters.
// +kubebuilder:object:root=true
type EgressFilterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []EgressFilter `json:"items"`
}

// EgressPolicyList is a list of EgressPolicies.
// +kubebuilder:object:root=true
type EgressPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []EgressPolicy `json:"items"`
}

// FilterDefinitionList is a list of FilterDefinitions.
// +kubebuilder:object:root=true
type FilterDefinitionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []FilterDefinition `json:"items"`
}
