package hub

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"penstock.dev/penstock/apis/control"
	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/credential"
	"penstock.dev/penstock/manifest"
	"penstock.dev/penstock/manifest/feed"
	"penstock.dev/penstock/manifest/file"
)

// catalogSource is the name of the catalog among the feed's sources; folderOwner owns what the folder writes into it.
const (
	catalogSource = "catalog"
	folderOwner   = "folder"
	builtinOwner  = "builtin"
	officeName    = "writer"
)

// served is one translation: the set, the table made from it, its report, the revision of the catalog it was made from.
// Never changed.
type served struct {
	set      *manifest.Set
	snapshot *route.Snapshot
	report   *manifest.Report
	problems []manifest.Problem
	revision int64
}

// followCatalog serves what the catalog's watch returns, never what was just put (STYLE.md, The pure core).
func (h *hub) followCatalog(ctx context.Context) error {
	h.store.follow(ctx, h.catalog, h.log, func(objects []manifest.Object, revision int64) {
		h.changedAt.Store(revision)
		h.feed.Objects(catalogSource, objects, nil, revision)
	}, func(revision int64) {
		h.seenAt.Store(revision)
		h.wakeWriter(h.unacknowledged)
	})
	return nil
}

// use serves a snapshot: requests, credentials and views all come from the same set.
func (h *hub) use(snapshot *route.Snapshot, set *manifest.Set) {
	if err := h.vault.Use(credentialSpecs(set)); err != nil {
		h.log.Warn("credentials that cannot be used", "error", err)
	}
	h.gateway.Use(snapshot)
	h.next = &served{set: set, snapshot: snapshot}
}

// report completes what use began; both are called from the feed's one goroutine.
func (h *hub) report(r feed.Result) {
	revision := r.Revisions[catalogSource]
	h.metrics.Snapshot(revision, len(r.Problems))
	if r.Err != nil {
		h.log.Error("the last good snapshot stays in use", "error", r.Err)
		return
	}
	next := h.next
	next.report, next.problems, next.revision = r.Report, r.Problems, revision
	old := h.served.Swap(next)
	if old == nil || !slices.Equal(old.problems, next.problems) {
		for _, p := range next.problems {
			h.log.Warn("manifest", "finding", p.String())
		}
	}
	h.board.post(func(p *posted) {
		p.revision = revision
		p.view = func(cluster string) *control.View {
			v := manifest.ViewOf(next.snapshot, cluster)
			return &v
		}
	})
	h.wakeWriter(h.translated)
	h.wakeWriter(h.unacknowledged)
}

// credentialSpecs are the Credentials of a set as the vault wants them: kinds, places and hosts, never values.
func credentialSpecs(set *manifest.Set) []credential.Spec {
	var specs []credential.Spec
	for _, o := range set.Objects() {
		c, ok := o.Value.(*penstockv1alpha1.Credential)
		if !ok {
			continue
		}
		s := credential.Spec{Ref: o.ID.Key(), Kind: credential.Kind(c.Spec.Kind), Hosts: c.Spec.Hosts}
		if c.Spec.Header != nil {
			s.Name, s.Prefix = c.Spec.Header.Name, c.Spec.Header.Prefix
		}
		if c.Spec.QueryParameter != nil {
			s.Name = c.Spec.QueryParameter.Name
		}
		specs = append(specs, s)
	}
	return specs
}

// credentials is the vault as the endpoint wants it. The floors keep the two from knowing each other's errors.
type credentials struct{ *credential.Vault }

// Apply implements endpoint.Credentials.
func (c credentials) Apply(req *http.Request, ref, host string) (string, error) {
	version, err := c.Vault.Apply(req, ref, host)
	switch {
	case errors.Is(err, credential.ErrHost):
		err = fmt.Errorf("%w: %w", endpoint.ErrHost, err)
	case err != nil:
		err = fmt.Errorf("%w: %w", endpoint.ErrNoValue, err)
	}
	return version, err
}

// KeyPair implements endpoint.Keys: client certificates from the set that is served.
func (h *hub) KeyPair(name string) (*tls.Certificate, error) {
	s := h.served.Load()
	if s == nil {
		return nil, errors.New("hub: the catalog has not been read yet")
	}
	return s.set.KeyPair(name)
}

// lead holds the office of the writer whenever it is free: the folder goes into the catalog, status goes back.
func (h *hub) lead(ctx context.Context) error {
	for ctx.Err() == nil {
		office, resign, err := catalog.Elect(ctx, h.catalog, officeName, h.cfg.Name)
		if err != nil {
			if ctx.Err() == nil {
				h.log.Warn("no election; trying again", "error", err)
				pause(ctx, time.Second)
			}
			continue
		}
		h.elected.Store(true)
		h.log.Info("elected: this replica applies the folder and writes status")
		h.write(office)
		h.elected.Store(false)
		resign()
	}
	return nil
}

// write does the writer's work until the office is lost.
func (h *hub) write(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.writeStatuses(ctx)
	}()
	h.writeBuiltins(ctx)
	if h.cfg.Manifests == "" {
		<-ctx.Done()
	} else {
		h.writeFolder(ctx)
	}
	cancel()
	<-done
}

// writeBuiltins puts the built-in filter types into the catalog, so that listing FilterDefinitions shows all there are.
func (h *hub) writeBuiltins(ctx context.Context) {
	var all []manifest.Object
	for _, d := range manifest.BuiltinFilterDefinitions() {
		data, err := json.Marshal(d)
		if err != nil {
			panic(err) // plain data
		}
		objects, problems := manifest.Parse("builtin", data)
		for _, p := range problems {
			h.log.Error("built-in filter definition", "finding", p.String())
		}
		all = append(all, objects...)
	}
	for ctx.Err() == nil {
		_, err := h.store.replace(ctx, builtinOwner, all)
		if err == nil {
			return
		}
		h.log.Warn("built-in filter definitions not written; trying again", "error", err)
		pause(ctx, 2*time.Second)
	}
}

// writeFolder applies the folder, now and after each change. A catalog that is away is tried again.
func (h *hub) writeFolder(ctx context.Context) {
	states := make(chan file.State, 1)
	folder, err := file.New(file.Config{Dir: h.cfg.Manifests, Parse: h.validator.Parse, Log: h.log})
	if err == nil {
		watching := make(chan error, 1)
		go func() {
			watching <- folder.Run(ctx, func(s file.State) {
				select {
				case <-states: // an older state that was not applied yet
				default:
				}
				states <- s
			})
		}()
		h.applyStates(ctx, states, watching)
		return
	}
	h.log.Error("the folder of manifests is not applied", "error", err)
	<-ctx.Done()
}

// applyStates applies each state until ctx is done; one that fails as a whole is tried again until a newer one comes.
func (h *hub) applyStates(ctx context.Context, states <-chan file.State, watching <-chan error) {
	var pending *file.State
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case err := <-watching:
			if err == nil { // ctx is done
				return
			}
			h.log.Error("the folder of manifests is not applied; what is in the catalog stays", "error", err)
			<-ctx.Done()
			return
		case s := <-states:
			pending = &s
		case <-retry.C:
		}
		if pending == nil {
			continue
		}
		if err := h.applyState(ctx, *pending); err != nil {
			if ctx.Err() == nil {
				h.log.Warn("folder not applied; trying again", "error", err)
			}
			retry.Reset(2 * time.Second)
			continue
		}
		pending = nil
	}
}

func (h *hub) applyState(ctx context.Context, s file.State) error {
	for _, p := range s.Problems {
		h.log.Warn("manifest", "finding", p.String())
	}
	h.folderProblems.Store(&s.Problems)
	results, err := h.store.replace(ctx, folderOwner, s.Set.Objects())
	if err != nil {
		return err
	}
	counts := map[catalog.Change]int{}
	for _, r := range results {
		if r.Err != nil {
			h.log.Warn("object not applied", "object", r.Ref.String(), "error", r.Err)
			continue
		}
		counts[r.Change]++
	}
	h.log.Info("folder applied", "created", counts[catalog.Created], "updated", counts[catalog.Updated],
		"deleted", counts[catalog.Deleted], "unchanged", counts[catalog.Unchanged])
	return nil
}

// statusTime is how long one status write may take.
const statusTime = 5 * time.Second

// writeStatuses writes what each translation says about the objects, while in office. Nothing is written without change.
func (h *hub) writeStatuses(ctx context.Context) {
	for {
		if s := h.served.Load(); s != nil {
			behind := h.awaitAcks(ctx, s.revision)
			for _, o := range s.report.Objects {
				if err := h.writeStatus(ctx, s, o, behind); err != nil && ctx.Err() == nil {
					h.log.Warn("status not written", "object", o.ID.String(), "error", err)
				}
			}
			if len(behind) > 0 { // look again, so that Programmed does not stay False
				pause(ctx, ackTime)
				h.wakeWriter(h.translated)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-h.translated:
		case <-h.rotated:
		}
	}
}

// wakeWriter has the status writer look again.
func (h *hub) wakeWriter(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has not seen the last call yet
	}
}

// writeStatus writes one object's status, keeping the transition time of conditions that did not change. While replicas
// are behind, nothing is Programmed.
func (h *hub) writeStatus(ctx context.Context, s *served, o manifest.ObjectStatus, behind []string) error {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	ref := refOf(o.ID)
	stored, err := h.store.objects.Get(ctx, ref)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil // deleted meanwhile; or an object that Translate adds itself
	}
	if err != nil {
		return err
	}
	status := map[string]any{}
	if o.Conditions != nil {
		status["conditions"] = keepTimes(programmedBy(o.Conditions, s.revision, behind), stored.Status)
	}
	if o.Listeners != nil {
		status["listeners"] = o.Listeners
	}
	if o.Parents != nil {
		status["parents"] = o.Parents
	}
	if o.ID.Kind == "Credential" {
		if v := h.vault.Version(o.ID.Key()); v != "" {
			status["version"] = v
		}
	}
	data, err := json.Marshal(status)
	if err != nil {
		return err
	}
	_, err = h.store.objects.SetStatus(ctx, ref, stored.UID, data)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil
	}
	return err
}

// keepTimes gives conditions their transition time: the old one where type and status are the same, else now.
func keepTimes(conditions []metav1.Condition, stored json.RawMessage) []metav1.Condition {
	var old struct {
		Conditions []metav1.Condition `json:"conditions"`
	}
	_ = json.Unmarshal(stored, &old) // no status, or one of another form: all times are new
	out := slices.Clone(conditions)
	for i := range out {
		out[i].LastTransitionTime = metav1.NewTime(time.Now().Truncate(time.Second))
		for _, c := range old.Conditions {
			if c.Type == out[i].Type && c.Status == out[i].Status {
				out[i].LastTransitionTime = c.LastTransitionTime
			}
		}
	}
	return out
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
