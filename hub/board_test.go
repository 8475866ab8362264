package hub

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/apis/control"
)

// A spoke that joins before any hub is advertised would be told of none, and would have nobody to ask again.
func TestJoinsWaitForTheFirstHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		done := make(chan bool, 1)
		go func() { done <- b.awaitHubs(t.Context()) }()
		b.post(func(p *posted) { p.roots = "roots alone" })
		synctest.Wait()
		if len(done) != 0 || len(b.hubs()) != 0 {
			t.Fatal("the wait ended before a hub was advertised")
		}
		hubs := []control.Hub{{Name: "hub-a", Address: "192.0.2.1:8443"}}
		b.post(func(p *posted) { p.hubs = hubs })
		if !<-done || !cmp.Equal(b.hubs(), hubs) {
			t.Errorf("hubs %v after the post", b.hubs())
		}
		if !b.awaitHubs(t.Context()) {
			t.Error("a wait with a hub there does not say so")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if newBoard().awaitHubs(ctx) {
			t.Error("a wait that was ended says that there is a hub")
		}
	})
}

// A list without the hub that tells it is of a moment when its own record had not come back to it, and a spoke that
// believed it would hang up on the very hub that could correct it.
func TestAHubNeverTellsAListWithoutItself(t *testing.T) {
	a, b := control.Hub{Name: "hub-a", Address: "192.0.2.1:8443"}, control.Hub{Name: "hub-b", Address: "192.0.2.2:8443"}
	board := newBoard()
	for _, row := range []struct {
		name       string
		told, want []control.Hub
	}{
		{"at start the others are known first", []control.Hub{a}, nil},
		{"then all are", []control.Hub{a, b}, []control.Hub{a, b}},
		{"another left", []control.Hub{b}, []control.Hub{b}},
		{"the own lease was lost for a moment", []control.Hub{a}, []control.Hub{b}},
		{"nobody is advertised", nil, []control.Hub{b}},
		{"all is well again", []control.Hub{a, b}, []control.Hub{a, b}},
	} {
		board.advertise("hub-b", row.told)
		if diff := cmp.Diff(row.want, board.hubs()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
	}
	board.trust("R")
	if state, _, _ := board.read("east"); state.roots != "R" || len(state.hubs) != 2 {
		t.Errorf("state %+v", state)
	}
}

func TestTheBoardMakesAViewOncePerState(t *testing.T) {
	b := newBoard()
	if _, v, _ := b.read("east"); v.value != nil {
		t.Error("there is a view before the first translation")
	}
	made := 0
	b.post(func(p *posted) {
		p.view = func(cluster string) *control.View { made++; return &control.View{Cluster: cluster} }
	})
	for range 3 {
		if _, v, _ := b.read("east"); v.value.Cluster != "east" {
			t.Errorf("the view of %s", v.value.Cluster)
		}
	}
	if _, v, _ := b.read("west"); v.value.Cluster != "west" || made != 2 {
		t.Errorf("the view of %s, %d views made for two clusters", v.value.Cluster, made)
	}
	b.post(func(*posted) {})
	b.read("east")
	if made != 3 {
		t.Errorf("%d views made; a new state wants a new one", made)
	}
}

func TestReportsForgetWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		if got := r.get("a"); got.Instance != "" {
			t.Errorf("before anybody reported: %+v", got)
		}
		r.set(control.Report{Instance: "a", Revision: 1, Refusals: []control.Refusal{{RequestID: "x"}}})
		r.set(control.Report{Instance: "a", Revision: 3, Refusals: []control.Refusal{{RequestID: "y"}}})
		if got := r.get("a"); got.Revision != 3 || got.Refusals != nil {
			t.Errorf("the last report of a is %+v, want revision 3 without refusals", got)
		}
		for range 8 {
			<-time.After(10 * time.Second)
			r.set(control.Report{Instance: "b", Revision: 2})
		}
		if len(r.last) != 1 || r.get("b").Revision != 2 {
			t.Errorf("after a left: %+v", r.last)
		}
	})
}
