package admin

import "time"

// Roles of a registered cluster.
const (
	RoleSpoke = "spoke"
	RoleHub   = "hub"
)

// States of a Cluster.
const (
	StatePending      = "Pending"      // registered; no gateway has joined yet
	StateReady        = "Ready"        // at least one gateway is connected
	StateDisconnected = "Disconnected" // joined once; none is connected
	StateSuspended    = "Suspended"    // kept out until it is resumed
	StateRevoked      = "Revoked"      // kept out for good; recover gives it a new token
)

// RegisterRequest registers a cluster. A name that is registered already is a conflict; see RecoverRequest.
type RegisterRequest struct {
	// Name is a DNS label.
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	// Role is RoleSpoke or RoleHub; empty: RoleSpoke.
	Role string `json:"role,omitempty"`
	// TTLSeconds is how long the token may be redeemed; 0: 15 minutes.
	TTLSeconds int64 `json:"ttlSeconds,omitempty"`
}

// RecoverRequest asks for a new token for a cluster that is registered: its certificates ended, were lost, or were
// revoked.
type RecoverRequest struct {
	// TTLSeconds is how long the token may be redeemed; 0: 15 minutes.
	TTLSeconds int64 `json:"ttlSeconds,omitempty"`
}

// Cluster is a registered cluster as the hub sees it.
type Cluster struct {
	Name   string            `json:"name"`
	Role   string            `json:"role"`
	Labels map[string]string `json:"labels,omitempty"`
	// State is one of the State constants.
	State string `json:"state"`
	// SourceIP is "Trusted" or empty.
	SourceIP string `json:"sourceIP,omitempty"`
	// Created is when it was registered.
	Created time.Time `json:"created,omitzero"`
	// TokenExpires is when the unredeemed join token stops working; zero: there is none.
	TokenExpires time.Time `json:"tokenExpires,omitzero"`
	// Instances that are connected, sorted by id.
	Instances []Instance `json:"instances,omitempty"`
}

// Instance is one connected gateway process.
type Instance struct {
	ID      string `json:"id"`
	Version string `json:"version,omitempty"`
	// Group is the gateway group's id, the one in Penstock-Path.
	Group string `json:"group,omitempty"`
	// Hub is the replica that holds the tunnel.
	Hub string `json:"hub,omitempty"`
	// Transport is "quic" or "tcp"; empty: not known.
	Transport string `json:"transport,omitempty"`
	// Lanes are its connections to Hub.
	Lanes int `json:"lanes,omitempty"`
	// RTTMillis is the round trip in milliseconds; 0: not measured.
	RTTMillis float64 `json:"rttMillis,omitempty"`
	// Revision of the catalog view that it serves; 0: none yet.
	Revision int64 `json:"revision,omitempty"`
	// NotAfter is when its certificate ends.
	NotAfter time.Time `json:"notAfter,omitzero"`
	// Since is when it connected.
	Since time.Time `json:"since,omitzero"`
}

// ClusterList is sorted by name.
type ClusterList struct {
	Items []Cluster `json:"items"`
}
