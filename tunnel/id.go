package tunnel

import (
	"fmt"
	"strings"
)

// Role of a gateway in its certificate.
type Role string

// The roles.
const (
	RoleSpoke Role = "spoke"
	RoleHub   Role = "hub"
)

// ID is a gateway group's SPIFFE identity: spiffe://<trust-domain>/cluster/<cluster>/gateway/<group> (spoke) or
// spiffe://<trust-domain>/hub/<group> (hub, no cluster). The zero value is nobody.
type ID struct {
	TrustDomain string
	Role        Role
	Cluster     string
	Group       string
}

const (
	spiffeScheme = "spiffe://"
	// maxURIBytes is the longest SPIFFE id (SPIFFE-ID §2.3).
	maxURIBytes = 2048
	// maxTrustDomainBytes as SPIFFE-ID §2.1 has it.
	maxTrustDomainBytes = 255
)

// ParseID parses a SPIFFE id of one of the two forms. Anything else is refused, with what is wrong: an id that almost
// fits must not name anybody.
func ParseID(uri string) (ID, error) {
	bad := func(why string) (ID, error) {
		const shown = 200
		return ID{}, fmt.Errorf("tunnel: spiffe id %.*q: %s", shown, uri, why)
	}
	if len(uri) > maxURIBytes {
		return bad("longer than 2048 bytes")
	}
	rest, ok := strings.CutPrefix(uri, spiffeScheme)
	if !ok {
		return bad(`does not begin with "spiffe://"`)
	}
	domain, path, ok := strings.Cut(rest, "/")
	if !ok {
		return bad("has no path")
	}
	if len(domain) > maxTrustDomainBytes || !allOf(domain, isTrustDomainByte) {
		return bad("trust domain is not 1 to 255 of a-z, 0-9, dot, dash and underscore")
	}
	parts := strings.Split(path, "/")
	for _, p := range parts {
		if !allOf(p, isSegmentByte) || p == "." || p == ".." {
			return bad("a path segment is empty, a dot segment, or has a character other than letters, digits, dot, dash and underscore")
		}
	}
	switch {
	case len(parts) == 4 && parts[0] == "cluster" && parts[2] == "gateway":
		return ID{TrustDomain: domain, Role: RoleSpoke, Cluster: parts[1], Group: parts[3]}, nil
	case len(parts) == 2 && parts[0] == "hub":
		return ID{TrustDomain: domain, Role: RoleHub, Group: parts[1]}, nil
	}
	return bad("path is neither /cluster/<cluster>/gateway/<group> nor /hub/<group>")
}

// String is the SPIFFE URI; ParseID reads it back. Of an ID with another role it is empty.
func (id ID) String() string {
	switch id.Role {
	case RoleSpoke:
		return spiffeScheme + id.TrustDomain + "/cluster/" + id.Cluster + "/gateway/" + id.Group
	case RoleHub:
		return spiffeScheme + id.TrustDomain + "/hub/" + id.Group
	}
	return ""
}

func allOf(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return s != ""
}

// isTrustDomainByte is SPIFFE-ID §2.1.
func isTrustDomainByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_'
}

// isSegmentByte is SPIFFE-ID §2.2.
func isSegmentByte(c byte) bool { return isTrustDomainByte(c) || 'A' <= c && c <= 'Z' }
