package spoke

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	configv1alpha1 "penstock.dev/penstock/apis/config/v1alpha1"
	"penstock.dev/penstock/gateway/hop"
)

// callers names the workloads of a standalone spoke. A token proves more than an address, so it is looked at first.
// Never changed; safe for concurrent use.
type callers struct {
	tokens []tokenCaller
	ranges []rangeCaller // longest prefix first
}

type tokenCaller struct {
	hash    [sha256.Size]byte
	subject hop.Subject
}

type rangeCaller struct {
	prefix  netip.Prefix
	subject hop.Subject
}

// tokenPlaces are the headers where a workload may put its token: Proxy-Authorization (RFC 9110 §11.7.1), or the very
// place where the credential will be written, so that a stock SDK sends its token as its API key.
var tokenPlaces = []string{"Proxy-Authorization", "Authorization", "X-Api-Key", "Api-Key"}

func newCallers(list []configv1alpha1.Caller) (*callers, error) {
	c := &callers{}
	for i, caller := range list {
		subject := hop.Subject{Namespace: caller.Namespace, ServiceAccount: caller.ServiceAccount}
		if caller.TokenSHA256 != "" {
			t := tokenCaller{subject: subject}
			t.subject.Proof = hop.ProofToken
			if n, err := hex.Decode(t.hash[:], []byte(caller.TokenSHA256)); err != nil || n != sha256.Size {
				return nil, fmt.Errorf("spoke: callers[%d].tokenSHA256 is not 64 hex digits", i)
			}
			c.tokens = append(c.tokens, t)
		}
		for _, cidr := range caller.CIDRs {
			p, err := netip.ParsePrefix(cidr)
			if err != nil {
				return nil, fmt.Errorf("spoke: callers[%d].cidrs: %w", i, err)
			}
			r := rangeCaller{prefix: p.Masked(), subject: subject}
			r.subject.Proof = hop.ProofIP
			at := len(c.ranges)
			for at > 0 && c.ranges[at-1].prefix.Bits() < p.Bits() {
				at--
			}
			c.ranges = append(c.ranges[:at], append([]rangeCaller{r}, c.ranges[at:]...)...)
		}
	}
	return c, nil
}

// identify says who sent r, and consumes the token it used: a token of ours never travels on. Proxy-Authorization is
// always ours to consume. A caller nobody knows has the zero Subject, which no grant matches.
func (c *callers) identify(r *http.Request) (hop.Subject, error) {
	defer r.Header.Del("Proxy-Authorization")
	for _, name := range tokenPlaces {
		for _, value := range r.Header.Values(name) {
			if s, ok := c.byToken(value); ok {
				r.Header.Del(name)
				return s, nil
			}
		}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return hop.Subject{}, nil // a listener without addresses proves nothing
	}
	addr := peer.Addr().Unmap().WithZone("")
	for _, rc := range c.ranges {
		if rc.prefix.Contains(addr) {
			return rc.subject, nil
		}
	}
	return hop.Subject{}, nil
}

// byToken compares in constant time and never stops early, so that the time says nothing about the list.
func (c *callers) byToken(value string) (subject hop.Subject, found bool) {
	token := value
	if scheme, rest, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "bearer") {
		token = strings.TrimSpace(rest)
	}
	hash := sha256.Sum256([]byte(token))
	for _, t := range c.tokens {
		if subtle.ConstantTimeCompare(hash[:], t.hash[:]) == 1 && !found {
			subject, found = t.subject, true
		}
	}
	return subject, found
}
