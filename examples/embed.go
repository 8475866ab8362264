// Package examples holds manifests and configuration that work as they stand. The demo runs them, and so do tests.
package examples

import "embed"

// Standalone is the folder standalone: two hubs, two spokes and a gateway without a hub, on loopback.
//
//go:embed standalone
var Standalone embed.FS
