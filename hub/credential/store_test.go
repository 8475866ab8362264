package credential

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/catalogtest"
)

func newStore(t testing.TB) (*Store, *catalogtest.Memory, *Keyring) {
	t.Helper()
	m, k := catalogtest.New(), ring(t)
	return NewStore(m, k), m, k
}

func set(t testing.TB, s *Store, name, value string) string {
	t.Helper()
	v, err := s.Set(t.Context(), "ai", name, NewSecret([]byte(value)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSetKeepsTheVersionBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, k := newStore(t)
		var versions []string
		for i := range 4 {
			versions = append(versions, set(t, s, "key", fmt.Sprint("value-", i)))
			time.Sleep(time.Hour)
		}
		set(t, s, "other", "x")
		got, err := s.Versions(t.Context(), "ai", "key")
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || got[0].ID != versions[3] || !got[0].Current || got[1].ID != versions[2] || got[1].Current {
			t.Errorf("Versions = %+v, want %s in use and %s before", got, versions[3], versions[2])
		}
		if d := got[0].Created.Sub(got[1].Created); d != time.Hour {
			t.Errorf("made %v apart, want an hour", d)
		}
		r, err := m.Get(t.Context(), catalog.SecretKey("ai", "key", versions[3]))
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := k.Open(r.Key, r.Value); err != nil || string(plain) != "value-3" {
			t.Errorf("the record opens to %q, %v", plain, err)
		}
	})
}

func TestRotateNeedsAValue(t *testing.T) {
	s, _, _ := newStore(t)
	if _, err := s.Rotate(t.Context(), "ai", "key", NewSecret([]byte("x"))); !errors.Is(err, ErrNoValue) || !strings.Contains(err.Error(), "ai/key") {
		t.Errorf("Rotate = %v, want ErrNoValue naming ai/key", err)
	}
	first := set(t, s, "key", "x")
	second, err := s.Rotate(t.Context(), "ai", "key", NewSecret([]byte("y")))
	if err != nil || second <= first {
		t.Errorf("Rotate = %s, %v; want more than %s", second, err, first)
	}
}

func TestDeleteLeavesNothing(t *testing.T) {
	s, m, _ := newStore(t)
	before := set(t, s, "key", "x")
	set(t, s, "key", "y")
	set(t, s, "keys", "stays")
	if err := s.Delete(t.Context(), "ai", "key"); err != nil {
		t.Fatal(err)
	}
	left, _, err := m.List(t.Context(), catalog.SecretPrefix("ai", "key"))
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if v, err := s.Versions(t.Context(), "ai", "keys"); err != nil || len(v) != 1 {
		t.Errorf("the other Credential has %v, %v", v, err)
	}
	if err := s.Delete(t.Context(), "ai", "key"); !errors.Is(err, ErrNoValue) {
		t.Errorf("Delete of nothing = %v, want ErrNoValue", err)
	}
	if again := set(t, s, "key", "z"); again == before {
		t.Error("a version came back")
	}
}

func TestSetsAtOnce(t *testing.T) {
	s, _, _ := newStore(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for {
				_, err := s.Set(t.Context(), "ai", "key", NewSecret(fmt.Append(nil, i)))
				if errors.Is(err, catalog.ErrConflict) {
					continue
				}
				if err != nil {
					t.Error(err)
				}
				return
			}
		})
	}
	wg.Wait()
	v, err := s.Versions(t.Context(), "ai", "key")
	if err != nil || len(v) != 2 || !v[0].Current {
		t.Errorf("Versions = %+v, %v; want the newest in use and one before", v, err)
	}
}

func TestValuesThatDoNotArriveAreRefused(t *testing.T) {
	s, m, _ := newStore(t)
	for _, row := range []struct{ name, value, want string }{
		{"nothing", "", "empty"},
		{"a line break at the end", "canary\n", "line break"},
		{"a line break within", "canary\r\nX-Other: 1", "line break"},
		{"a zero byte", "canary\x00", "control"},
		{"an escape", "canary\x1b[0m", "control"},
		{"a blank before", " canary", "white space"},
		{"a tab behind", "canary\t", "white space"},
		{"more than fits", strings.Repeat("canary", MaxValueBytes/6+1), "at most"},
	} {
		_, err := s.Set(t.Context(), "ai", "key", NewSecret([]byte(row.value)))
		if !errors.Is(err, ErrValue) || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, want ErrValue with %q and without the value", row.name, err, row.want)
		}
	}
	if left, _, err := m.List(t.Context(), ""); err != nil || len(left) != 0 {
		t.Errorf("refused values left %v, %v", left, err)
	}
	if err := CheckValue(Basic, NewSecret([]byte("nocolon"))); !errors.Is(err, ErrValue) {
		t.Errorf("Basic without a colon: %v, want ErrValue", err)
	}
	for good, kind := range map[string]Kind{"user:pass:word": Basic, ":": Basic, "ü": Header, "a b": "", strings.Repeat("x", MaxValueBytes): Bearer} {
		if err := CheckValue(kind, NewSecret([]byte(good))); err != nil {
			t.Errorf("a good value: %v", err)
		}
	}
}

func TestStoreErrors(t *testing.T) {
	s, m, _ := newStore(t)
	if _, err := s.Set(t.Context(), "", "key", NewSecret([]byte("x"))); err == nil {
		t.Error("Set without a namespace succeeded")
	}
	put := func(value string) {
		t.Helper()
		if _, err := m.Commit(t.Context(), catalog.Op{Key: catalog.SecretCurrentKey("ai", "key"), Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct{ name, record, want string }{
		{"of a newer release", `{"schema":2,"versions":[]}`, "upgrade"},
		{"with a member of a newer release", `{"schema":1,"version":"x","blend":2}`, "blend"},
		{"that points nowhere", `{"schema":1,"version":"nonsense"}`, "set the credential again"},
		{"that is no JSON", `nonsense`, "invalid"},
	} {
		put(row.record)
		if _, err := s.Set(t.Context(), "ai", "key", NewSecret([]byte("x"))); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("a record %s: %v, want %q", row.name, err, row.want)
		}
	}
	m.Fail(true)
	if _, err := s.Set(t.Context(), "ai", "key", NewSecret([]byte("x"))); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("while the catalog is away: %v, want ErrUnavailable", err)
	}
}

func TestResealTakesRecordsToTheNewKey(t *testing.T) {
	s, m, k := newStore(t)
	set(t, s, "a", "1")
	set(t, s, "a", "2")
	set(t, s, "b", "3")
	if n, err := s.Reseal(t.Context(), k); n != 0 || err != nil {
		t.Errorf("before a rotation: %d, %v", n, err)
	}
	if _, err := k.Rotate(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Reseal(t.Context(), k); n != 3 || err != nil {
		t.Errorf("Reseal = %d, %v; want 3", n, err)
	}
	records, _, err := m.List(t.Context(), catalog.SecretsPrefix)
	if err != nil {
		t.Fatal(err)
	}
	opened := 0
	for _, r := range records {
		if _, _, _, isCurrent, _ := catalog.ParseSecretKey(r.Key); isCurrent {
			continue
		}
		if plain, err := k.Open(r.Key, r.Value); err != nil || !k.IsPrimary(r.Value) {
			t.Errorf("%s: %q, %v, under the new key: %v", r.Key, plain, err, k.IsPrimary(r.Value))
		}
		opened++
	}
	if opened != 3 {
		t.Errorf("%d records, want 3", opened)
	}
}

func TestVersionsGrowWhateverTheClockSays(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_123)
	previous := ""
	for _, at := range []time.Time{now, now, now.Add(-24 * time.Hour), now.Add(time.Millisecond), time.UnixMilli(0), now.Add(time.Hour)} {
		v := newVersion(previous, at)
		if v <= previous || len(v) != versionChars {
			t.Errorf("version %s after %s", v, previous)
		}
		if made, err := versionTime(v); err != nil || made.Before(at) {
			t.Errorf("version %s says %v, %v; made at %v", v, made, err, at)
		}
		previous = v
	}
	if made, err := versionTime(newVersion("", now)); err != nil || !made.Equal(now) {
		t.Errorf("time %v, %v; want %v", made, err, now)
	}
	for _, bad := range []string{"", "x", strings.Repeat("0", 25), strings.Repeat("U", 26), strings.Repeat("Z", 26)} {
		if _, err := versionTime(bad); err == nil {
			t.Errorf("%q passes for a version", bad)
		}
	}
}
