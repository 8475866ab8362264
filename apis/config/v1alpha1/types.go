package v1alpha1

// Version and kinds of the files.
const (
	APIVersion = "config.penstock.dev/v1alpha1"
	KindHub    = "HubConfig"
	KindSpoke  = "SpokeConfig"
)

// HubConfig configures a hub. Kind "HubConfig".
type HubConfig struct {
	APIVersion string `json:"apiVersion"` // config.penstock.dev/v1alpha1
	Kind       string `json:"kind"`

	// Name of this replica [host name].
	Name string `json:"name,omitempty"`
	// TrustDomain of all identities, for example "example.com".
	TrustDomain string `json:"trustDomain"`
	// StateDir holds what must survive a restart: instance id, embedded etcd, local keys.
	StateDir string `json:"stateDir"`
	// Manifests is a folder that is watched and applied by the elected replica; empty: none.
	Manifests string `json:"manifests,omitempty"`

	Catalog  CatalogConfig  `json:"catalog,omitzero"`
	Keyring  KeyringConfig  `json:"keyring,omitzero"`
	Tunnel   HubTunnel      `json:"tunnel,omitzero"`
	Join     JoinConfig     `json:"join,omitzero"`
	Admin    AdminConfig    `json:"admin,omitzero"`
	Bind     BindConfig     `json:"bind,omitzero"`
	Resolver ResolverConfig `json:"resolver,omitzero"`
	Limits   LimitsConfig   `json:"limits,omitzero"`
	Observe  ObserveConfig  `json:"observe,omitzero"`
}

// SpokeConfig configures a spoke. Kind "SpokeConfig".
type SpokeConfig struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`

	// Name of this process [host name].
	Name string `json:"name,omitempty"`
	// StateDir holds the key pair and the last certificate; its files are 0600.
	StateDir string `json:"stateDir"`
	// Manifests is the folder of Gateways, HTTPRoutes and Backends that is served.
	Manifests string `json:"manifests"`
	// Parent is the hub; nil: Endpoint Mode.
	Parent *ParentConfig `json:"parent,omitempty"`
	// Callers names the workloads of a standalone spoke.
	Callers []Caller `json:"callers,omitempty"`

	Bind     BindConfig     `json:"bind,omitzero"`
	Resolver ResolverConfig `json:"resolver,omitzero"`
	Limits   LimitsConfig   `json:"limits,omitzero"`
	Observe  ObserveConfig  `json:"observe,omitzero"`
}

// ParentConfig says how a spoke finds its hub.
type ParentConfig struct {
	// Bundle is the file with the join bundle; needed once.
	Bundle string `json:"bundle,omitempty"`
	// Hubs overrides the advertised tunnel addresses ("host:port").
	Hubs []string `json:"hubs,omitempty"`
	// Lanes are the QUIC connections per hub [1].
	Lanes int `json:"lanes,omitempty"`
}

// Caller maps a proof to a workload identity. Exactly one of TokenSHA256 and CIDRs is set.
type Caller struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
	// TokenSHA256 is the hex SHA-256 of a token that the workload sends (proof: token).
	TokenSHA256 string `json:"tokenSHA256,omitempty"`
	// CIDRs of source addresses (proof: ip).
	CIDRs []string `json:"cidrs,omitempty"`
}

// CatalogConfig says where the catalog is. Default: embedded.
type CatalogConfig struct {
	// Endpoints of an external etcd ("https://host:2379", "unix:///path"); empty: embedded.
	Endpoints []string `json:"endpoints,omitempty"`
	// TLS towards endpoints.
	CAFile   string `json:"caFile,omitempty"`
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
	// Prefix of all keys [/penstock/v1/].
	Prefix   string          `json:"prefix,omitempty"`
	Embedded *EmbeddedConfig `json:"embedded,omitempty"`
}

// EmbeddedConfig of the embedded etcd.
type EmbeddedConfig struct {
	// ListenClient lets further replicas on this host join: "unix:///path/to.sock", or "unix://state/etcd.sock" with a
	// path from this file's folder. Empty: no socket at all.
	ListenClient string `json:"listenClient,omitempty"`
}

// KeyringConfig is the local key ring that seals credential material and the CA key.
type KeyringConfig struct {
	// File with the key-encryption keys, 0600; made on first start [<stateDir>/keyring.json]. Replicas share it.
	File string `json:"file,omitempty"`
}

// HubTunnel is the tunnel listener.
type HubTunnel struct {
	// Advertise is the address that spokes dial ("host:port"), one for now; default: the listener's address and bound port.
	Advertise []string `json:"advertise,omitempty"`
	Zone      string   `json:"zone,omitempty"`
	// DrainTime is the hard deadline of a drain [30s].
	DrainTime Duration `json:"drainTime,omitzero"`
}

// JoinConfig is the HTTPS join endpoint and the certificates it gives.
type JoinConfig struct {
	// Address to listen on ["0.0.0.0:8443"]; port 0: any.
	Address string `json:"address,omitempty"`
	// Advertise in join bundles ("https://host:port"); default: the bound address.
	Advertise []string `json:"advertise,omitempty"`
	// CertificateLife [1h]; RecoverWindow after expiry [168h].
	CertificateLife Duration `json:"certificateLife,omitzero"`
	RecoverWindow   Duration `json:"recoverWindow,omitzero"`
}

// AdminConfig is the admin API.
type AdminConfig struct {
	// Socket is the unix socket, mode 0600 [<stateDir>/admin.sock].
	Socket string `json:"socket,omitempty"`
	// Address for remote use over TLS; empty: off.
	Address string `json:"address,omitempty"`
	// Tokens are hashed bearer tokens for Address.
	Tokens []AdminToken `json:"tokens,omitempty"`
	// ClientCAFile lets client certificates of this CA in on Address, if Clients names them.
	ClientCAFile string        `json:"clientCAFile,omitempty"`
	Clients      []AdminClient `json:"clients,omitempty"`
	// AuditFile is where all writes are recorded [<stateDir>/audit.jsonl].
	AuditFile string `json:"auditFile,omitempty"`
}

// Roles of administrators.
const (
	RolePlatformAdmin = "platform-admin" // everything
	RoleTeamAdmin     = "team-admin"     // objects and credentials of its namespaces
	RoleAuditor       = "auditor"        // reads everything that may be shown
)

// AdminClient is one administrator with a client certificate.
type AdminClient struct {
	// Name is the common name of the certificate's subject, or a URI of its subject alternative names.
	Name string `json:"name"`
	Role string `json:"role"`
	// Namespaces of a team-admin.
	Namespaces []string `json:"namespaces,omitempty"`
}

// AdminToken is one remote administrator.
type AdminToken struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Role   string `json:"role"`
	// Namespaces of a team-admin.
	Namespaces []string `json:"namespaces,omitempty"`
}

// BindConfig maps listener ports of Gateways to sockets.
type BindConfig struct {
	// Address all listeners bind to ["127.0.0.1"].
	Address string `json:"address,omitempty"`
	// Ports maps a listener's port to the one bound; 0: any free one, shown in status.
	Ports map[string]int `json:"ports,omitempty"`
}

// ResolverConfig of names outside.
type ResolverConfig struct {
	Servers []string `json:"servers,omitempty"`
	// Hosts are static answers.
	Hosts map[string][]string `json:"hosts,omitempty"`
}

// LimitsConfig are this gateway's maxima. Zero fields mean the default in brackets.
type LimitsConfig struct {
	Hops     int `json:"hops,omitempty"`     // [4], at most 8
	Attempts int `json:"attempts,omitempty"` // [3], at most 5
	// ResponseHeaders is Tmax [30s], at most 600s.
	ResponseHeaders Duration `json:"responseHeaders,omitzero"`
	// HeaderBytes of one head [65536], HeaderFields in it [256], URIBytes of its target [16384].
	HeaderBytes  int `json:"headerBytes,omitempty"`
	HeaderFields int `json:"headerFields,omitempty"`
	URIBytes     int `json:"uriBytes,omitempty"`
	// RequestMiB of content that one request may have [0: any amount].
	RequestMiB int `json:"requestMiB,omitempty"`
	// Connections at one listener [16384], and those of one client address among them [4096].
	Connections       int `json:"connections,omitempty"`
	ClientConnections int `json:"clientConnections,omitempty"`
	// ConnectionStreams is how many requests one HTTP/2 connection may have under way [250].
	ConnectionStreams int `json:"connectionStreams,omitempty"`
	// HeadTime is how long a client may take for a head, and for a handshake [10s]; BodyIdle how long for the next bytes of
	// a body before it was answered [1m]; WriteIdle how long to take the next bytes of an answer [1m].
	HeadTime  Duration `json:"headTime,omitzero"`
	BodyIdle  Duration `json:"bodyIdle,omitzero"`
	WriteIdle Duration `json:"writeIdle,omitzero"`
	// ConnectionIdle closes a connection without requests [2m]; StreamIdle a TLS stream in which no byte moves [10m].
	ConnectionIdle Duration `json:"connectionIdle,omitzero"`
	StreamIdle     Duration `json:"streamIdle,omitzero"`
}

// ObserveConfig is what operators see. Empty addresses: off.
type ObserveConfig struct {
	Metrics string `json:"metrics,omitempty"` // "127.0.0.1:9090": /metrics
	Health  string `json:"health,omitempty"`  // "127.0.0.1:8081": /healthz /readyz
	Pprof   string `json:"pprof,omitempty"`   // loopback only
	// LogLevel: debug, info, warn, error [info].
	LogLevel string `json:"logLevel,omitempty"`
	// AccessLog: stdout, off, or a file [stdout].
	AccessLog string `json:"accessLog,omitempty"`
}
