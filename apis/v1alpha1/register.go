package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of all kinds in this package.
const GroupName = "penstock.dev"

// GroupVersion of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}

// AddToScheme registers the kinds of this package with a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&Backend{}, &BackendList{}, &EgressGrant{}, &EgressGrantList{}, &EgressPolicy{}, &EgressPolicyList{},
		&EgressFilter{}, &EgressFilterList{}, &Credential{}, &CredentialList{}, &Cluster{}, &ClusterList{},
		&FilterDefinition{}, &FilterDefinitionList{}, &GatewayConfig{}, &GatewayConfigList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
