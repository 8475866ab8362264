package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// world is the running topology: a folder and the processes in it, ended by their ids in the reverse order of their start.
type world struct {
	dir, bin string

	mu    sync.Mutex
	procs []*process
}

// process is one program of ours.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string        // file with its output
	ended chan struct{} // closed when it has been waited for
	err   error         // set before ended is closed
}

// start runs a program of the bin folder in the world's folder name; its output goes to name/log.
func (w *world) start(name, program string, args ...string) (*process, error) {
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &process{name: name, log: filepath.Join(dir, "log"), ended: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own copy
	p.cmd = exec.Command(filepath.Join(w.bin, program), args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	p.cmd.SysProcAttr = childAttributes()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w; run `make build` first, or give --bin", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	w.mu.Lock()
	w.procs = append(w.procs, p)
	w.mu.Unlock()
	return p, nil
}

// kill ends a process at once, as a crash would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

// stop asks a process to end and waits, at most a little longer than its drain.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}

// down ends everything, last started first.
func (w *world) down() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.procs) > 0 {
		last := len(w.procs) - 1
		w.procs[last].stop()
		w.procs = w.procs[:last]
	}
}

// ready waits until url answers 200, or the process has ended, or the time is over.
func (p *process) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var last error
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		if last = probe(ctx, url); last == nil {
			tick.Stop()
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %w\n%s", p.name, p.err, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.name, last, p.tail())
		case <-tick.C:
		}
	}
}

func probe(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// tail is the end of the process's output.
func (p *process) tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
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
