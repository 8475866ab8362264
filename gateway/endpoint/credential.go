package endpoint

import (
	"errors"
	"fmt"
	"net/http"

	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
)

// Credentials writes credentials onto requests. Only the hub implements it; a spoke passes none, and a Backend with a
// credential is then refused. Implementations are safe for concurrent use.
type Credentials interface {
	// Apply deletes from req whatever the workload sent in the credential's place and writes the current value. It is
	// called for each attempt, once the connection to a verified, IP-checked peer is up, and host is that peer's
	// verified name. It fails when host is not among the credential's hosts (wrapping ErrHost) or there is no value
	// (wrapping ErrNoValue); then nothing is sent. req is the Endpoint's own copy: header, URL and trailer may be
	// changed, a name deleted from Trailer stays off the wire.
	Apply(req *http.Request, ref, host string) (version string, err error)
	// Version in use, part of the connection pool's key (TH-I8); "" if there is none.
	Version(ref string) string
}

// credentialVersion refuses what can be refused before anything is dialed, and returns the version for the pool's key.
func (e *Endpoint) credentialVersion(b *route.Backend) (string, error) {
	switch {
	case b.Credential == "":
		return "", nil
	case e.cfg.Credentials == nil:
		return "", credentialError(b.Credential, fmt.Errorf("this gateway holds no credentials; reach Backend %s through a hub: %w", b.Key, ErrNoValue))
	case b.TLS == nil:
		return "", credentialError(b.Credential, fmt.Errorf("Backend %s is reached without TLS, so no host is verified; give it tls: %w", b.Key, ErrHost))
	default:
		return e.cfg.Credentials.Version(b.Credential), nil
	}
}

// errRotated: the value that Apply wrote is of another version than the connection is for.
var errRotated = errors.New("the credential changed while the connection was made")

// inject writes the credential onto out, the very last thing before it is sent. host is what the peer of the connection
// has proven to be.
//
// Where the Backend dials one name and verifies another, the credential must be meant for both. Either alone could be
// chosen by who edits the Backend: the one dialed, or, with an own CA, the one verified (THREATS TH-I5).
func (e *Endpoint) inject(out *http.Request, b *route.Backend, p *plan, host, version string) error {
	if b.Credential == "" {
		return nil
	}
	if host != "" && host != p.hostname {
		if _, err := e.cfg.Credentials.Apply(out.Clone(out.Context()), b.Credential, host); err != nil {
			return credentialError(b.Credential, err)
		}
	}
	got, err := e.cfg.Credentials.Apply(out, b.Credential, p.hostname)
	if err != nil {
		return credentialError(b.Credential, err)
	}
	if got != version {
		return &Error{Cause: CredentialUnavailable, Class: retry.NoRepeat, Err: errRotated}
	}
	return nil
}
