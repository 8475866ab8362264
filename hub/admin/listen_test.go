package admin

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/apis/admin"
)

func TestSocketIsForItsOwnerOnly(t *testing.T) {
	w := newWorld(t)
	path := w.serveSocket()
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket || info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v (%v), want a socket of mode 0600", path, info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the socket there is %v (%v), want nothing", entries, err)
	}
}

func TestSocketEndsWithTheServer(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(shortDir(t), "s")
	for range 2 { // and can be made again
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.server.ServeSocket(ctx, path) }()
		waitFor(t, func() bool { _, err := os.Lstat(path); return err == nil })
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ServeSocket: %v", err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Error("the socket is still there")
		}
	}
}

func TestSocketPathsInTheWay(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string) // what is there before
		want string                          // in the error; empty: it is replaced
	}{
		{"a socket that a killed hub left is replaced", func(t *testing.T, path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}, ""},
		{"a socket that a hub answers on is left alone", func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, "another hub"},
		{"a file is left alone", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "no socket"},
		{"a folder is left alone", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "no socket"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(shortDir(t), "s")
			tt.make(t, path)
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			// A server that takes the place all the same ends without an error then, and the test fails.
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- w.server.ServeSocket(ctx, path) }()
			if tt.want == "" {
				c, err := admin.New(admin.Config{Socket: path})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(c.Close)
				waitFor(t, func() bool { _, err := c.Version(t.Context()); return err == nil })
				cancel()
				if err := <-done; err != nil {
					t.Errorf("ServeSocket: %v", err)
				}
				return
			}
			if err := <-done; err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ServeSocket error = %v, want %q in it", err, tt.want)
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("what was there is gone: %v", err)
			}
		})
	}
}

func TestSocketInAFolderThatIsNotThere(t *testing.T) {
	w := newWorld(t)
	if err := w.server.ServeSocket(t.Context(), filepath.Join(shortDir(t), "no", "s")); err == nil {
		t.Error("ServeSocket succeeded")
	}
	if err := w.server.ServeSocket(t.Context(), filepath.Join(shortDir(t), strings.Repeat("a", 300))); err == nil {
		t.Error("ServeSocket with a path that is too long succeeded")
	}
}

// What runs is finished before the server ends.
func TestShutdownWaitsForWhatRuns(t *testing.T) {
	w := newWorld(t)
	started, finish := make(chan struct{}), make(chan struct{})
	w.hub.explain = func(admin.ExplainRequest) (admin.Explanation, error) {
		close(started)
		<-finish
		return admin.Explanation{Allowed: true}, nil
	}
	path := filepath.Join(shortDir(t), "s")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.server.ServeSocket(ctx, path) }()
	waitFor(t, func() bool { _, err := os.Lstat(path); return err == nil })
	c, err := admin.New(admin.Config{Socket: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	answered := make(chan error, 1)
	go func() {
		e, err := c.Explain(t.Context(), admin.ExplainRequest{URL: "http://openai/"})
		if err == nil && !e.Allowed {
			err = http.ErrAbortHandler
		}
		answered <- err
	}()
	<-started
	cancel()
	select {
	case err := <-ended:
		t.Fatalf("the server ended while a call ran: %v", err)
	default:
	}
	close(finish)
	if err := <-answered; err != nil {
		t.Errorf("the call that ran: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("ServeSocket: %v", err)
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "adm") // t.TempDir can be longer than a socket's path may be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
