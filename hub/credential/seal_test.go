package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const name = "secrets/ai/key/01JD0000000000000000000000"

func ring(t testing.TB) *Keyring {
	t.Helper()
	k, err := OpenKeyring(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sealed(t testing.TB, k *Keyring, name, plaintext string) []byte {
	t.Helper()
	s, err := k.Seal(name, []byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealedRecordsOpenUnderTheirNameOnly(t *testing.T) {
	k := ring(t)
	for _, plaintext := range []string{"", "x", "sk-1234567890", strings.Repeat("long ", 10_000)} {
		s := sealed(t, k, name, plaintext)
		got, err := k.Open(name, s)
		if err != nil || string(got) != plaintext {
			t.Errorf("Open = %d bytes, %v; want %d", len(got), err, len(plaintext))
		}
		if len(plaintext) > 4 && bytes.Contains(s, []byte(plaintext)) {
			t.Error("the record holds the plaintext")
		}
		if bytes.Equal(s, sealed(t, k, name, plaintext)) {
			t.Error("sealed twice, the same record")
		}
	}
	s := sealed(t, k, name, "value")
	for what, other := range map[string]string{
		"another version":    "secrets/ai/key/01JD0000000000000000000001",
		"another Credential": "secrets/ai/other/01JD0000000000000000000000",
		"no name":            "",
	} {
		if got, err := k.Open(other, s); !errors.Is(err, ErrSealed) || got != nil {
			t.Errorf("%s: Open = %q, %v; want ErrSealed", what, got, err)
		}
	}
	if got, err := ring(t).Open(name, s); !errors.Is(err, ErrSealed) || got != nil || !strings.Contains(err.Error(), "key ring") {
		t.Errorf("with another key ring: %q, %v; want ErrSealed that names the key ring", got, err)
	}
}

func TestADamagedRecordDoesNotOpen(t *testing.T) {
	k := ring(t)
	s := sealed(t, k, name, "value")
	for i := range s {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			bad := bytes.Clone(s)
			bad[i] ^= flip
			if got, err := k.Open(name, bad); !errors.Is(err, ErrSealed) || got != nil {
				t.Errorf("byte %d changed: %q, %v; want ErrSealed", i, got, err)
			}
		}
		if got, err := k.Open(name, s[:i]); !errors.Is(err, ErrSealed) || got != nil {
			t.Errorf("cut after %d: %q, %v; want ErrSealed", i, got, err)
		}
	}
	if _, err := k.Open(name, append(bytes.Clone(s), 0)); !errors.Is(err, ErrSealed) {
		t.Errorf("with a byte more: %v, want ErrSealed", err)
	}
	// The data key of one record with the value of another.
	other := sealed(t, k, name, "other")
	_, head, _, err := parse(s)
	if err != nil {
		t.Fatal(err)
	}
	cut := len(head) + nonceBytes + keyBytes + tagBytes
	if _, err := k.Open(name, append(bytes.Clone(s[:cut]), other[cut:]...)); !errors.Is(err, ErrSealed) {
		t.Errorf("two records in one: %v, want ErrSealed", err)
	}
}

// The form is specified in the package comment: a record that was written must open for ever.
func TestSealedFormStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	text := fmt.Sprintf(`{"keys":[{"id":"k-1","created":"2026-11-22T09:00:00Z","key":%q}],"primary":"k-1"}`,
		base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	record, err := hex.DecodeString(strings.Join(strings.Fields(goldenRecord), ""))
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Open(name, record)
	if err != nil || string(got) != "golden value" {
		t.Errorf("Open = %q, %v", got, err)
	}
}

const goldenRecord = `
	01036b2d3134b5c5152226e7b3dedba6f17446deb50cd92aa7b9dd07b9499528d30a2627985ea24c4a32b9cbef3f221a
	c5b85155f424a7611ccedd1a28a2ca692f18cc426e06675c4f3235bab53e7bf3c3b616d2ed94d222c42e643ebcd68876
	7d41e3716b12356edf
`

func TestAKeyringIsMadeOnceAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "keyring.json")
	rings := make([]*Keyring, 8)
	var wg sync.WaitGroup
	for i := range rings { // replicas that start at once share what the first one made
		wg.Go(func() {
			var err error
			if rings[i], err = OpenKeyring(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := sealed(t, rings[0], name, "value")
	for i, k := range rings {
		if got, err := k.Open(name, s); err != nil || string(got) != "value" {
			t.Errorf("ring %d: %q, %v", i, got, err)
		}
	}
	fi, err := os.Stat(path)
	if err != nil || fi.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", fi.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v; want the key ring alone", left, err)
	}
}

func TestRotatedKeyringOpensOldRecords(t *testing.T) {
	k := ring(t)
	other, err := OpenKeyring(k.path) // another replica
	if err != nil {
		t.Fatal(err)
	}
	before := sealed(t, k, name, "before")
	id, err := k.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	after := sealed(t, k, name, "after")
	if !k.IsPrimary(after) || k.IsPrimary(before) || !bytes.Contains(after, []byte(id)) {
		t.Errorf("the new record is not sealed with the new key %s", id)
	}
	for _, k := range []*Keyring{k, other} {
		for want, s := range map[string][]byte{"before": before, "after": after} {
			if got, err := k.Open(name, s); err != nil || string(got) != want {
				t.Errorf("Open = %q, %v; want %q", got, err, want)
			}
		}
	}
}

func TestRotationsAtOnceLoseNoKey(t *testing.T) {
	path := ring(t).path
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	records := map[string][]byte{}
	for i := range 6 {
		wg.Go(func() {
			k, err := OpenKeyring(path)
			if err == nil {
				_, err = k.Rotate()
			}
			if err != nil {
				t.Error(err)
				return
			}
			s, err := k.Seal(name, fmt.Append(nil, i))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			records[fmt.Sprint(i)] = s
		})
	}
	wg.Wait()
	k, err := OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	for want, s := range records {
		if got, err := k.Open(name, s); err != nil || string(got) != want {
			t.Errorf("Open = %q, %v; want %q", got, err, want)
		}
	}
}

func TestAKeyringThatOthersCanReadIsRefused(t *testing.T) {
	for _, row := range []struct {
		mode os.FileMode
		ok   bool
	}{
		{0o600, true}, {0o400, true}, {0o640, false}, {0o604, false}, {0o660, false}, {0o620, false}, {0o602, false}, {0o700, false}, {0o644, false}, {0o666, false},
	} {
		path := ring(t).path
		if err := os.Chmod(path, row.mode); err != nil {
			t.Fatal(err)
		}
		_, err := OpenKeyring(path)
		if row.ok && err != nil || !row.ok && (!errors.Is(err, ErrKeyring) || !strings.Contains(err.Error(), "chmod 600") || !strings.Contains(err.Error(), path)) {
			t.Errorf("mode %04o: %v; may be used: %v", row.mode, err, row.ok)
		}
	}
	if _, err := OpenKeyring(t.TempDir()); !errors.Is(err, ErrKeyring) {
		t.Errorf("a folder: %v, want ErrKeyring", err)
	}
}

func TestADamagedKeyringIsRefused(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("canary-canary-canary-canary-canary")[:32])
	good := fmt.Sprintf(`{"keys":[{"id":"a","created":"2026-11-22T09:00:00Z","key":%q}],"primary":"a"}`, key)
	if _, err := parseKeyring([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, text string }{
		{"empty", ""},
		{"cut off", good[:len(good)-1]},
		{"that goes on", good + good},
		{"with a member of a later release", strings.Replace(good, `"primary"`, `"hsm":1,"primary"`, 1)},
		{"without keys", `{"keys":[],"primary":"a"}`},
		{"whose primary key is missing", strings.Replace(good, `"primary":"a"`, `"primary":"b"`, 1)},
		{"with a short key", strings.Replace(good, key, key[:40], 1)},
		{"with a key that is no base 64", strings.Replace(good, key, "***"+key, 1)},
		{"with a key without an id", strings.Replace(good, `"id":"a"`, `"id":""`, 1)},
		{"with an id twice", strings.Replace(good, `"keys":[`, `"keys":[{"id":"a","created":"2026-11-22T09:00:00Z","key":"`+key+`"},`, 1)},
	} {
		path := filepath.Join(t.TempDir(), "keyring.json")
		if err := os.WriteFile(path, []byte(row.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenKeyring(path)
		if !errors.Is(err, ErrKeyring) {
			t.Errorf("%s: %v, want ErrKeyring", row.name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), key[:8])) {
			t.Errorf("%s: the error shows a key: %v", row.name, err)
		}
	}
}

// Whatever is not a record of ours does not open, and what is sealed opens to what it was.
func FuzzOpen(f *testing.F) {
	k := ring(f)
	f.Add(name, "value", []byte{format, 1, 'k'})
	f.Add("", "", []byte{})
	f.Add(name, "x", sealed(f, k, "another/name", "x"))
	f.Fuzz(func(t *testing.T, name, plaintext string, noise []byte) {
		if got, err := k.Open(name, noise); err == nil && name != "another/name" {
			t.Fatalf("noise opens to %q", got)
		}
		s := sealed(t, k, name, plaintext)
		if got, err := k.Open(name, s); err != nil || string(got) != plaintext {
			t.Fatalf("Open = %q, %v; want %q", got, err, plaintext)
		}
		if got, err := k.Open(name+"x", s); err == nil {
			t.Fatalf("under another name it opens to %q", got)
		}
	})
}

// A key ring file is refused or has a primary key that seals and opens.
func FuzzKeyring(f *testing.F) {
	f.Add([]byte(`{"keys":[{"id":"a","created":"2026-11-22T09:00:00Z","key":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}],"primary":"a"}`))
	f.Add([]byte(`{"keys":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := parseKeyring(text)
		if err != nil {
			return
		}
		k := &Keyring{path: filepath.Join(t.TempDir(), "none")}
		k.use(file)
		if got, err := k.Open(name, sealed(t, k, name, "x")); err != nil || string(got) != "x" {
			t.Fatalf("%s: Open = %q, %v", text, got, err)
		}
	})
}
