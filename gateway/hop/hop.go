package hop

import (
	"net/http"
	"time"
)

// Self is the gateway a request is at.
type Self struct {
	// Group id: shared by all replicas of a gateway, 128 random bits in hex, the id of all loop checks.
	Group string
	// Instance of this process; no loop check uses it.
	Instance string
	// Pseudonym stands for the group outside: in CDN-Loop, Via and Proxy-Status.
	Pseudonym string
	// Keys of the trust domain, held by hubs alone; nil at a spoke, which then sends its pseudonym without MAC.
	Keys *Keys
}

// Limits are this gateway's maxima; what a peer sends is clamped to them. Zero fields mean the defaults of
// HOPS-AND-RETRIES: 4 hops, 3 attempts, 30 s.
type Limits struct {
	Hops     int
	Attempts int
	Headers  time.Duration // Tmax: the longest time to response headers granted to any request
}

// Entry is one gateway on a path.
type Entry struct {
	Group    string
	Instance string
}

// Budget only goes down on the way.
type Budget struct {
	Hops     int           // h
	Attempts int           // a
	Headers  time.Duration // t: until response headers; whole milliseconds on the wire
	Stream   time.Duration // s: the whole exchange; 0: no limit
}

// Proof is how a spoke proved a workload's identity; a stronger one meets a weaker demand.
type Proof string

// The proofs, weakest first; "" is none.
const (
	ProofNone   Proof = ""
	ProofIP     Proof = "ip"
	ProofToken  Proof = "token"
	ProofSPIFFE Proof = "spiffe"
)

// Meets reports whether p is at least as strong as want.
func (p Proof) Meets(want Proof) bool { panic("todo") }

// Subject is a workload as a spoke proved it. Cluster is filled from the peer's certificate, never from a spoke's header.
type Subject struct {
	Cluster        string
	Namespace      string
	ServiceAccount string
	Pod            string
	Proof          Proof
}

// Tags are what travels with a request: the content of the Penstock-* request headers.
type Tags struct {
	Path      []Entry
	Budget    Budget
	RequestID string
	Subject   Subject
}

// Kind of a refusal: the details parameter of Proxy-Status.
type Kind string

// The kinds of refusal. The first four are loops and answer 508.
const (
	LoopPath     Kind = "path"
	LoopHops     Kind = "hops"
	LoopExternal Kind = "external"
	LoopSelfDial Kind = "self-dial"
	Malformed    Kind = "malformed"     // 400
	Nominated    Kind = "reserved-name" // 400: Connection nominates a reserved name, or an underscore twin
	Forged       Kind = "hop-forged"    // 403: the last path entry is not the peer
	Deadline     Kind = "deadline"      // 504: nothing left of t
	ReservedHost Kind = "reserved-host" // 403: authority under penstock.internal from a workload
)

// Refusal ends a request. It is an error; use errors.As.
type Refusal struct {
	Kind   Kind
	Reason string // for our log: may name ids; never sent to a workload
}

func (r *Refusal) Error() string { return "hop: " + string(r.Kind) + ": " + r.Reason }

// Loop reports whether the refusal is a loop.
func (r *Refusal) Loop() bool { panic("todo") }

// FromWorkload begins a request from an untrusted listener: reserved names are deleted from h (and their number
// returned), a nomination or underscore twin is refused, CDN-Loop is evaluated. The tags start with h=H, a=A, t=T of
// the limits and a fresh request id; the caller lowers them to the rule's.
//
// h must be the raw header block, before any Connection handling.
func FromWorkload(h http.Header, host string, self Self, lim Limits) (tags Tags, stripped int, err error) {
	panic("todo")
}

// FromPeer continues a request from a tunnel whose peer proved to be group of cluster (role spoke: a `cl` member is
// refused). Penstock-* are required, parsed, clamped to lim and removed from h; own group in the path or in CDN-Loop is
// a loop.
func FromPeer(h http.Header, group, cluster string, self Self, lim Limits) (Tags, error) {
	panic("todo")
}

// Forward is the tags for the next tunnel hop: self appended, one hop less, elapsed and 2 ms subtracted from t (and
// elapsed from s). Nothing left: LoopHops or Deadline.
func (t Tags) Forward(self Self, elapsed time.Duration) (Tags, error) { panic("todo") }

// Write sets the Penstock-* headers and Via on the outbound request of a tunnel.
func (t Tags) Write(h http.Header, self Self) { panic("todo") }

// WriteOutside appends the CDN-Loop tag to the request that leaves the trust domain, last of all. now is for expiry.
func (t Tags) WriteOutside(h http.Header, self Self, now time.Time) { panic("todo") }

// CleanOutside deletes from an external response every Penstock-* header and every Proxy-Status member that uses a
// pseudonym of ours, so that an upstream cannot steer spokes.
func CleanOutside(h http.Header, self Self) { panic("todo") }

// Counts is Penstock-Attempts: what was used below, summed on the way up.
type Counts struct {
	Attempts int // n
	Connects int // c
}

// TakeResponse removes and returns the Penstock-* response headers of a parent: counts and the not-processed verdict
// ("", "overload" or "rejected").
func TakeResponse(h http.Header) (c Counts, notProcessed string) { panic("todo") }

// Write sets Penstock-Attempts on a response towards a tunnel peer.
func (c Counts) Write(h http.Header) { panic("todo") }

// SetNotProcessed marks a response as refused before routing ("overload").
func SetNotProcessed(h http.Header, verdict string) { panic("todo") }

// Keys are the trust domain's keys: pseudonyms and the CDN-Loop MAC, current and previous. Safe for concurrent use once
// made. It prints as [redacted].
type Keys struct {
	domain            []byte
	current, previous []byte
}

// NewKeys makes Keys of a domain key (pseudonyms) and the current and previous daily MAC keys (previous may be nil).
func NewKeys(domain, current, previous []byte) *Keys { panic("todo") }

// Pseudonym of a group id: HMAC-SHA256 cut to 80 bits, as lower-case base32.
func (k *Keys) Pseudonym(group string) string { panic("todo") }
