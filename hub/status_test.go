package hub

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestConditionsKeepTheirTransitionTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		<-time.After(1500 * time.Millisecond)
		now := time.Now().Truncate(time.Second)
		long := now.Add(-time.Hour)
		stored := func(conditions ...metav1.Condition) json.RawMessage {
			data, err := json.Marshal(map[string]any{"conditions": conditions, "version": "v"})
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		accepted := func(status metav1.ConditionStatus, at time.Time) metav1.Condition {
			return metav1.Condition{Type: "Accepted", Status: status, Reason: "R", LastTransitionTime: metav1.NewTime(at)}
		}
		for _, row := range []struct {
			name   string
			stored json.RawMessage
			want   time.Time
		}{
			{"the same status keeps its time", stored(accepted(metav1.ConditionTrue, long)), long},
			{"another status gets the time of now", stored(accepted(metav1.ConditionFalse, long)), now},
			{"another type says nothing", stored(metav1.Condition{Type: "Programmed", Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(long)}), now},
			{"no status yet", nil, now},
			{"a status of another form", json.RawMessage(`"x"`), now},
		} {
			in := []metav1.Condition{{Type: "Accepted", Status: metav1.ConditionTrue, Reason: "Other", ObservedGeneration: 3}}
			got := keepTimes(in, row.stored)
			if !got[0].LastTransitionTime.Time.Equal(row.want) || got[0].Reason != "Other" || got[0].ObservedGeneration != 3 {
				t.Errorf("%s: got %+v, want the time %v", row.name, got[0], row.want)
			}
			if !in[0].LastTransitionTime.IsZero() {
				t.Errorf("%s: the report was changed", row.name)
			}
		}
	})
}

func TestProgrammedWaitsForEveryReplica(t *testing.T) {
	conditions := []metav1.Condition{
		{Type: "Accepted", Status: metav1.ConditionTrue, Reason: "Accepted"},
		{Type: "Programmed", Status: metav1.ConditionTrue, Reason: "Programmed"},
	}
	if diff := cmp.Diff(conditions, programmedBy(conditions, 7, nil)); diff != "" {
		t.Errorf("with all replicas (-want +got):\n%s", diff)
	}
	got := programmedBy(conditions, 7, []string{"hub-b", "hub-c"})
	want := []metav1.Condition{conditions[0], {
		Type: "Programmed", Status: metav1.ConditionFalse, Reason: "Pending", Message: "not served yet (revision 7) by hub-b, hub-c",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("without two (-want +got):\n%s", diff)
	}
	if conditions[1].Status != metav1.ConditionTrue {
		t.Error("the report was changed")
	}
	refused := []metav1.Condition{{Type: "Programmed", Status: metav1.ConditionFalse, Reason: "Invalid"}}
	if diff := cmp.Diff(refused, programmedBy(refused, 7, []string{"hub-b"})); diff != "" {
		t.Errorf("what was refused anyway (-want +got):\n%s", diff)
	}
}
