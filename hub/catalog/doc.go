// Package catalog is the hub's one truth: objects, clusters, serials and sealed credential material, as bytes with
// metadata. It knows keys, revisions, owners and origins, not what an object means: read manifest for that.
//
// Catalog is the contract that hub/catalog/etcd fulfils and hub/catalog/catalogtest holds every implementation to.
package catalog
