package credential

import (
	"fmt"
	"log/slog"
	"maps"

	"penstock.dev/penstock/hub/catalog"
)

// follower turns the watch of secrets/ into the current values. It belongs to one goroutine.
type follower struct {
	v       *Vault
	records map[string]map[string][]byte // sealed, by ref and version
	current map[string]string            // ref to the version in use
	values  map[string]value             // what was handed on; never changed, replaced
	floors  map[string]floor
	listing bool // between Resync and Synced
	restore bool // that listing is of a store that went back in time
}

// floor is the newest version of a Credential that this process has seen in use. A store restored from a backup must not
// bring an older one back, nor one that was deleted (FAULTS F-25).
type floor struct {
	version string
	deleted bool
}

func newFollower(v *Vault) *follower {
	return &follower{
		v: v, records: map[string]map[string][]byte{}, current: map[string]string{}, values: map[string]value{}, floors: map[string]floor{},
	}
}

// take returns the values if the event changed them.
func (f *follower) take(e catalog.Event) (map[string]value, bool) {
	switch e.Type {
	case catalog.Resync:
		f.records, f.current = map[string]map[string][]byte{}, map[string]string{}
		f.listing, f.restore = true, e.Regressed
		return nil, false // what is served stays until the listing is complete
	case catalog.Put:
		ref := f.put(e.Record)
		if ref == "" || f.listing {
			return nil, false
		}
		return f.update(ref)
	case catalog.Delete:
		ref := f.drop(e.Record.Key)
		if ref == "" {
			return nil, false
		}
		return f.update(ref)
	case catalog.Synced:
		f.listing = false
		return f.updateAll()
	case catalog.Progress:
		return f.retry()
	}
	return nil, false
}

// put keeps a record, and returns the ref if its current version is another one now.
func (f *follower) put(r catalog.Record) (ref string) {
	namespace, name, version, isCurrent, err := catalog.ParseSecretKey(r.Key)
	if err != nil {
		f.v.log.Warn("unknown record among the credentials, ignored", "key", r.Key, "error", err)
		return ""
	}
	ref = namespace + "/" + name
	if !isCurrent {
		if f.records[ref] == nil {
			f.records[ref] = map[string][]byte{}
		}
		f.records[ref][version] = r.Value
		return "" // the pointer comes with the same commit, behind it
	}
	version, err = parsePointer(r.Value)
	if err != nil {
		f.v.log.Error("credential record cannot be read, the value before it stays in use", "credential", ref, "error", err)
		return ""
	}
	f.current[ref] = version
	return ref
}

func (f *follower) drop(key string) (ref string) {
	namespace, name, version, isCurrent, err := catalog.ParseSecretKey(key)
	if err != nil {
		return ""
	}
	ref = namespace + "/" + name
	if !isCurrent {
		delete(f.records[ref], version)
		return ""
	}
	delete(f.current, ref)
	return ref
}

// update hands on one Credential's value as a live change left it. What was committed just now is wanted, whatever its
// version.
func (f *follower) update(ref string) (map[string]value, bool) {
	next := maps.Clone(f.values)
	version, ok := f.current[ref]
	if ok {
		next[ref] = f.open(ref, version)
		f.floors[ref] = floor{version: version}
	} else {
		delete(next, ref)
		f.floors[ref] = floor{version: f.floors[ref].version, deleted: true}
	}
	f.values = next
	return next, true
}

// updateAll hands on what a listing has shown.
func (f *follower) updateAll() (map[string]value, bool) {
	next := make(map[string]value, len(f.current))
	for ref, version := range f.current {
		if low := f.floors[ref]; version < low.version || version == low.version && low.deleted {
			f.v.log.Error("the catalog holds an older value of a credential than was in use, it is not revived; set the value again",
				slog.String("credential", ref), slog.String("version", version), slog.String("newest", low.version))
			if old, ok := f.values[ref]; ok {
				next[ref] = old
			}
			continue
		}
		next[ref] = f.open(ref, version)
		f.floors[ref] = floor{version: version}
	}
	for ref, old := range f.values {
		if _, ok := f.current[ref]; ok {
			continue
		}
		if f.restore { // a restored store does not know what came after its backup
			f.v.log.Error("the catalog has lost a credential, its value stays in use until this hub ends; set the value again", "credential", ref)
			next[ref] = old
			continue
		}
		f.floors[ref] = floor{version: old.version, deleted: true}
	}
	f.values = next
	return next, true
}

// retry opens again what did not open, for example for want of a key that was added to the key ring meanwhile.
func (f *follower) retry() (map[string]value, bool) {
	var next map[string]value
	for ref, val := range f.values {
		version, ok := f.current[ref]
		if val.fault == nil || !ok {
			continue
		}
		if again := f.open(ref, version); again.fault == nil {
			if next == nil {
				next = maps.Clone(f.values)
			}
			next[ref] = again
		}
	}
	if next == nil {
		return nil, false
	}
	f.values = next
	return next, true
}

// open opens a version. If it does not open, the last good value stays in use, since the one that should replace it
// cannot be told.
func (f *follower) open(ref, version string) value {
	old := f.values[ref]
	if old.version == version && old.fault == nil {
		return old
	}
	sealed, ok := f.records[ref][version]
	if !ok {
		return f.failed(ref, version, fmt.Errorf("version %s is not in the catalog; set the value again", version))
	}
	namespace, name := splitRef(ref)
	plaintext, err := f.v.sealer.Open(catalog.SecretKey(namespace, name, version), sealed)
	if err != nil {
		return f.failed(ref, version, err)
	}
	secret := NewSecret(plaintext)
	clear(plaintext)
	return value{version: version, secret: secret}
}

func (f *follower) failed(ref, version string, err error) value {
	old := f.values[ref]
	if old.fault == nil || old.fault.Error() != err.Error() {
		f.v.log.Error("credential value cannot be opened, the one before it stays in use", "credential", ref, "version", version, "error", err)
	}
	return value{version: old.version, secret: old.secret, fault: err}
}
