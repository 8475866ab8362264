package hop

import "fmt"

// Kind of a refusal: the details parameter of Proxy-Status.
type Kind string

// The kinds of refusal. The first four are loops and answer 508 with proxy_loop_detected (RFC 9209 §2.3.14 recommends 502,
// which clients repeat).
const (
	LoopPath     Kind = "path"
	LoopHops     Kind = "hops"
	LoopExternal Kind = "external"
	LoopSelfDial Kind = "self-dial"
	Malformed    Kind = "malformed"          // 400
	Nominated    Kind = "reserved-name"      // 400: Connection nominates a reserved name, or an underscore twin
	Forged       Kind = "hop-forged"         // 403: the last path entry is not the peer
	NotVouched   Kind = "origin-not-vouched" // 403: the hub may not vouch for the cluster it names
	Deadline     Kind = "deadline"           // 504: nothing left of t or s
	ReservedHost Kind = "reserved-host"      // 403: authority under penstock.internal from a workload
)

// Refusal ends a request. It is an error; use errors.As.
type Refusal struct {
	Kind   Kind
	Reason string // for our log: may name ids; never sent to a workload
	// CDNLoopForged, with LoopExternal: our own pseudonym came without a good MAC, so that anybody may have written it.
	// The refusal is the same, the event's reason is CDNLoopForged, and nobody is called out of bed.
	CDNLoopForged bool
}

func (r *Refusal) Error() string { return "hop: " + string(r.Kind) + ": " + r.Reason }

// Loop reports whether the refusal is a loop. No gateway repeats a request that was refused so.
func (r *Refusal) Loop() bool {
	switch r.Kind {
	case LoopPath, LoopHops, LoopExternal, LoopSelfDial:
		return true
	}
	return false
}

func refuse(k Kind, format string, args ...any) *Refusal {
	return &Refusal{Kind: k, Reason: fmt.Sprintf(format, args...)}
}
