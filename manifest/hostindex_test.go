package manifest

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestHostIndexFindsWhatAScanFinds holds the index to the definition: two routes meet if two of their hostnames
// intersect.
func TestHostIndexFindsWhatAScanFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	name := func() string {
		labels := make([]string, 1+r.IntN(3))
		for i := range labels {
			labels[i] = string(rune('a' + r.IntN(2)))
		}
		return []string{"", "", "*."}[r.IntN(3)] + strings.Join(labels, ".")
	}
	names := func() (out []string) {
		for range r.IntN(3) {
			out = append(out, name())
		}
		return out
	}
	meet := func(a, b []string) bool {
		if len(a) == 0 || len(b) == 0 {
			return true
		}
		return slices.ContainsFunc(a, func(x string) bool {
			return slices.ContainsFunc(b, func(y string) bool {
				_, ok := intersect(x, y)
				return ok
			})
		})
	}
	found := 0
	for range 20_000 {
		var x hostIndex
		var all []*attachment
		for range r.IntN(4) {
			a := &attachment{hostnames: names()}
			all = append(all, a)
			x.add(a)
		}
		asked := names()
		got := x.find(asked)
		want := slices.IndexFunc(all, func(a *attachment) bool { return meet(a.hostnames, asked) })
		switch {
		case (got != nil) != (want >= 0):
			t.Fatalf("find(%q) among %v = %v, want found: %t", asked, hostnamesOf(all), got, want >= 0)
		case got != nil && !meet(got.hostnames, asked):
			t.Fatalf("find(%q) = %q, which does not meet it", asked, got.hostnames)
		case got != nil:
			found++
		}
	}
	if found < 1000 {
		t.Errorf("only %d of the tries found something: they show nothing", found)
	}
}

func hostnamesOf(all []*attachment) (out [][]string) {
	for _, a := range all {
		out = append(out, a.hostnames)
	}
	return out
}
