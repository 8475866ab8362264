package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// etcd's own folder in ours, and the mark in it that it was never ready. In it, so that a backup brings its own truth.
const (
	memberDir = "member"
	freshMark = "fresh"
)

// begin clears away a member that never got ready: an etcd that is killed between making its log and writing its first
// entry finds no member of its cluster when it comes back, and waits for one for ever. Nothing was acknowledged by then,
// so nothing is lost. ready is to be called before the first write can be acknowledged.
func begin(dir string) (ready func() error, err error) {
	member := filepath.Join(dir, memberDir)
	mark := filepath.Join(member, freshMark)
	if _, err = os.Stat(mark); err == nil {
		if err := os.RemoveAll(member); err != nil {
			return nil, fmt.Errorf("clear what an interrupted first start left: %w", err)
		}
	}
	err = os.Mkdir(member, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return func() error { return nil }, nil
	}
	if err == nil {
		err = os.WriteFile(mark, nil, 0o600)
	}
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := os.Remove(mark); err != nil {
			return err
		}
		return syncDir(member) // or a power cut brings the mark back, and with it the clearing
	}, errors.Join(syncDir(member), syncDir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
