package admin_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/apis/admin"
)

// trail is a file of three records.
func trail(t testing.TB) (lines []string) {
	t.Helper()
	var last admin.AuditRecord
	for n := range 3 {
		last = admin.AuditRecord{Seq: int64(n + 1), Time: time.Unix(int64(n), 0).UTC(), ID: "id", Actor: "token:a", Verb: "apply", Object: "Backend x/y", Outcome: admin.OutcomeDone}.Chain(last.Hash)
		line, err := json.Marshal(last)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line)+"\n")
	}
	return lines
}

func TestReadAudit(t *testing.T) {
	l := trail(t)
	for _, c := range []struct {
		name string
		file string
		read int
		want error
	}{
		{"nothing is no mistake", "", 0, nil},
		{"what follows is good", l[0] + l[1] + l[2], 3, nil},
		{"a file that goes on with an older one is good", l[1] + l[2], 2, nil},
		{"a record that was changed", l[0] + strings.Replace(l[1], "Backend", "backend", 1) + l[2], 1, admin.ErrAuditChain},
		{"a record that was taken out", l[0] + l[2], 1, admin.ErrAuditChain},
		{"two that changed places", l[1] + l[0], 1, admin.ErrAuditChain},
		{"one that was put in twice", l[0] + l[0], 1, admin.ErrAuditChain},
		{"a member that nobody knows", l[0] + strings.Replace(l[1], `{`, `{"note":"x",`, 1), 1, admin.ErrAuditChain},
		{"spaces that were put in", l[0] + strings.Replace(l[1], `":"`, `": "`, 1) + l[2], 1, admin.ErrAuditChain},
		{"a line that is longer than any record", l[0] + `{"actor":"` + strings.Repeat("x", 70<<10) + "\"}\n", 1, admin.ErrAuditChain},
		{"a line that is no record", l[0] + "hello\n", 1, admin.ErrAuditChain},
		{"a last line without its end", l[0] + l[1][:40], 1, admin.ErrAuditTail},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			err := admin.ReadAudit(strings.NewReader(c.file), func(admin.AuditRecord) { n++ })
			if n != c.read || !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%d records, %v; want %d, %v", n, err, c.read, c.want)
			}
		})
	}
}

// FuzzReadAudit: whatever a file holds, what is read of it is a chain.
func FuzzReadAudit(f *testing.F) {
	l := trail(f)
	f.Add([]byte(strings.Join(l, "")))
	f.Add([]byte(l[0] + l[1][:10]))
	f.Fuzz(func(t *testing.T, file []byte) {
		var last *admin.AuditRecord
		_ = admin.ReadAudit(bytes.NewReader(file), func(r admin.AuditRecord) {
			if last != nil && (r.Previous != last.Hash || r.Seq != last.Seq+1) {
				t.Fatal("a record that does not follow")
			}
			last = &r
		})
	})
}
