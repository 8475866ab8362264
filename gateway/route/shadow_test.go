package route

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestWhatNeverWins(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules []Rule
		want  string // "rule match by rule", all of them
	}{
		{"the younger of two of a kind", []Rule{to("young").born(2026), to("old").born(2020)}, "[young 0 by old]"},
		{"a prefix with a slash at the end is the prefix without", []Rule{to("a", prefix("/v1")), to("b", prefix("/v1/"))}, "[b 0 by a]"},
		{"headers in another order are the same headers", []Rule{to("a", prefix("/").header("A", "1").header("B", "2")), to("b", prefix("/").header("b", "2").header("a", "1"))}, "[b 0 by a]"},
		{"another value is another match", []Rule{to("a", prefix("/").header("A", "1")), to("b", prefix("/").header("A", "2"))}, "[]"},
		{"a value is no expression", []Rule{to("a", Match{Headers: []ValueMatch{{"A", "1", false}}}), to("b", Match{Headers: []ValueMatch{{"A", "1", true}}})}, "[]"},
		{"other callers see other rules", []Rule{to("a").callers("x"), to("b").callers("y")}, "[]"},
		{"one hostname of two is enough to live", []Rule{to("a").on("x.test"), to("b").on("x.test", "y.test")}, "[]"},
		{"none of two is not", []Rule{to("a").on("x.test"), to("b").on("y.test"), to("c").on("x.test", "y.test")}, "[c 0 by a]"},
		{"one match of a rule", []Rule{to("a", exact("/x")), to("b", exact("/y"), exact("/x"))}, "[b 1 by a]"},
		{"an exact path is not its prefix", []Rule{to("a", exact("/x")), to("b", prefix("/x"))}, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w world
			w.listener("http", "", c.rules...)
			got := []string{}
			for _, s := range w.compile(t).Shadowed() {
				got = append(got, fmt.Sprintf("%s %d by %s", s.Rule.Route.Name, s.Match, s.By.Route.Name))
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("%v, want %s", got, c.want)
			}
		})
	}
}

// TestWhatNeverWinsNeverWins: no false alarm, in worlds full of collisions.
func TestWhatNeverWinsNeverWins(t *testing.T) {
	alarms := 0
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 3))
		s, err := generated(r).Compile()
		if err != nil {
			t.Fatal(err)
		}
		dead := map[*Match]bool{}
		for _, x := range s.Shadowed() {
			if alarms++; len(x.Rule.Matches) > 0 {
				dead[&x.Rule.Matches[x.Match]] = true
			}
		}
		for range 100 {
			if d := s.Decide(asked(r)); d.Match != nil && dead[d.Match] {
				t.Fatalf("seed %d: %+v of %s wins", seed, d.Match, d.Rule.Route)
			}
		}
	}
	if alarms == 0 {
		t.Error("nothing was found in any world")
	}
}
