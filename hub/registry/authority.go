package registry

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"

	"penstock.dev/penstock/tunnel"
)

// Times of certificates.
const (
	rootLife = 10 * 365 * 24 * time.Hour
	// backdate tolerates a peer whose clock is behind (F-33).
	backdate = 5 * time.Minute
)

// authority issues certificates with the current root key. It is immutable; a rotation makes a new one.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// newAuthority makes a root for a trust domain.
func newAuthority(trustDomain string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("registry: make the CA key: %w", err)
	}
	uri := &url.URL{Scheme: "spiffe", Host: trustDomain}
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{Organization: []string{"Penstock"}, CommonName: "Penstock CA of " + trustDomain},
		URIs:                  []*url.URL{uri}, // SPIFFE X.509-SVID §4.1: a signing certificate names its trust domain
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("registry: make the CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("registry: make the CA certificate: %w", err)
	}
	return &authority{cert, key}, nil
}

// record of the authority, its key sealed under the catalog key.
func (a *authority) record(sealer Sealer, catalogKey string) (caRecord, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return caRecord{}, fmt.Errorf("registry: write the CA key: %w", err)
	}
	sealed, err := sealer.Seal(catalogKey, key)
	if err != nil {
		return caRecord{}, fmt.Errorf("registry: seal the CA key: %w", err)
	}
	return caRecord{Certificate: string(encodePEM(a.cert.Raw)), Key: sealed, Issuing: true}, nil
}

// leaf is what a certificate says; the subject never chooses it.
type leaf struct {
	id       tunnel.ID
	instance string
	life     time.Duration
	// server: the certificate may be shown by a server. Only this hub's own: a child hub is a client here, and must
	// not pass as a hub to our spokes.
	server bool
}

// issued is a signed leaf.
type issued struct {
	cert   *x509.Certificate
	serial string
}

// issue signs a certificate for a public key.
func (a *authority) issue(l leaf, public crypto.PublicKey, now time.Time) (issued, error) {
	uri, err := url.Parse(l.id.String())
	if err != nil {
		return issued{}, fmt.Errorf("registry: issue a certificate for %s: %w", l.id, err)
	}
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{SerialNumber: l.instance},
		URIs:                  []*url.URL{uri},
		NotBefore:             now.Add(-backdate),
		NotAfter:              earlier(now.Add(l.life), a.cert.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if l.server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return issued{}, fmt.Errorf("registry: issue a certificate for %s: %w", l.id, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return issued{}, fmt.Errorf("registry: issue a certificate for %s: %w", l.id, err)
	}
	return issued{cert, serialOf(cert)}, nil
}

// chain in PEM, leaf first. The root is left out: the peer has it from the bundle.
func (i issued) chain() string { return string(encodePEM(i.cert.Raw)) }

// newSerial is 128 random bits, positive and never zero (RFC 5280 §4.1.2.2: at most 20 octets).
func newSerial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] |= 0x80 // so that the printed form always has 32 digits
	return new(big.Int).SetBytes(b[:])
}

// serialOf is the serial as records and tunnel.Peer have it: lower-case hex.
func serialOf(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

func encodePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// parsePEM reads one certificate and nothing else.
func parsePEM(text string) (*x509.Certificate, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("not one PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// newGroup is a gateway group id: 128 random bits in hex (HOPS-AND-RETRIES A.3).
func newGroup() string { return hex.EncodeToString(random(16)) }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return b
}

// spki is the DER SubjectPublicKeyInfo, nil for a key that has none.
func spki(public crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil
	}
	return der
}
