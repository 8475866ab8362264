package catalogtest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/hub/catalog"
)

// progressEvery is the pace of Progress, that of hub/catalog/etcd.
const progressEvery = 5 * time.Second

// Memory is a store in memory, and a catalog.Catalog as seen by its first client. Make one with New. Safe for concurrent
// use.
type Memory struct {
	*Client
	mu        sync.Mutex
	records   map[string]entry
	history   []change // in order; those up to compacted are gone
	revision  int64
	compacted int64
	down      bool
	epoch     int // counts Restores
	leases    map[catalog.LeaseID]*lease
	lastLease catalog.LeaseID
	moved     chan struct{} // closed and replaced whenever a watcher has to look again
}

type entry struct {
	value    []byte
	revision int64
	lease    catalog.LeaseID
}

// change is one event of the history, Put or Delete.
type change struct {
	event    catalog.Event
	revision int64
}

type lease struct {
	ctx     context.Context // its holder's; done: not renewed any more
	client  *Client
	ttl     time.Duration
	renewed time.Time
	timer   *time.Timer
	lost    chan struct{}
}

var _ catalog.Catalog = (*Client)(nil)

// New makes an empty one, at revision 1, as a fresh etcd is.
func New() *Memory {
	m := &Memory{
		records: map[string]entry{}, leases: map[catalog.LeaseID]*lease{}, revision: 1, moved: make(chan struct{}),
	}
	m.Client = m.Connect()
	return m
}

// Client is one replica's way to a store. Safe for concurrent use.
type Client struct {
	m   *Memory
	cut bool // guarded by m.mu
}

// Connect makes another client.
func (m *Memory) Connect() *Client { return &Client{m: m} }

// Cut takes the store away from this client alone, or gives it back: its calls fail, its watches are silent and its
// leases are not renewed.
func (c *Client) Cut(down bool) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.cut = down
	c.m.wake()
}

// Fail takes the store away from all clients, or gives it back.
func (m *Memory) Fail(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
	m.wake()
}

// Compact forgets the history. A watcher that has not seen all of it (because the store failed) begins afresh.
func (m *Memory) Compact() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.compacted = m.revision
	m.history = nil
}

// Snapshot of the store, for Restore.
type Snapshot struct {
	records  map[string]entry
	revision int64
}

// Snapshot returns what Restore takes.
func (m *Memory) Snapshot() Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	records := make(map[string]entry, len(m.records))
	for k, e := range m.records {
		e.lease = 0 // as etcd, whose leases do not survive a restore either
		records[k] = e
	}
	return Snapshot{records: records, revision: m.revision}
}

// Restore takes the store back to s, as an operator does with a backup: the revision goes back too.
func (m *Memory) Restore(s Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records = make(map[string]entry, len(s.records))
	for k, e := range s.records {
		m.records[k] = e
	}
	m.revision, m.compacted, m.history = s.revision, s.revision, nil
	m.epoch++
	m.wake()
}

// wake is called with mu held.
func (m *Memory) wake() {
	close(m.moved)
	m.moved = make(chan struct{})
}

// Get implements catalog.Catalog.
func (c *Client) Get(ctx context.Context, key string) (catalog.Record, error) {
	m := c.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := c.ready(ctx); err != nil {
		return catalog.Record{}, err
	}
	e, ok := m.records[key]
	if !ok {
		return catalog.Record{}, fmt.Errorf("%w: %s", catalog.ErrNotFound, key)
	}
	return e.record(key), nil
}

// List implements catalog.Catalog.
func (c *Client) List(ctx context.Context, prefix string) ([]catalog.Record, int64, error) {
	m := c.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := c.ready(ctx); err != nil {
		return nil, 0, err
	}
	return m.list(prefix), m.revision, nil
}

func (m *Memory) list(prefix string) []catalog.Record {
	var records []catalog.Record
	for k, e := range m.records {
		if strings.HasPrefix(k, prefix) {
			records = append(records, e.record(k))
		}
	}
	slices.SortFunc(records, func(a, b catalog.Record) int { return strings.Compare(a.Key, b.Key) })
	return records
}

func (e entry) record(key string) catalog.Record {
	return catalog.Record{Key: key, Value: slices.Clone(e.value), Revision: e.revision}
}

// Commit implements catalog.Catalog.
func (c *Client) Commit(ctx context.Context, ops ...catalog.Op) (int64, error) {
	if err := catalog.CheckOps(ops); err != nil {
		return 0, err
	}
	m := c.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := c.ready(ctx); err != nil {
		return 0, err
	}
	for _, op := range ops {
		e, ok := m.records[op.Key]
		if op.If == catalog.Absent && ok || op.If > 0 && (!ok || e.revision != op.If) {
			return 0, fmt.Errorf("%w: %s", catalog.ErrConflict, op.Key)
		}
		if op.Lease != 0 && m.leases[op.Lease] == nil {
			return 0, fmt.Errorf("catalog: commit %s: %w", op.Key, catalog.ErrLeaseLost)
		}
	}
	m.write(ops)
	return m.revision, nil
}

// write applies checked ops at a new revision.
func (m *Memory) write(ops []catalog.Op) {
	next := m.revision + 1
	for _, op := range ops {
		switch {
		case op.Delete:
			if _, ok := m.records[op.Key]; !ok {
				continue
			}
			delete(m.records, op.Key)
			m.record(next, catalog.Delete, catalog.Record{Key: op.Key, Revision: next})
		case op.Value != nil:
			e := entry{value: slices.Clone(op.Value), revision: next, lease: op.Lease}
			m.records[op.Key] = e
			m.record(next, catalog.Put, e.record(op.Key))
		}
	}
	if m.revision == next {
		m.wake()
	}
}

func (m *Memory) record(revision int64, t catalog.EventType, r catalog.Record) {
	m.revision = revision
	m.history = append(m.history, change{event: catalog.Event{Type: t, Record: r}, revision: revision})
}

// away is called with mu held.
func (c *Client) away() bool { return c.cut || c.m.down }

// ready is called with mu held.
func (c *Client) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.away() {
		return fmt.Errorf("%w: failed by the test", catalog.ErrUnavailable)
	}
	return nil
}

// Watch implements catalog.Catalog.
func (c *Client) Watch(ctx context.Context, prefix string) iter.Seq[catalog.Event] {
	return func(yield func(catalog.Event) bool) {
		w := watcher{c: c, prefix: prefix}
		progress := time.NewTicker(progressEvery)
		defer progress.Stop()
		for ctx.Err() == nil {
			events, moved := w.look()
			for _, e := range events {
				if ctx.Err() != nil || !yield(e) {
					return
				}
			}
			if len(events) > 0 {
				continue
			}
			select {
			case <-ctx.Done():
			case <-moved:
			case <-progress.C:
				w.asked = true
			}
		}
	}
}

type watcher struct {
	c      *Client
	prefix string
	next   int64 // first revision not seen; 0: nothing was listed yet
	epoch  int
	asked  bool // for a sign of life
}

// look returns what is new, and a channel that is closed when it is worth to look again.
func (w *watcher) look() ([]catalog.Event, <-chan struct{}) {
	m := w.c.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if w.c.away() {
		return nil, m.moved
	}
	if w.next == 0 || w.next <= m.compacted || w.epoch != m.epoch {
		regressed := m.revision+1 < w.next
		events := []catalog.Event{{Type: catalog.Resync, Regressed: regressed}}
		for _, r := range m.list(w.prefix) {
			events = append(events, catalog.Event{Type: catalog.Put, Record: r})
		}
		w.next, w.epoch = m.revision+1, m.epoch
		return append(events, catalog.Event{Type: catalog.Synced, Revision: m.revision}), m.moved
	}
	from, _ := slices.BinarySearchFunc(m.history, w.next, func(c change, revision int64) int {
		if c.revision < revision {
			return -1
		}
		return 1 // also when equal: the first one of that revision is wanted
	})
	var events []catalog.Event
	for _, c := range m.history[from:] {
		if strings.HasPrefix(c.event.Record.Key, w.prefix) {
			e := c.event
			e.Record.Value = slices.Clone(e.Record.Value)
			events = append(events, e)
		}
	}
	w.next = m.revision + 1
	if w.asked {
		w.asked = false
		events = append(events, catalog.Event{Type: catalog.Progress, Revision: m.revision})
	}
	return events, m.moved
}

// Lease implements catalog.Catalog. It is renewed three times in a ttl, as long as the store does not fail.
func (c *Client) Lease(ctx context.Context, ttl time.Duration) (catalog.LeaseID, <-chan struct{}, error) {
	m := c.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := c.ready(ctx); err != nil {
		return 0, nil, err
	}
	m.lastLease++
	id := m.lastLease
	l := &lease{ctx: ctx, client: c, ttl: ttl, renewed: time.Now(), lost: make(chan struct{})}
	m.leases[id] = l
	l.timer = time.AfterFunc(ttl/3, func() { m.keep(id, l) })
	return id, l.lost, nil
}

// keep renews a lease, or takes its keys away once it was not renewed for its ttl.
func (m *Memory) keep(id catalog.LeaseID, l *lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.leases[id] != l: // Expire was quicker
		return
	case l.ctx.Err() == nil && !l.client.away():
		l.renewed = time.Now()
	case time.Since(l.renewed) >= l.ttl:
		m.expire(id)
		return
	}
	l.timer.Reset(l.ttl / 3)
}

// Expire ends all leases at once, as a store does that was away from its clients for too long.
func (m *Memory) Expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.leases {
		m.expire(id)
	}
}

// expire deletes the keys on a lease; mu is held.
func (m *Memory) expire(id catalog.LeaseID) {
	l := m.leases[id]
	delete(m.leases, id)
	l.timer.Stop()
	if l.ctx.Err() == nil {
		close(l.lost)
	}
	var ops []catalog.Op
	for k, e := range m.records {
		if e.lease == id {
			ops = append(ops, catalog.Op{Key: k, Delete: true})
		}
	}
	slices.SortFunc(ops, func(a, b catalog.Op) int { return strings.Compare(a.Key, b.Key) })
	m.write(ops)
}
