package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"penstock.dev/penstock/gateway/hop"
)

// body is what a workload reads of a failure.
type body struct {
	Error     string `json:"error"`
	RequestID string `json:"requestId"`
	Message   string `json:"message"`
}

// write answers a request with a failure and returns the status. grpc asks for the trailers-only form.
func (f *failure) write(w http.ResponseWriter, pseudonym, requestID string, grpc bool) int {
	a, ok := answers[f.reason]
	if !ok {
		a = answers[reasonPanic]
	}
	message := a.message
	if f.executed == executedMaybe {
		message += "; the request may have been executed"
	}
	h := w.Header()
	h.Set("Proxy-Status", proxyStatus(pseudonym, a.error, firstOf(f.details, a.details, f.reason), f.executed))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", requestID)
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(a.retryAfter))
	}
	if f.loop != "" {
		h.Set("X-Should-Retry", "false")
	}
	switch a.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="penstock"`) // RFC 9110 §15.5.2 wants one
	case http.StatusMethodNotAllowed:
		h.Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") // RFC 9110 §15.5.6
	}
	if f.notProcessed {
		hop.SetNotProcessed(h, "overload")
	}
	if grpc {
		// gRPC over HTTP/2, Trailers-Only: the status stands in the one header block of a 200.
		h.Set("Content-Type", "application/grpc")
		h.Set("Grpc-Status", strconv.Itoa(grpcStatus(a.status, f)))
		h.Set("Grpc-Message", grpcMessage(message))
		if f.loop != "" {
			h.Set("Grpc-Retry-Pushback-Ms", "-1")
		}
		w.WriteHeader(http.StatusOK)
		return a.status
	}
	text, err := json.Marshal(body{f.reason, requestID, message})
	if err != nil {
		text = []byte("{}")
	}
	text = append(text, '\n')
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(a.status)
	_, _ = w.Write(text) // a client that is gone needs no answer
	return a.status
}

// proxyStatus is one member of RFC 9209's list. The pseudonym is a token where it can be one, else a string.
func proxyStatus(pseudonym, errorType, details string, ex executed) string {
	name := pseudonym
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = strconv.Quote(name)
	}
	return name + "; error=" + errorType + `; details="` + details + `"; executed=` + string(ex)
}

// grpcStatus follows gRPC's table of HTTP statuses, with these exceptions: 508 is FAILED_PRECONDITION (HOPS-AND-RETRIES
// A.3); 429 and 504 have codes of their own; and what may have been executed is UNKNOWN, because clients repeat
// UNAVAILABLE.
func grpcStatus(status int, f *failure) int {
	switch {
	case status == http.StatusLoopDetected:
		return 9
	case status == http.StatusGatewayTimeout:
		return 4 // DEADLINE_EXCEEDED
	case f.executed == executedMaybe:
		return 2 // UNKNOWN
	}
	switch status {
	case http.StatusBadRequest:
		return 13 // INTERNAL
	case http.StatusUnauthorized:
		return 16 // UNAUTHENTICATED
	case http.StatusForbidden:
		return 7 // PERMISSION_DENIED
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return 12 // UNIMPLEMENTED
	case http.StatusTooManyRequests:
		return 8 // RESOURCE_EXHAUSTED
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return 14 // UNAVAILABLE
	}
	return 2
}

// grpcMessage percent-encodes what gRPC wants encoded. Our messages are ASCII.
func grpcMessage(s string) string { return strings.ReplaceAll(s, "%", "%25") }

func isGRPC(h http.Header) bool {
	t := h.Get("Content-Type")
	return t == "application/grpc" || strings.HasPrefix(t, "application/grpc+") || strings.HasPrefix(t, "application/grpc;")
}

func firstOf(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}
