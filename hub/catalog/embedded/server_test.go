package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/catalogtest"
	"penstock.dev/penstock/hub/catalog/embedded"
	"penstock.dev/penstock/hub/catalog/etcd"
)

// damagedDir tells this test's own program to start a server there and print its error.
const damagedDir = "PENSTOCK_TEST_DAMAGED_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(damagedDir); dir != "" {
		_, err := embedded.Start(context.Background(), embedded.Config{Dir: dir})
		fmt.Println("Start:", err)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestWhatWasWrittenIsThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	first := start(t, embedded.Config{Dir: dir})
	revision := put(t, first, "a", "1")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := etcd.New(start(t, embedded.Config{Dir: dir}).Client(), "", nil).Get(t.Context(), "a")
	if err != nil || string(got.Value) != "1" || got.Revision != revision {
		t.Errorf("Get = %v, %v; want 1 at revision %d", got, err, revision)
	}
}

func TestAFolderServesOneServer(t *testing.T) {
	dir := t.TempDir()
	first := start(t, embedded.Config{Dir: dir})
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
	if !errors.Is(err, embedded.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second Start = %v, want ErrInUse naming %s", err, dir)
	}
	put(t, first, "a", "1") // undisturbed
}

func TestOthersCannotReadTheFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	start(t, embedded.Config{Dir: dir})
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) { // etcd renames while it works
			return nil
		}
		if err == nil && fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, fi.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestNoSocketUnlessAskedFor(t *testing.T) {
	before := listeners(t)
	start(t, embedded.Config{Dir: t.TempDir()})
	if after := listeners(t); after != before {
		t.Errorf("%d sockets listen, %d did before", after, before)
	}
	path := filepath.Join(socketDir(t), "s")
	s := start(t, embedded.Config{Dir: t.TempDir(), ListenClient: "unix://" + path})
	if after := listeners(t); after != before+1 {
		t.Errorf("%d sockets listen, want one more than %d: the counting is broken", after, before)
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("socket: %v, %v; want mode 0600", fi.Mode(), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close the socket is still there: %v", err)
	}
}

// listeners counts this process's sockets that listen, of any family: what /proc/net lists as listening and /proc/self/fd
// holds.
func listeners(t *testing.T) int {
	t.Helper()
	own := map[string]bool{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if link, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(link, "socket:[") {
			own[strings.Trim(link, "socket:[]")] = true
		}
	}
	n := 0
	for _, table := range []struct {
		file         string
		state, inode int
		listens      string
	}{
		{"tcp", 3, 9, "0A"}, {"tcp6", 3, 9, "0A"}, {"unix", 5, 6, "01"},
	} {
		text, err := os.ReadFile("/proc/self/net/" + table.file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) <= table.inode || !own[f[table.inode]] || f[table.state] != table.listens {
				continue
			}
			if table.file != "unix" || f[3] == "00010000" { // __SO_ACCEPTCON
				n++
			}
		}
	}
	return n
}

func TestListenClient(t *testing.T) {
	dir := socketDir(t)
	taken := filepath.Join(dir, "file")
	if err := os.WriteFile(taken, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	busy := filepath.Join(dir, "busy")
	l, err := net.Listen("unix", busy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	stale := filepath.Join(dir, "stale")
	killed, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	killed.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = killed.Close()

	for _, row := range []struct{ name, listen, want string }{
		{"a socket that a killed process left is replaced", "unix://" + stale, ""},
		{"a socket somebody listens on is left alone", "unix://" + busy, "another process"},
		{"a file is left alone", "unix://" + taken, "no socket"},
		{"a folder that is not there is named", "unix://" + dir + "/none/s", "none"},
		{"a port is refused", "https://127.0.0.1:2379", "unix:///path"},
		{"a relative path is refused", "unix://s", "unix:///path"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir(), ListenClient: row.listen})
			if s != nil {
				defer func() { _ = s.Close() }()
			}
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("Start = %v, want an error with %q", err, row.want)
			}
		})
	}
	if text, err := os.ReadFile(taken); err != nil || string(text) != "precious" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := embedded.Start(ctx, embedded.Config{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start = %v, want context.Canceled", err)
	}
	put(t, start(t, embedded.Config{Dir: dir}), "a", "1") // the folder is free again and sound
}

// A watch through the socket goes on when the server restarts, and notices when it comes back older (F-25).
func TestWatchOverARestartAndARestore(t *testing.T) {
	dir, backup, path := t.TempDir(), t.TempDir(), filepath.Join(socketDir(t), "s")
	cfg := embedded.Config{Dir: dir, ListenClient: "unix://" + path}
	server := start(t, cfg)
	put(t, server, "a", "1")
	restart := func(while func()) {
		t.Helper()
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		while()
		server = start(t, cfg)
	}
	restart(func() { copyTree(t, dir, backup) })

	client, err := etcd.Dial(etcd.Config{Endpoints: []string{"unix://" + path}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	w := catalogtest.Follow(t, etcd.New(client, "", nil), "")
	w.Want("Resync", "Put a=1", "Synced")
	for i := range 5 {
		put(t, server, "b", fmt.Sprint(i))
		w.Want(fmt.Sprintf("Put b=%d", i))
	}
	restart(func() {})
	put(t, server, "c", "1")
	w.Want("Put c=1")

	restart(func() {
		if err := os.RemoveAll(filepath.Join(dir, "member")); err != nil {
			t.Fatal(err)
		}
		copyTree(t, backup, dir)
	})
	w.Want("Resync", "Put a=1", "Synced")
	if !w.Regressed {
		t.Error("Regressed is not set after a restore")
	}
	put(t, server, "d", "1")
	w.Want("Put d=1")
}

// etcd would end the process, or fall over. In a process of its own: what etcd has begun it leaves lying about.
func TestDamagedDataIsAnErrorNotTheEnd(t *testing.T) {
	for _, row := range []struct{ name, files string }{
		{"a log of noise", "member/wal/*.wal"},
		{"a database of noise", "member/snap/db"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			first := start(t, embedded.Config{Dir: dir})
			put(t, first, "a", "1")
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			files, err := filepath.Glob(filepath.Join(dir, row.files))
			if err != nil || len(files) == 0 {
				t.Fatalf("no %s in %s: %v", row.files, dir, err)
			}
			for _, f := range files {
				if err := os.WriteFile(f, bytes.Repeat([]byte{0xff}, 1<<16), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), damagedDir+"="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("the process died: %v\n%s", err, out)
			}
			if !strings.HasPrefix(string(out), "Start: catalog: embedded etcd in "+dir) || !strings.Contains(string(out), "then restart") {
				t.Errorf("%s, want an error that names the folder and says what to do", out)
			}
		})
	}
}

func TestCallsAfterCloseAreUnavailable(t *testing.T) {
	s := start(t, embedded.Config{Dir: t.TempDir()})
	c := etcd.New(s.Client(), "", nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "a"); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("Get = %v, want ErrUnavailable", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
	select {
	case <-s.Done():
		t.Error("Done is closed, although nothing failed")
	default:
	}
}

func put(t *testing.T, s *embedded.Server, key, value string) int64 {
	t.Helper()
	revision, err := etcd.New(s.Client(), "", nil).Commit(t.Context(), catalog.Op{Key: key, Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(to, "member"), os.DirFS(filepath.Join(from, "member"))); err != nil {
		t.Fatal(err)
	}
}
