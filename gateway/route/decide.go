package route

import (
	"net/http"
	"net/url"
)

// compiled is the lookup form of a snapshot.
type compiled struct{}

// Compile makes the lookup form. It fails only on what Translate should have refused (a bad regular expression, a
// target without Backend), naming the rule. The receiver is not changed; Compile of a compiled snapshot is itself.
func (s *Snapshot) Compile() (*Snapshot, error) { panic("todo") }

// Query is a request as the table sees it.
type Query struct {
	// Port of the listener the request came in on; 0: any listener of Protocol.
	Port     int
	Protocol Protocol
	// Host without port, lower case.
	Host   string
	Path   string
	Method string
	Header http.Header
	Values url.Values
	// Caller. Cluster is empty at a spoke.
	Cluster, Namespace, ServiceAccount string
	// Method of proof: "", ip, token, spiffe.
	Proof string
	// Draw picks among weighted targets: a number from [0, 1<<32).
	Draw uint32
}

// Reason is why a request is refused; gateway/errors.go maps it to a status, docs/errors.md says what to do.
type Reason string

// The reasons of Decide. None is the zero value: the request may go on.
const (
	None             Reason = ""
	NoListener       Reason = "no-listener"
	NoRoute          Reason = "no-route"
	NoBackend        Reason = "no-backend"        // rule without usable target: 500 (Gateway API)
	NotGranted       Reason = "not-granted"       // also for an unknown Backend, so that existence does not leak (TH-I9)
	IdentityTooWeak  Reason = "identity-too-weak" // 401; says which proof is wanted
	ClusterSuspended Reason = "cluster-suspended" // 403
	RefusedByGuard   Reason = "refused-by-guard"  // 403
	UnknownFilter    Reason = "unknown-filter"    // 500
)

// Decision is the whole answer about a request before anything is sent.
type Decision struct {
	Reason   Reason
	Listener *Listener
	Rule     *Rule
	Match    *Match // the match that won; nil: the rule matches everything
	Target   *Target
	Backend  *Backend
	// Grant that lets the caller in; nil where none is required.
	Grant *Grant
	// Filters of all levels that apply, merged and in order: guards of all levels, then Gateway, Backend, Route as
	// Translate sorted them.
	Filters []Filter
	// WantProof is the weakest proof accepted, with IdentityTooWeak.
	WantProof string
}

// Decide answers a query from the table alone. Pure; safe for concurrent use.
func (s *Snapshot) Decide(q Query) Decision { panic("todo") }
