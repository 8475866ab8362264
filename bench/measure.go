package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figure is one thing that is measured of a chain.
type figure int

// The figures in the order of the report; rows describes them.
const (
	rps figure = iota
	cpu
	cpuSpoke
	cpuHub
	closedP50
	closedP99
	openRate
	openCPU
	openP50
	openP99
	bulkRate
	bulkCPU
	eventP99
	memory
	memorySpoke
	memoryHub
	failures
	figureCount
)

// figures of one chain in one round.
type figures [figureCount]float64

// bulkBytes is the size of a large body; bulkBodies of them are measured after one that is not.
const (
	bulkBytes  = 256 << 20
	bulkBodies = 4
)

// eventStreams run side by side, each with eventCount events.
const (
	eventStreams = 8
	eventCount   = 300
)

// measure puts each load on a running chain, one after the other. It fails when any answer was missing or wrong; the
// figures are then worth nothing.
func measure(ctx context.Context, t *target, cfg config, profile func(context.Context) error) (f figures, err error) {
	c, err := newClient(ctx, t, cfg.conns)
	if err != nil {
		return f, err
	}
	defer func() { _ = c.close() }() // every answer was read by then
	warmUp := cfg.duration / 5

	c.closed(ctx, smallPath, smallBody, warmUp)
	profiled := make(chan error, 1)
	go func() { profiled <- profile(ctx) }()
	used := t.cpuMeter()
	l := c.closed(ctx, smallPath, smallBody, cfg.duration)
	spoke, hub, cpuErr := used()
	if err := firstError(ctx.Err(), cpuErr, <-profiled, c.verdict()); err != nil {
		return f, fmt.Errorf("closed loop: %w", err)
	}
	answers := float64(l.latency.TotalCount())
	f[rps], f[closedP50], f[closedP99] = l.rate(), quantileMS(l.latency, 50), quantileMS(l.latency, 99)
	f[cpuSpoke], f[cpuHub] = micros(spoke)/answers, micros(hub)/answers
	f[cpu] = f[cpuSpoke] + f[cpuHub]

	c.open(ctx, smallPath, smallBody, cfg.rate, warmUp)
	used = t.cpuMeter()
	l = c.open(ctx, smallPath, smallBody, cfg.rate, cfg.duration)
	spoke, hub, cpuErr = used()
	if err := firstError(ctx.Err(), cpuErr, c.verdict()); err != nil {
		return f, fmt.Errorf("open loop: %w", err)
	}
	f[openRate], f[openP50], f[openP99] = l.rate(), quantileMS(l.latency, 50), quantileMS(l.latency, 99)
	f[openCPU] = micros(spoke+hub) / float64(l.latency.TotalCount())

	if f[bulkRate], f[bulkCPU], err = measureBulk(ctx, c); err != nil {
		return f, fmt.Errorf("large bodies: %w", err)
	}

	l = c.events(min(eventStreams, cfg.conns), eventCount)
	if err := firstError(ctx.Err(), c.verdict()); err != nil {
		return f, fmt.Errorf("event streams: %w", err)
	}
	f[eventP99] = quantileMS(l.latency, 99)

	if f[memorySpoke], f[memoryHub], err = t.memory(); err != nil {
		return f, err
	}
	f[memory] = f[memorySpoke] + f[memoryHub]
	failed, _ := c.failed() // 0: every verdict was good
	f[failures] = float64(failed)
	return f, nil
}

// verdict is an error when any request failed since the client was made.
func (c *client) verdict() error {
	if n, first := c.failed(); n > 0 {
		return fmt.Errorf("%d requests failed, the first: %w", n, first)
	}
	return nil
}

// measureBulk reads large bodies one after the other: MB/s, and CPU seconds of both hops a GB (10^6 and 10^9 bytes).
func measureBulk(ctx context.Context, c *client) (rate, cpuPerGB float64, err error) {
	if _, err := c.bulk(bulkBytes); err != nil { // windows and buffers grow
		return 0, 0, err
	}
	used := c.t.cpuMeter()
	var took time.Duration
	for range bulkBodies {
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		d, err := c.bulk(bulkBytes)
		if err != nil {
			return 0, 0, err
		}
		took += d
	}
	spoke, hub, err := used()
	const bytes = bulkBytes * bulkBodies
	return bytes / 1e6 / took.Seconds(), (spoke + hub).Seconds() / (bytes / 1e9), err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// medians of each figure over rounds, of which there is at least one.
func medians(rounds []figures) (m figures) {
	for i := range m {
		var values []float64
		for _, r := range rounds {
			values = append(values, r[i])
		}
		slices.Sort(values)
		half := len(values) / 2
		if m[i] = values[half]; len(values)%2 == 0 {
			m[i] = (values[half-1] + values[half]) / 2
		}
	}
	return m
}

// cpuMeter starts to count the CPU time of spoke and hub; the function it returns says how much it was. A hop that there
// is not takes none.
func (t *target) cpuMeter() func() (spoke, hub time.Duration, err error) {
	before := [2]time.Duration{}
	hops := [2]*hop{t.spoke, t.hub}
	var startErr error
	read := func() (now [2]time.Duration, err error) {
		for i, h := range hops {
			if h != nil {
				if now[i], err = cpuTime(h.pid); err != nil {
					return now, err
				}
			}
		}
		return now, nil
	}
	before, startErr = read()
	return func() (spoke, hub time.Duration, err error) {
		after, err := read()
		return after[0] - before[0], after[1] - before[1], firstError(startErr, err)
	}
}

// tick is the unit of CPU times in /proc: USER_HZ is 100 for programs on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime is the user and system time that a process has taken so far.
func cpuTime(pid int) (time.Duration, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	d, err := parseCPUTime(data)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// parseCPUTime reads proc_pid_stat(5). The name of the program, in parentheses, may hold anything.
func parseCPUTime(stat []byte) (time.Duration, error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const utime, stime = 14 - 3, 15 - 3 // the first two fields are gone, and the manual counts from 1
	if len(fields) <= stime {
		return 0, fmt.Errorf("%d fields behind the name", len(fields))
	}
	user, err := strconv.ParseInt(fields[utime], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(user+system) * tick, err
}

// memory is the proportional set size of spoke and hub in MiB.
func (t *target) memory() (spoke, hub float64, err error) {
	if t.spoke != nil {
		if spoke, err = residentMiB(t.spoke.pid); err != nil {
			return 0, 0, err
		}
	}
	if t.hub != nil {
		hub, err = residentMiB(t.hub.pid)
	}
	return spoke, hub, err
}

func residentMiB(pid int) (float64, error) {
	path := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	mib, err := parsePSS(data)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return mib, nil
}

// parsePSS reads the line "Pss: N kB".
func parsePSS(rollup []byte) (float64, error) {
	for line := range strings.Lines(string(rollup)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" && f[2] == "kB" {
			kib, err := strconv.ParseUint(f[1], 10, 63)
			return float64(kib) / 1024, err
		}
	}
	return 0, fmt.Errorf("no line Pss")
}
