package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EgressGrant says who may use Backends of its own namespace. Without a grant nobody may. It drives enforcement at the
// hub and what a spoke gets to see.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,categories={penstock,gateway-api},shortName=eg
// +kubebuilder:printcolumn:name="To",type=string,JSONPath=`.spec.to[*].name`
// +kubebuilder:printcolumn:name="Alias",type=string,JSONPath=`.spec.alias`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type EgressGrant struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   EgressGrantSpec `json:"spec"`
	Status Status          `json:"status,omitempty"`
}

// EgressGrantSpec says who may use what, and under which name.
//
// +kubebuilder:validation:XValidation:rule="!has(self.alias) || size(self.to) == 1",message="alias needs exactly one entry in to"
type EgressGrantSpec struct {
	// To names Backends or XBackends of this namespace.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	To []GrantTarget `json:"to"`
	// From lists callers; one match is enough.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	From []GrantFrom `json:"from"`
	// Alias is the Service name under which granted namespaces reach the Backend; default the Backend's name.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	Alias string `json:"alias,omitempty"`
}

// GrantTarget is a Backend or XBackend of the grant's namespace.
type GrantTarget struct {
	// Group of the target; default penstock.dev.
	// +optional
	Group string `json:"group,omitempty"`
	// Kind of the target; default Backend.
	// +optional
	// +kubebuilder:validation:Enum=Backend;XBackend
	Kind string `json:"kind,omitempty"`
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}

// GrantFrom is a set of callers: all its fields must match. An empty list matches all, but at least one of clusters,
// clusterSelector and namespaces must be set.
//
// +kubebuilder:validation:XValidation:rule="has(self.clusters) || has(self.clusterSelector) || has(self.namespaces)",message="name at least clusters, clusterSelector or namespaces"
type GrantFrom struct {
	// Clusters by name.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	Clusters []string `json:"clusters,omitempty"`
	// ClusterSelector selects Clusters by label.
	// +optional
	ClusterSelector *metav1.LabelSelector `json:"clusterSelector,omitempty"`
	// Namespaces of the calling workload.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	Namespaces []string `json:"namespaces,omitempty"`
	// ServiceAccounts of the calling workload.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	ServiceAccounts []string `json:"serviceAccounts,omitempty"`
}

// Credential says what kind of credential there is and where it may ever be sent; never its value. The value is given
// with `penstock credential set` and kept encrypted in the catalog, at the hub alone.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,categories={penstock,gateway-api},shortName=cred
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name="Hosts",type=string,JSONPath=`.spec.hosts`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Credential struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   CredentialSpec   `json:"spec"`
	Status CredentialStatus `json:"status,omitempty"`
}

// CredentialKind is the way a value is written onto a request.
type CredentialKind string

// The kinds served.
const (
	// CredentialHeader writes header.prefix + value into the header header.name.
	CredentialHeader CredentialKind = "Header"
	// CredentialBearer writes "Authorization: Bearer " + value (RFC 6750).
	CredentialBearer CredentialKind = "Bearer"
	// CredentialBasic writes "Authorization: Basic …" (RFC 7617); the value is user:password.
	CredentialBasic CredentialKind = "Basic"
	// CredentialQueryParameter writes the value into a query parameter.
	CredentialQueryParameter CredentialKind = "QueryParameter"
)

// CredentialSpec never holds a value.
//
// +kubebuilder:validation:XValidation:rule="self.kind != 'Header' || has(self.header)",message="header is required with kind Header"
// +kubebuilder:validation:XValidation:rule="self.kind != 'QueryParameter' || has(self.queryParameter)",message="queryParameter is required with kind QueryParameter"
type CredentialSpec struct {
	// +kubebuilder:validation:Enum=Header;Bearer;Basic;QueryParameter
	Kind CredentialKind `json:"kind"`
	// Hosts the value may ever be sent to: full names, no wildcard.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Hosts []string `json:"hosts"`
	// Header for kind Header.
	// +optional
	Header *CredentialHeaderPlace `json:"header,omitempty"`
	// QueryParameter for kind QueryParameter.
	// +optional
	QueryParameter *CredentialQueryPlace `json:"queryParameter,omitempty"`
}

// CredentialHeaderPlace is the header a value is written into.
type CredentialHeaderPlace struct {
	// +kubebuilder:validation:Pattern="^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name"`
	// Prefix before the value, for example "Token ".
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Prefix string `json:"prefix,omitempty"`
}

// CredentialQueryPlace is the query parameter a value is written into.
type CredentialQueryPlace struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name"`
}

// CredentialStatus adds the version in use to the conditions.
type CredentialStatus struct {
	Status `json:",inline"`
	// Version of the value in use; it changes with each rotation.
	// +optional
	Version string `json:"version,omitempty"`
}

// Cluster is a registered cluster: a group of gateways with one name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories={penstock},shortName=pcl
// +kubebuilder:printcolumn:name="Role",type=string,JSONPath=`.spec.role`
// +kubebuilder:printcolumn:name="Suspended",type=boolean,JSONPath=`.spec.suspended`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Instances",type=integer,JSONPath=`.status.instances`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Cluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ClusterSpec   `json:"spec"`
	Status ClusterStatus `json:"status,omitempty"`
}

// ClusterSpec is what the platform says about a cluster. Labels stand in metadata.labels.
type ClusterSpec struct {
	// Role of the gateways: spoke, or hub for a hub that has this hub as its parent.
	// +optional
	// +kubebuilder:validation:Enum=spoke;hub
	// +kubebuilder:default=spoke
	Role string `json:"role,omitempty"`
	// Suspended cuts the cluster's tunnels and refuses new ones until it is false again.
	// +optional
	Suspended bool `json:"suspended,omitempty"`
	// SourceIP: Trusted is the platform's statement that this cluster's network stops source address spoofing.
	// +optional
	// +kubebuilder:validation:Enum=Trusted
	SourceIP string `json:"sourceIP,omitempty"`
}

// ClusterStatus is what the hub sees of a cluster.
type ClusterStatus struct {
	Status `json:",inline"`
	// State: Pending (no gateway joined yet), Ready, Disconnected, Suspended or Revoked.
	// +optional
	State string `json:"state,omitempty"`
	// Instances connected now, over all hub replicas.
	// +optional
	Instances int32 `json:"instances,omitempty"`
}

// GatewayConfig is what GatewayClass.parametersRef and Gateway.spec.infrastructure point at on a spoke.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,categories={penstock,gateway-api},shortName=gwc
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type GatewayConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   GatewayConfigSpec `json:"spec"`
	Status Status            `json:"status,omitempty"`
}

// GatewayConfigSpec says how Gateways that point here reach the outside.
type GatewayConfigSpec struct {
	// Mode Parent hands requests to the hub; Endpoint dials Backends directly, without credentials. Unset: Parent when
	// the gateway has a hub, else Endpoint.
	// +optional
	// +kubebuilder:validation:Enum=Parent;Endpoint
	Mode string `json:"mode,omitempty"`
}

// Status is what every kind of ours reports: conditions with observedGeneration.
type Status struct {
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// EgressGrantList is a list of EgressGrants.
// +kubebuilder:object:root=true
type EgressGrantList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []EgressGrant `json:"items"`
}

// CredentialList is a list of Credentials.
// +kubebuilder:object:root=true
type CredentialList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Credential `json:"items"`
}

// ClusterList is a list of Clusters.
// +kubebuilder:object:root=true
type ClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Cluster `json:"items"`
}

// GatewayConfigList is a list of GatewayConfigs.
// +kubebuilder:object:root=true
type GatewayConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GatewayConfig `json:"items"`
}
