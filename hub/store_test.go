package hub

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/catalogtest"
	"penstock.dev/penstock/hub/credential"
	"penstock.dev/penstock/manifest"
)

const privateKey = "very private key material"

func secret(value string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: client, namespace: ai, labels: {team: a}}
stringData: {tls.key: %q}
`, value)
}

func backendNamed(name, hostname string) string {
	return fmt.Sprintf(`
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: %s, namespace: ai}
spec: {type: ExternalHostname, externalHostname: {hostname: %s}, port: {number: 443}}
`, name, hostname)
}

func parse(t *testing.T, texts ...string) []manifest.Object {
	t.Helper()
	objects, problems := manifest.Parse("test.yaml", []byte(strings.Join(texts, "\n---\n")))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return objects
}

// newStore is a store on a catalog in memory, with a real key ring.
func newStore(t *testing.T) (*store, *catalogtest.Memory) {
	t.Helper()
	ring, err := credential.OpenKeyring(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	m := catalogtest.New()
	return &store{objects: catalog.NewObjects(m), sealer: ring}, m
}

func (s *store) mustReplace(t *testing.T, texts ...string) (changes []catalog.Change) {
	t.Helper()
	results, err := s.replace(t.Context(), folderOwner, parse(t, texts...))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Error(r.Err)
		}
		changes = append(changes, r.Change)
	}
	return changes
}

// TH-I7: who has the catalog's bytes has no private key.
func TestASecretIsSealedInTheCatalog(t *testing.T) {
	s, m := newStore(t)
	s.mustReplace(t, secret(privateKey), backendNamed("api", "api.example.com"))
	records, _, err := m.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	open := 0
	for _, r := range records {
		for _, form := range []string{privateKey, "dmVyeSBwcml2YXRl"} { // as it is, and the start of its base64
			if bytes.Contains(r.Value, []byte(form)) {
				t.Errorf("%s holds the value: %s", r.Key, r.Value)
			}
		}
		if bytes.Contains(r.Value, []byte("api.example.com")) {
			open++
		}
	}
	if open != 1 {
		t.Error("control: the Backend is not found in the clear")
	}

	want := parse(t, secret(privateKey))[0]
	stored, err := s.objects.Get(t.Context(), refOf(want.ID))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Decode(stored)
	if err != nil || string(got.JSON) != string(want.JSON) {
		t.Errorf("decoded %s, %v; want %s", got.JSON, err, want.JSON)
	}
	if got.Created.IsZero() || got.Generation() != 1 {
		t.Errorf("decoded with age %v and generation %d", got.Created, got.Generation())
	}
}

func TestAReloadWithoutChangeWritesNothing(t *testing.T) {
	s, m := newStore(t)
	texts := []string{secret(privateKey), backendNamed("api", "api.example.com")}
	if got := s.mustReplace(t, texts...); !slices.Equal(got, []catalog.Change{catalog.Created, catalog.Created}) {
		t.Errorf("first: %v", got)
	}
	_, before, err := m.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // sealing differs in every byte each time; Encode must not show that
		if got := s.mustReplace(t, texts...); !slices.Equal(got, []catalog.Change{catalog.Unchanged, catalog.Unchanged}) {
			t.Errorf("again: %v", got)
		}
	}
	if _, after, err := m.List(t.Context(), ""); err != nil || after != before {
		t.Errorf("revision %d after %d, %v", after, before, err)
	}
	if got := s.mustReplace(t, secret("another value")); !slices.Contains(got, catalog.Updated) || !slices.Contains(got, catalog.Deleted) {
		t.Errorf("a new value and one object less: %v", got)
	}
}

func TestSecretsThatCannotBeOpened(t *testing.T) {
	s, _ := newStore(t)
	s.mustReplace(t, secret(privateKey))
	ref := refOf(parse(t, secret(""))[0].ID)
	stored, err := s.objects.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := stored
	elsewhere.Name = "copied" // a sealed record is bound to its key
	plain := stored
	plain.Data = []byte(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"client","namespace":"ai"},"data":{}}`)
	other, _ := newStore(t)
	for _, row := range []struct {
		name  string
		store *store
		o     catalog.Object
		want  string
	}{
		{"one that was never sealed", s, plain, "is not sealed; apply it again"},
		{"one that was copied under another name", s, elsewhere, "open "},
		{"one of another key ring", other, stored, "key ring"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := row.store.Decode(row.o); err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), privateKey) {
				t.Errorf("error %v, want one with %q", err, row.want)
			}
		})
	}
	// A catalog that is away must not make a Secret look new.
	s2, m2 := newStore(t)
	m2.Fail(true)
	if _, err := s2.Encode(t.Context(), parse(t, secret(privateKey))[0]); err == nil {
		t.Error("a Secret was encoded without a look at the stored one")
	}
}

func TestDecodeRefusesWhatIsNotTheObject(t *testing.T) {
	s, _ := newStore(t)
	o, err := s.Encode(t.Context(), parse(t, backendNamed("api", "api.example.com"))[0])
	if err != nil {
		t.Fatal(err)
	}
	other := o
	other.Name = "another"
	if _, err := s.Decode(other); err == nil || !strings.Contains(err.Error(), "holds something else") {
		t.Errorf("an object under another name: %v", err)
	}
	broken := o
	broken.Data = []byte(`{"apiVersion":"penstock.dev/v1alpha1","kind":"Backend","metadata":{"name":"api","namespace":"ai"},"spec":{"prot":1}}`)
	if _, err := s.Decode(broken); err == nil || !strings.Contains(err.Error(), "ai/api") {
		t.Errorf("an object of another release: %v", err)
	}
	o.Origin, o.Generation = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), 7
	if m, err := s.Decode(o); err != nil || !m.Created.Equal(o.Origin) || m.Generation() != 7 {
		t.Errorf("age %v and generation %d, %v", m.Created, m.Generation(), err)
	}
}

// follower collects what follow hands on.
type follower struct {
	sets chan []string
	seen chan int64
	log  bytes.Buffer
}

func (s *store) following(t *testing.T, c catalog.Catalog) *follower {
	f := &follower{sets: make(chan []string, 99), seen: make(chan int64, 99)}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.follow(ctx, c, slog.New(slog.NewTextHandler(&f.log, nil)), func(objects []manifest.Object, revision int64) {
			var names []string
			for _, o := range objects {
				hostname, _, _ := strings.Cut(string(o.JSON[bytes.Index(o.JSON, []byte(`"hostname":"`))+12:]), `"`)
				names = append(names, o.ID.Name+"="+hostname)
			}
			f.sets <- append(names, fmt.Sprint("@", revision > 0))
		}, func(revision int64) { f.seen <- revision })
	}()
	t.Cleanup(func() { stop(); <-done })
	return f
}

func (f *follower) got() (all [][]string) {
	synctest.Wait()
	for {
		select {
		case s := <-f.sets:
			all = append(all, s)
		default:
			return all
		}
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := newStore(t)
		s.mustReplace(t, backendNamed("a", "a1.example.com"), backendNamed("b", "b1.example.com"))
		f := s.following(t, m)
		expect := func(when string, want ...[]string) {
			t.Helper()
			if diff := cmp.Diff(want, f.got()); diff != "" {
				t.Errorf("%s (-want +got):\n%s\n%s", when, diff, f.log.String())
			}
		}
		expect("the first listing is one set", []string{"a=a1.example.com", "b=b1.example.com", "@true"})
		s.mustReplace(t, backendNamed("a", "a2.example.com"), backendNamed("b", "b1.example.com"))
		expect("a change", []string{"a=a2.example.com", "b=b1.example.com", "@true"})
		s.mustReplace(t, backendNamed("a", "a2.example.com"))
		expect("a deletion", []string{"a=a2.example.com", "@true"})

		// A status is no change, or the status writer would answer itself for ever.
		ref := refOf(parse(t, backendNamed("a", "x.example.com"))[0].ID)
		stored, err := s.objects.Get(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.objects.SetStatus(t.Context(), ref, stored.UID, []byte(`{"conditions":[]}`)); err != nil {
			t.Fatal(err)
		}
		expect("a status")
		if len(f.seen) == 0 {
			t.Error("the revision of a status was not told")
		}

		// A record that nobody can read costs only itself: its last good form stays.
		key := catalog.ObjectKey(ref)
		if _, err := m.Commit(t.Context(), catalog.Op{Key: key, Value: []byte(`{"schema": 99}`)}, catalog.Op{Key: catalog.ObjectsPrefix + "none", Value: []byte("junk")}); err != nil {
			t.Fatal(err)
		}
		c, err := s.Encode(t.Context(), parse(t, backendNamed("c", "c1.example.com"))[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.objects.Apply(t.Context(), "cli", c, catalog.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		sets := f.got()
		if len(sets) == 0 || !slices.Equal(sets[len(sets)-1], []string{"a=a2.example.com", "c=c1.example.com", "@true"}) {
			t.Errorf("beside unreadable records: %v", sets)
		}
		if n := strings.Count(f.log.String(), "catalog object is not served"); n != 2 {
			t.Errorf("said %d times that a record is not served:\n%s", n, f.log.String())
		}

		// While the store is away nothing is handed on; after a compaction a new listing says what is gone.
		m.Fail(true)
		<-time.After(time.Minute)
		expect("while the store is away")
		m.Fail(false)
		m.Cut(true)
		other := m.Connect()
		d, err := s.Encode(t.Context(), parse(t, backendNamed("d", "d1.example.com"))[0])
		if err == nil {
			_, _, err = catalog.NewObjects(other).Apply(t.Context(), "cli", d, catalog.ApplyOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
		m.Compact()
		m.Cut(false)
		expect("a new listing keeps what it cannot read", []string{"a=a2.example.com", "c=c1.example.com", "d=d1.example.com", "@true"})
		m.Cut(true)
		if _, err := other.Commit(t.Context(), catalog.Op{Key: key, Delete: true}); err != nil {
			t.Fatal(err)
		}
		m.Compact()
		m.Cut(false)
		expect("after a compaction", []string{"c=c1.example.com", "d=d1.example.com", "@true"})
	})
}

// An operator who restores a backup must see it, and what is served is the backup.
func TestFollowACatalogThatWentBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := newStore(t)
		s.mustReplace(t, backendNamed("a", "a1.example.com"))
		backup := m.Snapshot()
		s.mustReplace(t, backendNamed("a", "a2.example.com"), backendNamed("b", "b1.example.com"))
		f := s.following(t, m)
		f.got()
		m.Restore(backup)
		if sets := f.got(); len(sets) != 1 || !slices.Equal(sets[0], []string{"a=a1.example.com", "@true"}) {
			t.Errorf("after the restore: %v", sets)
		}
		if !strings.Contains(f.log.String(), "went back to an older state") {
			t.Errorf("log: %s", f.log.String())
		}
	})
}
