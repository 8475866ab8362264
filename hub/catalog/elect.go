package catalog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// ElectionTTL is how long a holder that vanished without a word still counts.
const ElectionTTL = 10 * time.Second

// ErrDeposed is the cause (context.Cause) of a leader's context that ended because the office was lost.
var ErrDeposed = errors.New("catalog: election lost")

// Elect waits until holder holds the office name, or ctx is done. lead lives while it does: it ends with ctx, with
// resign, and with cause ErrDeposed when the lease or the record is gone. resign gives the office up at once, so that the
// next one need not wait for the lease, and returns when that is done; call it always.
//
// A holder cut off from the store learns of its loss by its own clock, about when the next one is let in. So work done
// in office must stand a short overlap: give its writes conditions, as Objects does.
func Elect(ctx context.Context, c Catalog, name, holder string) (lead context.Context, resign func(), err error) {
	for try := 0; ; try++ {
		if err := vacant(ctx, c, ElectedKey(name)); err != nil {
			return nil, nil, fmt.Errorf("catalog: elect %s: %w", name, err)
		}
		lead, resign, err := take(ctx, c, name, holder)
		if err == nil {
			return lead, resign, nil
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
			return nil, nil, fmt.Errorf("catalog: elect %s: %w", name, err)
		}
		if err := pause(ctx, try); err != nil {
			return nil, nil, fmt.Errorf("catalog: elect %s: %w", name, err)
		}
	}
}

// vacant waits until key does not exist.
func vacant(ctx context.Context, c Catalog, key string) error {
	held := false
	for e := range c.Watch(ctx, key) {
		switch {
		case e.Type == Resync:
			held = false
		case e.Type == Put && e.Record.Key == key:
			held = true
		case e.Type == Delete && e.Record.Key == key:
			return nil
		case e.Type == Synced && !held:
			return nil
		}
	}
	return ctx.Err()
}

// take makes a lease and the record, and starts what ends the office. ErrConflict: somebody else was quicker.
func take(ctx context.Context, c Catalog, name, holder string) (context.Context, func(), error) {
	key := ElectedKey(name)
	leaseCtx, release := context.WithCancel(context.WithoutCancel(ctx))
	lease, lost, err := c.Lease(leaseCtx, ElectionTTL)
	if err != nil {
		release()
		return nil, nil, err
	}
	revision, err := c.Commit(ctx, Op{Key: key, Value: []byte(holder), If: Absent, Lease: lease})
	if err != nil {
		release()
		return nil, nil, err
	}
	lead, end := context.WithCancelCause(ctx)
	var office sync.WaitGroup
	office.Go(func() {
		ours := false
		for e := range c.Watch(lead, key) {
			switch {
			case e.Type == Resync:
				ours = false
			case e.Type == Put && e.Record.Key == key:
				ours = e.Record.Revision == revision
			case e.Type == Delete && e.Record.Key == key, e.Type == Synced && !ours:
				end(ErrDeposed)
			}
		}
	})
	office.Go(func() {
		select {
		case <-lost:
			end(ErrDeposed)
		case <-lead.Done():
		}
		// Also when ctx is done: leave the office empty rather than on a lease nobody renews.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), ElectionTTL/2)
		defer cancel()
		_, _ = c.Commit(last, Op{Key: key, Delete: true, If: revision}) // if this fails the lease ends it
		release()
	})
	return lead, func() { end(context.Canceled); office.Wait() }, nil
}

// pause waits 50 ms, doubling up to 5 s, half of it by chance.
func pause(ctx context.Context, try int) error {
	d := min(50*time.Millisecond<<min(try, 10), 5*time.Second)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d/2 + rand.N(d/2+1)):
		return nil
	}
}
