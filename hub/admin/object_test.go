package admin

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/manifest"
)

func manifestsOf(pairs ...string) admin.Manifests {
	var m admin.Manifests
	for i := 0; i < len(pairs); i += 2 {
		m.Items = append(m.Items, admin.Manifest{Source: pairs[i], Data: pairs[i+1]})
	}
	return m
}

const backendYAML = `apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: openai, namespace: ai}
spec:
  type: ExternalHostname
  externalHostname: {hostname: api.example.com}
  port: {number: 443}
  protocol: HTTP
  tls: {mode: ServerOnly, validation: {hostname: api.example.com, wellKnownCACertificates: System}}
`

const grantYAML = `apiVersion: penstock.dev/v1alpha1
kind: EgressGrant
metadata: {name: openai, namespace: ai}
spec:
  to: [{name: openai}]
  from: [{namespaces: [team-a]}]
`

func secretYAML(value string) string {
	return `apiVersion: v1
kind: Secret
metadata:
  name: client
  namespace: ai
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '` + value + `'}
type: Opaque
stringData: {password: ` + value + `}
data: {other: ` + base64.StdEncoding.EncodeToString([]byte(value)) + `}
`
}

func changes(list admin.ChangeList) []string {
	var out []string
	for _, c := range list.Items {
		out = append(out, c.Source+": "+c.ObjectKey.String()+" "+c.Change)
	}
	return out
}

func TestObjectsAreAppliedAndShown(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	ctx := t.Context()
	m := manifestsOf("b.yaml", backendYAML, "g.yaml", grantYAML)

	applied, err := c.Apply(ctx, m)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	if diff := cmp.Diff([]string{"b.yaml: Backend ai/openai created", "g.yaml: EgressGrant ai/openai created"}, changes(applied)); diff != "" {
		t.Errorf("apply differs (-want +got):\n%s", diff)
	}
	again, err := c.Apply(ctx, m)
	if diff := cmp.Diff([]string{"b.yaml: Backend ai/openai unchanged", "g.yaml: EgressGrant ai/openai unchanged"}, changes(again)); diff != "" || err != nil {
		t.Errorf("apply again: %v, differs (-want +got):\n%s", err, diff)
	}

	ref := catalog.Ref{Group: "penstock.dev", Kind: "Backend", Namespace: "ai", Name: "openai"}
	if _, err := w.objects.SetStatus(ctx, ref, "", json.RawMessage(`{"conditions":[{"type":"Accepted","status":"True","reason":"Accepted"}]}`)); err != nil {
		t.Fatal(err)
	}
	got, err := c.Object(ctx, "backend", "ai", "openai")
	if err != nil || got.Owner != admin.OwnerCLI || got.Kind != "Backend" || got.APIVersion != "penstock.dev/v1alpha1" || got.Created.IsZero() || got.Revision == 0 {
		t.Errorf("get = %+v, %v, want the Backend of cli", got, err)
	}
	if want := []admin.Condition{{Type: "Accepted", Status: "True", Reason: "Accepted"}}; !cmp.Equal(got.Conditions, want) {
		t.Errorf("conditions = %+v, want %+v", got.Conditions, want)
	}
	objects, problems := manifest.Parse("got", got.Manifest)
	if len(problems) > 0 || len(objects) != 1 || objects[0].ID.Name != "openai" {
		t.Errorf("the manifest shown is not one that can be applied: %v", problems)
	}

	for _, tt := range []struct {
		kind, namespace string
		want            int
	}{{"", "", 2}, {"Backend", "", 1}, {"backend", "ai", 1}, {"", "ai", 2}, {"", "other", 0}, {"Gateway", "", 0}} {
		list, err := c.Objects(ctx, tt.kind, tt.namespace)
		if err != nil || len(list.Items) != tt.want || list.Items == nil {
			t.Errorf("list of kind %q in %q = %+v, %v, want %d", tt.kind, tt.namespace, list, err, tt.want)
		}
	}
	deleted, err := c.DeleteObject(ctx, "EgressGrant", "ai", "openai")
	if err != nil || deleted.Change != admin.Deleted || deleted.String() != "EgressGrant ai/openai" {
		t.Errorf("delete = %+v, %v", deleted, err)
	}
	_, err = c.DeleteObject(ctx, "EgressGrant", "ai", "openai")
	wantError(t, "delete again", err, 404, admin.CodeNotFound)
}

func TestAClusterScopedObjectHasADashInThePath(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	if _, err := c.RegisterCluster(t.Context(), admin.RegisterRequest{Name: "east"}); err != nil {
		t.Fatal(err)
	}
	o, err := c.Object(t.Context(), "Cluster", "", "east")
	if err != nil || o.Namespace != "" || o.Owner != admin.OwnerCLI {
		t.Fatalf("get = %+v, %v, want Cluster east of cli", o, err)
	}
	// What register made is a manifest like any other: it can be applied with a change.
	changed := strings.Replace(string(o.Manifest), `"spec":{`, `"spec":{"sourceIP":"Trusted"`, 1)
	if changed == string(o.Manifest) {
		t.Fatalf("the manifest has no spec: %s", o.Manifest)
	}
	list, err := c.Apply(t.Context(), manifestsOf("c.json", changed))
	if err != nil || len(list.Items) != 1 || list.Items[0].Change != admin.Changed {
		t.Fatalf("apply = %+v, %v, want one change", list, err)
	}
	cl, err := c.Cluster(t.Context(), "east")
	if err != nil || cl.SourceIP != "" && cl.SourceIP != "Trusted" {
		t.Errorf("cluster = %+v, %v", cl, err)
	}
	if _, err := c.DeleteObject(t.Context(), "Cluster", "", "east"); err != nil {
		t.Errorf("delete: %v", err)
	}
}

func TestApplyIsAllOrNone(t *testing.T) {
	gateway := `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: ai}
spec:
  parentRefs: [{name: hub, namespace: penstock-system}]
  rules: [{backendRefs: [{group: penstock.dev, kind: Backend, name: missing, port: 443}]}]
`
	for _, tt := range []struct {
		name string
		bad  string
		// findings is how many; 0: another error, or none
		findings int
		status   int
		object   string
	}{
		{"a document that is not YAML", "a: [", 1, 422, ""},
		{"an unknown kind", "apiVersion: v9\nkind: Nothing\nmetadata: {name: a}\n", 1, 422, "Nothing a"},
		{"an unknown field", strings.Replace(grantYAML, "to:", "too: 1\n  to:", 1), 1, 422, "EgressGrant ai/openai"},
		{"a schema that is broken", strings.Replace(grantYAML, "from: [{namespaces: [team-a]}]", "from: []", 1), 1, 422, "EgressGrant ai/openai"},
		{"an object twice", backendYAML, 1, 422, "Backend ai/openai"},
		{"a hostname that the schema refuses", strings.NewReplacer("name: openai", "name: inside", "api.example.com", "db.ai.svc").Replace(backendYAML), 1, 422, "Backend ai/inside"},
		{"a hostname that leads back to the hub", strings.NewReplacer("name: openai", "name: self", "api.example.com", "hub.example.com").Replace(backendYAML), 1, 422, "Backend ai/self"},
		{"a change that would not be accepted any more", strings.NewReplacer("name: openai", "name: there", "api.example.com", "hub.example.com").Replace(backendYAML), 1, 422, "Backend ai/there"},
		{"an object of another owner", strings.Replace(grantYAML, "name: openai", "name: theirs", 1), 0, 409, ""},
		{"a reference that does not resolve yet is none of these", gateway, 0, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.apply("folder", strings.Replace(grantYAML, "name: openai", "name: theirs", 1))
			w.apply(admin.OwnerCLI, strings.Replace(backendYAML, "name: openai", "name: there", 1))
			c := w.client()
			_, err := c.Apply(t.Context(), manifestsOf("a.yaml", backendYAML, "z.yaml", tt.bad))
			list, listErr := c.Objects(t.Context(), "Backend", "")
			if listErr != nil {
				t.Fatal(listErr)
			}
			if tt.status == 0 {
				if err != nil || len(list.Items) != 2 {
					t.Fatalf("apply: %#v, %d Backends, want success", err, len(list.Items))
				}
				return
			}
			code := admin.CodeInvalid
			if tt.status == 409 {
				code = admin.CodeOwned
			}
			e := wantError(t, "apply", err, tt.status, code)
			if len(list.Items) != 1 || strings.Contains(string(list.Items[0].Manifest), "hub.example.com") {
				t.Errorf("a part was written: %s", list.Items)
			}
			if len(e.Findings) < tt.findings || tt.findings == 0 && len(e.Findings) > 0 || e.Remedy == "" {
				t.Fatalf("findings = %+v, want %d", e.Findings, tt.findings)
			}
			for _, f := range e.Findings {
				if f.File != "z.yaml" || f.Object != tt.object && f.Object != "" || f.Message == "" || f.Reason == "" || f.Line == 0 {
					t.Errorf("finding = %+v, want one about %q of z.yaml with a line", f, tt.object)
				}
			}
			if tt.status == 409 && (!strings.Contains(e.Message, `"folder"`) || !strings.Contains(e.Message, `"cli"`)) {
				t.Errorf("message = %q, want both owners", e.Message)
			}
		})
	}
}

func TestApplySaysHowFarItGot(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Objects = &shortOfBreath{Objects: c.Objects, writes: 1} })
	c := w.client()
	m := manifestsOf("b.yaml", backendYAML, "g.yaml", grantYAML)
	_, err := c.Apply(t.Context(), m)
	e := wantError(t, "apply", err, 503, admin.CodeUnavailable)
	if !strings.Contains(e.Message, "1 of 2") || !strings.Contains(e.Remedy, "apply the same again") {
		t.Errorf("error = %v, want one that says how far it got", e)
	}
	applied, err := c.Apply(t.Context(), m)
	if diff := cmp.Diff([]string{"b.yaml: Backend ai/openai unchanged", "g.yaml: EgressGrant ai/openai created"}, changes(applied)); diff != "" || err != nil {
		t.Errorf("apply again: %v, differs (-want +got):\n%s", err, diff)
	}
}

func TestValidateFindsMoreThanApplyRefuses(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	list, err := c.Validate(t.Context(), manifestsOf("b.yaml", backendYAML))
	if err != nil || len(list.Items) != 1 || list.Items[0].Reason != manifest.ReasonNotGranted || list.Items[0].Severity != manifest.SeverityWarning {
		t.Errorf("a Backend that nobody may use: %+v, %v, want a warning and nothing else", list, err)
	}
	list, err = c.Validate(t.Context(), manifestsOf("b.yaml", backendYAML, "g.yaml", grantYAML))
	if err != nil || len(list.Items) != 0 || list.Items == nil {
		t.Errorf("a good Backend with a grant: %+v, %v, want no findings", list, err)
	}
	// What is there counts: the Backend is not among the manifests.
	w.apply("folder", backendYAML)
	if list, err := c.Validate(t.Context(), manifestsOf("g.yaml", grantYAML)); err != nil || len(list.Items) != 0 {
		t.Errorf("a grant for a Backend that is there: %+v, %v, want no findings", list, err)
	}
	missing := strings.Replace(grantYAML, "to: [{name: openai}]", "to: [{name: gone}]", 1)
	list, err = c.Validate(t.Context(), manifestsOf("g.yaml", missing))
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("a grant for a Backend that is not there: %+v, %v, want a finding", list, err)
	}
	for _, f := range list.Items {
		if f.Object != "EgressGrant ai/openai" || f.File != "g.yaml" {
			t.Errorf("finding = %+v, want one about the grant alone", f)
		}
	}
	list, err = c.Validate(t.Context(), manifestsOf("z.yaml", "a: [", "b.yaml", "kind: Nothing\n"))
	if err != nil || len(list.Items) < 2 || list.Items[0].File != "b.yaml" {
		t.Errorf("two bad files: %+v, %v, want findings sorted by file", list, err)
	}
	if objects, err := c.Objects(t.Context(), "", ""); err != nil || len(objects.Items) != 1 {
		t.Errorf("validate wrote something: %+v, %v", objects, err)
	}
}

func TestDiffShowsWhatApplyWouldDo(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	ctx := t.Context()
	m := manifestsOf("b.yaml", backendYAML)
	list, err := c.Diff(ctx, m)
	if err != nil || len(list.Items) != 1 || list.Items[0].Change != admin.Created || len(list.Items[0].Diff) == 0 {
		t.Fatalf("diff of a new object = %+v, %v, want it created", list, err)
	}
	for _, line := range list.Items[0].Diff {
		if !strings.HasPrefix(line, "+") {
			t.Errorf("line %q of a new object, want only additions", line)
		}
	}
	if _, err := c.Apply(ctx, m); err != nil {
		t.Fatal(err)
	}
	list, err = c.Diff(ctx, m)
	if err != nil || list.Items[0].Change != admin.Unchanged || len(list.Items[0].Diff) != 0 {
		t.Errorf("diff of the same = %+v, %v, want nothing", list, err)
	}
	list, err = c.Diff(ctx, manifestsOf("b.yaml", strings.Replace(backendYAML, "number: 443", "number: 8443", 1)))
	if err != nil || list.Items[0].Change != admin.Changed {
		t.Fatalf("diff of a change = %+v, %v", list, err)
	}
	var changed []string
	for _, line := range list.Items[0].Diff {
		if line[0] != ' ' {
			changed = append(changed, line)
		}
	}
	if want := []string{"-    number: 443", "+    number: 8443"}; !cmp.Equal(changed, want) {
		t.Errorf("changed lines = %q, want %q", changed, want)
	}
	if o, err := c.Object(ctx, "Backend", "ai", "openai"); err != nil || strings.Contains(string(o.Manifest), "8443") {
		t.Errorf("diff wrote: %s, %v", o.Manifest, err)
	}
	_, err = c.Diff(ctx, manifestsOf("b.yaml", "a: ["))
	wantError(t, "diff of what is malformed", err, 422, admin.CodeInvalid)
}

// TH-I1.
func TestSecretsAreNeverShown(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	ctx := t.Context()
	for _, s := range []string{"canary-secret-1", "canary-secret-2"} {
		w.secret(s)
		w.secret(base64.StdEncoding.EncodeToString([]byte(s)))
	}
	one, two := manifestsOf("s.yaml", secretYAML("canary-secret-1")), manifestsOf("s.yaml", secretYAML("canary-secret-2"))
	if _, err := c.Diff(ctx, one); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Validate(ctx, one); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(ctx, one); err != nil {
		t.Fatal(err)
	}
	same, err := c.Diff(ctx, one)
	if err != nil || same.Items[0].Change != admin.Unchanged {
		t.Errorf("diff of the same Secret = %+v, %v, want unchanged", same, err)
	}
	other, err := c.Diff(ctx, two)
	if err != nil || other.Items[0].Change != admin.Changed {
		t.Fatalf("diff of another value = %+v, %v, want changed", other, err)
	}
	if text := strings.Join(other.Items[0].Diff, "\n"); !strings.Contains(text, "-# data: [redacted]\n+# data: [redacted]") {
		t.Errorf("diff = %s, want it to say that values differ", text)
	}
	o, err := c.Object(ctx, "Secret", "ai", "client")
	if err != nil || strings.Contains(string(o.Manifest), "sealed") || !strings.Contains(string(o.Manifest), `"name":"client"`) {
		t.Errorf("get = %s, %v, want its name and nothing sealed", o.Manifest, err)
	}
	if _, err := c.Objects(ctx, "", ""); err != nil {
		t.Fatal(err)
	}
	// Also where it goes wrong.
	_, _ = c.Apply(ctx, manifestsOf("s.yaml", strings.Replace(secretYAML("canary-secret-1"), "type: Opaque", "typo: canary-secret-1", 1)))
	_, _ = c.Apply(ctx, manifestsOf("s.yaml", strings.Replace(secretYAML("canary-secret-1"), "{password:", "{password: [", 1)))
	_, _ = c.Apply(ctx, manifestsOf("s.yaml", strings.Replace(secretYAML("canary-secret-1"), "data: {other: ", "data: {other: %%", 1)))
}

func TestShownKeepsOnlyNamesOfASecret(t *testing.T) {
	for _, tt := range []struct{ name, kind, group, in, want string }{
		{"plain data", "Secret", "", `{"kind":"Secret","data":{"a":"c2VjcmV0"},"later":"secret"}`, `{"data":{"a":"[redacted]"},"kind":"Secret"}`},
		{"data of another form", "Secret", "", `{"data":"secret","stringData":["secret"]}`, `{"data":{},"stringData":{}}`},
		{"annotations and managed fields", "Secret", "", `{"metadata":{"name":"a","annotations":{"x":"secret"},"managedFields":["secret"]}}`, `{"metadata":{"name":"a"}}`},
		{"metadata of another form", "Secret", "", `{"metadata":"secret"}`, `{"metadata":{}}`},
		{"no object at all", "Secret", "", `"secret"`, ``},
		{"nothing of other kinds", "ConfigMap", "", `{"data":{"a":"b"}}`, `{"data":{"a":"b"}}`},
		{"nothing of a Secret of another group", "Secret", "example.com", `{"data":{"a":"b"}}`, `{"data":{"a":"b"}}`},
	} {
		if got := string(shown(tt.kind, tt.group, json.RawMessage(tt.in))); got != tt.want {
			t.Errorf("%s: shown = %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestConditionsOfARouteAreItsParents(t *testing.T) {
	got := conditionsOf(json.RawMessage(`{"parents":[{"conditions":[{"type":"Accepted","status":"True"}]},{"conditions":[{"type":"Accepted","status":"False"}]}]}`))
	want := []admin.Condition{{Type: "Accepted", Status: "True"}, {Type: "Accepted", Status: "False"}}
	if !cmp.Equal(got, want) {
		t.Errorf("conditions = %+v, want %+v", got, want)
	}
	if got := conditionsOf(json.RawMessage(`[]`)); got != nil {
		t.Errorf("conditions of another form = %+v, want none", got)
	}
}

// FuzzDiffLines: what is kept or removed is the old text, what is kept or added is the new one.
func FuzzDiffLines(f *testing.F) {
	f.Add("a\nb\nc", "a\nc")
	f.Add("", "a")
	f.Add("a\nb\na\nb", "b\na\nb\na")
	f.Fuzz(func(t *testing.T, a, b string) {
		old, next := strings.Split(a, "\n"), strings.Split(b, "\n")
		if len(old) > 200 || len(next) > 200 {
			return
		}
		var was, is []string
		kept := 0
		for _, line := range diffLines(old, next) {
			if line[0] != '+' {
				was = append(was, line[1:])
			}
			if line[0] != '-' {
				is = append(is, line[1:])
			}
			if line[0] == ' ' {
				kept++
			}
		}
		if !cmp.Equal(was, old) || !cmp.Equal(is, next) {
			t.Fatalf("diff of %q and %q gives %q and %q", old, next, was, is)
		}
		if a == b && kept != len(old) {
			t.Fatalf("diff of a text with itself keeps %d of %d lines", kept, len(old))
		}
	})
}

func TestDiffOfHugeTextsStaysBounded(t *testing.T) {
	old, next := make([]string, 4000), make([]string, 4000)
	for i := range old {
		old[i], next[i] = "a", "b"
	}
	if got := diffLines(old, next); len(got) != 8000 || got[0] != "-a" || got[7999] != "+b" {
		t.Errorf("diff has %d lines from %q to %q, want all removed, then all added", len(got), got[0], got[len(got)-1])
	}
}
