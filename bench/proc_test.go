package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func FuzzCPUTimeWhateverTheProgramIsCalled(f *testing.F) {
	f.Add("bench", uint32(12), uint32(3))
	f.Add(") R 1 (", uint32(1), uint32(0))
	f.Fuzz(func(t *testing.T, name string, user, system uint32) {
		stat := fmt.Sprintf("4711 (%s) S 1 4711 4711 0 -1 4194560 900 0 3 0 %d %d 77 88 20 0 9 0 5500\n", name, user, system)
		got, err := parseCPUTime([]byte(stat))
		if want := time.Duration(int64(user)+int64(system)) * 10 * time.Millisecond; err != nil || got != want {
			t.Errorf("parseCPUTime(%q) = %s, %v; want %s", stat, got, err, want)
		}
	})
}

func TestProcFiles(t *testing.T) {
	machine := func(s string) (float64, error) { d, err := parseMachineTime([]byte(s)); return d.Seconds(), err }
	cpu := func(s string) (float64, error) { d, err := parseCPUTime([]byte(s)); return d.Seconds(), err }
	pss := func(s string) (float64, error) { return parsePSS([]byte(s)) }
	for _, tt := range []struct {
		name  string
		parse func(string) (float64, error)
		text  string
		want  float64
		err   string // "": none
	}{
		{"busy is all but idle and waiting for disks", machine, "cpu  100 20 30 9999 8888 4 5 6 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n", 1.65, ""},
		{"the first line must be the sum of all CPUs", machine, "cpu0 100 20 30 9999 8888 4 5 6 0 0\n", 0, "the first line"},
		{"a line of the machine that is cut off", machine, "cpu 1 2 3", 0, "the first line"},
		{"a machine time that is no number", machine, "cpu 1 2 3 4 5 6 seven 8", 0, "seven"},
		{"a process line that is cut off", cpu, "1 (x) S 1", 0, "fields"},
		{"a process time that is no number", cpu, "1 (x) S 1 1 1 0 -1 0 0 0 0 0 many 3 0", 0, "many"},
		{"memory is the line Pss, not Pss_Anon", pss, "00400000-7ffc ---p 00000000 00:00 0 [rollup]\nRss: 9 kB\nPss_Anon:     4 kB\nPss:     1536 kB\n", 1.5, ""},
		{"no memory line", pss, "Rss: 9 kB\n", 0, "no line Pss"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.parse(tt.text)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error = %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestCPUTimeOfThisProcessGrowsAndOfNoneIsZero(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for now := before; now == before; { // ends as soon as a tick has been spent here
		if now, err = cpuTime(os.Getpid()); err != nil {
			t.Fatal(err)
		}
		if now < before {
			t.Fatalf("CPU time went from %s to %s", before, now)
		}
	}
	if none, err := cpuTime(0); none != 0 || err != nil {
		t.Errorf("cpuTime(0) = %s, %v", none, err)
	}
	if _, err := cpuTime(-1); err == nil {
		t.Error("a process that does not exist has a CPU time")
	}
	if mib, err := residentMiB(os.Getpid()); err != nil || mib <= 1 || mib > 4096 {
		t.Errorf("memory of this process = %v MiB, %v", mib, err)
	}
}
