package catalog

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrOwned: the object belongs to another writer.
var ErrOwned = errors.New("catalog: object is owned by another writer")

// casTries bounds how often a read-change-commit is begun again because somebody else was quicker. Each loss means that
// another writer made progress, so a writer that loses this often is told rather than starved in silence.
const casTries = 16

// Change is what a write did to an object.
type Change string

// The changes.
const (
	Unchanged Change = "unchanged"
	Created   Change = "created"
	Updated   Change = "updated"
	Deleted   Change = "deleted"
)

// Objects keeps owned objects in a Catalog. Safe for concurrent use, also by several replicas: every write is on the
// condition that nothing changed since it was decided.
type Objects struct {
	c Catalog
}

// NewObjects over c.
func NewObjects(c Catalog) *Objects { return &Objects{c: c} }

// ApplyOptions of Apply and Delete. The zero value respects owners.
type ApplyOptions struct {
	// Force takes the object over from its owner, or deletes it all the same.
	Force bool
}

// Apply creates or changes an object of owner. Only obj's Ref and Data count, and on creation Origin (zero: now),
// OriginCluster, UID (empty: a random one) and Status; afterwards these stay as they are stored. Nothing is written if
// the owner and the canonical Data are the same. It returns the object as it is stored now, ErrOwned if another owner has
// it, and ErrConflict if others kept changing it meanwhile.
func (s *Objects) Apply(ctx context.Context, owner string, obj Object, opt ApplyOptions) (Object, Change, error) {
	data, err := canonicalObject(obj.Data)
	if err != nil {
		return Object{}, "", fmt.Errorf("catalog: apply %s: data: %w", obj.Ref, err)
	}
	var (
		next   Object
		change Change
	)
	err = s.update(ctx, obj.Ref, func(old *Object) (*Object, error) {
		if old == nil {
			next, change = created(owner, obj), Created
			next.Data = data
			return &next, nil
		}
		if err := owned(*old, owner, opt.Force); err != nil {
			return nil, err
		}
		next, change = *old, Unchanged
		if old.Owner == owner && bytes.Equal(old.Data, data) {
			return nil, nil
		}
		next.Owner, next.Data, change = owner, data, Updated
		if !sameSpec(old.Data, data) {
			next.Generation++
		}
		return &next, nil
	})
	if err != nil {
		return Object{}, "", fmt.Errorf("catalog: apply %s: %w", obj.Ref, err)
	}
	return next, change, nil
}

// Delete deletes an object of owner. It returns ErrNotFound if there is none and ErrOwned if another owner has it.
func (s *Objects) Delete(ctx context.Context, owner string, ref Ref, opt ApplyOptions) error {
	key := ObjectKey(ref)
	for range casTries {
		old, err := s.Get(ctx, ref)
		if err != nil {
			return err
		}
		if err := owned(old, owner, opt.Force); err != nil {
			return fmt.Errorf("catalog: delete %s: %w", ref, err)
		}
		_, err = s.c.Commit(ctx, Op{Key: key, Delete: true, If: old.Revision})
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("catalog: delete %s: %w", ref, ErrConflict)
}

// Get returns ErrNotFound if there is none and a *SchemaError if a newer release wrote it.
func (s *Objects) Get(ctx context.Context, ref Ref) (Object, error) {
	r, err := s.c.Get(ctx, ObjectKey(ref))
	if errors.Is(err, ErrNotFound) {
		return Object{}, fmt.Errorf("%w: %s", ErrNotFound, ref)
	}
	if err != nil {
		return Object{}, err
	}
	return DecodeObject(r)
}

// List returns the objects under prefix (ObjectsPrefix or KindPrefix), sorted by key, and the revision of the listing.
// Objects that cannot be read are left out and named in an error, joined; the others are returned beside it.
func (s *Objects) List(ctx context.Context, prefix string) ([]Object, int64, error) {
	records, revision, err := s.c.List(ctx, prefix)
	if err != nil {
		return nil, 0, err
	}
	objects := make([]Object, 0, len(records))
	var faults []error
	for _, r := range records {
		o, err := DecodeObject(r)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		objects = append(objects, o)
	}
	return objects, revision, errors.Join(faults...)
}

// SetStatus writes an object's status, whoever owns it, and reports whether it had to: the same status is not written
// again. uid, if not empty, must be that of the object, so that a status never lands on a namesake made later. It returns
// ErrNotFound if the object is gone.
func (s *Objects) SetStatus(ctx context.Context, ref Ref, uid string, status json.RawMessage) (written bool, err error) {
	canonical, err := canonicalObject(status)
	if err != nil {
		return false, fmt.Errorf("catalog: status of %s: %w", ref, err)
	}
	err = s.update(ctx, ref, func(old *Object) (*Object, error) {
		written = false
		if old == nil || uid != "" && old.UID != uid {
			return nil, ErrNotFound
		}
		if bytes.Equal(old.Status, canonical) {
			return nil, nil
		}
		next := *old
		next.Status, written = canonical, true
		return &next, nil
	})
	if err != nil {
		return false, fmt.Errorf("catalog: status of %s: %w", ref, err)
	}
	return written, nil
}

// Result of one object of a Replace.
type Result struct {
	Ref
	Change Change
	// Err is why nothing changed; ErrOwned with both owners named, for example.
	Err error
}

// Replace makes all the complete set of owner's objects: it applies each and deletes what owner has beyond. A faulty
// object costs only itself and is reported in its Result. It fails as a whole, with the Results so far, if the catalog
// does not answer; and before anything is deleted if a stored object cannot be read, since it might be owner's. The
// results are in the order of all, deletions behind, by key.
func (s *Objects) Replace(ctx context.Context, owner string, all []Object) ([]Result, error) {
	keep := make(map[Ref]bool, len(all))
	results := make([]Result, 0, len(all))
	for _, o := range all {
		if keep[o.Ref] {
			results = append(results, Result{Ref: o.Ref, Err: fmt.Errorf("catalog: %s is given twice; the first one counts", o.Ref)})
			continue
		}
		keep[o.Ref] = true
		_, change, err := s.Apply(ctx, owner, o, ApplyOptions{})
		if err != nil && (ctx.Err() != nil || errors.Is(err, ErrUnavailable)) {
			return results, err
		}
		results = append(results, Result{Ref: o.Ref, Change: change, Err: err})
	}
	stored, _, err := s.List(ctx, ObjectsPrefix)
	if err != nil {
		return results, fmt.Errorf("catalog: nothing of %s was pruned: %w", owner, err)
	}
	for _, o := range stored {
		if o.Owner != owner || keep[o.Ref] {
			continue
		}
		err := s.Delete(ctx, owner, o.Ref, ApplyOptions{})
		switch {
		case err == nil:
			results = append(results, Result{Ref: o.Ref, Change: Deleted})
		case ctx.Err() != nil || errors.Is(err, ErrUnavailable):
			return results, err
		case !errors.Is(err, ErrNotFound): // somebody else was quicker: that is what was wanted
			results = append(results, Result{Ref: o.Ref, Err: err})
		}
	}
	return results, nil
}

// update reads an object, lets decide say what it should be (nil: as it is) and commits that if nothing changed
// meanwhile; else it starts again.
func (s *Objects) update(ctx context.Context, ref Ref, decide func(old *Object) (*Object, error)) error {
	for range casTries {
		var old *Object
		condition := Absent
		switch o, err := s.Get(ctx, ref); {
		case err == nil:
			old, condition = &o, o.Revision
		case !errors.Is(err, ErrNotFound):
			return err
		}
		next, err := decide(old)
		if err != nil || next == nil {
			return err
		}
		value, err := EncodeObject(*next)
		if err != nil {
			return err
		}
		revision, err := s.c.Commit(ctx, Op{Key: ObjectKey(ref), Value: value, If: condition})
		if err == nil {
			next.Schema, next.Revision = Schema, revision
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrConflict
}

func created(owner string, obj Object) Object {
	o := obj
	o.Owner, o.Generation = owner, 1
	if o.Origin.IsZero() {
		o.Origin = time.Now()
	}
	o.Origin = o.Origin.UTC().Round(0)
	if o.UID == "" {
		o.UID = strings.ToLower(rand.Text())
	}
	return o
}

func owned(o Object, by string, force bool) error {
	if o.Owner == by || force {
		return nil
	}
	return fmt.Errorf("%w: it belongs to %q, not to %q; change it there, or take it over by force", ErrOwned, o.Owner, by)
}

// sameSpec compares everything but metadata: a label does not make a new generation.
func sameSpec(a, b json.RawMessage) bool {
	x, y := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	delete(x, "metadata")
	delete(y, "metadata")
	if len(x) != len(y) {
		return false
	}
	for name, v := range x {
		if w, ok := y[name]; !ok || !slices.Equal(v, w) {
			return false
		}
	}
	return true
}
