package cli_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/manifest"
)

// fakeHub answers the admin API from memory, for the commands to be tested against: what it is told is remembered, what
// it is asked comes from there. It judges nothing beyond what the commands must handle.
type fakeHub struct {
	mu          sync.Mutex
	clusters    []admin.Cluster
	credentials []admin.Credential
	objects     []admin.Object
	calls       []string // "METHOD uri", since the last look
	lastBody    []byte
}

// The one token of the fake's remote side.
const fakeToken = "tok-canary-admin"

var fakeExpiry = time.Date(2099, 1, 2, 3, 4, 5, 0, time.UTC)

func newFakeHub() *fakeHub {
	return &fakeHub{
		clusters: []admin.Cluster{
			{
				Name: "east", Role: admin.RoleSpoke, State: admin.StateReady, Labels: map[string]string{"tier": "prod", "region": "eu"}, Created: ago(50 * time.Hour),
				Instances: []admin.Instance{{ID: "i-1", Version: "v0.1.0", Group: "sp-9f", Hub: "hub-a", Transport: "quic", Lanes: 2, RTTMillis: 12.34, Revision: 42, NotAfter: time.Now().Add(30*time.Minute + 30*time.Second), Since: ago(3*time.Hour + time.Minute)}},
			},
			{Name: "west", Role: admin.RoleSpoke, State: admin.StatePending, SourceIP: "Trusted", Created: ago(10 * time.Minute), TokenExpires: time.Now().Add(5*time.Minute + 30*time.Second)},
		},
		credentials: []admin.Credential{
			{
				Namespace: "ai", Name: "openai-key", Kind: "Bearer", Hosts: []string{"api.example.com", "eu.example.com"}, Version: "2",
				Versions: []admin.CredentialVersion{{Version: "2", Created: ago(5 * time.Hour)}, {Version: "1", Created: ago(100 * time.Hour)}},
			},
			{Namespace: "ai", Name: "fresh-key", Kind: "Basic", Hosts: []string{"old.example.com"}},
		},
		objects: []admin.Object{
			object("Backend", "ai", "openai", "folder:/etc/penstock/catalog", `{"apiVersion":"penstock.dev/v1alpha1","kind":"Backend","metadata":{"name":"openai","namespace":"ai"},"spec":{"port":{"number":443}}}`,
				admin.Condition{Type: "Accepted", Status: "True", Reason: "Accepted"}, admin.Condition{Type: "Programmed", Status: "True", Reason: "Programmed"}),
			object("Backend", "ai", "broken", admin.OwnerCLI, `{"apiVersion":"penstock.dev/v1alpha1","kind":"Backend","metadata":{"name":"broken","namespace":"ai"}}`,
				admin.Condition{Type: "Accepted", Status: "False", Reason: "Invalid", Message: `"api" is not a full name`}, admin.Condition{Type: "Degraded", Status: "True", Reason: "Invalid"}),
			object("Cluster", "", "east", admin.OwnerCLI, `{"apiVersion":"penstock.dev/v1alpha1","kind":"Cluster","metadata":{"name":"east"}}`),
		},
	}
}

// ago is a time in the past, half a second more than said, so that a slow test prints the same age.
func ago(d time.Duration) time.Time { return time.Now().Add(-d - 500*time.Millisecond) }

func object(kind, namespace, name, owner, manifest string, conditions ...admin.Condition) admin.Object {
	return admin.Object{
		ObjectKey: admin.ObjectKey{APIVersion: "penstock.dev/v1alpha1", Kind: kind, Namespace: namespace, Name: name},
		Owner:     owner, Created: ago(3 * time.Hour), Revision: 7, Conditions: conditions, Manifest: json.RawMessage(manifest),
	}
}

// reply is what a handler of the fake answers.
type reply struct {
	status int
	body   any
}

func ok(v any) reply { return reply{http.StatusOK, v} }

func fail(status int, message, remedy string) reply {
	e := admin.Errorf(status, "%s", message)
	e.Remedy = remedy
	return reply{status, e}
}

func (h *fakeHub) handler() http.Handler {
	mux := http.NewServeMux()
	for op, serve := range map[string]func(r *http.Request, body []byte) reply{
		admin.OpClusterRegister:  h.register,
		admin.OpClusterList:      func(*http.Request, []byte) reply { return ok(admin.ClusterList{Items: h.clusters}) },
		admin.OpClusterGet:       h.cluster(""),
		admin.OpClusterSuspend:   h.cluster(admin.StateSuspended),
		admin.OpClusterResume:    h.cluster(admin.StateReady),
		admin.OpClusterRevoke:    h.cluster(admin.StateRevoked),
		admin.OpClusterRecover:   h.recover,
		admin.OpCredentialList:   h.listCredentials,
		admin.OpCredentialSet:    h.setCredential,
		admin.OpCredentialRotate: h.setCredential,
		admin.OpObjectList:       h.listObjects,
		admin.OpObjectGet:        h.getObject,
		admin.OpObjectDelete:     h.deleteObject,
		admin.OpObjectApply:      h.write(true),
		admin.OpObjectDiff:       h.write(false),
		admin.OpObjectValidate:   h.validate,
		admin.OpExplain:          h.explain,
		admin.OpWhy:              h.why,
		admin.OpStatus:           h.status,
		admin.OpAudit: func(*http.Request, []byte) reply {
			r := admin.AuditRecord{Seq: 1, Time: fakeExpiry, ID: "A1", Actor: "token:ci", Role: "team-admin", Verb: "apply", Object: "Backend ai/openai", Outcome: admin.OutcomeAsked}.Chain("")
			done := r
			done.Seq, done.Outcome = 2, admin.OutcomeDone
			return ok(admin.AuditList{Items: []admin.AuditRecord{r, done.Chain(r.Hash)}})
		},
		admin.OpVersion: func(*http.Request, []byte) reply {
			return ok(admin.Version{Version: "v0.1.0", Commit: "abc", Go: "go1.26", Name: "hub-a"})
		},
	} {
		mux.HandleFunc(op, func(w http.ResponseWriter, r *http.Request) {
			h.mu.Lock()
			defer h.mu.Unlock()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			h.calls = append(h.calls, r.Method+" "+r.RequestURI)
			h.lastBody = body
			a := serve(r, body)
			w.WriteHeader(a.status)
			json.NewEncoder(w).Encode(a.body)
		})
	}
	return mux
}

// remote is the handler behind TLS: a token is wanted.
func (h *fakeHub) remote() http.Handler {
	local := h.handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+fakeToken {
			w.WriteHeader(http.StatusUnauthorized)
			e := admin.Errorf(http.StatusUnauthorized, "no token that is known here")
			e.Remedy = "give --token-file with a token of admin.tokens"
			json.NewEncoder(w).Encode(e)
			return
		}
		local.ServeHTTP(w, r)
	})
}

func (h *fakeHub) find(name string) *admin.Cluster {
	for i := range h.clusters {
		if h.clusters[i].Name == name {
			return &h.clusters[i]
		}
	}
	return nil
}

func noCluster(name string) reply {
	return fail(http.StatusNotFound, `cluster "`+name+`" is not registered`, "register it with: penstock cluster register "+name)
}

func bundle(name string) reply {
	return reply{http.StatusCreated, control.Bundle{
		APIVersion: control.BundleVersion, Cluster: name, Token: "join-token-of-" + name, Join: []string{"https://hub.example.com:8443"},
		CAPin: "sha256:00", TrustDomain: "example.com", Expires: fakeExpiry,
	}}
}

func (h *fakeHub) register(_ *http.Request, body []byte) reply {
	var req admin.RegisterRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return fail(http.StatusBadRequest, err.Error(), "")
	}
	if h.find(req.Name) != nil {
		return fail(http.StatusConflict, `cluster "`+req.Name+`" is registered already`, "for a new token: penstock cluster recover "+req.Name)
	}
	h.clusters = append(h.clusters, admin.Cluster{Name: req.Name, Role: req.Role, Labels: req.Labels, State: admin.StatePending})
	return bundle(req.Name)
}

func (h *fakeHub) recover(r *http.Request, _ []byte) reply {
	name := r.PathValue(admin.ParamName)
	if h.find(name) == nil {
		return noCluster(name)
	}
	return bundle(name)
}

func (h *fakeHub) cluster(state string) func(*http.Request, []byte) reply {
	return func(r *http.Request, _ []byte) reply {
		c := h.find(r.PathValue(admin.ParamName))
		switch {
		case c == nil:
			return noCluster(r.PathValue(admin.ParamName))
		case state == admin.StateReady && c.State != admin.StateSuspended:
			return fail(http.StatusConflict, `cluster "`+c.Name+`" is not suspended`, "")
		case state != "":
			c.State = state
		}
		return ok(*c)
	}
}

func (h *fakeHub) listCredentials(r *http.Request, _ []byte) reply {
	list := admin.CredentialList{Items: []admin.Credential{}}
	for _, c := range h.credentials {
		if ns := r.URL.Query().Get(admin.ParamNamespace); ns == "" || ns == c.Namespace {
			list.Items = append(list.Items, c)
		}
	}
	return ok(list)
}

func (h *fakeHub) setCredential(r *http.Request, body []byte) reply {
	for i := range h.credentials {
		c := &h.credentials[i]
		if c.Namespace != r.PathValue(admin.ParamNamespace) || c.Name != r.PathValue(admin.ParamName) {
			continue
		}
		if r.Method == http.MethodPost && c.Version == "" {
			return fail(http.StatusNotFound, "credential ai/fresh-key has no value yet", "set one with: penstock credential set ai/fresh-key")
		}
		if strings.Contains(string(body), "chatty") {
			// A hub that repeats a value in its error is broken; the command must not pass that on.
			return fail(http.StatusConflict, "cannot store "+string(body), "")
		}
		c.Version = "3"
		c.Versions = append([]admin.CredentialVersion{{Version: "3", Created: time.Now()}}, c.Versions...)
		return ok(*c)
	}
	return fail(http.StatusNotFound, "there is no Credential "+r.PathValue(admin.ParamNamespace)+"/"+r.PathValue(admin.ParamName), "apply one first")
}

func (h *fakeHub) listObjects(r *http.Request, _ []byte) reply {
	list := admin.ObjectList{Items: []admin.Object{}}
	q := r.URL.Query()
	for _, o := range h.objects {
		if (q.Get(admin.ParamKind) == "" || q.Get(admin.ParamKind) == o.Kind) && (q.Get(admin.ParamNamespace) == "" || q.Get(admin.ParamNamespace) == o.Namespace) {
			list.Items = append(list.Items, o)
		}
	}
	return ok(list)
}

func (h *fakeHub) at(r *http.Request) int {
	namespace := strings.TrimPrefix(r.PathValue(admin.ParamNamespace), admin.NoNamespace)
	return slices.IndexFunc(h.objects, func(o admin.Object) bool {
		return o.Kind == r.PathValue(admin.ParamKind) && o.Namespace == namespace && o.Name == r.PathValue(admin.ParamName)
	})
}

func noObject(r *http.Request) reply {
	return fail(http.StatusNotFound, "there is no "+r.PathValue(admin.ParamKind)+" "+r.PathValue(admin.ParamNamespace)+"/"+r.PathValue(admin.ParamName), "see: penstock get")
}

func (h *fakeHub) getObject(r *http.Request, _ []byte) reply {
	i := h.at(r)
	if i < 0 {
		return noObject(r)
	}
	return ok(h.objects[i])
}

func (h *fakeHub) deleteObject(r *http.Request, _ []byte) reply {
	i := h.at(r)
	if i < 0 {
		return noObject(r)
	}
	o := h.objects[i]
	if o.Owner != admin.OwnerCLI {
		return reply{http.StatusConflict, &admin.Error{
			Status: http.StatusConflict, Code: admin.CodeOwned,
			Message: o.String() + " belongs to " + o.Owner + `, not to "cli"`, Remedy: "delete it there",
		}}
	}
	h.objects = slices.Delete(h.objects, i, i+1)
	return ok(admin.Change{ObjectKey: o.ObjectKey, Change: admin.Deleted})
}

// write answers apply and diff.
func (h *fakeHub) write(commit bool) func(*http.Request, []byte) reply {
	return func(_ *http.Request, body []byte) reply {
		var req admin.Manifests
		if err := json.Unmarshal(body, &req); err != nil {
			return fail(http.StatusBadRequest, err.Error(), "")
		}
		if f := findings(req); len(f) > 0 {
			e := admin.Errorf(http.StatusUnprocessableEntity, "%d finding(s); nothing was written", len(f))
			e.Findings, e.Remedy = f, "correct the manifests"
			return reply{e.Status, e}
		}
		list := admin.ChangeList{Items: []admin.Change{}}
		for _, m := range req.Items {
			objects, _ := manifest.Parse(m.Source, []byte(m.Data))
			for _, o := range objects {
				c := admin.Change{ObjectKey: admin.ObjectKey{Kind: o.ID.Kind, Namespace: o.ID.Namespace, Name: o.ID.Name}, Source: m.Source}
				i := slices.IndexFunc(h.objects, func(have admin.Object) bool {
					return have.Kind == o.ID.Kind && have.Namespace == o.ID.Namespace && have.Name == o.ID.Name
				})
				switch {
				case i < 0:
					c.Change, c.Diff = admin.Created, []string{"+" + string(o.JSON)}
				case string(h.objects[i].Manifest) == string(o.JSON):
					c.Change = admin.Unchanged
				default:
					c.Change, c.Diff = admin.Changed, []string{" the same", "-" + string(h.objects[i].Manifest), "+" + string(o.JSON)}
				}
				if commit && i < 0 {
					h.objects = append(h.objects, object(o.ID.Kind, o.ID.Namespace, o.ID.Name, admin.OwnerCLI, string(o.JSON)))
				} else if commit {
					h.objects[i].Manifest = o.JSON
				} else {
					list.Items = append(list.Items, c)
					continue
				}
				c.Diff = nil
				list.Items = append(list.Items, c)
			}
		}
		return ok(list)
	}
}

func findings(req admin.Manifests) []admin.Finding {
	var out []admin.Finding
	for _, m := range req.Items {
		_, problems := manifest.Parse(m.Source, []byte(m.Data))
		for _, p := range problems {
			out = append(out, admin.Finding(p))
		}
	}
	return out
}

func (h *fakeHub) validate(_ *http.Request, body []byte) reply {
	var req admin.Manifests
	if err := json.Unmarshal(body, &req); err != nil {
		return fail(http.StatusBadRequest, err.Error(), "")
	}
	return ok(admin.FindingList{Items: findings(req)})
}

func (h *fakeHub) explain(_ *http.Request, body []byte) reply {
	var req admin.ExplainRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return fail(http.StatusBadRequest, err.Error(), "")
	}
	if h.find(req.Cluster) == nil {
		return noCluster(req.Cluster)
	}
	if req.Namespace != "team-a" {
		return ok(admin.Explanation{
			Status: 403, Reason: "not-granted", Message: "no EgressGrant lets " + req.Cluster + "/" + req.Namespace + "/" + req.ServiceAccount + " use ai/openai",
			Remedy: "add it to from of an EgressGrant in namespace ai", Revision: 42, Route: "Alias ai/openai",
		})
	}
	return ok(admin.Explanation{
		Allowed: true, Revision: 42, Listener: "penstock-system/hub/tunnel", Route: "Alias ai/openai", Rule: "0", Grant: "ai/team-a", Backend: "ai/openai",
		Credential: "ai/openai-key", NextHop: "api.example.com:443", Attempts: 3, ResponseHeadersMillis: 30000, Retries: "at the hub, on proof",
		Targets: []admin.ExplainedTarget{{Backend: "ai/openai", Weight: 9}, {Weight: 1, Invalid: "BackendNotFound"}},
		Filters: []admin.ExplainedFilter{
			{Name: "no-trace", Type: "penstock.dev/HeaderModifier:v1", Phase: "request-headers", Priority: 10, From: "EgressPolicy ai/defaults"},
			{Name: "key", Type: "penstock.dev/CredentialInjector:v1", Phase: "backend-request", FailOpen: true, From: "Backend ai/openai"},
		},
	})
}

func (h *fakeHub) why(r *http.Request, _ []byte) reply {
	id := r.PathValue(admin.ParamRequestID)
	if id != "01JREFUSED" {
		return fail(http.StatusNotFound, "no refusal of request "+id+" is remembered", "the last 10,000 are; ask soon, and ask each replica")
	}
	return ok(admin.RefusalList{Items: []control.Refusal{{
		RequestID: id, Time: fakeExpiry, Gateway: "hub-a", Cluster: "east", Namespace: "team-b", ServiceAccount: "bot", Method: "GET", Host: "openai", Path: "/v1/models",
		Route: "Alias ai/openai", Backend: "ai/openai", Status: 403, Reason: "not-granted", Detail: "no EgressGrant names the caller", Remedy: "add one",
	}}})
}

func (h *fakeHub) status(*http.Request, []byte) reply {
	return ok(admin.Status{
		Name: "hub-a", TrustDomain: "example.com", Version: "v0.1.0", Ready: false, Reasons: []string{"the tunnel listener is not bound"}, Started: ago(3 * time.Hour), Revision: 42,
		Catalog:  admin.CatalogStatus{Kind: "etcd", Error: "deadline exceeded"},
		Replicas: []admin.Replica{{Name: "hub-a", Address: "hub-a.example.com:8443", Zone: "a", Leader: true, Revision: 42, Version: "v0.1.0"}, {Name: "hub-b"}},
		Tunnel:   []string{"hub-a.example.com:8443"}, Join: []string{"https://hub-a.example.com:8443"},
		Listen:   []admin.Listener{{Name: "penstock-system/hub/tunnel", Protocol: "penstock.dev/Tunnel", Address: "192.0.2.1:8443"}},
		Clusters: h.clusters, Objects: map[string]int{"Backend": 2, "Cluster": 1},
		Problems: []admin.Finding{{Object: "Backend ai/broken", Field: "spec.externalHostname.hostname", Reason: "Invalid", Message: `"api" is not a full name`, Remedy: `write e.g. "api.example.com"`}},
	})
}
