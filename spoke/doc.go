// Package spoke wires a spoke gateway: configuration, identity, the tunnels to its hub, the folder of manifests, the
// workloads it can name, and the one gateway.Gateway that serves them.
//
// It decides nothing about a request: read gateway for that. It links nothing of hub, so it can hold neither a catalog
// nor a credential.
package spoke
