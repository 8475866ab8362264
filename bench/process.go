package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Bounds on the processes bench starts.
const (
	startTime = 60 * time.Second
	stopTime  = 10 * time.Second
)

// process is one program, ended by its id.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string        // file with its output
	ended chan struct{} // closed when it has been waited for
	err   error         // set before ended is closed
}

// processes of one chain. Not for concurrent use.
type processes struct {
	dir  string // of their logs
	list []*process
}

// start runs a program; its output goes to a log, its standard output to stdout instead unless that is nil.
func (ps *processes) start(name string, stdout *os.File, program string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(ps.dir, name+".log"), ended: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own copy
	if stdout == nil {
		stdout = out
	}
	p.cmd = exec.Command(program, args...)
	p.cmd.Stdout, p.cmd.Stderr = stdout, out
	p.cmd.SysProcAttr = childAttributes()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w; run `make build` first, or give -bin", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	ps.list = append(ps.list, p)
	return p, nil
}

// announce starts a part of bench itself and returns the address that it prints first.
func (ps *processes) announce(role string, p part) (*process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	child, err := ps.start(role, w, self, "-role", role, "-certs", p.dir, "-next", p.next)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, "", err
	}
	if err := r.SetReadDeadline(time.Now().Add(startTime)); err != nil {
		return nil, "", err
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		return nil, "", fmt.Errorf("%s did not say where it listens: %w\n%s", role, err, child.tail())
	}
	return child, strings.TrimSpace(line), nil
}

// ready waits until url answers 200, the process ends or startTime is over.
func (p *process) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
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
			return fmt.Errorf("%s ended: %w\n%s", p.name, p.err, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.name, err, p.tail())
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

// tail is the end of the process's log.
func (p *process) tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// pid of the process.
func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks a process to end, and ends it if it does not.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(stopTime):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// tails are the ends of all logs.
func (ps *processes) tails() string {
	var b strings.Builder
	for _, p := range ps.list {
		fmt.Fprintf(&b, "\n%s: %s", p.name, p.tail())
	}
	return b.String()
}

// stop ends all, the last started first.
func (ps *processes) stop() {
	for len(ps.list) > 0 {
		last := len(ps.list) - 1
		ps.list[last].stop()
		ps.list = ps.list[:last]
	}
}
