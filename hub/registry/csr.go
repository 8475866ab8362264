package registry

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"
)

// maxCSR in bytes: a request with an ECDSA P-384 key and a few names is below 1 KiB.
const maxCSR = 8 << 10

// request is what counts of a certificate request.
type request struct {
	public crypto.PublicKey
	// key is the hex SHA-256 of the SubjectPublicKeyInfo.
	key string
}

// parseCSR takes one PKCS #10 request in PEM whose signature proves that the sender has the key. Names, extensions and
// attributes in it are ignored: the hub writes them.
func parseCSR(text string) (request, error) {
	no := func(message string) (request, error) {
		return request{}, refuse(CSRRefused, message, "send one PKCS #10 request in PEM with an ECDSA P-256, P-384 or Ed25519 key")
	}
	if len(text) > maxCSR {
		return no("the certificate request is longer than 8 KiB")
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil || block.Type != "CERTIFICATE REQUEST":
		return no("the certificate request is not PEM of type CERTIFICATE REQUEST")
	case strings.TrimSpace(string(rest)) != "":
		return no("there is more than one certificate request")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return no("the certificate request cannot be parsed")
	}
	switch k := csr.PublicKey.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() {
			return no("the certificate request's ECDSA curve is neither P-256 nor P-384")
		}
	default:
		return no("the certificate request's key is neither ECDSA nor Ed25519")
	}
	if err := csr.CheckSignature(); err != nil {
		return no("the certificate request is not signed by its own key")
	}
	return request{csr.PublicKey, keyHash(csr.RawSubjectPublicKeyInfo)}, nil
}

func keyHash(spki []byte) string {
	sum := sha256.Sum256(spki)
	return hex.EncodeToString(sum[:])
}
