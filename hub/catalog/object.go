package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Schema is the version of the object envelope that this build writes, and the newest it reads.
const Schema = 1

// Object is a manifest as the catalog keeps it.
type Object struct {
	Ref
	// Schema of the stored record; set by DecodeObject and Objects.
	Schema int
	// Origin is when the object was first made, in whatever cluster; ties are decided by it.
	Origin time.Time
	// OriginCluster is where; empty: here.
	OriginCluster string
	// Owner is the one writer that may change the object, for example "folder", "kube" or "admin".
	Owner string
	// Generation goes up with each change of Data outside of its metadata; starts at 1.
	Generation int64
	// UID tells this object from an earlier one of the same name.
	UID string
	// Data is canonical JSON of the manifest without its identity and status: {"metadata":{…},"spec":{…}}.
	Data json.RawMessage
	// Status is canonical JSON; nil: none yet.
	Status json.RawMessage
	// Revision of the record; 0 if it was not read from the catalog.
	Revision int64
}

// A SchemaError says that a record was written by a newer release. It is left alone.
type SchemaError struct {
	Key    string
	Schema int
}

func (e *SchemaError) Error() string {
	return fmt.Sprintf("catalog: %s has schema version %d, this build reads up to %d; upgrade this hub before it serves or changes that object",
		e.Key, e.Schema, Schema)
}

// envelope is the stored form of an Object. Its fields stand in the order of their names, so that encoding/json, which
// keeps the order of a struct, writes canonical JSON.
type envelope struct {
	Data          json.RawMessage `json:"data"`
	Generation    int64           `json:"generation"`
	Group         string          `json:"group,omitempty"`
	Kind          string          `json:"kind"`
	Name          string          `json:"name"`
	Namespace     string          `json:"namespace,omitempty"`
	Origin        time.Time       `json:"origin"`
	OriginCluster string          `json:"originCluster,omitempty"`
	Owner         string          `json:"owner"`
	Schema        int             `json:"schema"`
	Status        json.RawMessage `json:"status,omitempty"`
	UID           string          `json:"uid"`
}

// EncodeObject gives the value stored at ObjectKey(o.Ref). It fails if Data or Status is not a JSON object, or if a field
// that every object has is empty.
func EncodeObject(o Object) ([]byte, error) {
	data, err := canonicalObject(o.Data)
	if err != nil {
		return nil, fmt.Errorf("catalog: encode %s: data: %w", o.Ref, err)
	}
	e := envelope{
		Data: data, Generation: o.Generation, Group: o.Group, Kind: o.Kind, Name: o.Name, Namespace: o.Namespace,
		Origin: o.Origin.UTC(), OriginCluster: o.OriginCluster, Owner: o.Owner, Schema: Schema, UID: o.UID,
	}
	if o.Status != nil {
		if e.Status, err = canonicalObject(o.Status); err != nil {
			return nil, fmt.Errorf("catalog: encode %s: status: %w", o.Ref, err)
		}
	}
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("catalog: encode %s: %w", o.Ref, err)
	}
	return encodeJSON(e)
}

// DecodeObject reads a record under ObjectsPrefix. It returns a *SchemaError for a record of a newer release, ErrKey for
// a key of another family, and an error for a record that does not fit its key.
func DecodeObject(r Record) (Object, error) {
	ref, err := ParseObjectKey(r.Key)
	if err != nil {
		return Object{}, err
	}
	// The schema first: a newer record may have fields of any form.
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(r.Value, &version); err != nil {
		return Object{}, fmt.Errorf("catalog: record %s: %w", r.Key, err)
	}
	if version.Schema > Schema {
		return Object{}, &SchemaError{Key: r.Key, Schema: version.Schema}
	}
	var e envelope
	if err := decodeStrict(r.Value, &e); err != nil {
		return Object{}, fmt.Errorf("catalog: record %s: %w", r.Key, err)
	}
	if got := (Ref{e.Group, e.Kind, e.Namespace, e.Name}); got != ref {
		return Object{}, fmt.Errorf("catalog: record %s says it is %s; restore it from a backup or delete it", r.Key, got)
	}
	if err := e.check(); err != nil {
		return Object{}, fmt.Errorf("catalog: record %s: %w", r.Key, err)
	}
	o := Object{
		Ref: ref, Schema: e.Schema, Origin: e.Origin.UTC(), OriginCluster: e.OriginCluster, Owner: e.Owner,
		Generation: e.Generation, UID: e.UID, Revision: r.Revision,
	}
	if o.Data, err = canonicalObject(e.Data); err != nil {
		return Object{}, fmt.Errorf("catalog: record %s: data: %w", r.Key, err)
	}
	if e.Status != nil {
		if o.Status, err = canonicalObject(e.Status); err != nil {
			return Object{}, fmt.Errorf("catalog: record %s: status: %w", r.Key, err)
		}
	}
	return o, nil
}

func (e *envelope) check() error {
	switch {
	case e.Schema < 1:
		return fmt.Errorf("schema version %d does not exist", e.Schema)
	case e.Kind == "" || e.Name == "":
		return errors.New("kind or name is empty")
	case e.Owner == "":
		return errors.New("owner is empty")
	case e.UID == "":
		return errors.New("uid is empty")
	case e.Generation < 1:
		return fmt.Errorf("generation is %d, want at least 1", e.Generation)
	case e.Origin.IsZero():
		return errors.New("origin is empty")
	}
	return nil
}

// Canonical returns the one form of a JSON text that the catalog stores: members sorted by name, no white space, numbers
// as they were written, no HTML escapes. Of a member that stands twice the last one counts.
func Canonical(text []byte) (json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	return encodeJSON(v) // maps are written sorted
}

func canonicalObject(text []byte) (json.RawMessage, error) {
	c, err := Canonical(text)
	if err == nil && c[0] != '{' {
		err = errors.New("not a JSON object")
	}
	return c, err
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func decodeStrict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}
