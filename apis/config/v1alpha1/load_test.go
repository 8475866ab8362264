package v1alpha1_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"penstock.dev/penstock/apis/config/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// parse reads a file of either kind, chosen by its name, from the folder /etc/penstock.
func parse(t *testing.T, file string) (any, error) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(file)
	source := "/etc/penstock/" + name
	if strings.HasPrefix(name, "hub-") {
		return v1alpha1.ParseHub(source, data)
	}
	return v1alpha1.ParseSpoke(source, data)
}

func cases(t *testing.T, pattern string, atLeast int) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) < atLeast {
		t.Fatalf("%s: %d cases (error %v), want at least %d", pattern, len(files), err, atLeast)
	}
	return files
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; make it with: go test ./apis/config/v1alpha1 -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestBadFilesSayWhatIsWrongWhereAndWhatToDo(t *testing.T) {
	for _, file := range cases(t, "testdata/bad/*.yaml", 12) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			_, err := parse(t, file)
			var e *v1alpha1.Error
			if !errors.As(err, &e) {
				t.Fatalf("Parse error = %v, want an *Error", err)
			}
			for _, p := range e.Problems {
				if p.File == "" || p.Line < 1 || p.Reason == "" || p.Remedy == "" {
					t.Errorf("problem without file, line, reason or remedy: %+v", p)
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".want", err.Error()+"\n")
		})
	}
}

func TestErrorsNeverRepeatASecretPutInTheWrongPlace(t *testing.T) {
	for file, secret := range map[string]string{
		"testdata/bad/hub-admin-tokens.yaml": "my-secret-token", // a token where its hash belongs
		"testdata/bad/hub-catalog.yaml":      "hunter2",         // a password in an URL
	} {
		_, err := parse(t, file)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: error %q, want one without %q", file, err, secret)
		}
	}
}

func TestGoodFilesAreCompletedWithDefaults(t *testing.T) {
	for _, file := range cases(t, "testdata/good/*-*", 5) {
		if filepath.Ext(file) == ".want" {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			cfg, err := parse(t, file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := yaml.Marshal(cfg)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, file+".want", string(got))
		})
	}
}

func TestTheNameDefaultsToTheHostName(t *testing.T) {
	cfg, err := v1alpha1.ParseHub("hub.yaml", []byte("apiVersion: config.penstock.dev/v1alpha1\nkind: HubConfig\ntrustDomain: example.com\nstateDir: s\n"))
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Name != strings.ToLower(host) {
		t.Errorf("Name = %q, want the host name %q", cfg.Name, host)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Run("paths start from the folder of the file", func(t *testing.T) {
		spoke, err := v1alpha1.LoadSpoke(write("spoke.yaml", "apiVersion: config.penstock.dev/v1alpha1\nkind: SpokeConfig\nstateDir: ../state\nmanifests: /m\n"))
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(filepath.Dir(dir), "state"); spoke.StateDir != want || spoke.Manifests != "/m" {
			t.Errorf("stateDir, manifests = %q, %q, want %q, /m", spoke.StateDir, spoke.Manifests, want)
		}
	})
	t.Run("a file that is not there says where to name it", func(t *testing.T) {
		_, err := v1alpha1.LoadHub(filepath.Join(dir, "none.yaml"))
		if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "--config") {
			t.Errorf("LoadHub error = %v, want ErrNotExist and the flag", err)
		}
	})
	t.Run("a file beyond 1 MiB is refused unread", func(t *testing.T) {
		_, err := v1alpha1.LoadHub(write("big.yaml", strings.Repeat("# filler\n", 1<<17)))
		if err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
			t.Errorf("LoadHub error = %v, want one about the size", err)
		}
	})
}

func TestDurationIsTextInJSON(t *testing.T) {
	for _, row := range []struct{ name, in, out, err string }{
		{"a duration is read and printed", `"90s"`, `"1m30s"`, ""},
		{"zero is the default", `"0s"`, `"0s"`, ""},
		{"a bare number has no unit", `30`, ``, "write a number with a unit"},
		{"other text is refused", `"soon"`, ``, `"soon" is not a duration`},
	} {
		t.Run(row.name, func(t *testing.T) {
			var d v1alpha1.Duration
			err := json.Unmarshal([]byte(row.in), &d)
			if row.err != "" {
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Fatalf("error = %v, want %q", err, row.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if out, err := json.Marshal(d); err != nil || string(out) != row.out {
				t.Errorf("Marshal = %s, %v, want %s", out, err, row.out)
			}
		})
	}
}

// The examples are what a newcomer copies.
func TestTheExamplesAreGood(t *testing.T) {
	for _, file := range cases(t, "../../../examples/standalone/*/hub.yaml", 1) {
		if _, err := v1alpha1.LoadHub(file); err != nil {
			t.Error(err)
		}
	}
	for _, file := range cases(t, "../../../examples/standalone/*/spoke.yaml", 1) {
		if _, err := v1alpha1.LoadSpoke(file); err != nil {
			t.Error(err)
		}
	}
}
