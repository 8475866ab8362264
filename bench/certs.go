package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// The names in the certificates; each is verified by whoever dials it.
const (
	upstreamName = "api.provider.example"
	hubName      = "hub.example.com"
	spokeName    = "spoke.example.com"
)

const (
	caFile  = "ca.pem"
	keyFile = "upstream-key"
)

// writeCertificates makes a CA for this run and one certificate a name, each in a file with its private key.
func writeCertificates(dir string, names ...string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := certificate("bench CA")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, caFile), pemBlock("CERTIFICATE", der), 0o600); err != nil {
		return err
	}
	for _, name := range names {
		leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		leaf := certificate(name)
		leaf.DNSNames = []string{name}
		leaf.KeyUsage = x509.KeyUsageDigitalSignature
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &leafKey.PublicKey, key)
		if err != nil {
			return err
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(leafKey)
		if err != nil {
			return err
		}
		pair := append(pemBlock("CERTIFICATE", der), pemBlock("PRIVATE KEY", pkcs8)...)
		if err := os.WriteFile(filepath.Join(dir, name+".pem"), pair, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// certificate is valid for a day.
func certificate(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
	}
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func readRoots(dir string) (*x509.CertPool, error) {
	data, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	return pool, nil
}

// clientTLS verifies server; name is the client's own certificate, "" for none.
func clientTLS(dir, server, name string) (*tls.Config, error) {
	roots, err := readRoots(dir)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{RootCAs: roots, ServerName: server, MinVersion: tls.VersionTLS13}
	if name != "" {
		c.Certificates, err = readPair(dir, name)
	}
	return c, err
}

// serverTLS shows the certificate of name.
func serverTLS(dir, name string) (*tls.Config, error) {
	pair, err := readPair(dir, name)
	return &tls.Config{Certificates: pair, MinVersion: tls.VersionTLS13}, err
}

func readPair(dir, name string) ([]tls.Certificate, error) {
	file := filepath.Join(dir, name+".pem")
	pair, err := tls.LoadX509KeyPair(file, file)
	return []tls.Certificate{pair}, err
}
