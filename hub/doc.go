// Package hub wires a hub: catalog, registry, credentials, manifests, the tunnel and join listeners, the admin API, and
// the one gateway.Gateway that serves requests. A hub with filters of one's own is a custom main that calls Run.
//
// It decides nothing about a request: read gateway for that. It never imports spoke, nor spoke it: what both need lies
// below.
package hub
