package manifest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
)

func ids(objects []Object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.ID.String())
	}
	return out
}

const cluster = "apiVersion: penstock.dev/v1alpha1\nkind: Cluster\nmetadata: {name: %s}\nspec: {}\n"

func clusterDoc(name string) string { return strings.ReplaceAll(cluster, "%s", name) }

func TestParseDocuments(t *testing.T) {
	for _, row := range []struct {
		name, file string
		want       []string // objects
		lines      []int    // where their documents begin
		problems   int
	}{
		{"an empty file holds nothing", "", nil, nil, 0},
		{"comments and blank lines hold nothing", "# hello\n\n---\n# more\n", nil, nil, 0},
		{"one document needs no separator", clusterDoc("a"), []string{"Cluster a"}, []int{1}, 0},
		{"a leading separator starts the first document", "---\n" + clusterDoc("a"), []string{"Cluster a"}, []int{2}, 0},
		{"documents count lines from the file's begin", clusterDoc("a") + "---\n" + clusterDoc("b"), []string{"Cluster a", "Cluster b"}, []int{1, 6}, 0},
		{"a separator may carry a comment", clusterDoc("a") + "--- # next\n" + clusterDoc("b"), []string{"Cluster a", "Cluster b"}, []int{1, 6}, 0},
		{"a separator with CRLF is one", clusterDoc("a") + "---\r\n" + clusterDoc("b"), []string{"Cluster a", "Cluster b"}, []int{1, 6}, 0},
		{"a broken document costs only itself", clusterDoc("a") + "---\na: [\n---\n" + clusterDoc("b"), []string{"Cluster a", "Cluster b"}, []int{1, 8}, 1},
		{"JSON is YAML", `{"apiVersion":"penstock.dev/v1alpha1","kind":"Cluster","metadata":{"name":"a"},"spec":{}}`, []string{"Cluster a"}, []int{1}, 0},
		{"a namespace is optional", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n", []string{"Service default/a"}, []int{1}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			objects, problems := Parse("f.yaml", []byte(row.file))
			if diff := cmp.Diff(row.want, ids(objects)); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
			if len(problems) != row.problems {
				t.Errorf("problems = %v, want %d", problems, row.problems)
			}
			for i, o := range objects {
				if i < len(row.lines) && o.Source.Line != row.lines[i] {
					t.Errorf("%s begins at line %d, want %d", o.ID, o.Source.Line, row.lines[i])
				}
			}
		})
	}
}

func TestParseKeepsTheOriginTimeAndDropsStatus(t *testing.T) {
	objects, problems := Parse("f.yaml", []byte(`
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: a, namespace: b, creationTimestamp: "2026-01-02T03:04:05Z", generation: 3}
spec: {type: ExternalHostname, externalHostname: {hostname: a.example.com}, port: {number: 443}}
status: {conditions: [{type: Accepted, status: "True", reason: Accepted, message: "", lastTransitionTime: null}]}
`))
	if len(problems) > 0 || len(objects) != 1 {
		t.Fatalf("Parse = %v, %v", objects, problems)
	}
	o := objects[0]
	if want := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC); !o.Created.Equal(want) {
		t.Errorf("Created = %s, want %s", o.Created, want)
	}
	if o.Generation() != 3 {
		t.Errorf("Generation = %d, want 3", o.Generation())
	}
	if b := o.Value.(*penstockv1alpha1.Backend); len(b.Status.Conditions) > 0 {
		t.Errorf("status was kept: %v", b.Status)
	}
	if bytes.Contains(o.JSON, []byte("status")) {
		t.Errorf("JSON has the status: %s", o.JSON)
	}
}

func TestObjectPrintsNoContent(t *testing.T) {
	objects, _ := Parse("f.yaml", []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: canary-7d1}\n"))
	if len(objects) != 1 {
		t.Fatalf("objects = %v, want one", objects)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if s := fmt.Sprintf(verb, objects[0]); strings.Contains(s, "canary") || strings.Contains(s, "63616e617279") || s == "" {
			t.Errorf("%s prints %q, want the name alone", verb, s)
		}
	}
}

func TestProblemString(t *testing.T) {
	for _, row := range []struct {
		name string
		p    Problem
		want string
	}{
		{
			"in full",
			Problem{File: "manifests/payments.yaml", Line: 7, Object: "Backend billing/payments", Field: "spec.externalHostname.hostname", Message: `"api" is not a full name`, Remedy: `write e.g. "api.example.com"`},
			`manifests/payments.yaml:7: Backend billing/payments: spec.externalHostname.hostname: "api" is not a full name; write e.g. "api.example.com"`,
		},
		{"without line", Problem{File: "f.yaml", Object: "Cluster east", Message: "m"}, "f.yaml: Cluster east: m"},
		{"without file", Problem{Object: "Cluster east", Field: "spec", Message: "m", Remedy: "r"}, "Cluster east: spec: m; r"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := row.p.String(); got != row.want {
				t.Errorf("String() =\n%s, want\n%s", got, row.want)
			}
		})
	}
}

// seeds are all manifests of the golden cases and the bad ones.
func seeds(t testing.TB) [][]byte {
	t.Helper()
	var out [][]byte
	for _, name := range goldenFiles(t) {
		for _, f := range readCase(t, name).files {
			out = append(out, f.Data)
		}
	}
	bad, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range bad {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, data)
	}
	return out
}

// FuzzParse: what Parse accepts it stores in a form that it reads back as the same object; what it refuses it explains.
func FuzzParse(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Add([]byte("a: &x [*x]\n"))
	f.Add([]byte("---\n---\n--- # x\n"))
	f.Add([]byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b, labels: {1: yes}}\ndata: {a: \"1\"}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, problems := Parse("f.yaml", data)
		for _, p := range problems {
			if p.Reason == "" || p.Message == "" {
				t.Errorf("a finding without reason or message: %+v", p)
			}
		}
		for _, o := range objects {
			again, ps := Parse("f.yaml", o.JSON)
			if len(ps) > 0 || len(again) != 1 {
				t.Fatalf("%s: JSON %s is not read back: %v", o.ID, o.JSON, ps)
			}
			if again[0].ID != o.ID || !again[0].Created.Equal(o.Created) {
				t.Errorf("read back as %s of %s, want %s of %s", again[0].ID, again[0].Created, o.ID, o.Created)
			}
			if !bytes.Equal(again[0].JSON, o.JSON) {
				t.Errorf("%s: JSON is not stable:\n%s\n%s", o.ID, o.JSON, again[0].JSON)
			}
			if diff := cmp.Diff(o.Value, again[0].Value); diff != "" {
				t.Errorf("%s: read back differs:\n%s", o.ID, diff)
			}
		}
	})
}
