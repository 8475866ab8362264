package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// row is how a figure is shown.
type row struct {
	name   string
	digits int
	hops   bool // says something of the hops: none without any
	chain  bool // says something of the chain: worth a ratio
}

var rows = [figureCount]row{
	rps:         {"requests/s, closed loop", 0, false, true},
	cpu:         {"CPU us/request, spoke + hub", 0, true, true},
	cpuSpoke:    {"- spoke", 0, true, true},
	cpuHub:      {"- hub", 0, true, true},
	closedP50:   {"p50 ms, closed loop", 2, false, true},
	closedP99:   {"p99 ms, closed loop", 2, false, true},
	openRate:    {"requests/s, open loop", 0, false, true},
	openCPU:     {"CPU us/request, open loop", 0, true, true},
	openP50:     {"p50 ms, open loop", 2, false, true},
	openP99:     {"p99 ms, open loop", 2, false, true},
	bulkRate:    {"large bodies, MB/s", 0, false, true},
	bulkCPU:     {"large bodies, CPU s/GB", 1, true, true},
	eventP99:    {"event stream, p99 ms", 2, false, true},
	memory:      {"memory (PSS) MiB, spoke + hub", 0, true, true},
	memorySpoke: {"- spoke", 0, true, true},
	memoryHub:   {"- hub", 0, true, true},
	others:      {"other processes, % of the machine", 0, false, false},
	failures:    {"failed or wrong answers", 0, false, false},
}

// report is a run, ready to be printed.
type report struct {
	Date    time.Time
	Machine machine
	Command string
	Rounds  int
	Chains  []column
}

// column is one chain.
type column struct {
	Name    string
	Figures figures
}

// machine is where a run took place and what was measured there.
type machine struct {
	Cores          int
	CPU, Kernel    string
	Go, Commit, OS string
}

// markdown prints the report; it also reads well as plain text.
func (r *report) markdown() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Benchmark report\n\nWhat is measured and what it means: [benchmarks.md](../benchmarks.md).\n\n")
	rounds := "one round"
	if r.Rounds > 1 {
		rounds = fmt.Sprintf("medians of %d rounds", r.Rounds)
	}
	m := r.Machine
	for _, line := range [][2]string{
		{"Date", r.Date.Format(time.DateOnly)},
		{"Command", "`" + r.Command + "`, " + rounds},
		{"Machine", fmt.Sprintf("%d cores, %s, %s %s", m.Cores, m.CPU, m.OS, m.Kernel)},
		{"Programs", fmt.Sprintf("commit %s, %s", m.Commit, m.Go)},
	} {
		fmt.Fprintf(&b, "- %s: %s\n", line[0], line[1])
	}
	b.WriteString("\n")
	writeTable(&b, r.table())
	b.WriteString("\nThe hub's figures contain its embedded etcd. Nothing here is to be compared with a figure of another run.\n")
	return b.String()
}

// table has one row a figure, one column a chain, and ours over the plain one where both were measured.
func (r *report) table() [][]string {
	head := []string{""}
	for _, c := range r.Chains {
		head = append(head, c.Name)
	}
	ours, plain := r.chain(ourChain), r.chain(plainChain)
	both := ours != nil && plain != nil
	if both {
		head = append(head, ourChain+" / "+plainChain)
	}
	table := [][]string{head}
	for i, row := range rows {
		line := []string{row.name}
		for _, c := range r.Chains {
			cell := fmt.Sprintf("%.*f", row.digits, c.Figures[i])
			if row.hops && c.Figures[memory] == 0 {
				cell = "-"
			}
			line = append(line, cell)
		}
		if both {
			line = append(line, row.ratio(ours.Figures[i], plain.Figures[i]))
		}
		table = append(table, line)
	}
	return table
}

func (r *report) chain(name string) *column {
	if i := slices.IndexFunc(r.Chains, func(c column) bool { return c.Name == name }); i >= 0 {
		return &r.Chains[i]
	}
	return nil
}

func (r row) ratio(a, b float64) string {
	if b == 0 || !r.chain {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// writeTable aligns the columns: the first to the left, figures to the right.
func writeTable(b *bytes.Buffer, table [][]string) {
	width := make([]int, len(table[0]))
	for _, line := range table {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell), 3)
		}
	}
	for n, line := range table {
		for i, cell := range line {
			if i == 0 {
				fmt.Fprintf(b, "| %-*s |", width[i], cell)
			} else {
				fmt.Fprintf(b, " %*s |", width[i], cell)
			}
		}
		b.WriteString("\n")
		if n > 0 {
			continue
		}
		fmt.Fprintf(b, "| %s |", strings.Repeat("-", width[0]))
		for _, w := range width[1:] {
			fmt.Fprintf(b, " %s: |", strings.Repeat("-", w-1))
		}
		b.WriteString("\n")
	}
}

// describeMachine says what it can find out; the rest is "unknown", for a report is not worth failing over.
func describeMachine(bin string) machine {
	m := machine{
		Cores: runtime.NumCPU(), OS: runtime.GOOS, CPU: "unknown CPU", Kernel: "unknown", Go: runtime.Version(), Commit: "unknown",
	}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel, _, _ = strings.Cut(strings.TrimSpace(string(data)), "-") // behind it stands who built it
	}
	// The programs were built just now, from what lies here; a stamp in them is better.
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	info, err := buildinfo.ReadFile(filepath.Join(bin, "hub"))
	if err != nil {
		return m
	}
	m.Go = info.GoVersion
	stamp := map[string]string{}
	for _, s := range info.Settings {
		stamp[s.Key] = s.Value
	}
	if revision := stamp["vcs.revision"]; revision != "" {
		m.Commit = revision[:min(12, len(revision))]
		if stamp["vcs.modified"] == "true" {
			m.Commit += "-dirty"
		}
	}
	return m
}
