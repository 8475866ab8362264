package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
)

// newTLSConfig makes the settings of one plan. They are never changed afterwards: a change makes a new plan.
//
// There is no session cache, and so no resumption: every connection checks a whole chain.
func newTLSConfig(t *route.TLS, p *plan, roots *x509.CertPool, keys Keys) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: t.ServerName,
		RootCAs:    roots,
		NextProtos: p.alpn(),
	}
	if c.ServerName == "" {
		c.ServerName = p.hostname
	}
	if len(t.CAs) > 0 {
		c.RootCAs = x509.NewCertPool()
		for i, pem := range t.CAs {
			if !c.RootCAs.AppendCertsFromPEM([]byte(pem)) {
				return nil, fmt.Errorf("CA bundle %d holds no certificate in PEM", i+1)
			}
		}
	}
	if t.ClientCertificate != "" {
		if keys == nil {
			return nil, fmt.Errorf("client certificate %s: this gateway holds no client certificates", t.ClientCertificate)
		}
		// Shown whatever CAs the server names: leaving it out quietly would be an error that nobody can read.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return keys.KeyPair(t.ClientCertificate)
		}
	}
	if len(t.DNSNames)+len(t.URIs) > 0 {
		verifyBySAN(c, t)
	}
	return c, nil
}

// verifyBySAN replaces the check of ServerName, which is then SNI only (GEP-3155), by one of subjectAltNames. crypto/tls
// has no setting that sends one name and checks another, so its own verification has to be switched off, name and chain
// together, and VerifyConnection does the whole of it: the same x509 call on the same chain, roots, time and key usage,
// then the names. VerifyConnection runs on every handshake and its error ends it.
func verifyBySAN(c *tls.Config, t *route.TLS) {
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return errors.New("the server sent no certificate")
		}
		leaf := cs.PeerCertificates[0]
		opts := x509.VerifyOptions{
			Roots:         c.RootCAs,
			Intermediates: x509.NewCertPool(),
			KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		for _, cert := range cs.PeerCertificates[1:] {
			opts.Intermediates.AddCert(cert)
		}
		if _, err := leaf.Verify(opts); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
		}
		if _, ok := matchSAN(leaf, t); !ok {
			return &tls.CertificateVerificationError{
				UnverifiedCertificates: cs.PeerCertificates,
				Err: fmt.Errorf("the certificate has none of the names %s",
					strings.Join(slices.Concat(t.DNSNames, t.URIs), ", ")),
			}
		}
		return nil
	}
}

// matchSAN finds the subjectAltName that a certificate satisfies. name is a DNS name; "" with a URI.
func matchSAN(leaf *x509.Certificate, t *route.TLS) (name string, ok bool) {
	for _, want := range t.DNSNames {
		if leaf.VerifyHostname(want) == nil || slices.ContainsFunc(leaf.DNSNames, func(have string) bool {
			return strings.EqualFold(have, want) // a wildcard asked for as such
		}) {
			return want, true
		}
	}
	for _, have := range leaf.URIs {
		if slices.Contains(t.URIs, have.String()) {
			return "", true
		}
	}
	return "", false
}

// handshake makes c a TLS connection to a verified peer, and returns the name that the peer proved to have. It closes c
// on failure. No byte of a request is sent before it has returned; the *Error says so.
func handshake(ctx context.Context, c net.Conn, p *plan) (*tls.Conn, string, error) {
	tc := tls.Client(&ending{Conn: c}, p.tls)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, "", handshakeError(ctx, p, err)
	}
	cs := tc.ConnectionState()
	if p.wantsH2Only() && cs.NegotiatedProtocol != "h2" {
		_ = c.Close()
		return nil, "", &Error{
			Cause: TLSProtocolError, Class: retry.NoRepeat,
			Err: fmt.Errorf("%s does not speak HTTP/2, which the Backend's protocol asks for", p.hostname),
		}
	}
	name := p.tls.ServerName
	if p.settings.DNSNames != nil || p.settings.URIs != nil {
		name, _ = matchSAN(cs.PeerCertificates[0], p.settings)
	}
	if _, err := netip.ParseAddr(name); err != nil {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
	}
	return tc, name, nil
}

// handshakeError sorts a failed handshake: a certificate problem stays one, a reset may be tried again once.
func handshakeError(ctx context.Context, p *plan, err error) *Error {
	err = fmt.Errorf("handshake with %s: %w", p.hostname, err)
	var (
		verify  *tls.CertificateVerificationError
		timeout interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &verify):
		return &Error{Cause: TLSCertificateError, Class: retry.NoRepeat, Err: err}
	case ctx.Err() != nil:
		return giveUp(ctx, err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Cause: ConnectionTimeout, Class: retry.ConnectFailure, Err: err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &Error{Cause: TLSProtocolError, Class: retry.ConnectFailure, Err: err}
	default:
		return &Error{Cause: TLSProtocolError, Class: retry.NoRepeat, Err: err}
	}
}
