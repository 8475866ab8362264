package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/hub/catalog"
)

const (
	pointerSchema = 1
	// setTries bounds how often a change is begun again because another replica was quicker.
	setTries = 16
)

// Errors of this package to test for.
var (
	// ErrNoValue: there is no value that could be sent.
	ErrNoValue = errors.New("credential: no value")
	// ErrHost: the host is not among the Credential's.
	ErrHost = errors.New("credential: may not be sent to this host")
)

// Version of a value; never the value.
type Version struct {
	ID      string
	Created time.Time
	// Current: the one in use.
	Current bool
}

// Store keeps values in the catalog. Safe for concurrent use, also by several replicas.
type Store struct {
	c      catalog.Catalog
	sealer Sealer
}

// NewStore over c; sealer is a Keyring.
func NewStore(c catalog.Catalog, sealer Sealer) *Store { return &Store{c: c, sealer: sealer} }

// pointer is the current record.
type pointer struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"`
}

// Set gives a Credential its first or next value and returns the version of it. All replicas use it once their watch has
// seen it. It returns ErrValue if the value cannot be sent at all; see CheckValue for what a kind demands.
func (s *Store) Set(ctx context.Context, namespace, name string, value Secret) (version string, err error) {
	version, err = s.set(ctx, namespace, name, value, false)
	if err != nil {
		return "", fmt.Errorf("credential: set %s/%s: %w", namespace, name, err)
	}
	return version, nil
}

// Rotate is Set for a Credential that has a value already; it returns ErrNoValue if it has none.
func (s *Store) Rotate(ctx context.Context, namespace, name string, value Secret) (version string, err error) {
	version, err = s.set(ctx, namespace, name, value, true)
	if err != nil {
		return "", fmt.Errorf("credential: rotate %s/%s: %w", namespace, name, err)
	}
	return version, nil
}

func (s *Store) set(ctx context.Context, namespace, name string, value Secret, must bool) (string, error) {
	if namespace == "" || name == "" {
		return "", errors.New("namespace and name are needed")
	}
	if err := CheckValue("", value); err != nil {
		return "", err
	}
	for range setTries {
		v, err := s.setOnce(ctx, namespace, name, value, must)
		if !errors.Is(err, catalog.ErrConflict) {
			return v, err
		}
	}
	return "", catalog.ErrConflict
}

func (s *Store) setOnce(ctx context.Context, namespace, name string, value Secret, must bool) (string, error) {
	held, err := s.read(ctx, namespace, name)
	if err != nil {
		return "", err
	}
	if must && held.current == "" {
		return "", ErrNoValue
	}
	version := newVersion(held.newest(), time.Now())
	key := catalog.SecretKey(namespace, name, version)
	sealed, err := s.sealer.Seal(key, value.Reveal())
	if err != nil {
		return "", err
	}
	current, err := json.Marshal(pointer{Schema: pointerSchema, Version: version})
	if err != nil {
		return "", err
	}
	ops := []catalog.Op{
		{Key: key, Value: sealed, If: catalog.Absent},
		{Key: catalog.SecretCurrentKey(namespace, name), Value: current, If: held.condition},
	}
	for _, old := range held.versions {
		if old != held.current && len(ops) < catalog.MaxOps {
			ops = append(ops, catalog.Op{Key: catalog.SecretKey(namespace, name, old), Delete: true})
		}
	}
	_, err = s.c.Commit(ctx, ops...)
	return version, err
}

// Versions lists the versions kept of a Credential's value, newest first; none: nil.
func (s *Store) Versions(ctx context.Context, namespace, name string) ([]Version, error) {
	held, err := s.read(ctx, namespace, name)
	if err != nil {
		return nil, fmt.Errorf("credential: list %s/%s: %w", namespace, name, err)
	}
	var versions []Version
	for _, id := range slices.Backward(held.versions) {
		created, err := versionTime(id)
		if err != nil {
			continue // not ours; a newer release may know it
		}
		versions = append(versions, Version{ID: id, Created: created, Current: id == held.current})
	}
	return versions, nil
}

// Delete deletes all versions. It returns ErrNoValue if there was none.
func (s *Store) Delete(ctx context.Context, namespace, name string) error {
	for range setTries {
		held, err := s.read(ctx, namespace, name)
		if err != nil {
			return fmt.Errorf("credential: delete %s/%s: %w", namespace, name, err)
		}
		if held.condition == catalog.Absent && len(held.versions) == 0 {
			return fmt.Errorf("%w: %s/%s", ErrNoValue, namespace, name)
		}
		ops := []catalog.Op{{Key: catalog.SecretCurrentKey(namespace, name), Delete: true, If: held.condition}}
		if held.condition == catalog.Absent {
			ops = nil
		}
		for _, v := range held.versions[:min(len(held.versions), catalog.MaxOps-1)] {
			ops = append(ops, catalog.Op{Key: catalog.SecretKey(namespace, name, v), Delete: true})
		}
		_, err = s.c.Commit(ctx, ops...)
		if errors.Is(err, catalog.ErrConflict) {
			continue
		}
		if err != nil {
			return fmt.Errorf("credential: delete %s/%s: %w", namespace, name, err)
		}
		return nil
	}
	return fmt.Errorf("credential: delete %s/%s: %w", namespace, name, catalog.ErrConflict)
}

// Reseal seals all records anew that were not sealed with the primary key, and returns how many. After it, a key ring
// without its older keys opens all credentials; the registry's records are resealed when their keys are rotated.
func (s *Store) Reseal(ctx context.Context, ring *Keyring) (int, error) {
	records, _, err := s.c.List(ctx, catalog.SecretsPrefix)
	if err != nil {
		return 0, fmt.Errorf("credential: reseal: %w", err)
	}
	resealed := 0
	var faults []error
	for _, r := range records {
		_, _, _, isCurrent, err := catalog.ParseSecretKey(r.Key)
		if err != nil || isCurrent || ring.IsPrimary(r.Value) {
			continue
		}
		switch err := reseal(ctx, s.c, ring, r); {
		case err == nil:
			resealed++
		case errors.Is(err, catalog.ErrConflict): // deleted or resealed by somebody else
		case ctx.Err() != nil || errors.Is(err, catalog.ErrUnavailable):
			return resealed, fmt.Errorf("credential: reseal: %w", err)
		default:
			faults = append(faults, err)
		}
	}
	return resealed, errors.Join(faults...)
}

func reseal(ctx context.Context, c catalog.Catalog, ring *Keyring, r catalog.Record) error {
	plaintext, err := ring.Open(r.Key, r.Value)
	if err != nil {
		return err
	}
	defer clear(plaintext)
	sealed, err := ring.Seal(r.Key, plaintext)
	if err != nil {
		return err
	}
	_, err = c.Commit(ctx, catalog.Op{Key: r.Key, Value: sealed, If: r.Revision})
	return err
}

// held is what the catalog has of one Credential.
type held struct {
	versions  []string // ascending
	current   string   // empty: none
	condition int64    // for the current record
}

func (s *Store) read(ctx context.Context, namespace, name string) (held, error) {
	prefix := catalog.SecretPrefix(namespace, name)
	records, _, err := s.c.List(ctx, prefix)
	if err != nil {
		return held{}, err
	}
	h := held{condition: catalog.Absent}
	for _, r := range records {
		_, _, version, isCurrent, err := catalog.ParseSecretKey(r.Key)
		switch {
		case err != nil:
			continue
		case !isCurrent:
			h.versions = append(h.versions, version)
			continue
		}
		h.condition = r.Revision
		if h.current, err = parsePointer(r.Value); err != nil {
			return held{}, fmt.Errorf("record %s: %w", r.Key, err)
		}
	}
	slices.Sort(h.versions)
	return h, nil
}

// newest version that exists or is pointed at; empty: none.
func (h held) newest() string {
	newest := h.current
	for _, v := range h.versions {
		if strings.Compare(v, newest) > 0 && len(v) == versionChars {
			newest = v
		}
	}
	return newest
}

func parsePointer(value []byte) (version string, err error) {
	var head struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(value, &head); err != nil {
		return "", err
	}
	if head.Schema > pointerSchema {
		return "", fmt.Errorf("schema version %d, this build reads up to %d; upgrade this hub", head.Schema, pointerSchema)
	}
	var p pointer
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return "", err
	}
	if _, err := versionTime(p.Version); err != nil || p.Schema < 1 {
		return "", errors.New("names no version; set the credential again")
	}
	return p.Version, nil
}
