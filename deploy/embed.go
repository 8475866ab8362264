// Package deploy embeds the files that are installed into a cluster and read at run time.
//
// It holds data only and knows nothing of how it is used: package manifest validates with the CRDs exactly as an API
// server that has them installed would, so that a folder, the admin API and a cluster refuse the same manifests.
package deploy

import "embed"

// CRDs are the CustomResourceDefinitions of penstock.dev, one YAML file each under crds/. They are generated from
// apis/v1alpha1 by `make generate`. Read-only and safe for concurrent use.
//
//go:embed crds/*.yaml
var CRDs embed.FS

// GatewayAPI are the definitions of the Gateway API kinds that Penstock reads, one JSON file each under gatewayapi/, without
// descriptions. They are made by `make generate` of the gateway-api release in go.mod; who installs into a cluster takes the
// release itself. Read-only and safe for concurrent use.
//
//go:embed gatewayapi/*.json
var GatewayAPI embed.FS
