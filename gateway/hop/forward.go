package hop

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Forward is the tags for the next tunnel hop: self appended, one hop less, elapsed (since the header block was here) and
// 2 ms subtracted from t, elapsed from s. Nothing left: LoopHops or Deadline. t itself is not changed.
func (t Tags) Forward(self Self, elapsed time.Duration) (Tags, error) {
	switch {
	case onPath(t.Path, self.Group):
		return t, refuse(LoopPath, "own group in %s", formatPath(t.Path))
	case t.Budget.Hops <= 0, len(t.Path) >= maxPath:
		return t, refuse(LoopHops, "no hop left after %s", formatPath(t.Path))
	}
	budget, err := t.Budget.Spend(elapsed)
	if err != nil {
		return t, err
	}
	if budget.Headers -= hopTime; budget.Headers < time.Millisecond {
		return t, refuse(Deadline, "nothing left of the time to response headers after %v and the hop", elapsed)
	}
	budget.Hops--
	next := t
	next.Budget = budget
	next.Path = append(slices.Clip(slices.Clone(t.Path)), Entry{self.Group, self.Instance})
	next.Unknown = 0
	return next, nil
}

// Write sets the Penstock-* headers, CDN-Loop as it was received, and Via on the outbound request of a tunnel. It is the
// last thing done to h: whatever a filter left under a reserved name is replaced. It may be called again on the same h.
func (t Tags) Write(h http.Header, self Self) {
	StripTags(h)
	h[headerPath] = []string{formatPath(t.Path)}
	h[headerBudget] = []string{t.Budget.field()}
	h[headerRequestID] = []string{string(appendString(nil, t.RequestID))}
	if s := t.Subject.field(); s != "" {
		h[headerSubject] = []string{s}
	}
	deleteFold(h, headerCDNLoop)
	if len(t.CDNLoop) > 0 {
		h[headerCDNLoop] = slices.Clone(t.CDNLoop)
	}
	tail := append(slices.Clip(t.Via), via(self))
	h[headerVia] = append(slices.Clip(trimTail(h[headerVia], tail)), tail...)
}

// WriteVia appends `1.1 <pseudonym>` to Via (RFC 9110 §7.6.3), once. Inside tunnels Write does it; outside it is only for
// Backends marked as self-hosted: stock servers stop compressing for requests that carry it.
func WriteVia(h http.Header, self Self) {
	own := []string{via(self)}
	h[headerVia] = append(slices.Clip(trimTail(h[headerVia], own)), own...)
}

func via(self Self) string { return "1.1 " + self.Pseudonym }

// trimTail makes a second write on the same header the same as one.
func trimTail(lines, tail []string) []string {
	if n := len(lines) - len(tail); n >= 0 && slices.Equal(lines[n:], tail) {
		return lines[:n]
	}
	return lines
}

// WriteOutside appends the CDN-Loop tag to the request that leaves the trust domain, last of all, after request signing,
// and removes what a filter may have left under Penstock-*. now is for expiry. It may be called again for each attempt,
// with t.Budget.Attempts lowered by those made.
//
// The tag carries one hop less than t: the way outside is a hop, so that a request that comes back ends by h even where
// re-entry is allowed.
func (t Tags) WriteOutside(h http.Header, self Self, now time.Time) {
	StripTags(h)
	own := self.Pseudonym + ";v=" + cdnVersion
	x := self.Keys.seal(self.Pseudonym, outside{
		requestID: t.RequestID,
		hops:      byteRange(t.Budget.Hops - 1),
		attempts:  byteRange(t.Budget.Attempts),
		expiry:    now.Add(tagLife),
	})
	if x != "" {
		own += ";x=" + x
	}
	deleteFold(h, headerCDNLoop)
	h[headerCDNLoop] = []string{cdnLoopValue(t.CDNLoop, own)}
}

func byteRange(n int) int { return min(max(n, 0), 255) }

// deleteFold deletes a header in whatever case it is keyed.
func deleteFold(h http.Header, name string) {
	for key := range h {
		if strings.EqualFold(key, name) {
			delete(h, key)
		}
	}
}
