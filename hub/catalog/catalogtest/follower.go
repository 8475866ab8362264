package catalogtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"penstock.dev/penstock/hub/catalog"
)

// Follower reads a watch in the background for a test, which asks for its events one by one. For one goroutine.
type Follower struct {
	// Last event that Next returned.
	Last catalog.Event
	// Synced: a listing is complete and no other has begun.
	Synced bool
	// Regressed of the last Resync.
	Regressed bool

	t      *testing.T
	events chan catalog.Event
}

// Follow begins a watch that ends with the test.
func Follow(t *testing.T, c catalog.Catalog, prefix string) *Follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	f := &Follower{t: t, events: make(chan catalog.Event, 1024)}
	go func() {
		defer close(f.events)
		for e := range c.Watch(ctx, prefix) {
			select {
			case f.events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range f.events { // until the watch has ended
		}
	})
	return f
}

// Next event but for Progress; the test fails if none comes.
func (f *Follower) Next() catalog.Event {
	f.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case e, ok := <-f.events:
			if !ok {
				f.t.Fatal("the watch ended")
			}
			switch e.Type {
			case catalog.Progress:
				continue
			case catalog.Resync:
				f.Synced, f.Regressed = false, e.Regressed
			case catalog.Synced:
				f.Synced = true
			}
			f.Last = e
			return e
		case <-timeout.C:
			f.t.Fatalf("no event in %v", patience)
		}
	}
}

// Want the next events: "Resync", "Put key=value", "Synced", "Delete key".
func (f *Follower) Want(want ...string) {
	f.t.Helper()
	for _, w := range want {
		if got := describe(f.Next()); got != w {
			f.t.Fatalf("event %s, want %s", got, w)
		}
	}
}

func describe(e catalog.Event) string {
	switch e.Type {
	case catalog.Put:
		return fmt.Sprintf("Put %s=%s", e.Record.Key, e.Record.Value)
	case catalog.Delete:
		return "Delete " + e.Record.Key
	}
	return e.Type.String()
}
