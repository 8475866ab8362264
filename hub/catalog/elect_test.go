package catalog_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/catalogtest"
)

func elect(t *testing.T, c catalog.Catalog, holder string) (lead context.Context, resign func()) {
	t.Helper()
	lead, resign, err := catalog.Elect(t.Context(), c, "folder", holder)
	if err != nil {
		t.Fatal(err)
	}
	return lead, resign
}

func holder(t *testing.T, c catalog.Catalog) string {
	t.Helper()
	r, err := c.Get(t.Context(), catalog.ElectedKey("folder"))
	if errors.Is(err, catalog.ErrNotFound) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Value)
}

func TestResigningLetsTheNextOneInAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := catalogtest.New()
		first, resign := elect(t, m, "hub-a")
		if holder(t, m) != "hub-a" {
			t.Fatalf("%q is elected", holder(t, m))
		}
		second := make(chan func())
		go func() {
			lead, resign := elect(t, m.Connect(), "hub-b")
			if lead.Err() != nil {
				t.Error("elected, and over already")
			}
			second <- resign
		}()
		time.Sleep(time.Hour)
		if first.Err() != nil || holder(t, m) != "hub-a" {
			t.Fatalf("after an hour the first is deposed: %v", context.Cause(first))
		}
		began := time.Now()
		resign()
		if first.Err() == nil {
			t.Error("resigned, but its context lives")
		}
		next := <-second
		if d := time.Since(began); d > time.Second {
			t.Errorf("the next one had to wait %v", d)
		}
		if holder(t, m) != "hub-b" {
			t.Errorf("%q is elected", holder(t, m))
		}
		next()
		if holder(t, m) != "" {
			t.Errorf("%q is elected after all resigned", holder(t, m))
		}
	})
}

func TestALeaderLearnsThatItIsNone(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(t *testing.T, m *catalogtest.Memory, c *catalogtest.Client)
		lost time.Duration
	}{
		{"when it is cut off for longer than the lease", func(_ *testing.T, _ *catalogtest.Memory, c *catalogtest.Client) { c.Cut(true) }, catalog.ElectionTTL + catalog.ElectionTTL/3},
		{"when its lease is gone", func(_ *testing.T, m *catalogtest.Memory, _ *catalogtest.Client) { m.Expire() }, time.Second},
		{"when somebody deletes the record", func(t *testing.T, m *catalogtest.Memory, _ *catalogtest.Client) {
			if _, err := m.Commit(t.Context(), catalog.Op{Key: catalog.ElectedKey("folder"), Delete: true}); err != nil {
				t.Error(err)
			}
		}, time.Second},
		{"when somebody else writes it", func(t *testing.T, m *catalogtest.Memory, _ *catalogtest.Client) {
			if _, err := m.Commit(t.Context(), catalog.Op{Key: catalog.ElectedKey("folder"), Value: []byte("hub-x")}); err != nil {
				t.Error(err)
			}
		}, time.Second},
		{"when the record went while it did not look", func(t *testing.T, m *catalogtest.Memory, c *catalogtest.Client) {
			c.Cut(true)
			if _, err := m.Commit(t.Context(), catalog.Op{Key: catalog.ElectedKey("folder"), Delete: true}); err != nil {
				t.Error(err)
			}
			m.Compact()
			c.Cut(false)
		}, time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := catalogtest.New()
				c := m.Connect()
				lead, resign := elect(t, c, "hub-a")
				defer resign()
				began := time.Now()
				row.do(t, m, c)
				<-lead.Done()
				if d := time.Since(began); d > row.lost {
					t.Errorf("it took %v to learn", d)
				}
				if !errors.Is(context.Cause(lead), catalog.ErrDeposed) {
					t.Errorf("cause %v, want ErrDeposed", context.Cause(lead))
				}
			})
		})
	}
}

func TestAnOfficeIsLeftWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := catalogtest.New()
		ctx, cancel := context.WithCancel(t.Context())
		lead, resign, err := catalog.Elect(ctx, m, "folder", "hub-a")
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-lead.Done()
		synctest.Wait()
		if holder(t, m) != "" {
			t.Errorf("%q is elected", holder(t, m))
		}
		resign()
		if _, _, err := catalog.Elect(ctx, m, "folder", "hub-a"); !errors.Is(err, context.Canceled) {
			t.Errorf("Elect with a context that is done = %v", err)
		}
	})
}

func TestElectWaitsForTheCatalog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := catalogtest.New()
		m.Fail(true)
		time.AfterFunc(time.Hour, func() { m.Fail(false) })
		_, resign := elect(t, m, "hub-a")
		resign()
	})
}

// Of many candidates one leads at a time, whatever happens to the leaders.
func TestOneLeadsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := catalogtest.New()
		ctx, cancel := context.WithCancel(t.Context())
		var (
			mu    sync.Mutex
			leads []context.Context
			wg    sync.WaitGroup
		)
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			c := m.Connect()
			wg.Go(func() {
				for ctx.Err() == nil {
					lead, resign, err := catalog.Elect(ctx, c, "folder", name)
					if err != nil {
						return
					}
					time.Sleep(time.Millisecond) // the overlap that Elect speaks of
					mu.Lock()
					for _, other := range leads {
						if other.Err() == nil && lead.Err() == nil {
							t.Errorf("%s leads beside another", name)
						}
					}
					leads = append(leads, lead)
					mu.Unlock()
					select {
					case <-lead.Done():
					case <-time.After(time.Minute):
					}
					resign()
				}
			})
		}
		for range 20 {
			time.Sleep(7 * time.Minute)
			m.Expire()
		}
		cancel()
		wg.Wait()
		if len(leads) < 100 {
			t.Errorf("only %d terms in 140 minutes", len(leads))
		}
	})
}
