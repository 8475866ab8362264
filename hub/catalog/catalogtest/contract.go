package catalogtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/hub/catalog"
)

// patience bounds every wait of the suite; nothing waits so long unless it is broken.
const patience = 60 * time.Second

// Fixture is a fresh catalog to hold to the contract.
type Fixture struct {
	Catalog catalog.Catalog
	// Other is a second way to the same store, which Cut leaves alone.
	Other catalog.Catalog
	// Cut takes the store away from Catalog, or gives it back; nil if that cannot be done, and then what needs it is not
	// part of the suite. Connections that exist must break.
	Cut func(down bool)
	// Compact forgets the history up to now.
	Compact func()
}

// Contract holds an implementation of catalog.Catalog to its contract. open makes an empty one for each case.
func Contract(t *testing.T, open func(t *testing.T) Fixture) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { c.hold(t, open) })
	}
}

// ContractInBubble is Contract with each case in a testing/synctest bubble, for a store without files and sockets.
func ContractInBubble(t *testing.T, open func(t *testing.T) Fixture) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.hold(t, open) })
		})
	}
}

type testCase struct {
	name string
	cuts bool // needs Fixture.Cut
	run  func(ctx context.Context, t *testing.T, f Fixture)
}

func (c testCase) hold(t *testing.T, open func(t *testing.T) Fixture) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	if f := open(t); f.Cut != nil || !c.cuts {
		c.run(ctx, t, f)
	}
}

func cases() []testCase {
	return []testCase{
		{name: "a key that was never written is not found", run: notFound},
		{name: "what was committed is read back with its revision", run: readBack},
		{name: "an empty value is a value", run: emptyValue},
		{name: "a value of the greatest length fits", run: longestValue},
		{name: "a list has the keys under a prefix, sorted, at one revision", run: list},
		{name: "a list is whole beyond one page", run: longList},
		{name: "a condition that does not hold is a conflict", run: conditions},
		{name: "a commit makes all ops or none", run: allOrNone},
		{name: "a condition alone writes nothing", run: conditionOnly},
		{name: "deleting what is not there succeeds and changes nothing", run: deleteAbsent},
		{name: "ops that no store takes are refused", run: refusedOps},
		{name: "of writers at once each one wins its turn", run: concurrent},
		{name: "a watch lists, says so, and goes on", run: watch},
		{name: "a watch sees only its prefix", run: watchPrefix},
		{name: "a watch sees a commit in the order of its ops", run: watchOrder},
		{name: "a watch loses nothing between the list and the changes", run: watchGapless},
		{name: "a watch ends with its context and with its reader", run: watchEnds},
		{name: "a quiet watch shows signs of life", run: watchProgress},
		{name: "a key on a lease goes when its holder does", run: leaseEnds},
		{name: "a lease outlives its time while its holder lives", run: leaseKept},
		{name: "a commit on a lease that is gone fails", run: leaseGone},
		{name: "calls fail as unavailable while the store is away", cuts: true, run: unavailable},
		{name: "a watch goes on where it was after the store was away", cuts: true, run: watchResumes},
		{name: "a watch lists afresh when history was compacted meanwhile", cuts: true, run: watchResyncs},
		{name: "a holder that is cut off learns that its lease is lost", cuts: true, run: leaseLost},
	}
}

func notFound(ctx context.Context, t *testing.T, f Fixture) {
	if _, err := f.Catalog.Get(ctx, "nothing"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
	records, revision, err := f.Catalog.List(ctx, "")
	if err != nil || len(records) != 0 || revision < 1 {
		t.Errorf("List = %v, revision %d, %v; want none, a revision, nil", records, revision, err)
	}
}

func readBack(ctx context.Context, t *testing.T, f Fixture) {
	first := put(ctx, t, f.Catalog, "a", "1")
	second := put(ctx, t, f.Catalog, "a", "2")
	if second <= first {
		t.Errorf("revisions %d, then %d; they must grow", first, second)
	}
	for _, c := range []catalog.Catalog{f.Catalog, f.Other} {
		got, err := c.Get(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(catalog.Record{Key: "a", Value: []byte("2"), Revision: second}, got); diff != "" {
			t.Errorf("Get (-want +got):\n%s", diff)
		}
	}
}

func emptyValue(ctx context.Context, t *testing.T, f Fixture) {
	commit(ctx, t, f.Catalog, catalog.Op{Key: "a", Value: []byte{}, If: catalog.Absent})
	got, err := f.Catalog.Get(ctx, "a")
	if err != nil || len(got.Value) != 0 {
		t.Errorf("Get = %q, %v; want an empty value", got.Value, err)
	}
}

func longestValue(ctx context.Context, t *testing.T, f Fixture) {
	value := strings.Repeat("x", catalog.MaxValueBytes)
	put(ctx, t, f.Catalog, "a", value)
	if got, err := f.Catalog.Get(ctx, "a"); err != nil || string(got.Value) != value {
		t.Errorf("Get = %d bytes, %v; want %d", len(got.Value), err, len(value))
	}
}

func list(ctx context.Context, t *testing.T, f Fixture) {
	for _, k := range []string{"b/2", "b/1", "ba", "a", "b/10", "c"} {
		put(ctx, t, f.Catalog, k, k)
	}
	records, revision, err := f.Catalog.List(ctx, "b/")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b/1", "b/10", "b/2"}, keysOf(records)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	last, err := f.Catalog.Get(ctx, "c")
	if err != nil || revision != last.Revision {
		t.Errorf("revision of the list = %d, want that of the last write, %d (%v)", revision, last.Revision, err)
	}
}

func longList(ctx context.Context, t *testing.T, f Fixture) {
	const n = 2100
	for from := 0; from < n; from += 100 {
		ops := make([]catalog.Op, 100)
		for i := range ops {
			ops[i] = catalog.Op{Key: fmt.Sprintf("k/%05d", from+i), Value: []byte("x")}
		}
		commit(ctx, t, f.Catalog, ops...)
	}
	records, _, err := f.Catalog.List(ctx, "k/")
	if err != nil || len(records) != n || !slices.IsSorted(keysOf(records)) {
		t.Errorf("List = %d records, %v; want %d, sorted", len(records), err, n)
	}
}

func conditions(ctx context.Context, t *testing.T, f Fixture) {
	old := put(ctx, t, f.Catalog, "there", "1")
	now := put(ctx, t, f.Catalog, "there", "2")
	for _, row := range []struct {
		name string
		op   catalog.Op
		want error
	}{
		{"absent, and it is there", catalog.Op{Key: "there", Value: []byte("x"), If: catalog.Absent}, catalog.ErrConflict},
		{"at a revision it has left", catalog.Op{Key: "there", Value: []byte("x"), If: old}, catalog.ErrConflict},
		{"at a revision, and it is not there", catalog.Op{Key: "gone", Value: []byte("x"), If: now}, catalog.ErrConflict},
		{"deleted at a revision it has left", catalog.Op{Key: "there", Delete: true, If: old}, catalog.ErrConflict},
		{"at its revision", catalog.Op{Key: "there", Value: []byte("3"), If: now}, nil},
		{"absent, and it is not there", catalog.Op{Key: "new", Value: []byte("x"), If: catalog.Absent}, nil},
		{"whatever it is", catalog.Op{Key: "there", Delete: true}, nil},
	} {
		if _, err := f.Catalog.Commit(ctx, row.op); !errors.Is(err, row.want) {
			t.Errorf("%s: Commit = %v, want %v", row.name, err, row.want)
		}
	}
}

func allOrNone(ctx context.Context, t *testing.T, f Fixture) {
	put(ctx, t, f.Catalog, "b", "old")
	_, err := f.Catalog.Commit(ctx,
		catalog.Op{Key: "a", Value: []byte("new")},
		catalog.Op{Key: "b", Delete: true},
		catalog.Op{Key: "b2", Value: []byte("x"), If: 1 << 40})
	if !errors.Is(err, catalog.ErrConflict) {
		t.Fatalf("Commit = %v, want ErrConflict", err)
	}
	if records, _, err := f.Catalog.List(ctx, ""); err != nil || !slices.Equal(keysOf(records), []string{"b"}) {
		t.Errorf("after a failed commit there is %v, %v; want b alone", keysOf(records), err)
	}
	revision := commit(ctx, t, f.Catalog,
		catalog.Op{Key: "a", Value: []byte("new")}, catalog.Op{Key: "b", Delete: true}, catalog.Op{Key: "c", Value: []byte("new")})
	records, _, err := f.Catalog.List(ctx, "")
	want := []catalog.Record{{Key: "a", Value: []byte("new"), Revision: revision}, {Key: "c", Value: []byte("new"), Revision: revision}}
	if diff := cmp.Diff(want, records); diff != "" || err != nil {
		t.Errorf("after a commit, %v (-want +got):\n%s", err, diff)
	}
}

func conditionOnly(ctx context.Context, t *testing.T, f Fixture) {
	revision := put(ctx, t, f.Catalog, "guard", "1")
	commit(ctx, t, f.Catalog, catalog.Op{Key: "guard", If: revision}, catalog.Op{Key: "a", Value: []byte("1")})
	if got, err := f.Catalog.Get(ctx, "guard"); err != nil || string(got.Value) != "1" || got.Revision != revision {
		t.Errorf("the guard is %v, %v; want it untouched", got, err)
	}
	commit(ctx, t, f.Catalog, catalog.Op{Key: "guard", Delete: true})
	_, err := f.Catalog.Commit(ctx, catalog.Op{Key: "guard", If: revision}, catalog.Op{Key: "a", Value: []byte("2")})
	if !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("Commit without its guard = %v, want ErrConflict", err)
	}
}

func deleteAbsent(ctx context.Context, t *testing.T, f Fixture) {
	before := put(ctx, t, f.Catalog, "a", "1")
	if after := commit(ctx, t, f.Catalog, catalog.Op{Key: "b", Delete: true}); after != before {
		t.Errorf("revision %d after deleting nothing, want %d", after, before)
	}
}

func refusedOps(ctx context.Context, t *testing.T, f Fixture) {
	for name, ops := range RefusedOps() {
		if _, err := f.Catalog.Commit(ctx, ops...); err == nil {
			t.Errorf("%s: Commit succeeded", name)
		}
	}
	if records, _, err := f.Catalog.List(ctx, ""); err != nil || len(records) != 0 {
		t.Errorf("refused ops wrote %v, %v", keysOf(records), err)
	}
}

// RefusedOps are commits that catalog.CheckOps refuses, by the reason.
func RefusedOps() map[string][]catalog.Op {
	x := []byte("x")
	many := make([]catalog.Op, catalog.MaxOps+1)
	for i := range many {
		many[i] = catalog.Op{Key: fmt.Sprintf("k%d", i), Value: x}
	}
	long := make([]byte, catalog.MaxValueBytes)
	return map[string][]catalog.Op{
		"no ops":                        {},
		"too many ops":                  many,
		"no key":                        {{Value: x}},
		"a key that is too long":        {{Key: strings.Repeat("k", catalog.MaxKeyBytes+1), Value: x}},
		"a key twice":                   {{Key: "a", Value: x}, {Key: "a", Delete: true}},
		"a delete with a value":         {{Key: "a", Value: x, Delete: true}},
		"a delete on a lease":           {{Key: "a", Delete: true, Lease: 1}},
		"a value that is too long":      {{Key: "a", Value: append(long, 'x')}},
		"values that are too long":      {{Key: "a", Value: long}, {Key: "b", Value: long}},
		"a condition that is none":      {{Key: "a", Value: x, If: -2}},
		"neither a write nor a demand":  {{Key: "a"}},
		"nothing to do beside a demand": {{Key: "a", If: catalog.Absent}, {Key: "b"}},
	}
}

func concurrent(ctx context.Context, t *testing.T, f Fixture) {
	const writers, each = 8, 20
	put(ctx, t, f.Catalog, "n", "0")
	var wg sync.WaitGroup
	for w := range writers {
		c := []catalog.Catalog{f.Catalog, f.Other}[w%2]
		wg.Go(func() {
			for range each {
				if err := increment(ctx, c, "n"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got, err := f.Catalog.Get(ctx, "n"); err != nil || string(got.Value) != fmt.Sprint(writers*each) {
		t.Errorf("counted to %q, %v; want %d", got.Value, err, writers*each)
	}
}

// increment counts by reading, adding one and committing on the condition that nobody else did.
func increment(ctx context.Context, c catalog.Catalog, key string) error {
	for {
		r, err := c.Get(ctx, key)
		if err != nil {
			return err
		}
		var n int
		if _, err := fmt.Sscan(string(r.Value), &n); err != nil {
			return err
		}
		_, err = c.Commit(ctx, catalog.Op{Key: key, Value: fmt.Append(nil, n+1), If: r.Revision})
		if !errors.Is(err, catalog.ErrConflict) {
			return err
		}
	}
}

func commit(ctx context.Context, t *testing.T, c catalog.Catalog, ops ...catalog.Op) int64 {
	t.Helper()
	revision, err := c.Commit(ctx, ops...)
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return revision
}

func put(ctx context.Context, t *testing.T, c catalog.Catalog, key, value string) int64 {
	t.Helper()
	return commit(ctx, t, c, catalog.Op{Key: key, Value: []byte(value)})
}

func keysOf(records []catalog.Record) []string {
	keys := make([]string, len(records))
	for i, r := range records {
		keys[i] = r.Key
	}
	return keys
}
