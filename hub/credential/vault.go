package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/hub/catalog"
)

// DefaultMaxStale is how long values are used without a sign of life from the catalog (FAULTS F-22): so long a deletion
// may go unseen.
const DefaultMaxStale = time.Hour

// Vault knows the current values and writes them onto requests. It implements endpoint.Credentials, but for the errors:
// it returns ErrHost and ErrNoValue of this package. Safe for concurrent use.
type Vault struct {
	c      catalog.Catalog
	sealer Sealer
	log    *slog.Logger

	// MaxStale [DefaultMaxStale]; negative: no bound. Set it before Run.
	MaxStale time.Duration

	table    atomic.Pointer[table]
	lastSeen atomic.Pointer[time.Time] // last sign of life of the catalog; nil: none yet

	telling sync.Mutex // held while the table is replaced and while that is told, so that nobody hears old news last
	mu      sync.Mutex // guards what follows
	specs   map[string]Spec
	values  map[string]value
	changed []func(ref, version string)
}

// table is what requests read: one pointer per request, so one whole version. Never changed once stored.
type table map[string]*entry

type entry struct {
	spec    Spec
	places  places
	hosts   map[string]bool
	version string
	written Secret // the value as it stands on the wire
	fault   error  // why there is none
}

// value is the current value of one Credential, as the catalog has it.
type value struct {
	version string
	secret  Secret
	fault   error // why the current version cannot be opened; then version and secret are those before it, if any
}

// NewVault over c; sealer is a Keyring. Use says what there is, Run follows the values.
func NewVault(c catalog.Catalog, sealer Sealer, log *slog.Logger) *Vault {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	v := &Vault{c: c, sealer: sealer, log: log, values: map[string]value{}}
	v.table.Store(&table{})
	return v
}

// Use makes specs all the Credentials there are. A faulty one is left out, and named in the error; the others serve. Of
// two with one Ref the last one counts.
func (v *Vault) Use(specs []Spec) error {
	next := make(map[string]Spec, len(specs))
	var faults []error
	for _, s := range specs {
		if err := s.check(); err != nil {
			faults = append(faults, err)
			continue
		}
		next[s.Ref] = s
	}
	v.rebuild(func() { v.specs = next })
	return errors.Join(faults...)
}

// Changed calls f after the usable version of a Credential changed; version is empty if it has none any more. f is called
// from Run or Use, one call at a time, and must not call Use.
func (v *Vault) Changed(f func(ref, version string)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.changed = append(v.changed, f)
}

// Apply empties every place in req where the workload, or anybody else on the way, may have put a credential, and writes
// the current value of ref there, once. host is the name that the peer has proven. It replaces req.URL and changes
// req.Header and req.Trailer, so req must be the caller's own copy. It returns ErrHost if host is not among the
// Credential's hosts, and ErrNoValue if there is no value, or none that may still be used; then req must not be sent.
func (v *Vault) Apply(req *http.Request, ref, host string) (version string, err error) {
	e := (*v.table.Load())[ref]
	if e == nil {
		return "", fmt.Errorf("%w: there is no Credential %s", ErrNoValue, ref)
	}
	if !e.hosts[strings.ToLower(host)] {
		return "", fmt.Errorf("%w: %q is not among the hosts of Credential %s; add it there if its owner agrees", ErrHost, host, ref)
	}
	if e.fault != nil {
		return "", fmt.Errorf("%w: Credential %s: %w", ErrNoValue, ref, e.fault)
	}
	if age, max := v.Age(), v.maxStale(); max > 0 && age > max {
		return "", fmt.Errorf("%w: Credential %s: nothing was heard of the catalog for %v, the bound is %v; bring it back", ErrNoValue, ref, age.Round(time.Second), max)
	}
	e.places.scrub(req)
	if req.Header == nil {
		req.Header = http.Header{}
	}
	e.write(req)
	return e.version, nil
}

func (e *entry) write(req *http.Request) {
	written := string(e.written.Reveal())
	switch e.spec.Kind {
	case QueryParameter:
		if req.URL.RawQuery != "" {
			req.URL.RawQuery += "&"
		}
		req.URL.RawQuery += queryEscape(e.spec.Name) + "=" + written
	case Header:
		req.Header.Set(e.spec.Name, written)
	case Bearer, Basic:
		req.Header.Set("Authorization", written)
	}
}

// Version in use; empty if there is no usable value.
func (v *Vault) Version(ref string) string {
	if e := (*v.table.Load())[ref]; e != nil && e.fault == nil {
		return e.version
	}
	return ""
}

// Fault says why a Credential has no usable value, or why its newest one is not in use; nil if all is well. It is made for
// a condition: it shows no value.
func (v *Vault) Fault(ref string) error {
	e := (*v.table.Load())[ref]
	if e == nil {
		return fmt.Errorf("%w: there is no Credential %s", ErrNoValue, ref)
	}
	if e.fault != nil {
		return e.fault
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.values[ref].fault
}

// Age since the catalog was last heard of; 0 before Run has heard of it at all.
func (v *Vault) Age() time.Duration {
	last := v.lastSeen.Load()
	if last == nil {
		return 0
	}
	return time.Since(*last)
}

func (v *Vault) maxStale() time.Duration {
	if v.MaxStale == 0 {
		return DefaultMaxStale
	}
	return v.MaxStale
}

// Run follows the catalog until ctx is done; it returns nil then.
func (v *Vault) Run(ctx context.Context) error {
	f := newFollower(v)
	for e := range v.c.Watch(ctx, catalog.SecretsPrefix) {
		now := time.Now()
		v.lastSeen.Store(&now)
		if values, ok := f.take(e); ok {
			v.rebuild(func() { v.values = values })
		}
	}
	return nil
}

// rebuild joins specs and values, after change, into the next table, and tells of what is new in it.
func (v *Vault) rebuild(change func()) {
	v.telling.Lock()
	defer v.telling.Unlock()
	old, next, listeners := v.replace(change)
	if len(listeners) == 0 {
		return
	}
	refs := map[string]bool{}
	for ref := range old {
		refs[ref] = true
	}
	for ref := range next {
		refs[ref] = true
	}
	for ref := range refs {
		if before, after := old.version(ref), next.version(ref); before != after {
			for _, f := range listeners {
				f(ref, after)
			}
		}
	}
}

func (v *Vault) replace(change func()) (old, next table, listeners []func(ref, version string)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
	old, next = *v.table.Load(), make(table, len(v.specs))
	for ref, spec := range v.specs {
		next[ref] = newEntry(spec, v.values[ref])
	}
	v.table.Store(&next)
	return old, next, v.changed
}

func newEntry(spec Spec, val value) *entry {
	e := &entry{spec: spec, places: spec.places(), hosts: make(map[string]bool, len(spec.Hosts))}
	for _, h := range spec.Hosts {
		e.hosts[strings.ToLower(h)] = true
	}
	switch {
	case val.version == "" && val.fault != nil:
		e.fault = val.fault
	case val.version == "":
		e.fault = errors.New("no value was set; set one with: penstock credential set " + spec.Ref)
	default:
		if e.fault = CheckValue(spec.Kind, val.secret); e.fault == nil {
			e.version = val.version
			e.written = NewSecret([]byte(spec.written(val.secret)))
		}
	}
	return e
}

func (t table) version(ref string) string {
	if e := t[ref]; e != nil {
		return e.version
	}
	return ""
}
