package credential

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxKeyringBytes bounds what is read of a key ring; a key takes about 150.
const maxKeyringBytes = 1 << 20

// ErrKeyring: the key ring cannot be used: damaged, or open to others.
var ErrKeyring = errors.New("credential: key ring")

// Keyring is a Sealer with its keys in a local file. Safe for concurrent use, also of one file by several processes.
type Keyring struct {
	path string

	mu      sync.RWMutex
	keys    map[string]key
	primary string
}

var _ Sealer = (*Keyring)(nil)

type key struct {
	ID      string
	Created time.Time
	secret  Secret
}

// keyringFile is the stored form, see the package comment.
type keyringFile struct {
	Keys    []keyFile `json:"keys"`
	Primary string    `json:"primary"`
}

type keyFile struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Key     []byte    `json:"key"`
}

// OpenKeyring reads the key ring at path, and makes it with one key if there is none. It returns ErrKeyring if others than
// its owner could have read or changed the file, or if it is damaged.
func OpenKeyring(path string) (*Keyring, error) {
	k := &Keyring{path: path}
	err := k.load()
	if errors.Is(err, fs.ErrNotExist) {
		if err := k.create(); err != nil {
			return nil, err
		}
		err = k.load() // what is there now, ours or that of a process that was quicker
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// Seal implements Sealer with the primary key.
func (k *Keyring) Seal(name string, plaintext []byte) ([]byte, error) {
	k.mu.RLock()
	primary := k.keys[k.primary]
	k.mu.RUnlock()
	return seal(primary, name, plaintext)
}

// Open implements Sealer. It returns ErrSealed if the record does not open. If it does not know the record's key it reads
// the file again: another replica may have added one.
func (k *Keyring) Open(name string, sealed []byte) ([]byte, error) {
	return open(name, sealed, func(id string) (key, error) {
		if key, ok := k.find(id); ok {
			return key, nil
		}
		if err := k.load(); err != nil {
			return key{}, err
		}
		if key, ok := k.find(id); ok {
			return key, nil
		}
		return key{}, fmt.Errorf("key %q is not in the key ring %s; give this replica the key ring of the others", id, k.path)
	})
}

// IsPrimary reports whether a sealed record was sealed with the key that is the primary one now.
func (k *Keyring) IsPrimary(sealed []byte) bool {
	id, _, _, err := parse(sealed)
	k.mu.RLock()
	defer k.mu.RUnlock()
	return err == nil && id == k.primary
}

// Rotate adds a key and makes it the primary one, and returns its id. Records sealed before still open; Store.Reseal
// takes them to the new key.
func (k *Keyring) Rotate() (id string, err error) {
	unlock, err := lockFile(k.path + ".lock")
	if err != nil {
		return "", fmt.Errorf("%w %s: %w", ErrKeyring, k.path, err)
	}
	defer unlock()
	f, err := readKeyring(k.path) // what another process made of it meanwhile must not be lost
	if err != nil {
		return "", err
	}
	next := newKey()
	f.Keys, f.Primary = append(f.Keys, next), next.ID
	temp, err := writeTemp(k.path, f)
	if err != nil {
		return "", err
	}
	if err := os.Rename(temp, k.path); err != nil {
		_ = os.Remove(temp)
		return "", fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	if err := syncDir(k.path); err != nil {
		return "", err
	}
	k.use(f)
	return next.ID, nil
}

func (k *Keyring) find(id string) (key, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	found, ok := k.keys[id]
	return found, ok
}

func (k *Keyring) load() error {
	f, err := readKeyring(k.path)
	if err != nil {
		return err
	}
	k.use(f)
	return nil
}

func (k *Keyring) use(f keyringFile) {
	keys := make(map[string]key, len(f.Keys))
	for _, e := range f.Keys {
		keys[e.ID] = key{ID: e.ID, Created: e.Created, secret: NewSecret(e.Key)}
		clear(e.Key)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys, k.primary = keys, f.Primary
}

// create makes a key ring unless there is one: a finished file is linked to its name, so that nobody reads half of it and
// nobody's is replaced.
func (k *Keyring) create() error {
	first := newKey()
	temp, err := writeTemp(k.path, keyringFile{Keys: []keyFile{first}, Primary: first.ID})
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp) }()
	if err := os.Link(temp, k.path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	return syncDir(k.path)
}

func newKey() keyFile {
	k := keyFile{ID: "k-" + strings.ToLower(newVersion("", time.Now())), Created: time.Now().UTC().Truncate(time.Second), Key: make([]byte, keyBytes)}
	rand.Read(k.Key)
	return k
}

func readKeyring(path string) (keyringFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return keyringFile{}, fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return keyringFile{}, fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	if err := checkMode(fi); err != nil {
		return keyringFile{}, fmt.Errorf("%w %s: %w", ErrKeyring, path, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyringBytes+1))
	defer clear(text)
	if err != nil {
		return keyringFile{}, fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	ring, err := parseKeyring(text)
	if err != nil {
		return keyringFile{}, fmt.Errorf("%w %s: %w", ErrKeyring, path, err)
	}
	return ring, nil
}

// checkMode refuses a file that others can read or change. By its group a process may read a file that belongs to somebody
// else: that is how a Secret is mounted for a process that is not root.
func checkMode(fi fs.FileInfo) error {
	if !fi.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	allowed := fs.FileMode(0o600)
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		allowed = 0o640
	}
	if mode := fi.Mode().Perm(); mode&^allowed != 0 {
		return fmt.Errorf("mode is %04o, so others may have read or changed the keys; chmod 600 it, and if they could have, rotate the keys and set every credential anew", mode)
	}
	return nil
}

// parseKeyring never quotes the text in an error.
func parseKeyring(text []byte) (keyringFile, error) {
	if len(text) > maxKeyringBytes {
		return keyringFile{}, fmt.Errorf("longer than %d bytes", maxKeyringBytes)
	}
	var f keyringFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return keyringFile{}, errors.New("not the JSON of a key ring; restore it from its backup")
	}
	if _, err := d.Token(); err != io.EOF {
		return keyringFile{}, errors.New("more than one JSON value; restore it from its backup")
	}
	seen := make(map[string]bool, len(f.Keys))
	for i, k := range f.Keys {
		switch {
		case k.ID == "" || len(k.ID) > maxKeyID:
			return keyringFile{}, fmt.Errorf("key %d: its id has %d bytes, want 1 to %d", i, len(k.ID), maxKeyID)
		case seen[k.ID]:
			return keyringFile{}, fmt.Errorf("key %d: its id stands twice", i)
		case len(k.Key) != keyBytes:
			return keyringFile{}, fmt.Errorf("key %d has %d bytes, want %d", i, len(k.Key), keyBytes)
		}
		seen[k.ID] = true
	}
	if !seen[f.Primary] {
		return keyringFile{}, errors.New("the primary key is not among the keys; restore it from its backup")
	}
	return f, nil
}

// writeTemp writes f, mode 0600 and on disk, beside path and returns the name.
func writeTemp(path string, f keyringFile) (name string, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	text, err := json.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	defer clear(text)
	temp, err := os.CreateTemp(filepath.Dir(path), ".keyring-*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	_, err = temp.Write(text)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err != nil {
		_ = os.Remove(temp.Name())
		return "", fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	return temp.Name(), nil
}

// syncDir makes the name of a file last.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("%w: %w", ErrKeyring, err)
	}
	return nil
}

// lockFile waits for a lock that other processes respect; it ends with unlock or with the process.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
