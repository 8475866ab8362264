package hop

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestTheorem1 sends requests through random digraphs whose routing is drawn anew at each step (HOPS-AND-RETRIES A.5, F-53
// to F-55): each forward lowers h and lengthens the path by a group that was not on it, so that a request makes at most
// min(H, N) hops, and a cycle is found on the first re-entry.
//
// 20,000 cases; `go test ./gateway/hop -run Theorem1 -rapid.checks=1000000` for the million of F-55.
func TestTheorem1(t *testing.T) {
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("20000"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = checks.Value.Set(checks.DefValue) })
	}
	var longest, reentries, spent int
	rapid.Check(t, func(t *rapid.T) {
		oneToEight := rapid.SampledFrom([]int{1, 2, 3, 4, 5, 6, 7, 8}) // IntRange prefers small ones
		n := oneToEight.Draw(t, "N")
		limits := make([]Limits, n)
		generous := rapid.Bool().Draw(t, "H is 8 everywhere") // else somebody's small H ends most walks
		for i := range limits {
			if limits[i].Hops = 8; !generous {
				limits[i].Hops = oneToEight.Draw(t, "H")
			}
		}
		at := rapid.IntRange(0, n-1).Draw(t, "start")
		tags, _, err := FromWorkload(http.Header{}, "openai", gatewayNo(at), limits[at])
		if err != nil {
			t.Fatal(err)
		}
		most := min(limits[at].Hops, n)
		visited := []int{at}
		for hops := 0; ; hops++ {
			sent, err := tags.Forward(gatewayNo(at), time.Millisecond)
			if err != nil {
				// The only reason here: a budget that was spent, never one that had something left.
				if tags.Budget.Hops != 0 || !isKind(err, LoopHops) {
					t.Fatalf("hop %d with %d left: %v", hops, tags.Budget.Hops, err)
				}
				spent++
				return
			}
			if hops+1 > most {
				t.Fatalf("hop %d, at most %d", hops+1, most)
			}
			if sent.Budget.Hops >= tags.Budget.Hops || sent.Budget.Headers >= tags.Budget.Headers || sent.Budget.Attempts != tags.Budget.Attempts {
				t.Fatalf("budget %+v became %+v", tags.Budget, sent.Budget)
			}
			checkPath(t, sent.Path, visited)

			h := http.Header{}
			sent.Write(h, gatewayNo(at))
			from := at
			at = drawNext(t, n, visited)
			tags, err = FromPeer(h, gatewayNo(from).Group, "east", gatewayNo(at), limits[at])
			if slices.Contains(visited, at) {
				if !isKind(err, LoopPath) {
					t.Fatalf("re-entry of %d after %v was not found: %v", at, visited, err)
				}
				reentries++
				return
			}
			if err != nil {
				t.Fatalf("from %d to %d after %v: %v", from, at, visited, err)
			}
			if tags.Budget.Hops > sent.Budget.Hops || tags.Budget.Hops > limits[at].Hops-1 {
				t.Fatalf("%d hops at %d, %d were sent, H is %d", tags.Budget.Hops, at, sent.Budget.Hops, limits[at].Hops)
			}
			visited = append(visited, at)
			longest = max(longest, hops+1)
		}
	})
	if longest < 7 || reentries == 0 || spent == 0 {
		t.Errorf("the cases are too tame: at most %d hops, %d re-entries, %d spent budgets", longest, reentries, spent)
	}
}

// drawNext prefers gateways that were not visited half of the time; a uniform walk is back too soon to be long.
func drawNext(t *rapid.T, n int, visited []int) int {
	if len(visited) < n && rapid.Bool().Draw(t, "fresh") {
		var fresh []int
		for i := range n {
			if !slices.Contains(visited, i) {
				fresh = append(fresh, i)
			}
		}
		return rapid.SampledFrom(fresh).Draw(t, "next")
	}
	return rapid.IntRange(0, n-1).Draw(t, "next")
}

// checkPath wants the visited groups, in order, each once.
func checkPath(t *rapid.T, path []Entry, visited []int) {
	if len(path) != len(visited) {
		t.Fatalf("path %v after %v", path, visited)
	}
	for i, e := range path {
		if e.Group != gatewayNo(visited[i]).Group || onPath(path[:i], e.Group) {
			t.Fatalf("path %v after %v", path, visited)
		}
	}
}

func gatewayNo(i int) Self {
	return Self{Group: fmt.Sprintf("group-%d", i), Instance: "x", Pseudonym: fmt.Sprintf("p%d", i)}
}

func isKind(err error, k Kind) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Kind == k
}
