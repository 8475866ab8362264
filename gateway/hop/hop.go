package hop

import "time"

// Self is the gateway a request is at. A new Self is made when keys rotate; the zero value is not usable.
type Self struct {
	// Group id: shared by all replicas of a gateway, 128 random bits in hex, the id of all loop checks.
	Group string
	// Instance of this process; no loop check uses it.
	Instance string
	// Pseudonym stands for the group outside: in CDN-Loop, Via and Proxy-Status. From Keys.Pseudonym, or
	// GroupPseudonym at a spoke without a hub.
	Pseudonym string
	// Keys of the trust domain, held by hubs alone; nil at a spoke, which then sends its pseudonym without MAC.
	Keys *Keys
}

// Defaults and hard caps of HOPS-AND-RETRIES.
const (
	defaultHops, maxHops         = 4, 8
	defaultAttempts, maxAttempts = 3, 5
	defaultHeaders, maxHeaders   = 30 * time.Second, 600 * time.Second
)

// Limits are this gateway's maxima; what a peer sends is clamped to them. Zero fields mean the defaults of
// HOPS-AND-RETRIES: 4 hops, 3 attempts, 30 s; its hard caps (8, 5, 600 s) hold whatever is asked for.
type Limits struct {
	Hops     int
	Attempts int
	Headers  time.Duration // Tmax: the longest time to response headers granted to any request
}

func (l Limits) withDefaults() Limits {
	if l.Hops <= 0 {
		l.Hops = defaultHops
	}
	if l.Attempts <= 0 {
		l.Attempts = defaultAttempts
	}
	if l.Headers <= 0 {
		l.Headers = defaultHeaders
	}
	return Limits{min(l.Hops, maxHops), min(l.Attempts, maxAttempts), min(l.Headers, maxHeaders)}
}

// Tags are what travels with a request: the content of the Penstock-* request headers, and what came in CDN-Loop. A
// value; Forward returns a new one and shares nothing that is written.
type Tags struct {
	Path      []Entry
	Budget    Budget
	RequestID string
	Subject   Subject
	// CDNLoop are the lines of CDN-Loop as received. Write and WriteOutside take them from here, so that no filter in
	// between can touch them.
	CDNLoop []string
	// Via are the lines that the gateways on the path appended to Via, one each. They were cut off the header, since
	// they stay inside tunnels; Write puts them back.
	Via []string
	// OwnSeen counts own occurrences in CDN-Loop whose MAC is good. See Admit.
	OwnSeen int
	// Unknown counts the Penstock-* headers of a peer that this version does not know; they were dropped.
	Unknown int
}

// Admit is the part of the loop check that needs the Backend, and must be called once it is known: it accepts as many
// own occurrences in CDN-Loop as the Backend allows (`egress.loop.allowReentry`: 0, or 1 for a service behind it that
// copies inbound headers onto its own calls) and is LoopExternal beyond that. Occurrences without a good MAC never get
// this far. Termination does not rest on it: the re-entered request carries the hops that were left.
func (t Tags) Admit(allowReentry int) error {
	if t.OwnSeen > allowReentry {
		return refuse(LoopExternal, "own pseudonym %d times in %s, %d allowed", t.OwnSeen, headerCDNLoop, allowReentry)
	}
	return nil
}
