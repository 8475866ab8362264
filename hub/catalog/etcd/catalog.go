package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"penstock.dev/penstock/hub/catalog"
)

const (
	// DefaultPrefix of all keys.
	DefaultPrefix = "/penstock/v1/"
	// callTimeout bounds a call whose context has no nearer deadline: a leader election takes one to two seconds, and
	// whoever waits longer is better served by an error.
	callTimeout = 5 * time.Second
	// pageRecords are listed in one call, so that one answer neither blocks the server nor meets a message limit.
	pageRecords = 1000
)

// Catalog implements catalog.Catalog on an etcd client. Safe for concurrent use. It holds nothing that needs closing; the
// client is its owner's.
type Catalog struct {
	client *clientv3.Client
	prefix string
	log    *slog.Logger
}

var _ catalog.Catalog = (*Catalog)(nil)

// New makes a Catalog of the keys under prefix (empty: DefaultPrefix; a slash is put at its end). log (nil: none) hears
// of watches that were interrupted.
func New(client *clientv3.Client, prefix string, log *slog.Logger) *Catalog {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	if !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Catalog{client: client, prefix: prefix, log: log}
}

// Get implements catalog.Catalog with a linearizable read.
func (c *Catalog) Get(ctx context.Context, key string) (catalog.Record, error) {
	ctx, call := begin(ctx)
	defer call.cancel()
	resp, err := c.client.Get(ctx, c.prefix+key)
	if err != nil {
		return catalog.Record{}, call.explain("get "+key, err)
	}
	if len(resp.Kvs) == 0 {
		return catalog.Record{}, fmt.Errorf("%w: %s", catalog.ErrNotFound, key)
	}
	return c.record(resp.Kvs[0]), nil
}

// List implements catalog.Catalog. It reads page by page at one revision.
func (c *Catalog) List(ctx context.Context, prefix string) ([]catalog.Record, int64, error) {
	l, err := c.list(ctx, prefix)
	return l.records, l.revision, err
}

type listing struct {
	records  []catalog.Record
	revision int64
	cluster  uint64 // id of the etcd cluster that answered
}

func (c *Catalog) list(ctx context.Context, prefix string) (listing, error) {
	var l listing
	from, end := c.prefix+prefix, clientv3.GetPrefixRangeEnd(c.prefix+prefix)
	for {
		resp, err := c.page(ctx, from, end, l.revision)
		if err != nil {
			return listing{}, err
		}
		if l.revision == 0 {
			l.revision, l.cluster = resp.Header.GetRevision(), resp.Header.GetClusterId()
		}
		for _, kv := range resp.Kvs {
			l.records = append(l.records, c.record(kv))
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return l, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// page lists from a key on; revision 0 is now.
func (c *Catalog) page(ctx context.Context, from, end string, revision int64) (*clientv3.GetResponse, error) {
	ctx, call := begin(ctx)
	defer call.cancel()
	resp, err := c.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageRecords), clientv3.WithRev(revision),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
	if err != nil {
		return nil, call.explain("list "+strings.TrimPrefix(from, c.prefix), err)
	}
	return resp, nil
}

// Commit implements catalog.Catalog as one transaction.
func (c *Catalog) Commit(ctx context.Context, ops ...catalog.Op) (int64, error) {
	if err := catalog.CheckOps(ops); err != nil {
		return 0, err
	}
	conditions, writes := c.transaction(ops)
	ctx, call := begin(ctx)
	defer call.cancel()
	resp, err := c.client.Txn(ctx).If(conditions...).Then(writes...).Commit()
	if err != nil {
		return 0, call.explain("commit "+ops[0].Key, err)
	}
	if !resp.Succeeded {
		return 0, fmt.Errorf("%w: commit of %s", catalog.ErrConflict, keys(ops))
	}
	return resp.Header.GetRevision(), nil
}

func (c *Catalog) transaction(ops []catalog.Op) (conditions []clientv3.Cmp, writes []clientv3.Op) {
	for _, op := range ops {
		key := c.prefix + op.Key
		switch op.If {
		case catalog.Any:
		case catalog.Absent:
			conditions = append(conditions, clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
		default:
			conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(key), "=", op.If))
		}
		switch {
		case op.Delete:
			writes = append(writes, clientv3.OpDelete(key))
		case op.Value != nil:
			writes = append(writes, clientv3.OpPut(key, string(op.Value), clientv3.WithLease(clientv3.LeaseID(op.Lease))))
		}
	}
	return conditions, writes
}

// keys that a failed Commit asked something of, or of which it wrote; the first few.
func keys(ops []catalog.Op) string {
	var b strings.Builder
	for i, op := range ops {
		if i == 3 {
			fmt.Fprintf(&b, " and %d more", len(ops)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(op.Key)
	}
	return b.String()
}

// Lease implements catalog.Catalog. ttl is rounded up to seconds; etcd makes it at least 1.5 election timeouts.
func (c *Catalog) Lease(ctx context.Context, ttl time.Duration) (catalog.LeaseID, <-chan struct{}, error) {
	grantCtx, call := begin(ctx)
	defer call.cancel()
	granted, err := c.client.Grant(grantCtx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return 0, nil, call.explain("grant a lease", err)
	}
	renewals, err := c.client.KeepAlive(ctx, granted.ID)
	if err != nil {
		return 0, nil, call.explain("keep a lease", err)
	}
	lost := make(chan struct{})
	go func() { // ends with the renewals, which end with ctx, with the lease or with the client
		for range renewals { //nolint:revive // only the end counts
		}
		if ctx.Err() == nil {
			close(lost)
		}
	}()
	return catalog.LeaseID(granted.ID), lost, nil
}
