package catalog_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/catalogtest"
)

func object(name, data string) catalog.Object {
	r := ref
	r.Name = name
	return catalog.Object{Ref: r, Data: json.RawMessage(data)}
}

func apply(t *testing.T, s *catalog.Objects, owner string, o catalog.Object) (catalog.Object, catalog.Change) {
	t.Helper()
	got, change, err := s.Apply(t.Context(), owner, o, catalog.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got, change
}

func TestApplyWritesOnlyWhatChanged(t *testing.T) {
	m := catalogtest.New()
	s := catalog.NewObjects(m)
	var revision int64
	for _, row := range []struct {
		name, data string
		change     catalog.Change
		generation int64
	}{
		{"the first time it is made", `{"spec":{"port":1}}`, catalog.Created, 1},
		{"the same again is no write", `{"spec":{"port":1}}`, catalog.Unchanged, 1},
		{"nor is the same in another form", ` {"spec": {"port": 1}} `, catalog.Unchanged, 1},
		{"a label is a write, no new generation", `{"metadata":{"labels":{"a":"b"}},"spec":{"port":1}}`, catalog.Updated, 1},
		{"another spec is a new generation", `{"metadata":{"labels":{"a":"b"}},"spec":{"port":2}}`, catalog.Updated, 2},
		{"so is a member beside spec", `{"data":{},"spec":{"port":2}}`, catalog.Updated, 3},
		{"and one less", `{"spec":{"port":2}}`, catalog.Updated, 4},
	} {
		got, change := apply(t, s, "folder", object("openai", row.data))
		if change != row.change || got.Generation != row.generation {
			t.Errorf("%s: %s, generation %d; want %s, %d", row.name, change, got.Generation, row.change, row.generation)
		}
		if wrote := got.Revision != revision; wrote != (change != catalog.Unchanged) {
			t.Errorf("%s: revision %d after %d", row.name, got.Revision, revision)
		}
		revision = got.Revision
		read, err := s.Get(t.Context(), got.Ref)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, read); diff != "" {
			t.Errorf("%s: what Apply returned is not what is stored (-returned +stored):\n%s", row.name, diff)
		}
	}
}

func TestAnObjectKeepsItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := catalog.NewObjects(catalogtest.New())
		began := time.Now().UTC().Round(0)
		first, _ := apply(t, s, "folder", object("openai", `{"spec":{}}`))
		time.Sleep(time.Hour)
		o := object("openai", `{"spec":{"a":1}}`)
		o.Origin, o.UID, o.OriginCluster = time.Unix(1, 0), "other", "elsewhere"
		got, _ := apply(t, s, "folder", o)
		if !got.Origin.Equal(began) || got.UID != first.UID || got.OriginCluster != "" {
			t.Errorf("after a change: origin %v, uid %s, cluster %q; want %v, %s and none", got.Origin, got.UID, got.OriginCluster, began, first.UID)
		}
		replica := object("replica", `{"spec":{}}`)
		replica.Origin, replica.OriginCluster, replica.UID = time.Unix(1e9, 0), "east", "u-east"
		got, _ = apply(t, s, "kube", replica)
		if !got.Origin.Equal(replica.Origin) || got.OriginCluster != "east" || got.UID != "u-east" {
			t.Errorf("a replica is %+v, want the origin it came with", got)
		}
	})
}

func TestOneOwnerChangesAnObject(t *testing.T) {
	s := catalog.NewObjects(catalogtest.New())
	o, _ := apply(t, s, "folder", object("openai", `{"spec":{}}`))
	_, _, err := s.Apply(t.Context(), "kube", object("openai", `{"spec":{"a":1}}`), catalog.ApplyOptions{})
	if !errors.Is(err, catalog.ErrOwned) || !strings.Contains(err.Error(), `"folder"`) || !strings.Contains(err.Error(), `"kube"`) {
		t.Errorf("Apply = %v, want ErrOwned naming both owners", err)
	}
	if err := s.Delete(t.Context(), "kube", o.Ref, catalog.ApplyOptions{}); !errors.Is(err, catalog.ErrOwned) {
		t.Errorf("Delete = %v, want ErrOwned", err)
	}
	got, change, err := s.Apply(t.Context(), "kube", object("openai", `{"spec":{}}`), catalog.ApplyOptions{Force: true})
	if err != nil || change != catalog.Updated || got.Owner != "kube" || got.Generation != 1 || got.UID != o.UID {
		t.Errorf("by force: %+v, %s, %v; want the same object of kube", got, change, err)
	}
	if _, _, err := s.Apply(t.Context(), "folder", object("openai", `{"spec":{}}`), catalog.ApplyOptions{}); !errors.Is(err, catalog.ErrOwned) {
		t.Errorf("Apply of the old owner = %v, want ErrOwned", err)
	}
	if err := s.Delete(t.Context(), "folder", o.Ref, catalog.ApplyOptions{Force: true}); err != nil {
		t.Errorf("Delete by force: %v", err)
	}
	if err := s.Delete(t.Context(), "kube", o.Ref, catalog.ApplyOptions{}); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Delete of nothing = %v, want ErrNotFound", err)
	}
}

func TestSetStatus(t *testing.T) {
	s := catalog.NewObjects(catalogtest.New())
	o, _ := apply(t, s, "folder", object("openai", `{"spec":{}}`))
	for _, row := range []struct {
		name, uid, status string
		written           bool
		err               error
	}{
		{"the first is written", o.UID, `{"conditions":[]}`, true, nil},
		{"the same is not", o.UID, ` {"conditions": []}`, false, nil},
		{"another is", "", `{"conditions":[{"type":"Accepted"}]}`, true, nil},
		{"for an object of that name before, it is not", "other", `{}`, false, catalog.ErrNotFound},
	} {
		written, err := s.SetStatus(t.Context(), o.Ref, row.uid, json.RawMessage(row.status))
		if written != row.written || !errors.Is(err, row.err) {
			t.Errorf("%s: %v, %v; want %v, %v", row.name, written, err, row.written, row.err)
		}
	}
	got, change := apply(t, s, "folder", object("openai", `{"spec":{"a":1}}`))
	if change != catalog.Updated || string(got.Status) != `{"conditions":[{"type":"Accepted"}]}` || got.Generation != 2 {
		t.Errorf("after Apply: %s, status %s, generation %d; the status must stay", change, got.Status, got.Generation)
	}
	if _, err := s.SetStatus(t.Context(), object("gone", "").Ref, "", json.RawMessage(`{}`)); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("of nothing: %v, want ErrNotFound", err)
	}
}

func TestReplacePrunesTheOwnersAndNothingElse(t *testing.T) {
	s := catalog.NewObjects(catalogtest.New())
	apply(t, s, "folder", object("stays", `{"spec":{}}`))
	apply(t, s, "folder", object("goes", `{"spec":{}}`))
	apply(t, s, "kube", object("theirs", `{"spec":{}}`))
	got, err := s.Replace(t.Context(), "folder", []catalog.Object{
		object("stays", `{"spec":{}}`), object("theirs", `{"spec":{"a":1}}`), object("new", `{"spec":{}}`), object("new", `{"spec":{"b":1}}`), object("bad", `[]`),
	})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range got {
		line := r.Name + " " + string(r.Change)
		if r.Err != nil {
			line = r.Name + " refused"
		}
		lines = append(lines, line)
	}
	want := []string{"stays unchanged", "theirs refused", "new created", "new refused", "bad refused", "goes deleted"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	objects, _, err := s.List(t.Context(), catalog.KindPrefix("penstock.dev", "Backend"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range objects {
		names = append(names, o.Name+" of "+o.Owner+" "+string(o.Data))
	}
	want = []string{`new of folder {"spec":{}}`, `stays of folder {"spec":{}}`, `theirs of kube {"spec":{}}`}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestReplaceDeletesNothingItCannotRead(t *testing.T) {
	m := catalogtest.New()
	s := catalog.NewObjects(m)
	apply(t, s, "folder", object("goes", `{"spec":{}}`))
	newer := catalog.ObjectKey(object("newer", "").Ref)
	if _, err := m.Commit(t.Context(), catalog.Op{Key: newer, Value: []byte(`{"schema":9}`)}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Replace(t.Context(), "folder", nil)
	var schema *catalog.SchemaError
	if !errors.As(err, &schema) {
		t.Errorf("Replace = %v, want a SchemaError", err)
	}
	objects, _, err := s.List(t.Context(), catalog.ObjectsPrefix)
	if len(objects) != 1 || !errors.As(err, &schema) {
		t.Errorf("List = %d objects, %v; want the one that can be read and the error for the other", len(objects), err)
	}
}

func TestReplaceStopsWhenTheCatalogIsAway(t *testing.T) {
	m := catalogtest.New()
	m.Fail(true)
	if _, err := catalog.NewObjects(m).Replace(t.Context(), "folder", []catalog.Object{object("a", `{}`)}); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("Replace = %v, want ErrUnavailable", err)
	}
}

// Writers at once lose none of their changes: each spec change is one generation, each status is in the end somebody's.
func TestWritersAtOnce(t *testing.T) {
	s := catalog.NewObjects(catalogtest.New())
	const writers, each = 6, 15
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				again(t, func() error {
					_, _, err := s.Apply(t.Context(), "folder", object("a", fmt.Sprintf(`{"spec":{"n":"%d-%d"}}`, w, i)), catalog.ApplyOptions{})
					return err
				})
				again(t, func() error {
					_, err := s.SetStatus(t.Context(), object("a", "").Ref, "", json.RawMessage(fmt.Sprintf(`{"n":"%d-%d"}`, w, i)))
					return err
				})
			}
		})
	}
	wg.Wait()
	got, err := s.Get(t.Context(), object("a", "").Ref)
	if err != nil || got.Generation != writers*each {
		t.Errorf("generation %d, %v; want %d", got.Generation, err, writers*each)
	}
}

func again(t *testing.T, f func() error) {
	for {
		err := f()
		if errors.Is(err, catalog.ErrConflict) {
			continue
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		return
	}
}
