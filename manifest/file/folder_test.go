package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"penstock.dev/penstock/manifest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// object is a small manifest; note tells two versions apart.
func object(name, note string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: a}\ndata: {note: \"" + note + "\"}\n"
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func newFolder(t testing.TB, cfg Config) *Folder {
	t.Helper()
	cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func load(t testing.TB, f *Folder) State {
	t.Helper()
	s, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// notes is "name=note" of every object.
func notes(s State) []string {
	var out []string
	for _, o := range s.Set.Objects() {
		_, rest, _ := strings.Cut(string(o.JSON), `"note":"`)
		note, _, _ := strings.Cut(rest, `"`)
		out = append(out, o.ID.Name+"="+note)
	}
	return out
}

func reasons(s State) []string {
	var out []string
	for _, p := range s.Problems {
		out = append(out, p.Reason)
	}
	return out
}

func TestWhatIsRead(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), object("yaml", "1"))
	write(t, filepath.Join(dir, "b.yml"), object("yml", "1"))
	write(t, filepath.Join(dir, "c.json"), `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"json","namespace":"a"},"data":{"note":"1"}}`)
	write(t, filepath.Join(dir, "sub", "deeper", "d.yaml"), object("deep", "1"))
	write(t, filepath.Join(dir, "notes.txt"), "not: [yaml")
	write(t, filepath.Join(dir, ".hidden.yaml"), object("hidden", "1"))
	write(t, filepath.Join(dir, ".git", "e.yaml"), object("git", "1"))
	if err := os.Symlink(filepath.Join(dir, "a.yaml"), filepath.Join(t.TempDir(), "x")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "sub"), filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	s := load(t, newFolder(t, Config{Dir: dir}))
	if diff := cmp.Diff([]string{"deep=1", "json=1", "yaml=1", "yml=1"}, notes(s)); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if len(s.Problems) > 0 {
		t.Errorf("problems = %v, want none", s.Problems)
	}
}

// TestBrokenFiles: rows are what stands in one file at first, then later, and what is served after that.
func TestBrokenFiles(t *testing.T) {
	both := object("one", "1") + "---\n" + object("two", "1")
	for _, row := range []struct {
		name, before, after string
		want, problems      []string
	}{
		{"a change is taken over", both, object("one", "2"), []string{"one=2"}, nil},
		{"a document that breaks keeps its last good version, its neighbour changes", both, object("one", "2") + "---\nkind: [\n", []string{"one=2", "two=1"}, []string{manifest.ReasonMalformed, ReasonStale}},
		{"a field that becomes unknown keeps the last good version", both, object("one", "2") + "---\n" + strings.Replace(object("two", "2"), "\ndata", "\ndat", 1), []string{"one=2", "two=1"}, []string{manifest.ReasonUnknownField, ReasonStale}},
		{"a file cut in the middle takes nothing down", both, both[:len(object("one", "1"))+30], []string{"one=1", "two=1"}, []string{manifest.ReasonUnknownKind, ReasonStale}},
		{"an object removed from a whole file is gone", both, object("two", "1"), []string{"two=1"}, nil},
		{"an empty file holds nothing", both, "", nil, nil},
		{"what was never good is not served", "kind: [\n", "kind: [ \n", nil, []string{manifest.ReasonMalformed}},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f.yaml")
			write(t, path, row.before)
			f := newFolder(t, Config{Dir: dir})
			load(t, f)
			write(t, path, row.after)
			s := load(t, f)
			if diff := cmp.Diff(row.want, notes(s)); diff != "" {
				t.Errorf("served (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(row.problems, reasons(s)); diff != "" {
				t.Errorf("problems (-want +got):\n%s\n%v", diff, s.Problems)
			}
			again := load(t, f)
			if diff := cmp.Diff(row.want, notes(again)); diff != "" {
				t.Errorf("served after another reading (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRepairedFileEndsTheStaleness(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f.yaml")
	f := newFolder(t, Config{Dir: dir})
	write(t, path, object("one", "1")+"---\n"+object("two", "1"))
	load(t, f)
	write(t, path, object("one", "2")+"---\nkind: [\n")
	load(t, f)
	write(t, path, object("one", "3"))
	s := load(t, f)
	if diff := cmp.Diff([]string{"one=3"}, notes(s)); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
	if len(s.Problems) > 0 {
		t.Errorf("problems = %v, want none", s.Problems)
	}
}

func TestRemovedFileTakesItsObjectsAlong(t *testing.T) {
	dir := t.TempDir()
	f := newFolder(t, Config{Dir: dir})
	write(t, filepath.Join(dir, "a.yaml"), object("one", "1"))
	write(t, filepath.Join(dir, "b.yaml"), object("two", "1"))
	load(t, f)
	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"two=1"}, notes(load(t, f))); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
}

func TestFilesThatFightOverAName(t *testing.T) {
	dir := t.TempDir()
	f := newFolder(t, Config{Dir: dir})
	write(t, filepath.Join(dir, "b.yaml"), object("one", "b"))
	write(t, filepath.Join(dir, "a.yaml"), object("one", "a"))
	s := load(t, f)
	if diff := cmp.Diff([]string{"one=a"}, notes(s)); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
	if len(s.Problems) != 1 || s.Problems[0].Reason != manifest.ReasonDuplicate || !strings.Contains(s.Problems[0].String(), filepath.Join(dir, "a.yaml")) {
		t.Errorf("problems = %v, want one that names the first file", s.Problems)
	}
}

func TestUnreadable(t *testing.T) {
	t.Run("a folder that is not there at the start is an error", func(t *testing.T) {
		f := newFolder(t, Config{Dir: filepath.Join(t.TempDir(), "nothing")})
		if _, err := f.Load(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Load error = %v, want fs.ErrNotExist", err)
		}
		if err := f.Run(t.Context(), func(State) { t.Error("use was called") }); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Run error = %v, want fs.ErrNotExist", err)
		}
	})
	t.Run("a folder that goes away later keeps its last state", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "m")
		write(t, filepath.Join(dir, "a.yaml"), object("one", "1"))
		f := newFolder(t, Config{Dir: dir})
		load(t, f)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		s := load(t, f)
		if diff := cmp.Diff([]string{"one=1"}, notes(s)); diff != "" {
			t.Errorf("served (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{ReasonUnreadable}, reasons(s)); diff != "" {
			t.Errorf("problems (-want +got):\n%s", diff)
		}
		write(t, filepath.Join(dir, "a.yaml"), object("one", "2"))
		if diff := cmp.Diff([]string{"one=2"}, notes(load(t, f))); diff != "" {
			t.Errorf("served after it is back (-want +got):\n%s", diff)
		}
	})
	t.Run("a file that is too long keeps what it held", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "a.yaml"), object("one", "1"))
		f := newFolder(t, Config{Dir: dir, MaxFileBytes: 200})
		load(t, f)
		write(t, filepath.Join(dir, "a.yaml"), object("one", "2")+strings.Repeat("#", 200))
		s := load(t, f)
		if diff := cmp.Diff([]string{"one=1"}, notes(s)); diff != "" {
			t.Errorf("served (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{ReasonUnreadable, ReasonStale}, reasons(s)); diff != "" {
			t.Errorf("problems (-want +got):\n%s", diff)
		}
	})
	t.Run("too many files at the start are an error", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "a.yaml"), object("one", "1"))
		write(t, filepath.Join(dir, "b.yaml"), object("two", "1"))
		if _, err := newFolder(t, Config{Dir: dir, MaxFiles: 1}).Load(); err == nil {
			t.Error("Load error = nil, want one about the number of files")
		}
	})
}

// mount makes a folder as kubelet mounts a ConfigMap: files are links through ..data, which links to a dated folder.
func mount(t testing.TB, dir, version, content string) {
	t.Helper()
	write(t, filepath.Join(dir, "..2026_"+version, "m.yaml"), content)
	tmp := filepath.Join(dir, "..data_tmp")
	if err := os.Symlink("..2026_"+version, tmp); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("..data", "m.yaml"), filepath.Join(dir, "m.yaml")); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
}

func TestMountedConfigMap(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, "1", object("one", "1"))
	f := newFolder(t, Config{Dir: dir})
	if diff := cmp.Diff([]string{"one=1"}, notes(load(t, f))); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
	mount(t, dir, "2", object("one", "2"))
	if diff := cmp.Diff([]string{"one=2"}, notes(load(t, f))); diff != "" {
		t.Errorf("served after the swap (-want +got):\n%s", diff)
	}
}

// fakeWatch is a watcher whose events the test makes.
type fakeWatch struct{ events chan struct{} }

func (w fakeWatch) Events() <-chan struct{} { return w.events }
func (fakeWatch) Follow()                   {}
func (fakeWatch) Close()                    {}

// run starts the folder and returns the states it hands on.
func run(t *testing.T, f *Folder) <-chan State {
	t.Helper()
	states := make(chan State, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, func(s State) { states <- s }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run error = %v, want nil after cancel", err)
		}
	})
	return states
}

func TestBurstsAreJoined(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), object("one", "0"))
	synctest.Test(t, func(t *testing.T) {
		w := fakeWatch{make(chan struct{}, 1)}
		states := run(t, newFolder(t, Config{Dir: dir, watch: func(string) (watcher, error) { return w, nil }}))
		synctest.Wait()
		<-states // the start
		start := time.Now()
		for range 5 {
			write(t, filepath.Join(dir, "a.yaml"), object("one", "9"))
			w.events <- struct{}{}
			time.Sleep(50 * time.Millisecond) // virtual: shorter than Quiet
		}
		s := <-states
		if got := notes(s); !cmp.Equal(got, []string{"one=9"}) {
			t.Errorf("served %v, want one=9", got)
		}
		if waited := time.Since(start); waited < 250*time.Millisecond || waited > 400*time.Millisecond {
			t.Errorf("handed on after %s, want Quiet after the last event", waited)
		}
		if len(states) > 0 {
			t.Errorf("%d more states, want one for the whole burst", len(states))
		}
	})
}

func TestABurstWithoutEndIsCutOff(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), object("one", "0"))
	synctest.Test(t, func(t *testing.T) {
		w := fakeWatch{make(chan struct{}, 1)}
		states := run(t, newFolder(t, Config{Dir: dir, watch: func(string) (watcher, error) { return w, nil }}))
		<-states
		write(t, filepath.Join(dir, "a.yaml"), object("one", "1"))
		start := time.Now()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				select {
				case w.events <- struct{}{}:
				default:
				}
				continue
			case <-states:
			}
			break
		}
		if waited := time.Since(start); waited > 1200*time.Millisecond {
			t.Errorf("handed on after %s, want at most Longest (1s) after the first event", waited)
		}
	})
}

func TestWithoutEventsTheFolderIsPolled(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), object("one", "1"))
	synctest.Test(t, func(t *testing.T) {
		states := run(t, newFolder(t, Config{Dir: dir, watch: func(string) (watcher, error) { return nil, errors.New("no inotify here") }}))
		<-states
		start := time.Now()
		write(t, filepath.Join(dir, "a.yaml"), object("one", "2"))
		s := <-states
		if got := notes(s); !cmp.Equal(got, []string{"one=2"}) {
			t.Errorf("served %v, want one=2", got)
		}
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("noticed after %s, want the poll of 10s", waited)
		}
		time.Sleep(time.Minute) // virtual: six polls of an unchanged folder
		if len(states) > 0 {
			t.Errorf("an unchanged folder was handed on %d times", len(states))
		}
	})
}

// TestFileEvents uses the system's events; the poll is far away, so only an event can bring the change.
func TestFileEvents(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), object("one", "1"))
	states := run(t, newFolder(t, Config{Dir: dir, Quiet: time.Millisecond, Poll: time.Hour}))
	<-states
	want := func(why string, list ...string) {
		t.Helper()
		for s := range states {
			if cmp.Equal(notes(s), list) {
				return // a burst may be seen in parts; the last part must come
			}
			if t.Context().Err() != nil {
				t.Fatalf("%s: last seen %v, want %v", why, notes(s), list)
			}
		}
	}
	write(t, filepath.Join(dir, "a.yaml"), object("one", "2"))
	want("a file was written", "one=2")
	write(t, filepath.Join(dir, "tmp"), object("one", "3"))
	if err := os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	want("a file was replaced by renaming", "one=3")
	write(t, filepath.Join(dir, "sub", "b.yaml"), object("two", "1"))
	want("a file appeared in a new subfolder", "one=3", "two=1")
	write(t, filepath.Join(dir, "sub", "b.yaml"), object("two", "2"))
	want("a file in the new subfolder changed", "one=3", "two=2")
	mount(t, dir, "1", object("mounted", "1"))
	want("a volume was mounted", "mounted=1", "one=3", "two=2")
	mount(t, dir, "2", object("mounted", "2"))
	want("..data was swapped", "mounted=2", "one=3", "two=2")
	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	want("a file was removed", "mounted=2", "two=2")
}
