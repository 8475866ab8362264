package main

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReport(t *testing.T) {
	r := report{
		Date: time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC), Command: "go run ./bench -rounds 3", Rounds: 3,
		Machine: machine{Cores: 2, CPU: "Example CPU", OS: "linux", Kernel: "6.18.44", Go: "go1.26.8", Commit: "0123456789ab"},
		Chains: []column{
			{"direct", figures{rps: 60636, openRate: 1000, closedP50: 0.984, bulkRate: 1421}},
			{plainChain, figures{rps: 7111, cpu: 201.4, cpuSpoke: 94, cpuHub: 107.4, openRate: 1000, bulkRate: 377, bulkCPU: 3.68, others: 7, memory: 25, memorySpoke: 12, memoryHub: 13}},
			{ourChain, figures{rps: 10000, cpu: 100.7, cpuSpoke: 50, cpuHub: 50.7, openRate: 999.6, bulkRate: 220, bulkCPU: 5.5, others: 8, memory: 60, memorySpoke: 20, memoryHub: 40}},
		},
	}
	golden(t, "testdata/report.md", r.markdown())
}

func TestAReportOfOneChainHasNoRatios(t *testing.T) {
	r := report{Rounds: 1, Command: "go run ./bench -chains penstock", Chains: []column{{ourChain, figures{rps: 1, memory: 1}}}}
	golden(t, "testdata/one-chain.md", r.markdown())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; make it with: go test ./bench -update", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestMediansAreTakenFigureByFigure(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rounds []figures
		want   figures
	}{
		{"of one round it is the round", []figures{{rps: 7, cpu: 3}}, figures{rps: 7, cpu: 3}},
		{"of two it lies between", []figures{{rps: 7}, {rps: 8}}, figures{rps: 7.5}},
		{"of three a stray one does not count", []figures{{rps: 900, cpu: 1}, {rps: 7, cpu: 100}, {rps: 8, cpu: 2}}, figures{rps: 8, cpu: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := medians(tt.rounds); got != tt.want {
				t.Errorf("medians = %v, want %v", got, tt.want)
			}
		})
	}
}
