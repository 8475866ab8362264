package admin

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// AuditRecord says who asked for a change, and what came of it. It never holds a value, a token or a body. A change has two
// records of one id: the first, with the outcome OutcomeAsked, is on the disk before anything is changed.
//
// In the file a record is one line of JSON. Hash is the SHA-256, in hex, of the line with an empty hash; Previous is the
// hash of the record before. So no record can be changed, taken out or put in without all behind it showing that.
type AuditRecord struct {
	// Seq counts from 1, without gaps.
	Seq  int64     `json:"seq"`
	Time time.Time `json:"time"`
	// ID is that of the change.
	ID string `json:"id"`
	// Actor is "user:<uid>" at the socket, "token:<name>" or "certificate:<name>".
	Actor string `json:"actor"`
	Role  string `json:"role"`
	// Verb and Object: "apply", "Backend ai/openai".
	Verb   string `json:"verb"`
	Object string `json:"object"`
	// Outcome is OutcomeAsked, OutcomeDone, or the code of the error ("forbidden").
	Outcome  string `json:"outcome"`
	Previous string `json:"previous"`
	Hash     string `json:"hash"`
}

// Outcomes that are no code of an error.
const (
	OutcomeAsked = "asked"
	OutcomeDone  = "done"
)

// AuditList is sorted, the newest record last.
type AuditList struct {
	Items []AuditRecord `json:"items"`
}

// Chain sets Previous and Hash. What is no UTF-8 in a field becomes U+FFFD first: JSON would write it otherwise than it
// writes what it reads back, and the hash of the line would not be found again.
func (r AuditRecord) Chain(previous string) AuditRecord {
	for _, field := range []*string{&r.ID, &r.Actor, &r.Role, &r.Verb, &r.Object, &r.Outcome} {
		*field = strings.ToValidUTF8(*field, "\ufffd")
	}
	r.Previous = previous
	r.Hash = r.digest()
	return r
}

func (r AuditRecord) digest() string {
	r.Hash = ""
	line, err := json.Marshal(r)
	if err != nil { // no field of it can fail
		panic(err)
	}
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// ErrAuditChain is wrapped by errors about records that do not follow from those before.
var ErrAuditChain = errors.New("the audit chain is broken")

// ErrAuditTail is wrapped by the error about a last line that is not whole, as a crash leaves one. All before it is good.
var ErrAuditTail = errors.New("the last audit record is not whole")

const maxAuditLine = 64 << 10

// ReadAudit reads the records of a file, each of which must follow from the one before. The first may follow from any record:
// files are turned over. It stops at the first error, which tells the line.
func ReadAudit(r io.Reader, each func(AuditRecord)) error {
	in := bufio.NewReaderSize(r, maxAuditLine)
	var last AuditRecord
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		switch {
		case err == io.EOF && len(line) == 0:
			return nil
		case err == io.EOF:
			return fmt.Errorf("line %d: %w", n, ErrAuditTail)
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("line %d: %w: it is longer than any record", n, ErrAuditChain)
		case err != nil:
			return fmt.Errorf("line %d: %w", n, err)
		}
		var rec AuditRecord
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields() // what is not hashed does not belong there
		if err := d.Decode(&rec); err != nil {
			return fmt.Errorf("line %d: %w: it is no record", n, ErrAuditChain)
		}
		written, err := json.Marshal(rec)
		switch {
		case err != nil || rec.Hash != rec.digest() || !bytes.Equal(append(written, '\n'), line): // to the letter
			return fmt.Errorf("line %d: %w: record %d was changed", n, ErrAuditChain, rec.Seq)
		case n > 1 && (rec.Previous != last.Hash || rec.Seq != last.Seq+1):
			return fmt.Errorf("line %d: %w: record %d does not follow from record %d", n, ErrAuditChain, rec.Seq, last.Seq)
		}
		each(rec)
		last = rec
	}
}
