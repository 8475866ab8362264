package admin

import (
	"context"
	"errors"
	"net/http"

	"penstock.dev/penstock/apis/admin"
	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/credential"
)

const kindCredential = "Credential"

func credentialRef(namespace, name string) catalog.Ref {
	return catalog.Ref{Group: penstockv1alpha1.GroupName, Kind: kindCredential, Namespace: namespace, Name: name}
}

func (s *Server) credentialList(c call) (any, error) {
	objects, err := s.stored(c.ctx(), catalog.KindPrefix(penstockv1alpha1.GroupName, kindCredential))
	if err != nil {
		return nil, err
	}
	namespace := c.URL.Query().Get(admin.ParamNamespace)
	list := admin.CredentialList{Items: []admin.Credential{}}
	actor := actorOf(c.ctx())
	for _, o := range objects { // sorted by key: namespace, then name
		if !actor.sees(o.Namespace) || namespace != "" && o.Namespace != namespace {
			continue
		}
		item, err := s.credentialOf(c.ctx(), o)
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, item)
	}
	return list, nil
}

// credentialOf is everything about a credential but its value.
func (s *Server) credentialOf(ctx context.Context, o catalog.Object) (admin.Credential, error) {
	spec := s.credentialSpec(o)
	item := admin.Credential{Namespace: o.Namespace, Name: o.Name, Kind: string(spec.Kind), Hosts: spec.Hosts}
	versions, err := s.cfg.Credentials.Versions(ctx, o.Namespace, o.Name)
	if err != nil {
		return item, err
	}
	for _, v := range versions {
		item.Versions = append(item.Versions, admin.CredentialVersion{Version: v.ID, Created: v.Created.UTC()})
		if v.Current {
			item.Version = v.ID
		}
	}
	return item, nil
}

// credentialSpec of an object; the zero spec for one that cannot be read, which is shown all the same.
func (s *Server) credentialSpec(o catalog.Object) penstockv1alpha1.CredentialSpec {
	m, err := s.cfg.Codec.Decode(o)
	if err != nil {
		return penstockv1alpha1.CredentialSpec{}
	}
	v, ok := m.Value.(*penstockv1alpha1.Credential)
	if !ok {
		return penstockv1alpha1.CredentialSpec{}
	}
	return v.Spec
}

// setCredential stores a value: credential.Store's Set or Rotate.
type setCredential = func(ctx context.Context, namespace, name string, value credential.Secret) (string, error)

// credentialSet takes a value from the body.
func (s *Server) credentialSet(verb string, set setCredential) write {
	object := func(c call) string {
		return kindCredential + " " + c.PathValue(admin.ParamNamespace) + "/" + c.PathValue(admin.ParamName)
	}
	return write{verb: verb, object: object, do: func(c call) (any, error) {
		namespace, name := c.PathValue(admin.ParamNamespace), c.PathValue(admin.ParamName)
		body, err := readBody(c, admin.MaxCredentialBytes)
		if err != nil {
			return nil, err
		}
		value := credential.NewSecret(body)
		clear(body)
		defer value.Wipe()
		o, err := s.cfg.Objects.Get(c.ctx(), credentialRef(namespace, name))
		if errors.Is(err, catalog.ErrNotFound) {
			e := admin.Errorf(http.StatusNotFound, "there is no %s", object(c))
			e.Remedy = "apply the Credential first: it says which hosts the value may be sent to"
			return nil, e
		}
		if err != nil {
			return nil, err
		}
		if err := credential.CheckValue(credential.Kind(s.credentialSpec(o).Kind), value); err != nil {
			return nil, err
		}
		if _, err := set(c.ctx(), namespace, name, value); err != nil {
			return nil, err
		}
		return s.credentialOf(c.ctx(), o)
	}}
}
