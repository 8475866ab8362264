package feed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/manifest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func backend(t testing.TB, name string) []manifest.Object {
	t.Helper()
	objects, problems := manifest.Parse(name+".yaml", fmt.Appendf(nil, `
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: %s, namespace: a}
spec: {type: ExternalHostname, externalHostname: {hostname: %[1]s.example.com}, port: {number: 443}}
`, name))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return objects
}

// world is a running feed and what it hands on.
type world struct {
	*Feed
	used    []string // keys of the Backends of each snapshot
	results []Result
	err     chan error
}

func start(t *testing.T, cfg Config) *world {
	t.Helper()
	w := &world{err: make(chan error, 1)}
	cfg.Use = func(s *route.Snapshot, set *manifest.Set) {
		var keys []string
		for _, b := range s.Backends {
			keys = append(keys, b.Key)
		}
		if set == nil {
			t.Error("Use got no set")
		}
		w.used = append(w.used, strings.Join(keys, " "))
	}
	cfg.Report = func(r Result) { w.results = append(w.results, r) }
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Feed = f
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.err <- f.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// after lets virtual time pass and everything come to rest.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func hub() manifest.Options {
	return manifest.Options{Controller: manifest.HubController, Catalog: true}
}

func TestNothingIsServedBeforeEverySourceHasSpoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{Sources: []string{"folder", "catalog"}, Options: hub()})
		w.Objects("folder", backend(t, "one"), nil, 0)
		after(time.Minute)
		if len(w.used) > 0 {
			t.Fatalf("used %v before the catalog spoke", w.used)
		}
		w.Objects("catalog", backend(t, "two"), nil, 7)
		after(time.Second)
		if len(w.used) != 1 || w.used[0] != "a/one a/two" {
			t.Errorf("used %q, want one snapshot with both", w.used)
		}
		if r := w.results[0]; r.Revisions["catalog"] != 7 || r.Report == nil || r.Err != nil {
			t.Errorf("result = %+v, want revision 7 and a report", r)
		}
	})
}

func TestBurstsAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{Options: hub()})
		for i := range 20 {
			w.Objects("catalog", backend(t, "one"), nil, int64(i))
			time.Sleep(10 * time.Millisecond)
		}
		after(time.Second)
		if len(w.used) != 1 || w.results[0].Revisions["catalog"] != 19 {
			t.Errorf("%d translations, the first at revision %d; want one, at 19", len(w.used), w.results[0].Revisions["catalog"])
		}
	})
}

func TestABurstWithoutEndIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{Options: hub()})
		for i := range 500 { // 5 s without a quiet moment
			w.Objects("catalog", backend(t, "one"), nil, int64(i))
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if len(w.used) < 4 || len(w.used) > 6 {
			t.Errorf("%d translations in 5 s of changes, want about one a second", len(w.used))
		}
	})
}

func TestASnapshotThatDoesNotCompile(t *testing.T) {
	broken := errors.New("broken")
	t.Run("at the start is the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, Config{Options: hub(), compile: func(*route.Snapshot) (*route.Snapshot, error) { return nil, broken }})
			w.Objects("catalog", backend(t, "one"), nil, 1)
			after(time.Second)
			select {
			case err := <-w.err:
				if !errors.Is(err, broken) {
					t.Errorf("Run error = %v, want the one of Compile", err)
				}
			default:
				t.Error("Run goes on without any snapshot")
			}
			if len(w.used) > 0 {
				t.Errorf("used %v", w.used)
			}
		})
	})
	t.Run("later keeps the last good one and says so", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var fail bool
			w := start(t, Config{Options: hub(), compile: func(s *route.Snapshot) (*route.Snapshot, error) {
				if fail {
					return nil, broken
				}
				return s.Compile()
			}})
			w.Objects("catalog", backend(t, "one"), nil, 1)
			after(time.Second)
			fail = true
			w.Objects("catalog", backend(t, "two"), nil, 2)
			after(time.Second)
			if len(w.used) != 1 || len(w.results) != 2 || !errors.Is(w.results[1].Err, broken) {
				t.Fatalf("used %v, results %+v; want the first snapshot alone and the error in the second result", w.used, w.results)
			}
			fail = false
			w.Objects("catalog", backend(t, "three"), nil, 3)
			after(time.Second)
			if len(w.used) != 2 || w.used[1] != "a/three" {
				t.Errorf("used %q, want the next good snapshot", w.used)
			}
		})
	})
}

func TestTheViewOfTheParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A spoke that has a hub starts with an empty view: it must not dial what it only claims.
		w := start(t, Config{Sources: []string{"folder"}, Options: manifest.Options{Controller: manifest.SpokeController, View: &control.View{}}})
		w.Objects("folder", backend(t, "one"), nil, 0)
		after(time.Second)
		w.SetView(&control.View{Entries: []control.Entry{{Namespace: "x", Name: "y", Hostname: "one.example.com", Port: 443, Grants: []control.EntryGrant{{Alias: "one"}}}}}, 42)
		after(time.Second)
		if len(w.used) != 2 || w.used[0] != "" || w.used[1] != "x/y" {
			t.Errorf("used %q, want nothing and then the entry", w.used)
		}
		if r := w.results[1].ViewRevision; r != 42 {
			t.Errorf("ViewRevision = %d, want 42", r)
		}
	})
}

func TestProblemsOfAllStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{Options: hub()})
		w.Objects("a", backend(t, "one"), []manifest.Problem{{Reason: "FromSource"}}, 0)
		w.Objects("b", backend(t, "one"), nil, 0)
		grant, _ := manifest.Parse("g.yaml", []byte("apiVersion: penstock.dev/v1alpha1\nkind: EgressGrant\nmetadata: {name: g, namespace: a}\nspec: {to: [{name: nothing}], from: [{clusters: [east]}]}\n"))
		w.Objects("c", grant, nil, 0)
		after(time.Second)
		var reasons []string
		for _, p := range w.results[0].Problems {
			reasons = append(reasons, p.Reason)
		}
		if got, want := strings.Join(reasons, " "), "FromSource Duplicate TargetNotFound"; got != want {
			t.Errorf("problems %q, want %q", got, want)
		}
	})
}

func TestCertificatesAreJudgedWithoutAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, Config{Options: hub(), Refresh: time.Hour})
		w.Objects("catalog", backend(t, "one"), nil, 1)
		after(3*time.Hour + time.Second)
		if len(w.used) != 4 {
			t.Errorf("%d translations in 3 h, want the first and one an hour", len(w.used))
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("New without Use: error = nil, want one")
	}
}
