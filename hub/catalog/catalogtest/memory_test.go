package catalogtest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/catalogtest"
)

func TestMemoryHoldsToTheContract(t *testing.T) {
	catalogtest.ContractInBubble(t, func(*testing.T) catalogtest.Fixture {
		m := catalogtest.New()
		return catalogtest.Fixture{Catalog: m, Other: m.Connect(), Cut: m.Cut, Compact: m.Compact}
	})
}

func TestFailTakesTheStoreFromAllClients(t *testing.T) {
	m := catalogtest.New()
	other := m.Connect()
	m.Fail(true)
	for _, c := range []catalog.Catalog{m, other} {
		if _, err := c.Commit(t.Context(), catalog.Op{Key: "a", Value: []byte("1")}); !errors.Is(err, catalog.ErrUnavailable) {
			t.Errorf("Commit = %v, want ErrUnavailable", err)
		}
	}
	m.Fail(false)
	if _, err := other.Commit(t.Context(), catalog.Op{Key: "a", Value: []byte("1")}); err != nil {
		t.Errorf("Commit afterwards: %v", err)
	}
}

func TestMemoryInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := catalogtest.New()
		id, lost, err := m.Lease(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Commit(t.Context(), catalog.Op{Key: "held", Value: []byte("1"), Lease: id}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // kept all the while
		if _, err := m.Get(t.Context(), "held"); err != nil {
			t.Fatalf("Get after an hour: %v", err)
		}
		m.Cut(true)
		cut := time.Now()
		<-lost
		if d := time.Since(cut); d < 40*time.Second || d > 80*time.Second {
			t.Errorf("lease of a minute lost after %v", d)
		}
		m.Cut(false)
		if _, err := m.Get(t.Context(), "held"); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("Get = %v, want ErrNotFound", err)
		}
	})
}

func TestExpireEndsAllLeases(t *testing.T) {
	m := catalogtest.New()
	id, lost, err := m.Lease(t.Context(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Commit(t.Context(), catalog.Op{Key: "held", Value: []byte("1"), Lease: id}); err != nil {
		t.Fatal(err)
	}
	m.Expire()
	<-lost
	if _, err := m.Get(t.Context(), "held"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
}

// F-25
func TestARestoreIsToldToWatchers(t *testing.T) {
	m := catalogtest.New()
	if _, err := m.Commit(t.Context(), catalog.Op{Key: "a", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	backup := m.Snapshot()
	if _, err := m.Commit(t.Context(), catalog.Op{Key: "a", Value: []byte("2")}); err != nil {
		t.Fatal(err)
	}
	w := catalogtest.Follow(t, m, "")
	w.Want("Resync", "Put a=2", "Synced")
	m.Restore(backup)
	w.Want("Resync", "Put a=1", "Synced")
	if !w.Regressed {
		t.Error("Regressed is not set")
	}
}
