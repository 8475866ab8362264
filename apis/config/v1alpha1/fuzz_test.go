package v1alpha1_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/apis/config/v1alpha1"
)

// The property: what is accepted, printed as JSON and read again is the same configuration; what is refused names at
// least one line. Seeds are the golden files.

func FuzzParseHub(f *testing.F) {
	seeds(f, "testdata/*/hub-*")
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, v1alpha1.ParseHub, data) })
}

func FuzzParseSpoke(f *testing.F) {
	seeds(f, "testdata/*/spoke-*")
	f.Fuzz(func(t *testing.T, data []byte) { roundTrip(t, v1alpha1.ParseSpoke, data) })
}

func seeds(f *testing.F, pattern string) {
	f.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds match %s (error %v)", pattern, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

func roundTrip[T any](t *testing.T, parse func(string, []byte) (*T, error), data []byte) {
	cfg, err := parse("fuzz.yaml", data)
	if err != nil {
		var e *v1alpha1.Error
		if !errors.As(err, &e) || len(e.Problems) == 0 {
			t.Fatalf("error %v is no *Error with problems", err)
		}
		for _, p := range e.Problems {
			if p.Line < 1 || p.Remedy == "" {
				t.Fatalf("problem without line or remedy: %+v", p)
			}
		}
		return
	}
	printed, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse("fuzz.yaml", printed)
	if err != nil {
		t.Fatalf("what was accepted is refused as JSON: %v\n%s", err, printed)
	}
	if diff := cmp.Diff(cfg, again); diff != "" {
		t.Fatalf("not the same after printing (-first +second):\n%s", diff)
	}
}
