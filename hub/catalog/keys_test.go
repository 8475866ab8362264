package catalog_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"penstock.dev/penstock/hub/catalog"
)

func TestKeys(t *testing.T) {
	for _, row := range []struct{ name, got, want string }{
		{"an object of a namespace", catalog.ObjectKey(catalog.Ref{Group: "penstock.dev", Kind: "Backend", Namespace: "ai", Name: "openai"}), "objects/penstock.dev/Backend/ai/openai"},
		{"a core object", catalog.ObjectKey(catalog.Ref{Kind: "Secret", Namespace: "ai", Name: "tls"}), "objects/_/Secret/ai/tls"},
		{"a cluster-scoped object", catalog.ObjectKey(catalog.Ref{Group: "penstock.dev", Kind: "Cluster", Name: "east"}), "objects/penstock.dev/Cluster/_/east"},
		{"a name that is an underscore", catalog.ObjectKey(catalog.Ref{Kind: "Secret", Namespace: "_", Name: "x"}), "objects/_/Secret/%5F/x"},
		{"a name that tries to reach elsewhere", catalog.ObjectKey(catalog.Ref{Kind: "Secret", Namespace: "a", Name: "../b/c"}), "objects/_/Secret/a/..%2Fb%2Fc"},
		{"a name of other letters", catalog.ClusterKey("ü %"), "clusters/%C3%BC%20%25"},
		{"all objects of a kind", catalog.KindPrefix("penstock.dev", "Backend"), "objects/penstock.dev/Backend/"},
		{"a version of a secret", catalog.SecretKey("ai", "key", "01J"), "secrets/ai/key/01J"},
		{"the current version of a secret", catalog.SecretCurrentKey("ai", "key"), "secrets/ai/key/current"},
		{"a CA, so that keys sort as numbers", catalog.CAKey(12), "ca/00000012"},
		{"a token", catalog.TokenKey("abc"), "tokens/abc"},
		{"a serial", catalog.SerialKey("0a:0b"), "serials/0a:0b"},
		{"an instance", catalog.InstanceKey("g", "i"), "instances/g/i"},
		{"a replica", catalog.ReplicaKey("hub-a"), "replicas/hub-a"},
		{"an acknowledgement", catalog.AckKey("hub-a"), "acks/hub-a"},
		{"a shared key", catalog.PurposeKey("mac"), "keys/mac"},
		{"an election", catalog.ElectedKey("folder"), "elected/folder"},
	} {
		if row.got != row.want {
			t.Errorf("%s: %s, want %s", row.name, row.got, row.want)
		}
	}
}

func TestKeysThatNobodyMakesAreRefused(t *testing.T) {
	for _, row := range []struct{ name, key string }{
		{"another family", "secrets/ai/key/01J"},
		{"too few segments", "objects/g/k/n"},
		{"too many segments", "objects/g/k/ns/n/x"},
		{"an empty segment", "objects/g/k//n"},
		{"a letter that is escaped for nothing", "objects/g/k/ns/%41"},
		{"lower-case digits", "objects/g/k/ns/%2f"},
		{"half an escape", "objects/g/k/ns/%2"},
		{"an escape that is none", "objects/g/k/ns/%ZZ"},
		{"a byte that wants escaping", "objects/g/k/ns/a b"},
		{"nothing", ""},
	} {
		if ref, err := catalog.ParseObjectKey(row.key); !errors.Is(err, catalog.ErrKey) {
			t.Errorf("%s: ParseObjectKey(%q) = %v, %v; want ErrKey", row.name, row.key, ref, err)
		}
	}
}

func TestRefPrints(t *testing.T) {
	for want, ref := range map[string]catalog.Ref{
		"Backend.penstock.dev ai/openai": {Group: "penstock.dev", Kind: "Backend", Namespace: "ai", Name: "openai"},
		"Cluster.penstock.dev east":      {Group: "penstock.dev", Kind: "Cluster", Name: "east"},
		"Secret ai/tls":                  {Kind: "Secret", Namespace: "ai", Name: "tls"},
	} {
		if got := ref.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Two names never share a key, and a key that parses is the key of what it parses to.
func FuzzKeys(f *testing.F) {
	f.Add("penstock.dev", "Backend", "ai", "openai", "objects/penstock.dev/Backend/ai/openai")
	f.Add("", "Secret", "_", "../x", "secrets/ai/key/current")
	f.Add("%", "_", "", "ü\x00", "secrets/a%2Fb/%5F/01J")
	f.Fuzz(func(t *testing.T, group, kind, namespace, name, key string) {
		ref := catalog.Ref{Group: group, Kind: kind, Namespace: namespace, Name: name}
		made := catalog.ObjectKey(ref)
		if strings.Count(made, "/") != 4 {
			t.Fatalf("%+v has the key %q", ref, made)
		}
		if got, err := catalog.ParseObjectKey(made); err != nil || got != ref {
			t.Fatalf("ParseObjectKey(%q) = %+v, %v; want %+v", made, got, err, ref)
		}
		if got, err := catalog.ParseObjectKey(key); err == nil && catalog.ObjectKey(got) != key {
			t.Fatalf("%q parses to %+v, whose key is %q", key, got, catalog.ObjectKey(got))
		}
		ns, n, version, isCurrent, err := catalog.ParseSecretKey(key)
		switch {
		case err != nil:
		case isCurrent && catalog.SecretCurrentKey(ns, n) != key, !isCurrent && catalog.SecretKey(ns, n, version) != key:
			t.Fatalf("%q parses to %q %q %q", key, ns, n, version)
		}
		if s, err := catalog.Segments(catalog.InstanceKey(group, name), catalog.InstancesPrefix, 2); err != nil || !slices.Equal(s, []string{group, name}) {
			t.Fatalf("Segments = %q, %v", s, err)
		}
	})
}
