package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"penstock.dev/penstock/internal/testkit/origin"
)

// Two replicas serve one catalog. The one that holds it is stopped under load: not one request fails, and the other serves
// on from memory.
func TestAHubThatDrainsCostsNoRequest(t *testing.T) {
	o := origin.Start(t)
	w := newWorld(t)
	w.write(t, "catalog/origin.yaml", originCA(o)+"---"+backend("api", o.Name(), o.Port(), with("key"))+credential("key", "Bearer", ""))
	a := w.hub(t, "hub-a", "")
	b := w.hub(t, "hub-b", "hub-a")
	if _, err := b.admin.SetCredential(t.Context(), "ai", "key", []byte("shared")); err != nil {
		t.Fatal(err) // by one replica for both
	}
	s := w.spoke(t, a, "east", "")
	eventually(t, "a tunnel to each hub", func() error {
		_, metrics := w.fetch(t, s.metrics)
		for _, name := range []string{"hub-a", "hub-b"} {
			if !hasTunnel(s.log, name) {
				return fmt.Errorf("none to %s: %s", name, grep(metrics, "tunnel"))
			}
		}
		return nil
	})

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sent, failed atomic.Int64
	var firstFailure sync.Once
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for ctx.Err() == nil {
				sent.Add(1)
				res, err := w.try(t.Context(), s, call{host: "api", path: "/load"})
				var body []byte
				if err == nil {
					body, err = io.ReadAll(res.Body)
					res.Body.Close()
					if err == nil && res.StatusCode != http.StatusOK {
						err = fmt.Errorf("answer %d %s", res.StatusCode, body)
					}
				}
				if err != nil {
					failed.Add(1)
					firstFailure.Do(func() { t.Errorf("a request failed: %v", err) })
				}
			}
		})
	}
	atLeast := func(more int64) {
		t.Helper()
		goal := sent.Load() + more
		eventually(t, fmt.Sprintf("%d more requests", more), func() error {
			if sent.Load() < goal {
				return errors.New("not yet")
			}
			return nil
		})
	}
	atLeast(100)
	a.stop()
	a.wait(t)
	atLeast(200)
	stop()
	workers.Wait()
	if n := failed.Load(); n != 0 {
		t.Errorf("%d of %d requests failed", n, sent.Load())
	}
	for _, arrival := range o.Arrivals() {
		if arrival.Header.Get("Authorization") != "Bearer shared" {
			t.Fatalf("a request went out with Authorization %q", arrival.Header.Get("Authorization"))
		}
	}
	if n := int64(o.Count("/load")); n != sent.Load() {
		t.Errorf("%d requests, %d arrivals", sent.Load(), n)
	}
	if _, access := b.log, b.access.String(); !strings.Contains(access, `"path":"/load"`) {
		t.Error("the hub that stayed served nothing")
	}
}

// hasTunnel looks for the spoke's own word that a tunnel is up.
func hasTunnel(j *journal, hub string) bool {
	for _, line := range j.lines() {
		if line["msg"] == "tunnel up" && line["hub"] == hub {
			return true
		}
	}
	return false
}

// grep returns the lines of a text with a word.
func grep(text, word string) string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}
