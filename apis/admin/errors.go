package admin

import (
	"errors"
	"fmt"
	"net/http"
)

// ErrUnreachable is wrapped by what a Client returns when it got no answer at all; test with errors.Is.
var ErrUnreachable = errors.New("the hub does not answer")

// Codes of an Error, for programs. A status has one default code; a server may be more specific.
const (
	CodeBadRequest   = "bad-request"  // 400: the request cannot be read
	CodeUnauthorized = "unauthorized" // 401: no token or certificate, or an unknown one
	CodeForbidden    = "forbidden"    // 403
	CodeNotFound     = "not-found"    // 404
	CodeConflict     = "conflict"     // 409: it is there already, or changed meanwhile
	CodeOwned        = "owned"        // 409: another owner wrote the object; both are named
	CodeTooLarge     = "too-large"    // 413
	CodeInvalid      = "invalid"      // 422: see Findings
	CodeInternal     = "internal"     // 500
	CodeUnavailable  = "unavailable"  // 503: the catalog is away
)

// Error is every answer that is not 2xx; test with errors.As.
type Error struct {
	// Status is the HTTP status.
	Status int `json:"status"`
	// Code is one of the Code constants, or a newer one.
	Code string `json:"code"`
	// Message says what failed and on what, lower case; Remedy what to do about it. Neither holds a secret.
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
	// Findings with CodeInvalid.
	Findings []Finding `json:"findings,omitempty"`
}

// Error is message and remedy in one line.
func (e *Error) Error() string {
	if e.Remedy == "" {
		return e.Message
	}
	return e.Message + "; " + e.Remedy
}

// Errorf makes an Error whose code is the default of its status. Set Remedy on the result.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Code: codeOf(status), Message: fmt.Sprintf(format, args...)}
}

func codeOf(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return CodeUnauthorized
	case http.StatusForbidden:
		return CodeForbidden
	case http.StatusNotFound:
		return CodeNotFound
	case http.StatusConflict:
		return CodeConflict
	case http.StatusRequestEntityTooLarge:
		return CodeTooLarge
	case http.StatusUnprocessableEntity:
		return CodeInvalid
	case http.StatusServiceUnavailable:
		return CodeUnavailable
	}
	if status >= http.StatusInternalServerError {
		return CodeInternal
	}
	return CodeBadRequest
}
