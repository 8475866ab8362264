// Package floors holds the house to its floors: a package imports only what lies below it (STYLE.md, docs/house.md).
package floors

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "penstock.dev/penstock"

// floorOf is the house. A package that is not here fails the test: give it a floor first.
var floorOf = map[string]int{
	"cmd/hub": 7, "cmd/spoke": 7, "cmd/penstock": 7, "bench": 7, "examples/provider": 7, "deploy/gen": 7,
	"test/suite": 7, "test/floors": 7, "test/docs": 7, "test/e2e": 7,
	"cli": 6, "cli/demo": 6,
	"chaos": 5,
	"hub":   4, "spoke": 4,
	"gateway": 3, "gateway/endpoint": 3, "hub/admin": 3, "hub/catalog/etcd": 3, "hub/catalog/embedded": 3,
	"manifest/feed": 3, "manifest/file": 3, "manifest/kube": 3,
	"gateway/filter": 2, "gateway/retry": 2, "hub/catalog": 2, "hub/credential": 2, "hub/registry": 2, "manifest": 2,
	"gateway/h1": 1, "gateway/route": 1, "gateway/hop": 1, "gateway/telemetry": 1, "gateway/filter/sdk": 1, "tunnel": 1,
	"apis/v1alpha1": 0, "apis/config/v1alpha1": 0, "apis/control": 0, "apis/admin": 0, "tunnel/bhttp": 0,
	"console": 0, "deploy": 0, "examples": 0, "internal/process": 0, "internal/xconnect": 0,
}

// testkit packages are imported by tests, chaos and each other only.
var testkit = []string{"tunnel/tunneltest", "hub/catalog/catalogtest", "internal/testkit/"}

// exceptions are imports on one floor that the house allows, with the reason.
var exceptions = map[[2]string]string{
	{"gateway", "gateway/endpoint"}:              "the handler names the causes of endpoint errors; the endpoint never imports the handler",
	{"apis/admin", "apis/control"}:               "the admin API hands out join bundles and refusals",
	{"hub/registry", "hub/catalog"}:              "registry and credential keep their records in the catalog",
	{"hub/credential", "hub/catalog"}:            "registry and credential keep their records in the catalog",
	{"hub/catalog/embedded", "hub/catalog/etcd"}: "the embedded server hands out the same client",
}

// forbidden are links (through any number of steps) that would break a promise.
var forbidden = []struct{ pkg, link, why string }{
	{"./cmd/spoke", module + "/hub", "a spoke holds no catalog and no credentials"},
	{"./cmd/spoke", "go.etcd.io/", "a spoke holds no catalog"},
	{"./gateway/...", "k8s.io/", "the request path runs without Kubernetes"},
	{"./gateway/...", "sigs.k8s.io/", "the request path runs without Kubernetes"},
	{"./gateway/...", "go.etcd.io/", "the request path runs without etcd"},
	{"./tunnel/...", "k8s.io/", "a tunnel knows peers and streams only"},
	{"./tunnel/...", "go.etcd.io/", "a tunnel knows peers and streams only"},
	{"./tunnel/...", module + "/gateway", "a tunnel knows peers and streams, not routes"},
	{"./hub/registry", "go.etcd.io/", "the registry sees the catalog through its contract"},
	{"./hub/credential", "go.etcd.io/", "credentials see the catalog through its contract"},
	{"./apis/config/v1alpha1", "k8s.io/", "a spoke's config needs no Kubernetes types"},
	{"./gateway/endpoint", module + "/hub", "a credential enters through an interface only"},
}

// direct are imports that one package alone may make.
var direct = []struct {
	imported string
	only     []string
}{
	{"github.com/quic-go/quic-go", []string{"tunnel", "tunnel/tunneltest", "gateway/endpoint"}},
	{"go.etcd.io/etcd/server/v3", []string{"hub/catalog/embedded"}},
	{"go.etcd.io/etcd/client/v3", []string{"hub/catalog/etcd", "hub/catalog/embedded"}},
	{"github.com/prometheus/client_golang", []string{"gateway/telemetry"}},
	{"github.com/spf13/cobra", []string{"cli", "cli/demo", "cmd/penstock"}},
	{"github.com/miekg/dns", []string{"gateway/endpoint"}},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list %v: %s", args, exit.Stderr)
		}
		t.Fatal(err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func inKit(name string) bool {
	return slices.ContainsFunc(testkit, func(k string) bool { return name == k || strings.HasPrefix(name, k) })
}

func TestAPackageImportsOnlyWhatLiesBelowIt(t *testing.T) {
	for _, p := range list(t, "./...") {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		if inKit(name) {
			continue
		}
		floor, known := floorOf[name]
		if !known {
			t.Errorf("%s has no floor: enter it in floorOf and in STYLE's table", name)
			continue
		}
		for _, imp := range p.Imports {
			below, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			if inKit(below) {
				t.Errorf("%s imports the test kit %s; only tests and chaos may", name, below)
				continue
			}
			if _, ok := exceptions[[2]string{name, below}]; ok || floorOf[below] < floor {
				continue
			}
			t.Errorf("%s (floor %d) imports %s (floor %d)", name, floor, below, floorOf[below])
		}
	}
}

func TestForbiddenLinks(t *testing.T) {
	for _, f := range forbidden {
		for _, p := range list(t, f.pkg) {
			if inKit(strings.TrimPrefix(p.ImportPath, module+"/")) {
				continue
			}
			for _, d := range p.Deps {
				if strings.HasPrefix(d, f.link) {
					t.Errorf("%s links %s: %s", p.ImportPath, d, f.why)
					break
				}
			}
		}
	}
}

func TestOnePackageImportsEachGuardedLibrary(t *testing.T) {
	pkgs := list(t, "./...")
	for _, d := range direct {
		for _, p := range pkgs {
			name := strings.TrimPrefix(p.ImportPath, module+"/")
			for _, imp := range p.Imports {
				if (imp == d.imported || strings.HasPrefix(imp, d.imported+"/")) && !slices.Contains(d.only, name) {
					t.Errorf("%s imports %s; only %v may", name, imp, d.only)
				}
			}
		}
	}
}
