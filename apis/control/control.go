// Package control holds the messages between a spoke and its hub: join, renew, hello, watch, report. They are JSON over
// HTTP; join goes to the hub's HTTPS join endpoint, all else to hub.penstock.internal inside a tunnel, where the
// identity is the certificate alone.
//
// An unknown member is ignored by a reader, so that an old reader understands a newer writer; a meaning never changes.
//
//	POST /v1/join    JoinRequest    -> Certificate        (TLS, join endpoint; token in the body, single use)
//	POST /v1/recover RecoverRequest -> Certificate        (TLS, join endpoint; expired, unrevoked certificate)
//	GET  /v1/hello                  -> Hello              (tunnel; the first exchange of each connection)
//	GET  /v1/watch?revision=N       -> stream of Event, one JSON value a line; N is the view held, which a hub need
//	                                   not send again. It does today: the first view of a watch is always whole
//	POST /v1/renew   RenewRequest   -> Certificate
//	POST /v1/report  Report         -> 204
package control

import "time"

// Paths of the control API.
const (
	PathJoin    = "/v1/join"
	PathRecover = "/v1/recover"
	PathHello   = "/v1/hello"
	PathWatch   = "/v1/watch"
	PathRenew   = "/v1/renew"
	PathReport  = "/v1/report"
)

// Bundle is what `penstock cluster register` prints and a spoke joins with. Token makes it a secret until it is used.
type Bundle struct {
	APIVersion string `json:"apiVersion"` // penstock.dev/join/v1
	Cluster    string `json:"cluster"`
	Token      string `json:"token"`
	// Join are the HTTPS join endpoints, "https://host:port".
	Join []string `json:"join"`
	// CAPin is "sha256:<hex>" of the DER SubjectPublicKeyInfo of the hub's CA.
	CAPin string `json:"caPin"`
	// TrustDomain of the hub.
	TrustDomain string `json:"trustDomain"`
	// Expires is when the token stops working.
	Expires time.Time `json:"expires"`
}

// BundleVersion is Bundle.APIVersion.
const BundleVersion = "penstock.dev/join/v1"

// JoinRequest redeems a token for a first certificate.
type JoinRequest struct {
	Cluster string `json:"cluster"`
	Token   string `json:"token"`
	// CSR is a PKCS #10 request in PEM; only its public key is used, names in it are ignored.
	CSR string `json:"csr"`
	// Instance is the process's own id; it becomes the Subject serialNumber.
	Instance string `json:"instance"`
}

// RecoverRequest asks for a new certificate with an expired one.
type RecoverRequest struct {
	// Certificate is the expired certificate in PEM.
	Certificate string `json:"certificate"`
	CSR         string `json:"csr"`
	// Generation of the last certificate.
	Generation int64 `json:"generation"`
	// Signature by the expired certificate's key over SHA-256("penstock recover v1\n" + CSR), base64.
	Signature string `json:"signature"`
}

// RenewRequest asks for the next certificate over the tunnel.
type RenewRequest struct {
	CSR        string `json:"csr"`
	Generation int64  `json:"generation"`
}

// Certificate is what all three answer.
type Certificate struct {
	// Chain in PEM, leaf first.
	Chain string `json:"chain"`
	// Roots in PEM: whom to trust from now on.
	Roots string `json:"roots"`
	// Generation to send with the next renewal.
	Generation int64 `json:"generation"`
	// Hubs as advertised now.
	Hubs []Hub `json:"hubs"`
	// Pseudonym of this gateway group outside.
	Pseudonym string `json:"pseudonym"`
}

// Hub is one hub replica as advertised.
type Hub struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Zone    string `json:"zone,omitempty"`
}

// Hello answers the first exchange of a connection.
type Hello struct {
	// Name of the hub replica.
	Name string `json:"name"`
	// Group id of the hub, and the ids of it and its parents: a child that finds itself here must not become ready.
	Group     string   `json:"group"`
	Ancestors []string `json:"ancestors"`
	Version   string   `json:"version"`
}

// Event is one line of the watch.
type Event struct {
	// Type: view, hubs, drain, revoked, roots, ping.
	Type string `json:"type"`
	// Revision of the view, with view: the catalog revision it was made from.
	Revision int64 `json:"revision,omitempty"`
	// View is the whole view of this cluster, with view.
	View *View `json:"view,omitempty"`
	// Hubs as advertised now, with hubs.
	Hubs []Hub `json:"hubs,omitempty"`
	// Ancestors, with hubs.
	Ancestors []string `json:"ancestors,omitempty"`
	// Roots in PEM, with roots.
	Roots string `json:"roots,omitempty"`
}

// The event types. A ping comes every 10 s; a watch that is silent for 30 s is dead.
const (
	EventView    = "view"
	EventHubs    = "hubs"
	EventDrain   = "drain"
	EventRevoked = "revoked"
	EventRoots   = "roots"
	EventPing    = "ping"
)

// View is what one cluster gets to see of the catalog: only what is granted to it.
type View struct {
	Cluster string  `json:"cluster"`
	Entries []Entry `json:"entries"`
}

// Entry is one granted Backend.
type Entry struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Hostname and Port by which a claim finds its entry.
	Hostname string `json:"hostname"`
	Port     int    `json:"port"`
	Protocol string `json:"protocol,omitempty"`
	// TLSMode of the entry, so that a claim that disagrees can be refused.
	TLSMode string `json:"tlsMode,omitempty"`
	// Grants to this cluster.
	Grants []EntryGrant `json:"grants"`
	// ResponseHeaders is the entry's own time to response headers in milliseconds; 0: the default.
	ResponseHeadersMillis int64 `json:"responseHeadersMillis,omitempty"`
	// MirrorsRefused: no copies of requests may be sent here, since the entry has a credential that its owner does not
	// lend to copies.
	MirrorsRefused bool `json:"mirrorsRefused,omitempty"`
}

// EntryGrant is one way in.
type EntryGrant struct {
	Alias string `json:"alias"`
	// Namespaces; empty: any.
	Namespaces []string `json:"namespaces,omitempty"`
	// ServiceAccounts; empty: any.
	ServiceAccounts []string `json:"serviceAccounts,omitempty"`
}

// Report is what a spoke tells the hub every 10 s and on change.
type Report struct {
	Instance string `json:"instance"`
	Version  string `json:"version"`
	// Revision of the view that is served: the acknowledgement that Programmed waits for.
	Revision int64 `json:"revision"`
	// Generation of the certificate in use, and when it ends.
	Generation int64     `json:"generation"`
	NotAfter   time.Time `json:"notAfter"`
	// Refusals made at the spoke since the last report, at most 1000.
	Refusals []Refusal `json:"refusals,omitempty"`
}

// Refusal is why a request was refused; `penstock why` shows it.
type Refusal struct {
	RequestID      string    `json:"requestId"`
	Time           time.Time `json:"time"`
	Gateway        string    `json:"gateway"`
	Cluster        string    `json:"cluster,omitempty"`
	Namespace      string    `json:"namespace,omitempty"`
	ServiceAccount string    `json:"serviceAccount,omitempty"`
	Proof          string    `json:"proof,omitempty"`
	Method         string    `json:"method"`
	Host           string    `json:"host"`
	Path           string    `json:"path"` // without query
	Route          string    `json:"route,omitempty"`
	Backend        string    `json:"backend,omitempty"`
	Status         int       `json:"status"`
	Reason         string    `json:"reason"`
	// Detail is the cause in full, Remedy what to change.
	Detail string `json:"detail,omitempty"`
	Remedy string `json:"remedy,omitempty"`
}
