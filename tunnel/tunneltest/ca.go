package tunneltest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"sync"
	"testing"
	"time"

	"penstock.dev/penstock/tunnel"
)

// TrustDomain of a World, and of CAs made without another.
const TrustDomain = "test.example"

// CA issues certificates for gateways. It is safe for concurrent use.
type CA struct {
	t           testing.TB
	trustDomain string
	key         *ecdsa.PrivateKey
	cert        *x509.Certificate
}

// NewCA makes a CA for a trust domain; "" is TrustDomain. It is valid for ten years around now.
func NewCA(t testing.TB, trustDomain string) *CA {
	t.Helper()
	if trustDomain == "" {
		trustDomain = TrustDomain
	}
	ca := &CA{t: t, trustDomain: trustDomain, key: newKey(t)}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "CA of " + trustDomain},
		NotBefore: now.AddDate(-5, 0, 0), NotAfter: now.AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return ca
}

// Pin of the CA, as join bundles carry it.
func (ca *CA) Pin() string { return tunnel.PinOf(ca.cert) }

// Roots is a new pool of this CA and others: a new trust bundle version.
func (ca *CA) Roots(others ...*CA) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	for _, o := range others {
		pool.AddCert(o.cert)
	}
	return pool
}

// Leaf is what Issue writes into a certificate. The zero value of a field means what is in brackets.
type Leaf struct {
	// URIs [the one of the id that Issue was called with].
	URIs []string
	// Instance, the subject's serialNumber ["i-1"]; "-" leaves it out.
	Instance string
	// NotBefore [an hour ago] and NotAfter [in an hour].
	NotBefore, NotAfter time.Time
	// Usage [client and server].
	Usage []x509.ExtKeyUsage
}

// Issue makes a certificate for an id, its chain ending with the CA.
func (ca *CA) Issue(id tunnel.ID, leaf Leaf) *tls.Certificate {
	ca.t.Helper()
	now := time.Now()
	if leaf.URIs == nil {
		leaf.URIs = []string{id.String()}
	}
	switch leaf.Instance {
	case "":
		leaf.Instance = "i-1"
	case "-":
		leaf.Instance = ""
	}
	if leaf.NotBefore.IsZero() {
		leaf.NotBefore = now.Add(-time.Hour)
	}
	if leaf.NotAfter.IsZero() {
		leaf.NotAfter = now.Add(time.Hour)
	}
	if leaf.Usage == nil {
		leaf.Usage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	}
	template := &x509.Certificate{
		SerialNumber: serial(ca.t), Subject: pkix.Name{SerialNumber: leaf.Instance},
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: leaf.Usage, BasicConstraintsValid: true,
	}
	for _, s := range leaf.URIs {
		u, err := url.Parse(s)
		if err != nil {
			ca.t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	key := newKey(ca.t)
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, ca.cert.Raw}, PrivateKey: key, Leaf: parsed}
}

// Spoke is the identity of a spoke of a cluster, its group named after the cluster, trusting this CA.
func (ca *CA) Spoke(cluster string) *Identity { return ca.Identity(ca.SpokeID(cluster), Leaf{}) }

// Hub is the identity of a hub of the CA's trust domain.
func (ca *CA) Hub(group string) *Identity { return ca.Identity(ca.HubID(group), Leaf{}) }

// SpokeID and HubID are ids in the CA's trust domain.
func (ca *CA) SpokeID(cluster string) tunnel.ID {
	return tunnel.ID{TrustDomain: ca.trustDomain, Role: tunnel.RoleSpoke, Cluster: cluster, Group: "group-" + cluster}
}

// HubID is the id of a hub group; see SpokeID.
func (ca *CA) HubID(group string) tunnel.ID {
	return tunnel.ID{TrustDomain: ca.trustDomain, Role: tunnel.RoleHub, Group: group}
}

// Identity is one with a certificate of its own.
func (ca *CA) Identity(id tunnel.ID, leaf Leaf) *Identity {
	ca.t.Helper()
	return &Identity{cert: ca.Issue(id, leaf), roots: ca.Roots()}
}

// Identity is a tunnel.Identity that a test can change at any time. It is safe for concurrent use.
type Identity struct {
	mu    sync.Mutex
	cert  *tls.Certificate
	roots *x509.CertPool
	admit func(tunnel.Peer) error
}

var _ tunnel.Identity = (*Identity)(nil)

// Certificate implements tunnel.Identity.
func (i *Identity) Certificate() (*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cert, nil
}

// Roots implements tunnel.Identity.
func (i *Identity) Roots() *x509.CertPool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.roots
}

// Admit implements tunnel.Identity: everybody, until SetAdmit.
func (i *Identity) Admit(p tunnel.Peer) error {
	i.mu.Lock()
	admit := i.admit
	i.mu.Unlock()
	if admit == nil {
		return nil
	}
	return admit(p)
}

// SetCertificate is a renewal.
func (i *Identity) SetCertificate(cert *tls.Certificate) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.cert = cert
}

// SetRoots is a new trust bundle.
func (i *Identity) SetRoots(roots *x509.CertPool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.roots = roots
}

// SetAdmit replaces the check; nil admits everybody.
func (i *Identity) SetAdmit(admit func(tunnel.Peer) error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.admit = admit
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		t.Fatal(err)
	}
	return n.Add(n, big.NewInt(1))
}
