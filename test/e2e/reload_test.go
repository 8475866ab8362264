package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/internal/testkit/origin"
)

// A faulty edit costs nothing but itself: what was served stays, the finding names file and line, and a repaired file is
// served without a restart.
func TestABrokenFileKeepsTheLastGoodObject(t *testing.T) {
	first := origin.Start(t)
	second := origin.Start(t, origin.Signed(first.CA))
	w := newWorld(t)
	good := func(o *origin.Origin) string { return backend("api", o.Name(), o.Port(), "") }
	w.write(t, "catalog/ca.yaml", originCA(first))
	w.write(t, "catalog/api.yaml", good(first))
	h := w.hub(t, "hub-a", "")
	s := w.spoke(t, h, "east", "")
	served := func(by *origin.Origin) error {
		before := by.Total()
		if a := w.send(t, s, call{host: "api", path: "/x"}); a.status != http.StatusOK {
			return fmt.Errorf("answer %d %s", a.status, a.body)
		}
		if by.Total() == before {
			return fmt.Errorf("another origin answered")
		}
		return nil
	}
	if err := served(first); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct{ name, text, at string }{
		{"a file that is no YAML", strings.Replace(good(second), "spec:", "spec: [", 1), ""},
		{"a field that does not exist", strings.Replace(good(second), "  port:", "  prot: x\n  port:", 1), "prot: x"},
		{"a port that is none", strings.Replace(good(second), "number: ", "number: 9", 1), "port:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.write(t, "catalog/api.yaml", c.text)
			eventually(t, "status shows the finding", func() error {
				status, err := h.admin.Status(t.Context())
				if err != nil {
					return err
				}
				for _, p := range status.Problems {
					if filepath.Base(p.File) == "api.yaml" && p.Line > 0 && (c.at == "" || strings.Contains(line(c.text, p.Line), c.at)) {
						return nil
					}
				}
				return fmt.Errorf("status shows %+v", status.Problems)
			})
			if err := served(first); err != nil {
				t.Error(err)
			}
		})
	}

	w.write(t, "catalog/api.yaml", good(second))
	eventually(t, "the repaired file is served", func() error { return served(second) })
	eventually(t, "status is clean", func() error {
		status, err := h.admin.Status(t.Context())
		if err == nil && len(status.Problems) > 0 {
			err = fmt.Errorf("status shows %+v", status.Problems)
		}
		return err
	})

	// What is gone from the folder is gone from the catalog.
	w.write(t, "catalog/api.yaml", "# empty\n")
	eventually(t, "the Backend is gone", func() error {
		if a := w.send(t, s, call{host: "api", path: "/gone"}); a.status != http.StatusForbidden && a.status != http.StatusNotFound {
			return fmt.Errorf("answer %d", a.status)
		}
		return nil
	})
	if e, err := h.admin.Explain(t.Context(), admin.ExplainRequest{Cluster: "east", Namespace: "team-a", ServiceAccount: "bot", URL: "http://api/"}); err != nil || e.Allowed {
		t.Errorf("explain: %+v, %v", e, err)
	}
}

// line n of a text, from 1.
func line(text string, n int) string {
	lines := strings.Split(text, "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
}
