package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	configv1alpha1 "penstock.dev/penstock/apis/config/v1alpha1"
	"penstock.dev/penstock/manifest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestMain lets the test's program be the processes that bench starts of itself.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-role") {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

func TestEachChainIsMeasuredAndEnded(t *testing.T) {
	s, err := openSite("no-programs-here", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	chains, err := chainsByName([]string{"direct", plainChain})
	if err != nil {
		t.Fatal(err)
	}
	cfg := config{duration: time.Second, conns: 4, rate: 50, bulk: 1 << 20}
	for _, c := range chains {
		tg, err := s.up(t.Context(), c, c.name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tg.procs.stop)
		profiled := 0
		f, err := measure(t.Context(), tg, cfg, func() error { profiled++; return nil })
		if err != nil {
			t.Fatalf("%s: %v%s", c.name, err, tg.procs.tails())
		}
		for _, i := range []figure{rps, closedP50, closedP99, openRate, openP50, openP99, bulkRate, eventP99} {
			if f[i] <= 0 {
				t.Errorf("%s: %s = %v, want more than 0", c.name, rows[i].name, f[i])
			}
		}
		if f[failures] != 0 || profiled != 1 {
			t.Errorf("%s: %v failures, %d profiles; want 0 and 1", c.name, f[failures], profiled)
		}
		for _, i := range []figure{cpuSpoke, cpuHub, memorySpoke, memoryHub} {
			if hops := c.name != "direct"; hops != (f[i] > 0) {
				t.Errorf("%s: %s of the hops = %v", c.name, rows[i].name, f[i])
			}
		}
		procs := slices.Clone(tg.procs.list)
		tg.procs.stop()
		for _, p := range procs {
			select {
			case <-p.Ended():
			default:
				t.Errorf("%s: %s still runs", c.name, filepath.Base(p.Log()))
			}
			if err := p.Err(); err != nil { // SIGTERM is how it should end, by itself
				t.Errorf("%s: %s ended with %v", c.name, filepath.Base(p.Log()), err)
			}
		}
	}
}

func TestARunThatCannotStartSaysWhy(t *testing.T) {
	good := config{bin: t.TempDir(), chains: []string{ourChain}, duration: time.Second, conns: 1, rate: 1, rounds: 1, bulk: 1}
	for _, tt := range []struct {
		name string
		with func(*config)
		want string
	}{
		{"programs that were not built", func(*config) {}, "make build"},
		{"a chain that does not exist", func(c *config) { c.chains = []string{"go-h9"} }, `chain "go-h9" does not exist; use direct, go-h2, penstock`},
		{"a load too short for CPU times", func(c *config) { c.duration = time.Millisecond }, "-duration"},
		{"no connection", func(c *config) { c.conns = 0 }, "-conns"},
		{"no rate", func(c *config) { c.rate = 0 }, "-rate"},
		{"no round", func(c *config) { c.rounds = 0 }, "-rounds"},
		{"no large body", func(c *config) { c.bulk = 0 }, "-bulk"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.with(&cfg)
			err := run(t.Context(), cfg, t.Output())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("run error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestAPartThatCannotStartSaysWhy(t *testing.T) {
	p := part{dir: t.TempDir()}
	for _, role := range []string{"upstream", "proxy-hub", "proxy-spoke"} {
		if err := p.serve(t.Context(), role); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("serve %s without files: error = %v, want ErrNotExist", role, err)
		}
	}
	if err := p.serve(t.Context(), "butler"); err == nil || !strings.Contains(err.Error(), `"butler"`) {
		t.Errorf("serve butler: error = %v", err)
	}
}

// The files are read by the very code that will read them.
func TestFilesAreWhatGatewaysRead(t *testing.T) {
	dir := t.TempDir()
	if err := writeCertificates(dir, upstreamName); err != nil {
		t.Fatal(err)
	}
	s := &site{dir: dir, upstream: "127.0.0.1:4433", profiles: true}
	set, err := s.settings()
	if err != nil {
		t.Fatal(err)
	}
	if err := unpack(dir, set); err != nil {
		t.Fatal(err)
	}
	hub, err := configv1alpha1.LoadHub(filepath.Join(dir, "hub.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	spoke, err := configv1alpha1.LoadSpoke(filepath.Join(dir, "spoke.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if hub.Observe.Pprof == "" || spoke.Observe.Pprof == "" || hub.Observe.AccessLog != "off" || spoke.Observe.AccessLog != "off" {
		t.Errorf("observe = %+v and %+v, want profiles and no access log", hub.Observe, spoke.Observe)
	}
	validator, err := manifest.NewValidator()
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := filepath.Glob(filepath.Join(dir, "*", "*.yaml"))
	if err != nil || len(manifests) != 3 {
		t.Fatalf("manifests: %v, %v; want 3", manifests, err)
	}
	for _, file := range manifests {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		objects, problems := validator.Parse(file, text)
		if len(problems) > 0 || len(objects) == 0 {
			t.Errorf("%s: %d objects, problems %v", file, len(objects), problems)
		}
	}
}
