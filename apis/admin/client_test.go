package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/apis/control"
)

// serve answers on a unix socket in a folder with a short path, and returns the path.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	return socket
}

func client(t *testing.T, cfg admin.Config) *admin.Client {
	t.Helper()
	c, err := admin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func answer(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// row is one method of the client, the operation it must reach, what must arrive there, and what comes back.
type row struct {
	name   string
	op     string
	target string // path and query on the wire
	body   string
	answer any
	call   func(ctx context.Context, c *admin.Client) (any, error)
}

func rows() []row {
	manifests := admin.Manifests{Items: []admin.Manifest{{Source: "a.yaml", Data: "kind: Backend\n"}}}
	const manifestsJSON = `{"items":[{"source":"a.yaml","data":"kind: Backend\n"}]}`
	return []row{
		{
			"register", admin.OpClusterRegister, "/v1/clusters", `{"name":"east","labels":{"region":"eu"},"role":"spoke","ttlSeconds":60}`,
			control.Bundle{Cluster: "east", Token: "t"},
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.RegisterCluster(ctx, admin.RegisterRequest{Name: "east", Labels: map[string]string{"region": "eu"}, Role: admin.RoleSpoke, TTLSeconds: 60})
			},
		},
		{
			"list clusters", admin.OpClusterList, "/v1/clusters", "",
			admin.ClusterList{Items: []admin.Cluster{{Name: "east"}}},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Clusters(ctx) },
		},
		{
			"show a cluster", admin.OpClusterGet, "/v1/clusters/east", "",
			admin.Cluster{Name: "east", State: admin.StateReady},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Cluster(ctx, "east") },
		},
		{
			"suspend", admin.OpClusterSuspend, "/v1/clusters/east/suspend", "",
			admin.Cluster{Name: "east", State: admin.StateSuspended},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.SuspendCluster(ctx, "east") },
		},
		{
			"resume", admin.OpClusterResume, "/v1/clusters/east/resume", "",
			admin.Cluster{Name: "east"},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.ResumeCluster(ctx, "east") },
		},
		{
			"revoke", admin.OpClusterRevoke, "/v1/clusters/east/revoke", "",
			admin.Cluster{Name: "east", State: admin.StateRevoked},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.RevokeCluster(ctx, "east") },
		},
		{
			"recover", admin.OpClusterRecover, "/v1/clusters/east/recover", `{"ttlSeconds":900}`,
			control.Bundle{Cluster: "east", Token: "t2"},
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.RecoverCluster(ctx, "east", admin.RecoverRequest{TTLSeconds: 900})
			},
		},
		{
			"list credentials of a namespace", admin.OpCredentialList, "/v1/credentials?namespace=ai", "",
			admin.CredentialList{Items: []admin.Credential{{Namespace: "ai", Name: "key"}}},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Credentials(ctx, "ai") },
		},
		{
			"set a credential, byte for byte", admin.OpCredentialSet, "/v1/credentials/ai/key/value", "sk-1\x00\xff\n",
			admin.Credential{Namespace: "ai", Name: "key", Version: "1"},
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.SetCredential(ctx, "ai", "key", []byte("sk-1\x00\xff\n"))
			},
		},
		{
			"rotate a credential", admin.OpCredentialRotate, "/v1/credentials/ai/key/rotate", "sk-2",
			admin.Credential{Namespace: "ai", Name: "key", Version: "2"},
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.RotateCredential(ctx, "ai", "key", []byte("sk-2"))
			},
		},
		{
			"list all objects", admin.OpObjectList, "/v1/objects", "",
			admin.ObjectList{Items: []admin.Object{}},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Objects(ctx, "", "") },
		},
		{
			"list objects of a kind and namespace", admin.OpObjectList, "/v1/objects?kind=Backend&namespace=ai", "",
			admin.ObjectList{Items: []admin.Object{}},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Objects(ctx, "Backend", "ai") },
		},
		{
			"get an object", admin.OpObjectGet, "/v1/objects/Backend/ai/openai", "",
			admin.Object{ObjectKey: admin.ObjectKey{Kind: "Backend", Namespace: "ai", Name: "openai"}, Manifest: json.RawMessage(`{"a":1}`)},
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Object(ctx, "Backend", "ai", "openai")
			},
		},
		{
			"get a cluster-scoped object", admin.OpObjectGet, "/v1/objects/Cluster/-/east", "",
			admin.Object{ObjectKey: admin.ObjectKey{Kind: "Cluster", Name: "east"}},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Object(ctx, "Cluster", "", "east") },
		},
		{
			"delete an object", admin.OpObjectDelete, "/v1/objects/Backend/ai/openai", "",
			admin.Change{Change: admin.Deleted},
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.DeleteObject(ctx, "Backend", "ai", "openai")
			},
		},
		{
			"apply", admin.OpObjectApply, "/v1/objects/apply", manifestsJSON,
			admin.ChangeList{Items: []admin.Change{{Change: admin.Created}}},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Apply(ctx, manifests) },
		},
		{
			"diff", admin.OpObjectDiff, "/v1/objects/diff", manifestsJSON,
			admin.ChangeList{Items: []admin.Change{{Change: admin.Changed, Diff: []string{"-a", "+b"}}}},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Diff(ctx, manifests) },
		},
		{
			"validate", admin.OpObjectValidate, "/v1/objects/validate", manifestsJSON,
			admin.FindingList{Items: []admin.Finding{{File: "a.yaml", Line: 1, Reason: "Malformed", Message: "m"}}},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Validate(ctx, manifests) },
		},
		{
			"explain", admin.OpExplain, "/v1/explain", `{"cluster":"east","namespace":"team-a","serviceAccount":"bot","url":"http://openai/"}`,
			admin.Explanation{Allowed: true, Credential: "ai/key"},
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Explain(ctx, admin.ExplainRequest{Cluster: "east", Namespace: "team-a", ServiceAccount: "bot", URL: "http://openai/"})
			},
		},
		{
			"why, with an id that needs escaping", admin.OpWhy, "/v1/refusals/01J%3Fx%23y%25", "",
			admin.RefusalList{Items: []control.Refusal{{RequestID: "01J?x#y%"}}},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Why(ctx, "01J?x#y%") },
		},
		{
			"status", admin.OpStatus, "/v1/status", "",
			admin.Status{Name: "hub-1", Ready: true, Objects: map[string]int{"Backend": 2}},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Status(ctx) },
		},
		{
			"audit, of a time and so many", admin.OpAudit, "/v1/audit?limit=7&since=2026-01-02T03%3A04%3A05Z", "",
			admin.AuditList{Items: []admin.AuditRecord{{Seq: 1, Outcome: admin.OutcomeDone}}},
			func(ctx context.Context, c *admin.Client) (any, error) {
				return c.Audit(ctx, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), 7)
			},
		},
		{
			"version", admin.OpVersion, "/v1/version", "",
			admin.Version{Version: "v1.2.3"},
			func(ctx context.Context, c *admin.Client) (any, error) { return c.Version(ctx) },
		},
	}
}

// The server side here is a plain ServeMux with the operations as patterns, as every server is meant to have them.
func TestEachMethodReachesItsOperation(t *testing.T) {
	reached := map[string]bool{}
	for _, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			var target, body, auth string
			mux := http.NewServeMux()
			for _, op := range admin.Operations() {
				mux.HandleFunc(op, func(w http.ResponseWriter, req *http.Request) {
					data, err := io.ReadAll(req.Body)
					if err != nil || op != r.op {
						t.Errorf("%s reached %s (body error %v), want %s", r.name, op, err, r.op)
					}
					target, body, auth = req.RequestURI, string(data), req.Header.Get("Authorization")
					answer(w, http.StatusOK, r.answer)
				})
			}
			got, err := r.call(t.Context(), client(t, admin.Config{Socket: serve(t, mux), Token: "never over a socket"}))
			if err != nil {
				t.Fatal(err)
			}
			if target != r.target || body != r.body || auth != "" {
				t.Errorf("arrived: %s %q with Authorization %q, want %s %q without", target, body, auth, r.target, r.body)
			}
			if diff := cmp.Diff(r.answer, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			reached[r.op] = true
		})
	}
	for _, op := range admin.Operations() {
		if !reached[op] {
			t.Errorf("no method was tried for %s", op)
		}
	}
}

func TestThePackageCommentNamesEachOperation(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range admin.Operations() {
		found := false
		for line := range strings.Lines(string(doc)) {
			fields := strings.Fields(strings.TrimPrefix(line, "//"))
			if len(fields) < 2 {
				continue
			}
			path, _, _ := strings.Cut(fields[1], "?")
			found = found || fields[0]+" "+path == op
		}
		if !found {
			t.Errorf("doc.go does not list %s", op)
		}
	}
}

func TestErrorsCarryStatusCodeMessageAndRemedy(t *testing.T) {
	for _, r := range []struct {
		name string
		h    http.HandlerFunc
		want admin.Error
	}{
		{"the hub's own words are kept", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusConflict, admin.Error{Status: 409, Code: admin.CodeOwned, Message: "Backend ai/openai belongs to folder:/c", Remedy: "change it there"})
		}, admin.Error{Status: 409, Code: admin.CodeOwned, Message: "Backend ai/openai belongs to folder:/c", Remedy: "change it there"}},
		{"findings are kept", func(w http.ResponseWriter, _ *http.Request) {
			e := admin.Errorf(http.StatusUnprocessableEntity, "1 finding")
			e.Findings = []admin.Finding{{File: "a.yaml", Reason: "Malformed", Message: "m"}}
			answer(w, e.Status, e)
		}, admin.Error{Status: 422, Code: admin.CodeInvalid, Message: "1 finding", Findings: []admin.Finding{{File: "a.yaml", Reason: "Malformed", Message: "m"}}}},
		{"the status on the wire decides", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusNotFound, admin.Error{Status: 200, Code: admin.CodeNotFound, Message: "no cluster east"})
		}, admin.Error{Status: 404, Code: admin.CodeNotFound, Message: "no cluster east"}},
	} {
		t.Run(r.name, func(t *testing.T) {
			_, err := client(t, admin.Config{Socket: serve(t, r.h)}).Status(t.Context())
			var e *admin.Error
			if !errors.As(err, &e) {
				t.Fatalf("error = %v, want *admin.Error", err)
			}
			if diff := cmp.Diff(r.want, *e); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnAnswerOfSomethingElseIsAnErrorWithStatus(t *testing.T) {
	for _, status := range []int{301, 401, 404, 413, 500, 502, 503} {
		hits := 0
		socket := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hits++
			w.Header().Set("Location", "/elsewhere")
			http.Error(w, "<html>not ours</html>", status)
		}))
		_, err := client(t, admin.Config{Socket: socket}).SetCredential(t.Context(), "ai", "key", []byte("sk-canary"))
		var e *admin.Error
		if !errors.As(err, &e) || e.Status != status || e.Code == "" || e.Remedy == "" {
			t.Errorf("status %d: error = %#v, want an *admin.Error with it, a code and a remedy", status, err)
		}
		if hits != 1 {
			t.Errorf("status %d: %d requests, want one: no redirect and no repeat", status, hits)
		}
	}
	socket := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	if _, err := client(t, admin.Config{Socket: socket}).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "is this the admin address of a hub?") {
		t.Errorf("error = %v, want one that doubts the address", err)
	}
}

func TestNoAnswerIsErrUnreachable(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.sock")
	closing := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	for name, cfg := range map[string]admin.Config{
		"no socket":                 {Socket: missing},
		"closed without an answer":  {Socket: closing},
		"nobody listens on address": {Address: "127.0.0.1:1"},
	} {
		_, err := client(t, cfg).Status(t.Context())
		if !errors.Is(err, admin.ErrUnreachable) || !strings.Contains(err.Error(), cfg.Socket+cfg.Address) {
			t.Errorf("%s: error = %v, want ErrUnreachable naming where", name, err)
		}
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	arrived := make(chan struct{})
	socket := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := client(t, admin.Config{Socket: socket}).Status(ctx)
	if !errors.Is(err, context.Canceled) || errors.Is(err, admin.ErrUnreachable) {
		t.Errorf("error = %v, want context.Canceled and not ErrUnreachable", err)
	}
}

func TestNamesCannotLeaveTheirPlaceInThePath(t *testing.T) {
	socket := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s was sent", r.RequestURI) }))
	c := client(t, admin.Config{Socket: socket})
	for _, name := range []string{"", ".", "..", "../x", "a/"} {
		if _, err := c.Cluster(t.Context(), name); err == nil {
			t.Errorf("Cluster(%q): no error", name)
		}
	}
}

func TestTheTokenGoesToTheAddressOverTLSAlone(t *testing.T) {
	var auth string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth = r.Header.Get("Authorization")
		answer(w, http.StatusOK, admin.Version{Version: "v1"})
	}))
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, certificatePEM(s.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}
	address := s.Listener.Addr().String()

	if _, err := client(t, admin.Config{Address: address, CAFile: ca, Token: "tok-canary"}).Version(t.Context()); err != nil || auth != "Bearer tok-canary" {
		t.Errorf("with the CA: error %v, Authorization %q", err, auth)
	}
	auth = ""
	_, err := client(t, admin.Config{Address: address, Token: "tok-canary"}).Version(t.Context())
	if !errors.Is(err, admin.ErrUnreachable) || auth != "" || strings.Contains(err.Error(), "tok-canary") {
		t.Errorf("without the CA: error %v, Authorization %q, want a refused certificate and nothing sent", err, auth)
	}
}

func TestATokenDoesNotPrint(t *testing.T) {
	cfg := admin.Config{Token: "tok-canary"}
	printed, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(cfg.Token), fmt.Sprintf("%v %+v %#v %s %q", cfg, cfg, cfg, cfg, cfg), string(printed), cfg.Token.LogValue().String()} {
		if strings.Contains(s, "tok-canary") || !strings.Contains(s, "redacted") {
			t.Errorf("printed %q", s)
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		name string
		cfg  admin.Config
		want string
	}{
		{"nowhere to go", admin.Config{}, "neither a socket nor an address"},
		{"two ways at once", admin.Config{Socket: "s", Address: "h:1"}, "both a socket and an address"},
		{"an address without port", admin.Config{Address: "hub.example.com"}, "is not host:port"},
		{"a token of two lines", admin.Config{Address: "h:1", Token: "a\nb"}, "no token has"},
		{"a CA file that is not there", admin.Config{Address: "h:1", CAFile: "none.pem"}, "read CA file"},
		{"a CA file without certificate", admin.Config{Address: "h:1", CAFile: empty}, "holds no certificate"},
		{"a certificate without key", admin.Config{Address: "h:1", CertFile: "c"}, "both its certificate file and its key file"},
		{"a certificate that is not there", admin.Config{Address: "h:1", CertFile: "c", KeyFile: "k"}, "load client certificate"},
	} {
		t.Run(r.name, func(t *testing.T) {
			if _, err := admin.New(r.cfg); err == nil || !strings.Contains(err.Error(), r.want) {
				t.Errorf("New error = %v, want %q", err, r.want)
			}
		})
	}
}

func TestObjectKeyReadsAsPeopleWriteIt(t *testing.T) {
	for want, k := range map[string]admin.ObjectKey{
		"Backend ai/openai": {Kind: "Backend", Namespace: "ai", Name: "openai"},
		"Cluster east":      {Kind: "Cluster", Name: "east"},
	} {
		if k.String() != want {
			t.Errorf("String() = %q, want %q", k.String(), want)
		}
	}
}
