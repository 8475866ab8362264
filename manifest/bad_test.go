package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// TestBadManifests holds each faulty manifest to its findings: file, line, object, field, reason, message and remedy.
func TestBadManifests(t *testing.T) {
	names, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(names) < 30 {
		t.Fatalf("testdata/bad holds %d manifests, want at least 30 (%v)", len(names), err)
	}
	v := newValidator(t)
	for _, name := range names {
		base := strings.TrimSuffix(filepath.Base(name), ".yaml")
		t.Run(base, func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			objects, problems := v.Parse("manifests/"+base+".yaml", data)
			set, ps := NewSet(objects)
			problems = append(problems, ps...)
			_, report := Translate(set, Options{Controller: HubController, Catalog: true, OwnNames: []string{"hub.example.com"}})
			problems = append(problems, report.Problems()...)
			if len(problems) == 0 {
				t.Fatalf("no finding, want at least one")
			}
			for _, p := range problems {
				if p.File == "" || p.Line == 0 || p.Reason == "" || p.Message == "" || p.Remedy == "" {
					t.Errorf("%+v says too little: want file, line, reason, message and remedy", p)
				}
				if strings.Contains(p.String(), "canary") || strings.Contains(p.String(), "31415926535") {
					t.Errorf("%s quotes a secret", p)
				}
			}
			got, err := yaml.Marshal(problems)
			if err != nil {
				t.Fatal(err)
			}
			want := filepath.Join("testdata/bad", base+".want")
			if *update {
				if err := os.WriteFile(want, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			wanted, err := os.ReadFile(want)
			if err != nil {
				t.Fatalf("%v; run: go test ./manifest/ -run TestBadManifests -update", err)
			}
			if diff := cmp.Diff(string(wanted), string(got)); diff != "" {
				t.Errorf("findings (-want +got; if meant, run: go test ./manifest/ -run TestBadManifests -update):\n%s", diff)
			}
		})
	}
}
