package telemetry

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/apis/control"
)

func ids(rs []control.Refusal) []string {
	out := []string{}
	for _, r := range rs {
		out = append(out, r.RequestID)
	}
	return out
}

func add(r *Refusals, from, to int) {
	for n := from; n < to; n++ {
		r.Add(control.Refusal{RequestID: fmt.Sprint(n)})
	}
}

func TestRefusals(t *testing.T) {
	want := func(t *testing.T, got []control.Refusal, want ...string) {
		t.Helper()
		if want == nil {
			want = []string{}
		}
		if diff := cmp.Diff(want, ids(got)); diff != "" {
			t.Error(diff)
		}
	}
	t.Run("one is found by its request id", func(t *testing.T) {
		var r Refusals
		add(&r, 0, 5)
		want(t, r.Find("3"), "3")
		want(t, r.Find("x"))
	})
	t.Run("each gateway on the way may have one", func(t *testing.T) {
		var r Refusals
		r.Add(control.Refusal{RequestID: "a", Gateway: "hub"})
		r.Add(control.Refusal{RequestID: "a", Gateway: "spoke"})
		if got := r.Find("a"); len(got) != 2 || got[0].Gateway != "hub" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("the last 10000 are kept", func(t *testing.T) {
		var r Refusals
		add(&r, 0, MaxRefusals+3)
		want(t, r.Find("2"))
		want(t, r.Find("3"), "3")
		want(t, r.Last(2), fmt.Sprint(MaxRefusals+2), fmt.Sprint(MaxRefusals+1))
		if n := len(r.Last(1 << 20)); n != MaxRefusals {
			t.Errorf("%d are kept", n)
		}
	})
	t.Run("Drain hands each out once", func(t *testing.T) {
		var r Refusals
		add(&r, 0, 5)
		want(t, r.Drain(3), "0", "1", "2")
		want(t, r.Drain(3), "3", "4")
		want(t, r.Drain(3))
		add(&r, 5, 6)
		want(t, r.Drain(3), "5")
	})
	t.Run("a report that failed is taken back", func(t *testing.T) {
		var r Refusals
		add(&r, 0, 5)
		want(t, r.Drain(2), "0", "1")
		want(t, r.Drain(2), "2", "3")
		r.Undrain(2)
		want(t, r.Drain(9), "2", "3", "4")
		r.Undrain(99)
		want(t, r.Drain(1), "0")
	})
	t.Run("what was overwritten is not handed out", func(t *testing.T) {
		var r Refusals
		add(&r, 0, 10)
		r.Drain(10)
		add(&r, 10, 10+MaxRefusals+5)
		r.Undrain(10)
		want(t, r.Drain(1), "15")
	})
	t.Run("nobody keeps anything", func(t *testing.T) {
		var r *Refusals
		add(r, 0, 1)
		r.Undrain(1)
		want(t, r.Find("0"))
		want(t, r.Drain(1))
		want(t, r.Last(1))
	})
}
