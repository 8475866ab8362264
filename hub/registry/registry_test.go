package registry

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewRefuses(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		w.replica("hub-0") // the catalog has its CA
		for _, tt := range []struct {
			name   string
			change func(*Config)
			want   string // in the error; empty: none
		}{
			{"nothing when all is well", func(*Config) {}, ""},
			{"a missing catalog", func(c *Config) { c.Catalog = nil }, "needs Catalog"},
			{"a missing sealer", func(c *Config) { c.Sealer = nil }, "needs Catalog, Sealer"},
			{"missing objects", func(c *Config) { c.Objects = nil }, "Objects"},
			{"a replica without a name", func(c *Config) { c.Name = "" }, "replica name"},
			{"a replica name with a slash", func(c *Config) { c.Name = "a/b" }, "replica name"},
			{"no trust domain", func(c *Config) { c.TrustDomain = "" }, "not a trust domain"},
			{"a trust domain with a path", func(c *Config) { c.TrustDomain = "example.com/x" }, "not a trust domain"},
			{"a trust domain in upper case", func(c *Config) { c.TrustDomain = "Example.com" }, "not a trust domain"},
			{"the trust domain of another catalog", func(c *Config) { c.TrustDomain = "example.org" }, "cannot be opened"},
			{"another key ring", func(c *Config) { c.Sealer = newSealer(t) }, "key ring"},
			{"a life of a second", func(c *Config) { c.Life = time.Second }, "life"},
			{"a life of a year", func(c *Config) { c.Life = 365 * 24 * hour }, "life"},
		} {
			cfg := Config{
				Catalog: w.catalog, Sealer: w.sealer, Objects: catalog.NewObjects(w.catalog), TrustDomain: "example.com", Name: "hub-1",
				Log: slog.New(slog.NewTextHandler(w.log, nil)),
			}
			tt.change(&cfg)
			_, err := New(t.Context(), cfg)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: New error = %v, want %q in it", tt.name, err, tt.want)
			}
		}
		w.catalog.Fail(true)
		defer w.catalog.Fail(false)
		_, err := New(t.Context(), Config{
			Catalog: w.catalog, Sealer: w.sealer, Objects: catalog.NewObjects(w.catalog), TrustDomain: "example.com", Name: "hub-1",
			Log: slog.New(slog.NewTextHandler(w.log, nil)),
		})
		wantCode(t, "New without a catalog", err, Unavailable)
	})
}

func TestReplicasFoundOneCA(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		hubs := make([]*Registry, 5)
		var wg sync.WaitGroup
		for i := range hubs {
			wg.Go(func() { hubs[i] = w.replica("hub-" + string(rune('0'+i))) })
		}
		wg.Wait()
		domain, current, previous, err := hubs[0].HopKeys()
		if err != nil || len(domain) != 32 || len(current) != 32 || previous != nil || bytes.Equal(domain, current) {
			t.Errorf("HopKeys have %d, %d and %d bytes (%v), want two different keys of 32", len(domain), len(current), len(previous), err)
		}
		for i, r := range hubs {
			d, c, _, err := r.HopKeys()
			if err != nil || r.Pin() != hubs[0].Pin() || r.Group() != hubs[0].Group() || r.RootsPEM() != hubs[0].RootsPEM() ||
				!bytes.Equal(d, domain) || !bytes.Equal(c, current) {
				t.Errorf("replica %d has a CA, group or keys of its own (%v)", i, err)
			}
		}
		recs, _, err := w.catalog.List(t.Context(), catalog.CAPrefix)
		if err != nil || len(recs) != 1 {
			t.Errorf("%d CA records, %v, want 1", len(recs), err)
		}
	})
}

func TestMACKeyIsRotatedDailyByTheElected(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		var elected atomic.Bool
		r := w.run(w.replica("hub-0", func(c *Config) { c.Elected = elected.Load }))
		other := w.run(w.replica("hub-1", func(c *Config) { c.Elected = func() bool { return false } }))
		keys := func(r *Registry) [3]string {
			t.Helper()
			d, c, p, err := r.HopKeys()
			if err != nil {
				t.Fatal(err)
			}
			w.secret("CDN-Loop key", string(c))
			return [3]string{string(d), string(c), string(p)}
		}
		day0 := keys(r)
		pass(25 * hour)
		if keys(r) != day0 {
			t.Fatal("the key was rotated although nobody is elected")
		}
		elected.Store(true)
		var told atomic.Int32
		other.OnChange(func() { told.Add(1) })
		pass(2 * time.Minute)
		day1 := keys(r)
		if day1[0] != day0[0] || day1[1] == day0[1] || day1[2] != day0[1] {
			t.Error("after a day: want the same domain key, a new current key, and the old one as the previous")
		}
		pass(23 * hour)
		if keys(r) != day1 {
			t.Error("the key was rotated twice in a day")
		}
		pass(2 * hour)
		day2 := keys(r)
		if day2[1] == day1[1] || day2[2] != day1[1] {
			t.Error("after two days: want a new current key, and the one before as the previous")
		}
		synctest.Wait()
		if keys(other) != day2 || told.Load() == 0 {
			t.Errorf("the other replica has other keys, or was not told (%d times)", told.Load())
		}
	})
}

func TestHubsAreAdvertised(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r, other := w.run(w.replica("hub-0")), w.run(w.replica("hub-1"))
		a := control.Hub{Name: "hub-0", Address: "192.0.2.1:8443", Zone: "a"}
		b := control.Hub{Name: "hub-1", Address: "192.0.2.2:8443"}
		advertise := func(r *Registry, h control.Hub) (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Advertise(ctx, h) }()
			synctest.Wait()
			return func() {
				cancel()
				if err := <-done; err != nil {
					t.Errorf("Advertise: %v", err)
				}
				synctest.Wait()
			}
		}
		wantHubs := func(what string, want ...control.Hub) {
			t.Helper()
			if got := other.Hubs(); !cmp.Equal(got, append([]control.Hub{}, want...)) {
				t.Errorf("%s: Hubs = %v, want %v", what, got, want)
			}
		}
		if err := r.Advertise(t.Context(), control.Hub{Name: "hub-0"}); codeOf(err) != BadRequest {
			t.Errorf("Advertise without address = %v, want BadRequest", err)
		}
		wantHubs("at first")
		stopB := advertise(other, b)
		stopA := advertise(r, a)
		wantHubs("with both", a, b)
		if g := w.join(r, w.register(r, "east"), "pod-1"); !cmp.Equal(g.last.Hubs, []control.Hub{a, b}) {
			t.Errorf("a gateway that joins is told of %v", g.last.Hubs)
		}
		pass(hour)
		wantHubs("an hour later", a, b)
		w.catalog.Expire()
		synctest.Wait()
		pass(2 * time.Second)
		wantHubs("after the leases were lost", a, b)
		// A restarted hub takes its name over, and its former self must not take it away.
		moved := control.Hub{Name: "hub-0", Address: "192.0.2.9:8443"}
		stopMoved := advertise(r, moved)
		stopA()
		wantHubs("after a restart", moved, b)
		stopMoved()
		wantHubs("at once after a stop", b)
		w.catalog.Fail(true)
		stopB()
		pass(hour)
		w.catalog.Fail(false)
		pass(replicaTTL)
		synctest.Wait()
		wantHubs("after a stop that the catalog did not hear of")
	})
}

func TestWhatIsOverIsDeleted(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		g := w.join(r, w.register(r, "east"), "pod-1")
		count := func() [3]int {
			t.Helper()
			var n [3]int
			for i, prefix := range []string{catalog.TokensPrefix, catalog.SerialsPrefix, catalog.InstancesPrefix} {
				recs, _, err := w.catalog.List(t.Context(), prefix)
				if err != nil {
					t.Fatal(err)
				}
				n[i] = len(recs)
			}
			return n
		}
		for range 300 { // more than fit into one commit
			if err := g.renew(r); err != nil {
				t.Fatal(err)
			}
		}
		// What a newer release wrote is not ours to delete.
		if _, err := w.catalog.Commit(t.Context(), catalog.Op{Key: catalog.TokenKey("x"), Value: []byte("new")}); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			after time.Duration
			want  [3]int // tokens, serials, instances
		}{
			{0, [3]int{2, 301, 1}},
			{59 * time.Minute, [3]int{2, 301, 1}},
			{30 * time.Minute, [3]int{2, 0, 1}},
			{24 * hour, [3]int{1, 0, 1}},
			{7*24*hour - 26*hour, [3]int{1, 0, 1}},
			{3 * hour, [3]int{1, 0, 0}},
		} {
			pass(step.after)
			if got := count(); got != step.want {
				t.Errorf("%s later: tokens, serials, instances = %v, want %v", step.after, got, step.want)
			}
		}
		_, err := r.Reissue(t.Context(), g.recoverRequest(newKey(t)))
		wantCode(t, "Reissue when all is over", err, WindowPassed)
	})
}

// TB6: an old backup must revive nobody, and cost nobody who joined since.
func TestARestoredCatalogIsBroughtUpToDate(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		hubs := []*Registry{w.run(w.replica("hub-0")), w.run(w.replica("hub-1"))}
		r := hubs[0]
		revokedLater := w.join(r, w.register(r, "revoked"), "pod-1")
		suspendedLater := w.join(r, w.register(r, "suspended"), "pod-1")
		lockedLater := w.join(r, w.register(r, "locked"), "pod-1")
		untouched := w.join(r, w.register(r, "untouched"), "pod-1")
		w.apply(t, "later", `{"spec":{}}`)
		backup := w.catalog.Snapshot()

		pass(time.Minute)
		if err := r.Revoke(t.Context(), "revoked"); err != nil {
			t.Fatal(err)
		}
		if err := r.Suspend(t.Context(), "suspended"); err != nil {
			t.Fatal(err)
		}
		clone := lockedLater.clone()
		if err := lockedLater.renew(r); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "the clone's renewal", clone.renew(r), InstanceLocked)
		joinedLater := w.join(r, w.register(r, "later"), "pod-1")
		synctest.Wait()

		w.catalog.Restore(backup)
		synctest.Wait()
		fresh := w.replica("hub-2") // knows only what is in the catalog now
		for _, r := range append(hubs, fresh) {
			wantStanding(t, "revoked since the backup", r, revokedLater.peer(), false)
			wantStanding(t, "suspended since the backup", r, suspendedLater.peer(), false)
			wantStanding(t, "locked since the backup", r, lockedLater.peer(), false)
			wantStanding(t, "joined since the backup", r, joinedLater.peer(), true)
			wantStanding(t, "untouched since the backup", r, untouched.peer(), true)
		}
		// And the watch goes on from there.
		if err := fresh.Resume(t.Context(), "suspended"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, r := range hubs {
			wantStanding(t, "resumed after the restore", r, suspendedLater.peer(), true)
		}
	})
}

func TestAnUnreadableRecordIsRefused(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		p := w.join(r, w.register(r, "east"), "pod-1").peer()
		if _, err := w.catalog.Commit(t.Context(), catalog.Op{Key: catalog.ClusterKey("east"), Value: []byte("{")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantStanding(t, "a gateway of an unreadable cluster", r, p, false)
	})
}

func TestErrorsSayWhatToDo(t *testing.T) {
	err := &Error{Code: Unavailable, Message: "list tokens", Remedy: "try again", Err: catalog.ErrUnavailable}
	if got, want := err.Error(), "registry: list tokens: catalog: unavailable; try again"; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
}
