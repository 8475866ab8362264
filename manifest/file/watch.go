package file

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// watcher says that something in the folder may have changed. What changed is found out by reading.
type watcher interface {
	// Events gets a value after changes; several changes may make one. A nil channel never does.
	Events() <-chan struct{}
	// Follow is called before each reading, so that subfolders that appeared are watched too.
	Follow()
	Close()
}

// startWatch returns a watcher that works, if need be one without events: then the poll finds the changes.
func (f *Folder) startWatch() watcher {
	w, err := f.cfg.watch(f.cfg.Dir)
	if err != nil {
		f.cfg.Log.Warn("file events are not available; the folder is read at intervals",
			"folder", f.cfg.Dir, "interval", f.cfg.Poll, "error", err)
		return deaf{}
	}
	return w
}

// deaf has no events.
type deaf struct{}

func (deaf) Events() <-chan struct{} { return nil }
func (deaf) Follow()                 {}
func (deaf) Close()                  {}

// notifier is a watcher on the system's file events.
type notifier struct {
	dir    string
	w      *fsnotify.Watcher
	events chan struct{}
	done   chan struct{}
}

// watchFolder watches dir and its subfolders. Folders, not files, are watched: editors and kubelet replace files by
// renaming, and a watch on the old file would be lost.
func watchFolder(dir string) (watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	n := &notifier{dir: dir, w: w, events: make(chan struct{}, 1), done: make(chan struct{})}
	if err := w.Add(dir); err != nil {
		w.Close()
		return nil, err
	}
	n.Follow()
	go n.forward()
	return n, nil
}

// forward joins whatever happened into one value; an error (an overflow of the kernel's queue) may hide a change, so it
// counts as one.
func (n *notifier) forward() {
	defer close(n.done)
	for {
		select {
		case _, ok := <-n.w.Events:
			if !ok {
				return
			}
		case _, ok := <-n.w.Errors:
			if !ok {
				return
			}
		}
		select {
		case n.events <- struct{}{}:
		default: // one is waiting already
		}
	}
}

func (n *notifier) Events() <-chan struct{} { return n.events }

// Follow adds the folder again, in case it was replaced, and subfolders that are new. Adding one that is watched changes
// nothing; one that cannot be watched is left to the poll.
func (n *notifier) Follow() {
	_ = n.w.Add(n.dir)
	_ = filepath.WalkDir(n.dir+string(os.PathSeparator), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir // what cannot be listed cannot be watched
		case !d.IsDir():
			return nil
		case strings.HasPrefix(d.Name(), ".") && filepath.Clean(path) != filepath.Clean(n.dir):
			return fs.SkipDir
		}
		_ = n.w.Add(filepath.Clean(path))
		return nil
	})
}

// Close stops the watch and waits for its goroutine.
func (n *notifier) Close() {
	n.w.Close()
	<-n.done
}
