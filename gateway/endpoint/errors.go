package endpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"penstock.dev/penstock/gateway/retry"
)

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
	UpgradeFailed         Cause = "http_upgrade_failed"
	CredentialUnavailable Cause = "credential-unavailable" // not RFC 9209: 503 with details
	CredentialHost        Cause = "credential-host"        // the credential may not go to this host: 403
)

// What an implementation of Credentials.Apply wraps in its errors.
var (
	// ErrNoValue: there is no value to send: store down, revoked, not there yet.
	ErrNoValue = errors.New("the credential has no value")
	// ErrHost: the host is not among the credential's.
	ErrHost = errors.New("the credential may not be sent to this host")
)

// Why the Endpoint itself ends an exchange; an *Error wraps it.
var (
	// ErrIdle: neither side sent a byte of a body for the Backend's idle timeout.
	ErrIdle = errors.New("endpoint: nothing was sent either way for the idle timeout")
	// ErrClosed: the Endpoint was closed.
	ErrClosed = errors.New("endpoint: closed")
)

// Error is a failed attempt. Its text names addresses: it is for our log, never for a workload.
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

func (e *Error) Error() string {
	switch {
	case e.Proven:
		return fmt.Sprintf("endpoint: %s, proven not processed: %v", e.Cause, e.Err)
	case e.Sent:
		return fmt.Sprintf("endpoint: %s, may have been executed: %v", e.Cause, e.Err)
	default:
		return fmt.Sprintf("endpoint: %s, nothing sent: %v", e.Cause, e.Err)
	}
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Unprocessed reports a proof of the P1/P2/P3 kind.
func (e *Error) Unprocessed() bool { return !e.Sent || e.Proven }

// Row of the decision table of HOPS-AND-RETRIES B.3; 0: none fits. It implements retry.Located.
func (e *Error) Row() int {
	switch e.Cause {
	case DNSError:
		return 15
	case DestinationProhibited:
		return 16
	case SelfDial:
		return 11
	case ConnectionRefused, ConnectionTimeout:
		return 17
	case TLSCertificateError, TLSProtocolError:
		return 18
	case ResponseTimeout:
		return 22
	case ResponseHeaderSize:
		return 28
	case CredentialUnavailable:
		return 14
	case CredentialHost:
		return 12
	}
	switch {
	case errors.Is(e.Err, context.Canceled):
		return 30
	case e.Proven:
		return 20
	case e.Reused && e.Class == retry.ResetBeforeHeaders:
		return 19
	case e.Class == retry.ResetBeforeHeaders:
		return 21
	case e.Cause == ConnectionTerminated:
		return 27
	case e.Cause == ProtocolError && e.Sent:
		return 28
	}
	return 0
}

// giveUp is the error of an attempt that the caller ended before anything was sent: too late, or not wanted any more.
func giveUp(ctx context.Context, err error) *Error {
	if cause := context.Cause(ctx); !timedOut(cause) {
		return &Error{Cause: ConnectionTerminated, Class: retry.NoRepeat, Err: fmt.Errorf("%w: %w", cause, err)}
	}
	// %v: what the dialer says of a context that ended would look like a client that is gone.
	return &Error{Cause: ConnectionTimeout, Class: retry.ConnectFailure, Err: fmt.Errorf("%w: %v", context.Cause(ctx), err)}
}

// timedOut reports whether a caller ended its context for want of time, rather than because nobody wants the answer any
// more: that is a bare context.Canceled, while whoever runs a timer of its own cancels with a cause that says so.
func timedOut(cause error) bool { return !errors.Is(cause, context.Canceled) }

// credentialError sorts what an implementation of Credentials says.
func credentialError(ref string, err error) *Error {
	cause := CredentialUnavailable
	if errors.Is(err, ErrHost) {
		cause = CredentialHost
	}
	return &Error{Cause: cause, Class: retry.NoRepeat, Err: fmt.Errorf("credential %s: %w", ref, err)}
}

// The defaults and bounds of a plan.
const (
	defaultConnect = 5 * time.Second
	defaultIdle    = 5 * time.Minute
	maxHeaderBytes = 256 << 10
)
