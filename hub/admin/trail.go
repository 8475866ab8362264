package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"penstock.dev/penstock/apis/admin"
)

// Bounds of a trail.
const (
	trailBytes = 64 << 20 // of one file
	trailFiles = 8        // old ones that are kept
	trailKept  = 10_000   // records that can be asked for
)

// Trail is the audit file of one replica: a chain of records (admin.AuditRecord), each on the disk before Append returns.
// Beyond 64 MiB a new file is begun that goes on with the chain; eight old ones are kept, audit.jsonl.1 the newest. Make
// it with OpenTrail. Safe for concurrent use.
type Trail struct {
	path string
	max  int64

	mu     sync.Mutex
	file   *os.File
	size   int64
	last   admin.AuditRecord
	recent []admin.AuditRecord
	broken error // of a write that failed halfway: nothing may follow it
}

// OpenTrail opens or makes the file, mode 0600, and checks the chain. A last line that is not whole, as a crash leaves it, is
// cut off. A file whose chain is broken is put aside (".broken-<time>") for whoever must look at it, a new chain begins,
// and the log says so: a hub that does not start would serve who broke it.
func OpenTrail(path string, log *slog.Logger) (*Trail, error) {
	t := &Trail{path: path, max: trailBytes}
	if err := t.before(); err != nil {
		log.Error("the audit file before this one cannot be read; the chain goes on behind what could", "file", t.old(1), "error", err)
	}
	err := t.open()
	switch {
	case errors.Is(err, admin.ErrAuditChain):
		aside := fmt.Sprintf("%s.broken-%d", path, time.Now().UnixNano())
		log.Error("the audit file was changed by somebody else; it is put aside, and a new one begins", "file", aside, "error", err)
		_ = t.file.Close()
		if err := os.Rename(path, aside); err != nil {
			return nil, fmt.Errorf("admin: put the broken audit file aside: %w", err)
		}
		t.last, t.recent = admin.AuditRecord{}, nil
		_ = t.before() // said already, if it was an error
		err = t.open()
	case errors.Is(err, admin.ErrAuditTail):
		log.Warn("the last audit record was not whole, as after a crash; it is cut off", "file", path)
		err = t.cutTail()
	}
	if err != nil {
		if t.file != nil {
			_ = t.file.Close()
		}
		return nil, fmt.Errorf("admin: audit file: %w", err)
	}
	return t, nil
}

// before reads the file that was turned over last: its records can be asked for, and if nothing follows it yet, as after a crash
// between the two, the chain goes on from it.
func (t *Trail) before() error {
	f, err := os.Open(t.old(1))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return admin.ReadAudit(f, t.keep)
}

// open reads what is there. t.size is where the last whole record ends.
func (t *Trail) open() (err error) {
	if t.file, err = os.OpenFile(t.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return err
	}
	t.size = 0
	err = admin.ReadAudit(t.file, func(r admin.AuditRecord) {
		t.keep(r)
		line, _ := json.Marshal(r) // as it was written
		t.size += int64(len(line)) + 1
	})
	return err
}

func (t *Trail) cutTail() error { return t.file.Truncate(t.size) }

// keep remembers a record, the last one.
func (t *Trail) keep(r admin.AuditRecord) {
	t.last = r
	if len(t.recent) == trailKept {
		t.recent = append(t.recent[:0], t.recent[trailKept/10:]...)
	}
	t.recent = append(t.recent, r)
}

// Append writes a record; Seq, Time and the chain are set here.
func (t *Trail) Append(r admin.AuditRecord) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken != nil {
		return t.broken
	}
	if t.size >= t.max {
		if err := t.turn(); err != nil {
			return fmt.Errorf("admin: turn the audit file over: %w", err)
		}
	}
	r.Seq, r.Time = t.last.Seq+1, time.Now().UTC()
	r = r.Chain(t.last.Hash)
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err = t.file.Write(append(line, '\n')); err == nil {
		err = t.file.Sync()
	}
	if err != nil {
		// Half a line may stand there. It is taken back, or nothing is written any more.
		if undo := t.cutTail(); undo != nil {
			t.broken = fmt.Errorf("admin: the audit file cannot be written: %w", errors.Join(err, undo))
		}
		return fmt.Errorf("admin: write to the audit file: %w", err)
	}
	t.size += int64(len(line)) + 1
	t.keep(r)
	return nil
}

// turn begins a new file.
func (t *Trail) turn() error {
	for n := trailFiles - 1; n > 0; n-- {
		if err := os.Rename(t.old(n), t.old(n+1)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(t.path, t.old(1)); err != nil {
		return err
	}
	file, err := os.OpenFile(t.path, os.O_RDWR|os.O_CREATE|os.O_APPEND|os.O_EXCL, 0o600)
	if err != nil {
		return errors.Join(err, os.Rename(t.old(1), t.path))
	}
	_ = t.file.Close()
	t.file, t.size = file, 0
	if folder, err := os.Open(filepath.Dir(t.path)); err == nil {
		_ = folder.Sync() // the names too
		_ = folder.Close()
	}
	return nil
}

func (t *Trail) old(n int) string { return fmt.Sprintf("%s.%d", t.path, n) }

// Records since a time, the last of them at most limit, oldest first. At most 10,000 are kept for it, of this file and the one
// before.
func (t *Trail) Records(since time.Time, limit int) []admin.AuditRecord {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := max(len(t.recent)-limit, 0)
	for from < len(t.recent) && t.recent[from].Time.Before(since) {
		from++
	}
	return append([]admin.AuditRecord{}, t.recent[from:]...)
}

// Close ends the writing.
func (t *Trail) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = errors.Join(t.broken, io.ErrClosedPipe)
	return t.file.Close()
}
