package manifest

import (
	"time"

	"penstock.dev/penstock/apis/control"
)

// The GatewayClass controller names: which Gateways are a hub's and which a spoke's.
const (
	HubController   = "penstock.dev/hub-controller"
	SpokeController = "penstock.dev/spoke-controller"
)

// The Gateway whose HTTP listeners carry aliases at a spoke, and the one that stands in at a hub without Tunnel listener.
const (
	SystemNamespace    = "penstock-system"
	AliasGatewayName   = "egress"
	BuiltinGatewayName = "hub"
	// BuiltinListenerName and BuiltinTunnelPort are the stand-in's only listener.
	BuiltinListenerName = "tunnel"
	BuiltinTunnelPort   = 8443
)

// Options say where the set is translated. The zero value is a gateway without parent and catalog that owns no Gateway.
type Options struct {
	// Controller is the GatewayClass controllerName that is ours: HubController or SpokeController.
	Controller string
	// View is what the parent grants this gateway's cluster. Nil: no parent, Backends are dialed (Endpoint Mode).
	// A gateway that has a parent but has not heard of it yet passes an empty View, and serves nothing from it.
	View *control.View
	// Catalog: Backends are authoritative, grants enforced, Tunnel listeners allowed, credentials known. A hub.
	Catalog bool
	// OwnNames are host names of gateways of this installation; a Backend must not name one.
	OwnNames []string
	// ClusterDomain is the cluster's DNS domain ["cluster.local"].
	ClusterDomain string
	// Now is the time by which certificates are judged; zero: none is called expired.
	Now time.Time
}

func (o Options) clusterDomain() string {
	if o.ClusterDomain == "" {
		return "cluster.local"
	}
	return o.ClusterDomain
}
