package embedded_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/embedded"
	"penstock.dev/penstock/hub/catalog/etcd"
	"penstock.dev/penstock/hub/credential"
)

// Who steals the folder of etcd has no value: neither its log nor its database holds one, whatever was done. T-D10
func TestTheFolderHoldsNoCredential(t *testing.T) {
	dir := t.TempDir()
	server := start(t, embedded.Config{Dir: dir})
	c := etcd.New(server.Client(), "", nil)
	ring, err := credential.OpenKeyring(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	store := credential.NewStore(c, ring)
	var canaries []string
	for i := range 20 {
		value := fmt.Sprintf("sk-canary-%02d-7d1f", i)
		canaries = append(canaries, value)
		if _, err := store.Set(t.Context(), "ai", fmt.Sprint("key-", i%7), credential.NewSecret([]byte(value))); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Delete(t.Context(), "ai", "key-0"); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Rotate(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Reseal(t.Context(), ring); err != nil {
		t.Fatal(err)
	}
	const control = "not-a-secret-at-all" // the search must find what is there
	if _, err := c.Commit(t.Context(), catalog.Op{Key: "control", Value: []byte(control)}); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil { // everything is in the files now
		t.Fatal(err)
	}

	found := map[string]int{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, s := range append(canaries, control) {
			for _, form := range []string{s, hex.EncodeToString([]byte(s)), base64.StdEncoding.EncodeToString([]byte(s)), s[:9]} {
				if bytes.Contains(text, []byte(form)) {
					found[s]++
					break
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if found[control] < 2 {
		t.Errorf("the control was found in %d files, want log and database: the search is broken", found[control])
	}
	delete(found, control)
	if len(found) > 0 {
		t.Errorf("found in the folder: %v", found)
	}
}
