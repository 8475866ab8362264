package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/registry"
)

// waitFor waits for something that another goroutine does, at most 10 s.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen within 10 s")
		}
	}
}

func TestEveryOperationIsServed(t *testing.T) {
	w := newWorld(t)
	w.hub.explain = func(admin.ExplainRequest) (admin.Explanation, error) { return admin.Explanation{}, nil }
	for _, op := range admin.Operations() {
		method, path, _ := strings.Cut(op, " ")
		path = strings.NewReplacer("{name}", "n", "{namespace}", "ns", "{kind}", "Backend", "{requestId}", "r").Replace(path)
		rec := httptest.NewRecorder()
		w.server.local.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}")))
		if strings.Contains(rec.Body.String(), "no operation") || rec.Code == http.StatusMethodNotAllowed || rec.Code >= 500 {
			t.Errorf("%s = %d %s", op, rec.Code, rec.Body)
		}
		if !json.Valid(rec.Body.Bytes()) || rec.Header().Get("Content-Type") != "application/json" || rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s answers %q as %v, want JSON that nobody caches", op, rec.Body, rec.Header())
		}
	}
}

func TestAClustersLife(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	ctx := t.Context()
	w.hub.instances = map[string][]admin.Instance{"east": {{ID: "pod-1", Lanes: 2}}}

	b, err := c.RegisterCluster(ctx, admin.RegisterRequest{Name: "east", Labels: map[string]string{"region": "eu"}, TTLSeconds: 60})
	if err != nil || b.Cluster != "east" || b.Token == "" || b.CAPin != w.registry.Pin() || time.Until(b.Expires) > time.Minute {
		t.Fatalf("register = %+v, %v, want a bundle for a minute", b, err)
	}
	if strings.Contains(w.log.String(), b.Token) {
		t.Error("the log holds the token")
	}
	_, err = c.RegisterCluster(ctx, admin.RegisterRequest{Name: "east"})
	wantError(t, "register again", err, 409, admin.CodeConflict)

	show := func(state string, err error) admin.Cluster {
		t.Helper()
		got, showErr := c.Cluster(ctx, "east")
		if err = errors.Join(err, showErr); err != nil || got.State != state {
			t.Errorf("state = %q (%v), want %q", got.State, err, state)
		}
		return got
	}
	got := show(admin.StatePending, nil)
	want := admin.Cluster{
		Name: "east", Role: admin.RoleSpoke, Labels: map[string]string{"region": "eu"}, State: admin.StatePending,
		Created: got.Created, TokenExpires: got.TokenExpires, Instances: []admin.Instance{{ID: "pod-1", Lanes: 2}},
	}
	if !cmp.Equal(got, want) || got.Created.IsZero() || !got.TokenExpires.Equal(b.Expires) {
		t.Errorf("cluster differs (-want +got):\n%s", cmp.Diff(want, got))
	}
	suspended, err := c.SuspendCluster(ctx, "east")
	if suspended.State != admin.StateSuspended {
		t.Errorf("suspend answers state %q", suspended.State)
	}
	show(admin.StateSuspended, err)
	_, err = c.ResumeCluster(ctx, "east")
	show(admin.StatePending, err)
	_, err = c.RevokeCluster(ctx, "east")
	show(admin.StateRevoked, err)
	again, err := c.RecoverCluster(ctx, "east", admin.RecoverRequest{})
	if err != nil || again.Token == "" || again.Token == b.Token || time.Until(again.Expires) < 14*time.Minute {
		t.Errorf("recover = %v, want a new token for 15 minutes", err)
	}
	list, err := c.Clusters(ctx)
	if err != nil || len(list.Items) != 1 || list.Items[0].Name != "east" {
		t.Errorf("list = %+v, %v, want east", list, err)
	}
	if strings.Contains(w.log.String(), again.Token) {
		t.Error("the log holds the token")
	}
}

func TestCredentialsComeInAndNeverOut(t *testing.T) {
	w := newWorld(t)
	w.apply(admin.OwnerCLI, credentialYAML+"---\n"+strings.ReplaceAll(credentialYAML, "openai-key", "other"))
	c := w.client()
	ctx := t.Context()
	first, second := w.secret("sk-canary-0001"), w.secret("sk-canary-0002")

	_, err := c.RotateCredential(ctx, "ai", "openai-key", []byte(second))
	wantError(t, "rotate without a value", err, 404, admin.CodeNotFound)
	_, err = c.SetCredential(ctx, "ai", "none", []byte(first))
	if e := wantError(t, "set without an object", err, 404, admin.CodeNotFound); !strings.Contains(e.Remedy, "apply the Credential") {
		t.Errorf("remedy = %q, want one that says to apply it", e.Remedy)
	}
	set, err := c.SetCredential(ctx, "ai", "openai-key", []byte(first))
	if err != nil || set.Version == "" || set.Kind != "Bearer" || !cmp.Equal(set.Hosts, []string{"api.example.com"}) || len(set.Versions) != 1 {
		t.Fatalf("set = %+v, %v, want kind, hosts and one version", set, err)
	}
	rotated, err := c.RotateCredential(ctx, "ai", "openai-key", []byte(second))
	if err != nil || rotated.Version == set.Version || len(rotated.Versions) != 2 || rotated.Versions[0].Version != rotated.Version {
		t.Fatalf("rotate = %+v, %v, want a new version, the newest first", rotated, err)
	}
	list, err := c.Credentials(ctx, "ai")
	if err != nil || len(list.Items) != 2 || !cmp.Equal(list.Items[0], rotated) || list.Items[1].Version != "" {
		t.Errorf("list = %+v, %v, want the rotated one and one without a value", list, err)
	}
	if list, err := c.Credentials(ctx, "elsewhere"); err != nil || len(list.Items) != 0 {
		t.Errorf("list of another namespace = %+v, %v, want none", list, err)
	}
	for name, value := range map[string]string{
		"with a line break": w.secret("sk-canary-0003") + "\n",
		"empty":             "",
		"with a NUL":        w.secret("sk-canary-0004") + "\x00",
	} {
		_, err := c.SetCredential(ctx, "ai", "openai-key", []byte(value))
		wantError(t, "a value "+name, err, 400, admin.CodeBadRequest)
	}
	_, err = c.SetCredential(ctx, "ai", "openai-key", make([]byte, admin.MaxCredentialBytes+1))
	wantError(t, "a value that is too long", err, 413, admin.CodeTooLarge)

	// Whoever makes a Credential of this name later, for other hosts, must not find the value.
	if _, err := c.DeleteObject(ctx, "Credential", "ai", "openai-key"); err != nil {
		t.Fatal(err)
	}
	w.apply(admin.OwnerCLI, strings.ReplaceAll(credentialYAML, "api.example.com", "evil.example.net"))
	list, err = c.Credentials(ctx, "ai")
	if err != nil || len(list.Items) != 2 || list.Items[0].Version != "" || list.Items[0].Versions != nil {
		t.Errorf("after a deletion = %+v, %v, want no value", list, err)
	}
}

const credentialYAML = `apiVersion: penstock.dev/v1alpha1
kind: Credential
metadata: {name: openai-key, namespace: ai}
spec: {kind: Bearer, hosts: [api.example.com]}
`

func TestBasicCredentialsNeedAColon(t *testing.T) {
	w := newWorld(t)
	w.apply(admin.OwnerCLI, strings.ReplaceAll(credentialYAML, "Bearer", "Basic"))
	c := w.client()
	_, err := c.SetCredential(t.Context(), "ai", "openai-key", []byte(w.secret("canary-without-colon")))
	wantError(t, "a value that is not user:password", err, 400, admin.CodeBadRequest)
	if _, err := c.SetCredential(t.Context(), "ai", "openai-key", []byte("user:"+w.secret("canary-password"))); err != nil {
		t.Errorf("user:password: %v", err)
	}
}

func TestQuestionsToTheHub(t *testing.T) {
	w := newWorld(t)
	refusal := control.Refusal{RequestID: "r-1", Host: "api.example.com", Status: 403, Reason: "not-granted"}
	w.hub.refusals = map[string][]control.Refusal{"r-1": {refusal}}
	explained := admin.Explanation{Allowed: true, Backend: "ai/openai"}
	w.hub.explain = func(req admin.ExplainRequest) (admin.Explanation, error) {
		if req.URL == "bad" {
			return admin.Explanation{}, admin.Errorf(http.StatusBadRequest, "the url is not absolute")
		}
		return explained, nil
	}
	c := w.client()
	ctx := t.Context()
	if got, err := c.Why(ctx, "r-1"); err != nil || !cmp.Equal(got.Items, []control.Refusal{refusal}) {
		t.Errorf("why = %+v, %v, want the refusal", got, err)
	}
	_, err := c.Why(ctx, "r-2")
	wantError(t, "why of another request", err, 404, admin.CodeNotFound)
	if got, err := c.Explain(ctx, admin.ExplainRequest{URL: "http://openai/"}); err != nil || !cmp.Equal(got, explained) {
		t.Errorf("explain = %+v, %v, want the hub's answer", got, err)
	}
	_, err = c.Explain(ctx, admin.ExplainRequest{URL: "bad"})
	wantError(t, "explain what the hub refuses", err, 400, admin.CodeBadRequest)
	_, err = c.Explain(ctx, admin.ExplainRequest{})
	wantError(t, "explain without url", err, 400, admin.CodeBadRequest)
	if got, err := c.Version(ctx); err != nil || got.Version != "v1.2.3" {
		t.Errorf("version = %+v, %v", got, err)
	}
}

func TestStatusShowsClustersAndLocks(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Clusters = lockedClusters{c.Clusters}
	})
	w.hub.status = admin.Status{Name: "hub-0", Ready: true, Problems: []admin.Finding{{Reason: "NotAccepted", Message: "m"}}}
	c := w.client()
	if _, err := c.RegisterCluster(t.Context(), admin.RegisterRequest{Name: "east"}); err != nil {
		t.Fatal(err)
	}
	st, err := c.Status(t.Context())
	if err != nil || !st.Ready || len(st.Clusters) != 1 || len(st.Problems) != 2 {
		t.Fatalf("status = %+v, %v, want the cluster, and two problems", st, err)
	}
	if p := st.Problems[1]; p.Object != "Cluster east" || p.Reason != "InstanceLocked" || !strings.Contains(p.Message, "pod-1") || p.Remedy == "" {
		t.Errorf("problem = %+v, want the lock of pod-1", p)
	}
	w.catalog.Fail(true)
	st, err = c.Status(t.Context())
	if err != nil || len(st.Reasons) != 1 || st.Name != "hub-0" {
		t.Errorf("status while the catalog is away = %+v, %v, want what is known, and why not more", st, err)
	}
}

// lockedClusters have an instance that is locked.
type lockedClusters struct{ Clusters }

func (l lockedClusters) List(ctx context.Context) ([]registry.Info, error) {
	infos, err := l.Clusters.List(ctx)
	for i := range infos {
		infos[i].Instances = []registry.Instance{{Name: "pod-1", Locked: time.Now(), Reason: "cloned"}, {Name: "pod-2"}}
	}
	return infos, err
}

func TestBadRequests(t *testing.T) {
	w := newWorld(t)
	huge := `{"items":[{"source":"a","data":"` + strings.Repeat("a", admin.MaxManifestBytes+1) + `"}]}`
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"no JSON", "POST", "/v1/clusters", "name: east", 400},
		{"half of it", "POST", "/v1/clusters", `{"name":`, 400},
		{"two values", "POST", "/v1/clusters", `{"name":"a"}{}`, 400},
		{"a wrong type", "POST", "/v1/clusters", `{"name":7}`, 400},
		{"an empty body", "POST", "/v1/clusters", ``, 400},
		{"a malformed name", "POST", "/v1/clusters", `{"name":"A/b"}`, 400},
		{"a malformed role", "POST", "/v1/clusters", `{"name":"a","role":"root"}`, 400},
		{"a negative time", "POST", "/v1/clusters", `{"name":"a","ttlSeconds":-1}`, 400},
		{"a time that overflows", "POST", "/v1/clusters", `{"name":"a","ttlSeconds":9223372036854775807}`, 400},
		{"a time of a year", "POST", "/v1/clusters", `{"name":"a","ttlSeconds":31536000}`, 400},
		{"recovery for a negative time", "POST", "/v1/clusters/a/recover", `{"ttlSeconds":-1}`, 400},
		{"recovery without a body", "POST", "/v1/clusters/a/recover", ``, 400},
		{"recovery of an unknown cluster", "POST", "/v1/clusters/a/recover", `{}`, 404},
		{"suspension of an unknown cluster", "POST", "/v1/clusters/a/suspend", ``, 404},
		{"an unknown cluster", "GET", "/v1/clusters/a", ``, 404},
		{"no manifests", "POST", "/v1/objects/apply", `{}`, 400},
		{"empty manifests", "POST", "/v1/objects/apply", `{"items":[{"source":"a","data":"---\n"}]}`, 400},
		{"manifests of more than 8 MiB", "POST", "/v1/objects/apply", huge, 413},
		{"a body of more than 16 MiB", "POST", "/v1/objects/apply", `"` + strings.Repeat("a", admin.MaxRequestBytes), 413},
		{"an unknown object", "GET", "/v1/objects/Backend/ai/openai", ``, 404},
		{"an unknown path", "GET", "/v1/secrets", ``, 404},
		{"the root", "GET", "/", ``, 404},
		{"a method that is none here", "DELETE", "/v1/clusters", ``, 405},
		{"a method that is none anywhere", "PATCH", "/v1/clusters", ``, 405},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			w.server.local.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, strings.NewReader(tt.body)))
			var e admin.Error
			if err := json.Unmarshal(rec.Body.Bytes(), &e); err != nil || rec.Code != tt.status || e.Status != tt.status || e.Code == "" || e.Message == "" || e.Remedy == "" {
				t.Errorf("answer = %d %s (%v), want %d with code, message and remedy", rec.Code, rec.Body, err, tt.status)
			}
			if tt.status == 405 && rec.Header().Get("Allow") != "GET, POST" {
				t.Errorf("Allow = %q, want GET, POST", rec.Header().Get("Allow"))
			}
		})
	}
}

func TestTroubleIsToldAndItsCauseIsNot(t *testing.T) {
	const cause = "password=canary-cause"
	w := newWorld(t, func(c *Config) { c.Hub = troubledHub{c.Hub} })
	c := w.client()
	for url, want := range map[string]struct {
		status int
		code   string
	}{
		"error": {500, admin.CodeInternal},
		"panic": {500, admin.CodeInternal},
		"slow":  {503, admin.CodeUnavailable},
	} {
		_, err := c.Explain(t.Context(), admin.ExplainRequest{URL: url})
		e := wantError(t, url, err, want.status, want.code)
		if strings.Contains(e.Error(), cause) || e.Remedy == "" {
			t.Errorf("%s: error = %v, want a remedy and not the cause", url, e)
		}
	}
	if n := strings.Count(w.log.String(), cause); n != 1 {
		t.Errorf("the log has the cause %d times, want once: a panic's value could be anything", n)
	}
	w.catalog.Fail(true)
	_, err := c.Objects(t.Context(), "", "")
	wantError(t, "objects while the catalog is away", err, 503, admin.CodeUnavailable)
	_, err = c.RegisterCluster(t.Context(), admin.RegisterRequest{Name: "east"})
	wantError(t, "register while the catalog is away", err, 503, admin.CodeUnavailable)
	if _, err := c.Version(t.Context()); err != nil {
		t.Errorf("version while the catalog is away: %v", err)
	}
}

// troubledHub fails in the way that the URL names.
type troubledHub struct{ Hub }

func (troubledHub) Explain(_ context.Context, req admin.ExplainRequest) (admin.Explanation, error) {
	switch req.URL {
	case "panic":
		panic("password=canary-cause")
	case "slow":
		return admin.Explanation{}, fmt.Errorf("read: %w", context.DeadlineExceeded)
	}
	return admin.Explanation{}, errors.New("password=canary-cause")
}

func TestEveryWriteIsWrittenDown(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	ctx := t.Context()
	value := w.secret("sk-canary-audit")
	m := manifestsOf("a.yaml", credentialYAML)
	_, _ = c.RegisterCluster(ctx, admin.RegisterRequest{Name: "east", Labels: map[string]string{"l": w.secret("label-canary")}})
	_, _ = c.RegisterCluster(ctx, admin.RegisterRequest{Name: "east"})
	_, _ = c.SuspendCluster(ctx, "east")
	_, _ = c.ResumeCluster(ctx, "east")
	_, _ = c.RevokeCluster(ctx, "east")
	_, _ = c.RecoverCluster(ctx, "east", admin.RecoverRequest{})
	_, _ = c.Apply(ctx, m)
	_, _ = c.SetCredential(ctx, "ai", "openai-key", []byte(value))
	_, _ = c.RotateCredential(ctx, "ai", "openai-key", []byte(value+"2"))
	_, _ = c.DeleteObject(ctx, "Credential", "ai", "openai-key")
	_, _ = c.DeleteObject(ctx, "Cluster", "", "west")
	// Reading is not written down.
	_, _ = c.Clusters(ctx)
	_, _ = c.Objects(ctx, "", "")
	_, _ = c.Diff(ctx, m)
	_, _ = c.Validate(ctx, m)
	_, _ = c.Status(ctx)
	who := fmt.Sprintf("actor=uid:%d ", os.Getuid())
	want := []string{
		who + `verb=register object="Cluster \"east\"" outcome=done`,
		who + `verb=register object="Cluster \"east\"" outcome=conflict`,
		who + `verb=suspend object="Cluster east" outcome=done`,
		who + `verb=resume object="Cluster east" outcome=done`,
		who + `verb=revoke object="Cluster east" outcome=done`,
		who + `verb=recover object="Cluster east" outcome=done`,
		who + `verb=apply object="Credential ai/openai-key" outcome=done`,
		who + `verb=set object="Credential ai/openai-key" outcome=done`,
		who + `verb=rotate object="Credential ai/openai-key" outcome=done`,
		who + `verb=delete object="Credential ai/openai-key" outcome=done`,
		who + `verb=delete object="Cluster west" outcome=not-found`,
	}
	if diff := cmp.Diff(want, w.audit()); diff != "" {
		t.Errorf("audit differs (-want +got):\n%s", diff)
	}
	w.answers = &buffer{} // a label may be shown; it is in the log that it has no business
}

func TestABrokenBodyIsRefused(t *testing.T) {
	w := newWorld(t)
	body := io.MultiReader(strings.NewReader(`{"name":"east"`), brokenReader{})
	rec := httptest.NewRecorder()
	w.server.local.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "POST", "/v1/clusters", body))
	if rec.Code != 400 {
		t.Errorf("answer = %d %s, want 400", rec.Code, rec.Body)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
