package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/manifest"
)

// Config of a Feed. Zero fields mean the default in brackets.
type Config struct {
	// Sources must each have called Objects once before anything is translated.
	Sources []string
	// Options of each translation. Now and, once SetView was called, View are filled in by the feed.
	Options manifest.Options
	// Use gets each good snapshot, compiled, with the Set it was made from, which holds the private keys that the
	// snapshot only names. It must not block and is called from one goroutine.
	Use func(snapshot *route.Snapshot, set *manifest.Set)
	// Report gets the result of each translation, after Use [none]. Same goroutine.
	Report func(Result)
	// Quiet is how long to wait for more changes [50ms]; Longest bounds the wait [1s].
	Quiet, Longest time.Duration
	// Refresh translates again without any change, so that certificates that end are noticed [1h].
	Refresh time.Duration

	// compile replaces Snapshot.Compile in tests: what Translate makes compiles.
	compile func(*route.Snapshot) (*route.Snapshot, error)
}

// Result is what came of one translation.
type Result struct {
	// Revisions that the sources gave with what was translated; ViewRevision that of the view.
	Revisions    map[string]int64
	ViewRevision int64
	// Report is the status of every object.
	Report *manifest.Report
	// Problems of all sources, of joining them, and of the report.
	Problems []manifest.Problem
	// Err is set if the snapshot did not compile; then the one before is still in use.
	Err error
}

// Feed joins sources. Safe for concurrent use.
type Feed struct {
	cfg  Config
	wake chan struct{} // holds one value while there is something to translate

	mu      sync.Mutex
	sources map[string]source
	view    *control.View
	viewRev int64
}

type source struct {
	objects  []manifest.Object
	problems []manifest.Problem
	revision int64
}

// New checks the config; Run starts the work.
func New(cfg Config) (*Feed, error) {
	if cfg.Use == nil {
		return nil, errors.New("manifest/feed: Config.Use is missing: a snapshot must go somewhere")
	}
	if cfg.Report == nil {
		cfg.Report = func(Result) {}
	}
	cfg.Quiet = cmp.Or(cfg.Quiet, 50*time.Millisecond)
	cfg.Longest = cmp.Or(cfg.Longest, time.Second)
	cfg.Refresh = cmp.Or(cfg.Refresh, time.Hour)
	if cfg.compile == nil {
		cfg.compile = (*route.Snapshot).Compile
	}
	return &Feed{cfg: cfg, wake: make(chan struct{}, 1), sources: map[string]source{}, view: cfg.Options.View}, nil
}

// Objects replaces what a source holds. revision is handed back in Result, as the acknowledgement of what is served; 0
// where a source has none. The slices must not be changed afterwards. Objects does not wait for the translation.
func (f *Feed) Objects(name string, objects []manifest.Object, problems []manifest.Problem, revision int64) {
	f.mu.Lock()
	f.sources[name] = source{objects, problems, revision}
	f.mu.Unlock()
	f.changed()
}

// SetView replaces what the parent grants. v must not be changed afterwards; nil: there is no parent.
func (f *Feed) SetView(v *control.View, revision int64) {
	f.mu.Lock()
	f.view, f.viewRev = v, revision
	f.mu.Unlock()
	f.changed()
}

func (f *Feed) changed() {
	select {
	case f.wake <- struct{}{}:
	default: // somebody announced a change already
	}
}

// Run translates until ctx is done and then returns nil. It fails only if the very first snapshot does not compile.
func (f *Feed) Run(ctx context.Context) error {
	refresh := time.NewTicker(f.cfg.Refresh)
	defer refresh.Stop()
	started := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
			if !f.settle(ctx) {
				return nil
			}
		case <-refresh.C:
		}
		if !f.complete() {
			continue
		}
		if err := f.translate(); err != nil && !started {
			return fmt.Errorf("manifest/feed: first snapshot: %w", err)
		}
		started = true
	}
}

// settle waits until no more changes come; false if ctx is done.
func (f *Feed) settle(ctx context.Context) bool {
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
		case <-f.wake:
			quiet.Reset(f.cfg.Quiet)
		}
	}
}

// complete reports whether every named source has spoken.
func (f *Feed) complete() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.cfg.Sources {
		if _, ok := f.sources[name]; !ok {
			return false
		}
	}
	return true
}

// translate makes and hands on one snapshot. Its error is that of Compile, which Report gets too.
func (f *Feed) translate() error {
	all, result, opt := f.collect()
	set, problems := manifest.NewSet(all...)
	snapshot, report := manifest.Translate(set, opt)
	result.Report = report
	result.Problems = slices.Concat(result.Problems, problems, report.Problems())
	compiled, err := f.cfg.compile(snapshot)
	if err != nil {
		result.Err = fmt.Errorf("manifest/feed: compile snapshot: %w; the last good one stays in use, please report this", err)
		f.cfg.Report(result)
		return err
	}
	f.cfg.Use(compiled, set)
	f.cfg.Report(result)
	return nil
}

// collect takes one consistent look at all sources, in the order of their names.
func (f *Feed) collect() ([][]manifest.Object, Result, manifest.Options) {
	f.mu.Lock()
	defer f.mu.Unlock()
	result := Result{Revisions: map[string]int64{}, ViewRevision: f.viewRev}
	var all [][]manifest.Object
	for _, name := range slices.Sorted(maps.Keys(f.sources)) {
		s := f.sources[name]
		all = append(all, s.objects)
		result.Problems = append(result.Problems, s.problems...)
		result.Revisions[name] = s.revision
	}
	opt := f.cfg.Options
	opt.View, opt.Now = f.view, time.Now()
	return all, result, opt
}
