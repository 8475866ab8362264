// Package v1alpha1 holds the kinds of penstock.dev: what platform engineers and application teams write.
//
// The same manifests serve a folder, a cluster and the admin API. A field that is not enforced is not here; a value
// that is not served yet is refused in status with reason Unsupported…, never silently ignored.
//
// Backend follows the upstream egress Backend (GEP-4894, XBackend) field for field; all that is Penstock's own stands
// under one field, `egress`, so that a later move to the upstream kind is a deletion. The package imports no code of
// ours and knows nothing of how its kinds are served: read manifest for that.
//
// +kubebuilder:object:generate=true
// +groupName=penstock.dev
package v1alpha1
