package route

import (
	"net/http"
	"net/url"
)

// Query is a request as the table sees it.
type Query struct {
	// Port of the listener the request came in on; 0: any listener of Protocol.
	Port     int
	Protocol Protocol
	// Host without port, lower case, without a dot at the end. With ProtocolTLS the server name of the client's hello;
	// Path, Method, Header and Values are then empty.
	Host string
	// ServerName of the client's hello, in the form of Host, with ProtocolHTTPS; empty: it sent none.
	ServerName string
	// Path as it came, escaped and without query (url.URL.EscapedPath): Decide brings it into the form of CleanPath.
	Path   string
	Method string
	Header http.Header
	// Values of the query; may be nil if Snapshot.ReadsQuery is false.
	Values url.Values
	// The caller. Cluster is empty at a spoke.
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
	BadPath          Reason = "bad-path" // 400: CleanPath refused it
	NoListener       Reason = "no-listener"
	Misdirected      Reason = "misdirected" // 421: the connection belongs to another listener (RFC 9110 §15.5.20)
	NoRoute          Reason = "no-route"
	NoBackend        Reason = "no-backend"        // rule without usable target: 500 (Gateway API)
	NoEndpoints      Reason = "no-endpoints"      // a Service of which nothing is ready: 503 (Gateway API)
	NotGranted       Reason = "not-granted"       // also for an unknown Backend, so that existence does not leak (TH-I9)
	IdentityTooWeak  Reason = "identity-too-weak" // 401; says which proof is wanted
	ClusterSuspended Reason = "cluster-suspended" // 403
	RefusedByGuard   Reason = "refused-by-guard"  // 403
	UnknownFilter    Reason = "unknown-filter"    // 500, unless the filter may fail open
)

// Decision is the whole answer about a request before anything is sent.
type Decision struct {
	Reason   Reason
	Listener *Listener
	Rule     *Rule
	Match    *Match // the match that won; nil: the rule matches everything
	Target   *Target
	// Backend is nil with a target that redirects.
	Backend *Backend
	// Grant that lets the caller in; nil where none is required.
	Grant *Grant
	// Filters of all levels that apply, merged and in order: guards of all levels, then Gateway, Backend, Route as
	// Translate sorted them.
	Filters []Filter
	// WantProof is the weakest proof accepted, with IdentityTooWeak.
	WantProof string
	// Addressed is the key of the catalog entry that the host names and whose grant was asked for; empty when the host
	// names none, and then the grant is that of Backend.
	Addressed string
	// Filter that decided, with RefusedByGuard and UnknownFilter.
	Filter *Filter
	// Path of the request in clean form; the zero value with BadPath.
	Path Path
	// PathError says what is wrong with the path, with BadPath.
	PathError error
}

// Decide answers a query from the table alone. Pure; safe for concurrent use. A snapshot that is not compiled serves
// nothing.
//
// Order: path, listener, rule, target, grant, suspension, strength of identity, guards, unknown filters. The grant
// comes before all that tells something about a Backend, so that only a granted caller learns of it (TH-I9).
//
// Listeners: those of the protocol and port whose hostname fits best (exact, longest wildcard, any), and no others
// (listener isolation). Listeners of several Gateways with the same protocol, port and hostname share a socket here and
// are one table.
//
// Rules: most specific hostname; exact path, then regular expression (longest first), then longest prefix; a match with
// a method; more headers; more query parameters; the older route; namespace/name; the order in the route. Gateway API
// leaves the place of regular expressions open. They stand before prefixes because a rule for the prefix "/" would
// otherwise hide all of them.
func (s *Snapshot) Decide(q Query) Decision {
	path, err := CleanPath(q.Path)
	if err != nil {
		return Decision{Reason: BadPath, PathError: err}
	}
	d := Decision{Path: path}
	if s.compiled == nil {
		d.Reason = NoListener
		return d
	}
	return s.compiled.decide(&q, d)
}

func (c *compiled) decide(q *Query, d Decision) Decision {
	d.Reason = NoListener
	var e *entry
	if tables := c.tables[socket{q.Protocol, q.Port}]; tables != nil {
		for t := range tables.matching(q.Host) {
			if q.Protocol == ProtocolHTTPS && !tables.owns(t, q.ServerName) {
				// A connection is for the listener whose certificate it was shown; another one may ask for client
				// certificates that this connection never sent (GEP-3567).
				d.Reason, d.Listener = Misdirected, t.listener
				return d
			}
			d.Reason, d.Listener = NoRoute, t.listener
			e = t.find(q.Host, d.Path.String(), q)
			break // the most specific one only
		}
	}
	// Only inside a tunnel does a host name a catalog entry. There Translate lets a rule count only from the entry's
	// own namespace, so that the grant for the entry covers whatever the rule sends on to.
	if q.Protocol == ProtocolTunnel {
		d.Addressed = entryKey(q.Host)
	}
	if e == nil {
		return c.noRoute(q, d)
	}
	d.Listener, d.Rule, d.Match = e.listener, e.rule, e.match
	steps := e.steps.pick(q.Draw)
	if steps != nil {
		d.Target, d.Backend, d.Filters = steps.target, steps.backend, steps.filters
	}
	return c.judge(q, d, steps)
}

// redirects reports whether the target answers without a Backend.
func (d *Decision) redirects() bool { return d.Target != nil && d.Target.Redirect != nil }

// noRoute answers a caller without grant for the addressed entry as if there were a route: 403 and 404 must look the
// same to it (TH-I9).
func (c *compiled) noRoute(q *Query, d Decision) Decision {
	if q.Protocol == ProtocolTunnel {
		if d.Grant = c.grant(d.Addressed, q); d.Grant == nil {
			return Decision{Reason: NotGranted, Addressed: d.Addressed, Path: d.Path}
		}
	}
	return d
}

// judge says whether the caller may have what the rule leads to.
func (c *compiled) judge(q *Query, d Decision, steps *targetSteps) Decision {
	refuse := func(r Reason) Decision {
		d.Reason = r
		return d
	}
	key, required := d.Addressed, true
	if key == "" && d.Backend != nil {
		key, required = d.Backend.Key, d.Backend.GrantRequired
	} else if entry := c.backends[key]; entry != nil {
		required = entry.GrantRequired
	}
	if key == "" && !d.redirects() {
		return refuse(NoBackend)
	}
	if required && key != "" {
		if d.Grant = c.grant(key, q); d.Grant == nil {
			return Decision{Reason: NotGranted, Listener: d.Listener, Rule: d.Rule, Match: d.Match, Target: d.Target, Backend: d.Backend, Addressed: d.Addressed, Path: d.Path}
		}
	}
	if cl := c.clusters[q.Cluster]; q.Cluster != "" && cl != nil && cl.Suspended {
		return refuse(ClusterSuspended)
	}
	if d.Backend == nil && !d.redirects() {
		return refuse(NoBackend)
	}
	want := ""
	if d.Backend != nil {
		want = c.wantProof(d.Backend, q.Cluster)
	}
	if entry := c.backends[d.Addressed]; entry != nil {
		want = stronger(want, c.wantProof(entry, q.Cluster))
	}
	if !meets(q.Proof, want) {
		d.WantProof = want
		return refuse(IdentityTooWeak)
	}
	for i := range steps.guards {
		if !steps.guards[i].permits(q.Method, d.Path) {
			d.Filter = steps.guards[i].filter
			return refuse(RefusedByGuard)
		}
	}
	if steps.unknown != nil {
		d.Filter = steps.unknown
		return refuse(UnknownFilter)
	}
	if d.Backend != nil && d.Backend.Via == ViaService && len(d.Backend.Endpoints) == 0 {
		return refuse(NoEndpoints)
	}
	return refuse(None)
}
