package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/apis/admin"
)

// as calls an operation as an actor.
func (w *world) as(a Actor, method, path, body string) (status int, answer string) {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	rw := httptest.NewRecorder()
	w.record(w.server.operations()).ServeHTTP(rw, r.WithContext(withActor(r.Context(), a)))
	return rw.Code, rw.Body.String()
}

func manifests(text string) string {
	body, err := json.Marshal(admin.Manifests{Items: []admin.Manifest{{Source: "x.yaml", Data: text}}})
	if err != nil {
		panic(err)
	}
	return string(body)
}

const backendOf = `apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: NAME, namespace: SPACE}
spec: {type: ExternalHostname, externalHostname: {hostname: api.example.com}, port: {number: 443}, tls: {mode: ServerOnly, validation: {wellKnownCACertificates: System}}}
`

func backendIn(namespace, name string) string {
	return strings.NewReplacer("NAME", name, "SPACE", namespace).Replace(backendOf)
}

var (
	platform = Actor{"token:root", PlatformAdmin, nil}
	team     = Actor{"token:team", TeamAdmin, []string{"team-a"}}
	auditor  = Actor{"token:audit", Auditor, nil}
)

// An operation that somebody adds without a row would be open to nobody; a row without an operation is a mistake too.
func TestEveryOperationHasARight(t *testing.T) {
	if got, want := slices.Sorted(maps.Keys(rights())), slices.Sorted(slices.Values(admin.Operations())); !slices.Equal(got, want) {
		t.Errorf("rights of %v, operations %v", got, want)
	}
	for op, r := range rights() {
		if (Actor{}).may(r) || (Actor{Role: "root"}).may(r) {
			t.Errorf("%s is open to who has no role", op)
		}
	}
}

func TestWhatARoleMayDo(t *testing.T) {
	w := newWorld(t)
	w.hub.explain = func(admin.ExplainRequest) (admin.Explanation, error) { return admin.Explanation{}, nil }
	for _, ns := range []string{"team-a", "team-b"} {
		w.apply(admin.OwnerCLI, backendIn(ns, "there"))
		w.apply(admin.OwnerCLI, "apiVersion: penstock.dev/v1alpha1\nkind: Credential\nmetadata: {name: key, namespace: "+ns+"}\nspec: {kind: Bearer, hosts: [api.example.com]}\n")
	}
	gateway := "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: team-a}\nspec: {gatewayClassName: penstock, listeners: [{name: h, protocol: HTTP, port: 80}]}\n"
	inside := strings.Replace(backendIn("team-a", "inside"), "spec: {", "spec: {egress: {addressPolicy: {allowedCIDRs: [10.0.0.0/8]}}, ", 1)
	cluster := "apiVersion: penstock.dev/v1alpha1\nkind: Cluster\nmetadata: {name: east}\nspec: {role: spoke}\n"
	for _, c := range []struct {
		what, method, path, body string
		platform, team, auditor  int
	}{
		{"list clusters", "GET", "/v1/clusters", "", 200, 403, 200},
		{"register one", "POST", "/v1/clusters", `{"name":"c1"}`, 201, 403, 403},
		{"suspend one", "POST", "/v1/clusters/c1/suspend", "", 200, 403, 403},
		{"revoke one that is not there", "POST", "/v1/clusters/nobody/revoke", "", 404, 403, 403},
		{"look at an object of the team", "GET", "/v1/objects/Backend/team-a/there", "", 200, 200, 200},
		{"look at one of another", "GET", "/v1/objects/Backend/team-b/there", "", 200, 403, 200},
		{"look at one of another that is not there", "GET", "/v1/objects/Backend/team-b/none", "", 404, 403, 404},
		{"look at what is cluster-scoped", "GET", "/v1/objects/Cluster/-/c1", "", 200, 403, 200},
		{"apply in the team's namespace", "POST", "/v1/objects/apply", manifests(backendIn("team-a", "new")), 200, 200, 403},
		{"apply in another", "POST", "/v1/objects/apply", manifests(backendIn("team-b", "new")), 200, 403, 403},
		{"apply in both", "POST", "/v1/objects/apply", manifests(backendIn("team-a", "both") + "---\n" + backendIn("team-b", "both")), 200, 403, 403},
		{"apply a Gateway", "POST", "/v1/objects/diff", manifests(gateway), 200, 403, 200},
		{"apply a Cluster", "POST", "/v1/objects/diff", manifests(cluster), 200, 403, 200},
		{"open inner addresses", "POST", "/v1/objects/apply", manifests(inside), 200, 403, 403},
		{"validate in the team's namespace", "POST", "/v1/objects/validate", manifests(backendIn("team-a", "new")), 200, 200, 200},
		{"validate in another", "POST", "/v1/objects/validate", manifests(backendIn("team-b", "new")), 200, 403, 200},
		{"delete in another", "DELETE", "/v1/objects/Backend/team-b/none", "", 404, 403, 403},
		{"delete a Gateway of the team's namespace", "DELETE", "/v1/objects/gateway/team-a/g", "", 404, 403, 403},
		{"set a credential of the team", "PUT", "/v1/credentials/team-a/key/value", w.secret("sk-canary-role"), 200, 200, 403},
		{"set one of another", "PUT", "/v1/credentials/team-b/key/value", "sk-canary-role", 200, 403, 403},
		{"explain", "POST", "/v1/explain", `{"url":"http://openai/"}`, 200, 403, 200},
		{"status", "GET", "/v1/status", "", 200, 403, 200},
		{"the audit", "GET", "/v1/audit", "", 200, 403, 200},
		{"the version", "GET", "/v1/version", "", 200, 200, 200},
	} {
		t.Run(c.what, func(t *testing.T) {
			for _, as := range []struct {
				Actor
				status int
			}{{auditor, c.auditor}, {team, c.team}, {platform, c.platform}} { // who may least comes first: it must change nothing
				status, answer := w.as(as.Actor, c.method, c.path, c.body)
				if status != as.status {
					t.Errorf("%s: %d %s, want %d", as.Role, status, answer, as.status)
				}
				if status == 403 && (!strings.Contains(answer, string(as.Role)) || !strings.Contains(answer, "remedy")) {
					t.Errorf("%s is refused with %s", as.Role, answer)
				}
			}
		})
	}
	t.Run("a team's lists are its own", func(t *testing.T) {
		for _, path := range []string{"/v1/objects", "/v1/credentials", "/v1/objects?namespace=team-b", "/v1/credentials?namespace=team-b"} {
			if _, answer := w.as(team, "GET", path, ""); strings.Contains(answer, "team-b") {
				t.Errorf("%s shows %s", path, answer)
			}
			if _, answer := w.as(auditor, "GET", path, ""); !strings.Contains(answer, "team-b") {
				t.Errorf("an auditor does not see %s", path)
			}
		}
	})
}

func TestRolesOfAConfiguration(t *testing.T) {
	for name, set := range map[string]func(*Config){
		"a token without a role":           func(c *Config) { c.Tokens = []Token{{"a", hashOf("x"), "", nil}} },
		"a team without namespaces":        func(c *Config) { c.Tokens = []Token{{"a", hashOf("x"), TeamAdmin, nil}} },
		"a certificate with a role of old": func(c *Config) { c.Clients = []Client{{"a", "root", nil}} },
		"an auditor of one namespace":      func(c *Config) { c.Clients = []Client{{"a", Auditor, []string{"x"}}} },
	} {
		w := newWorld(t)
		cfg := w.server.cfg
		set(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func openTrail(t *testing.T, w *world, path string) *Trail {
	t.Helper()
	trail, err := OpenTrail(path, w.server.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = trail.Close() })
	return trail
}

// outcomes are "actor verb object outcome" of all records.
func outcomes(records []admin.AuditRecord) (out []string) {
	for _, r := range records {
		out = append(out, strings.Join([]string{r.Actor, r.Verb, r.Object, r.Outcome}, " "))
	}
	return out
}

func TestEveryWriteIsInTheAudit(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	w.server.cfg.Audit = openTrail(t, w, path)
	w.apply(admin.OwnerCLI, "apiVersion: penstock.dev/v1alpha1\nkind: Credential\nmetadata: {name: key, namespace: team-a}\nspec: {kind: Bearer, hosts: [api.example.com]}\n")
	canary := w.secret("sk-canary-audit")
	w.as(team, "PUT", "/v1/credentials/team-a/key/value", canary)
	w.as(team, "PUT", "/v1/credentials/team-b/key/value", canary)
	w.as(platform, "POST", "/v1/objects/apply", manifests(backendIn("team-a", "new")))
	w.as(team, "POST", "/v1/objects/apply", manifests(backendIn("team-b", "new")))
	w.as(auditor, "GET", "/v1/status", "") // reads are not in it
	want := []string{
		"token:team set Credential team-a/key asked",
		"token:team set Credential team-a/key done",
		"token:team set Credential team-b/key asked",
		"token:team set Credential team-b/key forbidden",
		"token:root apply manifests asked",
		"token:root apply Backend team-a/new done",
		"token:team apply manifests asked",
		"token:team apply Backend team-b/new forbidden",
	}
	var list admin.AuditList
	_, answer := w.as(auditor, "GET", "/v1/audit?limit=50", "")
	if err := json.Unmarshal([]byte(answer), &list); err != nil {
		t.Fatal(err)
	}
	if got := outcomes(list.Items); !slices.Equal(got, want) {
		t.Errorf("audit:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), canary) {
		t.Error("the audit holds a credential")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}

	// It goes on after a restart.
	again := openTrail(t, w, path)
	if err := again.Append(admin.AuditRecord{Verb: "more"}); err != nil {
		t.Fatal(err)
	}
	data, _ = os.ReadFile(path)
	n := 0
	if err := admin.ReadAudit(bytes.NewReader(data), func(admin.AuditRecord) { n++ }); err != nil || n != len(want)+1 {
		t.Errorf("%d records, %v", n, err)
	}
	for query, status := range map[string]int{"?limit=0": 400, "?limit=x": 400, "?since=yesterday": 400, "?limit=2": 200} {
		if got, _ := w.as(auditor, "GET", "/v1/audit"+query, ""); got != status {
			t.Errorf("%s: %d, want %d", query, got, status)
		}
	}
	if got := again.Records(time.Now().Add(time.Hour), 10); len(got) != 0 {
		t.Errorf("records of the future: %v", got)
	}
}

// brokenAudit is a disk that is full.
type brokenAudit struct{ Audit }

func (brokenAudit) Append(admin.AuditRecord) error { return errors.New("no space left on device") }

func TestWhatCannotBeWrittenDownIsNotDone(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Audit = brokenAudit{} })
	if status, answer := w.as(platform, "POST", "/v1/clusters", `{"name":"east"}`); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", status, answer)
	}
	if clusters, err := w.registry.List(t.Context()); err != nil || len(clusters) != 0 {
		t.Errorf("registered all the same: %v, %v", clusters, err)
	}
}

func TestTheTrailAfterACrashAndAfterOthers(t *testing.T) {
	fresh := func(t *testing.T) (*world, string) {
		w, path := newWorld(t), filepath.Join(t.TempDir(), "audit.jsonl")
		trail := openTrail(t, w, path)
		for range 3 {
			if err := trail.Append(admin.AuditRecord{Verb: "apply"}); err != nil {
				t.Fatal(err)
			}
		}
		return w, path
	}
	count := func(t *testing.T, path string) (n int) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := admin.ReadAudit(f, func(admin.AuditRecord) { n++ }); err != nil {
			t.Error(err)
		}
		return n
	}
	t.Run("half a line is cut off", func(t *testing.T) {
		w, path := fresh(t)
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(f, `{"seq":4,"ti`)
		_ = f.Close()
		if err := openTrail(t, w, path).Append(admin.AuditRecord{}); err != nil {
			t.Fatal(err)
		}
		if n := count(t, path); n != 4 {
			t.Errorf("%d records, want 4", n)
		}
	})
	t.Run("a changed file is put aside, and said", func(t *testing.T) {
		w, path := fresh(t)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Replace(data, []byte("apply"), []byte("Apply"), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := openTrail(t, w, path).Append(admin.AuditRecord{}); err != nil {
			t.Fatal(err)
		}
		aside, err := filepath.Glob(path + ".broken-*")
		if n := count(t, path); n != 1 || err != nil || len(aside) != 1 || !strings.Contains(w.log.String(), "changed by somebody else") {
			t.Errorf("%d records, put aside %v", n, aside)
		}
	})
	t.Run("a full file is turned over, and the chain goes on", func(t *testing.T) {
		w, path := fresh(t)
		trail := openTrail(t, w, path)
		trail.max = 1 // every file is full
		for range trailFiles + 3 {
			if err := trail.Append(admin.AuditRecord{}); err != nil {
				t.Fatal(err)
			}
		}
		files, err := filepath.Glob(path + "*")
		if err != nil || len(files) != trailFiles+1 {
			t.Errorf("%d files: %v", len(files), files)
		}
		if got := openTrail(t, w, path).Records(time.Time{}, 10); len(got) != 2 {
			t.Errorf("after a restart %d records can be asked for, want those of two files", len(got))
		}
		var all bytes.Buffer
		for n := trailFiles; n >= 0; n-- {
			name := path
			if n > 0 {
				name = trail.old(n)
			}
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(data)
		}
		var last admin.AuditRecord
		if err := admin.ReadAudit(&all, func(r admin.AuditRecord) { last = r }); err != nil {
			t.Error(err)
		}
		// A crash behind the turn, before the first record.
		if err := os.Rename(path, trail.old(1)); err != nil {
			t.Fatal(err)
		}
		again := openTrail(t, w, path)
		if err := again.Append(admin.AuditRecord{}); err != nil {
			t.Fatal(err)
		}
		if got := again.Records(time.Time{}, 1); got[0].Seq != last.Seq+1 || got[0].Previous != last.Hash {
			t.Errorf("record %d does not follow from record %d", got[0].Seq, last.Seq)
		}
	})
}

// A path can hold any bytes, and who may change nothing can still name an object so: it must not look as if somebody had
// changed the file.
func TestANameThatIsNoTextLeavesTheChainWhole(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	w.server.cfg.Audit = openTrail(t, w, path)
	if status, answer := w.as(auditor, "DELETE", "/v1/objects/Backend/team-a/x%ff", ""); status != http.StatusForbidden {
		t.Fatalf("%d %s", status, answer)
	}
	again := openTrail(t, w, path)
	want := []string{"token:audit delete Backend team-a/x\ufffd asked", "token:audit delete Backend team-a/x\ufffd forbidden"}
	if got := outcomes(again.Records(time.Time{}, 10)); !slices.Equal(got, want) {
		t.Errorf("after a restart: %q, want %q", got, want)
	}
	if aside, err := filepath.Glob(path + ".broken-*"); err != nil || len(aside) != 0 {
		t.Errorf("put aside: %v, %v", aside, err)
	}
}
