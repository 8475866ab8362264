package tunnel

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// What tests that play the other end need of this package.
const (
	CodeNoError   = codeNoError
	CodeRejected  = codeRejected
	CodeCancelled = codeCancelled
	CodeMalformed = codeMalformed
)

// TLSFor is the config of an end of a tunnel.
func TLSFor(identity Identity, accept Role, usage x509.ExtKeyUsage) *tls.Config {
	c := &tlsConfigs{verifier: verifier{
		identity: identity, accept: []Role{accept}, usage: usage, now: time.Now,
	}}
	return c.current()
}

// TLSVersions returns the config for the roots that identity has at each call.
func TLSVersions(identity Identity) func() *tls.Config {
	c := &tlsConfigs{verifier: verifier{identity: identity, now: time.Now}}
	return c.current
}
