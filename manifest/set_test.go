package manifest

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
)

func parse(t testing.TB, source, data string) []Object {
	t.Helper()
	objects, problems := Parse(source, []byte(data))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return objects
}

func TestTheFirstOfTwoIsKeptWhateverTheOrder(t *testing.T) {
	a, b := parse(t, "a.yaml", clusterDoc("east")), parse(t, "b.yaml", "# one line more\n"+clusterDoc("east"))
	for _, order := range [][][]Object{{a, b}, {b, a}} {
		set, problems := NewSet(order...)
		o, ok := set.Get(ID{Group: "penstock.dev", Kind: "Cluster", Name: "east"})
		if !ok || o.Source.File != "a.yaml" {
			t.Errorf("kept %v of %q, want the one of a.yaml", o, o.Source.File)
		}
		want := "b.yaml:4: Cluster east: metadata.name: the same object is already in a.yaml:1; remove one of the two"
		if len(problems) != 1 || problems[0].String() != want {
			t.Errorf("problems = %v, want %s", problems, want)
		}
	}
}

func TestNilSetIsEmpty(t *testing.T) {
	var s *Set
	if got := s.Objects(); len(got) > 0 {
		t.Errorf("Objects = %v", got)
	}
	if _, ok := s.Get(ID{}); ok {
		t.Error("Get found something")
	}
	snapshot, report := Translate(nil, Options{})
	if len(snapshot.Listeners)+len(snapshot.Backends) > 0 || len(report.Problems()) > 0 {
		t.Errorf("Translate(nil) = %+v, %v", snapshot, report.Problems())
	}
}

func TestKeyPair(t *testing.T) {
	c := readCase(t, "testdata/translate/hub_backend_tls.txtar")
	set, _ := NewSet(parse(t, "objects.yaml", string(c.files[0].Data)))
	pair, err := set.KeyPair("ai/client")
	if err != nil || pair.PrivateKey == nil || pair.Leaf.Subject.CommonName != "client.example.com" {
		t.Errorf("KeyPair = %v, %v, want the pair of client.example.com", pair, err)
	}
	for _, name := range []string{"ai/nothing", "client", "", "ai/ca"} {
		if _, err := set.KeyPair(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("KeyPair(%q) error = %v, want one that names it", name, err)
		}
	}
}

// TestNoSecretLeavesTheSet: what is printed, served or reported holds no byte of a private key.
func TestNoSecretLeavesTheSet(t *testing.T) {
	for _, name := range []string{"hub_backend_tls", "hub_backend_tls_missing", "hub_certificate_expired"} {
		c := readCase(t, "testdata/translate/"+name+".txtar")
		set, _ := NewSet(parse(t, "objects.yaml", string(c.files[0].Data)))
		snapshot, report := Translate(set, c.options)
		out, err := json.Marshal([]any{snapshot, report})
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"PRIVATE KEY-----", "tls.key:"} {
			if strings.Contains(string(out), word) {
				t.Errorf("%s: the result holds %q", name, word)
			}
		}
	}
}

func TestValidatorFillsInDefaults(t *testing.T) {
	v := newValidator(t)
	objects, problems := v.Parse("f.yaml", []byte("apiVersion: penstock.dev/v1alpha1\nkind: Backend\nmetadata: {name: a, creationTimestamp: \"2026-01-01T00:00:00Z\"}\nspec: {externalHostname: {hostname: a.example.com}, port: {number: 443}, tls: {}}\n---\n"+clusterDoc("east")))
	if len(problems) > 0 || len(objects) != 2 {
		t.Fatalf("Parse = %v, %v", objects, problems)
	}
	b := objects[0].Value.(*penstockv1alpha1.Backend)
	if b.Spec.Type != penstockv1alpha1.BackendTypeExternalHostname || b.Spec.TLS.Mode != penstockv1alpha1.BackendTLSServerOnly {
		t.Errorf("Backend = %+v, want type and tls.mode filled in", b.Spec)
	}
	if role := objects[1].Value.(*penstockv1alpha1.Cluster).Spec.Role; role != "spoke" {
		t.Errorf("role = %q, want spoke", role)
	}
	if objects[0].Created.IsZero() {
		t.Error("Created was lost")
	}
	if !strings.Contains(string(objects[1].JSON), `"role":"spoke"`) {
		t.Errorf("JSON = %s, want the default in it", objects[1].JSON)
	}
}

// TestValidateDoesNotChangeItsInput: an object may be shared.
func TestValidateDoesNotChangeItsInput(t *testing.T) {
	o := parse(t, "f.yaml", clusterDoc("east"))[0]
	before := string(o.JSON)
	if _, problems := newValidator(t).Validate(o); len(problems) > 0 {
		t.Fatal(problems)
	}
	if role := o.Value.(*penstockv1alpha1.Cluster).Spec.Role; role != "" || string(o.JSON) != before {
		t.Errorf("the given object was changed: role %q, JSON %s", role, o.JSON)
	}
}

func TestBuiltinFilterDefinitionsAreValid(t *testing.T) {
	v := newValidator(t)
	defs := BuiltinFilterDefinitions()
	if len(defs) != len(builtins()) || len(defs) == 0 {
		t.Fatalf("%d definitions for %d types", len(defs), len(builtins()))
	}
	for _, d := range defs {
		data, err := yaml.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		objects, problems := v.Parse("builtin.yaml", data)
		if len(problems) > 0 || len(objects) != 1 {
			t.Errorf("%s: %v", d.Name, problems)
			continue
		}
		set, _ := NewSet(objects)
		_, report := Translate(set, Options{Controller: HubController, Catalog: true})
		if ps := report.Problems(); len(ps) > 0 {
			t.Errorf("%s: %v", d.Name, ps)
		}
	}
}

// TestMixturesAlwaysCompile throws objects of all cases together: whatever refers to whatever, the table compiles, each
// target is a Backend or says why not, and each Backend with a credential needs a grant.
func TestMixturesAlwaysCompile(t *testing.T) {
	var all []Object
	for i, data := range seeds(t) {
		objects, _ := Parse("f"+itoa(i)+".yaml", data)
		all = append(all, objects...)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var some []Object
		for range 5 + r.IntN(60) {
			some = append(some, all[r.IntN(len(all))])
		}
		set, _ := NewSet(some)
		for _, opt := range everyOptions() {
			snapshot, _ := Translate(set, opt)
			if _, err := snapshot.Compile(); err != nil {
				t.Fatalf("%v\n%v", err, some)
			}
			for _, l := range snapshot.Listeners {
				for _, rule := range l.Rules {
					for _, target := range rule.Targets {
						if (target.Backend == "" && target.Redirect == nil) == (target.Invalid == "") {
							t.Errorf("%s: target %+v is neither a Backend nor invalid", rule.Route, target)
						}
					}
				}
			}
			for _, b := range snapshot.Backends {
				if b.Credential != "" && !b.GrantRequired {
					t.Errorf("Backend %s has a credential and needs no grant", b.Key)
				}
			}
		}
	}
}

func TestReportLookups(t *testing.T) {
	set, _ := NewSet(parse(t, "f.yaml", clusterDoc("east")))
	_, report := Translate(set, Options{Controller: HubController, Catalog: true})
	c := report.Status(ID{Group: "penstock.dev", Kind: "Cluster", Name: "east"}).Condition(ConditionAccepted)
	if c == nil || c.Status != "True" {
		t.Errorf("Accepted = %v, want True", c)
	}
	if s := report.Status(ID{Kind: "Cluster", Name: "east"}); s.Condition(ConditionAccepted) != nil {
		t.Errorf("found %v under another group", s)
	}
	var nobody *Report
	if y, err := nobody.YAML(); err != nil || !cmp.Equal(string(y), "objects: []\n") {
		t.Errorf("YAML of nil = %q, %v", y, err)
	}
}
