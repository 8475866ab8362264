package admin

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/apis/control"
)

// call is one request of an operation, authenticated.
type call struct {
	*http.Request
	w http.ResponseWriter
}

// ctx of the request: it ends when the caller goes away.
func (c call) ctx() context.Context { return c.Request.Context() }

// operation answers a call with something that becomes JSON, or an error.
type operation func(call) (any, error)

// write is an operation that changes something, and what to call it in the audit. object names what is changed;
// it gets the call, whose body it must not read.
type write struct {
	verb   string
	object func(call) string
	status int // of success; 0: 200
	do     operation
}

// operations is the handler of all of them. Who calls is known; what they may is asked here.
func (s *Server) operations() http.Handler {
	mux := http.NewServeMux()
	read := func(op string, do operation) {
		do = permitted(op, do)
		mux.HandleFunc(op, func(w http.ResponseWriter, r *http.Request) { _ = s.answer(w, r, http.StatusOK, do) }) // a failure is answered and logged there
	}
	write := func(op string, o write) {
		o.do = permitted(op, o.do)
		mux.HandleFunc(op, func(w http.ResponseWriter, r *http.Request) { s.audited(w, r, o) })
	}

	write(admin.OpClusterRegister, s.clusterRegister())
	read(admin.OpClusterList, s.clusterList)
	read(admin.OpClusterGet, s.clusterGet)
	write(admin.OpClusterSuspend, s.clusterChange("suspend", s.cfg.Clusters.Suspend))
	write(admin.OpClusterResume, s.clusterChange("resume", s.cfg.Clusters.Resume))
	write(admin.OpClusterRevoke, s.clusterChange("revoke", s.cfg.Clusters.Revoke))
	write(admin.OpClusterRecover, s.clusterRecover())

	read(admin.OpCredentialList, s.credentialList)
	write(admin.OpCredentialSet, s.credentialSet("set", s.cfg.Credentials.Set))
	write(admin.OpCredentialRotate, s.credentialSet("rotate", s.cfg.Credentials.Rotate))

	read(admin.OpObjectList, s.objectList)
	read(admin.OpObjectGet, s.objectGet)
	write(admin.OpObjectDelete, s.objectDelete())
	write(admin.OpObjectApply, s.objectApply())
	read(admin.OpObjectDiff, s.objectDiff)
	read(admin.OpObjectValidate, s.objectValidate)

	read(admin.OpExplain, s.explain)
	read(admin.OpWhy, s.why)
	read(admin.OpStatus, s.status)
	read(admin.OpAudit, s.audit)
	read(admin.OpVersion, func(call) (any, error) { return s.cfg.Hub.Version(), nil })

	mux.HandleFunc("/", s.noOperation(mux))
	return mux
}

// answer runs an operation and writes what it says. It returns the error, for the audit log.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, status int, do operation) *admin.Error {
	v, err := s.guarded(call{r, w}, do)
	if err != nil {
		e := s.failure(r, err)
		writeJSON(w, e.Status, e)
		return e
	}
	writeJSON(w, status, v)
	return nil
}

// guarded turns a panic into an error: one broken operation must not cost the answer, nor put a body into a log.
func (s *Server) guarded(c call, do operation) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("admin operation panicked", "method", c.Method, "path", c.URL.Path, "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	return do(c)
}

var errPanicked = errors.New("the operation panicked")

// audited answers a write and writes down who asks for what before it is done, and then what came of it. What cannot be
// written down is not done.
func (s *Server) audited(w http.ResponseWriter, r *http.Request, o write) {
	status := o.status
	if status == 0 {
		status = http.StatusOK
	}
	actor := actorOf(r.Context())
	rec := admin.AuditRecord{ID: rand.Text(), Actor: actor.Name, Role: string(actor.Role), Verb: o.verb}
	var object string
	e := s.answer(w, r, status, func(c call) (any, error) {
		object = o.object(c)
		if err := s.record(rec, object, admin.OutcomeAsked); err != nil {
			s.log.Error("the audit cannot be written; nothing is changed", "error", err)
			e := admin.Errorf(http.StatusServiceUnavailable, "the audit cannot be written, so nothing was changed")
			e.Remedy = "look at the hub's disk and its log"
			return nil, e
		}
		return o.do(call{c.Request.WithContext(withObject(c.ctx(), &object)), c.w})
	})
	level, outcome := slog.LevelInfo, admin.OutcomeDone
	if e != nil {
		level, outcome = slog.LevelWarn, e.Code
	}
	if err := s.record(rec, object, outcome); err != nil {
		s.log.Error("what came of a write is not in the audit", "id", rec.ID, "error", err)
	}
	s.log.Log(r.Context(), level, "admin", "actor", actor.Name, "verb", o.verb, "object", object, "outcome", outcome)
}

// maxAuditObject bounds the names of an apply in a record.
const maxAuditObject = 4 << 10

func (s *Server) record(r admin.AuditRecord, object, outcome string) error {
	if s.cfg.Audit == nil {
		return nil
	}
	if len(object) > maxAuditObject {
		object = strings.ToValidUTF8(object[:maxAuditObject], "") + " …"
	}
	r.Object, r.Outcome = object, outcome
	return s.cfg.Audit.Append(r)
}

// audit answers with the last records.
func (s *Server) audit(c call) (any, error) {
	bad := func(param, remedy string) (any, error) {
		e := admin.Errorf(http.StatusBadRequest, "%s cannot be read", param)
		e.Remedy = remedy
		return nil, e
	}
	var since time.Time
	limit := 100
	var err error
	if v := c.URL.Query().Get(admin.ParamSince); v != "" {
		if since, err = time.Parse(time.RFC3339, v); err != nil {
			return bad(admin.ParamSince, "write a time as 2006-01-02T15:04:05Z")
		}
	}
	if v := c.URL.Query().Get(admin.ParamLimit); v != "" {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > admin.MaxAuditRecords {
			return bad(admin.ParamLimit, fmt.Sprintf("write a number from 1 to %d", admin.MaxAuditRecords))
		}
	}
	if s.cfg.Audit == nil {
		return admin.AuditList{Items: []admin.AuditRecord{}}, nil
	}
	return admin.AuditList{Items: s.cfg.Audit.Records(since, limit)}, nil
}

type objectKey struct{}

func withObject(ctx context.Context, object *string) context.Context {
	return context.WithValue(ctx, objectKey{}, object)
}

// isAbout names the object of a write once its body was read.
func isAbout(c call, object string) {
	if p, ok := c.ctx().Value(objectKey{}).(*string); ok {
		*p = object
	}
}

// noOperation says in JSON what ServeMux would say in text.
func (s *Server) noOperation(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allow []string
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); pattern != "/" {
				allow = append(allow, method)
			}
		}
		e := admin.Errorf(http.StatusNotFound, "there is no operation %s %s", r.Method, r.URL.Path)
		if len(allow) > 0 {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			e = admin.Errorf(http.StatusMethodNotAllowed, "%s is not a method of %s", r.Method, r.URL.Path)
		}
		e.Remedy = "the operations are in apis/admin; check that this client is not newer than the hub"
		writeJSON(w, e.Status, e)
	}
}

// readBody reads a body of at most limit bytes.
func readBody(c call, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		e := admin.Errorf(http.StatusRequestEntityTooLarge, "the request is longer than %d bytes", limit)
		e.Remedy = "send less at once"
		return nil, e
	}
	if err != nil {
		return nil, admin.Errorf(http.StatusBadRequest, "the request could not be read")
	}
	return body, nil
}

// readJSON reads a body that is exactly one JSON value. Unknown members are ignored (apis/admin).
func readJSON[T any](c call) (T, error) {
	var v T
	body, err := readBody(c, admin.MaxRequestBytes)
	if err != nil {
		return v, err
	}
	bad := func() (T, error) {
		// The decoder's error may quote the body.
		e := admin.Errorf(http.StatusBadRequest, "the request is not the JSON that %s %s takes", c.Method, c.URL.Path)
		e.Remedy = "send what apis/admin says"
		return v, e
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if dec.Decode(&v) != nil {
		return bad()
	}
	if _, err := dec.Token(); err != io.EOF {
		return bad()
	}
	return v, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // a type of apis/admin that JSON cannot hold
		status, body = http.StatusInternalServerError, []byte(`{"status":500,"code":"internal","message":"the answer cannot be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a caller that went away needs no answer
}

func (s *Server) explain(c call) (any, error) {
	req, err := readJSON[admin.ExplainRequest](c)
	if err != nil {
		return nil, err
	}
	if req.URL == "" {
		e := admin.Errorf(http.StatusBadRequest, "explain: there is no url")
		e.Remedy = "give the absolute URL of the request"
		return nil, e
	}
	return s.cfg.Hub.Explain(c.ctx(), req)
}

func (s *Server) why(c call) (any, error) {
	id := c.PathValue(admin.ParamRequestID)
	refusals := s.cfg.Hub.Why(c.ctx(), id)
	if len(refusals) == 0 {
		e := admin.Errorf(http.StatusNotFound, "no refusal of request %q is remembered", id)
		e.Remedy = "the last 10,000 are, for each replica; ask the others, or read the access log"
		return nil, e
	}
	return admin.RefusalList{Items: append([]control.Refusal{}, refusals...)}, nil
}
