package etcd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"penstock.dev/penstock/hub/catalog"
)

const (
	// progressEvery is how often a watch asks for a sign of life, so that a reader knows how stale it may be.
	progressEvery = 5 * time.Second
	// silentAfter without any answer a watch is given up and begun again: it may hang at a member that is cut off, or
	// wait for a revision that a restored store will reach only some day.
	silentAfter = 3 * progressEvery
	// Pauses between tries double, with jitter.
	firstPause, longestPause = 50 * time.Millisecond, 5 * time.Second
)

var errRegressed = errors.New("the store went back in time or was replaced")

// Watch implements catalog.Catalog.
func (c *Catalog) Watch(ctx context.Context, prefix string) iter.Seq[catalog.Event] {
	return func(yield func(catalog.Event) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // also when the reader stops: the server's side of the watch ends with ctx
		w := &watch{c: c, prefix: prefix, yield: yield, resync: true}
		for failures := 0; ; {
			before := w.seen
			err := w.run(ctx)
			if ctx.Err() != nil || w.stopped {
				return
			}
			if w.seen != before {
				failures = 0
			}
			level := slog.LevelWarn
			if failures > 0 {
				level = slog.LevelDebug // said once
			}
			c.log.LogAttrs(ctx, level, "catalog watch interrupted, it goes on by itself", slog.String("prefix", prefix),
				slog.Int64("revision", w.seen), slog.Bool("afresh", w.resync), slog.Any("error", err))
			if !pause(ctx, failures) {
				return
			}
			failures++
		}
	}
}

// watch is the state of one reader over all reconnections.
type watch struct {
	c       *Catalog
	prefix  string
	yield   func(catalog.Event) bool
	stopped bool   // yield said so
	resync  bool   // a listing is due
	seen    int64  // everything up to this revision was yielded
	cluster uint64 // the etcd cluster that seen belongs to
}

// run lists if it is due and then follows the changes until something goes wrong.
func (w *watch) run(ctx context.Context) error {
	if w.resync {
		if err := w.list(ctx); err != nil || w.stopped {
			return err
		}
	}
	return w.follow(ctx)
}

func (w *watch) list(ctx context.Context) error {
	l, err := w.c.list(ctx, w.prefix)
	if err != nil {
		return err
	}
	w.emit(catalog.Event{Type: catalog.Resync, Regressed: w.isRegress(l.revision, l.cluster)})
	for _, r := range l.records {
		w.emit(catalog.Event{Type: catalog.Put, Record: r})
	}
	w.emit(catalog.Event{Type: catalog.Synced, Revision: l.revision})
	w.seen, w.cluster, w.resync = l.revision, l.cluster, false
	return nil
}

// isRegress judges the revision of a linearizable read.
func (w *watch) isRegress(revision int64, cluster uint64) bool {
	return w.cluster != 0 && (revision < w.seen || cluster != w.cluster)
}

var streams atomic.Uint64

func (w *watch) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A stream of its own: a progress request is answered only when every watch of the stream has caught up. A member
	// without a leader ends the watch rather than keep it waiting.
	ctx = metadata.AppendToOutgoingContext(ctx, "penstock-watch", strconv.FormatUint(streams.Add(1), 10))
	ctx = clientv3.WithRequireLeader(ctx)
	silence := time.AfterFunc(silentAfter, cancel)
	defer silence.Stop()
	ask := time.NewTicker(progressEvery)
	defer ask.Stop()

	// From the last revision seen, not from the next one: etcd answers no progress request of a watch that begins in the
	// future. take drops what is seen again.
	answers := w.c.client.Watch(ctx, w.c.prefix+w.prefix, clientv3.WithPrefix(), clientv3.WithRev(w.seen), clientv3.WithCreatedNotify())
	for {
		select {
		case answer, ok := <-answers:
			if !ok {
				return fmt.Errorf("%w: watch of %s: the stream ended", catalog.ErrUnavailable, w.prefix)
			}
			silence.Stop() // a slow reader is not a silent store
			if err := w.take(ctx, answer); err != nil || w.stopped {
				return err
			}
			silence.Reset(silentAfter)
		case <-ask.C:
			if err := w.c.client.RequestProgress(ctx); err != nil {
				return fmt.Errorf("%w: watch of %s: %w", catalog.ErrUnavailable, w.prefix, err)
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: watch of %s: no sign of life for %v", catalog.ErrUnavailable, w.prefix, silentAfter)
		}
	}
}

// take handles one answer of the server.
func (w *watch) take(ctx context.Context, answer clientv3.WatchResponse) error {
	if err := answer.Err(); err != nil {
		w.resync = errors.Is(err, rpctypes.ErrCompacted)
		return fmt.Errorf("watch of %s: %w", w.prefix, err)
	}
	revision := answer.Header.GetRevision()
	if cluster := answer.Header.GetClusterId(); cluster != w.cluster || revision < w.seen {
		if err := w.verify(ctx); err != nil {
			return err
		}
	}
	if answer.IsProgressNotify() && revision >= w.seen {
		w.seen = revision
		w.emit(catalog.Event{Type: catalog.Progress, Revision: revision})
	}
	for _, e := range answer.Events {
		record := w.c.record(e.Kv)
		switch {
		case record.Revision <= w.seen:
		case e.Type == mvccpb.DELETE:
			w.emit(catalog.Event{Type: catalog.Delete, Record: catalog.Record{Key: record.Key, Revision: record.Revision}})
		default:
			w.emit(catalog.Event{Type: catalog.Put, Record: record})
		}
	}
	if n := len(answer.Events); n > 0 {
		w.seen = max(w.seen, answer.Events[n-1].Kv.ModRevision) // an answer never splits a revision
	}
	return nil
}

// verify asks the quorum after one member showed a revision below seen, which alone proves nothing: it may lag behind.
func (w *watch) verify(ctx context.Context) error {
	ctx, call := begin(ctx)
	defer call.cancel()
	resp, err := w.c.client.Get(ctx, w.c.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return call.explain("watch of "+w.prefix, err)
	}
	if w.isRegress(resp.Header.GetRevision(), resp.Header.GetClusterId()) {
		w.resync = true
		return fmt.Errorf("watch of %s: %w", w.prefix, errRegressed)
	}
	return nil
}

func (w *watch) emit(e catalog.Event) {
	if !w.stopped && !w.yield(e) {
		w.stopped = true
	}
}

// pause waits and reports whether ctx still lives.
func pause(ctx context.Context, failures int) bool {
	d := min(firstPause<<min(failures, 10), longestPause)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d/2 + rand.N(d/2+1)):
		return true
	}
}
