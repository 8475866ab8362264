package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"penstock.dev/penstock/internal/process"
)

// startTime is what a part of bench has to say where it listens.
const startTime = 60 * time.Second

// processes of one chain. Not for concurrent use.
type processes struct {
	dir  string // of their logs
	list []*process.Process
}

// start runs a program; its output goes to a log, its standard output to stdout instead unless that is nil.
func (ps *processes) start(name string, stdout *os.File, program string, args ...string) (*process.Process, error) {
	p, err := process.Start(process.Config{
		Name: name, Path: program, Args: args, Log: filepath.Join(ps.dir, name+".log"), Stdout: stdout,
	})
	if err == nil {
		ps.list = append(ps.list, p)
	}
	return p, err
}

// announce starts a part of bench itself and returns the address that it prints first.
func (ps *processes) announce(role string, p part) (*process.Process, string, error) {
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
		return nil, "", fmt.Errorf("%s did not say where it listens: %w\n%s", role, err, child.Tail())
	}
	return child, strings.TrimSpace(line), nil
}

// tails are the ends of all logs.
func (ps *processes) tails() string {
	var b strings.Builder
	for _, p := range ps.list {
		fmt.Fprintf(&b, "\n%s: %s", filepath.Base(p.Log()), p.Tail())
	}
	return b.String()
}

// stop ends all, the last started first.
func (ps *processes) stop() {
	for len(ps.list) > 0 {
		last := len(ps.list) - 1
		ps.list[last].Stop()
		ps.list = ps.list[:last]
	}
}
