package catalogtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/hub/catalog"
)

// shortest lease that every store keeps as it is.
const leaseTTL = 2 * time.Second

func watch(ctx context.Context, t *testing.T, f Fixture) {
	put(ctx, t, f.Catalog, "a", "1")
	b := put(ctx, t, f.Catalog, "b", "1")
	w := Follow(t, f.Catalog, "")
	w.Want("Resync", "Put a=1", "Put b=1", "Synced")
	if w.Last.Revision < b {
		t.Errorf("Synced at revision %d, want at least %d", w.Last.Revision, b)
	}
	put(ctx, t, f.Catalog, "a", "2")
	w.Want("Put a=2")
	gone := commit(ctx, t, f.Other, catalog.Op{Key: "a", Delete: true})
	w.Want("Delete a")
	if w.Last.Record.Revision != gone {
		t.Errorf("Delete at revision %d, want %d", w.Last.Record.Revision, gone)
	}
	put(ctx, t, f.Catalog, "a", "3")
	w.Want("Put a=3")
}

func watchPrefix(ctx context.Context, t *testing.T, f Fixture) {
	put(ctx, t, f.Catalog, "b", "0")
	put(ctx, t, f.Catalog, "b/1", "0")
	w := Follow(t, f.Catalog, "b/")
	w.Want("Resync", "Put b/1=0", "Synced")
	put(ctx, t, f.Catalog, "b", "1")
	put(ctx, t, f.Catalog, "ba", "1")
	put(ctx, t, f.Catalog, "b/2", "1")
	w.Want("Put b/2=1")
}

func watchOrder(ctx context.Context, t *testing.T, f Fixture) {
	put(ctx, t, f.Catalog, "z", "0")
	w := Follow(t, f.Catalog, "")
	w.Want("Resync", "Put z=0", "Synced")
	revision := commit(ctx, t, f.Catalog,
		catalog.Op{Key: "m", Value: []byte("1")}, catalog.Op{Key: "z", Delete: true}, catalog.Op{Key: "a", Value: []byte("1")})
	for _, want := range []string{"Put m=1", "Delete z", "Put a=1"} {
		w.Want(want)
		if w.Last.Record.Revision != revision {
			t.Errorf("%s at revision %d, want %d", want, w.Last.Record.Revision, revision)
		}
	}
}

// watchGapless begins watches while somebody writes without pause: each must end up with the same state.
func watchGapless(ctx context.Context, t *testing.T, f Fixture) {
	const writes, keys = 200, 7
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range writes {
			if _, err := f.Other.Commit(ctx, catalog.Op{Key: fmt.Sprintf("k%d", i%keys), Value: fmt.Append(nil, i)}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	var watches []*Follower
	for range 5 {
		watches = append(watches, Follow(t, f.Catalog, "k"))
	}
	<-written
	want := map[string]string{}
	for i := range writes {
		want[fmt.Sprintf("k%d", i%keys)] = fmt.Sprint(i)
	}
	for _, w := range watches {
		state := map[string]string{}
		var last int64
		for !cmp.Equal(state, want) {
			e := w.Next()
			switch {
			case e.Type == catalog.Put && w.Synced && e.Record.Revision <= last:
				t.Fatalf("revision %d after %d", e.Record.Revision, last)
			case e.Type == catalog.Put:
				state[e.Record.Key] = string(e.Record.Value)
				last = max(last, e.Record.Revision)
			case e.Type == catalog.Synced:
				last = max(last, e.Revision)
			}
		}
	}
}

func watchEnds(ctx context.Context, t *testing.T, f Fixture) {
	put(ctx, t, f.Catalog, "a", "1")
	for e := range f.Catalog.Watch(ctx, "") { // a reader that has had enough
		if e.Type == catalog.Put {
			break
		}
	}
	ending, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	synced := make(chan struct{})
	go func() {
		defer close(ended)
		for e := range f.Catalog.Watch(ending, "") {
			if e.Type == catalog.Synced {
				close(synced)
			}
		}
	}()
	wait(ctx, t, synced, "the watch was synced")
	end()
	wait(ctx, t, ended, "the watch ended")
	for e := range f.Catalog.Watch(ending, "") {
		t.Errorf("a watch that began after its end yielded %v", e.Type)
	}
}

func watchProgress(ctx context.Context, t *testing.T, f Fixture) {
	revision := put(ctx, t, f.Catalog, "a", "1")
	for e := range f.Catalog.Watch(ctx, "") {
		if e.Type == catalog.Progress {
			if e.Revision < revision {
				t.Errorf("Progress at revision %d, want at least %d", e.Revision, revision)
			}
			return
		}
	}
	t.Error("the watch ended without Progress")
}

func leaseEnds(ctx context.Context, t *testing.T, f Fixture) {
	holder, leave := context.WithCancel(ctx)
	id, lost, err := f.Catalog.Lease(holder, leaseTTL)
	if err != nil {
		t.Fatal(err)
	}
	commit(ctx, t, f.Catalog, catalog.Op{Key: "held", Value: []byte("1"), If: catalog.Absent, Lease: id}, catalog.Op{Key: "kept", Value: []byte("1")})
	w := Follow(t, f.Other, "")
	w.Want("Resync", "Put held=1", "Put kept=1", "Synced")
	leave()
	w.Want("Delete held")
	select {
	case <-lost:
		t.Error("lost is closed, although the holder left by itself")
	default:
	}
}

func leaseKept(ctx context.Context, t *testing.T, f Fixture) {
	id, lost, err := f.Catalog.Lease(ctx, leaseTTL)
	if err != nil {
		t.Fatal(err)
	}
	commit(ctx, t, f.Catalog, catalog.Op{Key: "held", Value: []byte("1"), Lease: id})
	// A lease of the same length whose holder leaves now measures the time.
	measure, leave := context.WithCancel(ctx)
	other, _, err := f.Catalog.Lease(measure, 2*leaseTTL)
	if err != nil {
		t.Fatal(err)
	}
	commit(ctx, t, f.Catalog, catalog.Op{Key: "measure", Value: []byte("1"), Lease: other})
	w := Follow(t, f.Catalog, "")
	w.Want("Resync", "Put held=1", "Put measure=1", "Synced")
	leave()
	w.Want("Delete measure")
	select {
	case <-lost:
		t.Error("the lease is lost, although its holder lives")
	default:
	}
}

func leaseGone(ctx context.Context, t *testing.T, f Fixture) {
	_, err := f.Catalog.Commit(ctx, catalog.Op{Key: "a", Value: []byte("1"), Lease: 4711})
	if !errors.Is(err, catalog.ErrLeaseLost) {
		t.Errorf("Commit on a lease that never was = %v, want ErrLeaseLost", err)
	}
}

func unavailable(ctx context.Context, t *testing.T, f Fixture) {
	put(ctx, t, f.Catalog, "a", "1")
	f.Cut(true)
	var calls sync.WaitGroup // at once: each may take its time to give up
	for name, call := range map[string]func() error{
		"Get":    func() error { _, err := f.Catalog.Get(ctx, "a"); return err },
		"List":   func() error { _, _, err := f.Catalog.List(ctx, ""); return err },
		"Commit": func() error { _, err := f.Catalog.Commit(ctx, catalog.Op{Key: "b", Value: []byte("1")}); return err },
		"Lease":  func() error { _, _, err := f.Catalog.Lease(ctx, leaseTTL); return err },
	} {
		calls.Go(func() {
			if err := call(); !errors.Is(err, catalog.ErrUnavailable) {
				t.Errorf("%s = %v, want ErrUnavailable", name, err)
			}
		})
	}
	calls.Wait()
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := f.Catalog.Get(canceled, "a"); !errors.Is(err, context.Canceled) || errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("Get with a context that is done = %v, want context.Canceled", err)
	}
	f.Cut(false)
	back(ctx, t, f.Catalog)
}

func watchResumes(ctx context.Context, t *testing.T, f Fixture) {
	put(ctx, t, f.Catalog, "a", "1")
	w := Follow(t, f.Catalog, "")
	w.Want("Resync", "Put a=1", "Synced")
	f.Cut(true)
	put(ctx, t, f.Other, "a", "2")
	put(ctx, t, f.Other, "b", "1")
	commit(ctx, t, f.Other, catalog.Op{Key: "a", Delete: true})
	f.Cut(false)
	w.Want("Put a=2", "Put b=1", "Delete a")
	put(ctx, t, f.Other, "c", "1")
	w.Want("Put c=1")
}

// F-24: what was deleted meanwhile is missing from the fresh listing, so nobody takes it for alive.
func watchResyncs(ctx context.Context, t *testing.T, f Fixture) {
	for i := range 20 {
		put(ctx, t, f.Catalog, fmt.Sprintf("k%02d", i), "1")
	}
	w := Follow(t, f.Catalog, "")
	for !w.Synced {
		w.Next()
	}
	f.Cut(true)
	var want []string
	for i := range 20 {
		key := fmt.Sprintf("k%02d", i)
		if i%2 == 0 {
			commit(ctx, t, f.Other, catalog.Op{Key: key, Delete: true})
		} else {
			want = append(want, "Put "+key+"=1")
		}
	}
	f.Compact()
	put(ctx, t, f.Other, "new", "1")
	f.Cut(false)
	w.Want(slices.Concat([]string{"Resync"}, want, []string{"Put new=1", "Synced"})...)
	if w.Regressed {
		t.Error("Regressed is set, although the store went on")
	}
	put(ctx, t, f.Other, "after", "1")
	w.Want("Put after=1")
}

func leaseLost(ctx context.Context, t *testing.T, f Fixture) {
	id, lost, err := f.Catalog.Lease(ctx, leaseTTL)
	if err != nil {
		t.Fatal(err)
	}
	commit(ctx, t, f.Catalog, catalog.Op{Key: "held", Value: []byte("1"), Lease: id})
	w := Follow(t, f.Other, "")
	w.Want("Resync", "Put held=1", "Synced")
	f.Cut(true)
	wait(ctx, t, lost, "the holder learned of it")
	w.Want("Delete held")
	f.Cut(false)
	back(ctx, t, f.Catalog)
	if _, err := f.Catalog.Commit(ctx, catalog.Op{Key: "held", Value: []byte("2"), Lease: id}); !errors.Is(err, catalog.ErrLeaseLost) {
		t.Errorf("Commit on a lost lease = %v, want ErrLeaseLost", err)
	}
}

// back waits until the store answers again.
func back(ctx context.Context, t *testing.T, c catalog.Catalog) {
	t.Helper()
	for {
		_, _, err := c.List(ctx, "")
		if err == nil {
			return
		}
		if !errors.Is(err, catalog.ErrUnavailable) {
			t.Fatalf("List = %v, want ErrUnavailable or none", err)
		}
		select {
		case <-ctx.Done():
			t.Fatal("the store did not come back")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func wait(ctx context.Context, t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-ctx.Done():
		t.Fatalf("waited in vain until %s", what)
	}
}
