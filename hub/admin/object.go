package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/credential"
)

const kindSecret = "Secret"

// stored lists the objects under a prefix. Those of a newer release are left out, and said so in the log: what this one
// can read is worth showing.
func (s *Server) stored(ctx context.Context, prefix string) ([]catalog.Object, error) {
	objects, _, err := s.cfg.Objects.List(ctx, prefix)
	if objects == nil && err != nil {
		return nil, err
	}
	if err != nil {
		s.log.Warn("some catalog objects cannot be read", "error", err)
	}
	return objects, nil
}

func (s *Server) objectList(c call) (any, error) {
	objects, err := s.stored(c.ctx(), catalog.ObjectsPrefix)
	if err != nil {
		return nil, err
	}
	kind, namespace := c.URL.Query().Get(admin.ParamKind), c.URL.Query().Get(admin.ParamNamespace)
	list := admin.ObjectList{Items: []admin.Object{}}
	actor := actorOf(c.ctx())
	for _, o := range objects {
		if !actor.sees(o.Namespace) {
			continue
		}
		if kind != "" && !strings.EqualFold(o.Kind, kind) || namespace != "" && o.Namespace != namespace {
			continue
		}
		list.Items = append(list.Items, objectOf(o))
	}
	slices.SortFunc(list.Items, func(a, b admin.Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return list, nil
}

func (s *Server) objectGet(c call) (any, error) {
	o, err := s.addressed(c)
	if err != nil {
		return nil, err
	}
	return objectOf(o), nil
}

// objectDelete deletes an object of the owner "cli", and with a Credential its value: another Credential of that name,
// for other hosts, must not find it.
func (s *Server) objectDelete() write {
	return write{verb: "delete", object: pathKey, do: func(c call) (any, error) {
		o, err := s.addressed(c)
		if err != nil {
			return nil, err
		}
		if err := s.cfg.Objects.Delete(c.ctx(), admin.OwnerCLI, o.Ref, catalog.ApplyOptions{}); err != nil {
			return nil, err
		}
		if o.Ref == credentialRef(o.Namespace, o.Name) {
			err := s.cfg.Credentials.Delete(c.ctx(), o.Namespace, o.Name)
			if err != nil && !errors.Is(err, credential.ErrNoValue) {
				return nil, err
			}
		}
		return admin.Change{ObjectKey: objectKeyOf(o), Change: admin.Deleted}, nil
	}}
}

// pathKey is "Kind namespace/name" as the path says it.
func pathKey(c call) string {
	return admin.ObjectKey{Kind: c.PathValue(admin.ParamKind), Namespace: pathNamespace(c), Name: c.PathValue(admin.ParamName)}.String()
}

func pathNamespace(c call) string {
	if ns := c.PathValue(admin.ParamNamespace); ns != admin.NoNamespace {
		return ns
	}
	return ""
}

// addressed is the object that the path names. A path has no API group, and no two groups have kinds of one name; so it
// is looked for among all. People call this, not gateways.
func (s *Server) addressed(c call) (catalog.Object, error) {
	objects, err := s.stored(c.ctx(), catalog.ObjectsPrefix)
	if err != nil {
		return catalog.Object{}, err
	}
	kind, namespace, name := c.PathValue(admin.ParamKind), pathNamespace(c), c.PathValue(admin.ParamName)
	for _, o := range objects {
		if strings.EqualFold(o.Kind, kind) && o.Namespace == namespace && o.Name == name {
			return o, nil
		}
	}
	e := admin.Errorf(http.StatusNotFound, "there is no %s", pathKey(c))
	e.Remedy = fmt.Sprintf("`penstock get %s` shows what there is; a cluster-scoped object has the namespace %q in the path", strings.ToLower(kind), admin.NoNamespace)
	return catalog.Object{}, e
}

// objectOf is an object as it is shown.
func objectOf(o catalog.Object) admin.Object {
	return admin.Object{
		ObjectKey: objectKeyOf(o), Owner: o.Owner, Created: o.Origin.UTC(), Revision: o.Revision,
		Conditions: conditionsOf(o.Status), Manifest: shown(o.Kind, o.Group, o.Data),
	}
}

func objectKeyOf(o catalog.Object) admin.ObjectKey {
	var head struct {
		APIVersion string `json:"apiVersion"`
	}
	_ = json.Unmarshal(o.Data, &head) // a catalog object is JSON; without apiVersion the key goes without it
	return admin.ObjectKey{APIVersion: head.APIVersion, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
}

// conditionsOf an object's status; of a route, those of all its parents.
func conditionsOf(status json.RawMessage) []admin.Condition {
	var st struct {
		Conditions []admin.Condition `json:"conditions"`
		Parents    []struct {
			Conditions []admin.Condition `json:"conditions"`
		} `json:"parents"`
	}
	if len(status) == 0 || json.Unmarshal(status, &st) != nil {
		return nil
	}
	conditions := st.Conditions
	for _, p := range st.Parents {
		conditions = append(conditions, p.Conditions...)
	}
	return conditions
}

// shown is a manifest without what nobody may see: a Secret keeps its metadata and the names of its data.
func shown(kind, group string, data json.RawMessage) json.RawMessage {
	if kind != kindSecret || group != "" {
		return data
	}
	var tree map[string]json.RawMessage
	if json.Unmarshal(data, &tree) != nil {
		return nil
	}
	for name, value := range tree {
		switch name {
		case "apiVersion", "kind", "type", "immutable":
		case "metadata":
			tree[name] = withoutAnnotations(value)
		case "data", "stringData":
			tree[name] = namesOf(value)
		default: // sealed, and whatever a later form has
			delete(tree, name)
		}
	}
	out, err := json.Marshal(tree)
	if err != nil {
		return nil
	}
	return out
}

// withoutAnnotations: kubectl keeps the whole Secret in one of them.
func withoutAnnotations(metadata json.RawMessage) json.RawMessage {
	var tree map[string]json.RawMessage
	if json.Unmarshal(metadata, &tree) != nil {
		return json.RawMessage(`{}`)
	}
	delete(tree, "annotations")
	delete(tree, "managedFields")
	out, err := json.Marshal(tree)
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return out
}

const redacted = "[redacted]"

// namesOf keeps the names of a Secret's data.
func namesOf(data json.RawMessage) json.RawMessage {
	var tree map[string]json.RawMessage
	if json.Unmarshal(data, &tree) != nil {
		return json.RawMessage(`{}`)
	}
	names := make(map[string]string, len(tree))
	for name := range tree {
		names[name] = redacted
	}
	out, err := json.Marshal(names)
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return out
}
