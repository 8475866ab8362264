package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Backend is a destination outside the cluster: one catalog entry. At a hub it is authoritative; at a spoke in Parent
// Mode it is a claim, resolved to the one granted entry with the same hostname and port; in Endpoint Mode it is dialed.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,categories={penstock,gateway-api},shortName=be
// +kubebuilder:printcolumn:name="Hostname",type=string,JSONPath=`.spec.externalHostname.hostname`
// +kubebuilder:printcolumn:name="Port",type=integer,JSONPath=`.spec.port.number`
// +kubebuilder:printcolumn:name="Protocol",type=string,JSONPath=`.spec.protocol`,priority=1
// +kubebuilder:printcolumn:name="TLS",type=string,JSONPath=`.spec.tls.mode`,priority=1
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Backend struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BackendSpec `json:"spec"`
	Status Status      `json:"status,omitempty"`
}

// BackendSpec is the upstream shape plus Egress.
//
// +kubebuilder:validation:XValidation:rule="self.type != 'ExternalHostname' || has(self.externalHostname)",message="externalHostname is required with type ExternalHostname"
// +kubebuilder:validation:XValidation:rule="!has(self.tls) || self.tls.mode != 'ClientAndServer' || has(self.tls.clientCertificateRef)",message="tls.clientCertificateRef is required with tls.mode ClientAndServer"
type BackendSpec struct {
	// Type is the kind of destination.
	// +kubebuilder:validation:Enum=ExternalHostname
	// +kubebuilder:default=ExternalHostname
	Type BackendType `json:"type"`

	// Port is the port dialed.
	Port BackendPort `json:"port"`

	// ExternalHostname names the destination. It is also the Host the destination sees.
	// +optional
	ExternalHostname *ExternalHostname `json:"externalHostname,omitempty"`

	// Protocol spoken to the destination. Unset: HTTP/2 or HTTP/1.1, whichever ALPN yields; HTTP/1.1 without TLS.
	// +optional
	// +kubebuilder:validation:Enum=HTTP;HTTP11;HTTP2;H2C;GRPC;MCP
	Protocol BackendProtocol `json:"protocol,omitempty"`

	// TLS says how the destination is verified. Unset: mode None.
	// +optional
	TLS *BackendTLS `json:"tls,omitempty"`

	// Egress is what Penstock adds to the upstream kind.
	// +optional
	Egress *BackendEgress `json:"egress,omitempty"`
}

// BackendType is the kind of destination.
type BackendType string

// BackendTypeExternalHostname is a name outside the cluster.
const BackendTypeExternalHostname BackendType = "ExternalHostname"

// BackendPort is the port of a destination, as upstream 1.7 spells it.
type BackendPort struct {
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Number int32 `json:"number"`
}

// ExternalHostname is a full DNS name, without wildcard.
type ExternalHostname struct {
	// Hostname is a full name such as "api.example.com". IP literals, single labels and names under .svc,
	// .cluster.local and .clusterset.local are refused.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	// +kubebuilder:validation:XValidation:rule="!self.endsWith('.cluster.local') && !self.endsWith('.clusterset.local') && !self.endsWith('.svc')",message="must not be a cluster-local name"
	Hostname string `json:"hostname"`
}

// BackendProtocol is the application protocol spoken to a destination.
type BackendProtocol string

// The protocols a Backend may name.
const (
	BackendProtocolHTTP   BackendProtocol = "HTTP"
	BackendProtocolHTTP11 BackendProtocol = "HTTP11"
	BackendProtocolHTTP2  BackendProtocol = "HTTP2"
	BackendProtocolH2C    BackendProtocol = "H2C"
	BackendProtocolGRPC   BackendProtocol = "GRPC"
	BackendProtocolMCP    BackendProtocol = "MCP"
)

// BackendTLSMode says which sides of the TLS connection to the destination prove who they are.
type BackendTLSMode string

// The TLS modes. There is no skip-verify: use a private CA, or None.
const (
	BackendTLSNone            BackendTLSMode = "None"
	BackendTLSServerOnly      BackendTLSMode = "ServerOnly"
	BackendTLSClientAndServer BackendTLSMode = "ClientAndServer"
)

// BackendTLS says how TLS to the destination is originated.
type BackendTLS struct {
	// +kubebuilder:validation:Enum=None;ServerOnly;ClientAndServer
	// +kubebuilder:default=ServerOnly
	Mode BackendTLSMode `json:"mode"`

	// ClientCertificateRef names the Secret (tls.crt, tls.key) in this namespace shown to the destination; only with
	// mode ClientAndServer.
	// +optional
	ClientCertificateRef *LocalObjectReference `json:"clientCertificateRef,omitempty"`

	// Validation of the destination's certificate. Unset: system roots and the Backend's hostname.
	// +optional
	Validation *BackendTLSValidation `json:"validation,omitempty"`
}

// BackendTLSValidation says whom to trust, in the shape of BackendTLSPolicy.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0 && has(self.wellKnownCACertificates) && size(self.wellKnownCACertificates) > 0)",message="set caCertificateRefs or wellKnownCACertificates, not both"
type BackendTLSValidation struct {
	// Hostname is the SNI and the name checked. Unset: the Backend's hostname.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Hostname string `json:"hostname,omitempty"`

	// CACertificateRefs name ConfigMaps or Secrets (key ca.crt) in this namespace.
	// +optional
	// +kubebuilder:validation:MaxItems=8
	CACertificateRefs []LocalObjectReference `json:"caCertificateRefs,omitempty"`

	// WellKnownCACertificates: System means the roots of the machine.
	// +optional
	// +kubebuilder:validation:Enum=System
	WellKnownCACertificates string `json:"wellKnownCACertificates,omitempty"`

	// SubjectAltNames: when set, the certificate must carry one of these; Hostname is then only the SNI.
	// +optional
	// +kubebuilder:validation:MaxItems=5
	SubjectAltNames []SubjectAltName `json:"subjectAltNames,omitempty"`
}

// SubjectAltName is a name expected in a certificate.
type SubjectAltName struct {
	// +kubebuilder:validation:Enum=Hostname;URI
	Type string `json:"type"`
	// +optional
	Hostname string `json:"hostname,omitempty"`
	// +optional
	URI string `json:"uri,omitempty"`
}

// LocalObjectReference names an object in the same namespace.
type LocalObjectReference struct {
	// Group of the object; empty is core.
	// +optional
	Group string `json:"group,omitempty"`
	// Kind of the object, for example Secret or ConfigMap.
	// +optional
	Kind string `json:"kind,omitempty"`
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}

// BackendEgress is what Penstock adds to the upstream Backend. All of it is enforced where the destination is dialed.
type BackendEgress struct {
	// Filters run for every request to this Backend; a credential is bound here.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	Filters []Filter `json:"filters,omitempty"`

	// MinIdentity is the weakest proof of the caller that is accepted (ip < token < spiffe). Unset: token when a
	// credential is bound (or what Cluster.spec.sourceIP allows), else ip.
	// +optional
	// +kubebuilder:validation:Enum=ip;token;spiffe
	MinIdentity string `json:"minIdentity,omitempty"`

	// AddressPolicy opens exact private ranges that are otherwise refused. Metadata addresses are never allowed.
	// +optional
	AddressPolicy *AddressPolicy `json:"addressPolicy,omitempty"`

	// Timeouts for this Backend.
	// +optional
	Timeouts *BackendTimeouts `json:"timeouts,omitempty"`

	// Limits on what is in flight, per hub replica.
	// +optional
	Limits *BackendLimits `json:"limits,omitempty"`

	// Loop prevention towards the outside.
	// +optional
	Loop *BackendLoop `json:"loop,omitempty"`

	// IdempotencyKeys: Honored states that the destination deduplicates by Idempotency-Key, so that a POST which
	// carries one may be repeated.
	// +optional
	// +kubebuilder:validation:Enum=Honored
	IdempotencyKeys string `json:"idempotencyKeys,omitempty"`

	// RetryPostOn lists status codes that prove, for this destination, that a POST was not executed.
	// +optional
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:Minimum=400
	// +kubebuilder:validation:items:Maximum=599
	RetryPostOn []int32 `json:"retryPostOn,omitempty"`

	// Mirrors: Accepted lets routes send copies of requests here (RequestMirror) although this Backend has a credential,
	// which each copy then gets and may be charged for. Unset: copies are refused when there is a credential.
	// +optional
	// +kubebuilder:validation:Enum=Accepted
	Mirrors string `json:"mirrors,omitempty"`
}

// AddressPolicy opens private ranges for one Backend.
type AddressPolicy struct {
	// AllowedCIDRs are exact ranges, for example "10.20.0.0/16" or "127.0.0.9/32".
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	AllowedCIDRs []string `json:"allowedCIDRs"`
}

// BackendTimeouts raise or lower the defaults for one Backend.
type BackendTimeouts struct {
	// ResponseHeaders is the time until response headers, T of HOPS-AND-RETRIES; default 30s, at most 600s.
	// +optional
	ResponseHeaders *gwv1.Duration `json:"responseHeaders,omitempty"`
	// Connect is the time for one dial including TLS; default 5s.
	// +optional
	Connect *gwv1.Duration `json:"connect,omitempty"`
	// Idle closes a response body that sends nothing for this long; default 5m.
	// +optional
	Idle *gwv1.Duration `json:"idle,omitempty"`
}

// BackendLimits cap what is in flight per hub replica. Zero means the default in brackets.
type BackendLimits struct {
	// MaxInFlight requests waiting for response headers [1024].
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxInFlight *int32 `json:"maxInFlight,omitempty"`
	// MaxStreams responses under way [10000].
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxStreams *int32 `json:"maxStreams,omitempty"`
	// PerSubject caps one workload identity.
	// +optional
	PerSubject *SubjectLimits `json:"perSubject,omitempty"`
}

// SubjectLimits cap one workload identity on one Backend. Zero means the default in brackets.
type SubjectLimits struct {
	// MaxInFlight requests waiting for response headers [64].
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxInFlight *int32 `json:"maxInFlight,omitempty"`
	// MaxStreams responses under way [1000].
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxStreams *int32 `json:"maxStreams,omitempty"`
}

// BackendLoop sets loop prevention towards the outside.
type BackendLoop struct {
	// CDNLoop: Disabled leaves the CDN-Loop tag (RFC 8586) off requests to this destination.
	// +optional
	// +kubebuilder:validation:Enum=Enabled;Disabled
	CDNLoop string `json:"cdnLoop,omitempty"`
	// AllowReentry accepts this many own occurrences of a tag with a good MAC, for a service that copies all inbound
	// headers onto a call of its own through the same hub.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1
	AllowReentry int32 `json:"allowReentry,omitempty"`
}

// BackendList is a list of Backends.
// +kubebuilder:object:root=true
type BackendList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Backend `json:"items"`
}
