package process

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func start(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Config{Name: "script", Path: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestReadyWaitsForTheAnswer(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	p := start(t, "exec sleep 60")
	if err := p.Ready(t.Context(), s.URL); err != nil || asked.Load() != 3 {
		t.Errorf("Ready: %v after %d questions", err, asked.Load())
	}
	p.Stop()
	<-p.Ended()
}

func TestAProcessThatEndsIsNotReadyAndItsLogSaysWhy(t *testing.T) {
	p := start(t, "echo out of water; exit 3")
	err := p.Ready(t.Context(), "http://127.0.0.1:1/")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "out of water") {
		t.Errorf("Ready: %v", err)
	}
}

func TestReadyEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := start(t, "exec sleep 60").Ready(ctx, "http://127.0.0.1:1/"); err == nil {
		t.Error("Ready returned no error")
	}
}

func TestAProgramThatIsNotThere(t *testing.T) {
	_, err := Start(Config{Name: "hub", Path: filepath.Join(t.TempDir(), "hub"), Log: os.DevNull})
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("Start: %v", err)
	}
}
