package manifest

import gwv1 "sigs.k8s.io/gateway-api/apis/v1"

// The condition types of objects. Gateway API kinds use the same words.
const (
	ConditionAccepted     = "Accepted"
	ConditionResolvedRefs = "ResolvedRefs"
	// ConditionProgrammed says here that the object is in the snapshot. Who publishes status holds it back until every
	// live replica has acknowledged the revision.
	ConditionProgrammed = "Programmed"
	// ConditionDegraded says that the object works, but not as written or not for long.
	ConditionDegraded = "Degraded"
	// ConditionRetryDelegated says that a route's retry codes and backoff are the hub's business (HOPS-AND-RETRIES B.2).
	ConditionRetryDelegated = "penstock.dev/RetryDelegated"
	// ConditionSharedDestination says that another Backend, which the message names, leads to the same hostname and port.
	ConditionSharedDestination = "penstock.dev/SharedDestination"
)

// The reasons of conditions that are the same as in the Gateway API.
const (
	ReasonRefNotPermitted  = string(gwv1.RouteReasonRefNotPermitted)
	ReasonBackendNotFound  = string(gwv1.RouteReasonBackendNotFound)
	ReasonInvalidKind      = string(gwv1.RouteReasonInvalidKind)
	ReasonUnsupportedValue = string(gwv1.RouteReasonUnsupportedValue)
	ReasonTargetNotFound   = string(gwv1.PolicyReasonTargetNotFound)
	ReasonConflicted       = string(gwv1.PolicyReasonConflicted)
	ReasonInvalid          = string(gwv1.PolicyReasonInvalid)
)

// The reasons that are Penstock's own.
const (
	// ReasonNotInCatalog: a claim's hostname and port are not granted to its namespace.
	ReasonNotInCatalog = "NotInCatalog"
	// ReasonTLSOwnedByParent: a claim says something about TLS that the hub's entry does not.
	ReasonTLSOwnedByParent = "TLSOwnedByParent"
	// ReasonOwnedByParent: a claim carries settings that only the hub's entry may have; they do nothing here.
	ReasonOwnedByParent = "OwnedByParent"
	// ReasonNoCatalog: the kind means something at a hub only.
	ReasonNoCatalog = "NoCatalog"
	// ReasonSelfReference: the hostname leads back to a gateway of Penstock (HOPS-AND-RETRIES A.3, prevention).
	ReasonSelfReference = "SelfReference"
	// ReasonClusterLocalName: the hostname is a name inside a cluster.
	ReasonClusterLocalName = "ClusterLocalName"
	// ReasonInvalidHostname: the hostname is an IP address, a single label or no DNS name.
	ReasonInvalidHostname = "InvalidHostname"
	// ReasonUnsupportedType: the type of a Backend or FilterDefinition is not served.
	ReasonUnsupportedType = "UnsupportedType"
	// ReasonUnsupportedProtocol: protocol and TLS do not go together, or the protocol is not served.
	ReasonUnsupportedProtocol = string(gwv1.RouteReasonUnsupportedProtocol)
	// ReasonInvalidAddressPolicy: an allowed CIDR is no exact range, or covers a metadata address.
	ReasonInvalidAddressPolicy = "InvalidAddressPolicy"
	// ReasonInvalidClientCertificateRef and ReasonInvalidCACertificateRef: the Secret or ConfigMap is missing or broken.
	ReasonInvalidClientCertificateRef = string(gwv1.GatewayReasonInvalidClientCertificateRef)
	ReasonInvalidCACertificateRef     = string(gwv1.ListenerReasonInvalidCACertificateRef)
	// ReasonCertificateExpired: a certificate in use is past its end.
	ReasonCertificateExpired = "CertificateExpired"
	// ReasonCredentialNotFound: a Backend names a Credential that is not in its namespace.
	ReasonCredentialNotFound = "CredentialNotFound"
	// ReasonCredentialHostMismatch: the Credential may not be sent to the Backend's hostname (TH-I5).
	ReasonCredentialHostMismatch = "CredentialHostMismatch"
	// ReasonUnknownFilterType: no FilterDefinition has that type.
	ReasonUnknownFilterType = "UnknownFilterType"
	// ReasonInvalidFilter: the filter's configuration, phase or place is not allowed.
	ReasonInvalidFilter = "InvalidFilter"
	// ReasonReservedName: a rule would touch a name that belongs to Penstock (T-A7).
	ReasonReservedName = "ReservedName"
	// ReasonFilterNotFound: an ExtensionRef names no EgressFilter of the route's namespace.
	ReasonFilterNotFound = "FilterNotFound"
	// ReasonOverridden: every filter of the object loses to another level.
	ReasonOverridden = "Overridden"
	// ReasonBackendRefused: the Backend is there, but was not accepted.
	ReasonBackendRefused = "BackendRefused"
	// ReasonAliasTaken: two entries claim one alias in one namespace.
	ReasonAliasTaken = "AliasTaken"
	// ReasonForeignCatalogName: a route answers for an entry of another namespace, which does not count.
	ReasonForeignCatalogName = "ForeignCatalogName"
	// ReasonDelegated is the reason of RetryDelegated.
	ReasonDelegated = "Delegated"
	// ReasonDifferentSettings is the reason of SharedDestination.
	ReasonDifferentSettings = "DifferentSettings"
	// ReasonNoGatewayClass: a Gateway names a class that does not exist.
	ReasonNoGatewayClass = "NoGatewayClass"
)
