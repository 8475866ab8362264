package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ is 100 for programs on every architecture that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime is the user and system time that a process has taken so far; none for pid 0, which is no process.
func cpuTime(pid int) (time.Duration, error) {
	if pid == 0 {
		return 0, nil
	}
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

// machineTime is how long the machine's CPUs were busy so far, for whomever: also for other machines on the same host.
func machineTime() (time.Duration, error) {
	const path = "/proc/stat"
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	d, err := parseMachineTime(data)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// parseMachineTime reads the first line of proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
func parseMachineTime(stat []byte) (time.Duration, error) {
	line, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("the first line is %q", line)
	}
	const idle, iowait = 3, 4
	var busy int64
	for i, f := range fields[1:9] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		if i != idle && i != iowait {
			busy += n
		}
	}
	return time.Duration(busy) * tick, nil
}

// residentMiB is the proportional set size of a process: its own pages, and its share of those that others have too.
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
