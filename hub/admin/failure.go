package admin

import (
	"context"
	"errors"
	"net/http"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/credential"
	"penstock.dev/penstock/hub/registry"
)

// failure is what a caller is told about an error. What nobody foresaw stays in the log: its text could hold anything.
func (s *Server) failure(r *http.Request, err error) *admin.Error {
	if e, ok := errors.AsType[*admin.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*registry.Error](err); ok {
		out := admin.Errorf(registryStatus(e.Code), "%s", e.Message)
		out.Remedy = e.Remedy
		s.logCause(r, out, e.Err)
		return out
	}
	var out *admin.Error
	switch {
	case errors.Is(err, catalog.ErrOwned):
		out = admin.Errorf(http.StatusConflict, "%v", err) // names object and owners, and what to do
		out.Code = admin.CodeOwned
	case errors.Is(err, credential.ErrValue):
		out = admin.Errorf(http.StatusBadRequest, "%v", err) // says what is wrong with the value, not what it is
	case errors.Is(err, credential.ErrNoValue):
		out = admin.Errorf(http.StatusNotFound, "the credential has no value yet")
		out.Remedy = "set one: `penstock credential set NAMESPACE/NAME`"
	case errors.Is(err, catalog.ErrNotFound):
		out = admin.Errorf(http.StatusNotFound, "%v", err)
		out.Remedy = "`penstock get` shows what there is"
	case errors.Is(err, catalog.ErrConflict):
		out = admin.Errorf(http.StatusConflict, "somebody else changed it at the same time")
		out.Remedy = "look at it, and try again"
	case errors.Is(err, catalog.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		out = admin.Errorf(http.StatusServiceUnavailable, "the catalog does not answer")
		out.Remedy = "the hub serves on from memory; try again when its catalog is back"
	default:
		out = admin.Errorf(http.StatusInternalServerError, "the hub could not do this")
		out.Remedy = "the cause is in the hub's log"
	}
	s.logCause(r, out, err)
	return out
}

func (s *Server) logCause(r *http.Request, e *admin.Error, cause error) {
	if cause != nil && e.Status >= http.StatusInternalServerError {
		s.log.Error("admin operation failed", "method", r.Method, "path", r.URL.Path, "error", cause)
	}
}

func registryStatus(c registry.Code) int {
	switch c {
	case registry.BadRequest:
		return http.StatusBadRequest
	case registry.ClusterUnknown:
		return http.StatusNotFound
	case registry.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusConflict
}
