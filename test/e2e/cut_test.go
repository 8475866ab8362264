package e2e

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/internal/testkit/origin"
)

// suspend and revoke cut what runs, at once, and nobody can take what came until then for a whole answer.
func TestSuspendAndRevokeCutARunningStream(t *testing.T) {
	o := origin.Start(t)
	w := newWorld(t)
	w.write(t, "catalog/origin.yaml", originCA(o)+"---"+backend("api", o.Name(), o.Port(), ""))
	h := w.hub(t, "hub-a", "")
	s := w.spoke(t, h, "east", "")
	other := w.spoke(t, h, "west", "")
	untouched := w.stream(t, other, "/sse/west")

	cut := func(what, path string, do func() (admin.Cluster, error), state string) {
		t.Helper()
		events := w.stream(t, s, path)
		began := time.Now()
		c, err := do()
		if err != nil || c.State != state {
			t.Fatalf("%s: state %q, %v", what, c.State, err)
		}
		rest, err := io.ReadAll(events)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: the stream ran on for %v", what, took)
		}
		if err == nil {
			t.Errorf("%s: the stream ended as if it were whole, after %q", what, rest)
		}
		arrival := o.Wait(t, path, 1)
		select {
		case <-arrival.Gone:
			if !arrival.Cancelled() {
				t.Errorf("%s: the origin could finish", what)
			}
		case <-time.After(patience):
			t.Errorf("%s: the origin still sends", what)
		}
		before := o.Count("/after")
		if a := w.send(t, s, call{host: "api", path: "/after"}); a.status != http.StatusServiceUnavailable || o.Count("/after") != before {
			t.Errorf("%s: the next request gets %d", what, a.status)
		}
	}

	cut("suspend", "/sse/1", func() (admin.Cluster, error) { return h.admin.SuspendCluster(t.Context(), "east") }, admin.StateSuspended)
	if _, err := h.admin.ResumeCluster(t.Context(), "east"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a resumed cluster is served again", func() error {
		if a := w.send(t, s, call{host: "api", path: "/resumed"}); a.status != http.StatusOK {
			return errors.New(a.body)
		}
		return nil
	})
	cut("revoke", "/sse/2", func() (admin.Cluster, error) { return h.admin.RevokeCluster(t.Context(), "east") }, admin.StateRevoked)
	// Whatever resume says: what was revoked stays out.
	c, err := h.admin.ResumeCluster(t.Context(), "east")
	if err == nil && c.State != admin.StateRevoked {
		t.Errorf("a revoked cluster is %s after resume", c.State)
	}

	o.Release()
	if rest, err := io.ReadAll(untouched); err != nil || !strings.Contains(string(rest), "data: 1") {
		t.Errorf("the other cluster's stream ended with %q, %v", rest, err)
	}
}

// stream opens a stream of two events, of which the second waits for Release, and reads the first.
func (w *world) stream(t *testing.T, s *spokeProc, path string) io.Reader {
	t.Helper()
	res := w.open(t, s, call{host: "api", path: path + "?n=2"})
	events := bufio.NewReader(res.Body)
	line, err := events.ReadString('\n')
	if err != nil || line != "data: 0\n" {
		t.Fatalf("answer %d, first line %q: %v", res.StatusCode, line, err)
	}
	return events
}
