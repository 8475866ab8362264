package hop

import (
	"net/http"
	"strconv"
	"strings"
)

// The verdicts of Penstock-Not-Processed: the hub refused before routing.
const (
	Overload = "overload" // P5: one other replica may be tried
	Rejected = "rejected" // P2 on a carrier without reset codes
)

// maxCount clamps what a parent says it used: no honest one gets there (A <= 5, C = 3, 8 hops).
const maxCount = 1000

// Members of Penstock-Attempts.
const (
	memberCountAttempts = "n"
	memberCountConnects = "c"
)

// Counts is Penstock-Attempts: what was used below, summed on the way up.
type Counts struct {
	Attempts int // n: requests sent outside
	Connects int // c: connect tries
}

// Add is the sum.
func (c Counts) Add(d Counts) Counts {
	return Counts{c.Attempts + d.Attempts, c.Connects + d.Connects}
}

// Write sets Penstock-Attempts on a response towards a tunnel peer; towards a workload StripTags is called instead.
func (c Counts) Write(h http.Header) {
	h[headerAttempts] = []string{memberCountAttempts + "=" + strconv.Itoa(c.Attempts) + ", " +
		memberCountConnects + "=" + strconv.Itoa(c.Connects)}
}

// SetNotProcessed marks a response as refused before routing: Overload or Rejected.
func SetNotProcessed(h http.Header, verdict string) { h[headerNotProcessed] = []string{verdict} }

// TakeResponse removes every Penstock-* response header of a parent and returns counts and the not-processed verdict
// ("", Overload or Rejected). What cannot be read counts as nothing: it is no proof and no repeat follows from it.
func TakeResponse(h http.Header) (c Counts, notProcessed string) {
	if lines := h[headerAttempts]; len(lines) == 1 {
		c = parseCounts(lines[0])
	}
	if lines := h[headerNotProcessed]; len(lines) == 1 {
		switch v, err := parseItem(lines[0]); {
		case err == nil && v.kind == sfToken && (v.text == Overload || v.text == Rejected):
			notProcessed = v.text
		}
	}
	StripTags(h)
	return c, notProcessed
}

func parseCounts(text string) (c Counts) {
	members, err := parseDict(text)
	if err != nil {
		return Counts{}
	}
	for _, m := range members {
		if m.value.kind != sfInteger || m.value.num < 0 {
			continue
		}
		n := int(min(m.value.num, maxCount))
		switch m.key {
		case memberCountAttempts:
			c.Attempts = n
		case memberCountConnects:
			c.Connects = n
		}
	}
	return c
}

// CleanOutside deletes from an external response, header or trailer section, every Penstock-* name and every Proxy-Status
// member that uses an id of ours, so that an upstream cannot steer spokes.
func CleanOutside(h http.Header, self Self) {
	StripTags(h)
	lines, ok := h[headerProxyStatus]
	if !ok {
		return
	}
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		if line = foreignStatus(line, self); line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, headerProxyStatus)
		return
	}
	h[headerProxyStatus] = kept
}

// foreignStatus is the members of a Proxy-Status line (RFC 9209 §2) that are not ours; none of a line that cannot be read.
func foreignStatus(line string, self Self) string {
	members, err := parseList(line)
	if err != nil {
		return ""
	}
	var kept []string
	for _, m := range members {
		name := m.value.text
		if m.value.kind != sfString && m.value.kind != sfToken ||
			strings.EqualFold(name, self.Pseudonym) || strings.EqualFold(name, self.Group) {
			continue
		}
		kept = append(kept, m.raw)
	}
	return strings.Join(kept, ", ")
}
