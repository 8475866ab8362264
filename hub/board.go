package hub

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"penstock.dev/penstock/apis/control"
)

// board is what the watches of spokes show: the newest state, and a channel that closes when there is a newer one. The
// zero value is not usable; newBoard.
type board struct {
	mu      sync.Mutex
	changed chan struct{}
	state   posted
	views   map[string]view // made on demand, for this state
}

// posted is one state of the board. It is never changed once posted.
type posted struct {
	revision int64
	// view makes what one cluster gets to see; nil until the first catalog was translated.
	view func(cluster string) *control.View
	hubs []control.Hub
	// roots in PEM.
	roots string
}

// view is one cluster's view in wire form, so that equal ones are told apart from new ones.
type view struct {
	value *control.View
	wire  string
}

func newBoard() *board { return &board{changed: make(chan struct{}), views: map[string]view{}} }

// post changes the state and wakes the watches.
func (b *board) post(change func(*posted)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.state)
	clear(b.views)
	close(b.changed)
	b.changed = make(chan struct{})
}

// read is the state, one cluster's view in it, and the channel that closes with the next state.
func (b *board) read(cluster string) (posted, view, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, made := b.views[cluster]
	if !made && b.state.view != nil {
		v.value = b.state.view(cluster)
		wire, err := json.Marshal(v.value)
		if err != nil {
			panic(err) // a View is plain data
		}
		v.wire = string(wire)
		b.views[cluster] = v
	}
	return b.state, v, b.changed
}

// trust posts the roots, in PEM.
func (b *board) trust(roots string) { b.post(func(p *posted) { p.roots = roots }) }

// advertise posts the hubs, unless the list lacks the one that posts it. Replicas learn of each other at different moments;
// a spoke that is told of all hubs by one and of all others by the next would hang up on that next one, and never hear
// from it that the list was a moment too old.
func (b *board) advertise(self string, hubs []control.Hub) {
	if slices.ContainsFunc(hubs, func(h control.Hub) bool { return h.Name == self }) {
		b.post(func(p *posted) { p.hubs = hubs })
	}
}

// hubs that are advertised now.
func (b *board) hubs() []control.Hub {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.hubs
}

// awaitHubs waits until a hub is advertised and reports whether one is; ctx ends the wait.
func (b *board) awaitHubs(ctx context.Context) bool {
	for {
		b.mu.Lock()
		hubs, changed := b.state.hubs, b.changed
		b.mu.Unlock()
		if len(hubs) > 0 {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// reportLife is how long a report is remembered; a spoke that is connected sends one every 10 s.
const reportLife = time.Minute

// reports is what the connected spokes said last, by instance. Safe for concurrent use.
type reports struct {
	mu   sync.Mutex
	last map[string]told
}

// told is a report and when it came.
type told struct {
	control.Report
	at time.Time
}

// set takes a report, and forgets those of instances that have not reported for reportLife.
func (r *reports) set(rep control.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[string]told{}
	}
	rep.Refusals = nil
	now := time.Now()
	maps.DeleteFunc(r.last, func(_ string, t told) bool { return now.Sub(t.at) > reportLife })
	r.last[rep.Instance] = told{rep, now}
}

func (r *reports) get(instance string) control.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[instance].Report
}
