package registry

import (
	"log/slog"
	"testing"

	"penstock.dev/penstock/hub/catalog"
)

func textTable() *table[string] {
	return newTable("p/", slog.New(slog.DiscardHandler), func(rec catalog.Record) (string, error) { return string(rec.Value), nil })
}

func textRecord(key, value string, revision int64) catalog.Record {
	return catalog.Record{Key: "p/" + key, Value: []byte(value), Revision: revision}
}

// What a replica wrote or read itself must not be undone by events that were under way.
func TestTableKeepsWhatIsNewer(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(tb *table[string])
		want string // "": none
	}{
		{"an older put changes nothing", func(tb *table[string]) { tb.put(textRecord("a", "old", 9)) }, "new"},
		{"a newer put counts", func(tb *table[string]) { tb.put(textRecord("a", "newer", 11)) }, "newer"},
		{"an older deletion changes nothing", func(tb *table[string]) { tb.delete(textRecord("a", "", 9)) }, "new"},
		{"a newer deletion counts", func(tb *table[string]) { tb.delete(textRecord("a", "", 11)) }, ""},
		{"an older listing with the key changes nothing", func(tb *table[string]) {
			tb.replace(map[string]row[string]{"a": {8, "old"}}, 9, false)
		}, "new"},
		{"an older listing without the key changes nothing", func(tb *table[string]) {
			tb.replace(map[string]row[string]{}, 9, false)
		}, "new"},
		{"a newer listing without the key counts", func(tb *table[string]) {
			tb.replace(map[string]row[string]{}, 10, false)
		}, ""},
		{"a store that went back is right about what nobody keeps", func(tb *table[string]) {
			tb.replace(map[string]row[string]{"a": {3, "old"}}, 5, true)
		}, "old"},
	} {
		tb := textTable()
		tb.put(textRecord("a", "new", 10))
		tt.then(tb)
		if got, ok := tb.get("a"); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, ok, tt.want)
		}
	}
}

func TestSerialsHave128Bits(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		n := newSerial()
		if n.Sign() <= 0 || n.BitLen() != 128 || len(n.Bytes()) > 20 || seen[n.String()] {
			t.Fatalf("serial %x, want 128 bits that were not drawn before", n)
		}
		seen[n.String()] = true
	}
}
