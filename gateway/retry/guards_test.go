package retry_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/gateway/retry"
)

func TestTheThrottleLeavesFiveRepeatsWithoutSuccess(t *testing.T) {
	var th retry.Throttle
	allowed := 0
	for range 100 {
		if th.Allows() {
			allowed++
		}
		th.Failure()
	}
	if allowed != 5 {
		t.Errorf("%d, want 5", allowed)
	}
	for range 50 {
		th.Success()
	}
	if th.Allows() {
		t.Error("it allows a repeat at exactly 5 tokens; only above")
	}
	th.Success()
	if !th.Allows() {
		t.Error("51 successes gave 5.1 tokens, which is above 5")
	}
}

func TestTheThrottleNeverHoldsMoreThanTen(t *testing.T) {
	var th retry.Throttle
	for range 1000 {
		th.Success()
	}
	for range 4 {
		th.Failure()
	}
	if !th.Allows() {
		t.Error("4 failures closed it; 6 tokens are above 5")
	}
	th.Failure()
	if th.Allows() {
		t.Error("5 failures did not close it: successes were saved beyond 10")
	}
}

func TestTheBudgetFollowsTheActiveRequests(t *testing.T) {
	for _, tc := range []struct {
		name             string
		active           int
		percent          int
		repeats, connect int
	}{
		{"at least 3 repeats, 5 connects", 1, 0, 3, 5},
		{"20 % of 100, 10 % + 5", 100, 0, 20, 15},
		{"a policy's percent of 100", 100, 50, 50, 15},
	} {
		b := retry.Budget{Percent: tc.percent}
		for range tc.active {
			b.Begin()
		}
		repeats, connects := 0, 0
		for b.TakeRepeat() {
			repeats++
		}
		for b.TakeConnect() {
			connects++
		}
		if repeats != tc.repeats || connects != tc.connect {
			t.Errorf("%s: %d and %d", tc.name, repeats, connects)
		}
		b.DropRepeat()
		if !b.TakeRepeat() || b.TakeRepeat() {
			t.Errorf("%s: a slot given back is one slot", tc.name)
		}
	}
}

func TestHoldDownEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h retry.HoldDown
		h.Hold("a", time.Minute)
		h.Hold("a", time.Second) // does not shorten it
		time.Sleep(59 * time.Second)
		if !h.Held("a") || h.Held("b") {
			t.Error("a is to be held, b not")
		}
		time.Sleep(time.Second)
		if h.Held("a") || h.Len() != 0 {
			t.Errorf("a is still held, or kept: %d", h.Len())
		}
	})
}

func TestHoldDownIsBoundedAndForgetsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h retry.HoldDown
		for i := range 10_000 {
			h.Hold(fmt.Sprint(i), time.Minute)
		}
		if h.Len() > 4096 {
			t.Errorf("%d keys are kept", h.Len())
		}
		for i := range 10_000 {
			if !h.Held(fmt.Sprint(i)) {
				t.Fatalf("%d is forgotten", i)
			}
		}
		time.Sleep(time.Minute)
		h.Hold("new", time.Minute)
		if h.Len() > 4096 || !h.Held("new") || h.Held("other") {
			t.Errorf("after a minute: %d keys, new %t, other %t", h.Len(), h.Held("new"), h.Held("other"))
		}
	})
}

func TestARequestHoldsOneSlotAtATime(t *testing.T) {
	var g retry.Guards
	r := g.Begin("alice")
	f := failure(retry.StatusCode, answer(503))
	for range 3 { // one at a time, so the floor of 3 is never reached
		if v := r.Endpoint(f, retry.Policy{}, 0); !v.Again {
			t.Fatalf("refused: %+v", v)
		}
	}
	r.End()
	r.End()
	if n := g.Budget.Active(); n != 0 {
		t.Errorf("%d active after the end", n)
	}
	others := 0
	for g.Budget.TakeRepeat() {
		others++
	}
	if others != 3 {
		t.Errorf("%d slots are free after the end, want 3", others)
	}
}

func TestGuardsHoldABackendForAllAndASubjectForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g retry.Guards
		alice, bob := g.Begin("alice"), g.Begin("bob")
		defer alice.End()
		defer bob.End()
		again := func(r *retry.Request) bool {
			return r.Endpoint(failure(retry.ConnectFailure, proven), retry.Policy{}, 0).Again
		}
		g.HoldSubject("alice", 30*time.Second)
		if again(alice) || !again(bob) {
			t.Error("only alice is to be held")
		}
		g.HoldBackend(30 * time.Second)
		if again(bob) {
			t.Error("the Backend is to be held for bob too")
		}
		time.Sleep(30 * time.Second)
		if !again(alice) || !again(bob) {
			t.Error("nobody is to be held any more")
		}
	})
}

func TestConnectTriesNeitherUseNorFeelTheThrottle(t *testing.T) {
	var g retry.Guards
	r := g.Begin("alice")
	defer r.End()
	for range 20 {
		if v := r.Endpoint(failure(retry.ConnectFailure, proven), retry.Policy{}, 0); !v.Again {
			t.Fatalf("refused: %+v", v)
		}
	}
	if !g.Throttle.Allows() {
		t.Error("connect failures closed the throttle")
	}
	for range 10 {
		r.Endpoint(failure(retry.StatusCode, answer(503)), retry.Policy{}, 0)
	}
	if v := r.Endpoint(failure(retry.StatusCode, answer(503)), retry.Policy{}, 0); v.Again || v.Row != 23 {
		t.Errorf("a closed throttle let a repeat through: %+v", v)
	}
	if v := r.Endpoint(failure(retry.ConnectFailure, proven), retry.Policy{}, 0); !v.Again {
		t.Errorf("a closed throttle stopped a connect try: %+v", v)
	}
	if v := r.Parent(parent(func(f *retry.ParentFailure) { f.Err = proof{true, 1} }), 0); !v.Again {
		t.Errorf("and a try of a parent: %+v", v)
	}
	r.Succeeded()
}

func TestOnlyWhatTheDestinationDidIsAFailure(t *testing.T) {
	for _, tc := range []struct {
		name    string
		f       retry.EndpointFailure
		counted bool
	}{
		{"503", failure(retry.StatusCode, answer(503)), true},
		{"a reset", failure(retry.ResetBeforeHeaders), true},
		{"a refused stream", failure(retry.RefusedStream, proven), true},
		{"a timeout", failure(retry.PerTryTimeout), true},
		{"a refused connection", failure(retry.ConnectFailure, proven), false},
		{"a stale connection with nothing written", failure(retry.ResetBeforeHeaders, reused, proven), false},
		{"a prohibited address", failure(retry.NoRepeat, row(16), proven), false},
		{"a client that is gone", failure(retry.NoRepeat, row(30)), false},
	} {
		var g retry.Guards
		r := g.Begin("alice")
		for range 5 {
			r.Endpoint(tc.f, retry.Policy{}, 0)
		}
		if g.Throttle.Allows() == tc.counted {
			t.Errorf("%s: counted %t, want %t", tc.name, !tc.counted, tc.counted)
		}
		r.End()
	}
}

func TestAtMostAFifthRepeatsAtOnce(t *testing.T) { // G22
	var g retry.Guards
	var requests []*retry.Request
	for range 100 {
		requests = append(requests, g.Begin("alice"))
	}
	// Successes keep the throttle open, so that the budget alone decides.
	again := 0
	for _, r := range requests {
		for range 10 {
			g.Throttle.Success()
		}
		if r.Endpoint(failure(retry.StatusCode, answer(503)), retry.Policy{}, 0).Again {
			again++
		}
	}
	if again != 20 {
		t.Errorf("%d of 100 repeat at once, want 20", again)
	}
}

func TestGuardsAreSafeTogether(t *testing.T) {
	var g retry.Guards
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			subject := fmt.Sprint(i % 4)
			for range 200 {
				r := g.Begin(subject)
				r.Endpoint(failure(retry.StatusCode, answer(503)), retry.Policy{}, 0)
				r.Succeeded()
				g.HoldSubject(subject, time.Nanosecond)
				r.End()
			}
		})
	}
	wg.Wait()
	if n := g.Budget.Active(); n != 0 {
		t.Errorf("%d active after all ended", n)
	}
	free := 0
	for g.Budget.TakeRepeat() {
		free++
	}
	if free != 3 {
		t.Errorf("%d slots free after all ended, want 3", free)
	}
}
