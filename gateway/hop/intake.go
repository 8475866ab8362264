package hop

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// FromWorkload begins a request from an untrusted listener: reserved names are deleted from h (and their number
// returned), a nomination or underscore twin is refused, CDN-Loop is evaluated. The tags start with h=H, a=A, t=T of
// the limits and a fresh request id; the caller lowers them to the rule's.
//
// h must be the raw header block, before any Connection handling. Errors are *Refusal; the tags then hold the request
// id for the answer and nothing else of use. Admit must follow once the Backend is known.
func FromWorkload(h http.Header, host string, self Self, lim Limits) (tags Tags, stripped int, err error) {
	lim = lim.withDefaults()
	tags = Tags{
		RequestID: NewRequestID(),
		Budget:    Budget{Hops: lim.Hops, Attempts: lim.Attempts, Headers: lim.Headers},
	}
	err = checkNames(h)
	stripped = StripTags(h)
	if err != nil {
		return tags, stripped, err
	}
	if ReservedAuthority(host) {
		return tags, stripped, refuse(ReservedHost, "authority %q from a workload", host)
	}
	return tags, stripped, tags.evaluate(h, self)
}

// FromPeer continues a request from a tunnel whose peer, a spoke, proved to be group of cluster: that is the subject's
// cluster, and a `cl` member is refused. Penstock-* are required (but for Penstock-Subject: without it the workload is
// nobody), parsed, clamped to lim and removed from h; own group in the path or in CDN-Loop is a loop.
//
// h must be the raw header block. Errors are *Refusal; the tags then hold a request id for the answer. Admit must follow
// once the Backend is known.
func FromPeer(h http.Header, group, cluster string, self Self, lim Limits) (Tags, error) {
	return fromPeer(h, group, self, lim, func(s *Subject, named bool) error {
		if named {
			return refuse(Malformed, "%s: a spoke names a cluster", headerSubject)
		}
		s.Cluster = cluster
		return nil
	})
}

// FromHub is FromPeer for a peer registered as a hub, which must say in `cl` what cluster a subject is of; vouches
// answers whether this hub may (Cluster.spec.vouchesFor). If not: NotVouched.
func FromHub(h http.Header, group string, vouches func(cluster string) bool, self Self, lim Limits) (Tags, error) {
	return fromPeer(h, group, self, lim, func(s *Subject, named bool) error {
		switch {
		case *s == Subject{}:
			return nil
		case !named:
			return refuse(Malformed, "%s: a hub names no cluster", headerSubject)
		case !vouches(s.Cluster):
			return refuse(NotVouched, "hub %s names cluster %q", group, s.Cluster)
		}
		return nil
	})
}

// CheckControl refuses a control request that carries tags: its identity is the certificate alone, and a gateway that
// tags it takes it for one to forward.
func CheckControl(h http.Header) error {
	for name := range h {
		if k := classify(name); k == tag || k == twin {
			return refuse(Malformed, "control request with %q", name)
		}
	}
	return nil
}

func fromPeer(h http.Header, group string, self Self, lim Limits, origin func(*Subject, bool) error) (Tags, error) {
	tags, err := takeTags(h, lim.withDefaults(), origin)
	if tags.RequestID == "" {
		tags.RequestID = NewRequestID()
	}
	if err != nil {
		return tags, err
	}
	if last := tags.Path[len(tags.Path)-1].Group; last != group {
		return tags, refuse(Forged, "the path ends with %q, the peer is %q", last, group)
	}
	if onPath(tags.Path, self.Group) {
		return tags, refuse(LoopPath, "own group in %s", formatPath(tags.Path))
	}
	tags.cutVia(h)
	if tags.Budget.Headers < time.Millisecond {
		return tags, refuse(Deadline, "%s came with nothing left of t", headerBudget)
	}
	return tags, tags.evaluate(h, self)
}

// takeTags parses the headers and removes every reserved one, whatever is wrong with them.
func takeTags(h http.Header, lim Limits, origin func(*Subject, bool) error) (tags Tags, err error) {
	err = checkNames(h)
	path, budget, id, subject := h[headerPath], h[headerBudget], h[headerRequestID], h[headerSubject]
	known := 0
	for _, lines := range [...][]string{path, budget, id, subject} {
		if len(lines) > 0 {
			known++
		}
	}
	tags.Unknown = StripTags(h) - known
	if err != nil {
		return tags, err
	}

	text, err := oneLine(headerRequestID, id)
	if err != nil {
		return tags, err
	}
	v, err := parseItem(text)
	if err != nil || v.kind != sfString || !validRequestID(v.text) {
		return tags, refuse(Malformed, "%s is not a string of 1 to %d letters and digits", headerRequestID, maxRequestIDLen)
	}
	tags.RequestID = v.text

	if text, err = oneLine(headerPath, path); err != nil {
		return tags, err
	}
	if tags.Path, err = parsePath(text); err != nil {
		return tags, err
	}
	if text, err = oneLine(headerBudget, budget); err != nil {
		return tags, err
	}
	if tags.Budget, err = parseBudget(text, lim); err != nil {
		return tags, err
	}

	named := false
	if len(subject) > 0 {
		if text, err = oneLine(headerSubject, subject); err != nil {
			return tags, err
		}
		if tags.Subject, named, err = parseSubject(text); err != nil {
			return tags, err
		}
	}
	return tags, origin(&tags.Subject, named)
}

// oneLine wants a header to be there, once. Peers write one line each; RFC 9651 §4.2 would join several, but then what
// two readers make of them is no longer the same.
func oneLine(name string, lines []string) (string, error) {
	if len(lines) != 1 {
		return "", refuse(Malformed, "%s stands %d times, not once", name, len(lines))
	}
	return lines[0], nil
}

// cutVia moves the lines written inside tunnels from h to the tags.
func (t *Tags) cutVia(h http.Header) {
	via := h[headerVia]
	from := max(0, len(via)-len(t.Path))
	if from == len(via) {
		return
	}
	t.Via = slices.Clone(via[from:])
	if h[headerVia] = via[:from:from]; from == 0 {
		delete(h, headerVia)
	}
}

// evaluate is step 3 of A.3: CDN-Loop can only lower, or end the request.
func (t *Tags) evaluate(h http.Header, self Self) error {
	lines := h[headerCDNLoop]
	if len(lines) == 0 {
		return nil
	}
	t.CDNLoop = slices.Clone(lines)
	members, err := parseCDNLoop(lines)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, m := range members {
		o, good := self.Keys.verify(m, now)
		switch own := strings.EqualFold(m.id, self.Pseudonym); {
		case own && !good:
			r := refuse(LoopExternal, "own pseudonym in %s", headerCDNLoop)
			if self.Keys != nil { // who has no keys sends no MAC, so a missing one says nothing
				r.CDNLoopForged = true
				r.Reason += " without a good MAC"
			}
			return r
		case own:
			t.OwnSeen++
		case !good:
			continue // somebody else's, or another trust domain's
		}
		t.Budget.Hops = min(t.Budget.Hops, o.hops)
		t.Budget.Attempts = min(t.Budget.Attempts, max(o.attempts, 1)) // no repeats left is not no first try
	}
	return nil
}
