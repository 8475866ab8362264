package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/testkit/origin"
)

// HOPS A.3, who may set what: a workload's own Penstock-* headers are taken off, and what goes outside is one CDN-Loop tag.
func TestReservedHeadersOfAWorkloadGoNowhere(t *testing.T) {
	o := origin.Start(t)
	w := newWorld(t)
	w.write(t, "catalog/origin.yaml", originCA(o)+"---"+backend("api", o.Name(), o.Port(), ""))
	s := w.spoke(t, w.hub(t, "hub-a", ""), "east", "")

	a := w.send(t, s, call{host: "api", path: "/x", header: map[string]string{
		"Penstock-Path": `"forged"`, "Penstock-Budget": "h=8, a=5, t=600000", "Penstock-Subject": `ns="admin", m=spiffe`,
		"Penstock-Request-Id": `"forged"`, "Penstock-Anything": "1", "Via": "1.1 mine", "X-Kept": "yes",
	}})
	if a.status != http.StatusOK || a.body != "ok" {
		t.Fatalf("answer %d %q", a.status, a.body)
	}
	arrival := o.Wait(t, "/x", 1)
	for name := range arrival.Header {
		if strings.HasPrefix(strings.ToLower(strings.ReplaceAll(name, "_", "-")), "penstock-") {
			t.Errorf("the origin got %s: %q", name, arrival.Header[name])
		}
	}
	if tags := arrival.Header["Cdn-Loop"]; len(tags) != 1 || strings.Contains(tags[0], ",") || !strings.Contains(tags[0], ";v=1;x=") {
		t.Errorf("CDN-Loop at the origin: %q, want one tag with a MAC", tags)
	}
	if arrival.Header.Get("X-Kept") != "yes" || arrival.Host != fmt.Sprintf("%s:%d", o.Name(), o.Port()) || arrival.ServerName != o.Name() {
		t.Errorf("the origin got host %s, SNI %s, %v", arrival.Host, arrival.ServerName, arrival.Header)
	}
	for name := range a.header {
		if strings.HasPrefix(name, "Penstock-") {
			t.Errorf("the workload got %s", name)
		}
	}
	if _, metrics := w.fetch(t, s.metrics); !strings.Contains(metrics, "penstock_reserved_header_stripped_total") {
		t.Error("no metric counts what was stripped")
	}

	// A header that is named in Connection, or spelled with underscores, would be dropped or renamed by other programs.
	for name, value := range map[string]string{"Connection": "Penstock-Path", "Penstock_Path": "x"} {
		if a := w.send(t, s, call{host: "api", path: "/refused", header: map[string]string{name: value}}); a.status != http.StatusBadRequest {
			t.Errorf("%s: %s: answer %d, want 400", name, value, a.status)
		}
	}
	if n := o.Count("/refused"); n != 0 {
		t.Errorf("%d refused requests reached the origin", n)
	}
}
