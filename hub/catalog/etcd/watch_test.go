package etcd

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"penstock.dev/penstock/hub/catalog"
)

// scripted is an etcd whose every answer the test gives, for what a real one does only in bad moments. Real ones are under
// test in hub/catalog/embedded.
type scripted struct {
	clientv3.KV
	clientv3.Watcher
	mu       sync.Mutex
	revision int64 // of the quorum
	cluster  uint64
	err      error
	lists    int
	asked    int // for progress
	watches  chan *scriptedWatch
}

type scriptedWatch struct {
	from    int64
	ctx     context.Context
	answers chan clientv3.WatchResponse
}

func newScripted() (*scripted, *Catalog) {
	s := &scripted{revision: 10, cluster: 1, watches: make(chan *scriptedWatch, 100)}
	client := clientv3.NewCtxClient(context.Background())
	client.KV, client.Watcher = s, s
	return s, New(client, "/p", nil)
}

// set changes fields.
func (s *scripted) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *scripted) Get(_ context.Context, _ string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	resp := &clientv3.GetResponse{Header: s.header(s.revision)}
	if op := clientv3.OpGet("x", opts...); !op.IsCountOnly() {
		s.lists++
		resp.Kvs = []*mvccpb.KeyValue{{Key: []byte("/p/a"), Value: fmt.Append(nil, s.lists), ModRevision: s.revision}}
	}
	return resp, nil
}

func (s *scripted) Watch(ctx context.Context, _ string, opts ...clientv3.OpOption) clientv3.WatchChan {
	op := clientv3.OpGet("x", opts...)
	w := &scriptedWatch{from: op.Rev(), ctx: ctx, answers: make(chan clientv3.WatchResponse, 100)}
	s.watches <- w
	return w.answers
}

func (s *scripted) RequestProgress(context.Context) error {
	s.set(func() { s.asked++ })
	return nil
}

func (s *scripted) header(revision int64) *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: s.cluster, Revision: revision}
}

func (s *scripted) created(revision int64) clientv3.WatchResponse {
	return clientv3.WatchResponse{Header: s.header(revision), Created: true}
}

func (s *scripted) progress(revision int64) clientv3.WatchResponse {
	return clientv3.WatchResponse{Header: s.header(revision)}
}

func (s *scripted) puts(revisions ...int64) clientv3.WatchResponse {
	r := clientv3.WatchResponse{Header: s.header(revisions[len(revisions)-1])}
	for _, revision := range revisions {
		r.Events = append(r.Events, &clientv3.Event{Kv: &mvccpb.KeyValue{Key: []byte("/p/b"), Value: fmt.Append(nil, revision), ModRevision: revision}})
	}
	return r
}

// reading is a reader of a watch whose events are collected as text.
type reading struct {
	mu     sync.Mutex
	events []string
	slow   time.Duration
}

func read(t *testing.T, c *Catalog) *reading {
	r := &reading{}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for e := range c.Watch(ctx, "") {
			text := e.Type.String()
			switch e.Type {
			case catalog.Put:
				text = fmt.Sprintf("Put %s=%s", e.Record.Key, e.Record.Value)
			case catalog.Synced, catalog.Progress:
				text = fmt.Sprintf("%s %d", text, e.Revision)
			case catalog.Resync:
				if e.Regressed {
					text = "Regressed"
				}
			}
			r.mu.Lock()
			r.events = append(r.events, text)
			slow := r.slow
			r.mu.Unlock()
			time.Sleep(slow)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

// want takes what was read so far.
func (r *reading) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := strings.Join(r.events, ", "); got != strings.Join(want, ", ") {
		t.Errorf("read %s; want %s", got, strings.Join(want, ", "))
	}
	r.events = nil
}

func (r *reading) pace(slow time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow = slow
}

func bubble(name string, t *testing.T, f func(t *testing.T, s *scripted, c *Catalog)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, c := newScripted()
			f(t, s, c)
		})
	})
}

func TestWatch(t *testing.T) {
	bubble("asks for a sign of life and passes it on", t, func(t *testing.T, s *scripted, c *Catalog) {
		r := read(t, c)
		w := <-s.watches
		w.answers <- s.created(10)
		r.want(t, "Resync", "Put a=1", "Synced 10")
		if w.from != 10 {
			t.Errorf("the watch begins at %d, want 10", w.from)
		}
		time.Sleep(progressEvery)
		synctest.Wait()
		if s.asked != 1 {
			t.Errorf("asked %d times", s.asked)
		}
		w.answers <- s.progress(17)
		r.want(t, "Progress 17")
	})

	bubble("goes on where it was after a silence, and repeats nothing", t, func(t *testing.T, s *scripted, c *Catalog) {
		r := read(t, c)
		first := <-s.watches
		first.answers <- s.created(10)
		first.answers <- s.puts(11, 12)
		r.want(t, "Resync", "Put a=1", "Synced 10", "Put b=11", "Put b=12")
		began := time.Now()
		second := <-s.watches
		if d := time.Since(began); d < silentAfter || d > silentAfter+longestPause {
			t.Errorf("took %v to give up, want %v", d, silentAfter)
		}
		if first.ctx.Err() == nil {
			t.Error("the silent watch was left open")
		}
		second.answers <- s.created(13)
		second.answers <- s.puts(12, 13)
		r.want(t, "Put b=13")
		if second.from != 12 || s.lists != 1 {
			t.Errorf("the second watch begins at %d after %d lists, want 12 and 1", second.from, s.lists)
		}
	})

	bubble("lists afresh after a compaction", t, func(t *testing.T, s *scripted, c *Catalog) {
		r := read(t, c)
		(<-s.watches).answers <- clientv3.WatchResponse{Header: s.header(20), CompactRevision: 15, Canceled: true}
		r.want(t, "Resync", "Put a=1", "Synced 10")
		s.set(func() { s.revision = 20 })
		<-s.watches
		r.want(t, "Resync", "Put a=2", "Synced 20")
	})

	bubble("does not take a member that lags for a restore", t, func(t *testing.T, s *scripted, c *Catalog) {
		r := read(t, c)
		w := <-s.watches
		w.answers <- s.created(8)
		w.answers <- s.puts(11)
		r.want(t, "Resync", "Put a=1", "Synced 10", "Put b=11")
		if len(s.watches) > 0 {
			t.Error("the watch was begun again")
		}
	})

	bubble("says that the store went back", t, func(t *testing.T, s *scripted, c *Catalog) {
		r := read(t, c)
		w := <-s.watches
		s.set(func() { s.revision = 7 })
		w.answers <- s.created(7)
		<-s.watches
		r.want(t, "Resync", "Put a=1", "Synced 10", "Regressed", "Put a=2", "Synced 7")
	})

	bubble("says that it is another store", t, func(t *testing.T, s *scripted, c *Catalog) {
		r := read(t, c)
		w := <-s.watches
		s.set(func() { s.cluster, s.revision = 2, 500 })
		w.answers <- s.puts(500)
		<-s.watches
		r.want(t, "Resync", "Put a=1", "Synced 10", "Regressed", "Put a=2", "Synced 500")
	})

	bubble("does not take a slow reader for a silent store", t, func(t *testing.T, s *scripted, c *Catalog) {
		r := read(t, c)
		w := <-s.watches
		r.want(t, "Resync", "Put a=1", "Synced 10")
		r.pace(2 * silentAfter)
		w.answers <- s.puts(11, 12)
		time.Sleep(4 * silentAfter)
		r.pace(0)
		w.answers <- s.puts(13)
		r.want(t, "Put b=11", "Put b=12", "Put b=13")
		if len(s.watches) > 0 {
			t.Error("the watch was begun again")
		}
	})

	bubble("waits for a store that is away, with pauses, and says so once", t, func(t *testing.T, s *scripted, c *Catalog) {
		var log bytes.Buffer
		c.log = slog.New(slog.NewTextHandler(&log, nil))
		s.set(func() { s.err = rpctypes.ErrNoLeader })
		r := read(t, c)
		time.Sleep(10 * time.Minute)
		r.want(t)
		s.set(func() { s.err = nil })
		<-s.watches
		r.want(t, "Resync", "Put a=1", "Synced 10")
		if n := strings.Count(log.String(), "interrupted"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, &log)
		}
	})

	bubble("begins again when a member has no leader", t, func(t *testing.T, s *scripted, c *Catalog) {
		r := read(t, c)
		close((<-s.watches).answers)
		w := <-s.watches
		w.answers <- s.puts(11)
		r.want(t, "Resync", "Put a=1", "Synced 10", "Put b=11")
	})
}
