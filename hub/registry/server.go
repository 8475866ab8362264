package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ServerCertificate is for a TLS listener that clients know by host name or IP address, such as that of the admin API:
// they trust it by RootsPEM. It names no gateway, so it is good for nothing on a tunnel. The returned function is
// tls.Config.GetCertificate; it makes a new certificate, with a new key, at half of a certificate's life and when the CA
// was replaced. Safe for concurrent use.
func (r *Registry) ServerCertificate(hosts []string) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	s := &serverCertificate{r: r, hosts: hosts}
	if _, err := s.get(nil); err != nil {
		return nil, err
	}
	return s.get, nil
}

type serverCertificate struct {
	r     *Registry
	hosts []string

	mu   sync.Mutex
	cert *tls.Certificate
	ca   *authority // that issued it
	half time.Time
}

func (s *serverCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ca := time.Now(), s.r.trust.Load().issuer
	if s.cert != nil && s.ca == ca && now.Before(s.half) {
		return s.cert, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("registry: make a server key: %w", err)
	}
	cert, err := ca.issueServer(s.hosts, s.r.cfg.Life, key, now)
	if err != nil {
		return nil, err
	}
	s.cert = &tls.Certificate{Certificate: [][]byte{cert.Raw, ca.cert.Raw}, PrivateKey: key, Leaf: cert}
	s.ca, s.half = ca, now.Add(cert.NotAfter.Sub(now)/2)
	return s.cert, nil
}

// issueServer signs a server certificate for host names and IP addresses.
func (a *authority) issueServer(hosts []string, life time.Duration, key *ecdsa.PrivateKey, now time.Time) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{Organization: []string{"Penstock"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              earlier(now.Add(life), a.cert.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	if len(hosts) == 0 {
		return nil, errors.New("registry: a server certificate needs a host name or IP address")
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("registry: issue a server certificate for %q: %w", hosts, err)
	}
	return x509.ParseCertificate(der)
}
