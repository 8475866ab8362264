package route

import (
	"encoding/json"
	"time"
)

// Snapshot is everything a gateway serves at one moment. It is never changed after Compile; safe for concurrent use.
// The zero value serves nothing.
type Snapshot struct {
	Listeners []Listener `json:"listeners,omitempty"`
	Backends  []Backend  `json:"backends,omitempty"`
	Grants    []Grant    `json:"grants,omitempty"`
	Clusters  []Cluster  `json:"clusters,omitempty"`

	compiled *compiled
}

// Protocol of a listener.
type Protocol string

// The listener protocols.
const (
	ProtocolHTTP   Protocol = "HTTP"
	ProtocolHTTPS  Protocol = "HTTPS" // TLS is terminated here
	ProtocolTLS    Protocol = "TLS"   // raw streams by server name, of TLSRoutes
	ProtocolTunnel Protocol = "penstock.dev/Tunnel"
)

// Listener is one listener of one Gateway. Several listeners may share a port; the most specific Hostname wins and a
// request is never matched against the rules of another one (listener isolation, GEP-957).
type Listener struct {
	// Gateway is "namespace/name".
	Gateway  string   `json:"gateway"`
	Name     string   `json:"name"`
	Protocol Protocol `json:"protocol"`
	Port     int      `json:"port"`
	// Hostname is exact, "*.example.com", or empty for any. With TLS it is the server name too.
	Hostname string `json:"hostname,omitempty"`
	// TLS of listeners of protocol HTTPS and TLS; nil with all others.
	TLS   *ListenerTLS `json:"tls,omitempty"`
	Rules []Rule       `json:"rules,omitempty"`
}

// ListenerTLS is what a listener presents to clients, and asks of them.
type ListenerTLS struct {
	// Passthrough: the stream goes on as it came; nothing else of this struct is then set. Protocol TLS only.
	Passthrough bool `json:"passthrough,omitempty"`
	// Certificates are the key pairs, by name ("namespace/name"), that gateway.Keys returns; the client's server name
	// and abilities choose among them.
	Certificates []string `json:"certificates,omitempty"`
	// CertificateHash changes when one of the key pairs does.
	CertificateHash string `json:"certificateHash,omitempty"`
	// ClientCAs are PEM bundles that client certificates are checked against; empty: none is asked for (GEP-91).
	ClientCAs []string `json:"clientCAs,omitempty"`
	// ClientOptional: a client without certificate, or with one that is not good, is let in too (AllowInsecureFallback).
	// A certificate that was not verified proves nothing to anybody behind the listener.
	ClientOptional bool `json:"clientOptional,omitempty"`
}

// Ref names the object a rule comes from.
type Ref struct {
	// Kind is HTTPRoute, GRPCRoute or TLSRoute, or Alias and Implicit for rules that Translate adds.
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String is "Kind namespace/name".
func (r Ref) String() string { return r.Kind + " " + r.Namespace + "/" + r.Name }

// Rule is one rule of a route on one listener.
type Rule struct {
	Route Ref `json:"route"`
	// Name of the rule, or its index in the route.
	Name string `json:"name"`
	// Hostnames, exact or "*.example.com"; empty: any.
	Hostnames []string `json:"hostnames,omitempty"`
	// Namespaces of callers the rule is for; empty: any. Aliases use it: one name may mean two Backends in two namespaces.
	Namespaces []string `json:"namespaces,omitempty"`
	// Matches: one is enough; empty: every request.
	Matches  []Match  `json:"matches,omitempty"`
	Filters  []Filter `json:"filters,omitempty"`
	Targets  []Target `json:"targets,omitempty"`
	Timeouts Timeouts `json:"timeouts,omitzero"`
	Retry    *Retry   `json:"retry,omitempty"`
	// Created is the origin creation time of the route: the older wins a tie.
	Created time.Time `json:"created,omitzero"`
}

// PathType says how a path is compared.
type PathType string

// The path match types. Prefix compares whole segments. Path of a method match is the name of a gRPC method, of whatever
// service: it stands behind prefixes that name a service (GRPCRouteRule: the longer service name goes first).
const (
	PathExact  PathType = "Exact"
	PathPrefix PathType = "PathPrefix"
	PathRegex  PathType = "RegularExpression"
	PathMethod PathType = "GRPCMethod"
)

// Match is a set of conditions that must all hold.
type Match struct {
	PathType PathType     `json:"pathType,omitempty"`
	Path     string       `json:"path,omitempty"`
	Method   string       `json:"method,omitempty"`
	Headers  []ValueMatch `json:"headers,omitempty"`
	Query    []ValueMatch `json:"query,omitempty"`
}

// ValueMatch compares one header or query parameter.
type ValueMatch struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// Regex: Value is an RE2 expression that must match the whole value.
	Regex bool `json:"regex,omitempty"`
}

// Target is a weighted way on from a rule.
type Target struct {
	// Weight relative to the sum of the rule's weights; 0 takes no traffic.
	Weight int `json:"weight"`
	// Backend is a Backend.Key of this snapshot; empty with Invalid and with Redirect.
	Backend string   `json:"backend,omitempty"`
	Filters []Filter `json:"filters,omitempty"`
	// Redirect answers here, without a Backend (HTTPRouteFilter RequestRedirect).
	Redirect *Redirect `json:"redirect,omitempty"`
	// Invalid is the reason why this share of requests answers 500 (Gateway API: an invalid backendRef).
	Invalid string `json:"invalid,omitempty"`
}

// Redirect is where a client is sent. Empty fields keep what the request has. At most one of the path fields is set.
type Redirect struct {
	Scheme   string `json:"scheme,omitempty"` // http or https
	Hostname string `json:"hostname,omitempty"`
	// FullPath replaces the whole path, PrefixPath the matched prefix.
	FullPath   *string `json:"fullPath,omitempty"`
	PrefixPath *string `json:"prefixPath,omitempty"`
	// Port; 0: with a Scheme its well-known one, else the listener's. A scheme's own port is not written.
	Port       int `json:"port,omitempty"`
	StatusCode int `json:"statusCode"` // 301, 302, 303, 307 or 308
}

// Timeouts of a rule. Nil: unset; 0: no limit.
type Timeouts struct {
	Request        *time.Duration `json:"request,omitempty"`
	BackendRequest *time.Duration `json:"backendRequest,omitempty"`
}

// Retry of a rule (GEP-1731). Only the terminal gateway repeats; at a spoke it lowers the attempts that travel along.
type Retry struct {
	// Codes beside the default classes.
	Codes []int `json:"codes,omitempty"`
	// Attempts counts retries, not tries (GEP-1731).
	Attempts int           `json:"attempts"`
	Backoff  time.Duration `json:"backoff,omitempty"`
}

// Phase is the point where a filter runs.
type Phase string

// The phases: request and response phases once per request, backend phases per attempt.
const (
	PhaseRequestHeaders  Phase = "request-headers"
	PhaseBackendRequest  Phase = "backend-request"
	PhaseBackendResponse Phase = "backend-response"
	PhaseResponseHeaders Phase = "response-headers"
)

// Filter is one step. At most one of Headers, Rewrite, Mirror, CORS, Guard and Config is set.
type Filter struct {
	Name string `json:"name,omitempty"`
	// Type is a FilterDefinition's type; the Gateway API filters are compiled to the built-in types below.
	Type     string `json:"type"`
	Phase    Phase  `json:"phase"`
	Priority int    `json:"priority,omitempty"`
	FailOpen bool   `json:"failOpen,omitempty"`
	// From names the object that brought the filter, for explain: "EgressPolicy billing/no-trace".
	From    string          `json:"from,omitempty"`
	Headers *HeaderModifier `json:"headers,omitempty"`
	Rewrite *URLRewrite     `json:"rewrite,omitempty"`
	Mirror  *Mirror         `json:"mirror,omitempty"`
	CORS    *CORS           `json:"cors,omitempty"`
	Guard   *RequestGuard   `json:"guard,omitempty"`
	Config  json.RawMessage `json:"config,omitempty"`
}

// The built-in filter types.
const (
	FilterHeaderModifier     = "penstock.dev/HeaderModifier:v1"
	FilterURLRewrite         = "penstock.dev/URLRewrite:v1"
	FilterRequestMirror      = "penstock.dev/RequestMirror:v1"
	FilterCORS               = "penstock.dev/CORS:v1"
	FilterRequestGuard       = "penstock.dev/RequestGuard:v1"
	FilterCredentialInjector = "penstock.dev/CredentialInjector:v1"
)

// HeaderModifier changes headers: set, then add, then remove.
type HeaderModifier struct {
	Set    []Header `json:"set,omitempty"`
	Add    []Header `json:"add,omitempty"`
	Remove []string `json:"remove,omitempty"`
}

// Header is a name and a value.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// URLRewrite changes host and path of the request that goes on. At most one of the path fields is set.
type URLRewrite struct {
	Hostname string `json:"hostname,omitempty"`
	// FullPath replaces the whole path.
	FullPath *string `json:"fullPath,omitempty"`
	// PrefixPath replaces the matched prefix.
	PrefixPath *string `json:"prefixPath,omitempty"`
}

// Mirror sends copies of a share of the requests to another Backend; its answers are thrown away (HTTPRequestMirrorFilter).
// Translate refuses one whose Backend has a credential, unless its owner accepts copies. A copy is made before any
// credential is written, so that none is ever carried over from the request itself.
type Mirror struct {
	// Backend is a Backend.Key of this snapshot.
	Backend string `json:"backend"`
	// Numerator of Denominator requests are copied; the denominator is above 0.
	Numerator   int `json:"numerator"`
	Denominator int `json:"denominator"`
}

// CORS answers preflights here and marks answers for browsers (HTTPCORSFilter, GEP-1767; the Fetch standard).
type CORS struct {
	// AllowOrigins: exact, with "*" for any, or "https://*.example.com".
	AllowOrigins     []string `json:"allowOrigins,omitempty"`
	AllowCredentials bool     `json:"allowCredentials,omitempty"`
	AllowMethods     []string `json:"allowMethods,omitempty"`
	AllowHeaders     []string `json:"allowHeaders,omitempty"`
	ExposeHeaders    []string `json:"exposeHeaders,omitempty"`
	// MaxAgeSeconds a preflight's answer may be kept.
	MaxAgeSeconds int `json:"maxAgeSeconds,omitempty"`
}

// RequestGuard refuses requests: a denial at any level wins.
type RequestGuard struct {
	// AllowMethods: if set, other methods are refused.
	AllowMethods []string `json:"allowMethods,omitempty"`
	// AllowPaths: if set, a path that has none of these as whole-segment prefix is refused.
	AllowPaths []string `json:"allowPaths,omitempty"`
	// DenyPaths are refused, whole-segment prefixes.
	DenyPaths []string `json:"denyPaths,omitempty"`
}

// Via says how a Backend is reached.
type Via string

// Parent hands the request to the hub; Endpoint dials the destination by its name; Service dials one of the Endpoints of
// a Service of the own cluster, in both modes, outside the address guard (DESIGN, How a request is addressed).
const (
	ViaParent   Via = "parent"
	ViaEndpoint Via = "endpoint"
	ViaService  Via = "service"
)

// Backend is a destination as the data plane needs it.
type Backend struct {
	// Key is "namespace/name" of the catalog entry, or "namespace/name:port" of a Service, with "@gateway-namespace/name"
	// behind it where the settings depend on the Gateway.
	Key string `json:"key"`
	Via Via    `json:"via"`
	// Authority the next hop sees as Host: "<name>.<namespace>.svc.clusterset.local" through a parent, the external
	// hostname (with port unless it is the scheme's own) at an endpoint. Empty with a Service: it sees the Host that the
	// workload wrote.
	Authority string `json:"authority,omitempty"`
	Hostname  string `json:"hostname,omitempty"`
	Port      int    `json:"port,omitempty"`
	// Endpoints of a Service, "ip:port", sorted; none: nothing is ready, which answers 503.
	Endpoints []string `json:"endpoints,omitempty"`
	// Protocol: "" (ALPN decides), HTTP, HTTP11, HTTP2, H2C, GRPC, MCP.
	Protocol string `json:"protocol,omitempty"`
	TLS      *TLS   `json:"tls,omitempty"`
	// Filters of the Backend, all phases, in order.
	Filters []Filter `json:"filters,omitempty"`
	// Credential is "namespace/name" of the Credential written last; empty: none.
	Credential string `json:"credential,omitempty"`
	// GrantRequired: only subjects that a Grant names may use it. Always true at a hub.
	GrantRequired bool `json:"grantRequired,omitempty"`
	// MinIdentity: ip, token or spiffe. With empty and a Credential, token (ip where the cluster's source IPs are trusted).
	MinIdentity string `json:"minIdentity,omitempty"`
	// AllowedCIDRs opens private ranges.
	AllowedCIDRs    []string        `json:"allowedCIDRs,omitempty"`
	Timeouts        BackendTimeouts `json:"timeouts,omitzero"`
	Limits          Limits          `json:"limits,omitzero"`
	CDNLoopDisabled bool            `json:"cdnLoopDisabled,omitempty"`
	AllowReentry    int             `json:"allowReentry,omitempty"`
	// IdempotencyKeys: the destination honours Idempotency-Key.
	IdempotencyKeys bool  `json:"idempotencyKeys,omitempty"`
	RetryPostOn     []int `json:"retryPostOn,omitempty"`
	// MirrorsRefused: no copies of requests may be sent here, since there is a credential that its owner does not lend to
	// copies.
	MirrorsRefused bool `json:"mirrorsRefused,omitempty"`
	// RetryBudget of an XBackendTrafficPolicy; nil: the bounds of HOPS-AND-RETRIES B.2 alone.
	RetryBudget *RetryBudget `json:"retryBudget,omitempty"`
}

// RetryBudget bounds repeats (XBackendTrafficPolicy, GEP-3388). It only ever lowers what HOPS-AND-RETRIES B.2 allows.
type RetryBudget struct {
	// Percent of the requests of Interval that may be repeats.
	Percent  int           `json:"percent"`
	Interval time.Duration `json:"interval"`
}

// TLS to a destination.
type TLS struct {
	// ServerName is SNI, and the name checked unless SANs are given.
	ServerName string `json:"serverName"`
	// CAs are PEM bundles; empty: system roots.
	CAs []string `json:"cas,omitempty"`
	// DNSNames and URIs are subjectAltNames, one of which must be in the certificate.
	DNSNames []string `json:"dnsNames,omitempty"`
	URIs     []string `json:"uris,omitempty"`
	// ClientCertificate names the key pair ("namespace/name") that gateway.Keys returns; empty: none.
	ClientCertificate string `json:"clientCertificate,omitempty"`
	// ClientCertificateHash changes when the key pair does, so that connections are not shared across versions.
	ClientCertificateHash string `json:"clientCertificateHash,omitempty"`
}

// BackendTimeouts of one Backend; 0 means the default in brackets.
type BackendTimeouts struct {
	ResponseHeaders time.Duration `json:"responseHeaders,omitempty"` // [30s], at most 600s
	Connect         time.Duration `json:"connect,omitempty"`         // [5s]
	Idle            time.Duration `json:"idle,omitempty"`            // [5m]
}

// Limits of one Backend per replica; 0 means the default in brackets.
type Limits struct {
	MaxInFlight           int `json:"maxInFlight,omitempty"`           // [1024]
	MaxStreams            int `json:"maxStreams,omitempty"`            // [10000]
	MaxInFlightPerSubject int `json:"maxInFlightPerSubject,omitempty"` // [64]
	MaxStreamsPerSubject  int `json:"maxStreamsPerSubject,omitempty"`  // [1000]
}

// Grant says who may use Backends.
type Grant struct {
	// Name is "namespace/name".
	Name string `json:"name"`
	// Backends by Key, of the grant's namespace.
	Backends []string    `json:"backends"`
	From     []GrantFrom `json:"from"`
	Alias    string      `json:"alias,omitempty"`
}

// GrantFrom is a set of callers; all conditions must hold. Label selectors are resolved to names by Translate.
type GrantFrom struct {
	// AnyCluster: Clusters is not looked at. Without it an empty Clusters matches nobody.
	AnyCluster      bool     `json:"anyCluster,omitempty"`
	Clusters        []string `json:"clusters,omitempty"`
	Namespaces      []string `json:"namespaces,omitempty"`
	ServiceAccounts []string `json:"serviceAccounts,omitempty"`
}

// Cluster is what the hub must know of a registered cluster to judge its requests.
type Cluster struct {
	Name            string `json:"name"`
	Role            string `json:"role"`
	Suspended       bool   `json:"suspended,omitempty"`
	SourceIPTrusted bool   `json:"sourceIPTrusted,omitempty"`
}
