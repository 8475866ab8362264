package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
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
	others
	failures
	figureCount
)

// figures of one chain in one round.
type figures [figureCount]float64

const (
	// bulkBodies are measured after one that is not.
	bulkBodies = 4
	// eventStreams run side by side, for a third of the other loads' time.
	eventStreams = 8
)

// measure puts each load on a running chain, one after the other. It fails when any answer was missing or wrong; the
// figures are then worth nothing.
func measure(ctx context.Context, t *target, cfg config, profile func() error) (f figures, err error) {
	c, err := newClient(ctx, t, cfg.conns)
	if err != nil {
		return f, err
	}
	defer func() { _ = c.close() }() // every answer was read by then
	warmUp := cfg.duration / 5

	c.closed(ctx, smallPath, smallBody, warmUp)
	profiled := make(chan error, 1)
	go func() { profiled <- profile() }()
	used := t.cpuMeter()
	l := c.closed(ctx, smallPath, smallBody, cfg.duration)
	took, cpuErr := used()
	if err := firstError(ctx.Err(), cpuErr, <-profiled, c.verdict()); err != nil {
		return f, fmt.Errorf("closed loop: %w", err)
	}
	answers := float64(l.latency.TotalCount())
	f[rps], f[closedP50], f[closedP99] = l.rate(), quantileMS(l.latency, 50), quantileMS(l.latency, 99)
	f[cpuSpoke], f[cpuHub] = micros(took.spoke)/answers, micros(took.hub)/answers
	f[cpu] = f[cpuSpoke] + f[cpuHub]
	f[others] = 100 * took.others.Seconds() / l.elapsed.Seconds() / float64(runtime.NumCPU())

	c.open(ctx, smallPath, smallBody, cfg.rate, warmUp)
	used = t.cpuMeter()
	l = c.open(ctx, smallPath, smallBody, cfg.rate, cfg.duration)
	took, cpuErr = used()
	if err := firstError(ctx.Err(), cpuErr, c.verdict()); err != nil {
		return f, fmt.Errorf("open loop: %w", err)
	}
	f[openRate], f[openP50], f[openP99] = l.rate(), quantileMS(l.latency, 50), quantileMS(l.latency, 99)
	f[openCPU] = micros(took.spoke+took.hub) / float64(l.latency.TotalCount())

	if f[bulkRate], f[bulkCPU], err = measureBulk(ctx, c, cfg.bulk); err != nil {
		return f, fmt.Errorf("large bodies: %w", err)
	}

	l = c.events(min(eventStreams, cfg.conns), int(cfg.duration/eventGap)/3)
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
func measureBulk(ctx context.Context, c *client, size int64) (rate, cpuPerGB float64, err error) {
	if _, err := c.bulk(size); err != nil { // windows and buffers grow
		return 0, 0, err
	}
	used := c.t.cpuMeter()
	var elapsed time.Duration
	for range bulkBodies {
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		d, err := c.bulk(size)
		if err != nil {
			return 0, 0, err
		}
		elapsed += d
	}
	took, err := used()
	bytes := float64(size) * bulkBodies
	return bytes / 1e6 / elapsed.Seconds(), (took.spoke + took.hub).Seconds() / (bytes / 1e9), err
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

// cpuTimes are what a load took of the machine.
type cpuTimes struct {
	spoke, hub time.Duration
	others     time.Duration // processes that are no part of the run
}

// cpuMeter starts to count CPU time; the function it returns says how much it was. A hop that there is not takes none.
func (t *target) cpuMeter() func() (cpuTimes, error) {
	before, startErr := t.cpuTimes()
	return func() (cpuTimes, error) {
		after, err := t.cpuTimes()
		return cpuTimes{after.spoke - before.spoke, after.hub - before.hub, max(0, after.others-before.others)}, firstError(startErr, err)
	}
}

// cpuTimes since each process, and the machine, began.
func (t *target) cpuTimes() (c cpuTimes, err error) {
	if c.spoke, err = cpuTime(t.spoke.pid); err != nil {
		return c, err
	}
	if c.hub, err = cpuTime(t.hub.pid); err != nil {
		return c, err
	}
	upstream, err := cpuTime(t.upstream)
	if err != nil {
		return c, err
	}
	client, err := cpuTime(os.Getpid())
	if err != nil {
		return c, err
	}
	busy, err := machineTime()
	c.others = busy - c.spoke - c.hub - upstream - client
	return c, err
}

// memory is the proportional set size of spoke and hub in MiB.
func (t *target) memory() (spoke, hub float64, err error) {
	if t.direct() {
		return 0, 0, nil
	}
	if spoke, err = residentMiB(t.spoke.pid); err != nil {
		return 0, 0, err
	}
	hub, err = residentMiB(t.hub.pid)
	return spoke, hub, err
}
