package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/catalogtest"
)

// house is a store, a catalog in memory that can fail, and a vault that follows it.
type house struct {
	store  *Store
	memory *catalogtest.Memory
	ring   *Keyring
	vault  *Vault
	client *catalogtest.Client
	log    *bytes.Buffer
}

var bearer = Spec{Ref: "ai/key", Kind: Bearer, Hosts: hosts}

func newHouse(t *testing.T, specs ...Spec) *house {
	t.Helper()
	h := &house{log: &bytes.Buffer{}}
	h.store, h.memory, h.ring = newStore(t)
	h.client = h.memory.Connect()
	h.vault = NewVault(h.client, h.ring, slog.New(slog.NewTextHandler(h.log, nil)))
	if err := h.vault.Use(specs); err != nil {
		t.Fatal(err)
	}
	return h
}

// run follows the catalog until the test ends.
func (h *house) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error)
	go func() { ended <- h.vault.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	synctest.Wait()
}

func (h *house) sent(t *testing.T, ref string) (string, error) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/", nil)
	_, err := h.vault.Apply(req, ref, "api.example.com")
	return req.Header.Get("Authorization"), err
}

// want that requests carry value; empty: that they are refused.
func (h *house) want(t *testing.T, when, value string) {
	t.Helper()
	synctest.Wait()
	got, err := h.sent(t, "ai/key")
	switch {
	case value == "" && (!errors.Is(err, ErrNoValue) || got != "" || h.vault.Fault("ai/key") == nil):
		t.Errorf("%s: sent %q, %v, fault %v; want ErrNoValue and its reason", when, got, err, h.vault.Fault("ai/key"))
	case value != "" && (err != nil || got != "Bearer "+value):
		t.Errorf("%s: sent %q, %v; want %s", when, got, err, value)
	}
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestARotationIsSeenWithoutARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, bearer)
		var heard []string
		h.vault.Changed(func(ref, version string) {
			if version != h.vault.Version(ref) {
				t.Errorf("told of version %q while %q is in use", version, h.vault.Version(ref))
			}
			heard = append(heard, ref+" "+version)
		})
		h.run(t)
		h.want(t, "before the first value", "")
		first := set(t, h.store, "key", "one")
		h.want(t, "after the first value", "one")
		second := set(t, h.store, "key", "two")
		h.want(t, "after a rotation", "two")
		if v := h.vault.Version("ai/key"); v != second {
			t.Errorf("Version = %s, want %s", v, second)
		}
		set(t, h.store, "other", "x")
		if err := h.store.Delete(t.Context(), "ai", "key"); err != nil {
			t.Fatal(err)
		}
		h.want(t, "after it was deleted", "") // F-28
		third := set(t, h.store, "key", "three")
		h.want(t, "after it came back", "three")
		if err := h.vault.Use(nil); err != nil {
			t.Fatal(err)
		}
		h.want(t, "after the Credential was deleted", "")
		if want := []string{"ai/key " + first, "ai/key " + second, "ai/key ", "ai/key " + third, "ai/key "}; !slices.Equal(heard, want) {
			t.Errorf("told %q, want %q", heard, want)
		}
	})
}

func TestValuesOutliveTheCatalogForAWhile(t *testing.T) { // F-21, F-22
	bubble(t, func(t *testing.T) {
		h := newHouse(t, bearer)
		set(t, h.store, "key", "one")
		h.run(t)
		time.Sleep(24 * time.Hour)
		h.want(t, "after a day in which nothing changed", "one")
		h.client.Cut(true)
		set(t, h.store, "key", "two")
		time.Sleep(DefaultMaxStale - time.Minute)
		h.want(t, "an hour after the catalog went, less a minute", "one")
		if age := h.vault.Age(); age < DefaultMaxStale-time.Minute-time.Second || age > DefaultMaxStale {
			t.Errorf("Age = %v", age)
		}
		time.Sleep(2 * time.Minute)
		if _, err := h.sent(t, "ai/key"); !errors.Is(err, ErrNoValue) || !strings.Contains(err.Error(), "nothing was heard of the catalog") {
			t.Errorf("an hour after the catalog went: %v, want ErrNoValue that says so", err)
		}
		h.client.Cut(false)
		h.want(t, "when it is back", "two")
	})
}

func TestStalenessCanBeUnbounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, bearer)
		h.vault.MaxStale = -1
		set(t, h.store, "key", "one")
		h.run(t)
		h.client.Cut(true)
		time.Sleep(1000 * time.Hour)
		h.want(t, "after weeks", "one")
	})
}

func TestADeletionIsSeenAfterACompaction(t *testing.T) { // F-24
	bubble(t, func(t *testing.T) {
		h := newHouse(t, bearer)
		set(t, h.store, "key", "one")
		h.run(t)
		h.client.Cut(true)
		if err := h.store.Delete(t.Context(), "ai", "key"); err != nil {
			t.Fatal(err)
		}
		h.memory.Compact()
		h.client.Cut(false)
		h.want(t, "after the fresh listing", "")
	})
}

func TestARestoreRevivesNoOldValue(t *testing.T) { // F-25
	for _, row := range []struct {
		name        string
		after       func(t *testing.T, h *house) // what happens after the backup
		want, again string                       // after the restore, and after a new value is set
	}{
		{"of before a rotation", func(t *testing.T, h *house) { set(t, h.store, "key", "two") }, "two", "new"},
		{"of before a deletion", func(t *testing.T, h *house) {
			if err := h.store.Delete(t.Context(), "ai", "key"); err != nil {
				t.Fatal(err)
			}
		}, "", "new"},
		{"of the same value", func(t *testing.T, h *house) { set(t, h.store, "other", "x") }, "one", "new"},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHouse(t, bearer)
				set(t, h.store, "key", "one")
				backup := h.memory.Snapshot()
				h.run(t)
				h.want(t, "at first", "one")
				row.after(t, h)
				synctest.Wait()
				h.memory.Restore(backup)
				h.want(t, "after the restore", row.want)
				if row.want != "one" && !strings.Contains(h.log.String(), "not revived") {
					t.Errorf("nothing was said:\n%s", h.log)
				}
				h.client.Cut(true) // the next ordinary listing
				set(t, h.store, "other", "y")
				h.memory.Compact()
				h.client.Cut(false)
				h.want(t, "after the next listing", row.want)
				time.Sleep(time.Second) // versions of the future would be above
				set(t, h.store, "key", "new")
				h.want(t, "after a new value", row.again)
			})
		})
	}
}

func TestACredentialThatARestoreLostStaysInUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, bearer)
		backup := h.memory.Snapshot()
		set(t, h.store, "key", "one")
		set(t, h.store, "key", "two")
		h.run(t)
		h.memory.Restore(backup)
		h.want(t, "after the restore", "two")
		if !strings.Contains(h.log.String(), "lost a credential") {
			t.Errorf("nothing was said:\n%s", h.log)
		}
	})
}

func TestAValueThatDoesNotOpenLeavesTheOneBefore(t *testing.T) {
	commit := func(t *testing.T, h *house, key, value string) {
		t.Helper()
		if _, err := h.memory.Commit(t.Context(), catalog.Op{Key: key, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	version := newVersion("", time.Now().Add(100*365*24*time.Hour))
	point := fmt.Sprintf(`{"schema":1,"version":%q}`, version)
	for _, row := range []struct {
		name string
		do   func(t *testing.T, h *house)
	}{
		{"sealed under another name", func(t *testing.T, h *house) {
			commit(t, h, catalog.SecretKey("ai", "key", version), string(sealed(t, h.ring, "another/name", "evil")))
			commit(t, h, catalog.SecretCurrentKey("ai", "key"), point)
		}},
		{"noise", func(t *testing.T, h *house) {
			commit(t, h, catalog.SecretKey("ai", "key", version), "noise")
			commit(t, h, catalog.SecretCurrentKey("ai", "key"), point)
		}},
		{"missing", func(t *testing.T, h *house) { commit(t, h, catalog.SecretCurrentKey("ai", "key"), point) }},
		{"of a newer release", func(t *testing.T, h *house) {
			commit(t, h, catalog.SecretCurrentKey("ai", "key"), `{"schema":2}`)
		}},
		{"beside records that nobody knows", func(t *testing.T, h *house) {
			commit(t, h, "secrets/odd", "x")
			commit(t, h, "secrets/ai/key/01J/more", "x")
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				h := newHouse(t, bearer)
				set(t, h.store, "key", "one")
				h.run(t)
				row.do(t, h)
				h.want(t, "after the bad record", "one")
				if h.log.Len() == 0 {
					t.Error("nothing was said")
				}
				before := h.log.Len()
				time.Sleep(time.Hour)
				if h.log.Len() > before {
					t.Errorf("said again and again:\n%s", h.log)
				}
			})
		})
	}
}

func TestAValueOpensOnceItsKeyIsThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, bearer)
		other, err := OpenKeyring(filepath.Join(t.TempDir(), "other.json"))
		if err != nil {
			t.Fatal(err)
		}
		set(t, NewStore(h.memory, other), "key", "one")
		h.run(t)
		h.want(t, "sealed with a key this replica lacks", "")
		if err := h.vault.Fault("ai/key"); err == nil || !strings.Contains(err.Error(), "key ring of the others") {
			t.Errorf("Fault = %v, want what to do", err)
		}
		file, err := readKeyring(other.path)
		if err != nil {
			t.Fatal(err)
		}
		temp, err := writeTemp(h.ring.path, file) // somebody brings the key ring of the others
		if err != nil {
			t.Fatal(err)
		}
		rename(t, temp, h.ring.path)
		time.Sleep(10 * time.Second)
		h.want(t, "soon after", "one")
		if err := h.vault.Fault("ai/key"); err != nil {
			t.Errorf("Fault = %v", err)
		}
	})
}

func TestAValueThatDoesNotFitItsKindIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, Spec{Ref: "ai/key", Kind: Basic, Hosts: hosts})
		set(t, h.store, "key", "canary-without-colon")
		h.run(t)
		h.want(t, "Basic without a colon", "")
		if err := h.vault.Fault("ai/key"); !errors.Is(err, ErrValue) || strings.Contains(err.Error(), "canary") {
			t.Errorf("Fault = %v, want ErrValue without the value", err)
		}
		if v := h.vault.Version("ai/key"); v != "" {
			t.Errorf("Version = %q of a value that cannot be used", v)
		}
		if err := h.vault.Use([]Spec{bearer}); err != nil {
			t.Fatal(err)
		}
		h.want(t, "as a bearer", "canary-without-colon")
	})
}

// F-27: each request has one whole version: the value and the version that Apply returns belong together.
func TestRotationUnderLoad(t *testing.T) {
	defer goleak.VerifyNone(t)
	store, memory, k := newStore(t)
	vault := NewVault(memory, k, nil)
	if err := vault.Use([]Spec{bearer}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { _ = vault.Run(ctx) })
	changed := make(chan string, 1000)
	vault.Changed(func(_, version string) { changed <- version })

	var mu sync.Mutex
	values := map[string]string{} // by version
	set := func(value string) {
		version, err := store.Set(ctx, "ai", "key", NewSecret([]byte(value)))
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		values[version] = value
		mu.Unlock()
		for seen := range changed {
			if seen == version {
				return
			}
		}
	}
	set(strings.Repeat("0", 5000))
	type use struct{ version, value string }
	used := make([]map[use]bool, 4)
	stop := make(chan struct{})
	var load sync.WaitGroup
	for i := range used {
		used[i] = map[use]bool{}
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				req := &http.Request{URL: bearerURL, Header: http.Header{"Authorization": {"Bearer mine"}}}
				version, err := vault.Apply(req, "ai/key", "api.example.com")
				if err != nil {
					t.Error(err)
					return
				}
				used[i][use{version, strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")}] = true
			}
		})
	}
	for i := range 60 {
		set(strings.Repeat(string(rune('a'+i%26)), 5000+i))
	}
	close(stop)
	load.Wait()
	cancel()
	all.Wait()
	seen := 0
	for _, m := range used {
		for u := range m {
			seen++
			if values[u.version] != u.value {
				t.Errorf("version %s with a value of %d bytes, want %d", u.version, len(u.value), len(values[u.version]))
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d pairs seen: the load was no load", seen)
	}
}

// No value is in any log line, whatever happens. T-D5
func TestTheLogHoldsNoValue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHouse(t, bearer)
		h.log.Reset()
		h.vault.log = slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		set(t, h.store, "key", "sk-canary-one")
		backup := h.memory.Snapshot()
		h.run(t)
		set(t, h.store, "key", "sk-canary-two")
		synctest.Wait()
		h.memory.Restore(backup)
		synctest.Wait()
		if _, err := h.memory.Commit(t.Context(), catalog.Op{Key: catalog.SecretCurrentKey("ai", "key"), Value: []byte("sk-canary-three")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if h.log.Len() == 0 || strings.Contains(h.log.String(), "canary") {
			t.Errorf("the log:\n%s", h.log)
		}
	})
}

var bearerURL = httptest.NewRequest(http.MethodGet, "https://api.example.com/v1?q=1", nil).URL

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkApply(b *testing.B) {
	for kind, spec := range kinds() {
		b.Run(kind, func(b *testing.B) {
			v := fixed(b, valueFor(kind), spec)
			b.ReportAllocs()
			for b.Loop() {
				req := http.Request{URL: bearerURL, Header: http.Header{"Accept": {"*/*"}, "Authorization": {"Bearer x"}, "Content-Type": {"application/json"}, "User-Agent": {"x"}}}
				if _, err := v.Apply(&req, "ai/key", "api.example.com"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
