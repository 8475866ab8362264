package catalog_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/catalogtest"
)

var ref = catalog.Ref{Group: "penstock.dev", Kind: "Backend", Namespace: "ai", Name: "openai"}

const stored = `{"data":{"metadata":{"labels":{"a":"<1>"}},"spec":{"b":2.50,"a":[1,null]}},"generation":3,"group":"penstock.dev","kind":"Backend",` +
	`"name":"openai","namespace":"ai","origin":"2026-11-22T09:00:00Z","originCluster":"east","owner":"folder","schema":1,"status":{"x":1},"uid":"u1"}`

func record(value string) catalog.Record {
	return catalog.Record{Key: catalog.ObjectKey(ref), Value: []byte(value), Revision: 7}
}

func TestObjectIsStoredInOneForm(t *testing.T) {
	o := catalog.Object{
		Ref: ref, Origin: time.Date(2026, 11, 22, 10, 0, 0, 0, time.FixedZone("CET", 3600)), OriginCluster: "east", Owner: "folder",
		Generation: 3, UID: "u1", Data: []byte(` {"spec": {"b":2.50, "a":[1, null]}, "metadata":{"labels":{"a":"<1>"}}}`), Status: []byte(`{"x": 1}`),
	}
	got, err := catalog.EncodeObject(o)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(stored, `{"b":2.50,"a":[1,null]}`, `{"a":[1,null],"b":2.50}`, 1)
	if string(got) != want {
		t.Errorf("EncodeObject =\n%s, want\n%s", got, want)
	}
	back, err := catalog.DecodeObject(record(string(got)))
	if err != nil {
		t.Fatal(err)
	}
	o.Origin, o.Schema, o.Revision = o.Origin.UTC(), 1, 7
	o.Data, o.Status = []byte(`{"metadata":{"labels":{"a":"<1>"}},"spec":{"a":[1,null],"b":2.50}}`), []byte(`{"x":1}`)
	if diff := cmp.Diff(o, back); diff != "" {
		t.Errorf("DecodeObject (-want +got):\n%s", diff)
	}
}

func TestRecordsThatAreNoObjectAreRefused(t *testing.T) {
	for _, row := range []struct{ name, old, with, want string }{
		{"of another object", `"name":"openai"`, `"name":"other"`, "says it is"},
		{"with a field of a later release", `"uid":"u1"`, `"uid":"u1","zone":"b"`, "zone"},
		{"without a schema version", `"schema":1,`, ``, "schema version 0"},
		{"without an owner", `"owner":"folder"`, `"owner":""`, "owner"},
		{"without an origin", `"origin":"2026-11-22T09:00:00Z",`, ``, "origin"},
		{"without a uid", `"uid":"u1"`, `"uid":""`, "uid"},
		{"without a generation", `"generation":3`, `"generation":0`, "generation"},
		{"with data that is no object", `"data":{`, `"data":[],"zata":{`, "zata"},
		{"with a status that is no object", `{"x":1}`, `null`, "status"},
		{"that is cut off", `"uid":"u1"}`, `"uid"`, "JSON"},
		{"that goes on", `"uid":"u1"}`, `"uid":"u1"}{}`, "after top-level"},
	} {
		t.Run(row.name, func(t *testing.T) {
			value := strings.Replace(stored, row.old, row.with, 1)
			if value == stored {
				t.Fatal("the row changes nothing")
			}
			if o, err := catalog.DecodeObject(record(value)); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("DecodeObject = %+v, %v; want an error with %q", o, err, row.want)
			}
		})
	}
}

func TestANewerSchemaIsNamedAndNotGuessedAt(t *testing.T) {
	_, err := catalog.DecodeObject(record(`{"schema":2,"data":"of some other form"}`))
	var newer *catalog.SchemaError
	if !errors.As(err, &newer) || newer.Schema != 2 || !strings.Contains(err.Error(), "schema version 2") || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("DecodeObject = %v, want a SchemaError that says 2 and what to do", err)
	}
}

func TestObjectsThatCannotBeStoredAreRefused(t *testing.T) {
	good := catalog.Object{Ref: ref, Origin: time.Unix(1, 0), Owner: "folder", Generation: 1, UID: "u", Data: []byte(`{}`)}
	if _, err := catalog.EncodeObject(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*catalog.Object){
		"no kind":              func(o *catalog.Object) { o.Kind = "" },
		"no owner":             func(o *catalog.Object) { o.Owner = "" },
		"no data":              func(o *catalog.Object) { o.Data = nil },
		"data that is a list":  func(o *catalog.Object) { o.Data = []byte(`[]`) },
		"status that is null":  func(o *catalog.Object) { o.Status = []byte(`null`) },
		"data that is no JSON": func(o *catalog.Object) { o.Data = []byte(`{`) },
	} {
		o := good
		spoil(&o)
		if got, err := catalog.EncodeObject(o); err == nil {
			t.Errorf("%s: EncodeObject = %s", name, got)
		}
	}
}

func TestCheckOpsRefuses(t *testing.T) {
	for name, ops := range catalogtest.RefusedOps() {
		if err := catalog.CheckOps(ops); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := catalog.CheckOps([]catalog.Op{{Key: "a", Value: []byte{}}, {Key: "b", Delete: true, If: 3}, {Key: "c", If: catalog.Absent}}); err != nil {
		t.Errorf("good ops: %v", err)
	}
}

// What decodes, encodes and decodes to the same; and the encoding is a fixed point.
func FuzzDecodeObject(f *testing.F) {
	f.Add(stored)
	f.Add(`{"schema":2}`)
	f.Add(strings.Replace(stored, `"x":1`, `"x":1e400,"é":"\u2028\ud800"`, 1))
	f.Add(strings.Replace(stored, "2026-11-22T09:00:00Z", "2026-11-22T09:00:00.000000001+14:00", 1))
	f.Fuzz(func(t *testing.T, value string) {
		o, err := catalog.DecodeObject(record(value))
		if err != nil {
			return
		}
		again, err := catalog.EncodeObject(o)
		if err != nil {
			t.Fatalf("decoded %+v, but: %v", o, err)
		}
		back, err := catalog.DecodeObject(record(string(again)))
		if err != nil {
			t.Fatalf("encoded %s, but: %v", again, err)
		}
		if diff := cmp.Diff(o, back); diff != "" {
			t.Fatalf("(-first +second):\n%s", diff)
		}
	})
}
