package tunnel

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Peer is the other end of a tunnel as its certificate proves it.
type Peer struct {
	ID
	// Instance is the Subject serialNumber: one process.
	Instance string
	// Serial of the certificate in lower-case hex.
	Serial string
	// NotAfter of the certificate. No exchange starts on the tunnel after it.
	NotAfter time.Time
}

type peerKey struct{}

// PeerFrom returns the peer whose tunnel a request came in on.
func PeerFrom(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(*Peer)
	if !ok {
		return Peer{}, false
	}
	return *p, true
}

// WithPeer is the context of a request that came in from p. The Server sets it; tests of handlers use it too.
func WithPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, &p)
}

// Identity is a gateway's own certificate and whom it trusts. Both change while it runs; implementations are safe for
// concurrent use.
type Identity interface {
	// Certificate to show now. Its chain ends with the issuing CA, because the join endpoint is trusted by a pin of
	// that CA (JoinClientTLS). A new pointer means a new certificate: a Client then moves to new connections.
	Certificate() (*tls.Certificate, error)
	// Roots to trust now; never nil. A new pool value means a new trust bundle version, and a new tls.Config.
	Roots() *x509.CertPool
	// Admit has the last word on a peer whose chain and role are good: revoked, suspended, locked. It may block for a
	// few milliseconds, not longer.
	Admit(Peer) error
}

// OwnID is the SPIFFE id in the identity's own certificate.
func OwnID(identity Identity) (ID, error) {
	cert, err := identity.Certificate()
	if err != nil {
		return ID{}, fmt.Errorf("tunnel: own certificate: %w", err)
	}
	leaf, err := leafOf(cert)
	if err != nil {
		return ID{}, err
	}
	p, err := peerOf(leaf)
	return p.ID, err
}

func leafOf(cert *tls.Certificate) (*x509.Certificate, error) {
	switch {
	case cert == nil || len(cert.Certificate) == 0:
		return nil, errors.New("tunnel: own certificate: there is none; register this gateway first")
	case cert.Leaf != nil:
		return cert.Leaf, nil
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("tunnel: own certificate: %w", err)
	}
	return leaf, nil
}

// peerOf reads who a certificate is for. It checks form, not trust.
func peerOf(leaf *x509.Certificate) (Peer, error) {
	if n := len(leaf.URIs); n != 1 {
		return Peer{}, fmt.Errorf("tunnel: certificate has %d URI names, want exactly one, a spiffe id", n)
	}
	id, err := ParseID(leaf.URIs[0].String())
	if err != nil {
		return Peer{}, err
	}
	if leaf.Subject.SerialNumber == "" {
		return Peer{}, fmt.Errorf("tunnel: certificate of %s has no instance: its subject lacks a serialNumber", id)
	}
	return Peer{
		ID:       id,
		Instance: leaf.Subject.SerialNumber,
		Serial:   leaf.SerialNumber.Text(16),
		NotAfter: leaf.NotAfter,
	}, nil
}

// certificateError is a peer's certificate that we refused.
type certificateError struct{ err error }

func (e *certificateError) Error() string { return e.err.Error() }
func (e *certificateError) Unwrap() error { return e.err }

// verifier is the whole check of a peer's certificate, for both ends. crypto/tls checks none of it: the hub is known by
// CA and role, not by DNS name, and the answer to "who is it" must come from one place.
type verifier struct {
	identity Identity
	accept   []Role
	usage    x509.ExtKeyUsage
	now      func() time.Time
}

func (v *verifier) verify(cs tls.ConnectionState, roots *x509.CertPool) error {
	own, err := OwnID(v.identity)
	if err != nil {
		return err
	}
	peer, err := verifyChain(cs, roots, v.usage, v.now())
	switch {
	case err != nil:
	case peer.TrustDomain != own.TrustDomain:
		err = fmt.Errorf("tunnel: %s is of another trust domain than ours, %s", peer, own.TrustDomain)
	case !slices.Contains(v.accept, peer.Role):
		err = fmt.Errorf("tunnel: %s has role %s, accepted here: %s", peer, peer.Role, v.accept)
	default:
		if refusal := v.identity.Admit(peer); refusal != nil {
			err = fmt.Errorf("tunnel: %s is not admitted: %w", peer, refusal)
		}
	}
	if err != nil {
		return &certificateError{err}
	}
	return nil
}

// verifyChain wants a full handshake, a chain to roots that is valid now and made for usage, and a leaf that names a
// gateway.
func verifyChain(cs tls.ConnectionState, roots *x509.CertPool, usage x509.ExtKeyUsage, now time.Time) (Peer, error) {
	switch {
	case cs.DidResume:
		// Go does not check the chain again on resumption (golang/go#77217).
		return Peer{}, errors.New("tunnel: the session was resumed, which tunnels forbid")
	case len(cs.PeerCertificates) == 0:
		return Peer{}, errors.New("tunnel: the peer showed no certificate")
	case roots == nil:
		return Peer{}, errors.New("tunnel: no roots to trust") // x509 would take those of the system
	}
	leaf := cs.PeerCertificates[0]
	peer, err := peerOf(leaf)
	if err != nil {
		return Peer{}, err
	}
	between := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err == nil {
		return peer, nil
	}
	if ago := now.Sub(leaf.NotAfter); ago > 0 {
		return Peer{}, fmt.Errorf("tunnel: certificate of %s expired %s ago; renew it and the tunnel reconnects by itself: %w",
			peer, ago.Round(time.Second), err)
	}
	return Peer{}, fmt.Errorf("tunnel: certificate of %s: %w", peer, err)
}

// tlsConfigs makes one tls.Config per trust bundle version. A config that was handed out is never changed or cloned by
// us: it may carry state of handshakes under the old roots.
type tlsConfigs struct {
	verifier
	mu    sync.Mutex
	roots *x509.CertPool
	made  *tls.Config
}

func (c *tlsConfigs) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if roots := c.identity.Roots(); c.made == nil || roots != c.roots {
		c.roots, c.made = roots, c.make(roots)
	}
	return c.made
}

func (c *tlsConfigs) make(roots *x509.CertPool) *tls.Config {
	config := base(c.now, ALPN)
	config.VerifyConnection = func(cs tls.ConnectionState) error { return c.verify(cs, roots) }
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.identity.Certificate() }
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return c.identity.Certificate()
	}
	config.ClientAuth = tls.RequireAnyClientCert // VerifyConnection does the rest
	config.InsecureSkipVerify = true             // VerifyConnection does the rest
	return config
}

// server is the config a listener keeps: each handshake gets the current one.
func (c *tlsConfigs) server() *tls.Config {
	config := base(c.now, ALPN)
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current(), nil }
	return config
}

// base is what all our configs have in common.
func base(now func() time.Time, protocol string) *tls.Config {
	return &tls.Config{
		Time:       now,
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol},
		// The hybrid first: recorded traffic must not be readable by a later quantum computer.
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		// Early data can be replayed (RFC 8470), and a resumed chain is not checked again.
		SessionTicketsDisabled: true,
	}
}

// JoinServerTLS is for the HTTPS join endpoint of a hub (TLS 1.3, ALPN http/1.1): it shows the tunnel certificate with
// its chain up to the issuing CA, which the joining side has a pin of, and asks for no client certificate.
func JoinServerTLS(identity Identity) *tls.Config {
	config := base(nil, joinProtocol)
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return identity.Certificate() }
	return config
}

const joinProtocol = "http/1.1"

// JoinClientTLS is for a spoke that joins, recovers, or otherwise holds nothing but a pin: "sha256:<hex>" of the DER
// SubjectPublicKeyInfo of the hub's CA. The server must present that CA in its chain, its leaf must chain to it, be
// valid and have role hub in trustDomain; the DNS name does not matter. now nil: time.Now. A bad pin is an error of
// every handshake.
func JoinClientTLS(trustDomain, pin string, now func() time.Time) *tls.Config {
	if now == nil {
		now = time.Now
	}
	config := base(now, joinProtocol)
	config.InsecureSkipVerify = true // VerifyConnection does the whole check
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := verifyPinned(cs, trustDomain, pin, now()); err != nil {
			return &certificateError{err}
		}
		return nil
	}
	return config
}

func verifyPinned(cs tls.ConnectionState, trustDomain, pin string, now time.Time) error {
	digest, ok := strings.CutPrefix(pin, "sha256:")
	want, err := hex.DecodeString(digest)
	if !ok || err != nil || len(want) != sha256.Size {
		return fmt.Errorf(`tunnel: pin %q is not "sha256:" and 64 hex digits`, pin)
	}
	roots := x509.NewCertPool()
	found := false
	for _, c := range cs.PeerCertificates {
		got := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		if c.IsCA && string(got[:]) == string(want) {
			roots.AddCert(c)
			found = true
		}
	}
	if !found {
		return fmt.Errorf("tunnel: the server shows no CA with pin %s; it is not the hub that issued the join bundle", pin)
	}
	peer, err := verifyChain(cs, roots, x509.ExtKeyUsageServerAuth, now)
	switch {
	case err != nil:
		return err
	case peer.Role != RoleHub || peer.TrustDomain != trustDomain:
		return fmt.Errorf("tunnel: %s is not a hub of trust domain %s", peer, trustDomain)
	}
	return nil
}

// PinOf is the pin of a CA certificate: "sha256:<hex>" of its DER SubjectPublicKeyInfo.
func PinOf(ca *x509.Certificate) string {
	sum := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	return "sha256:" + hex.EncodeToString(sum[:])
}
