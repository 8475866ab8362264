package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/manifest"
)

// sealer encrypts what the catalog must not hold in the clear; hub/credential's key ring is one.
type sealer interface {
	Seal(name string, plaintext []byte) ([]byte, error)
	Open(name string, sealed []byte) ([]byte, error)
}

// store turns manifests into catalog objects and back. A Secret is sealed as a whole, under its catalog key, so that a
// stolen catalog holds no private key (TH-I7).
type store struct {
	objects *catalog.Objects
	sealer  sealer
}

// sealedSecret is a Secret as the catalog keeps it.
type sealedSecret struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   json.RawMessage `json:"metadata"`
	Sealed     []byte          `json:"sealed"`
}

// refOf is where an object is kept.
func refOf(id manifest.ID) catalog.Ref {
	return catalog.Ref{Group: id.Group, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
}

// Encode is the catalog form of a manifest.
func (s *store) Encode(ctx context.Context, o manifest.Object) (catalog.Object, error) {
	out := catalog.Object{Ref: refOf(o.ID), Origin: o.Created, Data: o.JSON}
	if o.ID.Group != "" || o.ID.Kind != "Secret" {
		return out, nil
	}
	canonical, err := catalog.Canonical(o.JSON)
	if err != nil {
		return out, fmt.Errorf("hub: %s: %w", o.ID, err)
	}
	// The same Secret sealed anew differs in every byte; what is stored already stays, or each reload would be a change.
	if old, err := s.objects.Get(ctx, out.Ref); err == nil {
		if plain, err := s.open(old); err == nil && bytes.Equal(plain, canonical) {
			out.Data = old.Data
			return out, nil
		}
	} else if !errors.Is(err, catalog.ErrNotFound) {
		return out, err
	}
	var head sealedSecret
	if err := json.Unmarshal(canonical, &head); err != nil {
		return out, fmt.Errorf("hub: %s: not an object", o.ID) // the cause could quote secret bytes
	}
	if head.Sealed, err = s.sealer.Seal(catalog.ObjectKey(out.Ref), canonical); err != nil {
		return out, fmt.Errorf("hub: seal %s: %w", o.ID, err)
	}
	out.Data, err = json.Marshal(head)
	return out, err
}

// open returns the manifest bytes of a stored Secret.
func (s *store) open(o catalog.Object) ([]byte, error) {
	var sealed sealedSecret
	if err := json.Unmarshal(o.Data, &sealed); err != nil || sealed.Sealed == nil {
		return nil, fmt.Errorf("hub: %s is not sealed; apply it again", o.Ref)
	}
	plain, err := s.sealer.Open(catalog.ObjectKey(o.Ref), sealed.Sealed)
	if err != nil {
		return nil, fmt.Errorf("hub: open %s: %w", o.Ref, err)
	}
	return plain, nil
}

// Decode is the manifest of a catalog object, with the age and generation it has there.
func (s *store) Decode(o catalog.Object) (manifest.Object, error) {
	data := []byte(o.Data)
	if o.Group == "" && o.Kind == "Secret" {
		var err error
		if data, err = s.open(o); err != nil {
			return manifest.Object{}, err
		}
	}
	objects, problems := manifest.Parse("catalog", data)
	if len(problems) > 0 {
		return manifest.Object{}, fmt.Errorf("hub: %s in the catalog: %s", o.Ref, problems[0].String())
	}
	if len(objects) != 1 || refOf(objects[0].ID) != o.Ref {
		return manifest.Object{}, fmt.Errorf("hub: %s in the catalog holds something else", o.Ref)
	}
	m := objects[0]
	m.Created = o.Origin
	m.Value.SetGeneration(o.Generation)
	return m, nil
}

// follow hands each consistent set of the catalog's manifests to use, with the newest revision among its records, until
// ctx is done. A status that was written is no change: seen is told its revision. While the catalog is away nothing is
// handed on, so that what is served stays.
func (s *store) follow(ctx context.Context, c catalog.Catalog, log *slog.Logger, use func([]manifest.Object, int64), seen func(int64)) {
	held := map[string]manifest.Object{}
	var listing map[string]manifest.Object // nil: not in a listing
	revision, began := int64(0), false     // the newest seen; use was called
	put := func(into map[string]manifest.Object, rec catalog.Record) (changed bool) {
		old, was := held[rec.Key]
		now, err := s.read(rec)
		if err != nil {
			// A record of a newer release, or one sealed with another ring: the others are served all the same.
			log.Error("catalog object is not served", "key", rec.Key, "error", err)
			if now = old; !was {
				return false
			}
		}
		into[rec.Key] = now
		return !was || !sameObject(old, now)
	}
	changed := false
	for e := range c.Watch(ctx, catalog.ObjectsPrefix) {
		revision = max(revision, e.Record.Revision)
		switch e.Type {
		case catalog.Progress:
			continue
		case catalog.Resync:
			if e.Regressed {
				log.Error("the catalog went back to an older state; compare it with your backup before you go on")
				revision = 0
			}
			listing, changed = map[string]manifest.Object{}, false
			continue
		case catalog.Put:
			if listing != nil {
				changed = put(listing, e.Record) || changed
				continue
			}
			changed = put(held, e.Record)
		case catalog.Delete:
			_, changed = held[e.Record.Key]
			delete(held, e.Record.Key)
		case catalog.Synced:
			if listing != nil {
				changed = changed || len(listing) != len(held)
				held, listing = listing, nil
			}
		}
		switch {
		case listing != nil:
			continue
		case began && !changed:
			seen(revision)
			continue
		}
		changed, began = false, true
		keys := slices.Sorted(maps.Keys(held))
		all := make([]manifest.Object, len(keys))
		for i, k := range keys {
			all[i] = held[k]
		}
		use(all, revision)
	}
}

// read is the manifest of a catalog record.
func (s *store) read(rec catalog.Record) (manifest.Object, error) {
	o, err := catalog.DecodeObject(rec)
	if err != nil {
		return manifest.Object{}, err
	}
	return s.Decode(o)
}

// sameObject reports whether a translation would not tell two versions of an object apart.
func sameObject(a, b manifest.Object) bool {
	return bytes.Equal(a.JSON, b.JSON) && a.Created.Equal(b.Created) && a.Generation() == b.Generation()
}

// replace makes the objects of a folder the complete set of its owner.
func (s *store) replace(ctx context.Context, owner string, all []manifest.Object) ([]catalog.Result, error) {
	encoded := make([]catalog.Object, 0, len(all))
	for _, o := range all {
		c, err := s.Encode(ctx, o)
		if err != nil {
			return nil, err
		}
		encoded = append(encoded, c)
	}
	return s.objects.Replace(ctx, owner, encoded)
}
