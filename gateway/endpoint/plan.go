package endpoint

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/gateway/route"
)

// plan is how connections of one pool are made. It never changes.
type plan struct {
	hostname string // normal form
	port     int
	protocol string
	allowed  []netip.Prefix
	service  bool // an endpoint of an own Service: outside of the address guard
	connect  time.Duration
	settings *route.TLS  // nil: cleartext
	tls      *tls.Config // nil: cleartext
}

// poolKey tells apart what must not share connections (THREATS TH-I8): other Backends, other destinations, other
// guards, other TLS settings, other credential versions, other client certificates.
type poolKey struct {
	backend, hostname string
	via               route.Via
	port              int
	protocol          string
	settings          string // of TLS, "" for cleartext
	allowed           string
	connect           time.Duration
	credential        string
	version           string
}

func keyOf(b *route.Backend, version string) poolKey {
	return poolKey{
		backend:    b.Key,
		via:        b.Via,
		hostname:   b.Hostname,
		port:       b.Port,
		protocol:   b.Protocol,
		settings:   fingerprint(b.TLS),
		allowed:    strings.Join(b.AllowedCIDRs, " "),
		connect:    b.Timeouts.Connect,
		credential: b.Credential,
		version:    version,
	}
}

// fingerprint is equal for equal TLS settings. Each string goes in with its length, so that no two settings run
// together.
func fingerprint(t *route.TLS) string {
	if t == nil {
		return ""
	}
	h := sha256.New()
	put := func(ss ...string) {
		var b []byte
		b = strconv.AppendInt(b, int64(len(ss)), 10)
		for _, s := range ss {
			b = strconv.AppendInt(append(b, ' '), int64(len(s)), 10)
			b = append(append(b, ':'), s...)
		}
		_, _ = h.Write(b) // never fails
	}
	put(t.ServerName, t.ClientCertificate, t.ClientCertificateHash)
	put(t.CAs...)
	put(t.DNSNames...)
	put(t.URIs...)
	return hex.EncodeToString(h.Sum(nil))
}

// newPlan checks a Backend's settings.
func (e *Endpoint) newPlan(b *route.Backend) (*plan, error) {
	name, err := normalName(b.Hostname)
	if err != nil {
		return nil, err
	}
	if b.Port < 1 || b.Port > 65535 {
		return nil, fmt.Errorf("port %d is none; write 1 to 65535", b.Port)
	}
	p := &plan{hostname: name, port: b.Port, protocol: b.Protocol, connect: b.Timeouts.Connect, settings: b.TLS, service: b.Via == route.ViaService}
	if p.connect <= 0 {
		p.connect = defaultConnect
	}
	if p.allowed, err = parsePrefixes(b.AllowedCIDRs); err != nil {
		return nil, err
	}
	if b.TLS != nil {
		if p.tls, err = newTLSConfig(b.TLS, p, e.cfg.Roots, e.cfg.Keys); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// wantsH2Only reports whether the Backend's protocol leaves no choice but HTTP/2: by ALPN with TLS, by prior knowledge
// without.
func (p *plan) wantsH2Only() bool {
	switch p.protocol {
	case "HTTP2", "GRPC", "H2C":
		return true
	}
	return false
}

// alpn is what is offered (RFC 7301). MCP and HTTP leave the choice to the server.
func (p *plan) alpn() []string {
	switch {
	case p.wantsH2Only():
		return []string{"h2"}
	case p.protocol == "HTTP11":
		return []string{"http/1.1"}
	default:
		return []string{"h2", "http/1.1"}
	}
}
