// Package process starts programs of this project, waits until they are ready, and ends them by their ids. The demo and
// the benchmarks run real processes with it. It knows nothing of what the programs do.
package process

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// readyTime bounds Ready, stopTime what Stop waits before it kills.
	readyTime = 60 * time.Second
	stopTime  = 10 * time.Second
	tailLines = 12
)

// Config of a process. Name, Path and Log are required.
type Config struct {
	// Name for errors.
	Name string
	// Path of the program, Args behind it, Dir to run it in [the current one].
	Path string
	Args []string
	Dir  string
	// Log is the file that its output is appended to; Stdout takes standard output instead [Log].
	Log    string
	Stdout *os.File
}

// Process is a running program. Safe for concurrent use.
type Process struct {
	name, log string
	cmd       *exec.Cmd
	ended     chan struct{} // closed when it has been waited for
	err       error         // set before ended is closed
}

// Start starts a program. It does not outlive us where the system allows that, and a Ctrl-C at our terminal reaches us
// alone: whoever starts it ends it.
func Start(cfg Config) (*Process, error) {
	out, err := os.OpenFile(cfg.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own copy
	p := &Process{name: cfg.Name, log: cfg.Log, ended: make(chan struct{})}
	p.cmd = exec.Command(cfg.Path, cfg.Args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = cfg.Dir, out, out
	if cfg.Stdout != nil {
		p.cmd.Stdout = cfg.Stdout
	}
	p.cmd.SysProcAttr = attributes()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w; run `make build` first", cfg.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Err is how the process ended; nil: with exit code 0. It waits for the end.
func (p *Process) Err() error {
	<-p.ended
	return p.err
}

// Log is the file with its output.
func (p *Process) Log() string { return p.log }

// Ready waits until url answers 200. It fails when the process ends, ctx is done or a minute has passed, with the end of
// the log.
func (p *Process) Ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := probe(ctx, url)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %w\n%s", p.name, p.err, p.Tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.name, err, p.Tail())
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
	if res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return errors.Join(err, res.Body.Close())
}

// Tail is the end of the log.
func (p *Process) Tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// Stop asks the process to end, ends it if it has not after ten seconds, and waits for it.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(stopTime):
		p.Kill()
	}
}

// Kill ends the process at once, as a crash would, and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}
