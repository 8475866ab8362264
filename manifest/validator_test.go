package manifest

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// FuzzValidate: no input is too odd for the rules of the CRDs, and what is accepted is accepted again in the form in which
// it is stored: defaults are written once.
func FuzzValidate(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	v := newValidator(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, problems := v.Parse("f.yaml", data)
		for _, p := range problems {
			if p.Reason == "" || p.Message == "" {
				t.Errorf("a finding without reason or message: %+v", p)
			}
		}
		for _, o := range objects {
			again, ps := v.Parse("f.yaml", o.JSON)
			if len(ps) > 0 || len(again) != 1 {
				t.Fatalf("%s: %s was accepted, and then not: %v", o.ID, o.JSON, ps)
			}
			if !bytes.Equal(again[0].JSON, o.JSON) {
				t.Errorf("%s: JSON is not stable:\n%s\n%s", o.ID, o.JSON, again[0].JSON)
			}
		}
	})
}

func TestValidateWritesDefaults(t *testing.T) {
	objects, problems := newValidator(t).Parse("f.yaml", []byte(`
apiVersion: gateway.networking.k8s.io/v1beta1
kind: HTTPRoute
metadata: {name: r, namespace: a}
spec: {rules: [{backendRefs: [{name: s, port: 80}]}]}
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	rule := objects[0].Value.(*gwv1.HTTPRoute).Spec.Rules[0]
	if len(rule.Matches) != 1 || deref(rule.Matches[0].Path.Value, "") != "/" {
		t.Errorf("matches are %+v, want the prefix /", rule.Matches)
	}
	if ref := rule.BackendRefs[0]; deref(ref.Weight, 0) != 1 || deref(ref.Kind, "") != "Service" {
		t.Errorf("the backendRef is %+v, want a Service of weight 1", ref)
	}
	if !strings.Contains(string(objects[0].JSON), "v1beta1") {
		t.Errorf("the version became another one: %s", objects[0].JSON)
	}
}

// TestValidateChangesNothing: the object that is given keeps its form; what is returned is another one.
func TestValidateChangesNothing(t *testing.T) {
	objects, problems := Parse("f.yaml", []byte("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {rules: [{}]}\n"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	before := bytes.Clone(objects[0].JSON)
	got, problems := newValidator(t).Validate(objects[0])
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if !bytes.Equal(objects[0].JSON, before) || len(objects[0].Value.(*gwv1.HTTPRoute).Spec.Rules[0].Matches) != 0 {
		t.Errorf("the given object became %s", objects[0].JSON)
	}
	if bytes.Equal(got.JSON, before) {
		t.Error("the returned object has no defaults")
	}
}

// TestValidateAtOnce: a kind is compiled once, however many ask for it first. It means something under -race.
func TestValidateAtOnce(t *testing.T) {
	v, err := NewValidator()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, s := range []string{
				"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {rules: [{}]}\n",
				"apiVersion: gateway.networking.k8s.io/v1\nkind: TLSRoute\nmetadata: {name: r}\nspec: {hostnames: [a.example.com], rules: [{backendRefs: [{name: s, port: 443}]}]}\n",
			} {
				if _, problems := v.Parse("f.yaml", []byte(s)); len(problems) > 0 {
					t.Error(problems)
				}
			}
		})
	}
	all.Wait()
}

// TestAllServedKindsAreJudged: a kind that is read, and is none of the core, has its rules here.
func TestAllServedKindsAreJudged(t *testing.T) {
	v := newValidator(t)
	for _, k := range kinds() {
		if k.unserved || k.group == "" || strings.HasSuffix(k.group, ".k8s.io") && !strings.HasPrefix(k.group, "gateway.") {
			continue
		}
		s := v.schema(&Object{ID: ID{Group: k.group, Kind: k.name}}, k.versions[0])
		if s == nil {
			t.Errorf("%s of %s has no rules", k.name, k.group)
			continue
		}
		if err := s.compile(); err != nil {
			t.Errorf("%s of %s: %v", k.name, k.group, err)
		}
	}
}

// BenchmarkValidator shows what a process pays at its start, and when it first sees a kind.
func BenchmarkValidator(b *testing.B) {
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			if _, err := NewValidator(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, kind := range []string{"Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute"} {
		b.Run("first "+kind, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				v, err := NewValidator()
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := v.schemas[schemaKey{groupGateway, kind, "v1"}].compile(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
