package manifest

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"penstock.dev/penstock/apis/control"
)

var update = flag.Bool("update", false, "rewrite the want/ files of the golden cases")

// caseOptions is options.yaml of a case.
type caseOptions struct {
	Controller    string        `json:"controller"`
	Catalog       bool          `json:"catalog,omitempty"`
	View          *control.View `json:"view,omitempty"`
	OwnNames      []string      `json:"ownNames,omitempty"`
	ClusterDomain string        `json:"clusterDomain,omitempty"`
	Now           time.Time     `json:"now,omitzero"`
	// Unvalidated objects are none that an API server with our CRDs would store. Translate has its own defence against
	// them all the same: other API servers have older CRDs.
	Unvalidated bool `json:"unvalidated,omitempty"`
}

func (o caseOptions) options() Options {
	return Options{Controller: o.Controller, Catalog: o.Catalog, View: o.View, OwnNames: o.OwnNames, ClusterDomain: o.ClusterDomain, Now: o.Now}
}

// goldenFiles lists the cases; none is a failure, since a moved folder would otherwise pass.
func goldenFiles(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/translate/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("testdata/translate holds no case (%v)", err)
	}
	return names
}

type goldenCase struct {
	archive *txtar.Archive
	options Options
	// unvalidated cases are parsed, and no more.
	unvalidated bool
	files       []txtar.File // in/*.yaml
}

func readCase(t testing.TB, name string) goldenCase {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c := goldenCase{archive: archive}
	found := false
	for _, f := range archive.Files {
		switch {
		case f.Name == "options.yaml":
			var o caseOptions
			if err := yaml.UnmarshalStrict(f.Data, &o); err != nil {
				t.Fatalf("%s: options.yaml: %v", name, err)
			}
			c.options, found = o.options(), true
			c.unvalidated = o.Unvalidated
		case strings.HasPrefix(f.Name, "in/"):
			c.files = append(c.files, f)
		}
	}
	if !found || len(c.files) == 0 {
		t.Fatalf("%s: needs options.yaml and in/*.yaml", name)
	}
	if len(bytes.TrimSpace(archive.Comment)) == 0 {
		t.Fatalf("%s: needs a first line that says what the case is about", name)
	}
	return c
}

// translateFiles is the whole way: parse and, unless the case says otherwise, validate each file, join, translate.
func translateFiles(t testing.TB, v *Validator, c goldenCase) (snapshot, status []byte) {
	t.Helper()
	var all [][]Object
	var problems []Problem
	parse := v.Parse
	if c.unvalidated {
		parse = Parse
	}
	for _, f := range c.files {
		objects, ps := parse(f.Name, f.Data)
		all = append(all, objects)
		problems = append(problems, ps...)
	}
	set, ps := NewSet(all...)
	problems = append(problems, ps...)
	if len(problems) > 0 {
		t.Fatalf("the case itself has problems: %v", problems)
	}
	snap, report := Translate(set, c.options)
	if _, err := snap.Compile(); err != nil {
		t.Errorf("Compile: %v, want a table that Translate made to compile", err)
	}
	snapshot, err := yaml.Marshal(snap)
	if err != nil {
		t.Fatal(err)
	}
	if status, err = report.YAML(); err != nil {
		t.Fatal(err)
	}
	return snapshot, status
}

func newValidator(t testing.TB) *Validator {
	t.Helper()
	v, err := NewValidator()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTranslateGolden(t *testing.T) {
	v := newValidator(t)
	for _, name := range goldenFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			c := readCase(t, name)
			snapshot, status := translateFiles(t, v, c)
			got := []txtar.File{{Name: "want/snapshot.yaml", Data: snapshot}, {Name: "want/status.yaml", Data: status}}
			if *update {
				writeWants(t, name, c.archive, got)
				return
			}
			for _, g := range got {
				i := indexFile(c.archive, g.Name)
				if i < 0 {
					t.Fatalf("%s is missing; run: go test ./manifest/ -run TestTranslateGolden -update", g.Name)
				}
				if diff := cmp.Diff(string(c.archive.Files[i].Data), string(g.Data)); diff != "" {
					t.Errorf("%s (-want +got; if it is meant, run: go test ./manifest/ -run TestTranslateGolden -update):\n%s", g.Name, diff)
				}
			}
		})
	}
}

func indexFile(a *txtar.Archive, name string) int {
	for i, f := range a.Files {
		if f.Name == name {
			return i
		}
	}
	return -1
}

func writeWants(t *testing.T, name string, a *txtar.Archive, got []txtar.File) {
	t.Helper()
	for _, g := range got {
		if i := indexFile(a, g.Name); i >= 0 {
			a.Files[i] = g
			continue
		}
		a.Files = append(a.Files, g)
	}
	if err := os.WriteFile(name, txtar.Format(a), fs.FileMode(0o644)); err != nil {
		t.Fatal(err)
	}
}
