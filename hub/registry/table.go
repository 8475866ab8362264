package registry

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"penstock.dev/penstock/hub/catalog"
)

// table is the catalog's records under one prefix, decoded, in memory: what is served while the catalog is away. Keys
// are without the prefix. Safe for concurrent use.
type table[T any] struct {
	prefix string
	decode func(catalog.Record) (T, error)
	log    *slog.Logger
	// newer than, for tables that outlive the restore of an old backup: what was written after the backup, and lost with
	// it, is written again from memory, so that a restore revives nobody who was revoked, suspended or locked, and costs
	// nobody who joined. Values are then JSON of T. nil: the store is right, however old.
	newer func(a, b T) bool

	mu   sync.RWMutex
	rows map[string]row[T]
}

type row[T any] struct {
	revision int64
	value    T
}

func newTable[T any](prefix string, log *slog.Logger, decode func(catalog.Record) (T, error)) *table[T] {
	return &table[T]{prefix: prefix, decode: decode, log: log, rows: map[string]row[T]{}}
}

func (t *table[T]) get(key string) (T, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	r, ok := t.rows[key]
	return r.value, ok
}

// all returns a copy.
func (t *table[T]) all() map[string]T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	m := make(map[string]T, len(t.rows))
	for k, r := range t.rows {
		m[k] = r.value
	}
	return m
}

// find returns the key of a value that is wanted.
func (t *table[T]) find(wanted func(T) bool) (key string, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for k, r := range t.rows {
		if wanted(r.value) {
			return k, true
		}
	}
	return "", false
}

// put takes a record unless a newer one is there: a record read past the watch must not be undone by an event that was
// under way.
func (t *table[T]) put(rec catalog.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(t.rows, rec)
}

func (t *table[T]) set(rows map[string]row[T], rec catalog.Record) {
	key := strings.TrimPrefix(rec.Key, t.prefix)
	if old, ok := rows[key]; ok && old.revision > rec.Revision {
		return
	}
	v, err := t.decode(rec)
	if err != nil {
		// What cannot be read counts as absent, and absent is refused.
		t.log.Error("unreadable catalog record is ignored", "key", rec.Key, "revision", rec.Revision, "error", err)
		delete(rows, key)
		return
	}
	rows[key] = row[T]{rec.Revision, v}
}

// load reads the prefix once.
func (t *table[T]) load(ctx context.Context, cat catalog.Catalog) error {
	recs, _, err := cat.List(ctx, t.prefix)
	if err != nil {
		return stored("list "+t.prefix, err)
	}
	rows := make(map[string]row[T], len(recs))
	for _, rec := range recs {
		t.set(rows, rec)
	}
	t.mu.Lock()
	t.rows = rows
	t.mu.Unlock()
	return nil
}

// fetch reads one record past the watch.
func (t *table[T]) fetch(ctx context.Context, cat catalog.Catalog, key string) (T, bool) {
	rec, err := cat.Get(ctx, t.prefix+key)
	if err == nil {
		t.put(rec)
	}
	return t.get(key)
}

// follow keeps the table until ctx is done. changed is called after each change, without the lock.
func (t *table[T]) follow(ctx context.Context, cat catalog.Catalog, changed func()) {
	var listing map[string]row[T] // nil: not in a listing
	var regressed bool
	for ev := range cat.Watch(ctx, t.prefix) {
		switch ev.Type {
		case catalog.Resync:
			listing, regressed = map[string]row[T]{}, ev.Regressed
		case catalog.Put:
			if listing != nil {
				t.set(listing, ev.Record)
				continue
			}
			t.put(ev.Record)
			changed()
		case catalog.Delete:
			t.delete(ev.Record)
			changed()
		case catalog.Synced:
			lost := t.replace(listing, ev.Revision, regressed)
			listing = nil
			changed()
			t.restore(ctx, cat, lost)
		}
	}
}

func (t *table[T]) delete(rec catalog.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := strings.TrimPrefix(rec.Key, t.prefix)
	if old, ok := t.rows[key]; ok && old.revision <= rec.Revision {
		delete(t.rows, key)
	}
}

// replace puts a listing, complete up to a revision, in the place of the rows, but for those that were read past the
// watch since. If the store went back, revisions of before mean nothing any more: then it is the newer value that stays,
// and those that the store has lost are returned.
func (t *table[T]) replace(listing map[string]row[T], revision int64, regressed bool) (lost map[string]row[T]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lost = map[string]row[T]{}
	for k, r := range t.rows {
		old, ok := listing[k]
		switch {
		case !regressed && r.revision > revision:
			listing[k] = r
		case regressed && t.newer != nil && (!ok || t.newer(r.value, old.value)):
			if !ok {
				old.revision = catalog.Absent
			}
			lost[k] = row[T]{old.revision, r.value}
			listing[k] = lost[k] // any event from now on is newer
		}
	}
	t.rows = listing
	return lost
}

// restore writes back what a restore of the store has lost. Each replica tries; the first one wins.
func (t *table[T]) restore(ctx context.Context, cat catalog.Catalog, lost map[string]row[T]) {
	for k, r := range lost {
		_, err := cat.Commit(ctx, catalog.Op{Key: t.prefix + k, Value: encode(r.value), If: r.revision})
		if err != nil && !errors.Is(err, catalog.ErrConflict) {
			t.log.Error("the catalog went back, and a newer record could not be written again; this replica still serves it",
				"key", t.prefix+k, "error", err)
			continue
		}
		t.log.Warn("the catalog went back; a newer record was written again", "key", t.prefix+k)
	}
}

// sorted returns the values in the order of their keys.
func sorted[T any](m map[string]T) []T {
	values := make([]T, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		values = append(values, m[k])
	}
	return values
}
