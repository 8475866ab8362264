package registry

import (
	"errors"

	"penstock.dev/penstock/hub/catalog"
)

// Code says what kind of refusal an Error is. Codes are part of the join and admin APIs: a meaning never changes.
type Code string

// The codes.
const (
	BadRequest        Code = "bad-request"        // malformed: nothing was looked up
	ClusterUnknown    Code = "cluster-unknown"    // no such Cluster
	ClusterRegistered Code = "cluster-registered" // register: a gateway of this name has joined already
	ClusterSuspended  Code = "cluster-suspended"
	ClusterRevoked    Code = "cluster-revoked" // the gateway group is invalid for good
	TokenUnknown      Code = "token-unknown"   // also for a token of another cluster
	TokenUsed         Code = "token-used"
	TokenExpired      Code = "token-expired"
	CSRRefused        Code = "csr-refused"
	CertRefused       Code = "certificate-refused" // recover: not ours, of another trust domain, not signed for
	WindowPassed      Code = "recover-window-passed"
	InstanceUnknown   Code = "instance-unknown"
	InstanceLocked    Code = "instance-locked"   // an old generation was used: two processes may hold one key
	TooManyFailures   Code = "too-many-failures" // join endpoint: this source failed too often
	Busy              Code = "busy"              // lost too many races, or too many requests at once; try again
	Unavailable       Code = "unavailable"       // the catalog is away
)

// Error is a refusal with its remedy. It never holds a token, a key or a sealed value. Use errors.As.
type Error struct {
	Code    Code
	Message string
	// Remedy is what to do about it.
	Remedy string
	// Err is the cause, for the log; it is not sent to a peer. May be nil.
	Err error
}

func (e *Error) Error() string {
	s := "registry: " + e.Message
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// refuse makes an Error without cause.
func refuse(code Code, message, remedy string) *Error {
	return &Error{Code: code, Message: message, Remedy: remedy}
}

// stored turns an error of the catalog into an Error that says what was being done.
func stored(doing string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if errors.Is(err, catalog.ErrConflict) {
		return &Error{Code: Busy, Message: doing, Remedy: "somebody else changed it at the same time; try again", Err: err}
	}
	return &Error{Code: Unavailable, Message: doing, Remedy: "try again when the catalog answers", Err: err}
}
