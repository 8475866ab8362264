package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"penstock.dev/penstock/internal/process"
)

// world is the running topology: a folder and the processes in it. Not for concurrent use.
type world struct {
	dir, bin string
	procs    []*process.Process
}

// start runs a program of the bin folder in the world's folder name; its output goes to name/log.
func (w *world) start(name, program string, args ...string) (*process.Process, error) {
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p, err := process.Start(process.Config{
		Name: name, Path: filepath.Join(w.bin, program), Args: args, Dir: dir, Log: filepath.Join(dir, "log"),
	})
	if err == nil {
		w.procs = append(w.procs, p)
	}
	return p, err
}

// down ends everything, last started first.
func (w *world) down() {
	for len(w.procs) > 0 {
		last := len(w.procs) - 1
		w.procs[last].Stop()
		w.procs = w.procs[:last]
	}
}

// penstock runs a command of the CLI against a hub, as a user would, and returns what it prints.
func (w *world) penstock(ctx context.Context, hub, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(w.bin, "penstock"), args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "PENSTOCK_SOCKET="+filepath.Join(w.dir, hub, "state", "admin.sock"))
	cmd.Stdin = strings.NewReader(stdin)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("penstock %s: %w: %s", strings.Join(args, " "), err, errOut.String())
	}
	return string(out), nil
}
