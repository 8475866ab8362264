package gateway

import "testing"

type sent int64

func (s *sent) Sent() int64 { return int64(*s) }

func TestHiddenRepeatsAreWhatNoAttemptAccountsFor(t *testing.T) {
	var wire sent
	g := &Gateway{}
	total := HiddenRepeats(&wire, g)
	for _, c := range []struct {
		name           string
		sent, attempts int64
		want           float64
	}{
		{"nothing yet", 0, 0, 0},
		{"an attempt under way", 0, 1, 0},
		{"each attempt was sent once", 1, 1, 0},
		{"one was sent twice", 2, 1, 1},
		{"what was counted stays counted", 2, 2, 1},
	} {
		wire = sent(c.sent)
		g.wire.Store(c.attempts)
		if got := total(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
