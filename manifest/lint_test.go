package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"penstock.dev/penstock/gateway/route"
)

// TestLint holds each case of testdata/lint to its warnings. A case says where it is ("At a hub." or "At a spoke."),
// in/*.yaml, and want: the warnings as they are printed. What is served as anybody would want it has a case too: its want is empty.
func TestLint(t *testing.T) {
	names, err := filepath.Glob("testdata/lint/*.txtar")
	if err != nil || len(names) < 15 {
		t.Fatalf("testdata/lint holds %d cases, want at least 15 (%v)", len(names), err)
	}
	v := newValidator(t)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			hub := strings.Contains(string(archive.Comment), "At a hub.")
			opt := Options{Controller: SpokeController}
			if hub {
				opt = Options{Controller: HubController, Catalog: true}
			}
			set, snapshot, want := lintCase(t, v, archive, opt)
			got := lintText(t, Lint(set, snapshot, opt))
			if *update {
				archive.Files[want].Data = []byte(got)
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[want].Data), got); diff != "" {
				t.Errorf("warnings (-want +got; if meant, run: go test ./manifest -run TestLint -update):\n%s", diff)
			}
		})
	}
}

// lintCase translates a case, which must have no findings of its own, and says which of its files is the want.
func lintCase(t *testing.T, v *Validator, archive *txtar.Archive, opt Options) (*Set, *route.Snapshot, int) {
	t.Helper()
	var all [][]Object
	want := -1
	for i, f := range archive.Files {
		if f.Name == "want" {
			want = i
			continue
		}
		objects, problems := v.Parse(f.Name, f.Data)
		if len(problems) > 0 {
			t.Fatalf("the case has problems itself: %v", problems)
		}
		all = append(all, objects)
	}
	if want < 0 {
		t.Fatal("the case has no want; add an empty one and run: go test ./manifest -run TestLint -update")
	}
	set, problems := NewSet(all...)
	snapshot, report := Translate(set, opt)
	if problems = slices.Concat(problems, report.Problems()); len(problems) > 0 {
		t.Fatalf("the case has problems itself: %v", problems)
	}
	return set, snapshot, want
}

// lintText are the warnings, a line each; one that says too little fails the test.
func lintText(t *testing.T, found []Problem) string {
	t.Helper()
	var b strings.Builder
	for _, p := range found {
		if p.Severity != SeverityWarning || p.File == "" || p.Line == 0 || p.Reason == "" || p.Message == "" || p.Remedy == "" {
			t.Errorf("%+v says too little: want a warning with file, line, reason, message and remedy", p)
		}
		fmt.Fprintf(&b, "%s: %s\n", p.Reason, p)
	}
	return b.String()
}

// TestLintOfAllGoldenCases: whatever is linted, a warning has a place and a remedy, and the order of files changes none.
func TestLintOfAllGoldenCases(t *testing.T) {
	v := newValidator(t)
	found := 0
	for _, name := range goldenFiles(t) {
		c := readCase(t, name)
		var first string
		for _, reversed := range []bool{false, true} {
			var all [][]Object
			for _, f := range c.files {
				objects, _ := v.Parse(f.Name, f.Data)
				if reversed {
					slices.Reverse(objects)
				}
				all = append(all, objects)
			}
			if reversed {
				slices.Reverse(all)
			}
			set, _ := NewSet(all...)
			snapshot, _ := Translate(set, c.options)
			problems := Lint(set, snapshot, c.options)
			found += len(problems)
			if text := lintText(t, problems); !reversed {
				first = text
			} else if text != first {
				t.Errorf("%s: the order of objects changes the warnings (-forward +backward):\n%s", name, cmp.Diff(first, text))
			}
		}
	}
	if found == 0 {
		t.Error("no case has a warning, so nothing was compared")
	}
}

// BenchmarkLint shows what it costs beside the translation of the same 10,000 routes.
func BenchmarkLint(b *testing.B) {
	var text strings.Builder
	text.WriteString(lintGateway)
	for n := range 10_000 {
		fmt.Fprintf(&text, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r%d, namespace: a}\nspec: {parentRefs: [{name: egress}], rules: [{matches: [{path: {value: /team/%d}}], backendRefs: [{group: penstock.dev, kind: Backend, name: one}]}]}\n", n, n)
	}
	objects, problems := Parse("set.yaml", []byte(text.String()))
	set, _ := NewSet(objects)
	opt := Options{Controller: SpokeController}
	snapshot, _ := Translate(set, opt)
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	b.Run("Translate", func(b *testing.B) {
		for b.Loop() {
			Translate(set, opt)
		}
	})
	b.Run("Lint", func(b *testing.B) {
		for b.Loop() {
			if found := Lint(set, snapshot, opt); len(found) > 0 {
				b.Fatal(found)
			}
		}
	})
}

const lintGateway = `apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: penstock.dev/spoke-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: egress, namespace: a}
spec: {gatewayClassName: penstock, listeners: [{name: http, protocol: HTTP, port: 80}]}
---
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: one, namespace: a}
spec: {type: ExternalHostname, externalHostname: {hostname: api.example.com}, port: {number: 443}, tls: {mode: ServerOnly}}
`
