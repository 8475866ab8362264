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

// clusterData is catalog.Object.Data of a Cluster: the manifest without status.
type clusterData struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Labels map[string]string `json:"labels,omitempty"`
		Name   string            `json:"name"`
	} `json:"metadata"`
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
	obj, err := r.cfg.Objects.Get(ctx, ref)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		d := clusterData{APIVersion: penstockv1alpha1.GroupVersion.String(), Kind: ref.Kind}
		d.Metadata.Name, d.Metadata.Labels = reg.Name, reg.Labels
		d.Spec.Role = string(reg.Role)
		obj = catalog.Object{Ref: ref, Data: encode(d)}
	case err != nil:
		return stored("read "+ref.String(), err)
	default:
		same, err := adjust(&obj, reg)
		if err != nil || same {
			return err
		}
	}
	_, _, err = r.cfg.Objects.Apply(ctx, reg.Owner, obj, catalog.ApplyOptions{})
	if errors.Is(err, catalog.ErrOwned) {
		return &Error{
			Code: ClusterRegistered, Message: "the labels of Cluster " + reg.Name + " differ from those asked for",
			Remedy: "register without labels, or change them where the object comes from", Err: err,
		}
	}
	if err != nil {
		return stored("store "+ref.String(), err)
	}
	r.fetchObject(ctx, reg.Name)
	return nil
}

// adjust adds the labels of a registration to an object. Whatever else stands in it stays as it is.
func adjust(obj *catalog.Object, reg Registration) (same bool, err error) {
	old, err := readObject(*obj)
	if err != nil {
		return false, err
	}
	if reg.Role != "" && reg.Role != old.role() {
		return false, refuse(ClusterRegistered, fmt.Sprintf("Cluster %s has role %s, not %s", reg.Name, old.role(), reg.Role),
			"change spec.role of the object, or register without a role")
	}
	labels := map[string]string{}
	maps.Copy(labels, old.labels)
	maps.Copy(labels, reg.Labels)
	if maps.Equal(labels, old.labels) {
		return true, nil
	}
	var data, metadata map[string]json.RawMessage
	if err := json.Unmarshal(obj.Data, &data); err != nil {
		return false, fmt.Errorf("registry: %s: %w", obj.Ref, err)
	}
	if m, ok := data["metadata"]; ok {
		if err := json.Unmarshal(m, &metadata); err != nil {
			return false, fmt.Errorf("registry: %s: metadata: %w", obj.Ref, err)
		}
	}
	if metadata == nil {
		metadata = map[string]json.RawMessage{}
	}
	metadata["labels"] = encode(labels)
	data["metadata"] = encode(metadata)
	obj.Data = encode(data)
	return false, nil
}

func (r *Registry) fetchObject(ctx context.Context, name string) (object, bool) {
	return r.objects.fetch(ctx, r.cfg.Catalog, name)
}
