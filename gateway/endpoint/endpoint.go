package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
)

// Credentials writes credentials onto requests. Only the hub implements it; a spoke passes none, and a Backend with a
// credential is then refused.
type Credentials interface {
	// Apply deletes from req whatever the workload sent in the credential's place and writes the current value. It is
	// called for each attempt, once the connection to a verified, IP-checked peer is up, and host is that peer's
	// verified name. It fails when host is not among the credential's hosts or there is no value; then nothing is sent.
	Apply(req *http.Request, ref, host string) (version string, err error)
	// Version in use, part of the connection pool's key (TH-I8); "" if there is none.
	Version(ref string) string
}

// Keys returns client key pairs by name, see route.TLS.ClientCertificate.
type Keys interface {
	KeyPair(name string) (*tls.Certificate, error)
}

// Config of an Endpoint. The zero value dials with the system's resolver and roots, guard on, and refuses credentials.
type Config struct {
	Credentials Credentials
	Keys        Keys
	// Hosts are static answers: name (lower case, no dot at the end) to addresses. They stand before any server.
	Hosts map[string][]netip.Addr
	// Servers are DNS servers "ip:port"; empty: those of the system.
	Servers []string
	// Own lists the address and port of every own listener and of every registered gateway; an unspecified address
	// stands for every own interface. Dialing one is a loop (self-dial), decided before the guard. Called per dial.
	Own func() []netip.AddrPort
	// Roots for Backends without a CA of their own; nil: the system's.
	Roots *x509.CertPool
	Log   *slog.Logger
	// IdleTimeout of pooled connections [90s]; MaxIdlePerBackend [64].
	IdleTimeout       time.Duration
	MaxIdlePerBackend int
	// Dial is for tests: it dials an address that was already checked; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Endpoint originates requests. Safe for concurrent use.
type Endpoint struct{}

// New checks the config.
func New(cfg Config) (*Endpoint, error) { panic("todo") }

// RoundTrip makes exactly one attempt: at most one wire request, no hidden repeat, no redirect followed. It returns an
// *Error on failure. If the error is Unprocessed, req.Body was neither read nor closed.
func (e *Endpoint) RoundTrip(req *http.Request, b *route.Backend) (*http.Response, error) {
	panic("todo")
}

// Sent counts wire requests (heads handed to a connection) since the start; hidden repeats are Sent minus attempts.
func (e *Endpoint) Sent() int64 { panic("todo") }

// Close closes idle connections and stops background work.
func (e *Endpoint) Close() { panic("todo") }

// Cause of an Error, named after RFC 9209 error types.
type Cause string

// The causes.
const (
	DNSError              Cause = "dns_error"
	DestinationProhibited Cause = "destination_ip_prohibited"
	SelfDial              Cause = "self-dial" // not RFC 9209: becomes proxy_loop_detected
	ConnectionRefused     Cause = "connection_refused"
	ConnectionTimeout     Cause = "connection_timeout"
	TLSCertificateError   Cause = "tls_certificate_error"
	TLSProtocolError      Cause = "tls_protocol_error"
	ConnectionTerminated  Cause = "connection_terminated"
	ResponseTimeout       Cause = "http_response_timeout"
	ResponseHeaderSize    Cause = "http_response_header_section_size"
	ProtocolError         Cause = "http_protocol_error"
	CredentialUnavailable Cause = "credential-unavailable" // not RFC 9209: 503 with details
	CredentialHost        Cause = "credential-host"        // the credential may not go to this host: 403
)

// Error is a failed attempt.
type Error struct {
	Cause Cause
	Class retry.Class
	// Sent: a byte of the head was handed to the connection, so the attempt may have been executed.
	Sent bool
	// Proven: the upstream proved that it did not process the request (REFUSED_STREAM, GOAWAY below).
	Proven bool
	// Reused connection.
	Reused bool
	Err    error
}

func (e *Error) Error() string { panic("todo") }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Unprocessed reports a proof of the P1/P2/P3 kind.
func (e *Error) Unprocessed() bool { return !e.Sent || e.Proven }
