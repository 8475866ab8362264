package manifest

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
)

// The API groups that manifests may name, beside the empty one for core kinds.
const (
	groupPenstock = penstockv1alpha1.GroupName
	groupGateway  = gwv1.GroupName
	groupGatewayX = "gateway.networking.x-k8s.io"
)

// kind is what Parse must know about a kind it reads.
type kind struct {
	group, name string
	versions    []string
	// clusterScoped kinds have no namespace.
	clusterScoped bool
	// newValue makes an empty value to decode into.
	newValue func() metav1.Object
	// unserved kinds are known but not served yet: refused by name, never ignored.
	unserved bool
}

// kinds lists all kinds that Parse knows. ReferenceGrant and the older Gateway API versions have one Go type, because
// the versions differ in name only.
func kinds() []kind {
	gateway := []string{"v1", "v1beta1"}
	return []kind{
		{group: groupPenstock, name: "Backend", versions: []string{"v1alpha1"}, newValue: func() metav1.Object { return new(penstockv1alpha1.Backend) }},
		{group: groupPenstock, name: "EgressGrant", versions: []string{"v1alpha1"}, newValue: func() metav1.Object { return new(penstockv1alpha1.EgressGrant) }},
		{group: groupPenstock, name: "EgressPolicy", versions: []string{"v1alpha1"}, newValue: func() metav1.Object { return new(penstockv1alpha1.EgressPolicy) }},
		{group: groupPenstock, name: "EgressFilter", versions: []string{"v1alpha1"}, newValue: func() metav1.Object { return new(penstockv1alpha1.EgressFilter) }},
		{group: groupPenstock, name: "Credential", versions: []string{"v1alpha1"}, newValue: func() metav1.Object { return new(penstockv1alpha1.Credential) }},
		{group: groupPenstock, name: "FilterDefinition", versions: []string{"v1alpha1"}, clusterScoped: true, newValue: func() metav1.Object { return new(penstockv1alpha1.FilterDefinition) }},
		{group: groupPenstock, name: "Cluster", versions: []string{"v1alpha1"}, clusterScoped: true, newValue: func() metav1.Object { return new(penstockv1alpha1.Cluster) }},
		{group: groupPenstock, name: "GatewayConfig", versions: []string{"v1alpha1"}, newValue: func() metav1.Object { return new(penstockv1alpha1.GatewayConfig) }},

		{group: groupGatewayX, name: "XBackend", versions: []string{"v1alpha1"}, newValue: func() metav1.Object { return new(xBackend) }},

		{group: groupGateway, name: "GatewayClass", versions: gateway, clusterScoped: true, newValue: func() metav1.Object { return new(gwv1.GatewayClass) }},
		{group: groupGateway, name: "Gateway", versions: gateway, newValue: func() metav1.Object { return new(gwv1.Gateway) }},
		{group: groupGateway, name: "HTTPRoute", versions: gateway, newValue: func() metav1.Object { return new(gwv1.HTTPRoute) }},
		{group: groupGateway, name: "ReferenceGrant", versions: gateway, newValue: func() metav1.Object { return new(gwv1.ReferenceGrant) }},
		{group: groupGateway, name: "GRPCRoute", versions: []string{"v1"}, newValue: func() metav1.Object { return new(gwv1.GRPCRoute) }},
		{group: groupGateway, name: "TLSRoute", versions: []string{"v1", "v1alpha2", "v1alpha3"}, newValue: func() metav1.Object { return new(gwv1.TLSRoute) }},
		{group: groupGateway, name: "BackendTLSPolicy", versions: []string{"v1", "v1alpha3"}, newValue: func() metav1.Object { return new(gwv1.BackendTLSPolicy) }},
		{group: groupGateway, name: "TCPRoute", versions: []string{"v1", "v1alpha2"}, unserved: true},
		{group: groupGateway, name: "UDPRoute", versions: []string{"v1", "v1alpha2"}, unserved: true},
		{group: groupGateway, name: "ListenerSet", versions: []string{"v1"}, unserved: true},
		{group: groupGatewayX, name: "XBackendTrafficPolicy", versions: []string{"v1alpha1"}, unserved: true},

		{name: "Secret", versions: []string{"v1"}, newValue: func() metav1.Object { return new(corev1.Secret) }},
		{name: "ConfigMap", versions: []string{"v1"}, newValue: func() metav1.Object { return new(corev1.ConfigMap) }},
		{name: "Namespace", versions: []string{"v1"}, clusterScoped: true, newValue: func() metav1.Object { return new(corev1.Namespace) }},
		{name: "Service", versions: []string{"v1"}, newValue: func() metav1.Object { return new(corev1.Service) }},
		{group: discoveryv1.GroupName, name: "EndpointSlice", versions: []string{"v1"}, newValue: func() metav1.Object { return new(discoveryv1.EndpointSlice) }},
	}
}

// findKind returns the kind of that group and name.
func findKind(group, name string) (kind, bool) {
	for _, k := range kinds() {
		if k.group == group && k.name == name {
			return k, true
		}
	}
	return kind{}, false
}
