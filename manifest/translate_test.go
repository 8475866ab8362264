package manifest

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/gateway/route"
)

// result is all that Translate gives, as bytes.
func result(t testing.TB, set *Set, opt Options) []byte {
	t.Helper()
	snapshot, report := Translate(set, opt)
	out, err := json.MarshalIndent(map[string]any{"snapshot": snapshot, "report": report}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// everyOptions are the ways in which one set can be translated.
func everyOptions() []Options {
	view := &control.View{Cluster: "east", Entries: []control.Entry{
		{Namespace: "ai", Name: "openai", Hostname: "api.example.com", Port: 443, TLSMode: "ServerOnly", Grants: []control.EntryGrant{{Alias: "openai", Namespaces: []string{"team-a"}}}},
		{Namespace: "a", Name: "one", Hostname: "one.example.com", Port: 443, Grants: []control.EntryGrant{{Alias: "openai"}}},
	}}
	return []Options{
		{Controller: HubController, Catalog: true},
		{Controller: SpokeController},
		{Controller: SpokeController, View: view},
		{Controller: HubController, Catalog: true, View: view, Now: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
}

// TestTranslateIsAFunction: the same bytes out for the same set, in whatever order its objects were given, and nothing
// of the input is changed.
func TestTranslateIsAFunction(t *testing.T) {
	v := newValidator(t)
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range goldenFiles(t) {
		var objects []Object
		for _, f := range readCase(t, name).files {
			more, _ := v.Parse(f.Name, f.Data)
			objects = append(objects, more...)
		}
		for _, opt := range everyOptions() {
			set, _ := NewSet(objects)
			before := values(t, set)
			want := result(t, set, opt)
			if diff := cmp.Diff(before, values(t, set)); diff != "" {
				t.Errorf("%s: Translate changed its input:\n%s", name, diff)
			}
			for range 3 {
				r.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
				cut := r.IntN(len(objects) + 1)
				shuffled, _ := NewSet(objects[:cut], objects[cut:])
				if got := result(t, shuffled, opt); !bytes.Equal(want, got) {
					t.Errorf("%s: another order of objects gives another result:\n%s", name, cmp.Diff(string(want), string(got)))
				}
			}
		}
	}
}

// values is what the typed objects of a set hold.
func values(t testing.TB, set *Set) []string {
	t.Helper()
	var out []string
	for _, o := range set.Objects() {
		b, err := json.Marshal(o.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

// FuzzTranslate: no panic, deterministic whatever the order of files, and the table always compiles.
func FuzzTranslate(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, _ := Parse("a.yaml", data)
		b, _ := Parse("b.yaml", data) // every object a second time: duplicates
		for _, opt := range everyOptions() {
			one, problems := NewSet(a, b)
			two, problems2 := NewSet(b, a)
			if diff := cmp.Diff(problems, problems2); diff != "" {
				t.Errorf("another order of files gives other findings:\n%s", diff)
			}
			want := result(t, one, opt)
			if got := result(t, two, opt); !bytes.Equal(want, got) {
				t.Errorf("another order of files gives another result:\n%s", cmp.Diff(string(want), string(got)))
			}
			snapshot, _ := Translate(one, opt)
			if _, err := snapshot.Compile(); err != nil {
				t.Errorf("the table does not compile: %v", err)
			}
		}
	})
}

// TestNoReservedNameReachesTheTable is T-A7 for everything that can be configured.
func TestNoReservedNameReachesTheTable(t *testing.T) {
	names := []string{"Penstock-Path", "penstock-subject", "PENSTOCK_BUDGET", "penstock-anything-new", "CDN-Loop", "cdn_loop", "Connection", "Host", "transfer-encoding"}
	places := map[string]string{
		"an EgressPolicy":                  "apiVersion: penstock.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: p, namespace: a}\nspec: {targetRefs: [{group: penstock.dev, kind: Backend, name: b}], overrides: {filters: [{name: f, type: 'penstock.dev/HeaderModifier:v1', config: {OP}}]}}\n",
		"an EgressFilter":                  "apiVersion: penstock.dev/v1alpha1\nkind: EgressFilter\nmetadata: {name: p, namespace: a}\nspec: {filters: [{name: f, type: 'penstock.dev/HeaderModifier:v1', phase: response-headers, config: {OP}}]}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: a}\nspec: {parentRefs: [{name: g}], rules: [{filters: [{type: ExtensionRef, extensionRef: {group: penstock.dev, kind: EgressFilter, name: p}}], backendRefs: [{group: penstock.dev, kind: Backend, name: b}]}]}\n",
		"a RequestHeaderModifier":          "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: a}\nspec: {parentRefs: [{name: g}], rules: [{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {OP}}], backendRefs: [{group: penstock.dev, kind: Backend, name: b}]}]}\n",
		"a filter of a backendRef":         "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: a}\nspec: {parentRefs: [{name: g}], rules: [{backendRefs: [{group: penstock.dev, kind: Backend, name: b, filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {OP}}]}]}]}\n",
		"the Backend itself":               "apiVersion: penstock.dev/v1alpha1\nkind: Backend\nmetadata: {name: c, namespace: a}\nspec: {type: ExternalHostname, externalHostname: {hostname: c.example.com}, port: {number: 443}, egress: {filters: [{name: f, type: 'penstock.dev/HeaderModifier:v1', config: {OP}}]}}\n",
		"a Credential's place in a header": "apiVersion: penstock.dev/v1alpha1\nkind: Credential\nmetadata: {name: k, namespace: a}\nspec: {kind: Header, header: {name: NAME}, hosts: [c.example.com]}\n---\napiVersion: penstock.dev/v1alpha1\nkind: Backend\nmetadata: {name: c, namespace: a}\nspec: {type: ExternalHostname, externalHostname: {hostname: c.example.com}, port: {number: 443}, egress: {filters: [{name: f, type: 'penstock.dev/CredentialInjector:v1', config: {credentialRef: {name: k}}}]}}\n",
	}
	const base = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: g}\nspec: {controllerName: penstock.dev/hub-controller}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: a}\nspec: {gatewayClassName: g, listeners: [{name: http, protocol: HTTP, port: 80}]}\n---\napiVersion: penstock.dev/v1alpha1\nkind: Backend\nmetadata: {name: b, namespace: a}\nspec: {type: ExternalHostname, externalHostname: {hostname: b.example.com}, port: {number: 443}}\n---\n"
	for place, manifest := range places {
		for _, name := range names {
			for _, op := range []string{"set: [{name: NAME, value: x}]", "add: [{name: NAME, value: x}]", "remove: [NAME]"} {
				text := base + replace(replace(manifest, "OP", op), "NAME", name)
				objects, problems := Parse("f.yaml", []byte(text))
				if len(problems) > 0 {
					t.Fatalf("%s: %v", place, problems)
				}
				set, _ := NewSet(objects)
				snapshot, report := Translate(set, Options{Controller: HubController, Catalog: true})
				if !reported(report, ReasonReservedName) {
					t.Errorf("%s may %s: no finding %s", place, replace(op, "NAME", name), ReasonReservedName)
				}
				for _, h := range touched(snapshot) {
					t.Errorf("%s: the table touches header %q", place, h)
				}
				for _, b := range snapshot.Backends {
					if b.Credential != "" {
						t.Errorf("%s: Backend %s is served with credential %s", place, b.Key, b.Credential)
					}
				}
			}
		}
	}
}

func replace(s, old, with string) string {
	return string(bytes.ReplaceAll([]byte(s), []byte(old), []byte(with)))
}

func reported(r *Report, reason string) bool {
	for _, p := range r.Problems() {
		if p.Reason == reason {
			return true
		}
	}
	return false
}

// touched are the names of all headers that any filter of the table changes.
func touched(s *route.Snapshot) []string {
	var names []string
	filters := func(fs []route.Filter) {
		for _, f := range fs {
			if f.Headers == nil {
				continue
			}
			for _, h := range append(f.Headers.Set, f.Headers.Add...) {
				names = append(names, h.Name)
			}
			names = append(names, f.Headers.Remove...)
		}
	}
	for _, b := range s.Backends {
		filters(b.Filters)
	}
	for _, l := range s.Listeners {
		for _, r := range l.Rules {
			filters(r.Filters)
			for _, target := range r.Targets {
				filters(target.Filters)
			}
		}
	}
	return names
}
