package catalog

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Record is one key's value at one revision.
type Record struct {
	Key   string
	Value []byte
	// Revision of the store at which this value was written (etcd: mod revision).
	Revision int64
}

// Op is one write of a Commit. Exactly one of Value and Delete is set.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
	// If the key is not at this revision, the whole Commit fails with ErrConflict. Any: not looked at; Absent: the key
	// must not exist.
	If int64
	// Lease keeps the key only while the lease lives; 0: for good.
	Lease LeaseID
}

// Conditions of an Op.
const (
	Any    int64 = 0
	Absent int64 = -1
)

// LeaseID names a lease.
type LeaseID int64

// Event is one change. Resync starts a fresh listing: it is sent first, and again when the history was compacted away;
// what is not listed between Resync and Synced is gone.
type Event struct {
	Type   EventType
	Record Record // with Put; with Delete only Key and Revision
	// Revision up to which the watcher has seen everything, with Synced.
	Revision int64
}

// EventType of an Event.
type EventType int

// The events of a watch: Resync, Put for every record, Synced, then Put and Delete as they happen.
const (
	Resync EventType = iota
	Put
	Synced
	Delete
)

// Errors to test for with errors.Is.
var (
	ErrNotFound    = errors.New("catalog: not found")
	ErrConflict    = errors.New("catalog: changed by somebody else")
	ErrUnavailable = errors.New("catalog: unavailable")
)

// Catalog is what the hub stores in. Implementations are safe for concurrent use.
type Catalog interface {
	// Get returns ErrNotFound if there is none.
	Get(ctx context.Context, key string) (Record, error)
	// List returns all records under prefix, sorted by key, and the revision they were read at.
	List(ctx context.Context, prefix string) ([]Record, int64, error)
	// Commit makes all ops or none and returns the new revision.
	Commit(ctx context.Context, ops ...Op) (int64, error)
	// Watch yields a Resync, the records under prefix, Synced, then changes until ctx is done. It reconnects by itself,
	// and after a compaction yields a new Resync; while the store is away it yields nothing.
	Watch(ctx context.Context, prefix string) iter.Seq[Event]
	// Lease makes a lease that lives until ctx is done or the process dies, and ttl longer. lost is closed when the
	// lease is gone while ctx is not done.
	Lease(ctx context.Context, ttl time.Duration) (id LeaseID, lost <-chan struct{}, err error)
}
