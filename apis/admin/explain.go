package admin

import (
	"time"

	"penstock.dev/penstock/apis/control"
)

// ExplainRequest is a request as a workload would make it.
type ExplainRequest struct {
	Cluster        string `json:"cluster"`
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	// Proof of the workload's identity: ip, token or spiffe; empty: token.
	Proof string `json:"proof,omitempty"`
	// Method; empty: GET.
	Method string `json:"method,omitempty"`
	// URL is absolute. Its host is an alias ("openai"), a catalog authority or any host a route names.
	URL string `json:"url"`
}

// Explanation is what the data plane would do, decided by the same code and table.
type Explanation struct {
	// Allowed: the request would be sent on.
	Allowed bool `json:"allowed"`
	// Revision of the catalog the answer is made from.
	Revision int64 `json:"revision,omitempty"`
	// Status the workload gets when it is not allowed.
	Status int `json:"status,omitempty"`
	// Reason why not, for programs; empty when allowed. Message is for people, Remedy is what to change.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	Remedy  string `json:"remedy,omitempty"`
	// Listener is "namespace/gateway/listener".
	Listener string `json:"listener,omitempty"`
	// Route is "Kind namespace/name", Rule its name or index.
	Route string `json:"route,omitempty"`
	Rule  string `json:"rule,omitempty"`
	// Grant is "namespace/name".
	Grant string `json:"grant,omitempty"`
	// Backend is "namespace/name". Where weights decide, it is one of Targets.
	Backend string            `json:"backend,omitempty"`
	Targets []ExplainedTarget `json:"targets,omitempty"`
	// Filters in the order in which they run.
	Filters []ExplainedFilter `json:"filters,omitempty"`
	// Credential is "namespace/name"; never a value.
	Credential string `json:"credential,omitempty"`
	// NextHop is where the request goes: "api.example.com:443" or the parent.
	NextHop string `json:"nextHop,omitempty"`
	// Attempts and ResponseHeadersMillis bound the exchange; Retries says in words what may be repeated.
	Attempts              int    `json:"attempts,omitempty"`
	ResponseHeadersMillis int64  `json:"responseHeadersMillis,omitempty"`
	Retries               string `json:"retries,omitempty"`
}

// ExplainedTarget is one weighted way on.
type ExplainedTarget struct {
	Backend string `json:"backend"`
	Weight  int    `json:"weight"`
	// Invalid says why this share of requests fails.
	Invalid string `json:"invalid,omitempty"`
}

// ExplainedFilter is one step.
type ExplainedFilter struct {
	Name     string `json:"name,omitempty"`
	Type     string `json:"type"`
	Phase    string `json:"phase"`
	Priority int    `json:"priority,omitempty"`
	FailOpen bool   `json:"failOpen,omitempty"`
	// From is the object that brought it: "EgressPolicy billing/no-trace".
	From string `json:"from,omitempty"`
}

// RefusalList is what is remembered of one request id, the oldest first: a spoke and a hub may both have refused.
type RefusalList struct {
	Items []control.Refusal `json:"items"`
}

// Version of a hub.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go,omitempty"`
	// Name of the replica that answered.
	Name string `json:"name,omitempty"`
}

// Status is one hub replica's view of the installation.
type Status struct {
	Name        string    `json:"name"`
	TrustDomain string    `json:"trustDomain"`
	Version     string    `json:"version"`
	Ready       bool      `json:"ready"`
	Started     time.Time `json:"started,omitzero"`
	// Reasons why it is not ready.
	Reasons []string `json:"reasons,omitempty"`
	// Revision of the catalog that is served.
	Revision int64          `json:"revision"`
	Catalog  CatalogStatus  `json:"catalog"`
	Replicas []Replica      `json:"replicas,omitempty"`
	Tunnel   []string       `json:"tunnel,omitempty"` // advertised tunnel addresses
	Join     []string       `json:"join,omitempty"`   // advertised join endpoints
	Listen   []Listener     `json:"listen,omitempty"`
	Clusters []Cluster      `json:"clusters,omitempty"`
	Objects  map[string]int `json:"objects,omitempty"` // number by kind
	// Problems are the objects that are not accepted or degraded.
	Problems []Finding `json:"problems,omitempty"`
}

// CatalogStatus is how the store does.
type CatalogStatus struct {
	// Kind is "embedded" or "etcd".
	Kind      string `json:"kind"`
	Available bool   `json:"available"`
	// Error of the last call, when it is not available.
	Error string `json:"error,omitempty"`
}

// Replica is one hub process.
type Replica struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"`
	Zone    string `json:"zone,omitempty"`
	Version string `json:"version,omitempty"`
	// Leader watches the folder and writes status.
	Leader bool `json:"leader,omitempty"`
	// Revision it serves.
	Revision int64 `json:"revision,omitempty"`
}

// Listener is a socket of this replica.
type Listener struct {
	// Name is "namespace/gateway/listener", or tunnel, join, admin, metrics, health.
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	// Address as bound, "127.0.0.1:43117".
	Address string `json:"address"`
}
