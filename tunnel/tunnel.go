package tunnel

// ALPN is the protocol version. Within it a meaning never changes.
const ALPN = "penstock/1"

// ControlAuthority is the authority of control requests; they are decided before all else and never forwarded.
const ControlAuthority = "hub.penstock.internal"

// Hub is one hub replica as it advertises itself.
type Hub struct {
	// Name of the replica: its instance id or host name, for status and logs. Unique among the hubs of a Client.
	Name string `json:"name"`
	// Address "host:port" (UDP).
	Address string `json:"address"`
	Zone    string `json:"zone,omitempty"`
}
