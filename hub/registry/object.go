package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/tunnel"
)

// Objects is where Register puts Cluster objects; *catalog.Objects is one.
type Objects interface {
	Get(ctx context.Context, ref catalog.Ref) (catalog.Object, error)
	Apply(ctx context.Context, owner string, obj catalog.Object, opt catalog.ApplyOptions) (catalog.Object, catalog.Change, error)
}

// object is a Cluster object, as far as the registry reads it.
type object struct {
	owner   string
	created time.Time
	labels  map[string]string
	spec    penstockv1alpha1.ClusterSpec
}

// role defaults to spoke, as the CRD says.
func (o object) role() tunnel.Role {
	if o.spec.Role == string(tunnel.RoleHub) {
		return tunnel.RoleHub
	}
	return tunnel.RoleSpoke
}

func clusterRef(name string) catalog.Ref {
	return catalog.Ref{Group: penstockv1alpha1.GroupName, Kind: "Cluster", Name: name}
}

// objectsPrefix of all Cluster objects, up to the name.
var objectsPrefix = strings.TrimSuffix(catalog.ObjectKey(clusterRef("x")), "x")

// clusterData is catalog.Object.Data of a Cluster.
type clusterData struct {
	Metadata struct {
		Labels map[string]string `json:"labels,omitempty"`
	} `json:"metadata,omitzero"`
	Spec penstockv1alpha1.ClusterSpec `json:"spec"`
}

func decodeObject(rec catalog.Record) (object, error) {
	o, err := catalog.DecodeObject(rec)
	if err != nil {
		return object{}, err
	}
	return readObject(o)
}

func readObject(o catalog.Object) (object, error) {
	var d clusterData
	if err := json.Unmarshal(o.Data, &d); err != nil {
		return object{}, fmt.Errorf("registry: %s: %w", o.Ref, err)
	}
	return object{o.Owner, o.Origin, d.Metadata.Labels, d.Spec}, nil
}

// applyObject makes the Cluster object of a registration. One that is there already, from a manifest say, is left to its
// owner, if the registration wants nothing else of it.
func (r *Registry) applyObject(ctx context.Context, reg Registration) error {
	ref := clusterRef(reg.Name)
	data := map[string]json.RawMessage{}
	stored0, err := r.cfg.Objects.Get(ctx, ref)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		var d clusterData
		d.Metadata.Labels = reg.Labels
		d.Spec.Role = string(reg.Role)
		stored0 = catalog.Object{Ref: ref, Data: encode(d)}
	case err != nil:
		return stored("read "+ref.String(), err)
	default:
		old, err := readObject(stored0)
		if err != nil {
			return err
		}
		if reg.Role != "" && reg.Role != old.role() {
			return refuse(ClusterRegistered, fmt.Sprintf("Cluster %s has role %s, not %s", reg.Name, old.role(), reg.Role),
				"change spec.role of the object, or register without a role")
		}
		labels := maps.Clone(old.labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, reg.Labels)
		if maps.Equal(labels, old.labels) {
			return nil
		}
		// Whatever else stands in the object stays as it is.
		if err := json.Unmarshal(stored0.Data, &data); err != nil {
			return fmt.Errorf("registry: %s: %w", ref, err)
		}
		meta := map[string]json.RawMessage{}
		if m, ok := data["metadata"]; ok {
			if err := json.Unmarshal(m, &meta); err != nil {
				return fmt.Errorf("registry: %s: metadata: %w", ref, err)
			}
		}
		meta["labels"] = encode(labels)
		data["metadata"] = encode(meta)
		stored0.Data = encode(data)
	}
	_, _, err = r.cfg.Objects.Apply(ctx, reg.Owner, stored0, catalog.ApplyOptions{})
	if errors.Is(err, catalog.ErrOwned) {
		return &Error{Code: ClusterRegistered, Message: "the labels of Cluster " + reg.Name + " differ from those asked for",
			Remedy: "register without labels, or change them where the object comes from", Err: err}
	}
	if err != nil {
		return stored("store "+ref.String(), err)
	}
	r.fetchObject(ctx, reg.Name)
	return nil
}

func (r *Registry) fetchObject(ctx context.Context, name string) (object, bool) {
	return r.objects.fetch(ctx, r.cfg.Catalog, name)
}
