package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// workloadToken is how the client is known to the spoke. It goes no further.
const workloadToken = "bench-workload"

// alias is the name that the workload's namespace knows the upstream by.
const alias = "upstream"

// files are what a platform team would write: configuration of both gateways, the catalog, the spoke's Gateway.
//
//go:embed files
var files embed.FS

// settings fill the files.
type settings struct {
	UpstreamName, UpstreamPort        string
	CA                                []string // lines
	TokenSHA256                       string
	SpokePort, SpokeHealth, HubHealth string
	SpokePprof, HubPprof              string // "": off
}

// startPenstock registers a spoke with a hub of its own, through the commands that a user would type. The hub embeds
// etcd; its CPU time and memory are the hub's.
func startPenstock(ctx context.Context, s *site, t *target) error {
	dir := t.procs.dir
	set, err := s.settings()
	if err != nil {
		return err
	}
	if err := unpack(dir, set); err != nil {
		return err
	}
	hub, err := t.procs.start("hub", nil, filepath.Join(s.bin, "hub"), "--config", filepath.Join(dir, "hub.yaml"))
	if err != nil {
		return err
	}
	if err := hub.Ready(ctx, "http://"+set.HubHealth+"/readyz"); err != nil {
		return err
	}
	if err := s.penstock(ctx, dir, s.key, "credential", "set", "bench/key"); err != nil {
		return err
	}
	if err := s.penstock(ctx, dir, "", "cluster", "register", "east", "--out", filepath.Join(dir, "bundle.json")); err != nil {
		return err
	}
	spoke, err := t.procs.start("spoke", nil, filepath.Join(s.bin, "spoke"), "--config", filepath.Join(dir, "spoke.yaml"))
	if err != nil {
		return err
	}
	if err := spoke.Ready(ctx, "http://"+set.SpokeHealth+"/readyz"); err != nil {
		return err
	}
	t.address, t.host, t.authorization = net.JoinHostPort("127.0.0.1", set.SpokePort), alias, "Bearer "+workloadToken
	t.spoke, t.hub = hop{spoke.PID(), set.SpokePprof}, hop{hub.PID(), set.HubPprof}
	return answers(ctx, t)
}

// settings of this run, with free ports.
func (s *site) settings() (set settings, err error) {
	_, port, err := net.SplitHostPort(s.upstream)
	if err != nil {
		return set, err
	}
	ca, err := os.ReadFile(filepath.Join(s.dir, caFile))
	if err != nil {
		return set, err
	}
	free, err := freeAddresses(5)
	if err != nil {
		return set, err
	}
	digest := sha256.Sum256([]byte(workloadToken))
	_, spokePort, err := net.SplitHostPort(free[0])
	set = settings{
		UpstreamName: upstreamName, UpstreamPort: port, CA: strings.Split(strings.TrimSpace(string(ca)), "\n"),
		TokenSHA256: hex.EncodeToString(digest[:]),
		SpokePort:   spokePort, SpokeHealth: free[1], HubHealth: free[2],
	}
	if s.profiles {
		set.SpokePprof, set.HubPprof = free[3], free[4]
	}
	return set, err
}

// freeAddresses are n different ones on loopback that nobody listened on a moment ago. One that is taken meanwhile makes
// its gateway say so and the run fail.
func freeAddresses(n int) (free []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // at the end of all, so that no two are the same
		free = append(free, l.Addr().String())
	}
	return free, nil
}

// unpack writes the files with their settings into dir.
func unpack(dir string, set settings) error {
	const root = "files"
	return fs.WalkDir(files, root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, strings.TrimPrefix(path, root))
		if e.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		text, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		t, err := template.New(path).Option("missingkey=error").Parse(string(text))
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := t.Execute(&out, set); err != nil {
			return err
		}
		return os.WriteFile(to, out.Bytes(), 0o600)
	})
}

// penstock runs a command of the CLI against the hub in dir. Secrets go in by stdin.
func (s *site) penstock(ctx context.Context, dir, stdin string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "penstock"), args...)
	cmd.Env = append(os.Environ(), "PENSTOCK_SOCKET="+filepath.Join(dir, "state", "hub", "admin.sock"))
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("penstock %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// answers waits until the chain gives the right answer: grant and credential take a moment to reach both gateways.
func answers(ctx context.Context, t *target) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx, t)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no right answer after %s: %w", startTime, err)
		case <-tick.C:
		}
	}
}

func ask(ctx context.Context, t *target) error {
	c, err := dial(ctx, t)
	if err != nil {
		return err
	}
	return errors.Join(c.exchange(t.request(smallPath), smallBody), c.Close())
}

// request is the head that a client sends.
func (t *target) request(path string) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\nAuthorization: %s\r\n\r\n",
		http.MethodGet, path, t.host, t.authorization)
}
