package file

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/manifest"
)

// ReasonStale is the reason of a problem that says that an object is served in its last good version.
const ReasonStale = "Stale"

// ReasonUnreadable is the reason of a problem about a file or folder that cannot be read.
const ReasonUnreadable = "Unreadable"

// Config of a Folder. Zero fields mean the default in brackets.
type Config struct {
	// Dir is the folder. Findings name files by this path joined with their own.
	Dir string
	// Parse reads one file; Validator.Parse of package manifest, or manifest.Parse [manifest.Parse].
	Parse func(source string, data []byte) ([]manifest.Object, []manifest.Problem)
	// Quiet is how long the folder must be at rest before it is read [100ms]; Longest bounds the wait [1s].
	Quiet, Longest time.Duration
	// Poll is how often the folder is read without any event [10s].
	Poll time.Duration
	// MaxFileBytes and MaxFiles bound what is read [8 MiB, 10000].
	MaxFileBytes int64
	MaxFiles     int
	// Log gets a warning when file events are not available [slog.Default].
	Log *slog.Logger

	// watch replaces the system's file events in tests.
	watch func(dir string) (watcher, error)
}

// State is what the folder holds.
type State struct {
	// Set of all objects that are served from the folder, stale ones included.
	Set *manifest.Set
	// Problems of reading: faulty documents, duplicates, stale objects, files that cannot be read. Sorted by file.
	Problems []manifest.Problem
}

// Folder watches one folder. Use one Run or Load at a time.
type Folder struct {
	cfg  Config
	last map[string][]manifest.Object // by file: what it gave when read last, stale objects included
	sum  [sha256.Size]byte            // of the last reading, see State
	read bool                         // the folder was read once
}

// New returns a Folder; nothing is read yet.
func New(cfg Config) (*Folder, error) {
	if cfg.Dir == "" {
		return nil, errors.New("manifest/file: no folder given; set manifests in the configuration")
	}
	if cfg.Parse == nil {
		cfg.Parse = manifest.Parse
	}
	cfg.Quiet = cmp.Or(cfg.Quiet, 100*time.Millisecond)
	cfg.Longest = cmp.Or(cfg.Longest, time.Second)
	cfg.Poll = cmp.Or(cfg.Poll, 10*time.Second)
	cfg.MaxFileBytes = cmp.Or(cfg.MaxFileBytes, 8<<20)
	cfg.MaxFiles = cmp.Or(cfg.MaxFiles, 10_000)
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	if cfg.watch == nil {
		cfg.watch = watchFolder
	}
	return &Folder{cfg: cfg, last: map[string][]manifest.Object{}}, nil
}

// Load reads the folder once. It fails only if the folder itself cannot be read and never could be.
func (f *Folder) Load() (State, error) {
	s, _, err := f.load()
	return s, err
}

// Run reads the folder, hands its state to use, and again after each change, until ctx is done; then it returns nil. use
// is called from one goroutine at a time. Run fails if the folder cannot be read at the start: there is no last good
// state to keep.
func (f *Folder) Run(ctx context.Context, use func(State)) error {
	// Watch before the first reading, or a change in between would wait for the poll.
	w := f.startWatch()
	defer w.Close()
	s, _, err := f.load()
	if err != nil {
		return err
	}
	use(s)
	poll := time.NewTicker(f.cfg.Poll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		case <-w.Events():
			if !f.settle(ctx, w) {
				return nil
			}
		}
		// First watch what is new, then read: a change in between is an event, not lost.
		w.Follow()
		// A state that cannot be loaded keeps the last one, which load says in its problems; err is for the start only.
		if s, changed, err := f.load(); err == nil && changed {
			use(s)
		}
	}
}

// settle waits until the folder is quiet; false if ctx is done.
func (f *Folder) settle(ctx context.Context, w watcher) bool {
	quiet, longest := time.NewTimer(f.cfg.Quiet), time.NewTimer(f.cfg.Longest)
	defer quiet.Stop()
	defer longest.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-quiet.C:
			return true
		case <-longest.C:
			return true
		case <-w.Events():
			quiet.Reset(f.cfg.Quiet)
		}
	}
}

// load reads all files and reports whether anything changed since the last time.
func (f *Folder) load() (State, bool, error) {
	names, err := f.list()
	if err != nil {
		if !f.read {
			return State{}, false, fmt.Errorf("manifest/file: read folder %s: %w; create it or correct the path", f.cfg.Dir, err)
		}
		p := manifest.Problem{
			File: f.cfg.Dir, Reason: ReasonUnreadable,
			Message: "the folder cannot be read, so its last state is served: " + cause(err), Remedy: "make it readable again",
		}
		return f.state(f.last, []manifest.Problem{p})
	}
	next := make(map[string][]manifest.Object, len(names))
	var problems []manifest.Problem
	for _, name := range names {
		objects, ps := f.readFile(name)
		if len(ps) > 0 {
			kept, stale := keep(name, f.last[name], objects)
			objects, ps = append(objects, kept...), append(ps, stale...)
		}
		next[name] = objects
		problems = append(problems, ps...)
	}
	f.read = true
	return f.state(next, problems)
}

// state joins the files, and reports whether the result differs from the one before.
func (f *Folder) state(files map[string][]manifest.Object, problems []manifest.Problem) (State, bool, error) {
	f.last = files
	all := make([][]manifest.Object, 0, len(files))
	for _, objects := range files {
		all = append(all, objects)
	}
	set, ps := manifest.NewSet(all...)
	problems = append(problems, ps...)
	// Within a file the cause comes first and what became stale by it after.
	slices.SortStableFunc(problems, func(a, b manifest.Problem) int { return strings.Compare(a.File, b.File) })
	h := sha256.New()
	for _, o := range set.Objects() {
		// Where an object stands is part of the state: findings name file and line.
		fmt.Fprintf(h, "%s %d %d %d\n", o.Source.File, o.Source.Document, o.Source.Line, len(o.JSON))
		h.Write(o.JSON)
	}
	for _, p := range problems {
		fmt.Fprintln(h, p.String())
	}
	sum := [sha256.Size]byte(h.Sum(nil))
	changed := sum != f.sum
	f.sum = sum
	return State{Set: set, Problems: problems}, changed, nil
}

// keep returns those of the last objects that are not among the new ones, and a problem for each.
func keep(name string, last, now []manifest.Object) (kept []manifest.Object, problems []manifest.Problem) {
	have := make(map[manifest.ID]bool, len(now))
	for _, o := range now {
		have[o.ID] = true
	}
	for _, o := range last {
		if have[o.ID] {
			continue
		}
		kept = append(kept, o)
		problems = append(problems, manifest.Problem{
			File: name, Object: o.ID.String(), Reason: ReasonStale,
			Message: "the file is faulty, so the last good version is served", Remedy: "repair the file",
		})
	}
	return kept, problems
}

// readFile reads one file. A file that vanished between listing and reading is empty, not faulty.
func (f *Folder) readFile(name string) ([]manifest.Object, []manifest.Problem) {
	data, err := readAtMost(name, f.cfg.MaxFileBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []manifest.Problem{{File: name, Reason: ReasonUnreadable, Message: "cannot be read: " + cause(err), Remedy: "correct the file or its permissions"}}
	}
	return f.cfg.Parse(name, data)
}

func readAtMost(name string, most int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// A pipe or device would block or never end.
	if info, err := file.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("it has more than %d bytes", most)
	}
	return data, nil
}

// list returns the manifest files of the folder, sorted.
func (f *Folder) list() ([]string, error) {
	var names []string
	// The folder may itself be a link (a mounted volume); WalkDir follows it only with a separator at the end.
	root := strings.TrimRight(f.cfg.Dir, string(filepath.Separator)) + string(filepath.Separator)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) && path != root {
				return nil // removed while we looked
			}
			return err
		}
		if path == root {
			return nil
		}
		if strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() || !isManifest(d.Name()) || isFolderLink(path, d) {
			return nil
		}
		if len(names) == f.cfg.MaxFiles {
			return fmt.Errorf("more than %d files", f.cfg.MaxFiles)
		}
		names = append(names, filepath.Clean(path))
		return nil
	})
	return names, err
}

func isManifest(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

func isFolderLink(path string, d fs.DirEntry) bool {
	if d.Type()&fs.ModeSymlink == 0 {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// cause is an error without the path, which the finding names already.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
