package catalog

import (
	"context"
	"errors"
	"fmt"
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

// Op is one write of a Commit, or with neither Value nor Delete only a condition.
type Op struct {
	Key string
	// Value to put. Empty but not nil: an empty value.
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

// Bounds of one Commit. They are etcd's own defaults, so that any etcd will do.
const (
	MaxOps         = 128
	MaxKeyBytes    = 2048
	MaxValueBytes  = 1 << 20
	MaxCommitBytes = 5 << 18 // all keys and values of one Commit
)

// LeaseID names a lease.
type LeaseID int64

// Event is one change. Resync starts a fresh listing: it is sent first, and again when the history was compacted away;
// what is not listed between Resync and Synced is gone.
type Event struct {
	Type   EventType
	Record Record // with Put; with Delete only Key and Revision
	// Revision up to which the watcher has seen everything, with Synced and Progress.
	Revision int64
	// Regressed, with Resync: the store is older than what this watcher has seen, so it was restored or replaced. What
	// follows may revive what was deleted or revoked; who keeps a floor applies it until Synced.
	Regressed bool
}

// EventType of an Event.
type EventType int

// The events of a watch: Resync, Put for every record, Synced, then Put and Delete as they happen. Progress comes now and
// then and says only that the watch is alive and complete up to Revision; a reader may ignore it, or measure staleness
// by it.
const (
	Resync EventType = iota
	Put
	Synced
	Delete
	Progress
)

// String is the name of the constant, for logs and tests.
func (t EventType) String() string {
	switch t {
	case Resync:
		return "Resync"
	case Put:
		return "Put"
	case Synced:
		return "Synced"
	case Delete:
		return "Delete"
	case Progress:
		return "Progress"
	}
	return fmt.Sprintf("EventType(%d)", int(t))
}

// Errors to test for with errors.Is.
var (
	ErrNotFound = errors.New("catalog: not found")
	ErrConflict = errors.New("catalog: changed by somebody else")
	// ErrUnavailable: the store did not answer. A Commit that failed with it may have been made all the same; read
	// before you repeat it, or give it conditions, so that a repetition fails with ErrConflict.
	ErrUnavailable = errors.New("catalog: unavailable")
	// ErrLeaseLost: a Commit names a lease that does not live any more.
	ErrLeaseLost = errors.New("catalog: lease lost")
)

// Catalog is what the hub stores in. Implementations are safe for concurrent use.
type Catalog interface {
	// Get returns ErrNotFound if there is none.
	Get(ctx context.Context, key string) (Record, error)
	// List returns all records under prefix, sorted by key, and the revision they were read at.
	List(ctx context.Context, prefix string) ([]Record, int64, error)
	// Commit makes all ops or none and returns the new revision. All writes of one Commit have that revision. It checks
	// its ops with CheckOps.
	Commit(ctx context.Context, ops ...Op) (int64, error)
	// Watch yields a Resync, the records under prefix, Synced, then changes until ctx is done. It reconnects by itself,
	// and after a compaction yields a new Resync; while the store is away it yields nothing. Changes come in the order
	// of their revisions. A reader that is slow costs memory, not the other readers.
	Watch(ctx context.Context, prefix string) iter.Seq[Event]
	// Lease makes a lease that lives until ctx is done or the process dies, and ttl longer. lost is closed when the
	// lease is gone while ctx is not done. A store may round ttl up (etcd: to whole seconds, at least two).
	Lease(ctx context.Context, ttl time.Duration) (id LeaseID, lost <-chan struct{}, err error)
}

// CheckOps finds what no store accepts: no ops or more than MaxOps, a key named twice, empty or too long, a value that is
// too long or comes with Delete, a lease on a Delete, a condition that is none. Implementations call it first.
func CheckOps(ops []Op) error {
	if len(ops) == 0 || len(ops) > MaxOps {
		return fmt.Errorf("catalog: commit of %d ops; one commit takes 1 to %d, split it", len(ops), MaxOps)
	}
	seen := make(map[string]bool, len(ops))
	total := 0
	for _, op := range ops {
		switch {
		case op.Key == "" || len(op.Key) > MaxKeyBytes:
			return fmt.Errorf("catalog: key of %d bytes; a key has 1 to %d", len(op.Key), MaxKeyBytes)
		case seen[op.Key]:
			return fmt.Errorf("catalog: key %s twice in one commit; the order would not be defined", op.Key)
		case op.Delete && (op.Value != nil || op.Lease != 0):
			return fmt.Errorf("catalog: delete of %s carries a value or a lease", op.Key)
		case len(op.Value) > MaxValueBytes:
			return fmt.Errorf("catalog: value of %s has %d bytes; at most %d fit", op.Key, len(op.Value), MaxValueBytes)
		case op.If < Absent:
			return fmt.Errorf("catalog: condition %d on %s is neither a revision nor Any nor Absent", op.If, op.Key)
		case op.Value == nil && !op.Delete && op.If == Any:
			return fmt.Errorf("catalog: op on %s neither writes nor demands anything", op.Key)
		}
		seen[op.Key] = true
		if total += len(op.Key) + len(op.Value); total > MaxCommitBytes {
			return fmt.Errorf("catalog: commit of more than %d bytes; split it", MaxCommitBytes)
		}
	}
	return nil
}
