package cli_test

import (
	"context"
	"encoding/pem"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"penstock.dev/penstock/cli"
)

var update = flag.Bool("update", false, "rewrite what the scripts expect")

func TestMain(m *testing.M) {
	run := func() {
		os.Exit(cli.Run(context.Background(), cli.New(cli.Options{Program: os.Args[0]}), os.Args[1:]))
	}
	testscript.Main(m, map[string]func(){"penstock": run, "kubectl-penstock": run})
}

// canaries are the secrets that scripts hand to commands. No command may ever print one.
var canaries = []string{"sk-canary", fakeToken}

// Each script runs real commands, as processes, against a hub of its own on a unix socket ($PENSTOCK_SOCKET) and over
// TLS ($REMOTE, $REMOTE_CA). Beside testscript's own commands there are:
//
//	exits CODE PROGRAM ARGS...   runs it; the exit code must be CODE, and no canary may be printed
//	calls [CALL...]              what arrived at the hub since the last calls is exactly this
//	received TEXT                the body of the last call is exactly TEXT, in which \n is a line break
//	emptyhub                     forgets everything the hub holds
//
// What cmp expects is rewritten by: go test ./cli -update
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup:         setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"calls":    calls,
			"received": received,
			"emptyhub": emptyHub,
		},
	})
}

type hubKey struct{}

func setup(env *testscript.Env) error {
	hub := newFakeHub()
	env.Values[hubKey{}] = hub
	// Not the script's folder: its path may be longer than a socket's may be.
	dir, err := os.MkdirTemp("", "hub")
	if err != nil {
		return err
	}
	env.Defer(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		return err
	}
	local := &httptest.Server{Listener: l, Config: &http.Server{Handler: hub.handler()}}
	local.Start()
	env.Defer(local.Close)
	remote := httptest.NewUnstartedServer(hub.remote())
	// A script that comes without the CA makes the server complain, as it should.
	remote.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	remote.StartTLS()
	env.Defer(remote.Close)
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: remote.Certificate().Raw}), 0o600); err != nil {
		return err
	}
	env.Setenv("PENSTOCK_SOCKET", l.Addr().String())
	env.Setenv("REMOTE", remote.Listener.Addr().String())
	env.Setenv("REMOTE_CA", ca)
	env.Setenv("TOKEN", fakeToken)
	return nil
}

func hubOf(ts *testscript.TestScript) *fakeHub {
	hub, ok := ts.Value(hubKey{}).(*fakeHub)
	if !ok {
		ts.Fatalf("the script has no hub")
	}
	return hub
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	for _, stream := range []string{"stdout", "stderr"} {
		for _, c := range canaries {
			if strings.Contains(ts.ReadFile(stream), c) {
				ts.Fatalf("%s holds the secret %s", stream, c)
			}
		}
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func calls(ts *testscript.TestScript, _ bool, args []string) {
	hub := hubOf(ts)
	hub.mu.Lock()
	got := hub.calls
	hub.calls = nil
	hub.mu.Unlock()
	if diff := cmp.Diff(append([]string{}, args...), append([]string{}, got...)); diff != "" {
		ts.Fatalf("calls of the hub (-want +got):\n%s", diff)
	}
}

func received(ts *testscript.TestScript, _ bool, args []string) {
	hub := hubOf(ts)
	hub.mu.Lock()
	defer hub.mu.Unlock()
	if len(args) != 1 || string(hub.lastBody) != strings.ReplaceAll(args[0], `\n`, "\n") {
		ts.Fatalf("the hub received %q, want %q", hub.lastBody, args)
	}
}

func emptyHub(ts *testscript.TestScript, _ bool, _ []string) {
	hub := hubOf(ts)
	hub.mu.Lock()
	defer hub.mu.Unlock()
	hub.clusters, hub.credentials, hub.objects = nil, nil, nil
}
