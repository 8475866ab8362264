package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/gateway/retry"
)

// proof is an error as tunnel and endpoint make them.
type proof struct {
	unprocessed bool
	row         int
}

func (p proof) Error() string     { return "it failed" }
func (p proof) Unprocessed() bool { return p.unprocessed }
func (p proof) Row() int          { return p.row }

// parent is a failure that would be repeated: first try, all the time in the world.
func parent(change func(*retry.ParentFailure)) retry.ParentFailure {
	f := retry.ParentFailure{Try: 1, Left: 30 * time.Second}
	change(&f)
	return f
}

func TestParentDecidesByTheTable(t *testing.T) {
	for _, tc := range []struct {
		name  string
		f     retry.ParentFailure
		again bool
	}{
		{"row 1: no tunnel is up, so nothing left the process", parent(func(f *retry.ParentFailure) { f.Err = proof{true, 0} }), true},
		{"row 2: the hub's certificate is wrong, another may be right", parent(func(f *retry.ParentFailure) { f.Err = proof{true, 2} }), true},
		{"row 3: our certificate is refused, and would be again", parent(func(f *retry.ParentFailure) { f.Err = proof{true, 3} }), false},
		{"row 4: no free stream", parent(func(f *retry.ParentFailure) { f.Err = proof{true, 4} }), true},
		{"row 5: not a byte of the head was written", parent(func(f *retry.ParentFailure) { f.Err = proof{true, 5} }), true},
		{"row 6: reset with rejected", parent(func(f *retry.ParentFailure) { f.Err = fmt.Errorf("send: %w", proof{true, 6}) }), true},
		{"row 6: rejected as an answer, on TCP", parent(func(f *retry.ParentFailure) { f.NotProcessed = "rejected" }), true},
		{"row 8: overload, once", parent(func(f *retry.ParentFailure) { f.NotProcessed = "overload" }), true},
		{"row 8: overload, a second time", parent(func(f *retry.ParentFailure) { f.NotProcessed, f.Try, f.Overloads = "overload", 2, 1 }), false},
		{"row 9: the tunnel died after the head", parent(func(f *retry.ParentFailure) { f.Err = proof{false, 9} }), false},
		{"row 9: an error that says nothing", parent(func(f *retry.ParentFailure) { f.Err = errors.New("broken") }), false},
		{"row 9: a verdict of another version", parent(func(f *retry.ParentFailure) { f.NotProcessed = "maybe" }), false},
		{"row 10: the tunnel died after response headers", parent(func(f *retry.ParentFailure) { f.Err = proof{false, 10} }), false},
		{"row 30: the client is gone, whatever is proven", parent(func(f *retry.ParentFailure) { f.Err = errors.Join(context.Canceled, proof{true, 1}) }), false},
		{"row 31: the deadline has passed", parent(func(f *retry.ParentFailure) { f.Err, f.Left = context.DeadlineExceeded, 0 }), false},
		{"row 1: the third try was the last", parent(func(f *retry.ParentFailure) { f.Err, f.Try = proof{true, 1}, 3 }), false},
		{"row 6: the body is not held any more", parent(func(f *retry.ParentFailure) { f.Err, f.BodyLost = proof{true, 6}, true }), false},
		{"row 8: nor for overload", parent(func(f *retry.ParentFailure) { f.NotProcessed, f.BodyLost = "overload", true }), false},
		{"row 1: three seconds are over", parent(func(f *retry.ParentFailure) { f.Err, f.Elapsed = proof{true, 1}, 3*time.Second }), false},
		{"row 1: t ends before the wait would", parent(func(f *retry.ParentFailure) { f.Err, f.Left = proof{true, 1}, 4*time.Millisecond }), false},
	} {
		v := retry.Parent(tc.f, 0.5)
		check(t, tc.name, v, tc.again)
		if v.Elsewhere != (tc.again && tc.f.NotProcessed == "overload") {
			t.Errorf("%s: elsewhere %t", tc.name, v.Elsewhere)
		}
	}
}

func TestParentWaitsByItsSeries(t *testing.T) {
	var got []time.Duration
	for try := 1; try < retry.ParentTries; try++ {
		got = append(got, retry.Parent(parent(func(f *retry.ParentFailure) { f.Err, f.Try = proof{true, 1}, try }), 0.999999).Wait.Round(time.Millisecond))
	}
	if diff := cmp.Diff([]time.Duration{10 * time.Millisecond, 50 * time.Millisecond}, got); diff != "" {
		t.Errorf("ceilings of the waits (-want +got):\n%s", diff)
	}
	if w := retry.Parent(parent(func(f *retry.ParentFailure) { f.Err = proof{true, 1} }), 0).Wait; w != 0 {
		t.Errorf("full jitter begins at 0, got %s", w)
	}
}

// failure is one that would be repeated if its row allows it: first of three attempts, GET.
func failure(class retry.Class, change ...func(*retry.EndpointFailure)) retry.EndpointFailure {
	f := retry.EndpointFailure{Class: class, Method: "GET", Attempt: 1, AttemptsLeft: 2, Left: 30 * time.Second}
	for _, c := range change {
		c(&f)
	}
	return f
}

func method(m string) func(*retry.EndpointFailure) {
	return func(f *retry.EndpointFailure) { f.Method = m }
}
func row(n int) func(*retry.EndpointFailure) { return func(f *retry.EndpointFailure) { f.Row = n } }
func proven(f *retry.EndpointFailure)        { f.Unprocessed = true }
func reused(f *retry.EndpointFailure)        { f.Reused = true }
func lost(f *retry.EndpointFailure)          { f.BodyLost = true }
func keyed(f *retry.EndpointFailure)         { f.KeyCarried = true }
func left(d time.Duration) func(*retry.EndpointFailure) {
	return func(f *retry.EndpointFailure) { f.Left = d }
}

func answer(status int, header ...string) func(*retry.EndpointFailure) {
	return func(f *retry.EndpointFailure) {
		f.Status, f.Header = status, http.Header{}
		for i := 0; i < len(header); i += 2 {
			f.Header.Add(header[i], header[i+1])
		}
	}
}

func TestEndpointDecidesByTheTable(t *testing.T) {
	const date, soon, late = "Sun, 22 Nov 2026 10:00:00 GMT", "Sun, 22 Nov 2026 10:00:01 GMT", "Sun, 22 Nov 2026 10:00:09 GMT"
	honoured := retry.Policy{IdempotencyKeys: true}
	stated := retry.Policy{RetryPostOn: []int{429}}
	for _, tc := range []struct {
		name  string
		f     retry.EndpointFailure
		p     retry.Policy
		again bool
	}{
		{"row 11: a loop", failure(retry.StatusCode, answer(508)), retry.Policy{Codes: []int{508}}, false},
		{"row 14: no credential", failure(retry.NoRepeat, row(14), proven), retry.Policy{}, false},
		{"row 15: DNS failed", failure(retry.NoRepeat, row(15), proven), retry.Policy{}, false},
		{"row 16: a prohibited address", failure(retry.NoRepeat, row(16), proven), retry.Policy{}, false},
		{"row 17: connection refused, GET", failure(retry.ConnectFailure, proven), retry.Policy{}, true},
		{"row 17: connection refused, POST, since nothing was sent", failure(retry.ConnectFailure, proven, method("POST")), retry.Policy{}, true},
		{"row 17: without the proof it is none", failure(retry.ConnectFailure, method("POST")), retry.Policy{}, false},
		{"row 18: a certificate problem", failure(retry.NoRepeat, row(18), proven), retry.Policy{}, false},
		{"row 18: the handshake was reset", failure(retry.ConnectFailure, row(18), proven), retry.Policy{}, true},
		{"row 18: the handshake was reset twice", failure(retry.ConnectFailure, row(18), proven, func(f *retry.EndpointFailure) { f.Attempt = 2 }), retry.Policy{}, false},
		{"row 19: a reused connection closed, GET", failure(retry.ResetBeforeHeaders, reused), retry.Policy{}, true},
		{"row 19: a reused connection closed, POST", failure(retry.ResetBeforeHeaders, reused, method("POST")), retry.Policy{}, false},
		{"row 19: a reused connection closed with 0 bytes written, POST", failure(retry.ResetBeforeHeaders, reused, proven, method("POST")), retry.Policy{}, true},
		{"row 19: a reused connection closed, POST with an honoured key", failure(retry.ResetBeforeHeaders, reused, keyed, method("POST")), honoured, true},
		{"row 19: a reused connection closed, POST with a key that nobody honours", failure(retry.ResetBeforeHeaders, reused, keyed, method("POST")), retry.Policy{}, false},
		{"row 20: REFUSED_STREAM, POST", failure(retry.RefusedStream, proven, method("POST")), retry.Policy{}, true},
		{"row 29: REFUSED_STREAM, POST with its body gone", failure(retry.RefusedStream, proven, lost, method("POST")), retry.Policy{}, false},
		{"row 21: PROTOCOL_ERROR, GET", failure(retry.ResetBeforeHeaders), retry.Policy{}, true},
		{"row 21: PROTOCOL_ERROR, PATCH", failure(retry.ResetBeforeHeaders, method("PATCH")), retry.Policy{}, false},
		{"row 21: a refused stream without proof, PATCH", failure(retry.RefusedStream, method("PATCH")), retry.Policy{}, false},
		{"row 22: per-try timeout, PUT", failure(retry.PerTryTimeout, method("PUT")), retry.Policy{}, true},
		{"row 22: per-try timeout, POST", failure(retry.PerTryTimeout, method("POST")), retry.Policy{}, false},
		{"row 31: per-try timeout at the deadline", failure(retry.PerTryTimeout, left(0)), retry.Policy{}, false},
		{"row 23: 502, GET", failure(retry.StatusCode, answer(502)), retry.Policy{}, true},
		{"row 23: 503, DELETE", failure(retry.StatusCode, answer(503), method("DELETE")), retry.Policy{}, true},
		{"row 23: 504, POST", failure(retry.StatusCode, answer(504), method("POST")), retry.Policy{}, false},
		{"row 23: 504, POST with an honoured key", failure(retry.StatusCode, answer(504), method("POST"), keyed), honoured, true},
		{"row 23: 503 that says not to", failure(retry.StatusCode, answer(503, "x-should-retry", "false")), retry.Policy{}, false},
		{"row 23: 503 with negative pushback", failure(retry.StatusCode, answer(503, "grpc-retry-pushback-ms", "-1")), retry.Policy{}, false},
		{"row 23: 503 with unreadable pushback", failure(retry.StatusCode, answer(503, "grpc-retry-pushback-ms", "soon")), retry.Policy{}, false},
		{"row 24: 503 with pushback of 20 ms", failure(retry.StatusCode, answer(503, "grpc-retry-pushback-ms", "20")), retry.Policy{}, true},
		{"row 24: 429 with Retry-After 1", failure(retry.StatusCode, answer(429, "Retry-After", "1")), retry.Policy{}, true},
		{"row 24: 503 with Retry-After 2", failure(retry.StatusCode, answer(503, "Retry-After", "2")), retry.Policy{}, true},
		{"row 24: 503 with Retry-After 3, beyond 2 s", failure(retry.StatusCode, answer(503, "Retry-After", "3")), retry.Policy{}, false},
		{"row 24: 429 with Retry-After 1, beyond t/2", failure(retry.StatusCode, answer(429, "Retry-After", "1"), left(1900*time.Millisecond)), retry.Policy{}, false},
		{"row 24: 429 with a date a second ahead", failure(retry.StatusCode, answer(429, "Retry-After", soon, "Date", date)), retry.Policy{}, true},
		{"row 24: 429 with a date nine seconds ahead", failure(retry.StatusCode, answer(429, "Retry-After", late, "Date", date)), retry.Policy{}, false},
		{"row 24: 429 with a date and no own Date", failure(retry.StatusCode, answer(429, "Retry-After", soon)), retry.Policy{}, false},
		{"row 24: 429 with a Retry-After of no known form", failure(retry.StatusCode, answer(429, "Retry-After", "1.5")), retry.Policy{}, false},
		{"row 24: 429 with a Retry-After beyond all numbers", failure(retry.StatusCode, answer(429, "Retry-After", strings.Repeat("9", 40))), retry.Policy{}, false},
		{"row 24: 429 without Retry-After", failure(retry.StatusCode, answer(429)), retry.Policy{}, false},
		{"row 24: 429 without Retry-After that the route lists", failure(retry.StatusCode, answer(429)), retry.Policy{Codes: []int{429}}, true},
		{"row 24: 429, POST", failure(retry.StatusCode, answer(429, "Retry-After", "1"), method("POST")), retry.Policy{}, false},
		{"row 24: 429, POST that the Backend states to be safe", failure(retry.StatusCode, answer(429, "Retry-After", "1"), method("POST")), stated, true},
		{"row 24: 429 without Retry-After, POST stated to be safe", failure(retry.StatusCode, answer(429), method("POST")), stated, true},
		{"row 24: 429, PATCH, of which nothing is stated", failure(retry.StatusCode, answer(429), method("PATCH")), stated, false},
		{"row 25: 425", failure(retry.StatusCode, answer(425)), retry.Policy{Codes: []int{425}}, false},
		{"row 26: 500", failure(retry.StatusCode, answer(500)), retry.Policy{}, false},
		{"row 26: 404 with Retry-After", failure(retry.StatusCode, answer(404, "Retry-After", "1")), retry.Policy{}, false},
		{"row 23: 500 that the route lists", failure(retry.StatusCode, answer(500)), retry.Policy{Codes: []int{500}}, true},
		{"row 23: 500 that the route lists, POST", failure(retry.StatusCode, answer(500), method("POST")), retry.Policy{Codes: []int{500}}, false},
		{"row 27: reset in mid body", failure(retry.ResetBeforeHeaders, func(f *retry.EndpointFailure) { f.HeadersPassed = true }), retry.Policy{}, false},
		{"row 28: response head too large", failure(retry.NoRepeat, row(28)), retry.Policy{}, false},
		{"row 29: the body is larger than the replay buffer", failure(retry.StatusCode, answer(503), lost, method("PUT")), retry.Policy{}, false},
		{"row 30: the client is gone", failure(retry.NoRepeat, row(30)), retry.Policy{}, false},
		{"row 17: no attempt left", failure(retry.ConnectFailure, proven, func(f *retry.EndpointFailure) { f.AttemptsLeft = 0 }), retry.Policy{}, false},
		{"row 17: less than the floor left", failure(retry.ConnectFailure, proven, left(49*time.Millisecond)), retry.Policy{}, false},
		{"row 17: held down", failure(retry.ConnectFailure, proven, func(f *retry.EndpointFailure) { f.HeldDown = true }), retry.Policy{}, false},
		{"row 23: budget spent", failure(retry.StatusCode, answer(503), func(f *retry.EndpointFailure) { f.BudgetSpent = true }), retry.Policy{}, false},
	} {
		v := retry.Endpoint(tc.f, tc.p, 0)
		check(t, tc.name, v, tc.again)
		if v.Elsewhere != (v.Again && v.Row == 19) {
			t.Errorf("%s: elsewhere %t", tc.name, v.Elsewhere)
		}
	}
}

func check(t *testing.T, name string, v retry.Verdict, again bool) {
	t.Helper()
	if !strings.HasPrefix(name, fmt.Sprintf("row %d:", v.Row)) || v.Again != again || v.Why == "" {
		t.Errorf("%s: row %d, again %t (%s); want again %t", name, v.Row, v.Again, v.Why, again)
	}
	if !v.Again && (v.Wait != 0 || v.Elsewhere) {
		t.Errorf("%s: a refusal with wait %s, elsewhere %t", name, v.Wait, v.Elsewhere)
	}
}

func TestEndpointWaits(t *testing.T) {
	const almost = 0.9999999
	wait := func(f retry.EndpointFailure, p retry.Policy, draw float64) time.Duration {
		return retry.Endpoint(f, p, draw).Wait.Round(time.Millisecond)
	}
	nth := func(n int) func(*retry.EndpointFailure) {
		return func(f *retry.EndpointFailure) { f.Attempt, f.Left = n, time.Hour }
	}
	for _, tc := range []struct {
		name string
		got  time.Duration
		want time.Duration
	}{
		{"at most 25 ms after the first", wait(failure(retry.ResetBeforeHeaders, nth(1)), retry.Policy{}, almost), 25 * time.Millisecond},
		{"at most 100 ms after the third", wait(failure(retry.ResetBeforeHeaders, nth(3)), retry.Policy{}, almost), 100 * time.Millisecond},
		{"at most 2 s ever", wait(failure(retry.ResetBeforeHeaders, nth(1000)), retry.Policy{}, almost), 2 * time.Second},
		{"from 0 on", wait(failure(retry.ResetBeforeHeaders, nth(3)), retry.Policy{}, 0), 0},
		{"at least the route's backoff", wait(failure(retry.ResetBeforeHeaders, nth(1)), retry.Policy{Backoff: 100 * time.Millisecond}, 0), 100 * time.Millisecond},
		{"and as much again of jitter", wait(failure(retry.ResetBeforeHeaders, nth(2)), retry.Policy{Backoff: 100 * time.Millisecond}, almost), 300 * time.Millisecond},
		{"as long as Retry-After says", wait(failure(retry.StatusCode, answer(503, "Retry-After", "1")), retry.Policy{}, 0), time.Second},
		{"as long as the pushback says", wait(failure(retry.StatusCode, answer(503, "grpc-retry-pushback-ms", "300")), retry.Policy{}, 0), 300 * time.Millisecond},
		{"not at all after a stale connection", wait(failure(retry.ResetBeforeHeaders, reused), retry.Policy{}, almost), 0},
	} {
		if tc.got != tc.want {
			t.Errorf("it waits %s: %s, want %s", tc.name, tc.got, tc.want)
		}
	}
}

func TestPerTryIsAShareOfWhatIsLeft(t *testing.T) {
	for _, tc := range []struct {
		name             string
		configured, left time.Duration
		attempts         int
		want             time.Duration
	}{
		{"an equal share", 0, 9 * time.Second, 3, 3 * time.Second},
		{"the configured time where it is less", time.Second, 9 * time.Second, 3, time.Second},
		{"the share where that is less", 5 * time.Second, 9 * time.Second, 3, 3 * time.Second},
		{"all for the last one", 0, 9 * time.Second, 1, 9 * time.Second},
		{"all where the count is wrong", 0, 9 * time.Second, 0, 9 * time.Second},
		{"nothing when nothing is left", time.Second, -time.Second, 3, 0},
	} {
		if got := retry.PerTry(tc.configured, tc.left, tc.attempts); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func FuzzEndpointNeverRepeatsWithoutRight(f *testing.F) {
	f.Add("connect-failure", "POST", 0, "1", "", true, false, uint8(2), int64(time.Second), 0.5)
	f.Add("status", "POST", 429, "1", "false", false, true, uint8(2), int64(time.Second), 0.1)
	f.Add("refused-stream", "PATCH", 0, "", "", false, false, uint8(0), int64(0), 0.9)
	f.Fuzz(func(t *testing.T, class, method string, status int, after, should string, unprocessed, held bool, attempts uint8, left int64, draw float64) {
		if draw < 0 || draw >= 1 || draw != draw {
			return
		}
		in := retry.EndpointFailure{
			Class: retry.Class(class), Method: method, Status: status, Unprocessed: unprocessed, HeldDown: held,
			Header:       http.Header{"Retry-After": {after}, "X-Should-Retry": {should}},
			AttemptsLeft: int(attempts), Left: time.Duration(left), Attempt: 1,
		}
		v := retry.Endpoint(in, retry.Policy{}, draw)
		switch {
		case v.Wait < 0:
			t.Errorf("negative wait %s", v.Wait)
		case !v.Again:
		case held, attempts == 0, in.Left-v.Wait < retry.AttemptFloor:
			t.Errorf("repeated although it must not: %+v", v)
		case !unprocessed && !retry.Idempotent(method):
			t.Errorf("X1: %q repeated without proof, key or statement: %+v", method, v)
		}
	})
}
