package manifest

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// parseKeyPair reads tls.crt and tls.key. Its errors say nothing of the key but that it does not fit.
func parseKeyPair(s *corev1.Secret) (*tls.Certificate, error) {
	crt, key := s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]
	switch {
	case len(crt) == 0:
		return nil, errors.New("tls.crt is missing; use a Secret of type kubernetes.io/tls")
	case len(key) == 0:
		return nil, errors.New("tls.key is missing; use a Secret of type kubernetes.io/tls")
	}
	pair, err := tls.X509KeyPair(crt, key)
	if err != nil {
		// The cause of crypto/tls names block types and algorithms only, never key bytes.
		return nil, fmt.Errorf("tls.crt and tls.key are not a key pair in PEM: %w", err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("tls.crt: %w", err)
		}
	}
	return &pair, nil
}

// hashKeyPair changes when any certificate of the chain does, and a new key always comes with a new certificate.
func hashKeyPair(pair *tls.Certificate) string {
	h := sha256.New()
	for _, der := range pair.Certificate {
		sum := sha256.Sum256(der)
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// parseCAs reads a bundle of certificates: PEM, nothing but certificates, at least one. A private key that slipped into
// the bundle is refused before it reaches a snapshot. It returns the bundle in canonical form and the certificates.
func parseCAs(bundle []byte) (canonical string, certs []*x509.Certificate, err error) {
	var out []byte
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return "", nil, fmt.Errorf("ca.crt holds a block of type %q, but must hold certificates only", clip(block.Type))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", nil, fmt.Errorf("ca.crt: certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, c)
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
	}
	if len(certs) == 0 {
		return "", nil, errors.New("ca.crt holds no certificate in PEM")
	}
	return string(out), certs, nil
}

// expired reports whether all certificates are past their end at now; never if now is zero.
func expired(now time.Time, certs ...*x509.Certificate) bool {
	if now.IsZero() || len(certs) == 0 {
		return false
	}
	for _, c := range certs {
		if !now.After(c.NotAfter) {
			return false
		}
	}
	return true
}
